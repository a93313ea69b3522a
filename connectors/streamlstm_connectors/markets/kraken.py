"""Kraken: kraken:///BTC/USD,ETH/USD?channel=ohlc, without an account.

See docs/connectors/markets.md.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Self

from streamlstm.live import Address, Fields

from .venue import Channel, NotATickError, RefusedError, Tick, VenueSource


class KrakenSource(VenueSource):
    """Ticks from Kraken.

    The channels are trade, ticker and ohlc. The candles of ohlc span `interval` minutes and come
    when the next one has begun.
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
            0,  # there are no candles without trades
            {
                "open": "open", "high": "high", "low": "low", "close": "close",
                "volume": "volume", "trades": "trades", "time": "interval_begin",
            },
        ),
    }  # fmt: skip

    def __init__(self, *given: Any, interval: int = 1, **options: Any):
        super().__init__(*given, **options)
        self._interval = interval
        self._candles: dict[str, Tick] = {}  # of each symbol, the one that is not complete

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make a source; does not connect."""
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
            raise RefusedError(str(message.get("error")))
        return message.get("method") == "subscribe"

    def _entries(self, message: dict[str, Any]) -> Iterable[Any]:
        channel, data = message.get("channel"), message.get("data")
        if channel in ("heartbeat", "status") or message.get("method") == "pong":
            return []
        if channel != self.channel:
            raise NotATickError(f"channel: not {self.channel}")
        if type(data) is not list:
            raise NotATickError("data: not a list")
        return data

    def _finished(self, tick: Tick) -> Tick | None:
        """A candle is complete once the next one has begun."""
        if self.channel != "ohlc":
            return tick
        before = self._candles.get(tick.symbol)
        if before is not None and tick.number < before.number:
            return None
        self._candles[tick.symbol] = tick
        return None if before is None or tick.number == before.number else before
