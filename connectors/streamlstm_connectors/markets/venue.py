"""What the sources of Binance, Coinbase and Kraken share: a subscription over a WebSocket.

A source derives from `VenueSource` and says how its venue is asked, how it answers, and what it
calls the fields. See docs/connectors/markets.md.
"""

import json
import logging
import re
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, ClassVar, NamedTuple, Self

from streamlstm.errors import ParameterError
from streamlstm.live import Address, Batch, Fields, Parser, Rejected

from ..tls import tls_context
from .fields import check_fields, record
from .websocket import WebSocket

_log = logging.getLogger("streamlstm.connectors.markets")
# In messages of refusals that pass.
_PASSING = re.compile(r"\brate\b|too many|unavailable|busy|internal|maintenance|slow", re.I)
# Numbers stay text, and become numbers only where they are needed.
_decode = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).decode
_MAX_NUMBER = 2**63 - 1


class Channel(NamedTuple):
    """A channel of a venue and the names of its fields."""

    number: str  # field that grows from tick to tick of a symbol: an id or a time
    step: int  # by which it grows if no tick is missing; 0 if that cannot be known
    fields: dict[str, str]  # the venue's name of each field besides the symbol
    sides: dict[str, str] | None = None  # see `record`


class Tick(NamedTuple):
    """What an entry of a message says."""

    symbol: str
    number: int
    record: dict[str, str]  # numbers as text


class NotATickError(Exception):
    """Says what is wrong with a message."""


class RefusedError(Exception):
    """What the venue says in place of sending ticks."""


