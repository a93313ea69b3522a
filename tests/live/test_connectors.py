"""Every connector keeps the contract."""

import json
from pathlib import Path

import pytest
from jsonl_connector import LinesSink, LinesSource
from server_redis import RedisServer
from streamlstm_connectors.brokers.redis import RedisSink, RedisSource

from streamlstm.errors import DataError, ParameterError
from streamlstm.live.address import Address
from streamlstm.live.connector import connector
from streamlstm.live.contract import FIELDS, ReplayableContract, SinkContract


class TestLinesSource(ReplayableContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = tmp_path / "ticks.jsonl"
        self.path.touch()

    def make(self):
        return LinesSource.from_address(Address(f"jsonl://{self.path}"), FIELDS)

    def send(self, messages):
        with self.path.open("a") as file:
            file.writelines(json.dumps(message) + "\n" for message in messages)

    def test_a_crash_leaves_the_old_bookmark_or_the_new(self, monkeypatch):
        def crash(path, text):
            path.open("w").close()
            raise KeyboardInterrupt

        source = self._ticks(10)
        source.acknowledge(self._read(source, 4)[-1].position)
        monkeypatch.setattr(Path, "write_text", crash)
        with pytest.raises(KeyboardInterrupt):
            source.acknowledge(self._read(source, 1)[-1].position)
        source.close()
        source.open(None)
        assert self._values(self._read(source, 6)) == [*range(4, 10)]
        source.close()

    def test_a_file_that_becomes_shorter_is_an_error(self):
        source = self._ticks(3)
        self._read(source, 3)
        self.path.write_text("")
        with pytest.raises(DataError, match="shorter"):
            source.read(1, 0)
        source.close()


class TestLinesSink(SinkContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = tmp_path / "forecasts.jsonl"

    def make(self):
        return LinesSink.from_address(Address(f"jsonl://{self.path}"))

    def delivered(self):
        lines = map(json.loads, self.path.read_text().splitlines())
        return [(line["id"], line["forecast"]) for line in lines]

    def test_a_torn_last_line_is_removed(self):
        self.path.write_text('{"id": "2-0", "fore')
        self.test_the_system_has_the_forecasts_once_write_returns()


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


class _OfRedis:
    @pytest.fixture(autouse=True)
    def _stream(self, redis_server, request):
        self.client = redis_server.client()
        self.address = Address(redis_server.address(request.node.name))

    @property
    def stream(self):
        return self.address.path


class TestRedisSource(_OfRedis, ReplayableContract):
    def make(self):
        return RedisSource.from_address(self.address, FIELDS)

    def send(self, messages):
        for message in messages:
            self.client.xadd(self.stream, message)


class TestRedisSink(_OfRedis, SinkContract):
    def make(self):
        return RedisSink.from_address(self.address)

    def delivered(self):
        entries = self.client.xrange(self.stream)
        return [(fields["id"], json.loads(fields["forecast"])) for _, fields in entries]


@pytest.mark.parametrize(
    ("kind", "address", "message"),
    [
        ("source", "carrier-pigeon://here/loft", "no source is installed for carrier-pigeon"),
        ("sink", "redis", "expected an address"),
        ("sink", "redis://here:port/x", "is not an address"),
        ("sink", "redis://${NOWHERE_SET}/x", "NOWHERE_SET"),
    ],
)
def test_unknown_schemes_and_bad_addresses_are_errors(kind, address, message):
    with pytest.raises(ParameterError, match=message):
        connector(kind, Address(address))
