"""A model behind a live source: forecasts go out, and each tick counts once, come what may."""

import logging
import random
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import numpy as np

from ..errors import ParameterError
from ..snapshots.directory import Snapshots
from ..snapshots.runs import SECONDS, check_run, refuse
from .bars import Bars
from .batch import Batch, EndOfStream, Rejected
from .connector import Sink, Source
from .dead_letters import DeadLetters
from .watermarks import Watermarks

SHORTEST, LONGEST = 0.1, 30.0  # seconds before a connection is made anew; they double
_HELD = {"options", "source", "watermarks", "bars"}

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass
class Metrics:
    """What a run has done since it was made; read it from any thread."""

    ticks: int = 0  # learned
    batches: int = 0  # with ticks
    rejected: int = 0  # messages that were no ticks
    late: int = 0  # ticks that were not new, and passed over
    missed: int = 0  # that the source knows to be lost
    forecasts: int = 0  # rows that the sink has taken
    snapshots: int = 0
    acknowledgements: int = 0
    source_errors: int = 0  # connections lost, or not made
    sink_errors: int = 0
    disk_errors: int = 0  # snapshots and dead letters that could not be written
    learning_seconds: float = 0.0
    writing_seconds: float = 0.0  # to the sink, with waiting for it


class _UndeliveredError(Exception):
    """The run is to stop while something cannot be written."""


