"""Any venue that ccxt knows: ccxt://binance/BTC/USDT,ETH/USDT?channel=trades.

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
from streamlstm.live import Address, Batch, Fields, Parser, Rejected

from .fields import check_fields, record

try:
    ccxt: Any = importlib.import_module(
        "ccxt.pro"
    )  # an import statement would make mypy read 70 MB
except ImportError as error:
    raise MissingPackageError(
        "Market data through ccxt needs ccxt: pip install 'streamlstm[ccxt]'"
    ) from error

TIMEOUT_SECONDS = 30.0  # for the venue to list its markets
MAX_WAITING_TICKS = 1 << 16  # before no more are taken from ccxt
FULL_QUEUE_PAUSE_SECONDS = 0.01  # between looks at a queue that is full
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
    name: str  # unique among ticks of the symbol at this time
    record: dict[str, str]


class CCXTSource:
    """Trades or tickers from ccxt, each at most once.

    The id of a tick is SYMBOL-NAME, where the name is the id of the trade, or the time of the
    ticker. The position is the last time of each symbol, with the names at that time. Ticks that
    are older, or have such a name, are skipped. Missing ticks cannot be counted, since the ids of
    trades need not be consecutive.

    ccxt runs in a thread of its own, so that connections stay alive while a model learns.

    Parameters
    ----------
    address, fields
        The venue and symbols, and which fields of the ticks to use.
    channel
        "trades" or "ticker".

    Attributes
    ----------
    repeated
        How many ticks came again and were skipped.

    """

    def __init__(self, address: Address, fields: Fields, channel: str = "trades"):
        self.symbols = list(dict.fromkeys(address.path.split(",")))
        self.channel = channel
        self.repeated = 0
        self._address = address
        check_fields(address, fields, self.symbols, channel, _CHANNELS)
        if address.host not in ccxt.exchanges:
            raise ParameterError(
                f"{address}: ccxt has no streams of {address.host!r}; see ccxt.pro.exchanges"
            )
        self._parser = Parser(fields)
        self._arrived: Queue[_Tick | Rejected | Exception] = Queue()
        self._last: dict[str, list[Any]] = {}
        self._lost: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread()
        self._exchange: Any = None
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make a source; does not connect."""
        return cls(address, fields, **address.options_for(cls))

    def open(self, position: Any) -> dict[str, list[Any]]:
        """Connect and subscribe; ParameterError if the venue has no such symbol."""
        self.close()
        self._last = dict(position or {})
        self._lost = None
        self._arrived = Queue(MAX_WAITING_TICKS)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._failed)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._connect(), self._loop).result(TIMEOUT_SECONDS)
        except ParameterError:
            raise
        except Exception as error:
            raise self._translated(error) from error
        return dict(self._last)

    def read(self, max_ticks: int, timeout: float) -> Batch | None:
        """Return at most `max_ticks` ticks; wait up to `timeout` seconds for the first."""
        if self._loop is None:
            raise ConnectionError(f"{self._address} is not connected")
        end = time.monotonic() + timeout
        ids: list[str] = []
        records: list[dict[str, str]] = []
        rejected: list[Rejected] = []
        while len(ids) + len(rejected) < max_ticks:
            try:
                wait = 0 if ids or rejected or self._lost else end - time.monotonic()
                found = self._arrived.get(timeout=wait) if wait > 0 else self._arrived.get_nowait()
            except Empty:
                break
            if isinstance(found, Exception):
                self._lost = found  # raised once everything before it is read
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
            raise self._translated(self._lost) from self._lost
        return None

    def acknowledge(self, position: Any) -> None:
        """Do nothing: a venue does not remember its readers."""

    def close(self) -> None:
        """Disconnect."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._disconnect(), loop).result(TIMEOUT_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()

    async def _connect(self) -> None:
        self._exchange = getattr(ccxt, self._address.host or "")()
        await self._exchange.load_markets()
        for symbol in self.symbols:
            if symbol not in self._exchange.markets:
                raise ParameterError(f"{self._address}: the venue has no symbol {symbol!r}")
        self._tasks = [asyncio.create_task(self._watch(symbol)) for symbol in self.symbols]

    async def _disconnect(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._exchange.close()

    async def _watch(self, symbol: str) -> None:
        """Queue what arrives of a symbol, until there is an error with any symbol."""
        exchange = self._exchange
        try:
            while self._lost is None:
                if self.channel == "trades":
                    entries = await exchange.watch_trades(symbol)
                else:
                    entries = [await exchange.watch_ticker(symbol)]
                for entry in entries:
                    await self._put(self._tick(symbol, entry))
        except Exception as error:  # ccxt may raise anything upon a bad message
            await self._put(error)

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Queue an error of a task of ccxt that ends without an error in `_watch`."""
        if (error := context.get("exception")) is not None:
            self._tasks.append(loop.create_task(self._put(error)))

    async def _put(self, found: _Tick | Rejected | Exception) -> None:
        while self._arrived.full():
            await asyncio.sleep(FULL_QUEUE_PAUSE_SECONDS)
        self._arrived.put_nowait(found)

    def _tick(self, symbol: str, entry: dict[str, Any]) -> _Tick | Rejected:
        moment = entry["timestamp"]
        if type(moment) is not int:
            return Rejected.of(symbol, "timestamp: missing", str(entry).encode())
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

    def _translated(self, error: Exception) -> Exception:
        """An error as one that a run knows."""
        refused = isinstance(error, ccxt.BaseError) and not isinstance(error, ccxt.NetworkError)
        kind = ParameterError if refused else ConnectionError
        return kind(f"{self._address}: {type(error).__name__}: {error}")
