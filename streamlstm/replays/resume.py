"""A replay that can be killed at any time and then continues as if it had not been."""

import hashlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..live.batch import Batch
from ..snapshots.directory import Snapshots
from ..snapshots.runs import SECONDS, check_run, refuse
from ..snapshots.snapshot import Snapshot

POSITION_FIELDS = {"options", "ticks", "digest", "surroundings", "seconds"}  # of a snapshot


class ResumableRun:
    """Snapshots of a replay: of its model and of what surrounds it, such as scores and output.

    A replay continues if its options are the same and its source starts with the ticks that were
    learned before. These are read again, checked and skipped. The source may have grown.

    Parameters
    ----------
    directory
        Directory for the snapshots of this replay.
    options
        Settings, by name, that must be the same whenever the replay continues.
    every
        Ticks between snapshots. If None, a snapshot follows the first batch that ends 10 seconds or
        more after the last snapshot.

    Attributes
    ----------
    model, surroundings
        As they were saved last; None if the replay is new.
    ticks
        How many have been learned.
    seconds
        Time that learning had taken at the last snapshot, in all parts of the replay.

    Raises
    ------
    ParameterError
        If the directory holds something else, or a replay with other options.
    SnapshotError
        If the snapshots cannot be used: see `Snapshots`.

    """

    def __init__(
        self, directory: str | Path, options: Mapping[str, object], every: int | None = None
    ):
        self.directory = Path(directory)
        self.model: Any = None
        self.surroundings: Any = None
        self.ticks = 0
        self.seconds = 0.0
        self._found: Snapshot[Any] | None = None
        self._options = dict(options)
        self._every = every
        self._digests = hashlib.sha256(), hashlib.sha256()  # of the ticks' numbers and keys
        self._learned_digest = b""  # of the ticks learned before
        self._saved_ticks = 0
        self._began = self._saved_at = 0.0  # on this process's clock
        self._snapshots = Snapshots(self.directory)
        try:
            found = self._snapshots.load()
            if found is not None:
                position = found.position
                check_run(self.directory, position, POSITION_FIELDS, self._options)
                self._found = found
                self.model, self.surroundings = found.model, position["surroundings"]
                self.ticks = self._saved_ticks = position["ticks"]
                self._learned_digest, self.seconds = position["digest"], position["seconds"]
        except BaseException:
            self._snapshots.close()
            raise

    def restore(self, model: Any) -> None:
        """Let a model take over the saved state, if there is one.

        Raises
        ------
        ParameterError
            If the saved model has another class or other parameters.

        """
        if self._found is not None:
            self._snapshots.restore(model, self._found)

    def rest(self, source: Iterable[Batch], limit: int | None = None) -> Iterator[Batch]:
        """Yield what has not been learned yet of the first `limit` ticks of a source.

        Learn each batch before asking for the next one. Batches end where a snapshot is due.

        Raises
        ------
        ParameterError
            If the source does not start with the ticks learned before, or has fewer, or if more
            than `limit` have been learned.

        """
        learned, seen = self.ticks, 0
        if limit is not None and limit < learned:
            refuse(self.directory, f"{learned:,} ticks, more than the limit of {limit:,}")
        for whole in source:
            batch, start = whole.part(0, sys.maxsize if limit is None else limit - seen), 0
            while start < len(batch):
                part = batch.part(start, start + self._ticks_until_break(seen, learned))
                start, seen = start + len(part), seen + len(part)
                self._update_digests(part)
                if seen > learned:
                    self._began = self._began or time.perf_counter() - self.seconds
                    self._saved_at = self._saved_at or time.perf_counter()
                    self.ticks = seen
                    yield part
                elif seen == learned and self._digest() != self._learned_digest:
                    refuse(
                        self.directory,
                        f"{learned:,} ticks that are not the first of this source",
                    )
            if seen == limit:
                return
        if seen < learned:
            refuse(self.directory, f"{learned:,} ticks, more than the {seen:,} of this source")

    def save_if_due(self, model: Any, surroundings: Callable[[], Any]) -> None:
        """Make a snapshot if one is due."""
        if self._every is None:
            is_due = time.perf_counter() - self._saved_at >= SECONDS
        else:
            is_due = self.ticks % self._every == 0
        if is_due:
            self.save(model, surroundings)

    def save(self, model: Any, surroundings: Callable[[], Any]) -> None:
        """Make a snapshot unless nothing was learned since the last one."""
        if self.ticks == self._saved_ticks:
            return
        self.seconds = time.perf_counter() - self._began
        position = {
            "options": self._options,
            "ticks": self.ticks,
            "digest": self._digest(),
            "surroundings": surroundings(),
            "seconds": self.seconds,
        }
        self._snapshots.save(model, position)
        self._saved_ticks, self._saved_at = self.ticks, time.perf_counter()

    def _ticks_until_break(self, seen: int, learned: int) -> int:
        """How many more ticks a batch may have: it ends where learning or a snapshot starts."""
        if seen < learned:
            return learned - seen
        return sys.maxsize if self._every is None else self._every - seen % self._every

    def _update_digests(self, batch: Batch) -> None:
        """Add ticks to the digests, which do not depend on where batches end."""
        numbers, keys = self._digests
        times = [] if batch.timestamps is None else [batch.timestamps.view(np.float64)]
        numbers.update(np.column_stack([batch.values, *batch.features.values(), *times]).data)
        keys.update("".join(f"{key}\n" for key in batch.keys or []).encode())

    def _digest(self) -> bytes:
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
