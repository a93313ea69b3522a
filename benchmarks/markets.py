"""Messages of venues made batches of ticks, a second, on one core; without the network."""

import json
import platform
import statistics
import sys
import time
from pathlib import Path

from streamlstm.live.address import Address
from streamlstm.live.connector import connector
from streamlstm.live.payload import Fields

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from server_websocket import BEGIN, Binance, Coinbase, Kraken

MESSAGES = 20_000
ROUNDS = 9
_BINANCE, _COINBASE, _KRAKEN = Binance(), Coinbase(), Kraken()
CHANNELS = {  # addresses, features, and messages
    "binance:///btcusdt@trade": ("size,side", lambda n: _BINANCE.trade("BTCUSDT", n, n)),
    "binance:///btcusdt@ticker": ("bid,ask", lambda n: _BINANCE.ticker("BTCUSDT", BEGIN + n)),
    "coinbase:///BTC-USD": ("size,side", lambda n: _COINBASE.trade("BTC-USD", n, n)),
    "coinbase:///BTC-USD?channel=ticker": ("bid,ask", lambda n: _COINBASE.ticker("BTC-USD", n)),
    "kraken:///BTC/USD": ("size,side", lambda n: _KRAKEN.trade("BTC/USD", n, n)),
}


class Given:
    """In place of a WebSocket: messages that have arrived."""

    def __init__(self, messages):
        self._messages = iter(messages)

    def receive(self, seconds):
        """The next."""
        return next(self._messages, None)


def rate(address, features, message):
    """Messages a second."""
    fields = Fields("price", "symbol", "time", tuple(features.split(",")))
    source = connector("source", Address(address)).from_address(Address(address), fields)
    source._socket = Given([json.dumps(message(n)).encode() for n in range(1, MESSAGES + 1)])
    start, ticks = time.perf_counter(), 0
    while (batch := source.read(1024, 0)) is not None:
        ticks += len(batch)
    assert ticks == MESSAGES
    return MESSAGES / (time.perf_counter() - start)


def main():
    """Print the median of some rounds, and the range."""
    print(f"Python {platform.python_version()}, {platform.machine()}; median, least and most")
    for address, (features, message) in CHANNELS.items():
        rates = [rate(address, features, message) for _ in range(ROUNDS)]
        found = statistics.median(rates), min(rates), max(rates)
        print(f"{address:36}", *(f"{each:9,.0f}" for each in found))


if __name__ == "__main__":
    main()
