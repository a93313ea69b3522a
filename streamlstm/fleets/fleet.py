"""`ForecasterFleet`: thousands of forecasters that learn a round of ticks in one call."""

import copy
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numba
import numpy as np

from ..errors import InputError, ParameterError
from ..forecaster import NO_PLACES, LSTMForecaster, check_horizon, interval_places
from ..model.features import as_table, as_times, as_vector
from .snapshot_copy import Moment
from .streams import PrivateStreams, SharedStreams

STREAMS = {"private": PrivateStreams, "shared": SharedStreams}
DEVICES = ("cpu", "cuda")
ON_CUDA: dict[str, Any] = {  # what a model there has to have
    "preset": "fast", "season": None, "drift": False, "horizon": 1, "experts": ("last", "lstm"),
}  # fmt: skip
OWN = ("weights", "device", "_rows", "_free")  # state that is not that of the streams


class ForecasterFleet:
    """Many streams, by key, each with an `LSTMForecaster` of its own.

    `learn_many` takes a round of ticks, of any of the streams, and learns from it on all cores. A
    stream is added when its key first comes. With private weights each learns, bit for bit, as a
    forecaster of its own would. With shared weights they have one network, which learns from all of
    them, so that a new stream profits at once; each keeps a state, a committee and intervals of its
    own.

    Parameters
    ----------
    model
        What every stream begins as; an `LSTMForecaster` with its default arguments if None, with
        `preset="fast"` for shared weights and what a GPU needs there (docs/cuda.md). It is copied,
        as it is.
    weights
        "private" or "shared". Shared ones move once a round, along the mean of the gradients of its
        streams, where those whose errors have grown of late count twice; they need a model that
        learns every tick once: no replay and `stride=1`.
    device
        "cpu", or "cuda" for the first GPU: of a model with the last value and the LSTM as experts,
        without intervals. Needs `pip install 'streamlstm[cuda]'`.
    threads
        How many to learn on, on the CPU; as many as Numba takes if None. The results do not depend
        on it.

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

    def __init__(
        self,
        model: LSTMForecaster | None = None,
        weights: str = "private",
        device: str = "cpu",
        threads: int | None = None,
    ):
        for name, choice, choices in [("weights", weights, STREAMS), ("device", device, DEVICES)]:
            if choice not in choices:
                raise ParameterError(f"{name} must be one of {', '.join(choices)}, got {choice!r}")
        if device == "cuda":
            model = LSTMForecaster(**ON_CUDA) if model is None else model
        elif model is None:
            model = LSTMForecaster(preset="fast" if weights == "shared" else "accurate")
        self.weights = weights
        self.device = device
        self._rows: dict[Hashable, int] = {}
        self._free: list[int] = []
        arguments = (weights,) if device == "cuda" else ()
        self._streams: Any = _kind_of(device, weights)(copy.deepcopy(model), *arguments)
        self._lock = threading.Lock()
        self.threads = threads

    @property
    def model(self) -> LSTMForecaster:
        """What every stream begins as."""
        return self._streams.model

    @property
    def threads(self) -> int | None:
        """How many to learn on; it may be set between rounds."""
        return self._streams.threads

    @threads.setter
    def threads(self, count: int | None) -> None:
        most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        if count is not None and (type(count) is not int or not 1 <= count <= most):
            raise ParameterError(f"threads must be a whole number from 1 to {most}, got {count!r}")
        with self._lock:
            self._streams.threads = count

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
        interval: float | None = None,
    ) -> Any:
        """Forecast, then learn from, each tick of a round.

        Parameters
        ----------
        keys
            N keys of streams, any of them in any order; a key that comes again brings the next tick
            of its stream. A stream whose key is new begins.
        values, features, timestamps, horizon, interval
            Of these ticks, as for `LSTMForecaster.learn_many` with T = N. A feature that is new is
            a feature of all streams from then on, missing where it has not come.

        Returns
        -------
        (N, K) array: row n holds the forecasts, made before tick n, of it and the ticks that follow
        it in its stream; with `interval`, a pair as `LSTMForecaster.learn_many` gives.

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
        places = NO_PLACES if interval is None else interval_places(interval)
        if interval is not None:
            self._check_intervals()
        with self._lock:
            self._streams.add_features(list(table))
            new = [self._row_of(key) for key in wanted if key not in self._rows]
            self._streams.begin(new)
            rows = np.fromiter(map(self._rows.__getitem__, keys), np.int64, ys.size)
            matrix = self.model._columns.matrix(table, ys.size)
            forecasts, bounds = self._streams.learn(rows, ys, matrix, times, horizon, places)
        return forecasts if interval is None else (forecasts, bounds)

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
            return self._streams.forecast(self._rows_of(keys), horizon)

    def forecast_interval(
        self, horizon: int, interval: float = 0.9, keys: Sequence[Hashable] | None = None
    ) -> np.ndarray:
        """Intervals around the forecasts, (S, 2, K): see `LSTMForecaster.forecast_interval`.

        Raises
        ------
        InputError, ParameterError
            As `forecast` and `LSTMForecaster.forecast_interval`.

        """
        with self._lock:
            self._check_intervals()
            return self._streams.forecast_interval(self._rows_of(keys), horizon, interval)

    def __getitem__(self, key: Hashable) -> LSTMForecaster:
        """A copy of a stream's forecaster, which goes on by itself."""
        with self._lock:
            return self._streams.take(int(self._rows_of([key])[0]))

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
            self._streams.put(self._row_of(key), theirs)

    def __delitem__(self, key: Hashable) -> None:
        """Forget a stream; if its key comes again, it begins anew."""
        with self._lock:
            row = int(self._rows_of([key])[0])
            self._streams.drop(row)
            del self._rows[key]
            self._free.append(row)

    def reset(self, key: Hashable) -> None:
        """Let a stream begin anew."""
        with self._lock:
            self._streams.begin(self._rows_of([key]).tolist())

    def _state(self) -> dict[str, Any]:
        """What `__setstate__` takes, not copied; the lock must be held."""
        return {name: self.__dict__[name] for name in OWN} | self._streams.__getstate__()

    def _moment(self, mark: int | None, copy: Callable[[LSTMForecaster], Any]) -> Moment:
        """The models as they are now, or those that have changed since a mark, for copies.

        The lock must be held.
        """
        return self._streams.moment(mark, copy)

    def _mark(self) -> int:
        """A mark of now, for `_moment`; the lock must be held."""
        return self._streams.mark()

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:  # no copy of a round half learned
            return copy.deepcopy(self._state())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({name: state[name] for name in OWN})
        kind = _kind_of(self.device, self.weights)
        self._streams = kind.__new__(kind)
        self._streams.__setstate__({name: state[name] for name in state if name not in OWN})
        self._lock = threading.Lock()

    def _check_intervals(self) -> None:
        if not self._streams.has_intervals:
            raise ParameterError(f"device={self.device!r} keeps no intervals")

    def _row_of(self, key: Hashable) -> int:
        """The row of a stream; of one that is new, the first that is free."""
        if key not in self._rows:
            self._rows[key] = self._free.pop() if self._free else len(self._rows)
        return self._rows[key]

    def _rows_of(self, keys: Sequence[Hashable] | None) -> np.ndarray:
        if keys is None:
            return np.array([*self._rows.values()], np.int64)
        unknown = [key for key in keys if key not in self._rows]
        if unknown:
            raise InputError(f"there is no stream {unknown[0]!r}")
        return np.array([self._rows[key] for key in keys], np.int64)


def _kind_of(device: str, weights: str) -> Any:
    """The class of streams that learn there with such weights."""
    if device == "cpu":
        return STREAMS[weights]
    from .cuda import CudaStreams

    return CudaStreams
