"""PostgreSQL against a real server: each forecast is stored once, and errors say why not."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import live_counter  # noqa: F401, lets snapshots hold its model
import numpy as np
import psycopg
import pytest
from certificates import certificates
from killed_live import TICKS, killed_and_counted
from server_postgresql import PASSWORD, PostgreSQLServer
from server_redis import RedisServer
from streamlstm_connectors.databases import postgresql
from streamlstm_connectors.databases.postgresql import PostgreSQLSink

from streamlstm.errors import DataError, ParameterError
from streamlstm.live.address import Address
from streamlstm.live.batch import Batch
from streamlstm.live.contract import SinkContract


@pytest.fixture(scope="module")
def server():
    with PostgreSQLServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _word(monkeypatch):
    monkeypatch.setenv("PGWORD", PASSWORD)


@pytest.fixture
def client(server):
    with server.client() as client:
        client.execute("DROP TABLE IF EXISTS forecasts")
        yield client


def sink_of(server, options=""):
    return PostgreSQLSink.from_address(Address(server.address(options)))


def batch_of(ids, **more):
    return Batch(np.zeros(len(ids)), {}, None, ids, None, ids, **more)


class TestPostgreSQLSink(SinkContract):
    @pytest.fixture(autouse=True)
    def _of(self, server, client):
        self.server, self.client = server, client

    def make(self):
        return sink_of(self.server)

    def delivered(self):
        return self.client.execute("SELECT id, forecast FROM forecasts ORDER BY ctid").fetchall()


def test_each_forecast_is_stored_once_although_processes_are_killed(tmp_path):
    with RedisServer(tmp_path) as redis, PostgreSQLServer() as server:
        client = redis.client()

        def send(n):
            client.xadd("ticks", {"key": "a", "value": n}, f"{n + 1}-0")
            return True

        def delivered():
            try:
                with server.client() as client:
                    rows = client.execute("SELECT id FROM forecasts").fetchall()
            except psycopg.Error:  # it is starting, or there is no table yet
                return []
            return [name for (name,) in rows]

        given = redis.address("ticks"), server.address(), tmp_path, send, delivered, server
        values, ids = killed_and_counted(*given)
    assert values == [*range(TICKS)]
    assert sorted(ids, key=lambda name: int(name[:-2])) == [f"{n + 1}-0" for n in range(TICKS)]


def test_a_row_that_is_written_again_replaces_the_earlier_one(server, client):
    client.execute('CREATE SCHEMA IF NOT EXISTS "the plant"')
    client.execute('DROP TABLE IF EXISTS "the plant"."of ""pumps"""')
    sink = sink_of(server, '?table=the plant.of "pumps"')
    sink.open()
    sink.write(batch_of(["a", "b"]), np.array([[1.0], [2.0]]), None)
    times = np.array([1_500, -1_500])
    again = Batch(np.zeros(2), {}, times, ["", ""], ["x\0", "y"], ["b", "c"])
    sink.write(again, np.array([[3.0, np.inf], [4.0, 5.0]]), np.ones((2, 2, 1)))
    sink.close()
    rows = client.execute('SELECT * FROM "the plant"."of ""pumps""" ORDER BY id').fetchall()
    assert rows == [
        ("a", None, None, [1.0], None, None),
        ("b", "x\ufffd", datetime(1970, 1, 1, 0, 0, 0, 1, UTC), [3.0, np.inf], [1.0], [1.0]),
        ("c", "y", datetime(1969, 12, 31, 23, 59, 59, 999998, UTC), [4.0, 5.0], [1.0], [1.0]),
    ]


def test_the_last_of_two_rows_with_one_id_is_stored(server, client):
    sink = sink_of(server)
    sink.open()
    sink.write(batch_of(["a", "b", "a"]), np.array([[1.0], [2.0], [3.0]]), None)
    sink.close()
    rows = client.execute("SELECT id, forecast FROM forecasts ORDER BY id").fetchall()
    assert rows == [("a", [3.0]), ("b", [2.0])]


def test_a_table_can_have_further_columns(server, client):
    client.execute(
        "CREATE TABLE forecasts (made timestamptz DEFAULT now(), upper float8[], lower float8[], "
        "forecast float8[], time timestamptz, key varchar, id varchar UNIQUE)"
    )
    sink = sink_of(server)
    sink.open()
    sink.write(batch_of(["a"]), np.array([[1.0, 2.0]]), None)
    sink.close()
    assert client.execute("SELECT id, forecast FROM forecasts").fetchall() == [("a", [1.0, 2.0])]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("(id text PRIMARY KEY, y float8)", 'column "key" of relation "forecasts" does not exist'),
        (
            "(id text, key text, time timestamptz, forecast float8[], lower float8[], "
            "upper float8[])",
            "no unique or exclusion constraint",
        ),
        (
            "(id text PRIMARY KEY, key text, time timestamptz, forecast float8, lower float8[], "
            "upper float8[])",
            'column "forecast" is of type double precision but',
        ),
    ],
)
def test_a_table_with_other_columns_is_an_error_on_opening(server, client, table, message):
    client.execute(f"CREATE TABLE forecasts {table}")
    with pytest.raises(DataError, match=message):
        sink_of(server).open()


