"""NATS JetStream: a message of a stream is a tick, or a forecast.

nats://user:${PASSWORD}@host:4222/STREAM, or natss:// for TLS; see docs/connectors/nats.md.
"""

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Self, TypeVar
from urllib.parse import quote

import numpy as np

from streamlstm.errors import DataError, MissingPackageError, ParameterError
from streamlstm.live import Address, Batch, Fields, Parser

from ..rows import forecast_records
from .tls import tls_context

try:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.errors import ConnectionClosedError, Error, MaxPayloadError
    from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, Header, StreamInfo
    from nats.js.errors import APIError, NoStreamResponseError, NotFoundError
except ImportError as error:
    raise MissingPackageError("NATS needs: pip install streamlstm[nats]") from error

SECONDS = 5.0  # for the server to answer
BUCKET = "streamlstm"  # of bookmarks
AHEAD = 1000  # messages that may be under way, either way
LARGEST = 1 << 20  # bytes that may wait in the client until the network takes them
UNUSED = 300.0  # seconds until the server drops a consumer that asks for nothing
_NAME = re.compile(r"[-\w]+", re.ASCII)
_PASSING = (429, 500, 503)  # too busy, full, or without a leader
# An account that is full, or has as many consumers as it may, some of connections that are lost.
_PASSING_ERRORS = (10002, 10026)
_REFUSAL = re.compile("authori|authentication (?!timeout)", re.IGNORECASE)

_Result = TypeVar("_Result")


class _Client(Client):
    """A client that says nothing in the clear to a server that is to be spoken to by TLS."""

    is_secure = shows_certificate = False

    def _connect_command(self) -> bytes:
        if self.is_secure and not self._server_info.get("tls_required"):
            raise ParameterError("the server does not ask for TLS, and natss:// takes no less")
        if self._server_info.get("tls_verify") and not self.shows_certificate:
            raise ParameterError("the server wants a certificate: add cert and key")
        return super()._connect_command()


