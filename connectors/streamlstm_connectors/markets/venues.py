"""Market data of Binance, Coinbase and Kraken: trades, tickers and candles, without an account.

binance:///btcusdt@trade, coinbase:///BTC-USD?channel=ticker, kraken:///BTC/USD?channel=ohlc; see
docs/connectors/markets.md.
"""

import hashlib
import json
import logging
import re
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple, Self

from streamlstm.errors import ParameterError
from streamlstm.live import SHOWN, Address, Batch, Fields, Parser, Rejected

from .fields import check, record
from .websocket import SECONDS, WebSocket

_log = logging.getLogger(__name__)
_PASSING = re.compile(r"\brate\b|too many|unavailable|busy|internal|maintenance|slow", re.I)
# Numbers stay the text they are, which is made a number once, where it is needed.
_decode = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).decode
_LARGEST = 2**63 - 1


class Channel(NamedTuple):
    """What a channel of a venue tells, and how it calls it."""

    number: str  # which rises from tick to tick of a symbol: an id, or a time
    step: int  # by so much, if no tick is missing; 0 where that cannot be known
    fields: dict[str, str]  # of a tick, beside its symbol
    sides: dict[str, str] | None = None  # see `record`


class _Tick(NamedTuple):
    symbol: str
    number: int
    record: dict[str, str]  # numbers as text


class _NoTickError(Exception):
    """Says what is wrong with a message."""


class _RefusedError(Exception):
    """What a venue says instead of sending ticks."""


