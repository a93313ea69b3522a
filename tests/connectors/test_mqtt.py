"""MQTT against a real broker: delivery, what is learned once, and errors."""

import json
import socket
import subprocess
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from certificates import certificates
from killed_live import TICKS, killed_and_counted
from live_counter import Counter, learn
from paho.mqtt.client import DisconnectFlags
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from server_mqtt import MQTTServer
from servers import program, wait_until
from streamlstm_connectors.brokers import mqtt
from streamlstm_connectors.brokers.mqtt import MQTTSink, MQTTSource
from streamlstm_connectors.brokers.mqtt_connection import MQTTConnection

from streamlstm.errors import DataError, ParameterError
from streamlstm.live.address import Address
from streamlstm.live.contract import FIELDS, RedeliveringContract, SinkContract
from streamlstm.live.payload import Fields, Parser
from streamlstm.live.run import LiveRun

NUMBERED = Fields(key="@topic", sequence="n")


@pytest.fixture(scope="module")
def lasting_server(tmp_path_factory):
    with MQTTServer(tmp_path_factory.mktemp("mqtt")) as server:
        yield server


@pytest.fixture
def server(tmp_path):
    with MQTTServer(tmp_path) as server:
        yield server


@pytest.fixture(params=["5", "3.1.1"])
def version(request):
    return request.param


def source_of(server, options="", fields=NUMBERED, topics="ticks/#"):
    return MQTTSource.from_address(Address(server.address(topics) + options), fields)


def sink_of(server, options="", topic="forecasts/{key}"):
    return MQTTSink.from_address(Address(server.address(topic) + options))


def ticks(first, count):
    return [json.dumps({"value": n, "n": n}) for n in range(first, first + count)]


def send(server, first, count, topic="ticks/a", **how):
    client = server.client()
    client.publish(topic, *ticks(first, count), **how)
    client.close()


def begin(server, **how):
    """Make the session, so that it has what is sent from now on."""
    source = source_of(server, **how)
    source.open(None)
    source.close()


def read(source, count):
    """So many messages, in batches."""
    batches, end = [], time.monotonic() + 10
    while (found := sum(len(each) + len(each.rejected) for each in batches)) < count:
        assert time.monotonic() < end, f"{found} of {count} have come"
        batch = source.read(count - found, 0.5)
        batches += [] if batch is None else [batch]
    return batches


def values(batches):
    return [value for batch in batches for value in batch.values.tolist()]


class _OfMQTT:
    @pytest.fixture(autouse=True)
    def _topic(self, lasting_server, request):
        self.server = lasting_server
        self.topic = f"{type(self).__name__}/{request.node.name}"
        self.client = lasting_server.client()
        yield
        self.client.close()


class TestMQTTSource(_OfMQTT, RedeliveringContract):
    def make(self):
        return source_of(self.server, fields=FIELDS, topics=self.topic)

    def send(self, messages):
        self.client.publish(self.topic, *map(json.dumps, messages))


class TestOldMQTTSource(TestMQTTSource):
    def make(self):
        return source_of(self.server, "?version=3.1.1", FIELDS, self.topic)


class TestMQTTSink(_OfMQTT, SinkContract):
    @pytest.fixture(autouse=True)
    def _reader(self, _topic):
        self.reader = self.server.client(topic=f"{self.topic}/#")
        yield
        self.reader.close()

    def make(self):
        return sink_of(self.server, topic=self.topic + "/{key}")

    def delivered(self):
        found = self.reader.messages
        self.client.publish(f"{self.topic}/last", "{}")
        wait_until(lambda: found and found[-1].topic.endswith("/last"))
        made = [json.loads(message.payload) for message in found]
        return [(each["id"], each["forecast"]) for each in made if each]


class TestOldMQTTSink(TestMQTTSink):
    def make(self):
        return sink_of(self.server, "?version=3.1.1", self.topic + "/{key}")


class Device:
    """Keeps its last ticks, and sends them again to a broker that has died, which may have lost
    what it had acknowledged.
    """

    KEPT = 500

    def __init__(self, server):
        self._server = server
        self._client = server.client()

    def is_connected(self, n):
        """Whether tick n can be sent, after those before it."""
        if not self._client.is_connected:
            self._client.close()
            try:
                self._client = self._server.client()
            except OSError:
                return False
            for earlier in range(max(0, n - self.KEPT), n):
                self.send(earlier)
        return True

    def send(self, n):
        self._client.post("ticks", json.dumps({"key": "a", "value": n, "n": n}))


