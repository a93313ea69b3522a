"""Kafka: what is delivered, counted, refused, against librdkafka's server for tests.

Against a real one, too, where STREAMLSTM_KAFKA names it, HOST:PORT, and STREAMLSTM_KAFKA_RESTART a
command that kills and starts it; see docs/connectors/kafka.md.
"""

import json
import os
import subprocess
import threading
import time
import uuid
from types import SimpleNamespace

import numpy as np
import pytest
from certificates import certificates
from confluent_kafka import KafkaError
from killed_live import TICKS, killed_and_counted
from live_counter import Counter, learn
from server_kafka import PASSWORD, USER, Client, KafkaServer, messages
from servers import free_port, wait_until
from streamlstm_connectors.brokers import kafka
from streamlstm_connectors.brokers.kafka import KafkaSink, KafkaSource
from streamlstm_connectors.brokers.kafka_connection import KafkaConnection

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.errors import DataError, ParameterError
from streamlstm.live.address import Address
from streamlstm.live.contract import FIELDS, ReplayableContract, SinkContract
from streamlstm.live.payload import Fields, Parser
from streamlstm.live.run import LiveRun

TICK = b'{"key": "a", "value": 1}'


@pytest.fixture(scope="module")
def server():
    with KafkaServer() as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    return server.client()


@pytest.fixture
def topic(client):
    """An empty topic of its own for each test."""
    name = f"ticks-{uuid.uuid4()}"
    client.make(name)
    return name


def source_of(server, topic, options="", fields=None):
    address = Address(server.address(topic) + options)
    return KafkaSource.from_address(address, fields or Fields(key="key"))


def sink_of(server, topic, options=""):
    return KafkaSink.from_address(Address(server.address(f"{topic}-out") + options))


def send(client, topic, values, key="a"):
    assert client.send(topic, (json.dumps({"key": key, "value": v}) for v in values), key)


def sent(client, topic, count):
    """So many forecasts."""
    reader, found = client.reader(f"{topic}-out"), []
    wait_until(lambda: found.extend(messages(reader)) or len(found) >= count)
    reader.close()
    return [json.loads(message.value()) for message in found]


def batch_of(*ids):
    return Parser(Fields(key="key")).batch(ids, [TICK] * len(ids), 0, None)


class TestKafkaSource(ReplayableContract):
    @pytest.fixture(autouse=True)
    def _system(self, server, client, topic):
        self.server, self.client, self.topic = server, client, topic

    def make(self):
        return source_of(self.server, self.topic, "?partitions=3", FIELDS)

    def send(self, sent):
        assert self.client.send(self.topic, map(json.dumps, sent), "a")


class TestKafkaSink(SinkContract):
    @pytest.fixture(autouse=True)
    def _system(self, server, client, topic):
        self.server, self.client, self.topic = server, client, topic

    def make(self):
        return sink_of(self.server, self.topic)

    def delivered(self):
        found = sent(self.client, self.topic, 1)
        return [(each["id"], each["forecast"]) for each in found]


def count_while_killed(server, client, topic, folder, addresses):
    back, ids = client.reader(f"{topic}-out"), []

    def delivered():
        ids.extend(json.loads(message.value())["id"] for message in messages(back))
        return ids

    def send(n):
        """Send a tick, but stay near the run, so that all kills come while ticks do."""
        ahead = n % 100 == 0 and n - len(set(ids)) > 1000
        return not ahead and client.send(topic, [json.dumps({"key": "a", "value": n})])

    values, ids = killed_and_counted(
        *addresses, folder, send, delivered, server, ["sequence=value"]
    )
    back.close()
    assert values == list(range(TICKS))
    return list(dict.fromkeys(ids))


def test_each_tick_is_learned_once_although_processes_are_killed(server, client, topic, tmp_path):
    addresses = server.address(topic), server.address(f"{topic}-out")
    client.make(f"{topic}-out")
    ids = count_while_killed(server, client, topic, tmp_path, addresses)
    assert ids == [f"3-{n}" for n in range(TICKS)]


if "STREAMLSTM_KAFKA" in os.environ:

    class Real:
        """A server that others run."""

        def kill(self):
            if command := os.environ.get("STREAMLSTM_KAFKA_RESTART"):
                subprocess.run(command, shell=True, check=True)

        def start(self):
            pass

    def test_each_tick_is_learned_once_with_a_real_server(tmp_path):
        place, topic = os.environ["STREAMLSTM_KAFKA"], f"ticks-{uuid.uuid4()}"
        client = Client(place)
        client.make(topic)
        client.make(f"{topic}-out")
        addresses = f"kafka://{place}/{topic}", f"kafka://{place}/{topic}-out"
        ids = count_while_killed(Real(), client, topic, tmp_path, addresses)
        assert len(ids) == TICKS