def test_missing_permission_is_an_error_on_opening(server, client):
    sink_of(server).open()
    client.execute("DROP ROLE IF EXISTS reader")
    client.execute("CREATE ROLE reader LOGIN PASSWORD 'r'")
    address = Address(f"postgresql://reader:r@127.0.0.1:{server.port}/postgres")
    with pytest.raises(DataError, match="permission denied for table forecasts"):
        PostgreSQLSink.from_address(address).open()
    client.execute("GRANT SELECT, INSERT, UPDATE ON forecasts TO reader")
    sink = PostgreSQLSink.from_address(address)
    sink.open()
    sink.write(batch_of(["a"]), np.ones((1, 1)), None)
    sink.close()


def test_tls_checks_certificates(server, client, tmp_path):
    root = f"&sslrootcert={server.tls.authority}"
    sink = sink_of(server, f"?sslmode=verify-full{root}")
    sink.open()
    assert sink._connection.pgconn.ssl_in_use
    sink.write(batch_of(["a"]), np.ones((1, 1)), None)
    sink.close()
    with pytest.raises(ParameterError, match="certificate"):
        sink_of(server, "?sslmode=verify-full&sslrootcert=/none.pem").open()
    stranger = certificates(tmp_path).authority
    with pytest.raises(ParameterError, match="certificate verify failed"):
        sink_of(server, f"?sslmode=verify-full&sslrootcert={stranger}").open()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("streamlstm:wrong@127.0.0.1:{}/postgres", "authentication failed"),
        ("nobody:wrong@127.0.0.1:{}/postgres", "authentication failed"),
        ("streamlstm@127.0.0.1:{}/postgres", "no password supplied"),
        ("streamlstm:${{PGWORD}}@127.0.0.1:{}/other", 'database "other" does not exist'),
    ],
)
def test_a_wrong_login_ends_the_run(server, address, message):
    address = Address("postgresql://" + address.format(server.port))
    with pytest.raises(ParameterError, match=message) as caught:
        PostgreSQLSink.from_address(address).open()
    assert PASSWORD not in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_a_dead_server_or_a_locked_table_is_a_lost_connection(server, client, monkeypatch):
    monkeypatch.setattr(postgresql, "STATEMENT_SECONDS", 1)
    sink = sink_of(server)
    sink.open()
    client.execute("BEGIN; LOCK TABLE forecasts")
    with pytest.raises(ConnectionError, match="statement timeout"):
        sink.write(batch_of(["a"]), np.ones((1, 1)), None)
    client.execute("ROLLBACK")
    sink.open()
    client.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'streamlstm'"
    )
    with pytest.raises(ConnectionError, match="postgresql://streamlstm"):
        sink.write(batch_of(["a"]), np.ones((1, 1)), None)
    with pytest.raises(ConnectionError, match="refused"):
        PostgreSQLSink.from_address(Address("postgresql://me@127.0.0.1:1/x")).open()
    sink.open()
    sink.write(batch_of(["a"]), np.ones((1, 1)), None)
    sink.close()
    assert client.execute("SELECT id FROM forecasts").fetchall() == [("a",)]


def test_a_stalled_server_is_a_lost_connection(server, client, monkeypatch):
    monkeypatch.setattr(postgresql, "STATEMENT_SECONDS", 0.3)
    monkeypatch.setattr(postgresql, "TIMEOUT_SECONDS", 0)
    sink = sink_of(server)
    sink.open()
    pid = sink._connection.info.backend_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(ConnectionError, match="postgresql://streamlstm"):
            sink.write(batch_of(["a"]), np.ones((1, 1)), None)
    finally:
        os.kill(pid, signal.SIGCONT)
    monkeypatch.undo()
    monkeypatch.setenv("PGWORD", PASSWORD)
    sink.open()
    sink.write(batch_of(["a"]), np.ones((1, 1)), None)
    sink.close()
    assert client.execute("SELECT id FROM forecasts").fetchall() == [("a",)]


def test_a_batch_is_stored_whole_or_not_at_all(server, client):
    sink = sink_of(server)
    sink.open()
    long = str(np.random.default_rng(0).random(2000).tolist())  # more than an index can hold
    ids = [*map(str, range(2000)), long]
    with pytest.raises(DataError, match="maximum size"):
        sink.write(batch_of(ids), np.ones((2001, 1)), None)
    assert client.execute("SELECT count(*) FROM forecasts").fetchone() == (0,)
    sink.close()


def test_two_sinks_can_write_the_same_rows(server, client):
    ids = [str(n) for n in range(2000)]

    def write(order):
        sink = sink_of(server)
        sink.open()
        for _ in range(5):
            sink.write(batch_of(order), np.ones((2000, 1)), None)
        sink.close()

    sink_of(server).open()
    with ThreadPoolExecutor() as threads:
        for written in [threads.submit(write, order) for order in (ids, ids[::-1])]:
            written.result()
    assert client.execute("SELECT count(*) FROM forecasts").fetchone() == (2000,)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("postgresql://here", "names no database"),
        ("postgresql://here/x?sslmode=on", "sslmode must be disable, "),
        ("postgresql://here/x?table=", "a table cannot have the name ''"),
        ("postgresql://here/x?table=a.", "a table cannot have the name ''"),
        (f"postgresql://here/x?table={64 * 'a'}", "a table cannot have the name"),
        ("postgresql://here/x?ssl=on", "has the unknown option 'ssl'"),
    ],
)
def test_addresses_are_checked_before_connecting(address, message):
    with pytest.raises(ParameterError, match=message):
        PostgreSQLSink.from_address(Address(address))