class LiveRun:
    """Lets a model forecast and learn each tick of a live source.

    The state counts each tick once: a snapshot holds the model and the source's position behind
    what it has learned, and where a run goes on it reads from there. Forecasts reach the sink at
    least once. What a snapshot holds is acknowledged, or, without snapshots, what is written.
    Connections that are lost are made anew, after a time that doubles up to 30 seconds; a snapshot
    that does not fit on the disk is tried again later, and nothing acknowledged until then. Ticks
    of a source with sequence numbers are learned if theirs is above all before it of their stream.

    Parameters
    ----------
    model
        An `LSTMForecaster`, or, for a source with keys, a `ForecasterFleet`.
    source, sink
        See `connector`. The sink may be None.
    state
        Directory of the snapshots of this run alone; None for none.
    horizon
        How many values to forecast after each tick, K.
    interval
        Share of the values that intervals hold, such as 0.9, to send them along; None for none.
    options
        What the course of the run depends on, by name.
    bars
        Makes the ticks that are learned from those that arrive; None if these are the same.
    dead_letters
        File for messages that are no ticks; None to just count them.
    batch_ticks
        Most ticks to learn at a time; fewer if fewer have arrived.
    wait
        Seconds that `stop` may take to be noticed while nothing arrives.
    snapshot_seconds
        Between snapshots, at least, unless the source can deliver no more without one.

    Raises
    ------
    ParameterError
        If the directory holds a run with other options, and names one that differs, or none; or
        `snapshot_seconds` is no number from 0 on.
    SnapshotError
        As `Snapshots` and its `load`.

    """

    def __init__(
        self,
        model: Any,
        source: Source,
        sink: Sink | None = None,
        state: str | Path | None = None,
        *,
        horizon: int = 1,
        interval: float | None = None,
        options: dict[str, Any] | None = None,
        bars: Bars | None = None,
        dead_letters: str | Path | None = None,
        batch_ticks: int = 1024,
        wait: float = 0.1,
        snapshot_seconds: float = SECONDS,
    ):
        if not snapshot_seconds >= 0:
            raise ParameterError(f"snapshot_seconds must be at least 0, got {snapshot_seconds}")
        self.model = model  # as loaded, if the run goes on
        self.source = source
        self.sink = sink
        self.horizon = horizon
        self.interval = interval
        self.metrics = Metrics()
        self._options = options or {}
        self._batch_ticks = batch_ticks
        self._wait = wait
        self._snapshot_seconds = snapshot_seconds
        self._is_stopping = False
        # A signal handler may put into it while its own thread waits; the lock of an Event hangs.
        self._stops = SimpleQueue[None]()
        self._position: Any = None  # of the source, behind what has been learned and written
        self._saved: Any = None  # likewise, in a snapshot, which may be unfinished
        self._is_saved = self._is_writing = False
        self._safe: Any = None  # to be acknowledged
        self._acknowledged: Any = None
        self._saved_at = time.monotonic()
        self._watermarks = Watermarks()
        self._bars = bars
        self._snapshots = None if state is None else Snapshots(state)
        self._dead_letters = None
        try:
            if self._snapshots is not None and (found := self._snapshots.load()) is not None:
                directory, held = self._snapshots.directory, found.position
                check_run(directory, held, _HELD, self._options)
                if (bars is None) != (held["bars"] is None):
                    refuse(directory, f"a run with{'out' if bars else ''} bars")
                self.model = found.model
                self._position = self._saved = self._safe = held["source"]
                self._is_saved = True
                self._watermarks = Watermarks(held["watermarks"])
                if bars is not None:
                    bars.restore(held["bars"])
            if dead_letters is not None:
                self._dead_letters = DeadLetters(dead_letters)
        except BaseException:
            self._close_files()
            raise

    def stop(self) -> None:
        """Let `run` come to its end, from any thread or signal handler."""
        self._is_stopping = True
        self._stops.put(None)

    def run(self, limit: int | None = None) -> None:
        """Go on until `stop`, the end of the source, or so many ticks; then save and close.

        Runs once.

        Raises
        ------
        OSError
            If the last snapshot cannot be written.
        Exception
            What a connector or the model raises, but for lost connections. What has been learned
            since the last snapshot will be read again.

        """
        try:
            self._start()
            while not self._is_stopping and (limit is None or self.metrics.ticks < limit):
                left = sys.maxsize if limit is None else limit - self.metrics.ticks
                batch = self._read(min(left, self._batch_ticks))
                if batch is not None:
                    self._take(batch)
                self._save_if_due()
            self._finish()
        except EndOfStream:
            self._finish()
        except _UndeliveredError:
            _log.warning("stopped while something could not be written; the last ticks come again")
        finally:
            self.source.close()
            if self.sink is not None:
                self.sink.close()
            self._close_files()

    def _start(self) -> None:
        """Connect; a first snapshot holds where the source begins."""
        if self.sink is not None:
            self._retried(self.sink.open, self.sink.close, "sink_errors")
        began = self._of_source(lambda: self.source.open(self._position), self.source.close)
        if began is not None and self._position is None:
            self._position, self._is_saved = began, False
        self._save(wait=True)

    def _finish(self) -> None:
        self._note_snapshot()
        self._save(wait=True)
        self._acknowledge()

    def _read(self, ticks: int) -> Batch | None:
        return self._of_source(lambda: self.source.read(ticks, self._wait))

    def _take(self, batch: Batch) -> None:
        self.metrics.missed += batch.missed
        if batch.sequence is not None:
            new = self._watermarks.passed(batch)
            self.metrics.late += len(batch) - int(np.count_nonzero(new))
            batch = batch.chosen(new)
        if self._bars is not None:
            batch = self._bars.update(batch)
        if len(batch):
            start = time.perf_counter()
            forecasts, bounds = learn(self.model, batch, self.horizon, self.interval)
            learned = time.perf_counter()
            self.metrics.learning_seconds += learned - start
            self.metrics.ticks += len(batch)
            self.metrics.batches += 1
            if self.sink is not None:
                self._write(self.sink, batch, forecasts, bounds)
                self.metrics.forecasts += len(batch)
                self.metrics.writing_seconds += time.perf_counter() - learned
        if batch.rejected:
            self.metrics.rejected += len(batch.rejected)
            _log.warning(
                "%d messages are no ticks; %s: %s", len(batch.rejected), *batch.rejected[0][:2]
            )
            if self._dead_letters is not None:
                self._put_aside(self._dead_letters, batch.rejected)
        self._position = batch.position
        self._is_saved = False
        if self._snapshots is None:
            self._safe = self._position

    def _save_if_due(self) -> None:
        if self._snapshots is not None:
            if self._snapshots.writing:
                return
            self._note_snapshot()
        self._acknowledge()
        is_full = getattr(self.source, "is_full", False) and self._saved is self._safe
        if is_full or time.monotonic() - self._saved_at >= self._snapshot_seconds:
            self._save(wait=False)

    def _save(self, wait: bool) -> None:
        """Make a snapshot unless the last holds everything."""
        if self._snapshots is not None and not self._is_saved:
            self._saved = self._position
            surroundings = {
                "options": self._options,
                "source": self._position,
                "watermarks": self._watermarks.state(),
                "bars": None if self._bars is None else self._bars.state(),
            }
            self._snapshots.save(self.model, surroundings, wait)
            self._is_saved = self._is_writing = True
            if wait:
                self._note_snapshot()
        self._saved_at = time.monotonic()

    def _note_snapshot(self) -> None:
        """Note whether the last snapshot has come to the disk; wait for it."""
        if self._snapshots is None or not self._is_writing:
            return
        self._is_writing = False
        try:
            self._snapshots.finish()
        except OSError as error:
            _log.error("no snapshot: %s", error)
            self.metrics.disk_errors += 1
            self._is_saved = False
        else:
            self._safe = self._saved
            self.metrics.snapshots += 1

    def _acknowledge(self) -> None:
        """Acknowledge what is safe."""
        safe = self._safe

        def acknowledge() -> None:
            self.source.acknowledge(safe)
            self._acknowledged = safe
            self.metrics.acknowledgements += 1

        if safe is not None and safe != self._acknowledged:
            self._of_source(acknowledge)

    def _put_aside(self, dead_letters: DeadLetters, messages: Sequence[Rejected]) -> None:
        """Write dead letters, when there is room for them."""
        self._retried(
            lambda: dead_letters.write(messages), dead_letters.reopen, "disk_errors", OSError
        )

    def _of_source(
        self, action: Callable[[], _Result], reopen: Callable[[], object] | None = None
    ) -> _Result | None:
        """Do something with the source; None if the run is to stop before that succeeds."""
        try:
            return self._retried(action, reopen or self._reopen_source, "source_errors")
        except _UndeliveredError:
            return None

    def _reopen_source(self) -> None:
        self.source.close()
        self.source.open(self._position)

    def _write(self, sink: Sink, *made: Any) -> None:
        """Write to the sink, as often as it takes."""

        def reopen() -> None:
            sink.close()
            sink.open()

        self._retried(lambda: sink.write(*made), reopen, "sink_errors")

    def _retried(
        self,
        action: Callable[[], _Result],
        reopen: Callable[[], object],
        errors: str,
        passing: type[OSError] = ConnectionError,
    ) -> _Result:
        """Do something, after each passing error once more; errors: the metric that counts them."""
        pause, lost = SHORTEST, False
        while True:
            try:
                if lost:
                    reopen()
                return action()
            except passing as error:
                lost = True
                setattr(self.metrics, errors, getattr(self.metrics, errors) + 1)
                if self._is_stopping:
                    raise _UndeliveredError from error
                seconds = pause * random.uniform(0.5, 1)
                _log.warning("%s; trying again in %.1f s", error, seconds)
                with suppress(Empty):
                    self._stops.get(timeout=seconds)
                pause = min(2 * pause, LONGEST)

    def _close_files(self) -> None:
        try:
            if self._snapshots is not None:
                self._snapshots.close()
        finally:
            if self._dead_letters is not None:
                self._dead_letters.close()


