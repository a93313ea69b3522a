"""SQLite: sqlite:///forecasts.db?table=forecasts.

A row of the table is a forecast. See docs/connectors/databases.md.
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

from ..options import check_table_name, path_of
from ..rows import COLUMNS, forecast_rows

TIMEOUT_SECONDS = 5.0  # for other processes to end their transactions
MAX_NAME_BYTES = 1000  # of a table
# Errors that pass: another process is writing, or the disk is full or does not answer.
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class SQLiteSink:
    """Forecasts as rows of a table, which is made if it does not exist.

    The columns are `id`, the primary key, which is that of the tick; `key` and `time`, in
    nanoseconds since 1970, null if the ticks have none; and `forecast`, `lower` and `upper`, JSON
    lists with null for NaN; the last two are null without intervals. A row that is written again
    replaces the earlier one.

    Parameters
    ----------
    address
        The file of the database.
    table
        Name of the table.

    """

    def __init__(self, address: Address, table: str = "forecasts"):
        check_table_name(address, table, MAX_NAME_BYTES)
        if table.lower().startswith("sqlite_"):
            raise ParameterError(
                f"{address}: a table cannot have the name {table!r}; SQLite reserves sqlite_"
            )
        self.path = path_of(address)
        self.table = table
        self._connection: sqlite3.Connection | None = None

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make a sink; opens nothing."""
        return cls(address, **address.options_for(cls))

    def open(self) -> None:
        """Open the database; DataError if its table has other columns."""
        self.close()
        with self._errors():
            self._connection = connection = sqlite3.connect(
                self.path, timeout=TIMEOUT_SECONDS, isolation_level=None
            )
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._quoted_name} (id TEXT NOT NULL PRIMARY KEY, "
                "key TEXT, time INTEGER, forecast TEXT NOT NULL, lower TEXT, upper TEXT)"
            )
            found = connection.execute(f"PRAGMA table_info({self._quoted_name})").fetchall()
            columns = [name for _, name, *_ in found]
            if columns != [*COLUMNS] or [name for _, name, *_, key in found if key] != ["id"]:
                raise DataError(
                    f"{self.path}: the table {self.table} has the columns {', '.join(columns)}, "
                    f"not {', '.join(COLUMNS)} with id as primary key: choose another with table="
                )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Insert a row for each tick, all or none."""
        if self._connection is None:
            raise ConnectionError(f"{self.path} is not open")
        changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                f"INSERT INTO {self._quoted_name} VALUES (?, ?, ?, ?, ?, ?) "
                f"ON CONFLICT (id) DO UPDATE SET {changes}",
                (
                    (*of_tick, _json(forecast), _json(lower), _json(upper))
                    for *of_tick, forecast, lower, upper in forecast_rows(batch, forecasts, bounds)
                ),
            )
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the database; what is not committed is undone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    @property
    def _quoted_name(self) -> str:
        return '"' + self.table.replace('"', '""') + '"'

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of the database into those that a run knows."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the other bits are details
            kind = ConnectionError if code in _PASSING else DataError
            raise kind(f"{self.path}: {error}") from error


def _json(numbers: list[Any] | None) -> str | None:
    if numbers is None:
        return None
    return json.dumps([each if math.isfinite(each) else None for each in numbers])
