"""The streams of a fleet on the CPU, by row: a forecaster each, and rounds of ticks over all cores.

A forecaster looks after itself between ticks, for drift, seasons and gaps, in Python. That is rare:
most ticks are but learned from, many streams in one compiled call.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
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

MAX_NOTED = 1_000_000  # ticks whose times wait until a stream is looked after


class PrivateStreams:
    """Streams that learn as so many single forecasters would.

    model: what every stream begins as; threads: how many to learn on, or None.
    """

    has_intervals = True

    def __init__(self, model: LSTMForecaster):
        self.model = model
        self.threads: int | None = None
        self.models: dict[int, LSTMForecaster] = {}
        self._due = np.zeros(0, np.int64)  # ticks that a stream learns before it is looked after
        self._gaps = np.zeros((0, 2), np.int64)  # the finder's `due` and `grid`, see `seasons`
        self._open()

    def _open(self) -> None:
        """Make what is not kept in a pickle."""
        self._kernels = kernels.entries(self.model.cell, self.model.learning)
        size = len(self._due), len(kernels.BUFFERS)
        self._table, self._sizes = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._buffers: dict[int, tuple[np.ndarray, ...]] = {}  # that the table knows
        self._scratch, self._work = np.zeros((0, 0), np.float32), np.zeros((0, 0))
        self._longest, self._shapes = 0, {self.model._shape}
        self._noted: list[tuple[np.ndarray, np.ndarray | None]] = []  # rows and times
        self._waiting = 0  # ticks in it
        # Marks so far; of each row, how many there were when it last changed.
        self._marks, self._changed = 0, np.zeros(len(self._due), np.int64)
        self._copies: list[FleetCopy] = []
        for row, model in self.models.items():
            model._share_work_space(self.model)
            self._locate(row)

    def mark(self) -> int:
        """A mark of now, for `moment`."""
        self._marks += 1
        return self._marks - 1

    def copy_from(self, mark: int | None, copy: Callable[[LSTMForecaster], Any]) -> FleetCopy:
        """All models as they are now, or those that have changed since a mark, for copies."""
        self._note_times()
        models: dict[int, LSTMForecaster | None] = {**self.models}
        if mark is not None:
            models |= {row: None for row in models if self._changed[row] <= mark}
        made = FleetCopy(models, copy)
        self._copies = [each for each in self._copies if each.waiting] + [made]
        return made

    def _before_change(self, rows: np.ndarray) -> None:
        """Note that models will change, and copy them first where that is wanted."""
        self._changed[rows] = self._marks
        for moment in self._copies:
            moment.before_change(rows.tolist())

    def __getstate__(self) -> dict[str, Any]:
        self._note_times()
        kept = ("model", "threads", "models", "_due", "_gaps")
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def begin(self, rows: Iterable[int]) -> None:
        """Let streams begin, or begin anew."""
        for row in rows:
            self.put(row, copy.deepcopy(self.model))

    def put(self, row: int, model: LSTMForecaster) -> None:
        """Make a model that of a stream. Room grows by doubling."""
        self._note_times()
        while row >= len(self._table):
            more = ((0, max(16, len(self._table))), (0, 0))
            self._table, self._sizes = np.pad(self._table, more), np.pad(self._sizes, more)
            self._due, self._gaps = np.pad(self._due, more[0]), np.pad(self._gaps, more)
            self._changed = np.pad(self._changed, more[0])
        model._share_work_space(self.model)
        self.models[row] = model
        self._locate(row)
        self._schedule_review(row)
        self._due[row] = 0
        self._changed[row] = self._marks

    def drop(self, row: int) -> None:
        """Forget a stream."""
        self._note_times()
        del self.models[row], self._buffers[row]

    def take(self, row: int) -> LSTMForecaster:
        """A copy of a stream's forecaster."""
        self._note_times()
        return copy.deepcopy(self.models[row])

    def add_features(self, names: list[Any]) -> None:
        """Give all streams these features, those of them that are new."""
        if self.model._columns.new_names(names):
            self._before_change(np.array([*self.models], np.int64))
            for model in [self.model, *self.models.values()]:
                model._add_features(names)
            for row in self.models:
                self._locate(row)

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
        """(G, 2, horizon) ends of intervals around them."""
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
        """Learn from N ticks, those of a stream in their order.

        Returns forecasts made before each, (N, horizon), and the ends of intervals around them at
        `places`, (N, 2, horizon), or (0, 0, 0).
        """
        self._before_change(rows)
        forecasts = np.empty((ys.size, horizon))
        bounds = np.empty((ys.size, 2, horizon)) if places.size else NO_BOUNDS
        for some in self._split(rows):
            made, around = np.empty((some.size, horizon)), np.empty((some.size, *bounds.shape[1:]))
            self._learn(
                made, around if places.size else NO_BOUNDS, places, rows[some], ys[some],
                features[some], None if times is None else times[some],
            )  # fmt: skip
            forecasts[some] = made
            if places.size:
                bounds[some] = around
        return forecasts, bounds

    def _split(self, rows: np.ndarray) -> Iterable[np.ndarray]:
        """Which ticks of these streams `_learn` takes at a time, in order: all, by stream."""
        return [np.argsort(rows, kind="stable")] if rows.size else []

    def _locate(self, row: int) -> None:
        """Note where a model has its buffers, if that has changed."""
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
        """Of a model, in the order of `kernels.BUFFERS`."""
        model = self.models[row]
        settings, weights, memory, _, clock = model._network.buffers
        series = model._stats, model._errors, model._history, model._past
        return settings, weights, memory, clock, *series

    def _schedule_review(self, row: int) -> None:
        """When a stream is to be looked after, which a gap in its times may bring forward."""
        model = self.models[row]
        self._due[row] = ticks_to_review(model)
        finder = model._finder
        if finder is not None:
            self._gaps[row] = finder.gap_after()
            if finder.irregular:  # every tick has a feature that depends on its time
                self._due[row] = 0

    def _needs_no_review(
        self, rows: np.ndarray, starts: np.ndarray, times: np.ndarray | None
    ) -> Any:
        """Which streams are but learned from. rows: (N,) in order; starts: (G,) of streams."""
        own, counts = rows[starts], np.diff(starts, append=rows.size)
        no_review = counts < self._due[own]
        if times is None or self.model._finder is None:
            return no_review
        due, grid = self._gaps[own].T
        step = np.diff(times, prepend=times[:1])
        step[starts] = times[starts] - due
        regular = (step > 0) & (step < 1.5 * np.repeat(grid, counts))
        return no_review & ((grid == 0) | np.logical_and.reduceat(regular, starts))

    def _note_ticks(self, rows: np.ndarray, times: np.ndarray | None) -> None:
        """Keep the times of ticks that were but learned from; None if they had none."""
        if self.model._finder is None:
            return
        if self._noted and (self._noted[0][1] is None) != (times is None):
            self._note_times()
        self._noted.append((rows, times))
        self._waiting += rows.size
        if times is not None:
            self._gaps[rows, 0] = times  # the last of each row stays
        if self._waiting > MAX_NOTED:
            self._note_times()

    def _note_times(self) -> None:
        """Let the finders know the times of ticks that were but learned from."""
        noted, self._noted, self._waiting = self._noted, [], 0
        if not noted:
            return
        rows = np.concatenate([rows for rows, _ in noted])
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        times = None
        if noted[0][1] is not None:
            times = np.concatenate([times for _, times in noted if times is not None])[order]
        for start, count in zip(starts, np.diff(starts, append=rows.size), strict=True):
            model = self.models[int(rows[start])]
            if model._finder is not None:
                ticks = model._ticks
                model._finder.note(None if times is None else times[start : start + count], ticks)

    def _learn(
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

        Streams with something to do between ticks go part by part, all of them side by side.
        """
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        stops = np.append(starts[1:], rows.size)
        parts = np.column_stack([rows[starts], starts, stops])
        no_review = self._needs_no_review(rows, starts, times)
        if no_review.any():
            self._run(forecasts, bounds, places, ys, features, parts[no_review])
            self._due[parts[no_review, 0]] -= (stops - starts)[no_review]
            ticks = np.repeat(no_review, stops - starts)
            self._note_ticks(rows[ticks], None if times is None else times[ticks])
        if not no_review.all():
            self._note_times()
        waiting = []
        for row, start, stop in parts[~no_review].tolist():
            own = slice(start, stop)
            when = None if times is None else times[own]
            each = segments(self.models[row], ys[own], features[own], when)
            waiting.append((row, start, each))
        while waiting:
            drawn: list[tuple[int, int, Iterator[Segment], Segment]] = []
            for row, start, each in waiting:
                part = next(each, None)
                self._locate(row)
                if part is None:
                    self._schedule_review(row)
                else:
                    drawn.append((row, start, each, part))
            waiting = [(row, start, each) for row, start, each, _ in drawn]
            for width in {part.features.shape[1] for *_, part in drawn}:
                alike = [each for each in drawn if each[3].features.shape[1] == width]
                self._run_parts(forecasts, bounds, places, alike)

    def _run_parts(self, forecasts: Any, bounds: Any, places: Any, drawn: list[Any]) -> None:
        """Learn from parts of equally many features, and put the forecasts where they belong."""
        sizes = [part.values.size for *_, part in drawn]
        stops = np.cumsum(sizes)
        some = np.empty((stops[-1], forecasts.shape[1]))
        around = np.empty((stops[-1], *bounds.shape[1:])) if places.size else NO_BOUNDS
        self._run(
            some,
            around,
            places,
            np.concatenate([part.values for *_, part in drawn]),
            np.concatenate([part.features for *_, part in drawn]),
            np.column_stack([[row for row, *_ in drawn], stops - sizes, stops]),
        )
        for (_, start, _, part), stop, size in zip(drawn, stops, sizes, strict=True):
            if part.rows is not None:
                ticks = slice(start + part.rows.start, start + part.rows.stop)
                forecasts[ticks] = some[stop - size : stop]
                if places.size:
                    bounds[ticks] = around[stop - size : stop]

    def _run(
        self, forecasts: Any, bounds: Any, places: Any, ys: Any, features: Any, parts: np.ndarray
    ) -> None:
        """Learn from parts on all threads: see `kernels.learn_round`."""
        threads = min(self.threads or numba.get_num_threads(), len(parts))
        scratch, work = self._room(threads, forecasts.shape[1])
        rounds.run(
            self._kernels.learn_round, threads,
            forecasts, bounds, places, ys, features, self.model._known, parts,
            self._table, self._sizes, scratch, work,
        )  # fmt: skip

    def _room(self, count: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        """Work spaces, `count` of them, to forecast so far ahead: float32 and float64."""
        horizon = max(self.model.horizon, horizon)
        width = max(work_size(shape, horizon) for shape in self._shapes)
        if self._work.shape[0] < count or self._work.shape[1] < width:
            self._work = np.zeros((count, width))
        if self._scratch.shape[0] < count or self._scratch.shape[1] < self._longest:
            self._scratch = aligned_zeros(count * self._longest).reshape(count, -1)
        return self._scratch[:count], self._work[:count]
