"""Redis Streams: an entry is a tick, or a forecast.

redis://user:${PASSWORD}@host:6379/stream, or rediss:// for TLS; see docs/connectors.md.
"""

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

import numpy as np

from streamlstm.errors import DataError, MissingPackageError, ParameterError
from streamlstm.live import PAYLOAD, Address, Batch, Fields, Parser

from ..rows import forecast_records
from .tls import tls_context

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise MissingPackageError("Redis needs: pip install streamlstm[redis]") from error

SECONDS = 5.0  # for the server to answer
# What a server answers while its memory or disk is full, a script keeps it busy, it has become a
# replica, or lacks some.
_PASSING = (
    redis.exceptions.ClusterDownError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
)
_PASSING_CODE = re.compile(r"(^|caused error: )(BUSY|MISCONF|NOREPLICAS|UNBLOCKED) ")

_log = logging.getLogger(__name__)
_FILES = {"ca": "", "cert": "", "key": ""}


class _Connection:
    """A client that is made by `open`, of a stream."""

    def __init__(self, address: Address, database: int, ca: str, cert: str, key: str):
        if not address.path:
            raise ParameterError(f"{address} names no stream: add /STREAM")
        is_secure = address.scheme == "rediss"
        tls_context(address, is_secure, ca, cert, key)  # redis-py makes one of its own
        self.stream = address.path
        self._address = address
        self._database = database
        self._tls: dict[str, Any] = {}
        if is_secure:
            self._tls = {
                "ssl": True,
                "ssl_ca_certs": ca or None,
                "ssl_certfile": cert or None,
                "ssl_keyfile": key or None,
                "ssl_check_hostname": True,  # which it does not before version 6
            }
        self._made: redis.Redis | None = None

    @property
    def client(self) -> "redis.Redis":
        if self._made is None:
            raise ConnectionError(f"{self._address} is not connected")
        return self._made

    def open(self) -> None:
        address = self._address
        self.close()
        self._made = redis.Redis(
            host=address.host or "localhost",
            port=address.port or 6379,
            db=self._database,
            username=address.user or None,
            password=address.password or None,
            **self._tls,
            socket_timeout=SECONDS,
            socket_connect_timeout=SECONDS,
            retry=Retry(NoBackoff(), 0),  # the runner does
            protocol=2,
        )
        self._made.ping()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What goes wrong, as the runner knows it."""
        try:
            yield
        except (redis.AuthenticationError, redis.exceptions.AuthorizationError) as error:
            raise ParameterError(f"{self._address} refuses the login: {error}") from error
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ParameterError(
                    f"{self._address} has no trusted certificate: {error}"
                ) from error
            raise ConnectionError(f"{self._address}: {error}") from error
        except redis.RedisError as error:
            if isinstance(error, _PASSING) or _PASSING_CODE.search(str(error)):
                raise ConnectionError(f"{self._address}: {error}") from error
            raise DataError(f"{self._address}: {error}") from error

    def close(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            with suppress(redis.RedisError, OSError):
                made.close()

    def __str__(self) -> str:
        return str(self._address)


class RedisSource:
    """Ticks from the entries of a Redis Stream, in its order.

    The address takes `group`, the bookmark of what has been acknowledged; `start`, "first" or
    "new", where to begin if there is no such bookmark; `payload`, a field that holds a message as
    JSON, without which the entry's own fields are the message; `db`; and `ca`, `cert` and `key`,
    files of the authority to trust, of a certificate of our own and its key. Fields may name `@id`,
    the id of the entry, and `@time`, the milliseconds in it.

    The position is the id of the last entry. A group serves one run.
    """

    def __init__(
        self,
        address: Address,
        fields: Fields,
        group: str = "streamlstm",
        start: str = "first",
        payload: str = "",
        db: int = 0,
        ca: str = "",
        cert: str = "",
        key: str = "",
    ):
        if start not in ("first", "new"):
            raise ParameterError(f"{address}: start must be first or new, got {start!r}")
        if fields.value == PAYLOAD and not payload:
            raise ParameterError(f"{address}: entries have fields, so name one with value")
        self.group = group
        self.start = start
        self._payload = payload.encode()
        self._parser = Parser(fields, about=("@id", "@time"))
        self._connection = _Connection(address, db, ca, cert, key)
        self._position = ""

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make one; does not connect."""
        defaults = {"group": "streamlstm", "start": "first", "payload": "", "db": 0}
        return cls(address, fields, **address.options(**defaults, **_FILES))

    def open(self, position: Any) -> str:
        """Connect, and stand behind an entry; without one behind the bookmark."""
        with self._connection.errors():
            self._connection.open()
            self._make_bookmark("0-0" if self.start == "first" else "$")
            self._position = position or self._bookmark()
            last = self._last()
        if _order(last) < _order(self._position):
            _log.warning(
                "%s ends at %s, but has been read up to %s: it was made anew or has lost entries; "
                "new ones up to there will be passed over",
                *(self._connection, last, self._position),
            )
        return self._position

    def read(self, ticks: int, seconds: float) -> Batch | None:
        """At most so many entries behind the last; waits so long for the first."""
        stream = self._connection.stream
        milliseconds = max(1, round(1000 * min(seconds, SECONDS / 2)))  # 0 would be for ever
        with self._connection.errors():
            found: Any = self._connection.client.xread(
                {stream: self._position}, ticks, milliseconds
            )
        if not found:
            return None
        received = time.time_ns()
        entries = found[0][1]
        ids = [name.decode() for name, _ in entries]
        messages = [self._message(fields) for _, fields in entries]
        self._position = ids[-1]
        about = ({"@id": name, "@time": name.partition("-")[0]} for name in ids)
        return self._parser.batch(ids, messages, received, self._position, about)

    def acknowledge(self, position: Any) -> None:
        """Move the bookmark."""
        stream, group = self._connection.stream, self.group
        with self._connection.errors():
            try:
                self._connection.client.xgroup_setid(stream, group, position)
            except redis.ResponseError as error:
                if not str(error).startswith(("NOGROUP", "The XGROUP subcommand requires")):
                    raise
                self._make_bookmark(position)  # someone has removed it, or all of the stream

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()

    def _message(self, fields: dict[bytes, bytes]) -> bytes | dict[str, bytes]:
        if self._payload:
            return fields.get(self._payload, b"")
        return {name.decode(errors="replace"): value for name, value in fields.items()}

    def _make_bookmark(self, position: str) -> None:
        stream, group = self._connection.stream, self.group
        try:
            self._connection.client.xgroup_create(stream, group, position, mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _bookmark(self) -> str:
        groups: Any = self._connection.client.xinfo_groups(self._connection.stream)
        (found,) = (each for each in groups if each["name"] == self.group.encode())
        return found["last-delivered-id"].decode()

    def _last(self) -> str:
        """The greatest id that the stream has given."""
        about: Any = self._connection.client.xinfo_stream(self._connection.stream)
        return about["last-generated-id"].decode()


def _order(name: str) -> list[int]:
    """What entries are sorted by."""
    return [int(part) for part in name.split("-")]


class RedisSink:
    """Forecasts as entries of a Redis Stream: an id, the tick it was made after, and numbers.

    The fields are `id`, which is that of the tick, `key` if there are several streams, `time` if
    the ticks have one, and `forecast`, with intervals also `lower` and `upper`: JSON lists. The
    address takes `most`, entries to keep, about; 0 for all; and `db`, `ca`, `cert` and `key`, as a
    source.
    """

    def __init__(
        self,
        address: Address,
        most: int = 0,
        db: int = 0,
        ca: str = "",
        cert: str = "",
        key: str = "",
    ):
        self.most = most
        self._connection = _Connection(address, db, ca, cert, key)

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make one; does not connect."""
        return cls(address, **address.options(most=0, db=0, **_FILES))

    def open(self) -> None:
        """Connect."""
        with self._connection.errors():
            self._connection.open()

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Add an entry a tick."""
        kept: list[Any] = ["MAXLEN", "~", self.most] if self.most else []
        head = ["XADD", self._connection.stream, *kept, "*"]
        with self._connection.errors():
            pipeline = self._connection.client.pipeline(transaction=False)
            for record in forecast_records(batch, forecasts, bounds):
                parts = list(head)
                for name, value in record.items():
                    parts += name, json.dumps(value) if type(value) is list else value
                pipeline.execute_command(*parts)
            pipeline.execute()

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()
