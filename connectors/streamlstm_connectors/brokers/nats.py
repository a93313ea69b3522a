"""NATS JetStream: nats://user:${PASSWORD}@host:4222/STREAM, or natss:// with TLS.

A message of a stream is a tick or a forecast. See docs/connectors/nats.md.
"""

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self
from urllib.parse import quote

import numpy as np

from streamlstm.errors import DataError, MissingPackageError, ParameterError
from streamlstm.live import Address, Batch, Fields, Parser

from ..options import check_choice
from ..rows import forecast_records
from .nats_connection import NAME, NATSConnection

try:
    from nats.aio.msg import Msg
    from nats.errors import Error
    from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, Header
    from nats.js.errors import APIError, NoStreamResponseError, NotFoundError
except ImportError as error:
    raise MissingPackageError("NATS needs nats-py: pip install 'streamlstm[nats]'") from error

BOOKMARK_BUCKET = "streamlstm"
PREFETCH_MESSAGES = 1000  # that a source asks for at a time
MAX_UNCONFIRMED = 1000  # messages of a sink
MAX_UNSENT_BYTES = 1 << 20  # that may wait in the client until the network takes them
CONSUMER_EXPIRY_SECONDS = 300.0  # after which the server drops a consumer that asks for nothing
_SUBJECT = re.compile(r"(\{key\}|[^\s*>{}.]+)(\.(\{key\}|[^\s*>{}.]+))*")


