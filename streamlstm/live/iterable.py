"""Any Python iterable as a live source: a generator, a queue's iterator, an async generator."""

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from time import time_ns
from typing import Any, TypeAlias

from ..errors import DataError, ParameterError
from .batch import Batch, EndOfStream
from .payload import PAYLOAD, Fields, Parser

FULL_BUFFER_PAUSE_SECONDS = 0.005  # between looks of an async iterable at a buffer that is full
_encoded = json.JSONEncoder(default=str).encode

Ticks: TypeAlias = Iterable[Any] | AsyncIterable[Any]


class IterableSource:
    """Ticks of an iterable or async iterable, which is read ahead in the background.

    An item is one of these:

    - a mapping with the `fields`; times may be `datetime` objects
    - a number, or text that is one: the value
    - a pair: key and value
    - bytes: a message in JSON
    - a `Batch` of ticks

    Items that are not ticks are rejected, as messages are; docs/connectors.md lists the rules.

    An iterable is read once. If a run continues from a snapshot, it takes the items as those that
    follow the snapshot. To let a run read again what it lost, give a function instead: it is called
    with a position, the number of items before it, and returns an iterable of what follows.

    The end of the iterable ends the run once all items were learned, and so does an error. But if a
    function or its iterable raises a ConnectionError, the function is called again.

    Parameters
    ----------
    ticks
        The iterable, or the function.
    fields
        Names of the items' fields.
    loop
        The running event loop in which to read an async iterable; by default one in a thread of its
        own. Then run everything else in another thread: `await asyncio.to_thread(run.run)`.
    max_ahead
        How many items to read ahead before the iterable has to wait.

    Raises
    ------
    ParameterError
        If `ticks` is neither an iterable nor a function, or an iterable is opened a second time.

    Examples
    --------
    >>> from streamlstm.live import Fields
    >>> from streamlstm.live.iterable import IterableSource
    >>> source = IterableSource([("north", 3), ("south", "4.5")], Fields(key="pump"))
    >>> position = source.open(None)
    >>> batch = source.read(1, 1.0)
    >>> batch.keys, batch.values.tolist(), batch.position
    (['north'], [3.0], 1)

    """

    def __init__(
        self,
        ticks: Ticks | Callable[[int], Ticks],
        fields: Fields | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        max_ahead: int = 2048,
    ):
        self.can_reread = not isinstance(ticks, Iterable | AsyncIterable)
        if self.can_reread and not callable(ticks):
            raise ParameterError(
                f"ticks must be an iterable or a function that returns one, got {ticks!r}"
            )
        self._ticks = ticks
        self._loop = loop
        self._max_ahead = max_ahead
        self._parser = Parser(fields or Fields())
        self._buffer: _Buffer | None = None
        self._position = 0
        self._batch: Batch | None = None  # an item that is being handed out in parts
        self._next_in_batch = 0
        self._was_opened = False

    def open(self, position: Any) -> int:
        """Start to read after a position; without one, at the beginning."""
        if self._was_opened and not self.can_reread:
            raise ParameterError(
                "an iterable can be read only once: give a function that returns a new one"
            )
        self.close()
        self._was_opened = True
        self._position = position or 0
        ticks: Any = self._ticks
        if self.can_reread:
            ticks = ticks(self._position)
            if not isinstance(ticks, Iterable | AsyncIterable):
                raise ParameterError(f"the function must return an iterable, got {ticks!r}")
        self._buffer = buffer = _Buffer(self._max_ahead)
        if not isinstance(ticks, AsyncIterable):
            threading.Thread(target=_read, args=(ticks, buffer), daemon=True).start()
        elif self._loop is not None:
            asyncio.run_coroutine_threadsafe(_read_async(ticks, buffer), self._loop)
        else:
            reading = _read_async(ticks, buffer)
            threading.Thread(target=asyncio.run, args=(reading,), daemon=True).start()
        return self._position

    def read(self, max_ticks: int, timeout: float) -> Batch | None:
        """Return at most `max_ticks` items; wait up to `timeout` seconds for the first.

        Raises
        ------
        EndOfStream
            If there are no more.
        Exception
            If the iterable raised one; all items before it come first.

        """
        if self._buffer is None:
            raise ConnectionError("the source is not open")
        if self._batch is None:
            try:
                items = self._buffer.take(max_ticks, timeout)
            except ConnectionError as error:
                if self.can_reread:
                    raise
                raise DataError(
                    f"the iterable lost its connection and cannot be read again: {error}"
                ) from error
            if not items:
                return None
            if not isinstance(items[0], Batch):
                return self._parsed(items)
            self._batch, self._next_in_batch = items[0], 0
        return self._part(max_ticks)

    def acknowledge(self, position: Any) -> None:
        """Do nothing: an iterable does not keep items."""

    def close(self) -> None:
        """Close an async iterable at once, another one when it yields its next item."""
        if self._buffer is not None:
            self._buffer.close()
        self._buffer = self._batch = None

    def _parsed(self, items: list[Any]) -> Batch:
        start = self._position
        self._position += len(items)
        ids = [str(n) for n in range(start, self._position)]
        return self._parser.batch(ids, [*map(self._message, items)], time_ns(), self._position)

    def _message(self, item: Any) -> bytes:
        if isinstance(item, bytes):
            return item
        value, key = self._parser.fields.value, self._parser.fields.key
        if value != PAYLOAD and not isinstance(item, Mapping):
            if isinstance(item, tuple) and len(item) == 2 and key is not None:
                item = {key: item[0], value: item[1]}
            else:
                item = {value: item}
        try:
            return _encoded(dict(item) if isinstance(item, Mapping) else item).encode()
        except (TypeError, ValueError, RecursionError):
            return repr(item).encode(errors="replace")  # the parser rejects it

    def _part(self, max_ticks: int) -> Batch:
        """The next part of the batch at hand.

        The first part counts what was missed, the last has the rejected messages.
        """
        batch, start = self._batch, self._next_in_batch
        assert batch is not None
        stop = min(start + max_ticks, len(batch))
        rejected = batch.rejected if stop == len(batch) else ()
        first = self._position
        self._position += stop - start + len(rejected)
        part = batch.part(start, stop)
        self._batch, self._next_in_batch = (None if stop == len(batch) else batch), stop
        return replace(
            part,
            ids=part.ids or [str(first + n) for n in range(len(part))],
            received=part.received or time_ns(),
            position=self._position,
            rejected=rejected,
            missed=0 if start else batch.missed,
        )


