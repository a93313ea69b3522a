"""Recorded ticks at the speed of their timestamps, or a multiple of it."""

import time
from collections.abc import Iterable, Iterator

import numpy as np

from ..errors import ParameterError
from .batch import Batch


class Pace:
    """Says when ticks are due that come `speed` times faster than their timestamps.

    The first one is due at once, and every other one as long after it as their timestamps are
    apart, divided by the speed, but never before an earlier tick.
    """

    def __init__(self, speed: float):
        self._speed = check_speed(speed)
        self._first: int | None = None  # nanoseconds since 1970
        self._began = self._latest = 0.0  # on the monotonic clock

    def due(self, batch: Batch) -> np.ndarray:
        """Return (T,) seconds on the monotonic clock; ParameterError if there are no timestamps."""
        if batch.timestamps is None:
            raise ParameterError("speed needs timestamps: name their column with time")
        if self._first is None:
            self._first = int(batch.timestamps[0])
            self._began = self._latest = time.monotonic()
        seconds = (batch.timestamps - self._first) / 1e9
        due = np.maximum(self._began + seconds / self._speed, self._latest)
        due = np.maximum.accumulate(due)
        self._latest = float(due[-1])
        return due


def paced(batches: Iterable[Batch], speed: float, start: int = 0) -> Iterator[Batch]:
    """Yield recorded ticks when they are due, `speed` times faster than their timestamps.

    A batch comes in parts, each of all ticks that are due. The first `start` ticks come at once.
    ParameterError if the speed is not above 0, or there are no timestamps.
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
            sleep_until(due[at])
            stop = int(np.searchsorted(due, time.monotonic(), "right"))
            yield rest.part(at, stop)
            at = stop


def check_speed(speed: float) -> float:
    """Return a speed; ParameterError if it is not above 0 and finite."""
    if not 0 < speed < np.inf:
        raise ParameterError(f"speed must be above 0, got {speed:g}")
    return speed


def sleep_until(moment: float) -> None:
    """Sleep until a moment on the monotonic clock."""
    time.sleep(max(moment - time.monotonic(), 0.0))
