"""Market data of any venue that ccxt knows: ccxt://binance/BTC/USDT,ETH/USDT?channel=trades.

See docs/connectors/markets.md.
"""

import asyncio
import importlib
import threading
import time
from contextlib import suppress
from dataclasses import replace
from queue import Empty, Queue
from typing import Any, NamedTuple, Self

from streamlstm.errors import MissingPackageError, ParameterError
from streamlstm.live import SHOWN, Address, Batch, Fields, Parser, Rejected

from .fields import check, record

try:
    ccxt: Any = importlib.import_module("ccxt.pro")  # by name, for mypy would read all of its 70 MB
except ImportError as error:
    raise MissingPackageError("ccxt needs: pip install streamlstm[ccxt]") from error

SECONDS = 30.0  # for the venue's markets to be loaded
WAITING = 1 << 16  # ticks that may wait here before no more are taken
PAUSE = 0.01  # seconds between looks for room
_CHANNELS = {
    "trades": {
        "price": "price", "size": "amount", "side": "side", "time": "timestamp", "trade": "id",
    },
    "ticker": {
        "price": "last", "bid": "bid", "bid_size": "bidVolume", "ask": "ask",
        "ask_size": "askVolume", "open": "open", "high": "high", "low": "low",
        "volume": "baseVolume", "time": "timestamp",
    },
}  # fmt: skip
_SIDES = {"buy": "1", "sell": "-1"}


class _Tick(NamedTuple):
    symbol: str
    time: int  # milliseconds since 1970
    name: str  # tells it from others of its symbol
    record: dict[str, str]


class CCXTSource:
    """Trades or tickers as ccxt has them, each at most once.

    A tick has an id, SYMBOL-NAME, where the name is that of the trade, or the time of the ticker.
    The position is the last time of each symbol with the names at that time: what is older, or has
    such a name, is passed over, and counted in `repeated`. What is missing cannot be known, for
    names of trades need not be consecutive.

    A thread of its own runs ccxt, so that connections are kept while a model learns.
    """

    def __init__(self, address: Address, fields: Fields, channel: str = "trades"):
        self.symbols = list(dict.fromkeys(address.path.split(",")))
        self.channel = channel
        self.repeated = 0
        self._address = address
        check(address, fields, self.symbols, channel, _CHANNELS)
        if address.host not in ccxt.exchanges:
            raise ParameterError(f"{address}: ccxt streams nothing from {address.host!r}")
        self._parser = Parser(fields)
        self._waiting: Queue[_Tick | Rejected | Exception] = Queue()
        self._last: dict[str, list[Any]] = {}
        self._lost: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread()
        self._exchange: Any = None
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make one; does not connect."""
        return cls(address, fields, **address.options(channel="trades"))

    def open(self, position: Any) -> dict[str, list[Any]]:
        """Load the venue's markets and subscribe; ParameterError if it has no such symbol."""
        self.close()
        self._last = dict(position or {})
        self._lost = None
        self._waiting = Queue(WAITING)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._failed)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(SECONDS)
        except ParameterError:
            raise
        except Exception as error:
            raise self._as_ours(error) from error
        return dict(self._last)

    def read(self, ticks: int, seconds: float) -> Batch | None:
        """What has arrived, at most so many ticks; waits so long for the first."""
        if self._loop is None:
            raise ConnectionError(f"{self._address} is not connected")
        end = time.monotonic() + seconds
        ids: list[str] = []
        records: list[dict[str, str]] = []
        rejected: list[Rejected] = []
        while len(ids) + len(rejected) < ticks:
            try:
                wait = 0 if ids or rejected or self._lost else end - time.monotonic()
                found = self._waiting.get(timeout=wait) if wait > 0 else self._waiting.get_nowait()
            except Empty:
                break
            if isinstance(found, Exception):
                self._lost = found  # once what has come beside it is read
                continue
            if isinstance(found, Rejected):
                rejected.append(found)
            elif self._is_new(found):
                ids.append(f"{found.symbol}-{found.name}")
                records.append(found.record)
        if ids or rejected:
            position = dict(self._last)
            batch = self._parser.batch(ids, records, time.time_ns(), position)
            return replace(batch, rejected=(*rejected, *batch.rejected))
        if self._lost is not None:
            raise self._as_ours(self._lost) from self._lost
        return None

    def acknowledge(self, position: Any) -> None:
        """Nothing: a venue remembers no reader."""

    def close(self) -> None:
        """Let the connection go."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._end(), loop).result(SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()

    async def _begin(self) -> None:
        self._exchange = getattr(ccxt, self._address.host or "")()
        await self._exchange.load_markets()
        for symbol in self.symbols:
            if symbol not in self._exchange.markets:
                raise ParameterError(f"{self._address}: there is no symbol {symbol!r}")
        self._tasks = [asyncio.create_task(self._watch(symbol)) for symbol in self.symbols]

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._exchange.close()

    async def _watch(self, symbol: str) -> None:
        """Put what comes of a symbol in the row, until an error with one of them."""
        exchange = self._exchange
        try:
            while self._lost is None:
                if self.channel == "trades":
                    entries = await exchange.watch_trades(symbol)
                else:
                    entries = [await exchange.watch_ticker(symbol)]
                for entry in entries:
                    await self._put(self._tick(symbol, entry))
        except Exception as error:  # what ccxt makes of a bad message may be any
            await self._put(error)

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A bad message may end what ccxt receives with, without `_watch` being told."""
        if (error := context.get("exception")) is not None:
            self._tasks.append(loop.create_task(self._put(error)))

    async def _put(self, found: _Tick | Rejected | Exception) -> None:
        while self._waiting.full():
            await asyncio.sleep(PAUSE)
        self._waiting.put_nowait(found)

    def _tick(self, symbol: str, entry: dict[str, Any]) -> _Tick | Rejected:
        moment = entry["timestamp"]
        if type(moment) is not int:
            text = str(entry)
            return Rejected(symbol, "timestamp: missing", text[:SHOWN], len(text))
        name = str(entry.get("id") or moment)
        return _Tick(symbol, moment, name, record(symbol, entry, _CHANNELS[self.channel], _SIDES))

    def _is_new(self, tick: _Tick) -> bool:
        moment, names = self._last.get(tick.symbol, (-1, []))
        if tick.time < moment or (tick.time == moment and tick.name in names):
            self.repeated += 1
            return False
        names = [*names, tick.name] if tick.time == moment else [tick.name]
        self._last[tick.symbol] = [tick.time, names]
        return True

    def _as_ours(self, error: Exception) -> Exception:
        """An error as the runner knows it."""
        refused = isinstance(error, ccxt.BaseError) and not isinstance(error, ccxt.NetworkError)
        kind = ParameterError if refused else ConnectionError
        return kind(f"{self._address}: {type(error).__name__}: {error}")
