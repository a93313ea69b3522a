"""OPC UA against a real server: which readings are learned, and which errors there are.

The tests of `SourceContract` do not apply: they read messages again, and a polled server has only
the newest of each node.
"""

import asyncio
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID
from live_counter import Counter
from server_opcua import URI, OPCUAServer
from server_redis import RedisServer
from servers import wait_until
from streamlstm_connectors.industry import opcua
from streamlstm_connectors.industry.opcua import OPCUASource

from streamlstm.errors import DataError, ParameterError
from streamlstm.live import run as live
from streamlstm.live.address import Address
from streamlstm.live.connector import connector
from streamlstm.live.payload import Fields
from streamlstm.live.run import LiveRun
from streamlstm.snapshots import Snapshots

FIELDS = Fields(key="name", time="time")
NODES = "ns=2;s=a,ns=2;s=b"


@pytest.fixture(scope="module")
def shared():
    with OPCUAServer("ab") as server:
        yield server


@pytest.fixture
def server(shared):
    shared.write({"a": 0, "b": 0}, 0)
    return shared


def source_of(server, nodes=NODES, options="", fields=FIELDS, login="", variables=()):
    address = Address(
        server.address(nodes, "&period=0.02" + options, login), dict(variables) or os.environ
    )
    return OPCUASource.from_address(address, fields)


@pytest.fixture
def source(server):
    """Both nodes, what they say at first read."""
    source = source_of(server)
    source.open(None)
    assert source.read(10, 1).values.tolist() == [0, 0]
    yield source
    source.close()


def reasons(batch):
    return [each.reason for each in batch.rejected]


def test_readings_have_all_their_fields(server, source):
    server.write({"a": 1.5}, 60)
    batch = source.read(10, 1)
    assert (batch.values.tolist(), batch.keys) == ([1.5], ["Node a"])
    assert batch.timestamps.tolist() == [60 * 10**9]
    assert batch.ids == ["ns=2;s=a@60000000000"]
    assert batch.position == {"ns=2;s=a": 60 * 10**9, "ns=2;s=b": 0}
    assert abs(batch.received - time.time_ns()) < 5e9


def test_a_value_counts_once_until_it_is_written_again(server, source):
    assert source.read(10, 0.1) is None
    server.write({"a": 0}, 1)
    assert source.read(10, 1).ids == ["ns=2;s=a@1000000000"]
    assert source.read(10, 0.1) is None


def test_read_returns_at_most_max_ticks(server, source):
    server.write({"a": 1, "b": 2}, 1)
    first, second = source.read(1, 1), source.read(1, 1)
    assert [*first.values, *second.values] == [1, 2]
    assert first.position == {"ns=2;s=a": 10**9, "ns=2;s=b": 0}


def test_unchanged_values_can_be_repeated_at_each_poll(server):
    source = source_of(server, "ns=2;s=a", "&unchanged=repeat")
    source.open(None)
    batches = [source.read(10, 1) for _ in range(20)]
    source.close()
    assert [*map(len, batches)] == [1] * 20
    times = [batch.timestamps[0] for batch in batches]
    assert sorted(set(times)) == times
    assert len({batch.ids[0] for batch in batches}) == 20
    assert 0.3 < (times[-1] - times[0]) / 1e9 < 2


def test_polls_are_regular_and_missed_ones_are_counted(server):
    source = source_of(server, "ns=2;s=a", "&unchanged=repeat")
    source.open(None)
    source.read(1, 1)
    began = source._next_poll
    time.sleep(0.11)
    missed = source.read(1, 1).missed
    assert missed >= 4
    missed += sum(source.read(1, 1).missed for _ in range(10))
    source.close()
    beats = (source._next_poll - began) / 0.02
    assert beats == pytest.approx(round(beats))
    assert round(beats) == 11 + missed


def test_a_position_prevents_learning_a_reading_twice(server, source):
    server.write({"a": 1, "b": 1}, 1)
    position = source.read(1, 1).position
    source.read(1, 1)
    source.close()
    assert source.open(position) == position
    assert source.read(10, 1).ids == ["ns=2;s=b@1000000000"]
    assert source.read(10, 0.1) is None


def test_a_clock_can_go_back(server, source):
    server.write({"a": 1}, 100)
    source.read(10, 1)
    server.write({"a": 2}, 50)
    assert source.read(10, 1).values.tolist() == [2]


@pytest.mark.parametrize("timeless", [True, False])
def test_a_reading_without_a_time_has_that_of_the_poll(server, source, timeless):
    server.write({"a": {"value": 1, "timeless": timeless}}, -11644473600)  # 1601
    batches = [source.read(10, 1) for _ in range(2)]
    assert [batch.values.tolist() for batch in batches] == [[1], [1]]
    assert all(abs(batch.timestamps[0] - time.time_ns()) < 5e9 for batch in batches)


def test_bad_values_are_missing_and_uncertain_ones_are_not(server, source):
    server.write({"a": {"value": 1, "status": "BadSensorFailure"}}, 1)
    batch = source.read(10, 1)
    assert math.isnan(batch.values[0])
    assert batch.timestamps.tolist() == [10**9]
    server.write({"a": {"value": 2, "status": "UncertainLastUsableValue"}}, 2)
    assert source.read(10, 1).values.tolist() == [2]


