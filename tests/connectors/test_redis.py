"""Redis Streams against a real server: delivery, what is learned once, and errors."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest
import redis
from certificates import certificates
from killed_live import TICKS, killed_and_counted
from live_counter import Counter, learn
from server_redis import RedisServer
from servers import free_port, wait_until
from streamlstm_connectors.brokers.redis import RedisSink, RedisSource
from streamlstm_connectors.brokers.redis_connection import RedisConnection

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.errors import DataError, ParameterError
from streamlstm.live.address import Address
from streamlstm.live.payload import Fields, Parser
from streamlstm.live.run import LiveRun


@pytest.fixture
def server(tmp_path):
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def client(server):
    return server.client()


def source_of(server, options="", fields=None, stream="ticks"):
    return RedisSource.from_address(
        Address(server.address(stream) + options), fields or Fields(key="key")
    )


def sink_of(server, options=""):
    return RedisSink.from_address(Address(server.address("forecasts") + options))


def send(client, values, key="a", stream="ticks"):
    pipeline = client.pipeline(transaction=False)
    for value in values:
        pipeline.xadd(stream, {"key": key, "value": value})
    return pipeline.execute()


def sent_ids(client):
    return [fields["id"] for _, fields in client.xrange("forecasts")]


def test_each_tick_is_learned_once_although_processes_are_killed(server, tmp_path):
    to, back = server.client(), server.client()
    ids, last = [], ["0-0"]

    def send(n):
        """Give the entry an id of its own, so that one sent twice is refused."""
        try:
            to.xadd("ticks", {"key": "a", "value": n}, f"{n + 1}-0")
        except redis.ResponseError as error:
            return "equal or smaller" in str(error)  # or it is starting
        except redis.ConnectionError:
            return False
        return True

    def delivered():
        with suppress(redis.RedisError):
            for _, entries in back.xread({"forecasts": last[0]}):
                last[0] = entries[-1][0]
                ids.extend(fields["id"] for _, fields in entries)
        return ids

    addresses = server.address("ticks"), server.address("forecasts")
    values, ids = killed_and_counted(*addresses, tmp_path, send, delivered, server)
    assert values == list(range(TICKS))
    assert list(dict.fromkeys(ids)) == [f"{n + 1}-0" for n in range(TICKS)]


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
        expected.append(whole.forecast(3, [key])[0].tolist())
    for size in (1, 7, 90, 102):
        given = fleet(), source_of(server), sink_of(server), tmp_path / "state"
        run = LiveRun(*given, horizon=3, batch_ticks=40)
        learn(run, size)
    assert [json.loads(fields["forecast"]) for _, fields in client.xrange("forecasts")] == expected
    assert sent_ids(client) == [name for name, _ in client.xrange("ticks")]
    np.testing.assert_array_equal(run.model.forecast(5), whole.forecast(5))


def test_nothing_is_acknowledged_before_a_snapshot_holds_it(server, client, tmp_path):
    def bookmark():
        return client.xinfo_groups("ticks")[0]["last-delivered-id"]

    ids = send(client, range(10))
    states = []

    class Watching(RedisSink):
        def write(self, *given):
            super().write(*given)
            states.append(bookmark())

    sink = Watching(Address(server.address("forecasts")))
    learn(LiveRun(Counter(), source_of(server), sink, tmp_path / "s", batch_ticks=5), 10)
    assert states == ["0-0", "0-0"]
    assert bookmark() == ids[-1]


def test_without_snapshots_what_is_written_is_acknowledged(server, client):
    ids = send(client, range(10))
    learn(LiveRun(Counter(), source_of(server), sink_of(server)), 4)
    assert client.xinfo_groups("ticks")[0]["last-delivered-id"] == ids[3]
    again = LiveRun(Counter(), source_of(server), sink_of(server))
    learn(again, 6)
    assert again.model.values == [4, 5, 6, 7, 8, 9]


def test_starts_at_the_first_or_at_new_messages(server, client):
    send(client, range(3))
    new, first = source_of(server, "?start=new&group=x"), source_of(server, "?group=y")
    positions = new.open(None), first.open(None)
    ids = send(client, [3.0])
    assert positions[1] == "0-0"
    assert new.read(10, 0.1).ids == ids
    assert first.read(2, 0.1).values.tolist() == [0.0, 1.0]
    assert first.read(10, 0.1).values.tolist() == [2.0, 3.0]
    assert first.read(10, 0.01) is None


def test_forecasts_carry_keys_times_and_intervals(server, client):
    fields = Fields("load", key="site", time="at")
    client.xadd("ticks", {"site": "x", "load": "1.5", "at": "2024-01-01T00:00:00Z"})
    model = ForecasterFleet(LSTMForecaster(hidden_size=4, window=5, preset="fast", season=None))
    source, sink = source_of(server, fields=fields), sink_of(server)
    learn(LiveRun(model, source, sink, interval=0.8, horizon=2), 1)
    ((_, found),) = client.xrange("forecasts")
    assert found["id"] == client.xrange("ticks")[0][0]
    assert (found["key"], found["time"]) == ("x", "1704067200000000000")
    assert [len(json.loads(found[name])) for name in ("forecast", "lower", "upper")] == [2, 2, 2]


def test_nan_and_infinity_are_null(server, client):
    sink = sink_of(server)
    sink.open()
    batch = Parser(Fields()).batch(["1-0"], [b'{"value": null}'], 0, "1-0")
    sink.write(batch, np.array([[np.nan, 1.0]]), np.array([[[0.0, -np.inf], [0.5, np.inf]]]))
    ((_, found),) = client.xrange("forecasts")
    assert found == {
        "id": "1-0", "forecast": "[null, 1.0]", "lower": "[0.0, null]", "upper": "[0.5, null]"
    }  # fmt: skip


def test_a_field_can_hold_the_message_as_json(server, client):
    client.xadd("ticks", {"data": '{"key": "a", "value": 2}'})
    client.xadd("ticks", {"other": "1"})
    source = source_of(server, "?payload=data")
    source.open(None)
    batch = source.read(10, 0.1)
    assert batch.values.tolist() == [2.0]
    assert [each.reason[:7] for each in batch.rejected] == ["not JSO"]


def test_bad_messages_go_to_a_file_and_the_run_continues(server, client, tmp_path):
    bad = [
        {"key": "a"},
        {"key": "a", "value": "high"},
        {"key": "a", "value": "nan"},
        {"value": "1"},
        {"key": "a", "value": "1", "more": "x" * 10_000_000},
    ]
    for n in range(1000):
        client.xadd("ticks", bad[4 if n == 0 else n % 4])
        send(client, range(10 * n, 10 * n + 10))
    run = LiveRun(Counter(), source_of(server), sink_of(server), dead_letters=tmp_path / "dead")
    learn(run, TICKS)
    assert run.model.values == list(range(TICKS))
    assert run.metrics.rejected == 1000
    lines = [json.loads(line) for line in (tmp_path / "dead").read_text().splitlines()]
    assert len({line["id"] for line in lines}) == 1000
    assert lines[0]["reason"] == "10000002 bytes, more than 1048576"
    assert lines[1]["reason"] == "value: 'high' is not a number"
    assert (tmp_path / "dead").stat().st_size < 1_000_000


def test_a_deleted_bookmark_is_made_again(server, client):
    ids = send(client, range(3))
    source = source_of(server)
    source.open(None)
    client.xgroup_destroy("ticks", "streamlstm")
    source.acknowledge(ids[1])
    assert client.xinfo_groups("ticks")[0]["last-delivered-id"] == ids[1]
    client.delete("ticks")
    source.acknowledge(ids[1])
    assert client.xinfo_groups("ticks")[0]["last-delivered-id"] == ids[1]


def test_a_stream_that_ends_before_the_position_is_logged(server, client, caplog):
    source = source_of(server)
    position = source.open("5-0")
    assert "ticks ends at 0-0, before the position 5-0" in caplog.text
    client.xadd("ticks", {"key": "a", "value": 1}, "5-0")
    client.xadd("ticks", {"key": "a", "value": 2}, "5-1")
    assert source.read(10, 1.0).values.tolist() == [2.0]
    caplog.clear()
    source.open(position)
    assert not caplog.text


def test_a_dead_server_is_a_lost_connection(server):
    source, sink = source_of(server), sink_of(server)
    source.open(None)
    sink.open()
    server.kill()
    with pytest.raises(ConnectionError, match="redis://127"):
        source.read(1, 0.1)
    with pytest.raises(ConnectionError, match="redis://127"):
        sink.open()
    server.start()


def test_a_full_server_is_a_lost_connection(server, client):
    sink = sink_of(server)
    sink.open()
    batch = Parser(Fields()).batch(["1-0"], [b'{"value": 1}'], 0, "1-0")
    client.config_set("maxmemory", 1)
    with pytest.raises(ConnectionError, match="memory"):
        sink.write(batch, np.zeros((1, 1)))
    client.config_set("maxmemory", 0)
    sink.write(batch, np.zeros((1, 1)))
    assert sent_ids(client) == ["1-0"]


def test_a_refusal_that_passes_is_a_lost_connection(server, client):
    source, sink = source_of(server), sink_of(server)
    source.open(None)
    sink.open()
    batch = Parser(Fields()).batch(["1-0"], [b'{"value": 1}'], 0, "1-0")
    client.config_set("min-replicas-to-write", 1)
    for fails in (lambda: sink.write(batch, np.zeros((1, 1))), lambda: source.acknowledge("0-0")):
        with pytest.raises(ConnectionError, match="NOREPLICAS"):
            fails()
    client.config_set("min-replicas-to-write", 0)
    demote = threading.Timer(0.2, client.replicaof, ("127.0.0.1", free_port()))
    demote.start()
    with pytest.raises(ConnectionError, match="UNBLOCKED"):
        source.read(1, 2.0)
    demote.join()


def test_a_stalled_server_is_a_lost_connection(server, monkeypatch):
    monkeypatch.setattr(RedisConnection, "timeout_seconds", 0.2)
    source, sink = source_of(server), sink_of(server)
    source.open(None)
    sink.open()
    server.stall()
    try:
        with pytest.raises(ConnectionError, match="redis://127"):
            source.read(1, 0.1)
        with pytest.raises(ConnectionError, match="redis://127"):
            source.acknowledge("1-0")
    finally:
        server.resume()
    source.close()
    source.open(None)
    assert source.read(1, 0.05) is None


def test_tls_checks_certificates(tmp_path):
    paths = certificates(tmp_path)
    with RedisServer(tmp_path, paths) as server:
        server.client().xadd("ticks", {"key": "a", "value": 1})
        trusting = source_of(server, f"?ca={paths.authority}")
        trusting.open(None)
        assert trusting.read(1, 1.0).values.tolist() == [1.0]
        with pytest.raises(ParameterError, match="certificate"):
            source_of(server).open(None)
        other = server.address("ticks").replace("127.0.0.1", "127.1")  # not what it is issued for
        with pytest.raises(ParameterError, match="certificate"):
            RedisSource(Address(other), Fields(), ca=paths.authority).open(None)
        sink = sink_of(server, f"?ca={paths.authority}")
        sink.open()
        sink.write(Parser(Fields()).batch(["1-0"], [b'{"value": 1}'], 0, ""), np.zeros((1, 1)))
        assert sent_ids(server.client()) == ["1-0"]


def test_a_server_can_require_a_certificate(tmp_path):
    paths = certificates(tmp_path)
    with RedisServer(tmp_path, paths) as server:
        server.client().config_set("tls-auth-clients", "yes")
        with pytest.raises(ConnectionError):
            source_of(server, f"?ca={paths.authority}").open(None)
        files = f"?ca={paths.authority}&cert={paths.certificate}&key={paths.key}"
        source = source_of(server, files)
        source.open(None)
        sink = sink_of(server, files)
        sink.open()
        sink.close()


def test_permanent_errors_end_the_run(server, client):
    client.set("text", "x")
    with pytest.raises(DataError, match="WRONGTYPE"):
        source_of(server, stream="text").open(None)
    client.config_set("requirepass", "secret")
    with pytest.raises(ParameterError, match="refuses the login"):
        source_of(server).open(None)
    address = Address(server.address("ticks").replace("//", "//:${WORD}@"), {"WORD": "secret"})
    RedisSource(address, Fields()).open(None)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("redis://localhost", "names no stream"),
        ("redis://localhost/s?grup=x", "'grup'"),
        ("redis://localhost/s?start=last", "first or new"),
        ("redis://localhost/s?db=x", "db must be a whole number, got 'x'"),
        ("redis://localhost/s?ca=x", "ca needs TLS: write rediss://"),
        ("rediss://localhost/s?ca=/nowhere", "No such file"),
    ],
)
def test_addresses_are_checked_before_connecting(address, message):
    with pytest.raises(ParameterError, match=message):
        RedisSource.from_address(Address(address), Fields())


def test_the_command_runs_until_it_is_stopped(server, client, kernels, tmp_path):
    def start(*arguments):
        command = [sys.executable, "-m", "streamlstm", "run", "--config", config, *arguments]
        return subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "STREAM": "ticks"},
            text=True,
        )

    config = tmp_path / "run.toml"
    config.write_text(
        f"""
        source = '{server.address("${STREAM}")}'
        sink = '{server.address("forecasts")}'
        key = 'key'
        features = ['wind', 'rain']
        state = '{tmp_path / "state"}'
        dead-letters = '{tmp_path / "dead.jsonl"}'
        preset = 'fast'
        season = 'none'
        hidden-size = 4
        window = 5
        horizon = 3
        """
    )
    for n in range(50):
        client.xadd("ticks", {"key": "a", "value": n % 5, "wind": n})
    client.xadd("ticks", {"key": "a"})
    run = start("--horizon", 2)
    wait_until(lambda: len(sent_ids(client)) == 50, 60)
    run.send_signal(signal.SIGTERM)
    printed, _ = run.communicate(timeout=10)
    assert run.returncode == 0
    metrics = json.loads(printed)
    assert (metrics["ticks"], metrics["rejected"]) == (50, 1)
    assert len(json.loads(client.xrange("forecasts")[0][1]["forecast"])) == 2
    assert "value: missing" in (tmp_path / "dead.jsonl").read_text()
    refused = start("--horizon", 1)
    refused.communicate(timeout=30)
    assert refused.returncode == 2
    send(client, [1.0])
    again = start("--horizon", 2, "--limit", 1)
    assert json.loads(again.communicate(timeout=30)[0])["ticks"] == 1
    assert len(sent_ids(client)) == 51
