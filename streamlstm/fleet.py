"""`ForecasterFleet`: thousands of forecasters that learn a round of ticks in one call."""

import copy
import threading
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numba
import numpy as np

from .errors import InputError, ParameterError
from .features import as_table, as_times, as_vector
from .forecaster import (
    NO_BOUNDS,
    NO_PLACES,
    LSTMForecaster,
    Part,
    check_horizon,
    interval_places,
)
from .kernels import fleet as kernels
from .kernels.views import room
from .layout import aligned_zeros, work_size

# Numba's simplest threading layer aborts the process when two threads enter it: rounds of all
# fleets take turns.
_ROUND = threading.Lock()


class ForecasterFleet:
    """Many streams, by key, each with an `LSTMForecaster` of its own.

    `learn_many` takes a round of ticks, of any of the streams, and learns from it on all cores. A
    stream is added when its key first comes. Each learns, bit for bit, as a forecaster of its own
    would.

    Parameters
    ----------
    model
        What every stream begins as; an `LSTMForecaster` with its default arguments if None. It is
        copied, as it is.
    threads
        How many to learn on; as many as Numba takes if None.

    Notes
    -----
    Python threads may share a fleet, and have several: rounds take turns. Each stream holds buffers
    of its own but for the work space; those of the past that `preset="accurate"` replays are the
    largest.

    Examples
    --------
    >>> from streamlstm import ForecasterFleet, LSTMForecaster
    >>> fleet = ForecasterFleet(LSTMForecaster(hidden_size=4, season=None, preset="fast"))
    >>> for n in range(50):
    ...     _ = fleet.learn_many(["up", "level"], [float(n), 7.0])
    >>> fleet.forecast(2, ["level"])
    array([[7., 7.]])
    >>> len(fleet), "up" in fleet
    (2, True)

    """

    def __init__(self, model: LSTMForecaster | None = None, threads: int | None = None):
        most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        if threads is not None and (type(threads) is not int or not 1 <= threads <= most):
            raise ParameterError(
                f"threads must be a whole number from 1 to {most}, got {threads!r}"
            )
        self.model = copy.deepcopy(LSTMForecaster() if model is None else model)
        self.threads = threads
        self._rows: dict[Hashable, int] = {}
        self._free: list[int] = []
        self._models: dict[int, LSTMForecaster] = {}  # by row
        self._due = np.zeros(0, np.int64)  # ticks that a forecaster learns before it is looked at
        self._open()

    def _open(self) -> None:
        """Make what is not kept in a pickle."""
        self._lock = threading.Lock()
        self._kernels = kernels.entries(self.model.cell, self.model.learning)
        size = len(self._due), len(kernels.BUFFERS)
        self._table, self._sizes = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._scratch, self._work = np.zeros((0, 0), np.float32), np.zeros((0, 0))
        self._longest, self._shapes = 0, {self.model._shape}
        # Snapshots so far; of each row, how many there were when it last changed.
        self._snapshots, self._changed = 0, np.zeros(len(self._due), np.int64)
        due = self._due.copy()
        for row, model in self._models.items():
            model._work_in(self.model)
            self._note(row)
        self._due = due

    def __len__(self) -> int:
        """How many streams there are."""
        return len(self._rows)

    def __contains__(self, key: Hashable) -> bool:
        """Whether a stream of this key has come."""
        return key in self._rows

    @property
    def keys(self) -> list[Hashable]:
        """Of the streams, in the order in which they came."""
        return list(self._rows)

    def learn_many(
        self,
        keys: Sequence[Hashable],
        values: Any,
        features: Any = None,
        timestamps: Any = None,
        horizon: int = 1,
        alpha: float | None = None,
    ) -> Any:
        """Forecast, then learn from, each tick of a round.

        Parameters
        ----------
        keys
            N keys of streams, any of them in any order; a key that comes again brings the next tick
            of its stream. A stream whose key is new begins.
        values, features, timestamps, horizon, alpha
            Of these ticks, as for `LSTMForecaster.learn_many` with T = N. A feature that is new is
            a feature of all streams from then on, missing where it has not come.

        Returns
        -------
        (N, K) array: row n holds the forecasts, made before tick n, of it and the ticks that follow
        it in its stream; with `alpha`, a pair as `LSTMForecaster.learn_many` gives.

        Raises
        ------
        InputError
            If something is not a number, a key not hashable or the lengths differ. The fleet has
            not changed then.

        """
        check_horizon(horizon)
        ys = as_vector(values, "values")
        table = as_table(features, ys.size)
        times = None if timestamps is None else as_times(timestamps, ys.size)
        if len(keys) != ys.size:
            raise InputError(f"there are {len(keys)} keys, but {ys.size} values")
        try:
            wanted = dict.fromkeys(keys)
        except TypeError as error:
            raise InputError(f"a key must be hashable: {error}") from error
        places = NO_PLACES if alpha is None else interval_places(alpha)
        with self._lock:
            self._add_features(list(table))
            for key in wanted:
                if key not in self._rows:
                    self._put(key, copy.deepcopy(self.model))
            rows = np.fromiter(map(self._rows.__getitem__, keys), np.int64, ys.size)
            order = np.argsort(rows, kind="stable")
            matrix = self.model._columns.matrix(table, ys.size)
            sorted_times = None if times is None else times[order]
            predicted, around = self._learn(
                rows[order], ys[order], matrix[order], sorted_times, horizon, places
            )
        forecasts, bounds = np.empty_like(predicted), np.empty_like(around)
        forecasts[order] = predicted
        if alpha is None:
            return forecasts
        bounds[order] = around
        return forecasts, bounds

    def forecast(self, horizon: int, keys: Sequence[Hashable] | None = None) -> np.ndarray:
        """Forecast the next values of streams; the fleet stays as it is.

        Parameters
        ----------
        horizon
            How many, K.
        keys
            Of S streams; all of them, in the order of `keys`, if None.

        Returns
        -------
        (S, K) array; a stream that has no value yet has zeros.

        Raises
        ------
        InputError
            If there is no stream of a key.

        """
        check_horizon(horizon)
        with self._lock:
            rows = self._rows_of(keys)
            forecasts = np.zeros((rows.size, horizon))
            if horizon <= self.model.horizon and not self.model.known_features:
                kernels.issued(forecasts, rows, self._table, self._sizes)
            else:
                for n, row in enumerate(rows):
                    forecasts[n] = self._models[row].forecast(horizon)
        return forecasts

    def forecast_interval(
        self, horizon: int, alpha: float = 0.1, keys: Sequence[Hashable] | None = None
    ) -> np.ndarray:
        """Intervals around the forecasts, (S, 2, K): see `LSTMForecaster.forecast_interval`.

        Raises
        ------
        InputError, ParameterError
            As `forecast` and `LSTMForecaster.forecast_interval`.

        """
        with self._lock:
            models = [self._models[row] for row in self._rows_of(keys)]
            bounds = [np.transpose(model.forecast_interval(horizon, alpha)) for model in models]
        return np.array(bounds).reshape(len(bounds), 2, horizon)

    def __getitem__(self, key: Hashable) -> LSTMForecaster:
        """A copy of a stream's forecaster, which goes on by itself."""
        with self._lock:
            return copy.deepcopy(self._models[self._rows_of([key])[0]])

    def __setitem__(self, key: Hashable, model: LSTMForecaster) -> None:
        """Let a stream go on as a copy of a forecaster."""
        ours, theirs = self.model, copy.deepcopy(model)
        for name in ("cell", "learning", "known_features", "horizon"):
            if getattr(ours, name) != getattr(theirs, name):
                raise ParameterError(f"the forecaster's {name} must be {getattr(ours, name)!r}")
        with self._lock:
            theirs._add_features(list(ours._columns.index))
            if list(theirs._columns.index)[: len(ours._columns.index)] != list(ours._columns.index):
                raise ParameterError("the forecaster's features are not those of the fleet")
            self._put(key, theirs)

    def __delitem__(self, key: Hashable) -> None:
        """Forget a stream; if its key comes again, it begins anew."""
        with self._lock:
            (row,) = self._rows_of([key])
            del self._rows[key]
            del self._models[int(row)]
            self._free.append(int(row))

    def reset(self, key: Hashable) -> None:
        """Let a stream begin anew."""
        with self._lock:
            self._rows_of([key])
            self._put(key, copy.deepcopy(self.model))

    def _state(self) -> dict[str, Any]:
        """What `__setstate__` takes, not copied; the lock must be held."""
        kept = ("model", "threads", "_rows", "_free", "_models", "_due")
        return {name: self.__dict__[name] for name in kept}

    def _changes(self, mark: int) -> dict[str, Any]:
        """The same with None for models that have not changed since a mark."""
        changed = self._changed > mark
        models = {row: model if changed[row] else None for row, model in self._models.items()}
        return self._state() | {"_models": models}

    def _mark(self) -> int:
        """A mark of now, for `_changes`; the lock must be held."""
        self._snapshots += 1
        return self._snapshots - 1

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:  # no copy of a round half learned
            return copy.deepcopy(self._state())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _rows_of(self, keys: Sequence[Hashable] | None) -> np.ndarray:
        if keys is None:
            return np.array([*self._rows.values()], np.int64)
        unknown = [key for key in keys if key not in self._rows]
        if unknown:
            raise InputError(f"there is no stream {unknown[0]!r}")
        return np.array([self._rows[key] for key in keys], np.int64)

    def _put(self, key: Hashable, model: LSTMForecaster) -> None:
        """Make a model that of a stream, new or known. Room grows by doubling."""
        row = self._rows.get(key)
        if row is None:
            row = self._free.pop() if self._free else len(self._models)
        if row >= len(self._table):
            more = ((0, max(16, len(self._table))), (0, 0))
            self._table, self._sizes = np.pad(self._table, more), np.pad(self._sizes, more)
            self._due = np.pad(self._due, more[0])
            self._changed = np.pad(self._changed, more[0])
        model._work_in(self.model)
        self._rows[key], self._models[row] = row, model
        self._note(row)

    def _note(self, row: int) -> None:
        """Note where a model has its buffers, and when it is to be looked at again."""
        model = self._models[row]
        network = model._network
        buffers = (
            network.settings_array, network.weights, network.memory, network.clock,
            model._stats, model._errors, model._history, model._past,
        )  # fmt: skip
        self._table[row] = [buffer.ctypes.data for buffer in buffers]
        self._sizes[row] = [buffer.size for buffer in buffers]
        self._due[row] = 0
        self._changed[row] = self._snapshots
        self._shapes.add(model._shape)
        self._longest = max(self._longest, room(network.scratch.size))

    def _add_features(self, names: list[Hashable]) -> None:
        if self.model._columns.new_names(names):
            for model in [self.model, *self._models.values()]:
                model._add_features(names)
            for row in self._rows.values():
                self._note(row)

    def _learn(
        self,
        rows: np.ndarray,
        ys: np.ndarray,
        features: np.ndarray,
        times: np.ndarray | None,
        horizon: int,
        places: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Learn from ticks sorted by stream: (forecasts, bounds).

        Most streams are but learned from. Those where something is due between ticks, such as a
        look for drift, go part by part, all of them side by side.
        """
        N = ys.size
        self._changed[rows] = self._snapshots
        forecasts = np.empty((N, horizon))
        bounds = np.empty((N, 2, horizon)) if places.size else NO_BOUNDS
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        stops = np.append(starts[1:], N)[: starts.size]
        parts = np.column_stack([rows[starts], starts, stops])
        quick = stops - starts < self._due[parts[:, 0]]
        if times is not None and self.model._finder is not None:
            quick[:] = False
        if quick.any():
            self._run(forecasts, bounds, places, ys, features, parts[quick])
            self._due[parts[quick, 0]] -= (stops - starts)[quick]
        waiting = []
        for row, start, stop in parts[~quick].tolist():
            model, ticks = self._models[row], slice(start, stop)
            when = None if times is None else times[ticks]
            waiting.append((row, start, model._parts(ys[ticks], features[ticks], when)))
        while waiting:
            drawn: list[tuple[int, int, Iterator[Part], Part]] = []
            for row, start, each in waiting:
                part = next(each, None)
                self._note(row)
                if part is not None:
                    drawn.append((row, start, each, part))
                elif times is None:
                    self._due[row] = self._models[row]._due()
            waiting = [(row, start, each) for row, start, each, _ in drawn]
            for width in {part.features.shape[1] for *_, part in drawn}:
                alike = [each for each in drawn if each[3].features.shape[1] == width]
                self._run_parts(forecasts, bounds, places, alike)
        return forecasts, bounds

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
        """Learn from parts on all threads: see `kernels.fleet.learn_round`."""
        threads = min(self.threads or numba.get_num_threads(), len(parts))
        horizon = max(self.model.horizon, forecasts.shape[1])
        width = max(work_size(shape, horizon) for shape in self._shapes)
        if self._work.shape[0] < threads or self._work.shape[1] < width:
            self._work = np.zeros((threads, width))
        if self._scratch.shape[0] < threads or self._scratch.shape[1] < self._longest:
            self._scratch = aligned_zeros(threads * self._longest).reshape(threads, -1)
        with _ROUND:
            before = numba.get_num_threads()
            numba.set_num_threads(threads)
            try:
                self._kernels.learn_round(
                    forecasts, bounds, places, ys, features, self.model._known, parts,
                    self._table, self._sizes, self._scratch[:threads], self._work[:threads],
                )  # fmt: skip
            finally:
                numba.set_num_threads(before)
