"""A run that may be cut short at any time and goes on as if it never was."""

import hashlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..live.batch import Batch
from ..snapshots.directory import Snapshots
from ..snapshots.runs import SECONDS, check_run, refuse

_HELD = {"options", "ticks", "digest", "surroundings", "seconds"}


class ResumableRun:
    """Snapshots of a run, its model and what surrounds it, such as outputs and scores.

    A run goes on if its options are the same and its source begins with the ticks learned so far,
    which are read once more and passed over. The source may have grown since.

    Parameters
    ----------
    directory
        Of the snapshots of this run alone.
    options
        What the course of the run depends on, by name.
    every
        Ticks between snapshots; if None there is one after each batch that ends 10 seconds.

    Raises
    ------
    ParameterError
        If the directory holds a run with other options, and names one that differs, or none.
    SnapshotError
        As `Snapshots` and its `load`.

    """

    def __init__(self, directory: str | Path, options: dict[str, Any], every: int | None = None):
        self.directory = Path(directory)
        self.model: Any = None  # as it goes on; None if the run is new
        self.surroundings: Any = None  # likewise, as they were given last
        self.ticks = 0  # learned
        self.seconds = 0.0  # that learning had taken, in all parts of the run, at the last snapshot
        self._options = options
        self._every = every
        self._digests = hashlib.sha256(), hashlib.sha256()  # of the ticks' numbers and keys
        self._digest = b""  # of those learned before
        self._saved_ticks = 0
        self._began = self._saved = 0.0  # on this process's clock
        self._snapshots = Snapshots(self.directory)
        try:
            found = self._snapshots.load()
            if found is not None:
                held = found.position
                check_run(self.directory, held, _HELD, self._options)
                self.model, self.surroundings = found.model, held["surroundings"]
                self.ticks = self._saved_ticks = held["ticks"]
                self._digest, self.seconds = held["digest"], held["seconds"]
        except BaseException:
            self._snapshots.close()
            raise

    def rest(self, source: Iterable[Batch], limit: int | None = None) -> Iterator[Batch]:
        """The batches that are not learned yet, of the first `limit` ticks of a source.

        Each is to be learned before the next is asked for. They end where a snapshot is due.

        Raises
        ------
        ParameterError
            If the source does not begin with the ticks learned, or the limit is before their end.

        """
        learned, seen = self.ticks, 0
        if limit is not None and limit < learned:
            refuse(self.directory, f"{learned:,} ticks, more than the limit of {limit:,}")
        for whole in source:
            batch, start = whole.part(0, sys.maxsize if limit is None else limit - seen), 0
            while start < len(batch):
                part = batch.part(start, start + self._room(seen, learned))
                start, seen = start + len(part), seen + len(part)
                self._take(part)
                if seen > learned:
                    self._began = self._began or time.perf_counter() - self.seconds
                    self._saved = self._saved or time.perf_counter()
                    self.ticks = seen
                    yield part
                elif seen == learned and self._taken() != self._digest:
                    what = f"{learned:,} ticks that are not the first of this source"
                    refuse(self.directory, what)
            if seen == limit:
                return
        if seen < learned:
            refuse(self.directory, f"{learned:,} ticks, more than the {seen:,} of this source")

    def save_if_due(self, model: Any, surroundings: Callable[[], Any]) -> None:
        """Make a snapshot if it is time for one."""
        if self._every is None:
            due = time.perf_counter() - self._saved >= SECONDS
        else:
            due = self.ticks % self._every == 0
        if due:
            self.save(model, surroundings)

    def save(self, model: Any, surroundings: Callable[[], Any]) -> None:
        """Make a snapshot unless nothing has been learned since the last."""
        if self.ticks == self._saved_ticks:
            return
        self.seconds = time.perf_counter() - self._began
        position = {
            "options": self._options,
            "ticks": self.ticks,
            "digest": self._taken(),
            "surroundings": surroundings(),
            "seconds": self.seconds,
        }
        self._snapshots.save(model, position)
        self._saved_ticks, self._saved = self.ticks, time.perf_counter()

    def _room(self, seen: int, learned: int) -> int:
        """Ticks to the next place where a batch has to end."""
        if seen < learned:
            return learned - seen
        return sys.maxsize if self._every is None else self._every - seen % self._every

    def _take(self, batch: Batch) -> None:
        """Let the digests run on: they do not depend on where a batch ends."""
        numbers, keys = self._digests
        times = [] if batch.timestamps is None else [batch.timestamps.view(np.float64)]
        numbers.update(np.column_stack([batch.values, *batch.features.values(), *times]).data)
        keys.update("".join(f"{key}\n" for key in batch.keys or []).encode())

    def _taken(self) -> bytes:
        return b"".join(digest.digest() for digest in self._digests)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._snapshots.close()
