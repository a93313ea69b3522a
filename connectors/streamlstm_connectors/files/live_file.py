"""Files as live sources: csv:///readings.csv?speed=60 and parquet:///readings.parquet.

See docs/connectors/files.md.
"""

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np

from streamlstm.errors import DataError, ParameterError
from streamlstm.live import Address, Batch, EndOfStream, Fields, Pace, check_speed, sleep_until

from ..options import path_of
from .table_source import TableSource

_log = logging.getLogger("streamlstm.connectors.files")


class FileSource:
    """Ticks of a file as if they came live, until the file ends.

    The position is the number of ticks read so far, and the id of a tick its number, from 0.
    Acknowledging does nothing: without a position a file is read from its beginning. A row that is
    not a tick is a DataError, which ends the run; correct it, and the run can continue.

    Parameters
    ----------
    table
        Opens the file; called each time the source is opened.
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
        self._speed = check_speed(speed) if speed else 0.0
        self._position = 0
        self._batches: Generator[Batch, None, None] | None = None  # while open

    @classmethod
    def of(cls, kind: type[TableSource], address: Address, fields: Fields) -> Self:
        """Make a source for files of a kind; opens nothing."""
        options = address.options(speed=0.0)
        if fields.sequence is not None:
            raise ParameterError(
                f"{address}: rows of a file are never duplicates or late: leave out sequence"
            )
        if options["speed"] and fields.time is None:
            raise ParameterError(f"{address}: speed needs timestamps: name their column with time")
        columns = fields.time, fields.value, fields.features
        return cls(partial(kind, path_of(address), *columns, key=fields.key), **options)

    def open(self, position: Any) -> int:
        """Open the file; ticks before the position will be skipped."""
        self.close()
        self._position = position or 0
        self._batches = self._unread(self._table(), self._position)
        self._pace = Pace(self._speed) if self._speed else None
        self._chunk: Batch | None = None
        self._next_in_chunk = 0
        return self._position

    def read(self, max_ticks: int, timeout: float) -> Batch | None:
        """Return at most `max_ticks` ticks that are due; wait up to `timeout` seconds for one.

        EndOfStream at the end of the file. DataError as `TableSource`, or if the file ends before
        the position.
        """
        if self._batches is None:
            raise ConnectionError("the file is not open")
        end = time.monotonic() + timeout
        while self._chunk is None or self._next_in_chunk == len(self._chunk):
            self._chunk, self._next_in_chunk = next(self._batches, None), 0
            if self._chunk is None:
                raise EndOfStream("the file has ended")
            if not len(self._chunk) and time.monotonic() > end:
                return None
            if self._pace is not None and len(self._chunk):
                self._due = self._pace.due(self._chunk)
        start = self._next_in_chunk
        count = len(self._chunk) - start
        if self._pace is not None:
            sleep_until(min(self._due[start], end))
            count = int(np.searchsorted(self._due, time.monotonic(), "right")) - start
            if count <= 0:
                return None
        part = self._chunk.part(start, start + min(max_ticks, count))
        self._next_in_chunk += len(part)
        ids = [str(n) for n in range(self._position, self._position + len(part))]
        self._position += len(part)
        return replace(part, ids=ids, received=time.time_ns(), position=self._position)

    def acknowledge(self, position: Any) -> None:
        """Do nothing: a file keeps its rows."""

    def close(self) -> None:
        """Close the file."""
        if self._batches is not None:
            self._batches.close()
            self._batches = None

    def _unread(self, table: TableSource, position: int) -> Generator[Batch, None, None]:
        """Yield what follows a position.

        A batch before it comes as an empty one, so that `read` can return in time.
        """
        seen = 0
        for batch in table:
            skipped = min(max(position - seen, 0), len(batch))
            seen += len(batch)
            yield batch.part(skipped, len(batch)) if skipped else batch
        if seen < position:
            raise DataError(
                f"{table.path} has {seen:,} ticks, but {position:,} of them were learned before: "
                "restore the file, or begin with another state directory"
            )
        for warning in table.warnings:
            _log.warning("%s: %s", table.path, warning)