def test_each_tick_is_learned_once_although_processes_are_killed(server, tmp_path):
    source = server.address("ticks?client=run")
    begin(server, options="?client=run", topics="ticks")
    collector = server.client("collector", "forecasts/a")
    server.save()
    device = Device(server)
    lock, ids, different = threading.Lock(), [], set()

    def delivered():
        with lock:  # it is called by who sends, too
            new = [json.loads(each.payload)["id"] for each in collector.messages[len(ids) :]]
            ids.extend(new)
            different.update(new)
        return ids

    def send(n):
        delivered()
        if not device.is_connected(n) or n - len(different) >= device.KEPT:
            return False
        device.send(n)
        return True

    to = server.address("forecasts/{key}")
    learned, ids = killed_and_counted(source, to, tmp_path, send, delivered, server, ["sequence=n"])
    collector.close()
    assert learned == list(range(TICKS))
    assert list(dict.fromkeys(ids)) == [f"a:{n}" for n in range(TICKS)]


def test_nothing_is_acknowledged_before_a_snapshot_holds_it(server, tmp_path):
    begin(server)
    send(server, 0, 10)
    states = []

    class Watched(MQTTSource):
        def acknowledge(self, position):
            states.append((run.metrics.snapshots, position[1]))
            super().acknowledge(position)

    def made():
        source = Watched(Address(server.address("ticks/#")), NUMBERED)
        return LiveRun(Counter(), source, None, tmp_path / "s", batch_ticks=5)

    run = made()
    learn(run, 10)
    assert states == [(1, 0), (2, 10)]
    send(server, 10, 5)
    run = made()
    learn(run, 5)
    assert run.model.values == [*range(15)]
    assert run.metrics.late == 0


def test_ticks_that_a_snapshot_holds_are_skipped_when_delivered_again(server, tmp_path):
    begin(server)
    send(server, 0, 10)

    class Forgetful(MQTTSource):
        def acknowledge(self, position):
            pass

    source = Forgetful(Address(server.address("ticks/#")), NUMBERED)
    learn(LiveRun(Counter(), source, None, tmp_path / "s"), 10)
    send(server, 10, 5)
    run = LiveRun(Counter(), source_of(server), None, tmp_path / "s")
    learn(run, 5)
    assert run.model.values == [*range(15)]
    assert run.metrics.late == 10


def test_without_snapshots_what_is_written_is_acknowledged(server):
    begin(server)
    send(server, 0, 10)
    learn(LiveRun(Counter(), source_of(server), sink_of(server)), 4)
    again = LiveRun(Counter(), source_of(server), sink_of(server))
    learn(again, 6)
    assert again.model.values == [4, 5, 6, 7, 8, 9]


def test_a_broker_that_sends_few_messages_at_a_time_needs_more_snapshots(tmp_path, version, caplog):
    with MQTTServer(tmp_path, "max_inflight_messages 20") as server:
        begin(server, options=f"?version={version}")
        send(server, 0, 70)
        source = source_of(server, f"?version={version}")
        run = LiveRun(Counter(), source, None, tmp_path / "s", snapshot_seconds=1000)
        learn(run, 70)
    assert run.model.values == [*range(70)]
    assert run.metrics.snapshots > 2  # one before any tick, one after the last
    assert ("sends only 20 messages" in caplog.text) == (version == "5")


def test_many_messages_are_read_before_the_first_is_acknowledged(server, monkeypatch):
    monkeypatch.setattr(mqtt, "MAX_UNACKNOWLEDGED", 4000)
    source = source_of(server)
    source.open(None)
    send(server, 0, 2500)
    assert values(read(source, 1000)) == [*range(1000)]
    assert not source.is_full
    (*_, last) = read(source, 1500)
    assert source.is_full
    source.acknowledge(last.position)
    assert not source.is_full
    source.close()


def test_a_source_takes_no_more_messages_than_asked_for(server):
    source = source_of(server)
    source.open(None)
    send(server, 0, 2000)
    batches = read(source, 10)
    assert values(batches) == [*range(10)]
    assert len(source._arrived) == 0  # the others wait on their way
    source.close()