def test_a_continued_fleet_equals_one_that_never_stopped(server, client, topic, tmp_path):
    def fleet():
        model = LSTMForecaster(hidden_size=4, window=5, preset="fast", season=None, horizon=3)
        return ForecasterFleet(model)

    keys, values = ["a", "b", "a", "c"] * 25, np.sin(np.arange(100.0)).tolist()
    whole, expected = fleet(), {}  # of each stream, by a fleet that learns one tick at a time
    for key, value in zip(keys, values, strict=True):
        send(client, topic, [value], key)
        whole.learn_many([key], [value])
        expected.setdefault(key, []).append(whole.forecast(3, [key])[0].tolist())
    for size in (1, 7, 40, 52):
        given = fleet(), source_of(server, topic), sink_of(server, topic), tmp_path / "state"
        run = LiveRun(*given, horizon=3, batch_ticks=20)
        learn(run, size)
    found = {}
    for each in sent(client, topic, 100):
        found.setdefault(each["key"], []).append(each["forecast"])
    assert found == expected
    np.testing.assert_array_equal(
        run.model.forecast(5, ["a", "b", "c"]), whole.forecast(5, ["a", "b", "c"])
    )


def test_nothing_is_acknowledged_before_a_snapshot_holds_it(server, client, topic, tmp_path):
    send(client, topic, range(10))
    states = []

    class Watching(KafkaSink):
        def write(self, *given):
            super().write(*given)
            states.append(client.bookmark(topic)[3])

    sink = Watching(Address(server.address(f"{topic}-out")))
    run = LiveRun(Counter(), source_of(server, topic), sink, tmp_path / "s", batch_ticks=5)
    learn(run, 10)
    assert set(states) == {0}
    assert client.bookmark(topic)[3] == 10


def test_without_snapshots_what_is_written_is_acknowledged(server, client, topic):
    send(client, topic, range(10))
    learn(LiveRun(Counter(), source_of(server, topic), sink_of(server, topic)), 4)
    assert client.bookmark(topic)[3] == 4
    again = LiveRun(Counter(), source_of(server, topic), sink_of(server, topic))
    learn(again, 6)
    assert again.model.values == [4, 5, 6, 7, 8, 9]


def test_starts_at_the_first_or_at_new_messages(server, client, topic):
    send(client, topic, range(3))
    new, first = (
        source_of(server, topic, options) for options in ("?start=new&group=x", "?group=y")
    )
    assert new.open(None)["3"] == 3
    assert first.open(None)["3"] == 0
    new.close()
    send(client, topic, [3.0])
    new.open(None)  # behind the bookmark, not at the end again
    assert new.read(10, 1.0).values.tolist() == [3.0]
    assert first.read(10, 1.0).values[0] == 0.0
    new.close()
    first.close()


def test_runs_can_share_the_partitions(server, client, topic):
    keys = "abcdefgh"
    for n, key in enumerate(keys):
        send(client, topic, [n], key)
    sources = [source_of(server, topic, f"?partitions={each}") for each in ("0,1", "2,3")]
    found = []
    for source, others in zip(sources, ("23", "01"), strict=True):
        assert set(source.open(None)).isdisjoint(others)
        while (batch := source.read(10, 0.3)) is not None:
            found += batch.keys
        source.close()
    assert sorted(found) == list(keys)
    with pytest.raises(ParameterError, match="no partition 7"):
        source_of(server, topic, "?partitions=7").open(None)


def test_several_partitions_need_a_key(server, topic):
    with pytest.raises(ParameterError, match="no common order"):
        source_of(server, topic, fields=Fields()).open(None)
    source = source_of(server, topic, "?partitions=3", Fields())
    assert source.open(None) == {"3": 0}
    source.close()


def test_a_partition_that_the_position_lacks_is_read_from_its_beginning(server, client, topic):
    send(client, topic, range(3))
    source = source_of(server, topic, "?start=new")
    assert source.open({"0": 0, "1": 0, "2": 0})["3"] == 0
    assert [source.read(1, 1.0).values[0] for _ in range(3)] == [0, 1, 2]
    source.close()