class NATSSource:
    """Ticks from the messages of a JetStream stream, in the order of the stream.

    The position is the number of the last message and the time when the stream was made. The
    bookmark, which holds the last acknowledged position, is an entry of the key-value bucket
    `streamlstm`. `fields` may also name `@subject`, `@seq`, the number of the message, and `@time`,
    the nanoseconds since 1970 when the server received it.

    Parameters
    ----------
    address, fields
        The server and stream, and what the fields of a message are.
    subject
        Which messages of the stream to read, with the wildcards * and >; by default all.
    durable
        Name of the bookmark. Each run needs its own.
    start
        Where to begin if there is no bookmark yet: "first" message, or "new" messages only.
    ca, cert, key
        Files for TLS: the authority to trust, and our own certificate with its key.

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
        check_choice(address, "start", start, "first", "new")
        if not NAME.fullmatch(durable):
            raise ParameterError(
                f"{address}: durable must be made of letters, digits, - and _, got {durable!r}"
            )
        self.subject = subject
        self.start = start
        self._parser = Parser(fields, about=("@seq", "@subject", "@time"))
        self._connection = NATSConnection(address, ca, cert, key)
        self._bookmark = f"$KV.{BOOKMARK_BUCKET}.{self._connection.stream}.{durable}"
        self._address = address
        self._arrived: deque[Msg] = deque()
        self._created = ""  # when the stream was made
        self._last = 0  # number of the last message read
        self._reads_all = True  # so that gaps between numbers are lost messages
        self._failed: Exception | None = None

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make a source; does not connect."""
        return cls(address, fields, **address.options_for(cls))

    def open(self, position: Any) -> list[Any]:
        """Connect, and go to a position; without one, to the bookmark.

        DataError if there is no such stream, it drops messages that were read, or it was recreated.
        """
        self._connection.open()
        return self._connection.do(self._open(position))

    def read(self, max_ticks: int, timeout: float) -> Batch | None:
        """Return at most `max_ticks` messages; wait up to `timeout` seconds for the first."""
        self._connection.do(self._wait(timeout))
        if not self._arrived:
            return None
        received = time.time_ns()
        found = [self._arrived.popleft() for _ in range(min(max_ticks, len(self._arrived)))]
        numbers, ids, about = [], [], []
        for message in found:
            number, at = _metadata(message)[::2]
            numbers.append(int(number))
            ids.append(f"{number}-{at}")
            about.append({"@seq": number, "@subject": message.subject, "@time": at})
        missed = numbers[-1] - self._last - len(numbers) if self._reads_all else 0
        self._last = numbers[-1]
        position = [self._created, self._last]
        messages = [message.data for message in found]
        batch = self._parser.batch(ids, messages, received, position, about)
        return replace(batch, missed=missed)

    def acknowledge(self, position: Any) -> None:
        """Move the bookmark."""
        self._connection.do(self._move_bookmark(position))

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    async def _open(self, position: Any) -> list[Any]:
        info = await self._connection.info()
        config, state = info.config, info.state
        if config.retention != "limits":
            raise DataError(
                f"{self._address} drops messages once they are read: its retention must be limits, "
                f"not {config.retention}"
            )
        created = str(info.created)
        self._replicas = config.num_replicas
        position = position or await self._read_bookmark()
        if position is None:
            new = self.start == "new"
            position = [created, state.last_seq if new else max(state.first_seq, 1) - 1]
            await self._move_bookmark(position)
        if position[0] != created or position[1] > state.last_seq:
            raise DataError(
                f"{self._address} is not the stream that was read before: it was made at {created} "
                f"and ends at {state.last_seq}, but the position is {position[1]} in a stream made "
                f"at {position[0]}. Use another durable and another state directory to begin again"
            )
        self._created, self._last = position
        self._reads_all = self.subject in ("", ">") or config.subjects == [self.subject]
        consumer = await self._connection.streams.add_consumer(
            self._connection.stream,
            ConsumerConfig(
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self._last + 1,
                filter_subject=self.subject or None,
                inactive_threshold=CONSUMER_EXPIRY_SECONDS,
                mem_storage=True,
            ),
        )
        self._request_subject = (
            f"$JS.API.CONSUMER.MSG.NEXT.{self._connection.stream}.{consumer.name}"
        )
        client = self._connection.client
        self._inbox = client.new_inbox()
        self._arrived.clear()
        self._requested = self._delivered = 0
        self._failed = None
        self._woken = asyncio.Event()
        await client.subscribe(self._inbox, cb=self._receive)
        return position

    async def _wait(self, seconds: float) -> None:
        """Wait until there are messages."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._arrived:
                    if self._failed is not None:
                        raise self._failed
                    if not self._requested:
                        await self._request()
                    self._woken.clear()
                    await self._woken.wait()
        silence = time.monotonic() - self._heard_at
        if not self._arrived and silence > self._connection.timeout_seconds:
            raise TimeoutError(f"no answer within {self._connection.timeout_seconds:g} s")

    async def _request(self) -> None:
        """Ask for the next messages, which the server sends as they come."""
        client, timeout = self._connection.client, self._connection.timeout_seconds
        request = {
            "batch": PREFETCH_MESSAGES,
            "max_bytes": 2 * client.max_payload,
            "expires": round(4e9 * timeout),
            "idle_heartbeat": round(0.5e9 * timeout),
        }
        await client.publish(self._request_subject, json.dumps(request).encode(), self._inbox)
        self._requested = PREFETCH_MESSAGES
        self._heard_at = time.monotonic()

    async def _receive(self, message: Msg) -> None:
        """Take a message, or what the server says about the request for messages."""
        self._heard_at = time.monotonic()
        headers = message.headers or {}
        status = "" if message.reply else headers.get(Header.STATUS, "")
        if not status:
            self._requested -= 1
            self._delivered += 1
            if int(_metadata(message)[1]) == self._delivered:
                self._arrived.append(message)
            else:
                self._failed = Error("a message was lost on its way")
        elif status != "100":  # a heartbeat
            text = headers.get(Header.DESCRIPTION, status)
            if "MaxBytes" in text and self._requested == PREFETCH_MESSAGES:
                self._failed = DataError(f"{self._address}: {text}")
            elif status != "408" and "MaxBytes" not in text:
                self._failed = Error(text)
            self._requested = 0
        self._woken.set()

    async def _read_bookmark(self) -> list[Any] | None:
        bucket = f"KV_{BOOKMARK_BUCKET}"
        try:
            found = await self._connection.streams.get_last_msg(bucket, self._bookmark)
        except NotFoundError:
            return None
        return json.loads(found.data) if found.data else None

    async def _move_bookmark(self, position: list[Any]) -> None:
        mark = json.dumps(position).encode()
        streams = self._connection.streams
        try:
            await streams.publish(self._bookmark, mark)
        except NoStreamResponseError:  # the bucket does not exist, or no longer
            await streams.create_key_value(bucket=BOOKMARK_BUCKET, replicas=self._replicas)
            await streams.publish(self._bookmark, mark)


class NATSSink:
    """Forecasts as messages of a JetStream stream, with a subject for each key.

    A message is a JSON object with `id`, which is that of the tick, `key` if there are several
    streams, `time` if the ticks have timestamps, `forecast`, and with intervals `lower` and
    `upper`. Within the duplicate window of the stream the server drops messages that repeat an id
    and subject.

    Parameters
    ----------
    address
        The server and stream.
    subject
        Subject of a message, in which `{key}` stands for the tick's key.
    create
        1 to make the stream if there is none.
    ca, cert, key
        As in `NATSSource`.

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
        if not _SUBJECT.fullmatch(subject):
            raise ParameterError(
                f"{address}: subject must be like forecasts.{{key}}, without * and >, "
                f"got {subject!r}"
            )
        self.subject = subject
        self.create = create
        self._address = address
        self._connection = NATSConnection(address, ca, cert, key)

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make a sink; does not connect."""
        return cls(address, **address.options_for(cls))

    def open(self) -> None:
        """Connect; DataError if there is no such stream, or it does not take the subject."""
        self._connection.open()
        self._connection.do(self._open())

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Publish a message for each tick, and wait until all are in the stream."""
        self._connection.do(self._publish(forecast_records(batch, forecasts, bounds)))

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    async def _open(self) -> None:
        connection, pattern = self._connection, self.subject.replace("{key}", "*")
        await connection.info([pattern] if self.create else [])
        try:
            owner = await connection.streams.find_stream_name_by_subject(pattern)
        except NotFoundError:
            owner = None
        if owner != connection.stream:
            raise DataError(
                f"{self._address} does not take the subject {pattern}: "
                f"nats stream edit {connection.stream} --subjects={pattern}"
            )
        self._woken = asyncio.Event()
        self._failed: Exception | None = None
        self._unconfirmed = 0
        self._inbox = connection.client.new_inbox()
        await connection.client.subscribe(self._inbox, cb=self._receive)

    async def _publish(self, records: Iterable[dict[str, Any]]) -> None:
        client = self._connection.client
        for record in records:
            # If more were unsent, the client itself would wait in `publish`, 10 s for each message.
            while self._unconfirmed >= MAX_UNCONFIRMED or (
                self._unconfirmed and client.pending_data_size > MAX_UNSENT_BYTES
            ):
                await self._wait()
            subject = self.subject.replace("{key}", _token(record.get("key", "_")))
            headers = {Header.MSG_ID.value: f"{subject} {record['id']}"}
            self._unconfirmed += 1
            await client.publish(subject, json.dumps(record).encode(), self._inbox, headers)
        while self._unconfirmed or self._failed is not None:
            await self._wait()

    async def _wait(self) -> None:
        """Wait for an answer; raise if one was a refusal."""
        if self._failed is None:
            self._woken.clear()
            async with asyncio.timeout(self._connection.timeout_seconds):
                await self._woken.wait()
        if self._failed is not None:
            raise self._failed

    async def _receive(self, message: Msg) -> None:
        """Take an answer: a message is in the stream, or why not."""
        self._unconfirmed -= 1
        if (message.headers or {}).get(Header.STATUS) is not None:
            self._failed = Error("no stream takes the subject of the forecasts")
        elif (refusal := json.loads(message.data).get("error")) is not None:
            self._failed = APIError(**refusal)
        self._woken.set()


def _metadata(message: Msg) -> list[str]:
    """Its number in the stream, its number among those delivered, and its time."""
    parts = message.reply.split(".")
    first = 5 if len(parts) == 9 else 7  # a server with a domain adds two parts
    return parts[first : first + 3]


def _token(key: str) -> str:
    """A key as one part of a subject: percent-encoded, and cut off if it is long."""
    return quote(key, safe="").replace(".", "%2E")[:200]
