"""The streams of a fleet on the CPU: a forecaster for each row, learning on all cores.

Most ticks need only the compiled call, which learns from many streams at once. Now and then a
stream needs a review in Python between two ticks, for drift, seasons or gaps.
"""

import copy
from collections.abc import Callable, Iterable
from operator import is_
from typing import Any

import numba
import numpy as np

from ..forecaster import LSTMForecaster
from ..kernels.fleets import private as kernels
from ..kernels.forecaster.layout import work_size
from ..kernels.layout import aligned_zeros
from ..kernels.views import padded
from ..model.quantiles import NO_BOUNDS
from ..model.segments import Segment, segments, ticks_to_review
from . import rounds
from .snapshot_copy import FleetCopy

MAX_QUEUED = 1_000_000  # ticks whose times may wait for the season finders


class PrivateStreams:
    """Streams that each learn exactly as a single forecaster would.

    model: the forecaster that every stream starts from; threads: how many to use, or None.
    """

    has_intervals = True

    def __init__(self, model: LSTMForecaster):
        self.model = model
        self.threads: int | None = None
        self.models: dict[int, LSTMForecaster] = {}
        self._due = np.zeros(0, np.int64)  # by row: ticks until the next review
        self._gaps = np.zeros((0, 2), np.int64)  # by row: the finder's `newest_and_spacing`
        self._build_work_state()

    def _build_work_state(self) -> None:
        """Make the attributes that a pickle leaves out."""
        self._kernels = kernels.entries(self.model.cell, self.model.learning)
        size = len(self._due), len(kernels.BUFFERS)
        self._table, self._sizes = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._buffers: dict[int, tuple[np.ndarray, ...]] = {}  # those whose addresses are in _table
        self._scratch, self._work = np.zeros((0, 0), np.float32), np.zeros((0, 0))
        self._longest, self._shapes = 0, {self.model._shape}
        self._queued: list[tuple[np.ndarray, np.ndarray | None]] = []  # rows and times
        self._queued_ticks = 0
        # How many marks have been made; by row, how many there were at the last change.
        self._marks, self._last_change = 0, np.zeros(len(self._due), np.int64)
        self._copies: list[FleetCopy] = []
        for row, model in self.models.items():
            model._share_work_space(self.model)
            self._update_addresses(row)

    def mark(self) -> int:
        """Mark the current state; `copy_from` can then copy what has changed since."""
        self._marks += 1
        return self._marks - 1

    def copy_from(self, mark: int | None, copy: Callable[[LSTMForecaster], Any]) -> FleetCopy:
        """Begin a copy of all models as they are now, or of those that changed since a mark."""
        self._flush_times()
        models: dict[int, LSTMForecaster | None] = {**self.models}
        if mark is not None:
            models |= {row: None for row in models if self._last_change[row] <= mark}
        fleet_copy = FleetCopy(models, copy)
        self._copies = [each for each in self._copies if each.pending] + [fleet_copy]
        return fleet_copy

    def _before_change(self, rows: np.ndarray) -> None:
        """Prepare for a change of these models: let copies in progress copy them first."""
        self._last_change[rows] = self._marks
        for fleet_copy in self._copies:
            fleet_copy.before_change(rows.tolist())

    def __getstate__(self) -> dict[str, Any]:
        self._flush_times()
        kept = ("model", "threads", "models", "_due", "_gaps")
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._build_work_state()

    def begin(self, rows: Iterable[int]) -> None:
        """Start or restart the streams of these rows."""
        for row in rows:
            self.put(row, copy.deepcopy(self.model))

    def put(self, row: int, model: LSTMForecaster) -> None:
        """Use a model for the stream of this row. Arrays grow by doubling."""
        self._flush_times()
        while row >= len(self._table):
            more = ((0, max(16, len(self._table))), (0, 0))
            self._table, self._sizes = np.pad(self._table, more), np.pad(self._sizes, more)
            self._due, self._gaps = np.pad(self._due, more[0]), np.pad(self._gaps, more)
            self._last_change = np.pad(self._last_change, more[0])
        model._share_work_space(self.model)
        self.models[row] = model
        self._update_addresses(row)
        self._schedule_review(row)
        self._due[row] = 0
        self._last_change[row] = self._marks

    def drop(self, row: int) -> None:
        """Forget a stream."""
        self._flush_times()
        del self.models[row], self._buffers[row]

    def take(self, row: int) -> LSTMForecaster:
        """A copy of a stream's forecaster."""
        self._flush_times()
        return copy.deepcopy(self.models[row])

    def add_features(self, names: list[Any]) -> None:
        """Add the features that are new to all streams."""
        if self.model._columns.new_names(names):
            self._before_change(np.array([*self.models], np.int64))
            for model in [self.model, *self.models.values()]:
                model._add_features(names)
            self._update_all_addresses()

    def _update_all_addresses(self) -> None:
        for row in self.models:
            self._update_addresses(row)

    def forecast(self, rows: np.ndarray, horizon: int) -> np.ndarray:
        """(G, horizon) forecasts of the next values; NaN before the first."""
        forecasts = np.full((rows.size, horizon), np.nan)
        if horizon <= self.model.horizon and not self.model.known_features:
            kernels.read_forecasts(forecasts, rows, self._table, self._sizes)
        else:
            for n, row in enumerate(rows.tolist()):
                forecasts[n] = self.models[row].forecast(horizon)
        return forecasts

    def forecast_interval(self, rows: np.ndarray, horizon: int, interval: float) -> np.ndarray:
        """(G, 2, horizon) lower and upper ends of intervals around the next values."""
        bounds = [self.models[row].forecast_interval(horizon, interval) for row in rows.tolist()]
        return np.array(bounds).reshape(rows.size, horizon, 2).transpose(0, 2, 1)

    def learn(
        self,
        rows: np.ndarray,
        ys: np.ndarray,
        features: np.ndarray,
        times: np.ndarray | None,
        horizon: int,
        places: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Learn from N ticks; ticks of the same stream are learned in their order.

        Returns the forecasts made before each tick, (N, horizon), and the ends of intervals around
        them at `places`, (N, 2, horizon), or (0, 0, 0).
        """
        self._before_change(rows)
        forecasts = np.empty((ys.size, horizon))
        bounds = np.empty((ys.size, 2, horizon)) if places.size else NO_BOUNDS
        for batch in self._batches(rows):
            batch_forecasts = np.empty((batch.size, horizon))
            batch_bounds = np.empty((batch.size, 2, horizon)) if places.size else NO_BOUNDS
            self._learn_batch(
                batch_forecasts, batch_bounds, places, rows[batch], ys[batch],
                features[batch], None if times is None else times[batch],
            )  # fmt: skip
            forecasts[batch] = batch_forecasts
            if places.size:
                bounds[batch] = batch_bounds
        return forecasts, bounds

    def _batches(self, rows: np.ndarray) -> Iterable[np.ndarray]:
        """Indices of the ticks for each call of `_learn_batch`: here all at once, by stream."""
        return [np.argsort(rows, kind="stable")] if rows.size else []

    def _update_addresses(self, row: int) -> None:
        """Write the addresses of a model's buffers to the table if they have changed."""
        buffers = self._buffers_of(row)
        known = self._buffers.get(row, ())
        if len(known) == len(buffers) and all(map(is_, known, buffers)):
            return
        model = self.models[row]
        self._buffers[row] = buffers
        self._table[row] = [buffer.ctypes.data for buffer in buffers]
        self._sizes[row] = [buffer.size for buffer in buffers]
        self._shapes.add(model._shape)
        self._longest = max(self._longest, padded(model._network.scratch.size))

    def _buffers_of(self, row: int) -> tuple[np.ndarray, ...]:
        """A model's buffers, in the order of `kernels.fleets.private.BUFFERS`."""
        model = self.models[row]
        settings, weights, memory, _, clock = model._network.buffers
        series = model._stats, model._errors, model._history, model._past
        return settings, weights, memory, clock, *series

    def _schedule_review(self, row: int) -> None:
        """Set when a stream is due for its next review; a gap in its times may make it earlier."""
        model = self.models[row]
        self._due[row] = ticks_to_review(model)
        finder = model._finder
        if finder is not None:
            self._gaps[row] = finder.newest_and_spacing()
            if finder.irregular:  # each tick needs the time since the last one as a feature
                self._due[row] = 0

    def _needs_no_review(
        self, rows: np.ndarray, starts: np.ndarray, times: np.ndarray | None
    ) -> Any:
        """Which streams need no review before or after these ticks, (G,).

        rows: (N,) sorted; starts: (G,) index of each stream's first tick.
        """
        streams, counts = rows[starts], np.diff(starts, append=rows.size)
        no_review = counts < self._due[streams]
        if times is None or self.model._finder is None:
            return no_review
        newest, spacing = self._gaps[streams].T
        step = np.diff(times, prepend=times[:1])
        step[starts] = times[starts] - newest
        regular = (step > 0) & (step < 1.5 * np.repeat(spacing, counts))
        return no_review & ((spacing == 0) | np.logical_and.reduceat(regular, starts))

    def _queue_times(self, rows: np.ndarray, times: np.ndarray | None) -> None:
        """Queue the times of ticks learned without a review, None if they have none."""
        if self.model._finder is None:
            return
        if self._queued and (self._queued[0][1] is None) != (times is None):
            self._flush_times()
        self._queued.append((rows, times))
        self._queued_ticks += rows.size
        if times is not None:
            self._gaps[rows, 0] = times  # where a row repeats, the last time is kept
        if self._queued_ticks > MAX_QUEUED:
            self._flush_times()

    def _flush_times(self) -> None:
        """Give the queued times to the season finders of their streams."""
        queued, self._queued, self._queued_ticks = self._queued, [], 0
        if not queued:
            return
        rows = np.concatenate([rows for rows, _ in queued])
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        times = None
        if queued[0][1] is not None:
            times = np.concatenate([times for _, times in queued if times is not None])[order]
        for start, count in zip(starts, np.diff(starts, append=rows.size), strict=True):
            model = self.models[int(rows[start])]
            if model._finder is not None:
                own_times = None if times is None else times[start : start + count]
                model._finder.add_times(own_times, model._ticks)

    def _learn_batch(
        self,
        forecasts: np.ndarray,
        bounds: np.ndarray,
        places: np.ndarray,
        rows: np.ndarray,
        ys: np.ndarray,
        features: np.ndarray,
        times: np.ndarray | None,
    ) -> None:
        """Learn from ticks sorted by stream.

        Streams without a review learn all their ticks in one kernel call. The others learn a
        segment at a time: each call learns the next segment of all of them.
        """
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        stops = np.append(starts[1:], rows.size)
        parts = np.column_stack([rows[starts], starts, stops])
        no_review = self._needs_no_review(rows, starts, times)
        if no_review.any():
            self._learn_parts(forecasts, bounds, places, ys, features, parts[no_review])
            self._due[parts[no_review, 0]] -= (stops - starts)[no_review]
            ticks = np.repeat(no_review, stops - starts)
            self._queue_times(rows[ticks], None if times is None else times[ticks])
        if not no_review.all():
            self._flush_times()
        remaining = []
        for row, start, stop in parts[~no_review].tolist():
            own = slice(start, stop)
            own_times = None if times is None else times[own]
            iterator = segments(self.models[row], ys[own], features[own], own_times)
            remaining.append((row, start, iterator))
        while remaining:
            found: list[tuple[int, int, Segment]] = []
            unfinished = []
            for row, start, iterator in remaining:
                segment = next(iterator, None)
                self._update_addresses(row)
                if segment is None:
                    self._schedule_review(row)
                else:
                    found.append((row, start, segment))
                    unfinished.append((row, start, iterator))
            remaining = unfinished
            for width in {segment.features.shape[1] for *_, segment in found}:
                alike = [each for each in found if each[2].features.shape[1] == width]
                self._learn_segments(forecasts, bounds, places, alike)

    def _learn_segments(
        self, forecasts: Any, bounds: Any, places: Any, found: list[tuple[int, int, Segment]]
    ) -> None:
        """Learn from segments with equally many features, and fill in their forecasts.

        found: for each stream its row, the index of its first tick, and its segment.
        """
        sizes = [segment.values.size for *_, segment in found]
        stops = np.cumsum(sizes)
        own_forecasts = np.empty((stops[-1], forecasts.shape[1]))
        own_bounds = np.empty((stops[-1], *bounds.shape[1:])) if places.size else NO_BOUNDS
        self._learn_parts(
            own_forecasts,
            own_bounds,
            places,
            np.concatenate([segment.values for *_, segment in found]),
            np.concatenate([segment.features for *_, segment in found]),
            np.column_stack([[row for row, *_ in found], stops - sizes, stops]),
        )
        for (_, start, segment), stop, size in zip(found, stops, sizes, strict=True):
            if segment.rows is not None:
                ticks = slice(start + segment.rows.start, start + segment.rows.stop)
                forecasts[ticks] = own_forecasts[stop - size : stop]
                if places.size:
                    bounds[ticks] = own_bounds[stop - size : stop]

    def _learn_parts(
        self, forecasts: Any, bounds: Any, places: Any, ys: Any, features: Any, parts: np.ndarray
    ) -> None:
        """Learn from parts on all threads: see `learn_round` in `kernels.fleets.private`."""
        threads = min(self.threads or numba.get_num_threads(), len(parts))
        scratch, work = self._work_spaces(threads, forecasts.shape[1])
        rounds.run(
            self._kernels.learn_round, threads,
            forecasts, bounds, places, ys, features, self.model._known, parts,
            self._table, self._sizes, scratch, work,
        )  # fmt: skip

    def _work_spaces(self, count: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        """Work spaces, float32 and float64, to make `count` forecasts at a time this far ahead."""
        horizon = max(self.model.horizon, horizon)
        width = max(work_size(shape, horizon) for shape in self._shapes)
        if self._work.shape[0] < count or self._work.shape[1] < width:
            self._work = np.zeros((count, width))
        if self._scratch.shape[0] < count or self._scratch.shape[1] < self._longest:
            self._scratch = aligned_zeros(count * self._longest).reshape(count, -1)
        return self._scratch[:count], self._work[:count]