def test_messages_deleted_before_they_were_read_are_counted_as_missed(server, client, topic):
    large = json.dumps({"key": "a", "value": 1, "more": "x" * 900_000})
    source = source_of(server, topic)
    source.open(None)
    assert client.send(topic, [TICK])
    position = source.read(1, 1.0).position
    source.close()
    for _ in range(12):  # the server keeps 5 MB
        assert client.send(topic, [large])
    starts = source.open(position)
    found = source.read(1, 1.0)
    assert starts["3"] > 1
    assert found.ids == [f"3-{starts['3']}"]
    assert found.missed == starts["3"] - 1
    assert source.read(1, 1.0).missed == 0
    source.close()


def test_messages_deleted_while_a_run_reads_are_a_lost_connection(
    server, client, topic, monkeypatch
):
    monkeypatch.setattr(kafka, "PREFETCH_MESSAGES", 1)
    monkeypatch.setattr(kafka, "PREFETCH_KIB", 1)
    large = json.dumps({"key": "a", "value": 1, "more": "x" * 900_000})
    source = source_of(server, topic)
    position = source.open(None)
    for _ in range(20):
        assert client.send(topic, [large])
    missed = ticks = 0
    while missed + ticks < 20:
        try:
            batch = source.read(1, 1.0)
        except ConnectionError:
            source.close()
            source.open(position)
        else:
            ticks += len(batch)
            missed += batch.missed
            position = batch.position
    assert missed > 0
    source.close()


def test_a_recreated_topic_is_an_error(server, topic):
    source = source_of(server, topic)
    with pytest.raises(DataError, match="partition 3 ends at 0, before the position 7"):
        source.open({"0": 0, "1": 0, "2": 0, "3": 7})
    source.close()


def test_a_missing_topic_is_waited_for(server, client):
    name = f"later-{uuid.uuid4()}"
    run = LiveRun(Counter(), source_of(server, name))
    threading.Timer(0.3, lambda: (client.make(name), send(client, name, [1]))).start()
    learn(run, 1)
    assert run.metrics.source_errors > 0


def test_fields_can_name_what_kafka_knows_about_a_message(server, client, topic):
    assert client.send(topic, ["5", None, "6"], "pump")
    fields = Fields("@payload", key="@key", time="@time", features=("@partition",))
    source = source_of(server, topic, fields=fields)
    source.open(None)
    batches = [source.read(1, 1.0) for _ in range(3)]
    source.close()
    assert [batch.keys for batch in batches] == [["pump"], [], ["pump"]]
    assert batches[0].timestamps[0] > 1.6e18
    partition = batches[0].features["@partition"].tolist()
    assert batches[2].ids == [f"{int(partition[0])}-2"]
    assert batches[1].rejected[0].reason.startswith("not JSON")  # a tombstone


def test_forecasts_carry_keys_times_and_intervals(server, client, topic):
    message = {"site": "x", "load": "1.5", "at": "2024-01-01T00:00:00Z"}
    assert client.send(topic, [json.dumps(message)], "x")
    model = ForecasterFleet(LSTMForecaster(hidden_size=4, window=5, preset="fast", season=None))
    source = source_of(server, topic, fields=Fields("load", key="site", time="at"))
    learn(LiveRun(model, source, sink_of(server, topic), interval=0.8, horizon=2), 1)
    (found,) = sent(client, topic, 1)
    assert (found["key"], found["time"]) == ("x", 1704067200000000000)
    assert [len(found[name]) for name in ("forecast", "lower", "upper")] == [2, 2, 2]


def test_bad_messages_go_to_a_file_and_the_run_continues(server, client, topic, tmp_path):
    good = [json.dumps({"key": "a", "value": n}) for n in range(TICKS)]
    bad = ["{", "[]", '{"key": "a", "value": "high"}', '{"value": 1}', None]
    mixed = [f'{{"key": "a", "value": 1, "more": "{"x" * (1 << 20)}"}}']
    for n in range(1000):
        mixed += ([bad[n % 5]] if n else []) + good[10 * n : 10 * n + 10]
    assert client.send(topic, mixed)
    dead = tmp_path / "dead"
    run = LiveRun(Counter(), source_of(server, topic), sink_of(server, topic), dead_letters=dead)
    learn(run, TICKS)
    assert run.model.values == list(range(TICKS))
    assert run.metrics.rejected == 1000
    lines = [json.loads(line) for line in dead.read_text().splitlines()]
    assert len({line["id"] for line in lines}) == 1000
    assert lines[0]["reason"].endswith("bytes, more than 1048576")
    assert dead.stat().st_size < 1_000_000


