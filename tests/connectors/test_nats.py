"""NATS JetStream against a real server: delivery, what is learned once, and errors."""

import json
import logging
import socket
import threading
import time
from contextlib import suppress

import nats.errors
import numpy as np
import pytest
from certificates import certificates
from killed_live import TICKS, killed_and_counted
from live_counter import Counter, learn
from nats.js.api import DiscardPolicy, RetentionPolicy
from server_nats import NATSServer
from streamlstm_connectors.brokers.nats import NATSSink, NATSSource
from streamlstm_connectors.brokers.nats_connection import NATSConnection

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.errors import DataError, ParameterError
from streamlstm.live.address import Address
from streamlstm.live.contract import FIELDS, ReplayableContract, SinkContract
from streamlstm.live.payload import Fields, Parser
from streamlstm.live.run import LiveRun


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A server for tests that leave it alive."""
    with NATSServer(tmp_path_factory.mktemp("nats")) as server:
        client = server.client()
        yield server, client
        client.close()


@pytest.fixture
def server(shared):
    return shared[0]


@pytest.fixture
def client(shared):
    """A client of a server that has an empty stream TICKS, and nothing else."""
    client = shared[1]
    clear(client)
    client.add("TICKS", "ticks.>")
    return client


def clear(client):
    for each in client(client.streams.streams_info()):
        client(client.streams.delete_stream(each.config.name))


@pytest.fixture
def own(tmp_path):
    """A server to kill, and a client of it."""
    with NATSServer(tmp_path) as server:
        client = server.client()
        client.add("TICKS", "ticks.>")
        yield server, client
        client.close()


_made = []  # connectors of the test that runs


@pytest.fixture(autouse=True)
def _closed():
    """Close what a test has made and left open."""
    yield
    while _made:
        _made.pop().close()


def source_at(address, fields=None):
    _made.append(NATSSource.from_address(address, fields or Fields(key="key")))
    return _made[-1]


def sink_at(address):
    _made.append(NATSSink.from_address(address))
    return _made[-1]


def source_of(server, options="", fields=None, stream="TICKS"):
    return source_at(Address(server.address(stream) + options), fields)


def sink_of(server, options="?create=1", stream="FORECASTS"):
    return sink_at(Address(server.address(stream) + options))


def send(client, values, key="a", subject="ticks.x"):
    return client.send(subject, [json.dumps({"key": key, "value": n}).encode() for n in values])


def bookmark(client, name="TICKS.streamlstm"):
    found = client(client.streams.get_last_msg("KV_streamlstm", f"$KV.streamlstm.{name}"))
    return json.loads(found.data)[1]


def one_tick(key="a", name="1-0"):
    return Parser(Fields(key="key")).batch(
        [name], [json.dumps({"key": key, "value": 1}).encode()], 0, None
    )


class TestNATSSource(ReplayableContract):
    @pytest.fixture(autouse=True)
    def _server(self, server, client):
        self.server, self.client = server, client

    def make(self):
        return source_of(self.server, "?subject=ticks.*", FIELDS)

    def send(self, messages):
        self.client.send("ticks.x", [json.dumps(each).encode() for each in messages])


class TestNATSSink(SinkContract):
    @pytest.fixture(autouse=True)
    def _server(self, server, client):
        self.server, self.client = server, client

    def make(self):
        return sink_of(self.server)

    def delivered(self):
        found = self.client.received("FORECASTS")
        return [(record["id"], record["forecast"]) for _, record in found]


def test_each_tick_is_learned_once_although_processes_are_killed(tmp_path):
    with NATSServer(tmp_path) as server:
        client = server.client(max_reconnect_attempts=-1)
        client.add("TICKS", "ticks.>", duplicate_window=600)
        client.add("FORECASTS", "forecasts.>", duplicate_window=600)

        def send(n):
            """With an id, so that one sent twice is stored once."""
            payload = json.dumps({"key": "a", "value": n}).encode()
            headers = {"Nats-Msg-Id": str(n)}
            with suppress(nats.errors.Error):
                client(client.streams.publish("ticks.a", payload, timeout=0.5, headers=headers))
                return True
            return False

        def delivered():
            """As many as there are, which have ids of their own; they are read at the end."""
            with suppress(nats.errors.Error):
                found.append(client(client.streams.stream_info("FORECASTS")).state.last_seq)
            return range(found[-1])

        found = [0]
        addresses = server.address("TICKS"), server.address("FORECASTS")
        values, _ = killed_and_counted(*addresses, tmp_path, send, delivered, server)
        ids = [record["id"] for _, record in client.received("FORECASTS")]
        client.close()
    assert values == list(range(TICKS))
    assert [int(name.split("-")[0]) for name in ids] == [*range(1, TICKS + 1)]  # once, in order


def test_a_continued_fleet_equals_one_that_never_stopped(server, client, tmp_path):
    def fleet():
        model = LSTMForecaster(hidden_size=4, window=5, preset="fast", season=None, horizon=3)
        return ForecasterFleet(model)

    keys, values = ["a", "b", "a", "c"] * 50, np.sin(np.arange(200.0)).tolist()
    for key, value in zip(keys, values, strict=True):
        send(client, [value], key)
    expected = []  # after each tick, by a fleet that learns one at a time
    whole = fleet()
    for key, value in zip(keys, values, strict=True):
        whole.learn_many([key], [value])
        expected.append((f"forecasts.{key}", whole.forecast(3, [key])[0].tolist()))
    for size in (1, 7, 90, 102):
        given = fleet(), source_of(server), sink_of(server), tmp_path / "state"
        run = LiveRun(*given, horizon=3, batch_ticks=40)
        learn(run, size)
    found = client.received("FORECASTS")
    assert [(subject, record["forecast"]) for subject, record in found] == expected
    np.testing.assert_array_equal(run.model.forecast(5), whole.forecast(5))


def test_nothing_is_acknowledged_before_a_snapshot_holds_it(server, client, tmp_path):
    send(client, range(10))
    states = []

    class Watching(NATSSink):
        def write(self, *given):
            super().write(*given)
            states.append(bookmark(client))

    sink = Watching(Address(server.address("FORECASTS")), create=1)
    learn(LiveRun(Counter(), source_of(server), sink, tmp_path / "s", batch_ticks=5), 10)
    assert states == [0, 0]
    assert bookmark(client) == 10


def test_without_snapshots_what_is_written_is_acknowledged(server, client):
    send(client, range(10))
    learn(LiveRun(Counter(), source_of(server), sink_of(server)), 4)
    assert bookmark(client) == 4
    again = LiveRun(Counter(), source_of(server), sink_of(server))
    learn(again, 6)
    assert again.model.values == [4, 5, 6, 7, 8, 9]


def test_starts_at_the_first_or_at_new_messages(server, client):
    send(client, range(3))
    new, first = source_of(server, "?start=new&durable=x"), source_of(server, "?durable=y")
    assert (new.open(None)[1], first.open(None)[1]) == (3, 0)
    new.close()
    send(client, [3.0])
    new.open(None)  # where it was told to begin at first
    assert new.read(10, 1.0).values.tolist() == [3.0]
    assert first.read(2, 1.0).values.tolist() == [0.0, 1.0]
    assert first.read(10, 1.0).values.tolist() == [2.0, 3.0]
    assert first.read(10, 0.01) is None
    new.close()
    first.close()


def test_a_subject_filters_and_fields_can_name_what_the_server_knows(server, client):
    send(client, [1, 2], subject="ticks.a")
    send(client, [3, 4], subject="ticks.b")
    before = time.time_ns()
    send(client, [5], subject="ticks.a")
    fields = Fields(key="@subject", time="@time", sequence="@seq")
    source = source_of(server, "?subject=ticks.a", fields)
    source.open(None)
    batches = [source.read(2, 1.0), source.read(2, 1.0)]
    source.close()
    assert [batch.values.tolist() for batch in batches] == [[1.0, 2.0], [5.0]]
    assert batches[1].keys == ["ticks.a"]
    assert batches[1].sequence.tolist() == [5]
    assert abs(batches[1].timestamps[0] - before) < 5e9
    assert batches[1].missed == 0


def test_messages_dropped_before_they_were_read_are_counted_as_missed(server, client):
    client.add("FEW", "few", max_msgs=5)
    source = source_of(server, stream="FEW")
    position = source.open(None)
    send(client, range(8), subject="few")
    batch = source.read(100, 1.0)
    source.close()
    assert (batch.missed, batch.values.tolist()) == (3, [3, 4, 5, 6, 7])
    client(client.streams.delete_msg("FEW", 6))
    run = LiveRun(Counter(), source := source_of(server, stream="FEW"))
    learn(run, 4)
    assert run.metrics.missed == 4
    source.open(position)
    assert source.read(100, 1.0).missed == 4
    source.close()


def test_forecasts_carry_keys_times_and_intervals(server, client):
    fields = Fields("load", key="site", time="at")
    record = {"site": "x y.z*>", "load": "1.5", "at": "2024-01-01T00:00:00Z"}
    client.send("ticks.x", [json.dumps(record).encode()])
    model = ForecasterFleet(LSTMForecaster(hidden_size=4, window=5, preset="fast", season=None))
    source, sink = source_of(server, fields=fields), sink_of(server)
    learn(LiveRun(model, source, sink, interval=0.8, horizon=2), 1)
    ((subject, found),) = client.received("FORECASTS")
    assert subject == "forecasts.x%20y%2Ez%2A%3E"
    assert found["id"].startswith("1-")
    assert (found["key"], found["time"]) == ("x y.z*>", 1704067200000000000)
    assert [len(found[name]) for name in ("forecast", "lower", "upper")] == [2, 2, 2]


def test_subjects_of_long_keys_and_of_no_key(server, client):
    sink = sink_of(server)
    sink.open()
    sink.write(one_tick("ä" * 500), np.zeros((1, 1)))
    sink.write(Parser(Fields()).batch(["2-0"], [b'{"value": 1}'], 0, None), np.zeros((1, 1)))
    sink.close()
    subjects, records = zip(*client.received("FORECASTS"), strict=True)
    assert (len(subjects[0]), subjects[1]) == (len("forecasts.") + 200, "forecasts._")
    assert records[0]["key"] == "ä" * 500


def test_a_forecast_that_is_sent_again_is_stored_once(server, client):
    sink = sink_of(server)
    for name in ("1-0", "1-0", "2-0"):
        sink.open()
        sink.write(one_tick(name=name), np.zeros((1, 1)))
    sink.close()
    assert [record["id"] for _, record in client.received("FORECASTS")] == ["1-0", "2-0"]


def test_bad_messages_go_to_a_file_and_the_run_continues(tmp_path):
    bad = [b'{"key": "a"}', b'{"key": "a", "value": "high"}', b"{", b'{"value": "1"}', b""]
    huge = b'{"key": "a", "value": 1, "more": "%s"}' % (b"x" * 10_000_000)
    with NATSServer(tmp_path, settings="max_payload: 16MB\nmax_pending: 64MB") as server:
        client = server.client()
        client.add("TICKS", "ticks.>")
        payloads = []
        for n in range(1000):
            payloads.append(huge if n == 0 else bad[n % 5])
            values = range(10 * n, 10 * n + 10)
            payloads += [b'{"key": "a", "value": %d}' % value for value in values]
        client.send("ticks.x", payloads)
        run = LiveRun(Counter(), source_of(server), sink_of(server), dead_letters=tmp_path / "dead")
        learn(run, TICKS)
        client.close()
    assert run.model.values == list(range(TICKS))
    assert run.metrics.rejected == 1000
    assert run.metrics.missed == 0
    lines = [json.loads(line) for line in (tmp_path / "dead").read_text().splitlines()]
    assert len({line["id"] for line in lines}) == 1000
    assert lines[0]["reason"] == f"{len(huge)} bytes, more than 1048576"
    assert lines[1]["reason"] == "value: 'high' is not a number"
    assert (tmp_path / "dead").stat().st_size < 1_000_000


def test_a_slow_reader_holds_little_and_loses_nothing(server, client):
    source = source_of(server)
    source.open(None)
    payload = b'{"key": "a", "value": %d, "more": "' + b"x" * 10_000 + b'"}'
    client.send("ticks.x", [payload % n for n in range(2000)])
    values, most = [], 0
    while len(values) < 2000:
        values += source.read(50, 1.0).values.tolist()
        most = max(most, len(source._arrived))
        time.sleep(0.001)
    source.close()
    assert values == list(range(2000))
    assert most <= 220  # of 10 kB, where the server sends 2 MB at a time


def test_a_deleted_bookmark_is_made_again(server, client):
    send(client, range(3))
    source = source_of(server)
    source.open(None)
    position = source.read(2, 1.0).position
    client(client.streams.delete_key_value("streamlstm"))
    source.acknowledge(position)
    assert bookmark(client) == 2
    source.close()
    bucket = client(client.streams.key_value("streamlstm"))
    client(bucket.delete("TICKS.streamlstm"))
    assert source.open(None)[1] == 0
    source.close()


def test_a_deleted_consumer_is_a_lost_connection(server, client, monkeypatch):
    monkeypatch.setattr(NATSConnection, "timeout_seconds", 0.3)
    source = source_of(server)
    source.open(None)
    assert source.read(1, 0.05) is None
    (consumer,) = client(client.streams.consumers_info("TICKS"))
    client(client.streams.delete_consumer("TICKS", consumer.name))
    with pytest.raises(ConnectionError, match="Consumer Deleted"):
        source.read(1, 1.0)
    source.close()
    source.open(None)
    (consumer,) = client(client.streams.consumers_info("TICKS"))
    client(client.streams.delete_consumer("TICKS", consumer.name))
    with pytest.raises(ConnectionError, match="no answer"):  # which was not asked yet
        source.read(1, 1.0)
    source.close()


def test_a_recreated_stream_is_an_error(server, client):
    send(client, range(3))
    source = source_of(server)
    source.open(None)
    position = source.read(3, 1.0).position
    source.acknowledge(position)
    source.close()
    client(client.streams.delete_stream("TICKS"))
    with pytest.raises(DataError, match="no stream TICKS: nats stream add TICKS"):
        source.open(position)
    client.add("TICKS", "ticks.>")
    send(client, range(5))
    for given in (position, None):
        with pytest.raises(DataError, match="not the stream that was read before"):
            source.open(given)
    source.close()
    again = source_of(server, "?durable=again")
    again.open(None)
    assert again.read(10, 1.0).values.tolist() == [0, 1, 2, 3, 4]
    again.close()


def test_a_dead_server_is_a_lost_connection(own):
    server, client = own
    send(client, range(3))
    source, sink = source_of(server), sink_of(server)
    source.open(None)
    sink.open()
    assert source.read(2, 1.0).values.tolist() == [0.0, 1.0]
    server.kill()
    with pytest.raises(ConnectionError, match="nats://127"):
        source.read(1, 5) and source.read(1, 5)
    with pytest.raises(ConnectionError, match="nats://127"):
        sink.write(one_tick(), np.zeros((1, 1)))
    for each in (sink.open, lambda: source.open(None), lambda: source.acknowledge(None)):
        with pytest.raises(ConnectionError, match="nats://127"):
            each()
    server.start()
    source.open(None)
    assert source.read(5, 1.0).values.tolist() == [0.0, 1.0, 2.0]
    source.close()
    sink.close()


def test_a_full_stream_is_a_lost_connection(server, client):
    client.add("FORECASTS", "forecasts.*", max_msgs=1, discard=DiscardPolicy.NEW)
    sink = sink_of(server)
    sink.open()
    sink.write(one_tick(), np.zeros((1, 1)))
    with pytest.raises(ConnectionError, match="maximum messages exceeded"):
        sink.write(one_tick(name="2-0"), np.zeros((1, 1)))
    client(client.streams.purge_stream("FORECASTS"))
    sink.open()
    sink.write(one_tick(name="2-0"), np.zeros((1, 1)))
    client(client.streams.delete_stream("FORECASTS"))
    with pytest.raises(ConnectionError, match="no stream takes the subject"):
        sink.write(one_tick(name="3-0"), np.zeros((1, 1)))
    sink.close()


def test_a_full_account_is_a_lost_connection(tmp_path):
    limits = "jetstream { max_file: 20000, max_mem: 20000 }, users: [{ user: me, password: x }]"
    with NATSServer(tmp_path, settings=f"accounts {{ A {{ {limits} }} }}") as server:
        sink = sink_at(Address(server.address("FORECASTS?create=1").replace("//", "//me:x@")))
        sink.open()
        ids = [f"{n}-0" for n in range(20)]
        batch = Parser(Fields()).batch(ids, [b'{"value": 1}'] * 20, 0, None)
        with pytest.raises(ConnectionError, match="resource limits exceeded"):
            sink.write(batch, np.zeros((20, 1000)))


def test_a_consumer_of_a_lost_connection_is_waited_for(server, client):
    client.add("ONE", "one", max_consumers=1)
    source = source_of(server, stream="ONE")
    source.open(None)
    source.close()
    with pytest.raises(ConnectionError, match="maximum consumers"):
        source.open(None)
    (consumer,) = client(client.streams.consumers_info("ONE"))
    client(client.streams.delete_consumer("ONE", consumer.name))
    source.open(None)


def test_a_stalled_server_is_a_lost_connection(own, monkeypatch):
    monkeypatch.setattr(NATSConnection, "timeout_seconds", 0.4)
    server, _ = own
    source, sink = source_of(server), sink_of(server)
    position = source.open(None)
    sink.open()
    for _ in range(10):
        assert source.read(1, 0.1) is None  # it lives
    server.stall()
    try:
        with pytest.raises(ConnectionError, match="no answer"):
            source.read(1, 1.0)
        with pytest.raises(ConnectionError, match="nats://127"):
            source.acknowledge(position)
        with pytest.raises(ConnectionError, match="nats://127"):
            sink.write(one_tick(), np.zeros((1, 1)))
        with pytest.raises(ConnectionError, match="nats://127"):
            source.open(None)
    finally:
        server.resume()
    sink.open()
    many = Parser(Fields()).batch([f"{n}-0" for n in range(300)], [b'{"value": 1}'] * 300, 0, None)
    server.stall()
    try:
        with pytest.raises(ConnectionError, match="no answer"):
            sink.write(many, np.zeros((300, 20_000)))  # 30 MB, more than the network holds
    finally:
        server.resume()
    source.open(None)
    assert source.read(1, 0.05) is None
    source.close()
    sink.close()


def test_a_busy_run_keeps_its_connection(server, client, monkeypatch):
    monkeypatch.setattr(NATSConnection, "timeout_seconds", 0.2)
    source = source_of(server)
    source.open(None)
    time.sleep(0.5)
    assert source.read(1, 0.05) is None
    send(client, [1, 2])
    assert source.read(1, 1.0).values.tolist() == [1]
    time.sleep(1.0)  # beyond the end of what it asked for
    assert source.read(1, 0.05).values.tolist() == [2]


def test_tls_checks_certificates(tmp_path):
    paths = certificates(tmp_path)
    with NATSServer(tmp_path, paths) as server:
        sink = sink_of(server, f"?ca={paths.authority}&create=1")
        sink.open()
        sink.write(one_tick(), np.zeros((1, 1)))
        sink.close()
        source = source_of(server, f"?ca={paths.authority}", stream="FORECASTS")
        source.open(None)
        assert source.read(1, 1.0).rejected[0].reason.startswith("value: missing; ")
        source.close()
        with pytest.raises(ParameterError, match="certificate"):
            source_of(server).open(None)


def test_a_server_can_require_a_certificate(tmp_path):
    paths = certificates(tmp_path)
    verified = (
        f"tls {{ cert_file: '{paths.certificate}', key_file: '{paths.key}', "
        f"ca_file: '{paths.authority}', verify: true }}"
    )
    with NATSServer(tmp_path, settings=verified) as server:
        address = server.address("FORECASTS").replace("nats", "natss")
        shown = f"&cert={paths.certificate}&key={paths.key}"
        sink_at(Address(f"{address}?create=1&ca={paths.authority}{shown}")).open()
        with pytest.raises(ParameterError, match="wants a certificate"):
            sink_at(Address(f"{address}?ca={paths.authority}")).open()


def test_no_login_is_sent_without_tls_if_tls_was_asked_for(server):
    address = Address(server.address("TICKS").replace("nats://", "natss://me:secret@"))
    with pytest.raises(ParameterError, match="the server does not use it"):
        source_at(address).open(None)


@pytest.mark.parametrize(
    ("settings", "login"),
    [
        ("authorization { user: 'me', password: 'a/b@c' }", "me:${WORD}@"),
        ("authorization { token: 'a/b@c' }", "${WORD}@"),
    ],
)
def test_users_and_tokens_can_log_in(tmp_path, settings, login):
    with NATSServer(tmp_path, settings=settings) as server:
        text = server.address("TICKS?create=1").replace("//", f"//{login}")
        sink_at(Address(text, {"WORD": "a/b@c"})).open()
        for wrong in (Address(text, {"WORD": "x"}), Address(server.address("TICKS"))):
            with pytest.raises(ParameterError, match="refuses the login"):
                sink_at(wrong).open()


def test_a_login_that_times_out_is_a_lost_connection():
    def late():
        """What a server says to a client that its network keeps from answering."""
        made, _ = listener.accept()
        with made:
            made.sendall(b'INFO {"auth_required": true, "max_payload": 1000}\r\n')
            made.recv(1000)
            made.sendall(b"-ERR 'Authentication Timeout'\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=late).start()
        address = Address(f"nats://me:x@127.0.0.1:{listener.getsockname()[1]}/TICKS")
        with pytest.raises(ConnectionError, match="Authentication Timeout"):
            source_at(address).open(None)


def test_missing_permissions_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(NATSConnection, "timeout_seconds", 0.5)
    user = "{ user: me, password: x, permissions: { publish: ['nothing'] } }"
    with NATSServer(tmp_path, settings=f"authorization {{ users: [{user}] }}") as server:
        address = Address(server.address("TICKS").replace("//", "//me:x@"))
        with pytest.raises(ParameterError, match="permissions violation"):
            source_at(address).open(None)


def test_permanent_errors_end_the_run(server, client):
    client.add("WORK", "work", retention=RetentionPolicy.WORK_QUEUE)
    with pytest.raises(DataError, match="retention must be limits, not workqueue"):
        source_of(server, stream="WORK").open(None)
    with pytest.raises(DataError, match="no stream FORECASTS: nats stream add"):
        sink_of(server, "").open()
    with pytest.raises(DataError, match=r"does not take the subject forecasts\.\*"):
        sink_of(server, stream="TICKS").open()
    client.add("SMALL", "small.*", max_msg_size=10)
    sink = sink_of(server, "?subject=small.{key}", stream="SMALL")
    sink.open()
    with pytest.raises(DataError, match="message size exceeds"):
        sink.write(one_tick(), np.zeros((1, 1)))
    with pytest.raises(DataError, match="maximum payload"):
        sink.write(one_tick(), np.zeros((1, 1_000_000)))
    sink.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nats://localhost", "names no stream"),
        ("nats://localhost/a.b", "names no stream"),
        ("nats://localhost/S?durrable=x", "'durrable'"),
        ("nats://localhost/S?durable=a.b", "durable must be made of"),
        ("nats://localhost/S?start=last", "first or new"),
        ("nats://localhost/S?ca=x", "write natss://"),
        ("natss://localhost/S?ca=/nowhere", "nowhere|No such file"),
        ("natss://localhost/S?cert=x", "both cert and key"),
    ],
)
def test_addresses_are_checked_before_connecting(address, message):
    with pytest.raises(ParameterError, match=message):
        NATSSource.from_address(Address(address), Fields())


@pytest.mark.parametrize("subject", ["a b", "a..b", "forecasts.*", "a.{kee}", "a{key}", ""])
def test_subjects_are_checked_before_connecting(subject):
    with pytest.raises(ParameterError, match="subject must be like"):
        NATSSink(Address("nats://localhost/S"), subject)


def test_the_client_logs_nothing_itself(server, client, caplog):
    with caplog.at_level(logging.INFO):
        source = source_of(server)
        source.open(None)
        source.close()
    assert not caplog.records
