"""SQLite: each forecast is stored once, whatever other processes and the disk do."""

import json
import sqlite3
import threading
import time
from contextlib import closing

import live_counter  # noqa: F401, lets snapshots hold its model
import numpy as np
import pytest
from killed_live import TICKS, killed_and_counted
from server_redis import RedisServer
from streamlstm_connectors.databases import sqlite
from streamlstm_connectors.databases.sqlite import SQLiteSink

from streamlstm.errors import DataError, ParameterError
from streamlstm.live.address import Address
from streamlstm.live.batch import Batch
from streamlstm.live.contract import SinkContract


@pytest.fixture
def path(tmp_path):
    return tmp_path / "forecasts.db"


def sink_of(path, options=""):
    return SQLiteSink.from_address(Address(f"sqlite:///{path}{options}"))


def rows_of(path, table="forecasts"):
    with closing(sqlite3.connect(path)) as client:
        return client.execute(f'SELECT * FROM "{table}"').fetchall()


def batch_of(ids, **more):
    return Batch(np.zeros(len(ids)), {}, None, ids, None, ids, **more)


class TestSQLiteSink(SinkContract):
    @pytest.fixture(autouse=True)
    def _path(self, path):
        self.path = path

    def make(self):
        return sink_of(self.path)

    def delivered(self):
        return [(name, json.loads(row)) for name, _, _, row, *_ in rows_of(self.path)]


def test_each_forecast_is_stored_once_although_the_process_is_killed(tmp_path, path):
    def delivered():
        time.sleep(0.05)  # or it takes the time of those it watches
        try:
            return [name for name, *_ in rows_of(path)]
        except sqlite3.OperationalError:  # there is no table yet
            return []

    with RedisServer(tmp_path) as server:
        client = server.client()

        def send(n):
            client.xadd("ticks", {"key": "a", "value": n}, f"{n + 1}-0")
            return True

        given = server.address("ticks"), f"sqlite:///{path}", tmp_path, send, delivered
        values, ids = killed_and_counted(*given)
    assert values == [*range(TICKS)]
    assert ids == [f"{n + 1}-0" for n in range(TICKS)]


def test_a_row_that_is_written_again_replaces_the_earlier_one(path):
    sink = sink_of(path, '?table=of the "pumps"')
    sink.open()
    sink.write(batch_of(["a", "b"]), np.array([[1.0], [2.0]]), None)
    times = np.array([5, 6])
    again = Batch(np.zeros(2), {}, times, ["", ""], ["x", "y"], ["b", "c"])
    sink.write(again, np.array([[3.0, np.nan], [4.0, 5.0]]), np.ones((2, 2, 1)))
    sink.close()
    assert rows_of(path, 'of the ""pumps""') == [
        ("a", None, None, "[1.0]", None, None),
        ("b", "x", 5, "[3.0, null]", "[1.0]", "[1.0]"),
        ("c", "y", 6, "[4.0, 5.0]", "[1.0]", "[1.0]"),
    ]


def test_a_sink_waits_for_another_process_that_writes(path, monkeypatch):
    sink = sink_of(path)
    sink.open()
    with closing(sqlite3.connect(path, check_same_thread=False, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, other.execute, ["ROLLBACK"])
        release.start()
        began = time.monotonic()
        sink.write(batch_of(["a"]), np.ones((1, 1)), None)
        assert time.monotonic() - began > 0.2
        release.join()
        monkeypatch.setattr(sqlite, "TIMEOUT_SECONDS", 0.05)
        sink.open()
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConnectionError, match="locked"):
            sink.write(batch_of(["b"]), np.ones((1, 1)), None)
        with pytest.raises(ConnectionError, match="not open"):
            sink.close() or sink.write(batch_of(["b"]), np.ones((1, 1)), None)
    assert [row[0] for row in rows_of(path)] == ["a"]


def test_a_full_disk_is_a_lost_connection_and_stores_no_part_of_a_batch(path):
    sink = sink_of(path)
    sink.open()
    sink.write(batch_of(["a"]), np.ones((1, 1)), None)
    pages = sink._connection.execute("PRAGMA page_count").fetchone()[0]
    sink._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    ids = [str(n) for n in range(1000)]
    with pytest.raises(ConnectionError, match="disk is full"):
        sink.write(batch_of(ids), np.ones((1000, 1)), None)
    sink.open()
    assert len(rows_of(path)) == 1
    sink.write(batch_of(ids), np.ones((1000, 1)), None)
    sink.close()
    assert len(rows_of(path)) == 1001


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "CREATE TABLE forecasts (id TEXT PRIMARY KEY, y REAL)",
            "has the columns id, y, not id",
        ),
        (
            "CREATE TABLE forecasts (id TEXT, key TEXT, time INTEGER, forecast TEXT, lower TEXT, "
            "upper TEXT)",
            "with id as primary key",
        ),
        ("CREATE VIEW forecasts AS SELECT 1 AS id", "has the columns id, not"),
    ],
)
def test_a_table_with_other_columns_is_an_error(path, statement, message):
    with closing(sqlite3.connect(path)) as client:
        client.execute(statement)
    with pytest.raises(DataError, match=message):
        sink_of(path).open()
    with closing(sqlite3.connect(path)) as client:
        assert client.execute("PRAGMA journal_mode").fetchone() == ("delete",)  # as it was


def test_permanent_errors_end_the_run(path, tmp_path):
    with pytest.raises(DataError, match="unable to open"):
        sink_of(tmp_path / "none" / "x.db").open()
    path.write_bytes(b"no database" * 100)
    with pytest.raises(DataError, match="not a database"):
        sink_of(path).open()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("sqlite://file.db", "write sqlite:///FILE"),
        ("sqlite:///x.db?table=", "a table cannot have the name ''"),
        ("sqlite:///x.db?table=sqlite_x", "SQLite reserves"),
        ("sqlite:///x.db?tabel=x", "has the unknown option 'tabel'"),
    ],
)
def test_addresses_are_checked_before_opening(address, message):
    with pytest.raises(ParameterError, match=message):
        SQLiteSink.from_address(Address(address))
