"""Redis Streams: redis://user:${PASSWORD}@host:6379/stream, or rediss:// with TLS.

An entry of a stream is a tick or a forecast. See docs/connectors/redis.md.
"""

import json
import logging
import time
from typing import Any, Self

import numpy as np

from streamlstm.errors import MissingPackageError, ParameterError
from streamlstm.live import PAYLOAD, Address, Batch, Fields, Parser

from ..options import check_choice
from ..rows import forecast_records
from .redis_connection import RedisConnection

try:
    from redis import ResponseError
except ImportError as error:
    raise MissingPackageError("Redis needs redis-py: pip install 'streamlstm[redis]'") from error

_log = logging.getLogger("streamlstm.connectors.redis")


class RedisSource:
    """Ticks from the entries of a Redis Stream, in the order of the stream.

    The position is the id of the last entry. A consumer group serves as the bookmark: it holds the
    id of the last acknowledged entry. Each run needs a group of its own. `fields` may also name
    `@id`, the id of the entry, and `@time`, the milliseconds in that id.

    Parameters
    ----------
    address, fields
        The server and stream, and what the fields of an entry are.
    group
        Name of the bookmark.
    start
        Where to begin if there is no bookmark yet: "first" entry, or "new" entries only.
    payload
        Field of the entry that holds the message as JSON. By default the entry's own fields are
        the message.
    db
        Number of the database.
    ca, cert, key
        Files for TLS: the authority to trust, and our own certificate with its key.

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
        check_choice(address, "start", start, "first", "new")
        if fields.value == PAYLOAD and not payload:
            raise ParameterError(
                f"{address}: an entry is never a bare number; name its field with value, or add "
                "?payload=FIELD"
            )
        self.group = group
        self.start = start
        self._payload = payload.encode()
        self._parser = Parser(fields, about=("@id", "@time"))
        self._connection = RedisConnection(address, db, ca, cert, key)
        self._position = ""

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make a source; does not connect."""
        return cls(address, fields, **address.options_for(cls))

    def open(self, position: Any) -> str:
        """Connect, and go to a position; without one, to the bookmark."""
        with self._connection.errors():
            self._connection.open()
            self._make_bookmark("0-0" if self.start == "first" else "$")
            self._position = position or self._bookmark()
            last = self._last_id()
        if _order(last) < _order(self._position):
            _log.warning(
                "%s ends at %s, before the position %s: the stream was recreated or has lost "
                "entries. Entries up to the position will be skipped",
                *(self._connection, last, self._position),
            )
        return self._position

    def read(self, max_ticks: int, timeout: float) -> Batch | None:
        """Return at most `max_ticks` entries; wait up to `timeout` seconds for the first."""
        stream = self._connection.stream
        seconds = min(timeout, self._connection.timeout_seconds / 2)
        milliseconds = max(1, round(1000 * seconds))  # 0 would wait forever
        with self._connection.errors():
            found: Any = self._connection.client.xread(
                {stream: self._position}, max_ticks, milliseconds
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
            except ResponseError as error:
                if not str(error).startswith(("NOGROUP", "The XGROUP subcommand requires")):
                    raise
                self._make_bookmark(position)  # someone deleted it, or the whole stream

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def _message(self, fields: dict[bytes, bytes]) -> bytes | dict[str, bytes]:
        if self._payload:
            return fields.get(self._payload, b"")
        return {name.decode(errors="replace"): value for name, value in fields.items()}

    def _make_bookmark(self, position: str) -> None:
        stream, group = self._connection.stream, self.group
        try:
            self._connection.client.xgroup_create(stream, group, position, mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _bookmark(self) -> str:
        groups: Any = self._connection.client.xinfo_groups(self._connection.stream)
        (found,) = (each for each in groups if each["name"] == self.group.encode())
        return found["last-delivered-id"].decode()

    def _last_id(self) -> str:
        """The largest id that the stream ever had."""
        about: Any = self._connection.client.xinfo_stream(self._connection.stream)
        return about["last-generated-id"].decode()


class RedisSink:
    """Forecasts as entries of a Redis Stream.

    An entry has the fields `id`, which is that of the tick, `key` if there are several streams,
    `time` if the ticks have timestamps, `forecast`, and with intervals `lower` and `upper`. The
    last three are JSON lists.

    Parameters
    ----------
    address
        The server and stream.
    most
        About how many entries the stream may keep; 0 for all.
    db, ca, cert, key
        As in `RedisSource`.

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
        self._connection = RedisConnection(address, db, ca, cert, key)

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make a sink; does not connect."""
        return cls(address, **address.options_for(cls))

    def open(self) -> None:
        """Connect."""
        with self._connection.errors():
            self._connection.open()

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Add an entry for each tick."""
        trimming: list[Any] = ["MAXLEN", "~", self.most] if self.most else []
        head = ["XADD", self._connection.stream, *trimming, "*"]
        with self._connection.errors():
            pipeline = self._connection.client.pipeline(transaction=False)
            for record in forecast_records(batch, forecasts, bounds):
                parts = list(head)
                for name, value in record.items():
                    parts += name, json.dumps(value) if type(value) is list else value
                pipeline.execute_command(*parts)
            pipeline.execute()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


def _order(entry_id: str) -> list[int]:
    """The sort key of an entry's id."""
    return [int(part) for part in entry_id.split("-")]
