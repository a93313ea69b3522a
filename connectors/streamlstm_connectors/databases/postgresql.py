"""PostgreSQL: a row of a table is a forecast, and stands there once.

postgresql://user:${PASSWORD}@host:5432/database?table=forecasts; see docs/connectors/databases.md.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Self

import numpy as np

from streamlstm.errors import DataError, MissingPackageError, ParameterError
from streamlstm.live import Address, Batch

from ..rows import COLUMNS, check_name, forecast_rows

try:
    import psycopg
    from psycopg import errors, sql
except ImportError as error:
    raise MissingPackageError("PostgreSQL needs: pip install streamlstm[postgresql]") from error

SECONDS = 5  # for the server to answer
LONGEST = 30  # seconds that a statement may take, with waiting for locks
LONGEST_NAME = 63  # bytes; the server cuts off what is longer
MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# What the server and client say, who give no code for it, where no waiting helps.
_REFUSALS = (
    "authentication failed",
    "no password supplied",
    "pg_hba.conf",
    "does not exist",
    "certificate",
    "does not support SSL",
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_TABLE = """
CREATE TABLE {} (
    id text PRIMARY KEY, key text, time timestamptz,
    forecast double precision[] NOT NULL, lower double precision[], upper double precision[]
)
"""
# One statement for all rows, with an array for each column: in large batches faster than one a row.
# Copying into a temporary table is faster still for long forecasts, but does not work behind
# poolers. Arrays of arrays would lose their rows, so those are text.
_INSERT = """
INSERT INTO {} (id, key, time, forecast, lower, upper)
SELECT DISTINCT ON (id) id, key, time, forecast::float8[], lower::float8[], upper::float8[]
FROM unnest(%b::text[], %b::text[], %b::timestamptz[], %b::text[], %b::text[], %b::text[])
    WITH ORDINALITY AS given (id, key, time, forecast, lower, upper, n)
ORDER BY id, n DESC
ON CONFLICT (id) DO UPDATE SET
    key = excluded.key, time = excluded.time,
    forecast = excluded.forecast, lower = excluded.lower, upper = excluded.upper
"""


class PostgreSQLSink:
    """Forecasts as rows of a table, which is made if it is not there.

    Columns: `id`, the primary key, is that of the tick; one that is written again is overwritten.
    `key` and `time`, to the microsecond, are null if the ticks have none. `forecast` and, with
    intervals, `lower` and `upper` are arrays. The address takes `table`, which may be
    SCHEMA.TABLE, and libpq's `sslmode` and `sslrootcert`.
    """

    def __init__(
        self,
        address: Address,
        table: str = "forecasts",
        sslmode: str = "prefer",
        sslrootcert: str = "",
    ):
        if not address.path:
            raise ParameterError(f"{address} names no database: add /DATABASE")
        if sslmode not in MODES:
            raise ParameterError(f"{address}: sslmode is one of {', '.join(MODES)}")
        names = table.split(".", 1)
        for name in names:
            check_name(address, name, LONGEST_NAME)
        self._address = address
        self._table = sql.Identifier(*names)
        self._insert = sql.SQL(_INSERT).format(self._table)
        self._sslmode = sslmode
        self._sslrootcert = sslrootcert
        self._made: psycopg.Connection | None = None

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make one; does not connect."""
        return cls(address, **address.options(table="forecasts", sslmode="prefer", sslrootcert=""))

    def open(self) -> None:
        """Connect; DataError if the table has other columns or may not be written."""
        self.close()
        self._made = made = self._connect()
        with self._errors(made):
            made.execute(f"SET statement_timeout = '{LONGEST}s'")
            name = self._table.as_string(made)
            if made.execute("SELECT to_regclass(%s)", [name]).fetchone() == (None,):
                made.execute(sql.SQL(_TABLE).format(self._table))
            made.execute(sql.SQL("EXPLAIN ") + self._insert, [[] for _ in COLUMNS])

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Insert a batch, all of it or nothing."""
        if self._made is None:
            raise ConnectionError(f"{self._address} is not connected")
        rows = (
            (_text(name), _text(key), _moment(time), *map(_array, lists))
            for name, key, time, *lists in forecast_rows(batch, forecasts, bounds)
        )
        columns = [list(column) for column in zip(*rows, strict=True)]
        made = self._made
        with self._errors(made):
            made.execute(self._insert, columns)

    def close(self) -> None:
        """Let the connection go."""
        made, self._made = self._made, None
        if made is not None:
            with suppress(psycopg.Error, OSError):
                made.close()

    def _connect(self) -> "psycopg.Connection":
        address = self._address
        try:
            return psycopg.connect(
                host=address.host or "localhost",
                port=address.port or 5432,
                user=address.user or None,
                password=address.password or None,
                dbname=address.path,
                autocommit=True,
                connect_timeout=SECONDS,
                application_name="streamlstm",
                sslmode=self._sslmode,
                sslrootcert=self._sslrootcert or None,
            )
        except psycopg.Error as error:
            refused = any(text in str(error) for text in _REFUSALS)
            kind = ParameterError if refused else ConnectionError
            raise kind(f"{address}: {error}") from error

    @contextmanager
    def _errors(self, made: "psycopg.Connection") -> Iterator[None]:
        """What goes wrong, as the runner knows it."""
        try:
            with _bounded(made):
                yield
        except psycopg.Error as error:
            passing = errors.OperationalError, errors.InterfaceError, errors.ReadOnlySqlTransaction
            too_much = (error.sqlstate or "").startswith("54")  # of a row, say
            kind = ConnectionError if isinstance(error, passing) and not too_much else DataError
            raise kind(f"{self._address}: {error}") from error


@contextmanager
def _bounded(made: "psycopg.Connection") -> Iterator[None]:
    """Break a connection on which nothing comes any more: the client would wait for ever."""

    def break_it() -> None:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    with socket.socket(fileno=os.dup(made.fileno())) as line:
        late = threading.Timer(LONGEST + SECONDS, break_it)
        late.start()
        try:
            yield
        finally:
            late.cancel()
            late.join()


def _text(name: str | None) -> str | None:
    """As a column can hold it: all but NUL."""
    return None if name is None else name.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _array(numbers: list[float] | None) -> str | None:
    return None if numbers is None else "{" + ",".join(map(repr, numbers)) + "}"


def _moment(time: int | None) -> datetime | None:
    return None if time is None else _EPOCH + timedelta(microseconds=time // 1000)
