"""Any Python iterable as a live source: a generator, a queue's iterator, an asyncio service's."""

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

PAUSE = 0.005  # seconds that an async iterable waits at a time while the buffer is full
_encoded = json.JSONEncoder(default=str).encode

Ticks: TypeAlias = Iterable[Any] | AsyncIterable[Any]


class IterableSource:
    """Ticks of an iterable or async iterable, which a thread or event loop reads ahead.

    An item is a mapping with the `fields`; a number, or whatever else is one, the value alone; a
    pair, key and value; bytes, a message in JSON; or a `Batch` of ticks. Times may be `datetime`
    objects. What is no tick is rejected, as docs/connectors.md says of messages.

    The position is the number of ticks and rejected items before it. A function of a position,
    which returns an iterable of what follows it, lets a run read again what it has lost; it is
    called whenever the source is opened. An iterable itself is read once: a run that goes on from a
    snapshot takes what it has for what follows.

    The end of the iterable is that of the run, after all before it was learned. So is an error in
    it, but for a ConnectionError of a function's: the function is called again.

    Parameters
    ----------
    ticks
        The iterable, or the function.
    fields
        What the items' fields are.
    loop
        The running event loop in which to read an async iterable; a thread with one of its own if
        None. Run the rest in another thread, `await asyncio.to_thread(run.run)`.
    ahead
        Most items to read ahead; then the iterable has to wait.

    Raises
    ------
    ParameterError
        If `ticks` is none of these, or an iterable is to be opened twice.

    Examples
    --------
    >>> from streamlstm.iterable import IterableSource
    >>> from streamlstm.payload import Fields
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
        ahead: int = 2048,
    ):
        self.replays = not isinstance(ticks, Iterable | AsyncIterable)  # can read again
        if self.replays and not callable(ticks):
            raise ParameterError(f"expected an iterable, or a function that makes one: {ticks!r}")
        self._ticks = ticks
        self._loop = loop
        self._ahead = ahead
        self._parser = Parser(fields or Fields())
        self._buffer: _Buffer | None = None
        self._position = 0
        self._batch: Batch | None = None  # its ticks from `_behind` on are to come
        self._behind = 0
        self._opened = False

    def open(self, position: Any) -> int:
        """Begin to read behind a position; without one, at the beginning."""
        if self._opened and not self.replays:
            raise ParameterError("an iterable is read once: give a function that makes it anew")
        self.close()
        self._opened = True
        self._position = position or 0
        ticks: Any = self._ticks
        if self.replays:
            ticks = ticks(self._position)
            if not isinstance(ticks, Iterable | AsyncIterable):
                raise ParameterError(f"the function has made no iterable, but {ticks!r}")
        self._buffer = buffer = _Buffer(self._ahead)
        if not isinstance(ticks, AsyncIterable):
            threading.Thread(target=_read, args=(ticks, buffer), daemon=True).start()
        elif self._loop is not None:
            asyncio.run_coroutine_threadsafe(_read_async(ticks, buffer), self._loop)
        else:
            reading = _read_async(ticks, buffer)
            threading.Thread(target=asyncio.run, args=(reading,), daemon=True).start()
        return self._position

    def read(self, ticks: int, seconds: float) -> Batch | None:
        """At most so many items; waits so long for the first.

        Raises
        ------
        EndOfStream
            If there are no more.
        Exception
            Of the iterable, once all that came before has been read.

        """
        if self._buffer is None:
            raise ConnectionError("the source is not open")
        if self._batch is None:
            try:
                items = self._buffer.take(ticks, seconds)
            except ConnectionError as error:
                if self.replays:
                    raise
                raise DataError(f"the iterable has lost its connection: {error}") from error
            if not items:
                return None
            if not isinstance(items[0], Batch):
                return self._parsed(items)
            self._batch, self._behind = items[0], 0
        return self._part(ticks)

    def acknowledge(self, position: Any) -> None:
        """An iterable keeps nothing for us."""

    def close(self) -> None:
        """Let an async iterable go at once, another when it comes up with its next item."""
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
            return repr(item).encode(errors="replace")  # which is rejected

    def _part(self, ticks: int) -> Batch:
        """The next of the batch at hand; what was missed comes first, what is rejected last."""
        batch, start = self._batch, self._behind
        assert batch is not None
        stop = min(start + ticks, len(batch))
        rejected = batch.rejected if stop == len(batch) else ()
        first = self._position
        self._position += stop - start + len(rejected)
        part = batch.part(start, stop)
        self._batch, self._behind = (None if stop == len(batch) else batch), stop
        return replace(
            part,
            ids=part.ids or [str(first + n) for n in range(len(part))],
            received=part.received or time_ns(),
            position=self._position,
            rejected=rejected,
            missed=0 if start else batch.missed,
        )


class _ClosedError(Exception):
    """Nobody wants the items any longer."""


class _Buffer:
    """Items on their way from a producer to a consumer, at most so many."""

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
        """What else is to happen when it is closed; it may have been."""
        with self._changed:
            self._cancel = cancel
            if self._closed:
                cancel()

    def put(self, item: Any) -> None:
        """Append one, as soon as there is room."""
        with self._changed:
            while self.full and not self._closed:
                self._changed.wait()
            if self._closed:
                raise _ClosedError
            self._items.append(item)
            self._changed.notify_all()

    def end(self, why: BaseException) -> None:
        """Let the consumer have an error once it has all items."""
        with self._changed:
            self._ended = why
            self._changed.notify_all()

    def take(self, most: int, seconds: float) -> list[Any]:
        """Items that are there, of a kind: one batch, or several that are none."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended is not None, seconds)
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
        """Let the producer end."""
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
                    await asyncio.sleep(PAUSE)
                buffer.put(item)
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()
    except (_ClosedError, asyncio.CancelledError):
        buffer.end(EndOfStream("the reading of the iterable was cancelled"))
    except BaseException as error:
        buffer.end(error)
    else:
        buffer.end(EndOfStream("the iterable has ended"))