class _ClosedError(Exception):
    """The buffer is closed; nobody wants more items."""


class _Buffer:
    """A queue of items from a producer to a consumer, of limited size."""

    def __init__(self, size: int):
        self._size = size
        self._items: deque[Any] = deque()
        self._changed = threading.Condition()
        self._ended: BaseException | None = None
        self._closed = False
        self._cancel: Callable[[], object] = lambda: None

    @property
    def full(self) -> bool:
        return len(self._items) >= self._size

    def on_close(self, cancel: Callable[[], object]) -> None:
        """Call `cancel` when the buffer is closed, or at once if it is closed already."""
        with self._changed:
            self._cancel = cancel
            if self._closed:
                cancel()

    def put(self, item: Any) -> None:
        """Append an item as soon as there is room."""
        with self._changed:
            while self.full and not self._closed:
                self._changed.wait()
            if self._closed:
                raise _ClosedError
            self._items.append(item)
            self._changed.notify_all()

    def end(self, error: BaseException) -> None:
        """Raise an error in the consumer after it has taken all items."""
        with self._changed:
            self._ended = error
            self._changed.notify_all()

    def take(self, most: int, timeout: float) -> list[Any]:
        """Return one batch, or several other items that are there."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended is not None, timeout)
            items = self._items
            if not items:
                if self._ended is not None:
                    raise self._ended
                return []
            taken = [items.popleft()]
            if not isinstance(taken[0], Batch):
                while items and len(taken) < most and not isinstance(items[0], Batch):
                    taken.append(items.popleft())
            self._changed.notify_all()
            return taken

    def close(self) -> None:
        """Make the producer stop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._cancel()


def _read(ticks: Iterable[Any], buffer: _Buffer) -> None:
    try:
        iterator = iter(ticks)
        try:
            for item in iterator:
                buffer.put(item)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
    except _ClosedError:
        return
    except BaseException as error:
        buffer.end(error)
    else:
        buffer.end(EndOfStream("the iterable has ended"))


async def _read_async(ticks: AsyncIterable[Any], buffer: _Buffer) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def cancel() -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(task.cancel)

    buffer.on_close(cancel)
    iterator = aiter(ticks)
    try:
        try:
            async for item in iterator:
                while buffer.full:
                    await asyncio.sleep(FULL_BUFFER_PAUSE_SECONDS)
                buffer.put(item)
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()
    except (_ClosedError, asyncio.CancelledError):
        buffer.end(EndOfStream("reading the iterable was cancelled"))
    except BaseException as error:
        buffer.end(error)
    else:
        buffer.end(EndOfStream("the iterable has ended"))
