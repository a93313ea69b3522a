"""Binance: binance:///btcusdt@trade,ethusdt@trade, without an account.

See docs/connectors/markets.md.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Self

from streamlstm.errors import ParameterError
from streamlstm.live import Address, Fields

from .venue import Channel, NotATickError, RefusedError, VenueSource

_INTERVAL_SECONDS = {  # 0 where they vary
    **{f"{n}{unit}": n * seconds for unit, seconds, numbers in (
        ("s", 1, (1,)), ("m", 60, (1, 3, 5, 15, 30)), ("h", 3600, (1, 2, 4, 6, 8, 12)),
        ("d", 86400, (1, 3)), ("w", 604800, (1,)), ("M", 0, (1,)),
    ) for n in numbers}
}  # fmt: skip


class BinanceSource(VenueSource):
    """Ticks from Binance.

    The channels are trade, aggTrade, ticker, bookTicker and kline_INTERVAL, such as kline_1m. Of
    klines only those come that are complete.
    """

    host = "stream.binance.com"
    port = 9443
    path = "stream"
    symbol_field = "s"
    _sides: ClassVar = {
        "True": "-1",
        "False": "1",
    }  # "True": the buyer made the offer that was accepted
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
            for interval, seconds in _INTERVAL_SECONDS.items()
        },
    }  # fmt: skip

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make a source; does not connect."""
        options = address.options(tls=1, ca="", silence=30.0)
        streams = [name.partition("@") for name in address.path.split(",")]
        channel, *others = {channel or "trade" for _, _, channel in streams}
        if others:
            raise ParameterError(
                f"{address} has the channels {', '.join([channel, *others])}; use only one"
            )
        return cls(address, fields, (name.lower() for name, _, _ in streams), channel, **options)

    def _request(self) -> dict[str, Any]:
        streams = [f"{symbol}@{self.channel}" for symbol in self.symbols]
        return {"method": "SUBSCRIBE", "params": streams, "id": 1}

    def _is_answer(self, message: dict[str, Any]) -> bool:
        error = message.get("error", message)
        if "code" in message or "error" in message:
            raise RefusedError(error.get("msg", error) if type(error) is dict else error)
        return "result" in message

    def _entries(self, message: dict[str, Any]) -> Iterable[Any]:
        stream, data = message.get("stream"), message.get("data", message)
        if type(data) is not dict:
            raise NotATickError("data: not an object with fields")
        if data.get("e") == "serverShutdown":
            return []
        if type(stream) is not str or stream.partition("@")[2] != self.channel:
            raise NotATickError(f"stream: not of the channel {self.channel}")
        if not self.channel.startswith("kline_"):
            return [data]
        kline = data.get("k")
        if type(kline) is not dict or type(kline.get("x")) is not bool:
            raise NotATickError("k: not a kline")
        return [kline] if kline["x"] else []