class VenueSource:
    """Ticks of one channel of a venue, in the venue's order, each at most once.

    The id of a tick is SYMBOL-NUMBER. The position is the last number of each symbol; ticks up to
    it are skipped. A venue does not send ticks again that were not received.

    Parameters
    ----------
    address, fields
        The venue, and which fields of its ticks to use.
    symbols
        What to subscribe to.
    channel
        One of `channels`.
    tls
        0 for a connection without TLS.
    ca
        File of the authority to trust.
    silence
        Seconds after which a venue that does not answer a ping is given up.

    Attributes
    ----------
    missed
        How many ticks are missing, as their numbers show.
    repeated
        How many ticks came again and were skipped.

    Raises
    ------
    ParameterError
        If the address names no symbol or an unknown channel, or the channel lacks a field.

    """

    host: ClassVar[str]
    port: ClassVar[int] = 443
    path: ClassVar[str] = ""
    symbol_field: ClassVar[str]
    channels: ClassVar[dict[str, Channel]]
    answers_each_symbol: ClassVar[bool] = False
    timeout_seconds: ClassVar[float] = 10.0  # for the venue to answer the subscription

    def __init__(
        self,
        address: Address,
        fields: Fields,
        symbols: Iterable[str],
        channel: str,
        tls: int = 1,
        ca: str = "",
        silence: float = 30.0,
    ):
        self.symbols = list(dict.fromkeys(symbols))
        known = {name: each.fields for name, each in self.channels.items()}
        check_fields(address, fields, self.symbols, channel, known)
        self.channel = channel
        self.missed = 0
        self.repeated = 0
        self._address = address
        self._channel = self.channels[channel]
        self._parser = Parser(fields)
        port = address.port or (self.port if address.host is None else 443 if tls else 80)
        url = f"{'wss' if tls else 'ws'}://{address.host or self.host}:{port}/{self.path}"
        context = tls_context(address, True, ca) if tls else None
        self._socket = WebSocket(str(address), url, context, silence)
        self._arrived: deque[Tick | Rejected] = deque()
        self._last: dict[str, int] = {}  # number of each symbol

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make a source; does not connect."""
        options = address.options(channel=next(iter(cls.channels)), tls=1, ca="", silence=30.0)
        return cls(address, fields, address.path.split(","), **options)

    def open(self, position: Any) -> dict[str, int]:
        """Connect and subscribe; ParameterError if the venue refuses."""
        self._arrived.clear()
        self._last = dict(position or {})
        self._socket.open()
        self._socket.send(json.dumps(self._request()))
        end = time.monotonic() + self.timeout_seconds
        outstanding = len(self.symbols) if self.answers_each_symbol else 1
        while outstanding:
            message = self._socket.receive(end - time.monotonic())
            if message is None:
                raise ConnectionError(f"{self._address} does not answer the subscription")
            try:
                outstanding -= self._take(message)
            except RefusedError as error:
                text = f"{self._address} refuses the subscription: {error}"
                if _PASSING.search(str(error)):
                    raise ConnectionError(text) from error
                raise ParameterError(text) from error
        return dict(self._last)

    def read(self, max_ticks: int, timeout: float) -> Batch | None:
        """Return at most `max_ticks` ticks; wait up to `timeout` seconds for the first."""
        end = time.monotonic() + timeout
        ids: list[str] = []
        records: list[dict[str, str]] = []
        rejected: list[Rejected] = []
        missed = self.missed
        while len(ids) + len(rejected) < max_ticks:
            if self._arrived:
                found = self._arrived.popleft()
                if isinstance(found, Rejected):
                    rejected.append(found)
                elif self._is_new(found):
                    ids.append(f"{found.symbol}-{found.number}")
                    records.append(found.record)
                continue
            try:
                message = self._socket.receive(0 if ids or rejected else end - time.monotonic())
            except ConnectionError:
                if ids or rejected:
                    break  # the next call raises it again
                raise
            if message is None:
                break
            try:
                self._take(message)
            except RefusedError as error:
                _log.warning("%s: %s", self._address, error)
                self._socket.close()
        if not ids and not rejected:
            return None
        batch = self._parser.batch(ids, records, time.time_ns(), dict(self._last))
        rejected += batch.rejected
        return replace(batch, rejected=tuple(rejected), missed=self.missed - missed)

    def acknowledge(self, position: Any) -> None:
        """Do nothing: a venue does not remember its readers."""

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    def _request(self) -> dict[str, Any]:
        """The message that subscribes."""
        raise NotImplementedError

    def _is_answer(self, message: dict[str, Any]) -> bool:
        """Whether a message confirms the subscription; RefusedError if it refuses it."""
        raise NotImplementedError

    def _entries(self, message: dict[str, Any]) -> Iterable[Any]:
        """The entries of symbols in a message; none if it only keeps the connection.

        NotATickError if the venue is not known to send such messages.
        """
        raise NotImplementedError

    def _finished(self, tick: Tick) -> Tick | None:
        """The tick that is complete now that a tick has arrived."""
        return tick

    def _take(self, message: bytes) -> bool:
        """Queue the ticks of a message; return whether it confirms the subscription."""
        try:
            max_bytes = self._parser.fields.max_bytes
            if len(message) > max_bytes:
                raise NotATickError(f"{len(message)} bytes, more than {max_bytes}")
            try:
                found = _decode(message.decode())
            except (ValueError, RecursionError) as error:
                raise NotATickError(f"not JSON: {error}") from error
            if type(found) is not dict:
                raise NotATickError("not an object with fields")
            if self._is_answer(found):
                return True
            entries = self._entries(found)
        except NotATickError as error:
            self._arrived.append(_rejected(message, error))
            return False
        for entry in entries:
            try:
                tick = self._finished(self._tick(entry))
            except NotATickError as error:
                self._arrived.append(_rejected(message, error))
            else:
                self._arrived += [] if tick is None else [tick]
        return False

    def _tick(self, entry: Any) -> Tick:
        """What an entry says."""
        if type(entry) is not dict:
            raise NotATickError("not an object with fields")
        symbol = entry.get(self.symbol_field)
        if type(symbol) is not str or not symbol:
            raise NotATickError(f"{self.symbol_field}: no symbol")
        channel = self._channel
        number = _number(channel.number, entry.get(channel.number))
        return Tick(symbol, number, record(symbol, entry, channel.fields, channel.sides))

    def _is_new(self, tick: Tick) -> bool:
        """Whether a tick is after the last of its symbol; counts those missing between them."""
        symbol, number, _ = tick
        last, step = self._last.get(symbol), self._channel.step
        if last is not None:
            if number <= last:
                self.repeated += 1
                return False
            missed = (number - last) // step - 1 if step else 0
            if missed > 0:
                self.missed += missed
                _log.warning(
                    "%s: %d tick%s missing between %d and %d",
                    *(symbol, missed, "s" * (missed != 1), last, number),
                )
        self._last[symbol] = number
        return True


def _number(field: str, value: Any) -> int:
    """A whole number, or a time in ISO 8601, in UTC, as microseconds since 1970."""
    if type(value) is not str:
        raise NotATickError(f"{field}: neither a number nor a time")
    try:
        number = int(value)
    except ValueError:
        try:
            moment = datetime.fromisoformat(value).replace(tzinfo=UTC)
            number = round(moment.timestamp() * 1e6)
        except (ValueError, OverflowError) as error:
            raise NotATickError(f"{field}: neither a number nor a time") from error
    if not 0 <= number <= _MAX_NUMBER:
        raise NotATickError(f"{field}: out of range")
    return number


def _rejected(message: bytes, error: NotATickError) -> Rejected:
    return Rejected.of(blake2b(message, digest_size=8).hexdigest(), str(error), message)