def test_bad_messages_go_to_a_file_and_the_run_continues(server, tmp_path):
    bad = ["{}", '{"value": "high", "n": 1}', '{"value": NaN, "n": 1}', "\x00", ""]
    begin(server)
    client = server.client()
    client.publish("ticks/a", b"x" * 10_000_000)
    for n in range(1000):
        if n:
            client.post("ticks/a", bad[n % 5])
        for tick in ticks(10 * n, 10):
            sent = client.post("ticks/a", tick)
    sent.wait_for_publish(20)
    client.close()
    run = LiveRun(Counter(), source_of(server), sink_of(server), dead_letters=tmp_path / "dead")
    learn(run, TICKS)
    assert run.model.values == list(range(TICKS))
    assert run.metrics.rejected == 1000
    lines = [json.loads(line) for line in (tmp_path / "dead").read_text().splitlines()]
    assert len({line["id"] for line in lines}) == 1000
    assert lines[0]["reason"] == "10000000 bytes, more than 1048576"
    assert lines[1]["reason"] == "value: 'high' is not a number"
    assert (tmp_path / "dead").stat().st_size < 1_000_000


def test_topics_can_be_keys_and_messages_bare_numbers(server, caplog):
    source = source_of(server, fields=Fields("@payload", "@topic"))
    source.open(None)
    client = server.client()
    client.publish("ticks/a", "1.5", "1.5")
    client.publish("ticks/b/c", "2")
    client.publish("elsewhere", "3")
    client.close()
    batches = read(source, 3)
    assert values(batches) == [1.5, 1.5, 2.0]
    assert [key for batch in batches for key in batch.keys] == ["ticks/a", "ticks/a", "ticks/b/c"]
    ids = [name for batch in batches for name in batch.ids]
    assert len(set(ids)) == 3
    source.open(None)
    assert [name for batch in read(source, 3) for name in batch.ids] == ids
    source.close()
    assert (
        "without a sequence number, messages that are delivered again are learned again"
        in caplog.text
    )


def test_retained_messages_are_skipped(server, version):
    send(server, 0, 1, retain=True)
    source = source_of(server, f"?version={version}")
    source.open(None)
    send(server, 1, 2, retain=True)
    batches = []
    while values(batches) != [1, 2]:
        batches += read(source, 1)
    source.acknowledge(batches[-1].position)
    source.open(None)
    assert not any(map(len, [source.read(10, 0.1) or []]))
    source.close()


def test_messages_with_qos_0_are_delivered_once(server):
    source = source_of(server)
    source.open(None)
    send(server, 0, 3, qos=0)
    (*_, last) = read(source, 3)
    source.acknowledge(last.position)
    source.open(None)
    assert source.read(10, 0.1) is None
    source.close()
    source = source_of(server, "?qos=0&client=other")
    source.open(None)
    send(server, 0, 3)
    assert values(read(source, 3)) == [0, 1, 2]
    source.close()


def test_sequence_numbers_are_ids(server):
    begin(server)
    send(server, 4, 2)
    source = source_of(server)
    source.open(None)
    (*_, batch) = read(source, 2)
    assert batch.ids[-1] == batch.labels[-1] == "ticks/a:5"
    source.close()


def test_a_dead_broker_is_a_lost_connection(server):
    source, sink = source_of(server), sink_of(server)
    source.open(None)
    sink.open()
    send(server, 0, 3)
    wait_until(lambda: source.read(1, 0.1) is not None)
    server.kill()
    assert values(read(source, 2)) == [1, 2]  # it had sent them
    with pytest.raises(ConnectionError, match="mqtt://127"):
        source.read(1, 0.1)
    with pytest.raises(ConnectionError, match="mqtt://127"):
        sink.write(made_of(1), np.zeros((1, 1)))
    with pytest.raises(ConnectionError, match="mqtt://127"):
        source.open(None)
    sink.close()
    server.start()
    sink.open()
    sink.write(made_of(1), np.zeros((1, 1)))
    sink.close()


def made_of(count, key="a"):
    """A batch."""
    messages = [json.dumps({"key": key, "value": n, "time": 1_600_000_000}) for n in range(count)]
    fields = Fields(key="key", time="time")
    return Parser(fields).batch(list(map(str, range(count))), list(map(str.encode, messages)), 0, 0)


def test_a_stalled_broker_is_a_lost_connection(server, monkeypatch):
    monkeypatch.setattr(MQTTConnection, "timeout_seconds", 0.2)
    monkeypatch.setattr(MQTTConnection, "keep_alive_seconds", 1)
    source, sink = source_of(server), sink_of(server)
    source.open(None)
    sink.open()
    server.stall()
    try:
        with pytest.raises(ConnectionError, match="no answer within"):
            sink.write(made_of(1), np.zeros((1, 1)))
        with pytest.raises(ConnectionError, match="no answer within"):
            sink.open()
        with pytest.raises(ConnectionError, match="mqtt://127"):
            wait_until(lambda: source.read(1, 0.1) is not None, 5)
    finally:
        server.resume()
    source.open(None)
    assert source.read(1, 0.05) is None
    source.close()


