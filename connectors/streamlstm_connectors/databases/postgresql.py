"""PostgreSQL: postgresql://user:${PASSWORD}@host:5432/database?table=forecasts.

A row of the table is a forecast. See docs/connectors/databases.md.
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

from ..options import check_choice, check_path, check_table_name
from ..rows import COLUMNS, forecast_rows

try:
    import psycopg
    from psycopg import errors, sql
except ImportError as error:
    raise MissingPackageError(
        "PostgreSQL needs psycopg: pip install 'streamlstm[postgresql]'"
    ) from error

TIMEOUT_SECONDS = 5  # for the server to answer
STATEMENT_SECONDS = 30  # that a statement may take, including waiting for locks
MAX_NAME_BYTES = 63  # of a table; the server would cut off a longer name
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# In messages of errors that do not pass and have no code.
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
# One statement for all rows, with an array for each column, is faster than one for each row. COPY
# into a temporary table is faster still for long forecasts, but does not work behind connection
# poolers. unnest would flatten arrays of arrays, so forecasts are passed as text.
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
    """Forecasts as rows of a table, which is made if it does not exist.

    The columns are `id`, the primary key, which is that of the tick; `key` and `time`, to the
    microsecond, null if the ticks have none; and `forecast`, `lower` and `upper`, arrays; the last
    two are null without intervals. A row that is written again replaces the earlier one.

    Parameters
    ----------
    address
        The server and database.
    table
        TABLE or SCHEMA.TABLE.
    sslmode, sslrootcert
        Those of libpq: whether to use TLS, and a file of the authority to trust.

    """

    def __init__(
        self,
        address: Address,
        table: str = "forecasts",
        sslmode: str = "prefer",
        sslrootcert: str = "",
    ):
        check_path(address, "database")
        check_choice(address, "sslmode", sslmode, *SSL_MODES)
        names = table.split(".", 1)
        for name in names:
            check_table_name(address, name, MAX_NAME_BYTES)
        self._address = address
        self._table = sql.Identifier(*names)
        self._insert = sql.SQL(_INSERT).format(self._table)
        self._sslmode = sslmode
        self._sslrootcert = sslrootcert
        self._connection: psycopg.Connection | None = None

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make a sink; does not connect."""
        return cls(address, **address.options_for(cls))

    def open(self) -> None:
        """Connect; DataError if the table has other columns or must not be written to."""
        self.close()
        self._connection = connection = self._connect()
        with self._errors(connection):
            connection.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'")
            name = self._table.as_string(connection)
            if connection.execute("SELECT to_regclass(%s)", [name]).fetchone() == (None,):
                connection.execute(sql.SQL(_TABLE).format(self._table))
            connection.execute(sql.SQL("EXPLAIN ") + self._insert, [[] for _ in COLUMNS])

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Insert a row for each tick, all or none."""
        connection = self._connection
        if connection is None:
            raise ConnectionError(f"{self._address} is not connected")
        rows = (
            (_text(name), _text(key), _moment(time), *map(_array, lists))
            for name, key, time, *lists in forecast_rows(batch, forecasts, bounds)
        )
        columns = [list(column) for column in zip(*rows, strict=True)]
        with self._errors(connection):
            connection.execute(self._insert, columns)

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error, OSError):
                connection.close()

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
                connect_timeout=TIMEOUT_SECONDS,
                application_name="streamlstm",
                sslmode=self._sslmode,
                sslrootcert=self._sslrootcert or None,
            )
        except psycopg.Error as error:
            refused = any(text in str(error) for text in _REFUSALS)
            kind = ParameterError if refused else ConnectionError
            raise kind(f"{address}: {error}") from error

    @contextmanager
    def _errors(self, connection: "psycopg.Connection") -> Iterator[None]:
        """Turn errors of the client into those that a run knows."""
        try:
            with _time_limit(connection):
                yield
        except psycopg.Error as error:
            passing = errors.OperationalError, errors.InterfaceError, errors.ReadOnlySqlTransaction
            too_much = (error.sqlstate or "").startswith("54")  # a row that is too long, say
            kind = ConnectionError if isinstance(error, passing) and not too_much else DataError
            raise kind(f"{self._address}: {error}") from error


@contextmanager
def _time_limit(connection: "psycopg.Connection") -> Iterator[None]:
    """Break the connection if the server falls silent: the client would wait forever."""

    def break_it() -> None:
        with suppress(OSError):
            copy.shutdown(socket.SHUT_RDWR)

    with socket.socket(fileno=os.dup(connection.fileno())) as copy:
        timer = threading.Timer(STATEMENT_SECONDS + TIMEOUT_SECONDS, break_it)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _text(name: str | None) -> str | None:
    """Replace NUL, which a column cannot hold."""
    return None if name is None else name.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _array(numbers: list[float] | None) -> str | None:
    return None if numbers is None else "{" + ",".join(map(repr, numbers)) + "}"


def _moment(time: int | None) -> datetime | None:
    return None if time is None else _EPOCH + timedelta(microseconds=time // 1000)
