"""SQLite: a row of a table is a forecast, and stands there once.

sqlite:///forecasts.db?table=forecasts; see docs/connectors/databases.md.
"""

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

import numpy as np

from streamlstm.errors import DataError, ParameterError
from streamlstm.live import Address, Batch

from ..files.files import path_of
from ..rows import COLUMNS, check_name, forecast_rows

SECONDS = 5.0  # for other processes to end their transactions
# What may pass: another process writes, the disk is full or does not answer.
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class SQLiteSink:
    """Forecasts as rows of a table, which is made if it is not there.

    Columns: `id`, the primary key, is that of the tick; one that is written again is overwritten.
    `key` and `time`, in nanoseconds since 1970, are null if the ticks have none. `forecast` and,
    with intervals, `lower` and `upper` are JSON lists, in which null is missing. The address takes
    `table`.
    """

    def __init__(self, address: Address, table: str = "forecasts"):
        check_name(address, table, 1000)
        if table.lower().startswith("sqlite_"):
            raise ParameterError(f"{address}: {table!r} is one of SQLite's own names")
        self.path = path_of(address)
        self.table = table
        self._made: sqlite3.Connection | None = None

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make one; opens nothing."""
        return cls(address, **address.options(table="forecasts"))

    def open(self) -> None:
        """Open the database; DataError if its table has other columns."""
        self.close()
        with self._errors():
            self._made = made = sqlite3.connect(self.path, timeout=SECONDS, isolation_level=None)
            made.execute(
                f"CREATE TABLE IF NOT EXISTS {self._name} (id TEXT NOT NULL PRIMARY KEY, "
                "key TEXT, time INTEGER, forecast TEXT NOT NULL, lower TEXT, upper TEXT)"
            )
            found = made.execute(f"PRAGMA table_info({self._name})").fetchall()
            columns = [name for _, name, *_ in found]
            if columns != [*COLUMNS] or [name for _, name, *_, key in found if key] != ["id"]:
                raise DataError(
                    f"{self.path}: the table {self.table} has the columns {', '.join(columns)}, "
                    f"not {', '.join(COLUMNS)} with id as primary key"
                )
            made.execute("PRAGMA journal_mode = WAL")
            made.execute("PRAGMA synchronous = FULL")

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Insert a batch, all of it or nothing."""
        if self._made is None:
            raise ConnectionError(f"{self.path} is not open")
        changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
        with self._errors():
            self._made.execute("BEGIN IMMEDIATE")
            self._made.executemany(
                f"INSERT INTO {self._name} VALUES (?, ?, ?, ?, ?, ?) "
                f"ON CONFLICT (id) DO UPDATE SET {changes}",
                (
                    (*of_tick, _json(forecast), _json(lower), _json(upper))
                    for *of_tick, forecast, lower, upper in forecast_rows(batch, forecasts, bounds)
                ),
            )
            self._made.execute("COMMIT")

    def close(self) -> None:
        """Let the database go; what is not committed is undone."""
        made, self._made = self._made, None
        if made is not None:
            with suppress(sqlite3.Error):
                made.close()

    @property
    def _name(self) -> str:
        return '"' + self.table.replace('"', '""') + '"'

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What goes wrong, as the runner knows it."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # of which the rest says more
            kind = ConnectionError if code in _PASSING else DataError
            raise kind(f"{self.path}: {error}") from error


def _json(numbers: list[Any] | None) -> str | None:
    if numbers is None:
        return None
    return json.dumps([each if math.isfinite(each) else None for each in numbers])