def test_a_lost_session_is_logged(server, caplog):
    source = source_of(server)
    position = source.open(None)
    server.kill()
    server.forget()
    server.start()
    source.open(position)
    assert "no longer has the session streamlstm-" in caplog.text
    send(server, 0, 2)
    assert values(read(source, 2)) == [0, 1]
    source.close()


def test_another_client_of_the_same_name_takes_the_session(server):
    first, second = source_of(server), source_of(server)
    first.open(None)
    second.open(None)
    with pytest.raises((ConnectionError, ParameterError)):  # this broker does not say why
        first.read(1, 1.0)
    send(server, 0, 1)
    assert values(read(second, 1)) == [0]
    second.close()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (0x8E, ParameterError),
        (0x97, ConnectionError),
        (0x8B, ConnectionError),
        (0xA0, ConnectionError),
        (0x95, DataError),
    ],
)
def test_reasons_of_the_broker_pass_or_end_the_run(server, code, error):
    source = source_of(server)
    source.open(None)
    client = source._connection.client
    reason = ReasonCode(PacketTypes.DISCONNECT, identifier=code)
    client.on_disconnect(client, None, DisconnectFlags(True), reason, None)
    with pytest.raises(error, match=str(reason)):
        source.read(1, 0.1)
    source.close()


def test_a_slow_reader_loses_nothing(server):
    begin(server)
    run = LiveRun(Counter(), source_of(server), Slow(), batch_ticks=100)
    sender = threading.Thread(target=send, args=(server, 0, 3000))
    sender.start()
    learn(run, 3000)
    sender.join()
    assert run.model.values == [*range(3000)]


class Slow:
    def open(self):
        pass

    def write(self, batch, forecasts, bounds):
        time.sleep(0.02)

    def close(self):
        pass


def test_forecasts_are_json_and_their_topic_has_the_key(server):
    reader = server.client(topic="forecasts/#")
    sink = sink_of(server, "?retain=1")
    sink.open()
    sink.write(made_of(1, "pumps/a+#%\n\u00e9"), np.ones((1, 2)), np.zeros((1, 2, 2)))
    sink.close()
    wait_until(lambda: reader.messages)
    reader.close()
    (message,) = reader.messages
    assert message.topic == "forecasts/pumps/a%2B%23%25%0A%C3%A9"
    assert json.loads(message.payload) == {
        "id": "0",
        "key": "pumps/a+#%\n\u00e9",
        "time": 1_600_000_000 * 10**9,
        "forecast": [1.0, 1.0],
        "lower": [0.0, 0.0],
        "upper": [0.0, 0.0],
    }
    late = server.client(topic="forecasts/#")
    wait_until(lambda: late.messages)
    late.close()
    with pytest.raises(ParameterError, match="no keys"):
        sink.write(Parser(Fields()).batch(["1"], [b'{"value": 1}'], 0, 0), np.ones((1, 1)))


@pytest.mark.parametrize("options", ["?qos=0", "?version=3.1.1", ""])
def test_a_sink_sends_no_more_than_the_broker_takes_at_a_time(tmp_path, options):
    with MQTTServer(tmp_path, "max_inflight_messages 5") as server:
        reader = server.client(topic="forecasts/#")
        sink = sink_of(server, options)
        sink.open()
        sink.write(made_of(200), np.zeros((200, 1)))
        sink.close()
        wait_until(lambda: len(reader.messages) == 200)
        reader.close()


def pass_on(one, other, rate):
    """What comes from one to the other, so many bytes a second."""
    with suppress(OSError), one, other:
        while data := one.recv(1 << 14):
            time.sleep(len(data) / rate)
            other.sendall(data)


