"""Coinbase Exchange: coinbase:///BTC-USD,ETH-USD?channel=matches, without an account.

See docs/connectors/markets.md.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from .venue import Channel, NotATickError, RefusedError, VenueSource


class CoinbaseSource(VenueSource):
    """Ticks from Coinbase Exchange.

    The channels are matches, which are trades, ticker and ticker_batch.
    """

    host = "ws-feed.exchange.coinbase.com"
    symbol_field = "product_id"
    _TICKER: ClassVar = Channel(
        "trade_id",
        0,  # one message may stand for all trades of an order
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
            {"buy": "-1", "sell": "1"},  # the venue tells the side of the other party, the maker
        ),
        "ticker": _TICKER,
        "ticker_batch": _TICKER,
    }  # fmt: skip
    _kinds: ClassVar = {
        "matches": ("match", "last_match")
    }  # types of messages; of the other channels: ticker

    def _request(self) -> dict[str, Any]:
        return {"type": "subscribe", "product_ids": self.symbols, "channels": [self.channel]}

    def _is_answer(self, message: dict[str, Any]) -> bool:
        if message.get("type") == "error":
            texts = (message.get("message"), message.get("reason"))
            raise RefusedError(": ".join(str(text) for text in texts if text))
        return message.get("type") == "subscriptions"

    def _entries(self, message: dict[str, Any]) -> Iterable[Any]:
        kind = message.get("type")
        if type(kind) is not str:
            raise NotATickError("type: missing")
        known = self._kinds.get(self.channel, ("ticker",))
        return [message] if kind in known else []  # messages of other types may come at any time