def learn(
    model: Any, batch: Batch, horizon: int, interval: float | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Let a model learn a batch.

    Returns forecasts (T, K) made once each tick was learned, of the values that follow it in its
    stream, NaN while that has none, and the ends of intervals (T, 2, K); None without `interval`.
    """
    given = batch.values, batch.features, batch.timestamps, horizon, interval
    keys = batch.keys
    if keys is None:
        made = model.learn_many(*given)
        newest, following = [len(batch) - 1], np.arange(1, len(batch))
        earlier = following - 1
    else:
        made = model.learn_many(keys, *given)
        last: dict[str, int] = {}
        pairs = []  # of ticks of a stream, one after the other
        for n, key in enumerate(keys):
            if key in last:
                pairs.append((last[key], n))
            last[key] = n
        newest = list(last.values())
        earlier, following = np.array(pairs, np.int64).reshape(-1, 2).T

    of = {} if keys is None else {"keys": list(last)}
    before, bounds = (made, None) if interval is None else made
    without = ~np.isfinite(batch.values[newest]) & np.isnan(before[newest, 0])

    def after(before: np.ndarray, made_last: Any) -> np.ndarray:
        """What was made before a tick of a stream was made after the one before it."""
        rows = np.empty_like(before)
        rows[earlier] = before[following]
        rows[newest] = made_last
        rows[np.compress(without, newest)] = np.nan
        return rows

    forecasts = after(before, model.forecast(horizon, **of))
    if bounds is not None:
        ends = np.array(model.forecast_interval(horizon, interval, **of))
        bounds = after(bounds, ends.T if keys is None else ends)
    return forecasts, bounds