def test_a_slow_network_is_waited_for_while_it_makes_progress(server, monkeypatch):
    monkeypatch.setattr(MQTTConnection, "timeout_seconds", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        sink = MQTTSink(Address(f"mqtt://127.0.0.1:{listener.getsockname()[1]}/forecasts"), qos=0)
        opening = threading.Thread(target=sink.open)
        opening.start()
        one = listener.accept()[0]
        to = socket.create_connection(("127.0.0.1", server.port))
        for each in ((one, to), (to, one)):
            threading.Thread(target=pass_on, args=(*each, 8e6)).start()
        opening.join()
        sink.write(made_of(100), np.zeros((100, 30_000)))  # 15 MB
        sink.close()


def test_a_lower_qos_is_logged(tmp_path, version, caplog):
    with MQTTServer(tmp_path, "max_qos 0") as server:
        source = source_of(server, f"?version={version}")
        source.open(None)
        source.close()
    assert "grants only QoS 0" in caplog.text


def test_tls_checks_certificates(tmp_path):
    paths = certificates(tmp_path)
    with MQTTServer(tmp_path, "require_certificate true", tls=paths) as server:
        given = f"?ca={paths.authority}&cert={paths.certificate}&key={paths.key}"
        source, sink = source_of(server, given, topics="forecasts/#"), sink_of(server, given)
        source.open(None)
        sink.open()
        sink.write(made_of(1), np.zeros((1, 1)))
        assert read(source, 1)[0].rejected[0].reason.startswith("value: missing; the message has ")
        source.close()
        sink.close()
        with pytest.raises(ParameterError, match="no trusted certificate"):
            source_of(server).open(None)
        anonymous = source_of(server, f"?ca={paths.authority}")

        def refused():
            with suppress(ConnectionError):  # closed before its reason could be read
                anonymous.open(None)

        with pytest.raises(ParameterError, match="certificate"):
            wait_until(refused)


def test_logins_and_permissions_are_checked(tmp_path, version):
    passwords, access = tmp_path / "passwords", tmp_path / "access"
    subprocess.run(
        [program("mosquitto_passwd"), "-b", "-c", str(passwords), "me", "word"], check=True
    )
    access.write_text("user me\ntopic readwrite ticks/#\n")
    with MQTTServer(tmp_path, f"password_file {passwords}", f"acl_file {access}") as server:

        def address(word, topic):
            text = server.address(topic).replace("//", "//me:${WORD}@")
            return Address(f"{text}?version={version}", {"WORD": word})

        with pytest.raises(ParameterError, match="refuses the login"):
            MQTTSource(address("wrong", "ticks/#"), NUMBERED, version=version).open(None)
        source = MQTTSource(address("word", "ticks/#"), NUMBERED, version=version)
        source.open(None)
        sink = MQTTSink.from_address(address("word", "ticks/made"))
        sink.open()
        sink.write(made_of(1), np.zeros((1, 1)))
        assert read(source, 1)[0].rejected
        source.close()
        sink.close()
        if version == "5":  # version 3.1.1 reports no such errors
            sink = MQTTSink.from_address(address("word", "others"))
            sink.open()
            with pytest.raises(ParameterError, match="Not authorized"):
                sink.write(made_of(1), np.zeros((1, 1)))
            sink.close()


def test_permanent_errors_end_the_run(tmp_path):
    with MQTTServer(tmp_path, "max_packet_size 200") as server:
        sink = sink_of(server)
        sink.open()
        with pytest.raises(DataError, match="Packet too large"):
            sink.write(made_of(1), np.zeros((1, 100)))
        sink.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("mqtt://localhost", "names no topic"),
        ("mqtt://localhost/a#", "# the whole last level"),
        ("mqtt://localhost/#/a", "# the whole last level"),
        ("mqtt://localhost/a+/b", "must be a whole level"),
        ("mqtt://localhost/$share/g/a", "not a share"),
        ("mqtt://localhost/a?qos=2", "0 or 1, got 2"),
        ("mqtt://localhost/a?quality=1", "'quality'"),
        ("mqtt://localhost/a?version=4", "5 or 3.1.1"),
        ("mqtt://localhost/a?ca=x", "write mqtts://"),
        ("mqtts://localhost/a?ca=/nowhere", "No such file"),
        ("mqtts://localhost/a?key=x", "both cert and key"),
    ],
)
def test_addresses_are_checked_before_connecting(address, message):
    with pytest.raises(ParameterError, match=message):
        MQTTSource.from_address(Address(address), NUMBERED)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("mqtt://localhost/a/#", "need one topic"),
        ("mqtt://localhost/a?qos=2", "must be 0 or 1"),
        ("mqtt://localhost/a?retain=2", "must be 0 or 1"),
    ],
)
def test_addresses_of_sinks_are_checked_before_connecting(address, message):
    with pytest.raises(ParameterError, match=message):
        MQTTSink.from_address(Address(address))


def test_fields_with_unknown_names_of_the_system_are_an_error():
    with pytest.raises(ParameterError, match="this source has no field @id, only @topic"):
        MQTTSource(Address("mqtt://localhost/a"), Fields(sequence="@id"))
