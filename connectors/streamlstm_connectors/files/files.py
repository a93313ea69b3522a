"""Files as live systems: ticks when they are due, and forecasts appended of which no row is torn.

See docs/connectors/files.md.
"""

import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from io import UnsupportedOperation
from pathlib import Path
from typing import Any, Self

import numpy as np

from streamlstm.errors import DataError, ParameterError
from streamlstm.live import Address, Batch, EndOfStream, Fields

from .table import TableSource

BLOCK = 1 << 16  # bytes to look through at a time
_REFUSALS = (
    *(FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError),
    UnsupportedOperation,  # of a pipe
)

_log = logging.getLogger(__name__)


class FileSource:
    """Ticks of a file as if they came live, until it ends.

    The position is the number of ticks handed over, the id of a tick its number, from 0.
    Acknowledging does nothing: without a position a file is read from its beginning. A row that is
    no tick is a DataError, which ends the run; once it is mended the run may go on.

    Parameters
    ----------
    table
        Opens the file, anew each time.
    speed
        How many times faster than their timestamps the ticks come, the first one at once; 0 for as
        fast as they can be read.

    Raises
    ------
    ParameterError
        If `speed` is negative or not finite.

    """

    def __init__(self, table: Callable[[], TableSource], speed: float = 0.0):
        self._table = table
        self._speed = _checked(speed) if speed else 0.0
        self._position = 0
        self._batches: Generator[Batch, None, None] | None = None  # while open

    @classmethod
    def of(cls, kind: type[TableSource], address: Address, fields: Fields) -> Self:
        """Make one that reads files of a kind; opens nothing."""
        options = address.options(speed=0.0)
        if fields.sequence is not None:
            raise ParameterError(f"{address}: each row of a file is new; leave sequence out")
        if options["speed"] and fields.time is None:
            raise ParameterError(
                f"{address}: speed needs a column of timestamps: name it with time"
            )
        columns = fields.time, fields.value, fields.features
        return cls(partial(kind, path_of(address), *columns, key=fields.key), **options)

    def open(self, position: Any) -> int:
        """Open the file; what comes before the position will be passed over."""
        self.close()
        self._position = position or 0
        self._batches = self._unread(self._table(), self._position)
        self._pace = Pace(self._speed) if self._speed else None
        self._chunk: Batch | None = None
        self._at = 0  # in it
        return self._position

    def read(self, ticks: int, seconds: float) -> Batch | None:
        """At most so many ticks that are due; waits so long for the first.

        EndOfStream at the end of the file. DataError as `TableSource`, or if the file ends before
        the position.
        """
        if self._batches is None:
            raise ConnectionError("the file is not open")
        end = time.monotonic() + seconds
        while self._chunk is None or self._at == len(self._chunk):
            self._chunk, self._at = next(self._batches, None), 0
            if self._chunk is None:
                raise EndOfStream("the file has come to its end")
            if not len(self._chunk) and time.monotonic() > end:
                return None
            if self._pace is not None and len(self._chunk):
                self._due = self._pace.due(self._chunk)
        count = len(self._chunk) - self._at
        if self._pace is not None:
            _sleep_until(min(self._due[self._at], end))
            count = int(np.searchsorted(self._due, time.monotonic(), "right")) - self._at
            if count <= 0:
                return None
        part = self._chunk.part(self._at, self._at + min(ticks, count))
        self._at += len(part)
        ids = [str(n) for n in range(self._position, self._position + len(part))]
        self._position += len(part)
        return replace(part, ids=ids, received=time.time_ns(), position=self._position)

    def acknowledge(self, position: Any) -> None:
        """Nothing: a file keeps all it has."""

    def close(self) -> None:
        """Close the file."""
        if self._batches is not None:
            self._batches.close()
            self._batches = None

    def _unread(self, table: TableSource, position: int) -> Generator[Batch, None, None]:
        """What is behind a position; of a chunk before it nothing, so that `read` may look up."""
        seen = 0
        for batch in table:
            passed = min(max(position - seen, 0), len(batch))
            seen += len(batch)
            yield batch.part(passed, len(batch)) if passed else batch
        if seen < position:
            raise DataError(f"{table.path} has {seen:,} ticks, of {position:,} that were learned")
        for warning in table.warnings:
            _log.warning("%s: %s", table.path, warning)