def test_a_slow_reader_holds_little_and_loses_nothing(server, client, topic, monkeypatch):
    def note(statistics):
        partitions = json.loads(statistics)["topics"].get(topic, {"partitions": {}})["partitions"]
        held.extend(each["fetchq_size"] for each in partitions.values())

    monkeypatch.setattr(kafka, "PREFETCH_MESSAGES", 10)
    monkeypatch.setattr(kafka, "PREFETCH_KIB", 100)
    source, held = source_of(server, topic), []
    settings = source._connection.settings
    noting = {"statistics.interval.ms": 10, "stats_cb": note, "fetch.message.max.bytes": 100_000}
    monkeypatch.setattr(source._connection, "settings", lambda: settings() | noting)
    payloads = [json.dumps({"key": "a", "value": n, "more": "x" * 1000}) for n in range(3000)]
    for n in range(0, 3000, 100):
        assert client.send(topic, payloads[n : n + 100])
    source.open(None)
    found = []
    while len(found) < 3000:
        found += source.read(50, 1.0).values.tolist()
        time.sleep(0.005)
    source.close()
    assert found == [*range(3000)]
    assert 0 < max(held) < 500_000  # of 3 MB


def test_a_full_queue_of_the_client_is_emptied(server, client, topic, monkeypatch):
    sink = sink_of(server, topic)
    settings = sink._connection.settings
    few = {"queue.buffering.max.messages": 10}
    monkeypatch.setattr(sink._connection, "settings", lambda: settings() | few)
    sink.open()
    ids = [f"3-{n}" for n in range(100)]
    sink.write(batch_of(*ids), np.zeros((100, 1)))
    sink.close()
    assert [each["id"] for each in sent(client, topic, 100)] == ids


def test_a_forecast_that_is_too_large_is_an_error(server, topic):
    sink = sink_of(server, topic)
    sink.open()
    with pytest.raises(DataError, match="large"):
        sink.write(batch_of("3-0"), np.zeros((1, 1_000_000)))
    sink.close()


def test_a_dead_server_is_a_lost_connection(client, topic, server):
    send(client, topic, [1])
    source, sink = source_of(server, topic), sink_of(server, topic)
    position = source.open(None)
    sink.open()
    server.kill()
    try:
        for fails in (
            lambda: [source.read(10, 0.2) for _ in range(20)],
            lambda: sink.write(batch_of("3-0"), np.zeros((1, 1))),
            sink.open,
            lambda: source.open(position),
        ):
            with pytest.raises(ConnectionError, match="kafka://127"):
                fails()
    finally:
        server.start()
    sink.open()
    sink.write(batch_of("3-1"), np.zeros((1, 1)))
    source.open(position)
    assert source.read(10, 1.0).values.tolist() == [1.0]
    source.close()
    sink.close()


def test_a_stalled_server_is_a_lost_connection(server, client, topic, monkeypatch):
    monkeypatch.setattr(KafkaConnection, "timeout_seconds", 1.2)
    source, sink = source_of(server, topic), sink_of(server, topic)
    position = source.open(None)
    sink.open()
    server.stall()
    try:
        for fails in (
            lambda: sink.write(batch_of("3-0"), np.zeros((1, 1))),
            lambda: source.acknowledge(position),
            lambda: [source.read(1, 0.2) for _ in range(40)],
            lambda: source.open(position),
        ):
            with pytest.raises(ConnectionError, match="kafka://127"):
                fails()
        source.close()
        sink.close()
    finally:
        server.resume()
    source.open(position)
    assert source.read(1, 0.05) is None
    source.close()


def test_a_forecast_that_the_client_gave_up_does_not_count_as_written(server, topic, monkeypatch):
    sink = sink_of(server, topic)
    settings = sink._connection.settings
    short = {"message.timeout.ms": 500}
    monkeypatch.setattr(sink._connection, "settings", lambda: settings() | short)
    sink.open()
    monkeypatch.setattr(sink._connection, "check", lambda: None)
    server.stall()
    try:
        with pytest.raises(ConnectionError, match="timed out"):
            sink.write(batch_of("3-0"), np.zeros((1, 1)))
    finally:
        server.resume()
        sink.close()