class VenueSource:
    """Ticks of one channel of a venue, in its order, each at most once.

    A tick has an id, SYMBOL-NUMBER. The position is the last number of each symbol, and ticks
    that are not beyond it are passed over. A venue does not send again what was not received:
    `missed` counts the ticks that numbers show to be missing, `repeated` those passed over.

    Raises ParameterError if the address names no symbol, an unknown channel, or fields name what
    the channel does not have.
    """

    host: ClassVar[str]
    port: ClassVar[int] = 443
    path: ClassVar[str] = ""
    symbol_field: ClassVar[str]
    channels: ClassVar[dict[str, Channel]]
    answers_each_symbol: ClassVar[bool] = False

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
        check(address, fields, self.symbols, channel, known)
        self.channel = channel
        self.missed = 0
        self.repeated = 0
        self._address = address
        self._channel = self.channels[channel]
        self._parser = Parser(fields)
        port = address.port or (self.port if address.host is None else 443 if tls else 80)
        url = f"{'wss' if tls else 'ws'}://{address.host or self.host}:{port}/{self.path}"
        self._socket = WebSocket(str(address), url, ca, silence)
        self._waiting: deque[_Tick | Rejected] = deque()
        self._last: dict[str, int] = {}  # numbers of symbols

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make one; does not connect."""
        options = address.options(channel=next(iter(cls.channels)), tls=1, ca="", silence=30.0)
        return cls(address, fields, address.path.split(","), **options)

    def open(self, position: Any) -> dict[str, int]:
        """Connect and subscribe; ParameterError if the venue refuses."""
        self._waiting.clear()
        self._last = dict(position or {})
        self._socket.open()
        self._socket.send(json.dumps(self._request()))
        end = time.monotonic() + SECONDS
        outstanding = len(self.symbols) if self.answers_each_symbol else 1
        while outstanding:
            message = self._socket.receive(end - time.monotonic())
            if message is None:
                raise ConnectionError(f"{self._address} does not answer the subscription")
            try:
                outstanding -= self._take(message)
            except _RefusedError as error:
                text = f"{self._address} refuses: {error}"
                if _PASSING.search(str(error)):
                    raise ConnectionError(text) from error
                raise ParameterError(text) from error
        return dict(self._last)

    def read(self, ticks: int, seconds: float) -> Batch | None:
        """What has arrived, at most so many ticks; waits so long for the first."""
        end = time.monotonic() + seconds
        ids: list[str] = []
        records: list[dict[str, str]] = []
        rejected: list[Rejected] = []
        missed = self.missed
        while len(ids) + len(rejected) < ticks:
            if self._waiting:
                found = self._waiting.popleft()
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
                    break  # the next call meets it again
                raise
            if message is None:
                break
            try:
                self._take(message)
            except _RefusedError as error:
                _log.warning("%s: %s", self._address, error)
                self._socket.close()
        if not ids and not rejected:
            return None
        batch = self._parser.batch(ids, records, time.time_ns(), dict(self._last))
        rejected += batch.rejected
        return replace(batch, rejected=tuple(rejected), missed=self.missed - missed)

    def acknowledge(self, position: Any) -> None:
        """Nothing: a venue remembers no reader."""

    def close(self) -> None:
        """Let the connection go."""
        self._socket.close()

    def _request(self) -> dict[str, Any]:
        """The message that subscribes."""
        raise NotImplementedError

    def _is_answer(self, message: dict[str, Any]) -> bool:
        """Whether it confirms the subscription; raises _RefusedError if it refuses it."""
        raise NotImplementedError

    def _entries(self, message: dict[str, Any]) -> Iterable[Any]:
        """What it tells of symbols, nothing if it belongs to keeping the connection.

        Raises _NoTickError if it is nothing that the venue is known to send.
        """
        raise NotImplementedError

    def _take(self, message: bytes) -> bool:
        """Put the ticks of a message in the row; whether it answers the subscription."""
        try:
            if len(message) > self._parser.fields.longest:
                raise _NoTickError(f"{len(message)} bytes, more than {self._parser.fields.longest}")
            try:
                found = _decode(message.decode())
            except (ValueError, RecursionError) as error:
                raise _NoTickError(f"no JSON: {error}") from error
            if type(found) is not dict:
                raise _NoTickError("not an object with fields")
            if self._is_answer(found):
                return True
            entries = self._entries(found)
        except _NoTickError as error:
            self._waiting.append(_rejected(message, str(error)))
            return False
        for entry in entries:
            try:
                tick = self._final(self._tick(entry))
            except _NoTickError as error:
                self._waiting.append(_rejected(message, str(error)))
            else:
                self._waiting += [] if tick is None else [tick]
        return False

    def _tick(self, entry: Any) -> _Tick:
        """What an entry says."""
        if type(entry) is not dict:
            raise _NoTickError("not an object with fields")
        symbol = entry.get(self.symbol_field)
        if type(symbol) is not str or not symbol:
            raise _NoTickError(f"{self.symbol_field}: no symbol")
        channel = self._channel
        number = _number(channel.number, entry.get(channel.number))
        return _Tick(symbol, number, record(symbol, entry, channel.fields, channel.sides))

    def _final(self, tick: _Tick) -> _Tick | None:
        """What is known for good, now that a tick has come."""
        return tick

    def _is_new(self, tick: _Tick) -> bool:
        """Whether it is beyond the last of its symbol; counts those between them."""
        symbol, number, _ = tick
        last, step = self._last.get(symbol), self._channel.step
        if last is not None:
            if number <= last:
                self.repeated += 1
                return False
            missed = (number - last) // step - 1 if step else 0
            if missed > 0:
                self.missed += missed
                _log.warning("%s: %d missing from %d to %d", symbol, missed, last, number)
        self._last[symbol] = number
        return True


def _number(field: str, value: Any) -> int:
    """A whole number, or microseconds since 1970 of a time in ISO 8601, which is in UTC."""
    if type(value) is not str:
        raise _NoTickError(f"{field}: neither a number nor a time")
    try:
        number = int(value)
    except ValueError:
        try:
            moment = datetime.fromisoformat(value).replace(tzinfo=UTC)
            number = round(moment.timestamp() * 1e6)
        except (ValueError, OverflowError) as error:
            raise _NoTickError(f"{field}: neither a number nor a time") from error
    if not 0 <= number <= _LARGEST:
        raise _NoTickError(f"{field}: out of range")
    return number


def _rejected(message: bytes, reason: str) -> Rejected:
    name = hashlib.blake2b(message, digest_size=8).hexdigest()
    return Rejected(
        name, reason, message[: 4 * SHOWN].decode(errors="replace")[:SHOWN], len(message)
    )


_INTERVALS = {  # seconds of each; 0 where they vary
    **{f"{n}{unit}": n * seconds for unit, seconds, numbers in (
        ("s", 1, (1,)), ("m", 60, (1, 3, 5, 15, 30)), ("h", 3600, (1, 2, 4, 6, 8, 12)),
        ("d", 86400, (1, 3)), ("w", 604800, (1,)), ("M", 0, (1,)),
    ) for n in numbers}
}  # fmt: skip


class BinanceSource(VenueSource):
    """Ticks from Binance: binance:///btcusdt@trade,ethusdt@trade.

    Channels are trade, aggTrade, kline_INTERVAL, ticker and bookTicker. Of klines only those come
    that are final.
    """

    host = "stream.binance.com"
    port = 9443
    path = "stream"
    symbol_field = "s"
    _sides: ClassVar = {"True": "-1", "False": "1"}  # whether the buyer's offer was taken
    channels: ClassVar = {
        "trade": Channel(
            "t", 1, {"price": "p", "size": "q", "side": "m", "time": "T", "trade": "t"}, _sides
        ),
        "aggTrade": Channel(
            "a", 1, {"price": "p", "size": "q", "side": "m", "time": "T", "trade": "a"}, _sides
        ),
        "ticker": Channel(
            "E",
            0,
            {
                "price": "c", "size": "Q", "bid": "b", "bid_size": "B", "ask": "a", "ask_size": "A",
                "open": "o", "high": "h", "low": "l", "volume": "v", "time": "E",
            },
        ),
        "bookTicker": Channel(
            "u",
            0,
            {"bid": "b", "bid_size": "B", "ask": "a", "ask_size": "A", "sequence": "u"},
        ),
        **{
            f"kline_{interval}": Channel(
                "t",
                1000 * seconds,
                {
                    "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v",
                    "trades": "n", "time": "t",
                },
            )
            for interval, seconds in _INTERVALS.items()
        },
    }  # fmt: skip

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make one; does not connect."""
        options = address.options(tls=1, ca="", silence=30.0)
        streams = [name.partition("@") for name in address.path.split(",")]
        channel, *others = {channel or "trade" for _, _, channel in streams}
        if others:
            raise ParameterError(f"{address} has several channels; a source has one")
        return cls(address, fields, (name.lower() for name, _, _ in streams), channel, **options)

    def _request(self) -> dict[str, Any]:
        streams = [f"{symbol}@{self.channel}" for symbol in self.symbols]
        return {"method": "SUBSCRIBE", "params": streams, "id": 1}

    def _is_answer(self, message: dict[str, Any]) -> bool:
        error = message.get("error", message)
        if "code" in message or "error" in message:
            raise _RefusedError(error.get("msg", error) if type(error) is dict else error)
        return "result" in message

    def _entries(self, message: dict[str, Any]) -> Iterable[Any]:
        stream, data = message.get("stream"), message.get("data", message)
        if type(data) is not dict:
            raise _NoTickError("data: not an object with fields")
        if data.get("e") == "serverShutdown":
            return []
        if type(stream) is not str or stream.partition("@")[2] != self.channel:
            raise _NoTickError(f"stream: not of the channel {self.channel}")
        if not self.channel.startswith("kline_"):
            return [data]
        kline = data.get("k")
        if type(kline) is not dict or type(kline.get("x")) is not bool:
            raise _NoTickError("k: no kline")
        return [kline] if kline["x"] else []