class Pace:
    """When ticks are due that are to come `speed` times faster than their timestamps.

    The first is due at once, each other one as long after it as their times are apart, and not
    before those that come before it.
    """

    def __init__(self, speed: float):
        self._speed = _checked(speed)
        self._first: int | None = None  # nanoseconds since 1970
        self._began = self._latest = 0.0  # on the monotonic clock

    def due(self, batch: Batch) -> np.ndarray:
        """(T,) seconds on the monotonic clock; ParameterError for ticks without timestamps."""
        if batch.timestamps is None:
            raise ParameterError("ticks come at a speed by their timestamps: name their column")
        if self._first is None:
            self._first = int(batch.timestamps[0])
            self._began = self._latest = time.monotonic()
        seconds = (batch.timestamps - self._first) / 1e9
        due = np.maximum(self._began + seconds / self._speed, self._latest)
        due = np.maximum.accumulate(due)
        self._latest = float(due[-1])
        return due


def paced(batches: Iterable[Batch], speed: float, start: int = 0) -> Iterator[Batch]:
    """The ticks of a replay, once they are due, `speed` times faster than their timestamps.

    A batch comes in parts, each of all that is due. The first `start` ticks are not waited for.
    Raises a ParameterError for a speed that is not above 0, and ticks without timestamps.
    """
    pace, seen = Pace(speed), 0
    for batch in batches:
        at = min(max(start - seen, 0), len(batch))
        seen += len(batch)
        if at:
            yield batch.part(0, at)
        if at == len(batch):
            continue
        rest, at = batch.part(at, len(batch)), 0
        due = pace.due(rest)
        while at < len(rest):
            _sleep_until(due[at])
            stop = int(np.searchsorted(due, time.monotonic(), "right"))
            yield rest.part(at, stop)
            at = stop


class AppendedFile:
    """A file that grows by whole pieces, each on the disk once it is appended.

    An OSError while appending leaves the file as it was.
    """

    def __init__(self, path: Path):
        self._file = path.open("ab", buffering=0)
        self.size = self._file.tell()

    def append(self, piece: bytes) -> None:
        """Append all of it, or nothing."""
        try:
            rest = memoryview(piece)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            with suppress(OSError):
                self._file.truncate(self.size)
            raise
        self.size += len(piece)

    def close(self) -> None:
        """Close it."""
        self._file.close()


def appended_lines(path: Path) -> AppendedFile:
    """A file of lines, without a last one that a crash has torn; made if it is not there."""
    with path.open("ab+") as file:
        end = file.tell()
        while end:
            start = max(end - BLOCK, 0)
            file.seek(start)
            if (found := file.read(end - start).rfind(b"\n")) >= 0:
                end = start + found + 1
                break
            end = start
        file.truncate(end)
    return AppendedFile(path)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """What goes wrong with a file, as the runner knows it: a full disk may be emptied."""
    try:
        yield
    except _REFUSALS as error:
        raise DataError(f"{path} cannot be written: {error}") from error
    except OSError as error:
        raise ConnectionError(f"{path}: {error}") from error


def path_of(address: Address) -> Path:
    """The file or folder of an address; ParameterError if it names none, or a host."""
    if address.host or not address.path:
        form = f"{address.scheme}:///FILE, or {address.scheme}:////FILE from the root on"
        raise ParameterError(f"{address} names no file: write {form}")
    return Path(address.path)


def _checked(speed: float) -> float:
    if not 0 < speed < np.inf:
        raise ParameterError(f"speed must be above 0, got {speed:g}")
    return speed


def _sleep_until(moment: float) -> None:
    time.sleep(max(moment - time.monotonic(), 0.0))