class _Connection:
    """A client that is made by `open`, its event loop, which runs within calls alone, a stream."""

    def __init__(self, address: Address, authority: str, certificate: str, key: str):
        if not _NAME.fullmatch(address.path):
            raise ParameterError(
                f"{address} names no stream: add /STREAM, of letters, digits, - and _"
            )
        self.stream = address.path
        self._address = address
        self._context = tls_context(address, address.scheme == "natss", authority, certificate, key)
        self._shows_certificate = bool(certificate)
        self._runner: asyncio.Runner | None = None
        self._reason: Exception | None = None  # the last that the server or the client told

    def open(self) -> None:
        """Connect."""
        self.close()
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._lost = self._runner.get_loop().create_future()
        self._reason = None
        self.do(self._connect())

    async def _connect(self) -> None:
        async def told(error: Exception) -> None:
            self._reason = error

        async def closed() -> None:
            if not self._lost.done():
                self._lost.set_result(None)

        self.client = _Client()
        self.client.is_secure = self._context is not None
        self.client.shows_certificate = self._shows_certificate
        address = self._address
        host = address.host or "localhost"
        login: dict[str, Any] = {}
        if address.user:
            login = {"token": address.user}
            if address.password is not None:
                login = {"user": address.user, "password": address.password}
        await asyncio.wait_for(
            self.client.connect(
                f"nats://{f'[{host}]' if ':' in host else host}:{address.port or 4222}",
                error_cb=told,
                closed_cb=closed,
                tls=self._context,
                allow_reconnect=False,  # the runner does
                max_reconnect_attempts=1,  # of which 0 would be for ever
                reconnect_time_wait=0,
                name="streamlstm",
                **login,
            ),
            SECONDS,
        )
        self.streams = self.client.jetstream(timeout=SECONDS)

    def do(self, action: Coroutine[Any, Any, _Result]) -> _Result:
        """Run something to its end, or until the connection is lost."""
        if self._runner is None:
            action.close()
            raise ConnectionError(f"{self._address} is not connected")
        with self._errors():
            return self._runner.run(self._unless_lost(action))

    async def _unless_lost(self, action: Coroutine[Any, Any, _Result]) -> _Result:
        task = asyncio.ensure_future(action)
        await asyncio.wait((task, self._lost), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            raise ConnectionClosedError
        return task.result()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What goes wrong, as the runner knows it."""
        try:
            yield
        except APIError as error:
            passes = error.code in _PASSING or error.err_code in _PASSING_ERRORS
            kind = ConnectionError if passes else DataError
            raise kind(f"{self._address}: {error.description}") from error
        except MaxPayloadError as error:
            raise DataError(f"{self._address}: {error}") from error
        except ParameterError as error:
            raise ParameterError(f"{self._address}: {error}") from error
        except (Error, OSError) as error:
            reason = self._reason or error
            text = str(reason) or "no answer"
            if _REFUSAL.search(text):
                raise ParameterError(f"{self._address} refuses the login: {text}") from error
            if "CERTIFICATE" in text:
                raise ParameterError(f"{self._address}: no trusted certificate: {text}") from error
            if "permissions" in text:
                raise ParameterError(f"{self._address}: {text}") from error
            raise ConnectionError(f"{self._address}: {text}") from error

    async def info(self, subjects: Sequence[str] = ()) -> StreamInfo:
        """Of the stream, which must exist, or is made if there are subjects for it."""
        try:
            return await self.streams.stream_info(self.stream)
        except NotFoundError as error:
            if subjects:
                return await self.streams.add_stream(name=self.stream, subjects=[*subjects])
            raise DataError(
                f"{self._address} has no stream {self.stream}: nats stream add {self.stream}"
            ) from error

    def close(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            with suppress(Exception):
                runner.run(asyncio.wait_for(self.client.close(), 1))
            runner.close()


class NATSSource:
    """Ticks from the messages of a JetStream stream, in its order.

    The address takes `subject`, which of them, with `*` and `>`; `durable`, the name of the
    bookmark of what has been acknowledged; `start`, "first" or "new", where to begin if there is no
    such bookmark; `ca`, `cert` and `key`, files of the authority to trust, and of a certificate to
    show. Fields may name `@subject`, `@seq`, the number in the stream, and `@time`, in nanoseconds,
    when the server got it.

    The position is the number of the last message in the stream, with when the stream was made. A
    bookmark serves one run.
    """

    def __init__(
        self,
        address: Address,
        fields: Fields,
        subject: str = "",
        durable: str = "streamlstm",
        start: str = "first",
        ca: str = "",
        cert: str = "",
        key: str = "",
    ):
        if start not in ("first", "new"):
            raise ParameterError(f"{address}: start must be first or new, got {start!r}")
        if not _NAME.fullmatch(durable):
            raise ParameterError(f"{address}: durable takes letters, digits, - and _")
        self.subject = subject
        self.start = start
        self._parser = Parser(fields, about=("@seq", "@subject", "@time"))
        self._connection = _Connection(address, ca, cert, key)
        self._bookmark = f"$KV.{BUCKET}.{self._connection.stream}.{durable}"
        self._address = address
        self._arrived: deque[Msg] = deque()

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make one; does not connect."""
        secure = {"ca": "", "cert": "", "key": ""}
        options = address.options(subject="", durable="streamlstm", start="first", **secure)
        return cls(address, fields, **options)

    def open(self, position: Any) -> list[Any]:
        """Connect, and stand behind a message; without one behind the bookmark.

        DataError if there is no such stream, it does not keep what has been read, or it has been
        made anew since.
        """
        self._connection.open()
        return self._connection.do(self._open(position))

    async def _open(self, position: Any) -> list[Any]:
        info = await self._connection.info()
        config, state = info.config, info.state
        if config.retention != "limits":
            raise DataError(
                f"{self._address} drops what has been read: retention must be limits, "
                f"not {config.retention}"
            )
        made = str(info.created)
        self._replicas = config.num_replicas
        position = position or await self._marked()
        if position is None:
            new = self.start == "new"
            position = [made, state.last_seq if new else max(state.first_seq, 1) - 1]
            await self._mark(position)
        if position[0] != made or position[1] > state.last_seq:
            raise DataError(
                f"{self._address} is not the stream that was read before: it was made at {made} "
                f"and ends at {state.last_seq}, the position is {position[1]} in one of "
                f"{position[0]}; begin with another state and durable"
            )
        self._made, self._last = position
        self._is_whole = self.subject in ("", ">") or config.subjects == [self.subject]
        consumer = await self._connection.streams.add_consumer(
            self._connection.stream,
            ConsumerConfig(
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self._last + 1,
                filter_subject=self.subject or None,
                inactive_threshold=UNUSED,
                mem_storage=True,
            ),
        )
        self._ask_at = f"$JS.API.CONSUMER.MSG.NEXT.{self._connection.stream}.{consumer.name}"
        client = self._connection.client
        self._inbox = client.new_inbox()
        self._arrived.clear()
        self._asked = self._delivered = 0
        self._failed: Exception | None = None
        self._woken = asyncio.Event()
        await client.subscribe(self._inbox, cb=self._arrive)
        return position

    def read(self, ticks: int, seconds: float) -> Batch | None:
        """At most so many messages behind the last; waits so long for the first."""
        self._connection.do(self._wait(seconds))
        if not self._arrived:
            return None
        received = time.time_ns()
        found = [self._arrived.popleft() for _ in range(min(ticks, len(self._arrived)))]
        numbers, ids, about = [], [], []
        for message in found:
            number, at = _where(message)[::2]
            numbers.append(int(number))
            ids.append(f"{number}-{at}")
            about.append({"@seq": number, "@subject": message.subject, "@time": at})
        missed = numbers[-1] - self._last - len(numbers) if self._is_whole else 0
        self._last = numbers[-1]
        position = [self._made, self._last]
        messages = [message.data for message in found]
        batch = self._parser.batch(ids, messages, received, position, about)
        return replace(batch, missed=missed)

    def acknowledge(self, position: Any) -> None:
        """Move the bookmark."""
        self._connection.do(self._mark(position))

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()

    async def _wait(self, seconds: float) -> None:
        """Until there are messages, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._arrived:
                    if self._failed is not None:
                        raise self._failed
                    if not self._asked:
                        await self._ask()
                    self._woken.clear()
                    await self._woken.wait()
        if not self._arrived and time.monotonic() - self._heard > SECONDS:
            raise TimeoutError("no answer")

    async def _ask(self) -> None:
        """For the next messages; the server sends them as they come."""
        client = self._connection.client
        request = {
            "batch": AHEAD,
            "max_bytes": 2 * client.max_payload,
            "expires": round(4e9 * SECONDS),
            "idle_heartbeat": round(0.5e9 * SECONDS),
        }
        await client.publish(self._ask_at, json.dumps(request).encode(), self._inbox)
        self._asked = AHEAD
        self._heard = time.monotonic()

    async def _arrive(self, message: Msg) -> None:
        """A message, or what the server has to say of the request for some."""
        self._heard = time.monotonic()
        headers = message.headers or {}
        status = "" if message.reply else headers.get(Header.STATUS, "")
        if not status:
            self._asked -= 1
            self._delivered += 1
            if int(_where(message)[1]) == self._delivered:
                self._arrived.append(message)
            else:
                self._failed = Error("a message was lost on its way")
        elif status != "100":  # which it says now and then
            text = headers.get(Header.DESCRIPTION, status)
            if "MaxBytes" in text and self._asked == AHEAD:
                self._failed = DataError(f"{self._address}: {text}")
            elif status != "408" and "MaxBytes" not in text:
                self._failed = Error(text)
            self._asked = 0
        self._woken.set()

    async def _marked(self) -> list[Any] | None:
        """Where the bookmark is, if there is one."""
        try:
            found = await self._connection.streams.get_last_msg(f"KV_{BUCKET}", self._bookmark)
        except NotFoundError:
            return None
        return json.loads(found.data) if found.data else None

    async def _mark(self, position: list[Any]) -> None:
        mark = json.dumps(position).encode()
        streams = self._connection.streams
        try:
            await streams.publish(self._bookmark, mark)
        except NoStreamResponseError:  # there is no bucket yet, or no longer
            await streams.create_key_value(bucket=BUCKET, replicas=self._replicas)
            await streams.publish(self._bookmark, mark)


def _where(message: Msg) -> list[str]:
    """Its number in the stream, its number among those delivered, and its time."""
    parts = message.reply.split(".")
    first = 5 if len(parts) == 9 else 7  # where the server says its domain
    return parts[first : first + 3]


class NATSSink:
    """Forecasts as messages of a JetStream stream, of a subject for each key.

    The payload is a JSON object with `id`, which is that of the tick, `key` if there are several
    streams, `time` if the ticks have one, and `forecast`, with intervals also `lower` and `upper`:
    lists. The address takes `subject`, in which `{key}` stands for the tick's key; `create`, 1 to
    make the stream if there is none; `ca`, `cert` and `key`, as a source.

    Within its window for duplicates the server drops what has the same id and subject.
    """

    def __init__(
        self,
        address: Address,
        subject: str = "forecasts.{key}",
        create: int = 0,
        ca: str = "",
        cert: str = "",
        key: str = "",
    ):
        if not re.fullmatch(r"(\{key\}|[^\s*>{}.]+)(\.(\{key\}|[^\s*>{}.]+))*", subject):
            raise ParameterError(f"{address}: {subject!r} is no subject such as forecasts.{{key}}")
        self.subject = subject
        self.create = create
        self._address = address
        self._connection = _Connection(address, ca, cert, key)

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make one; does not connect."""
        secure = {"ca": "", "cert": "", "key": ""}
        return cls(address, **address.options(subject="forecasts.{key}", create=0, **secure))

    def open(self) -> None:
        """Connect. DataError if there is no such stream, or it does not take the subject."""
        self._connection.open()
        self._connection.do(self._open())

    async def _open(self) -> None:
        connection, pattern = self._connection, self.subject.replace("{key}", "*")
        await connection.info([pattern] if self.create else [])
        try:
            taker = await connection.streams.find_stream_name_by_subject(pattern)
        except NotFoundError:
            taker = None
        if taker != connection.stream:
            raise DataError(
                f"{self._address} does not take {pattern}: "
                f"nats stream edit {connection.stream} --subjects={pattern}"
            )
        self._woken = asyncio.Event()
        self._failed: Exception | None = None
        self._outstanding = 0  # answers
        self._inbox = connection.client.new_inbox()
        await connection.client.subscribe(self._inbox, cb=self._answer)

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Publish a message a tick, and wait until all are in the stream."""
        self._connection.do(self._publish(forecast_records(batch, forecasts, bounds)))

    async def _publish(self, records: Iterable[dict[str, Any]]) -> None:
        client = self._connection.client
        for record in records:
            # With more to send the client itself waits in `publish`, 10 s for each message.
            while self._outstanding >= AHEAD or (
                self._outstanding and client.pending_data_size > LARGEST
            ):
                await self._answered()
            subject = self.subject.replace("{key}", _token(record.get("key", "_")))
            headers = {Header.MSG_ID.value: f"{subject} {record['id']}"}
            self._outstanding += 1
            await client.publish(subject, json.dumps(record).encode(), self._inbox, headers)
        while self._outstanding or self._failed is not None:
            await self._answered()

    async def _answered(self) -> None:
        """Wait for an answer; raise if one was a refusal."""
        if self._failed is None:
            self._woken.clear()
            async with asyncio.timeout(SECONDS):
                await self._woken.wait()
        if self._failed is not None:
            raise self._failed

    async def _answer(self, message: Msg) -> None:
        """That a message is in the stream, or why not."""
        self._outstanding -= 1
        if (message.headers or {}).get(Header.STATUS) is not None:
            self._failed = Error("no stream takes what is published")
        elif (refusal := json.loads(message.data).get("error")) is not None:
            self._failed = APIError(**refusal)
        self._woken.set()

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()


def _token(key: str) -> str:
    """A key as one part of a subject: percent-encoded, of a long one the beginning."""
    return quote(key, safe="").replace(".", "%2E")[:200]