def test_the_status_can_be_a_feature(server):
    source = source_of(server, "ns=2;s=a", fields=Fields(features=("status",)))
    source.open(None)
    server.write({"a": {"value": 2, "status": "UncertainLastUsableValue"}}, 2)
    batch = source.read(10, 1)
    source.close()
    assert batch.features["status"].tolist() == [0x40900000]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("high", "'high' is not a number"),
        (True, "true or false, not a number"),
        ([1, 2], "a list, not a number"),
        (math.nan, "nan is not a number"),
    ],
)
def test_values_of_other_types_are_rejected(server, source, value, reason):
    server.write({"a": value, "b": 1}, 1)
    batch = source.read(10, 1)
    assert reasons(batch) == [f"value: {reason}"]
    assert (batch.values.tolist(), batch.keys) == ([1], ["Node b"])


def test_a_vanished_node_is_rejected_once_and_read_again_when_it_is_back(server, source):
    server.delete("b")
    assert reasons(source.read(10, 1)) == ["value: 'BadNodeIdUnknown' is not a number"]
    assert source.read(10, 0.1) is None
    server.add("b")
    server.write({"b": 3}, 3)
    assert source.read(10, 1).values.tolist()[-1] == 3


def test_an_unknown_node_is_an_error_unless_the_run_continues(server):
    source = source_of(server, "ns=2;s=a,ns=2;s=z")
    with pytest.raises(DataError, match="no node ns=2;s=z"):
        source.open(None)
    source.open({"ns=2;s=a": 1, "ns=2;s=z": 1})
    assert len(reasons(source.read(10, 1))) == 1
    server.add("z")
    server.write({"z": 5}, 5)
    batch = source.read(10, 1)
    source.close()
    server.delete("z")
    assert (batch.keys[-1], batch.values[-1]) == ("Node z", 5)


def test_namespaces_can_be_named(server):
    source = source_of(server, f"nsu={URI};s=a")
    source.open(None)
    assert source.read(1, 1).ids[0] == f"nsu={URI};s=a@0"
    source.close()
    with pytest.raises(DataError, match="no namespace urn:other"):
        source_of(server, "nsu=urn:other;s=a").open(None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "names no nodes"),
        ("?nodes=Pump", "'Pump' is not a node id"),
        ("?nodes=i=x", "'i=x' is not a node id"),
        ("?nodes=i=1,i=1", "is given twice"),
        ("?nodes=i=1&period=0", "above 0"),
        ("?nodes=i=1&period=nan", "above 0"),
        ("?nodes=i=1&unchanged=maybe", "skip or repeat"),
        ("?nodes=i=1&mode=None", "SignAndEncrypt or Sign"),
        ("?nodes=i=1&policy=Basic128", "Basic256Sha256"),
        ("?nodes=i=1&policy=Basic256Sha256", "give policy, certificate and key"),
        ("?nodes=i=1&policy=Basic256Sha256&certificate=/no&key=/no", "does not exist: /no"),
        ("?nodes=i=1&mood=x", "'mood'"),
    ],
)
def test_addresses_are_checked_before_connecting(options, message):
    with pytest.raises(ParameterError, match=message):
        OPCUASource.from_address(Address(f"opc.tcp://host/{options}"), Fields())


def test_fields_are_checked_before_connecting():
    address = Address("opc.tcp://host/?nodes=i=1")
    assert connector("source", address) is OPCUASource
    for fields in (Fields(key="pump"), Fields(sequence="pump")):
        with pytest.raises(ParameterError, match="'pump'"):
            OPCUASource(address, fields, nodes="i=1")


def test_node_ids_can_have_commas_and_semicolons():
    address = Address("opc.tcp://host/?nodes=ns=2;s=a,b;c,nsu=urn:x;s=%26d,i=3")
    assert OPCUASource.from_address(address, Fields())._nodes == [
        "ns=2;s=a,b;c",
        "nsu=urn:x;s=&d",
        "i=3",
    ]


def test_can_be_closed_at_any_time(server):
    source = source_of(server)
    source.close()
    with pytest.raises(ConnectionError, match="not connected"):
        source.read(1, 0)
    source.open(None)
    source.close()
    source.close()