class CoinbaseSource(VenueSource):
    """Ticks from Coinbase Exchange: coinbase:///BTC-USD,ETH-USD?channel=matches.

    Channels are matches, which are trades, ticker and ticker_batch.
    """

    host = "ws-feed.exchange.coinbase.com"
    symbol_field = "product_id"
    _TICKER: ClassVar = Channel(
        "trade_id",
        0,  # trades that one order makes may share a message
        {
            "price": "price", "size": "last_size", "side": "side", "bid": "best_bid",
            "bid_size": "best_bid_size", "ask": "best_ask", "ask_size": "best_ask_size",
            "open": "open_24h", "high": "high_24h", "low": "low_24h", "volume": "volume_24h",
            "time": "time", "trade": "trade_id", "sequence": "sequence",
        },
        {"buy": "1", "sell": "-1"},
    )  # fmt: skip
    channels: ClassVar = {
        "matches": Channel(
            "trade_id",
            1,
            {
                "price": "price", "size": "size", "side": "side", "time": "time",
                "trade": "trade_id", "sequence": "sequence",
            },
            {"buy": "-1", "sell": "1"},  # it is the maker's that is told
        ),
        "ticker": _TICKER,
        "ticker_batch": _TICKER,
    }  # fmt: skip
    _kinds: ClassVar = {"matches": ("match", "last_match")}  # of messages; others: ticker

    def _request(self) -> dict[str, Any]:
        return {"type": "subscribe", "product_ids": self.symbols, "channels": [self.channel]}

    def _is_answer(self, message: dict[str, Any]) -> bool:
        if message.get("type") == "error":
            texts = (message.get("message"), message.get("reason"))
            raise _RefusedError(": ".join(str(text) for text in texts if text))
        return message.get("type") == "subscriptions"

    def _entries(self, message: dict[str, Any]) -> Iterable[Any]:
        kind = message.get("type")
        if type(kind) is not str:
            raise _NoTickError("type: missing")
        known = self._kinds.get(self.channel, ("ticker",))
        return [message] if kind in known else []  # others may come at any time