def test_a_slow_network_is_waited_for_while_it_makes_progress(monkeypatch):
    monkeypatch.setattr(KafkaConnection, "timeout_seconds", 1.2)
    with KafkaServer(rate=8_000_000) as server:
        sink = sink_of(server, "ticks")
        sink.open()
        ids = [f"3-{n}" for n in range(1000)]
        sink.write(batch_of(*ids), np.zeros((1000, 4000)))  # 20 MB
        sink.close()


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (KafkaError._AUTHENTICATION, "SASL authentication error: wrong password", ParameterError),
        (KafkaError._AUTHENTICATION, "failed: Local: Broker transport failure", ConnectionError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, None, ParameterError),
        (KafkaError.TOPIC_EXCEPTION, None, DataError),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, None, ConnectionError),
    ],
)
def test_errors_about_a_topic_pass_or_end_the_run(server, topic, code, text, kind):
    source = source_of(server, topic)
    with pytest.raises(kind):
        source._partitions(SimpleNamespace(error=KafkaError(code, text)))


def test_a_host_can_be_an_ipv6_address():
    with pytest.raises(ConnectionError, match=r"ipv6#\[::1\]"):
        KafkaSink(Address(f"kafka://[::1]:{free_port()}/ticks")).open()


def test_tls_checks_certificates_and_logins(tmp_path):
    paths = certificates(tmp_path)
    with KafkaServer(paths, login=True) as server:
        client = server.client()
        client.make("ticks")
        send(client, "ticks", [1])

        def address(topic, login, options=""):
            place = server.address(topic).replace("//", f"//{login}@")
            return Address(place + options, {"WORD": PASSWORD})

        trusting = f"?ca={paths.authority}"
        source = KafkaSource(
            address("ticks", USER + ":${WORD}"), Fields(key="key"), ca=paths.authority
        )
        source.open(None)
        assert source.read(1, 1.0).values.tolist() == [1.0]
        source.acknowledge({"3": 1})
        source.close()
        assert client.bookmark("ticks")[3] == 1
        sink = KafkaSink.from_address(address("ticks-out", USER + ":${WORD}", trusting))
        sink.open()
        sink.write(batch_of("3-0"), np.zeros((1, 1)))
        sink.close()
        assert sent(client, "ticks", 1)[0]["id"] == "3-0"
        for login, options, reason in [
            (f"{USER}:wrong", trusting, "refuses the login.*wrong password"),
            (USER + ":${WORD}", "", "no trusted certificate"),
            (USER + ":${WORD}", "?ca=/not/there", "cannot use the certificates"),
            (USER + ":${WORD}", trusting + "&sasl=NONE", "Unsupported"),
        ]:
            with pytest.raises(ParameterError, match=reason):
                KafkaSink.from_address(address("ticks", login, options)).open()
        with pytest.raises(ParameterError, match="refuses the login"):
            KafkaSource.from_address(
                address("ticks", f"{USER}:wrong", trusting), Fields(key="key")
            ).open(None)


def test_further_servers_replace_a_dead_first_one(server, client, topic):
    send(client, topic, [1])
    address = f"kafka://127.0.0.1:{free_port()}/{topic}?servers=127.0.0.1:{server.port}"
    source = KafkaSource.from_address(Address(address), Fields(key="key"))
    source.open(None)
    assert source.read(1, 1.0).values.tolist() == [1.0]
    source.close()


def test_a_server_that_lost_its_messages_is_noticed():
    with KafkaServer() as server:
        client = server.client()
        client.make("ticks")
        send(client, "ticks", range(3))
        source = source_of(server, "ticks")
        source.open(None)
        position = source.read(3, 1.0).position
        server.kill()
        server.start_empty()
        server.client().make("ticks")
        with pytest.raises(DataError, match="ends at 0"):
            source.open(position)
        source.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("kafka://localhost", "names no topic"),
        ("kafka://localhost/t?grup=x", "'grup'"),
        ("kafka://localhost/t?group=", "group is empty"),
        ("kafka://localhost/t?start=last", "first or new"),
        ("kafka://localhost/t?partitions=0,x", "partitions must be numbers such as 0,1, got '0,x'"),
        ("kafka://localhost/t?ca=x", "ca needs TLS: write kafkas://"),
        ("kafkas://localhost/t?cert=x", "both cert and key"),
    ],
)
def test_addresses_are_checked_before_connecting(address, message):
    with pytest.raises(ParameterError, match=message):
        KafkaSource.from_address(Address(address), Fields(key="key"))