def test_a_dead_or_silent_server_is_a_lost_connection(monkeypatch):
    monkeypatch.setattr(opcua, "TIMEOUT_SECONDS", 0.5)
    with OPCUAServer("ab") as server:
        source = source_of(server)
        source.open(None)
        source.read(10, 1)
        server.stall()
        start = time.monotonic()
        with pytest.raises(ConnectionError, match="no answer"):
            source.read(10, 1)
        source.close()
        with pytest.raises(ConnectionError):
            source.open({})
        assert time.monotonic() - start < 5
        server.resume()
        source.open({})
        server.kill()
        with pytest.raises(ConnectionError):
            source.read(10, 1)
        with pytest.raises(ConnectionError, match="Connect call failed"):
            source.open({})
        server.start()
        source.open({})
        assert len(source.read(10, 1)) == 2
        source.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Paths of certificate and key, by name."""

    def make(name):
        folder = tmp_path_factory.mktemp(name)
        certificate, key = folder / "certificate.der", folder / "key.pem"
        use = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        made = setup_self_signed_certificate(
            key, certificate, f"urn:{name}", socket.gethostname(), use, {}
        )
        asyncio.run(made)
        return certificate, key

    return {name: make(name) for name in ("server", "client", "other")}


def test_connections_can_be_signed_and_encrypted(certificates):
    with OPCUAServer("a", certificates["server"], "p/@:") as server:
        client, key = certificates["client"]
        secure = f"&policy=Basic256Sha256&certificate={client}&key={key}"
        login = "me:${WORD}@"
        for known in ("", f"&server_certificate={certificates['server'][0]}"):
            source = source_of(server, "ns=2;s=a", secure + known, FIELDS, login, {"WORD": "p/@:"})
            source.open(None)
            assert len(source.read(1, 1)) == 1
            source.close()
        with pytest.raises(ParameterError, match="refuses the login"):
            source_of(server, "ns=2;s=a", secure, FIELDS, login, {"WORD": "x"}).open(None)
        with pytest.raises(ParameterError, match="refuses the login"):
            source_of(server, "ns=2;s=a", secure).open(None)
        with pytest.raises((ParameterError, ConnectionError)):
            source_of(server, "ns=2;s=a").open(None)  # neither signed nor encrypted
        signed = source_of(server, "ns=2;s=a", secure + "&mode=Sign")
        with pytest.raises(ParameterError, match="No matching endpoints"):
            signed.open(None)
        swapped = f"&policy=Basic256Sha256&certificate={client}&key={client}"
        with pytest.raises(ParameterError, match="the key or a certificate"):
            source_of(server, "ns=2;s=a", swapped).open(None)
        wrong = f"{secure}&server_certificate={certificates['other'][0]}"
        with pytest.raises((ParameterError, ConnectionError)):
            source_of(server, "ns=2;s=a", wrong, FIELDS, login, {"WORD": "p/@:"}).open(None)


class Interrupted(Counter):
    """Sees to it that there is something new each time it has learned two readings."""

    def __init__(self, server):
        super().__init__()
        self.server = server

    def learn_many(self, keys, values, *rest):
        learned = super().learn_many(keys, values, *rest)
        if len(self.values) == 2:
            self.server.write({"a": 3, "b": 4}, 3)
        if len(self.values) == 4:
            self.server.kill()
            self.server.start()
            self.server.write({"a": 5, "b": 6}, 5)
        return learned


def test_a_run_continues_when_the_server_is_back(monkeypatch):
    monkeypatch.setattr(live, "SHORTEST", 0.01)
    with OPCUAServer("ab") as server:
        server.write({"a": 1, "b": 2}, 1)
        run = LiveRun(Interrupted(server), source_of(server))
        late = threading.Timer(30, run.stop)
        late.start()
        run.run(6)
        late.cancel()
    assert run.model.values == [1, 2, 3, 4, 5, 6]
    assert run.metrics.source_errors > 0


def test_each_reading_is_learned_once_although_processes_are_killed(tmp_path):
    """10,000 readings of 100 nodes; what nodes say stays until it has been delivered."""
    names = [str(n) for n in range(100)]
    nodes = ",".join(f"ns=2;s={name}" for name in names)
    program = Path(__file__).parents[1] / "helpers" / "live_counter.py"

    def start():
        return subprocess.Popen(
            [
                sys.executable, program, server.address(nodes, "&period=0.01"),
                redis.address("forecasts"), tmp_path / "state", "key=node", "time=time",
            ],
            stderr=log,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip

    def delivered():
        return {fields["id"] for _, fields in client.xrevrange("forecasts", count=200)}

    def said(second):
        return {name: second * 100 + n for n, name in enumerate(names)}

    with ExitStack() as stack:
        log = stack.enter_context((tmp_path / "log").open("w"))
        redis = stack.enter_context(RedisServer(tmp_path))
        client = redis.client()
        server = stack.enter_context(OPCUAServer(names))
        server.write(said(0), 0)
        run = start()
        stack.callback(lambda: run.poll() is None and run.kill())
        for second in range(100):
            if second % 30 in (10, 20):  # let a snapshot hold what will be overwritten
                time.sleep(0.5)
            server.write(said(second), second)
            if second % 30 == 10:
                run.kill()
                run.wait()
                run = start()
            elif second % 30 == 20:
                server.kill()
                server.start()
                server.write(said(second), second)
            expected = {f"ns=2;s={name}@{second * 10**9}" for name in names}
            wait_until(lambda expected=expected: expected <= delivered(), 60)
        run.send_signal(signal.SIGTERM)
        assert run.wait(10) == 0
    with Snapshots(tmp_path / "state") as snapshots:
        assert sorted(snapshots.load().model.values) == [*range(10_000)]