class KrakenSource(VenueSource):
    """Ticks from Kraken: kraken:///BTC/USD,ETH/USD?channel=trade.

    Channels are trade, ticker and ohlc; of candles, of `interval` minutes, those come after which
    another has begun.
    """

    host = "ws.kraken.com"
    path = "v2"
    symbol_field = "symbol"
    answers_each_symbol = True
    channels: ClassVar = {
        "trade": Channel(
            "trade_id",
            1,
            {
                "price": "price", "size": "qty", "side": "side", "time": "timestamp",
                "trade": "trade_id",
            },
            {"buy": "1", "sell": "-1"},
        ),
        "ticker": Channel(
            "timestamp",
            0,
            {
                "price": "last", "bid": "bid", "bid_size": "bid_qty", "ask": "ask",
                "ask_size": "ask_qty", "high": "high", "low": "low", "volume": "volume",
                "time": "timestamp",
            },
        ),
        "ohlc": Channel(
            "interval_begin",
            0,  # there is no candle where there was no trade
            {
                "open": "open", "high": "high", "low": "low", "close": "close",
                "volume": "volume", "trades": "trades", "time": "interval_begin",
            },
        ),
    }  # fmt: skip

    def __init__(self, *given: Any, interval: int = 1, **options: Any):
        super().__init__(*given, **options)
        self._interval = interval
        self._candles: dict[str, _Tick] = {}  # those that are not over

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make one; does not connect."""
        options = address.options(channel="trade", interval=1, tls=1, ca="", silence=30.0)
        return cls(address, fields, address.path.split(","), **options)

    def open(self, position: Any) -> dict[str, int]:
        """Connect and subscribe; ParameterError if the venue refuses."""
        self._candles.clear()
        return super().open(position)

    def _request(self) -> dict[str, Any]:
        params = {"channel": self.channel, "symbol": self.symbols, "snapshot": True}
        if self.channel == "ohlc":
            params["interval"] = self._interval
        return {"method": "subscribe", "params": params}

    def _is_answer(self, message: dict[str, Any]) -> bool:
        if message.get("success") is False or "error" in message:
            raise _RefusedError(str(message.get("error")))
        return message.get("method") == "subscribe"

    def _entries(self, message: dict[str, Any]) -> Iterable[Any]:
        channel, data = message.get("channel"), message.get("data")
        if channel in ("heartbeat", "status") or message.get("method") == "pong":
            return []
        if channel != self.channel:
            raise _NoTickError(f"channel: not {self.channel}")
        if type(data) is not list:
            raise _NoTickError("data: no list")
        return data

    def _final(self, tick: _Tick) -> _Tick | None:
        """A candle is final once another has begun."""
        if self.channel != "ohlc":
            return tick
        before = self._candles.get(tick.symbol)
        if before is not None and tick.number < before.number:
            return None
        self._candles[tick.symbol] = tick
        return None if before is None or tick.number == before.number else before
