"""`ForecasterFleet`: thousands of forecasters that learn a round of ticks in one call.

This is the public class, with the keys, the checks of arguments and the lock. The code that learns
is in `streams` (private weights), `shared` (shared weights) and `cuda` (on a GPU).
"""

import copy
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Self, SupportsIndex, overload

import numba
import numpy as np

from ..errors import InputError, ParameterError
from ..forecaster import LSTMForecaster
from ..model.checks import check_horizon, did_you_mean, plain
from ..model.display import as_html, as_text, changed_parameters
from ..model.features import FloatArray, as_table, as_times, as_vector
from ..model.quantiles import NO_PLACES, interval_places
from .shared import SharedStreams
from .snapshot_copy import FleetCopy
from .streams import PrivateStreams

STREAMS = {"private": PrivateStreams, "shared": SharedStreams}
DEVICES = ("cpu", "cuda")
CUDA_DEFAULTS: dict[str, Any] = {  # parameters of the default model on a GPU
    "preset": "fast", "season": None, "drift": False, "horizon": 1, "experts": ("last", "lstm"),
}  # fmt: skip
FLEET_STATE = ("weights", "device", "_rows", "_free")  # the rest of the state belongs to _streams


class ForecasterFleet:
    """Many streams, by key, each with its own `LSTMForecaster`.

    Pass a round of ticks, of any of the streams, to `learn_many`, which learns them on all cores. A
    key that is new starts a stream. With private weights each stream learns, bit for bit, as a
    single forecaster would. With shared weights all streams train one network, so a new stream
    benefits at once; each still has its own state, committee and intervals.

    Parameters
    ----------
    model
        The forecaster that every stream starts from; the fleet copies it with all it has learned.
        None for an `LSTMForecaster` with default arguments, except that shared weights use
        `preset="fast"` and a GPU the arguments that it needs (docs/cuda.md).
    weights
        "private" or "shared". Shared weights are updated once a round with the mean gradient of the
        round's streams; streams whose errors have grown lately count twice. They need a model that
        learns every tick once: no replay and `stride=1`.
    device
        "cpu", or "cuda" for the first GPU. A GPU takes models whose experts are the last value and
        the LSTM, and gives no intervals. Needs `pip install 'streamlstm[cuda]'`.
    threads
        How many CPU threads to learn on; None for as many as Numba uses. The results do not depend
        on it.

    Notes
    -----
    Python threads may share a fleet or use several fleets: rounds take turns. Each stream has its
    own buffers; all streams share the work space. The largest buffer holds the past ticks that
    `preset="accurate"` replays.

    Examples
    --------
    >>> from streamlstm import ForecasterFleet, LSTMForecaster
    >>> fleet = ForecasterFleet(LSTMForecaster(hidden_size=4, season=None, preset="fast"))
    >>> for n in range(50):
    ...     _ = fleet.learn_many(["up", "level"], [float(n), 7.0])
    >>> fleet.forecast(2, "level")
    array([7., 7.])
    >>> fleet.forecast(2, ["up", "level"]).shape
    (2, 2)
    >>> len(fleet), "up" in fleet, list(fleet)
    (2, True, ['up', 'level'])

    """

    def __init__(
        self,
        model: LSTMForecaster | None = None,
        weights: str = "private",
        device: str = "cpu",
        threads: SupportsIndex | None = None,
    ):
        for name, choice, choices in [("weights", weights, STREAMS), ("device", device, DEVICES)]:
            if choice not in choices:
                raise ParameterError(f"{name} must be one of {', '.join(choices)}, got {choice!r}")
        if device == "cuda":
            model = LSTMForecaster(**CUDA_DEFAULTS) if model is None else model
        elif model is None:
            model = LSTMForecaster(preset="fast" if weights == "shared" else "accurate")
        self.weights = weights
        self.device = device
        self._rows: dict[Hashable, int] = {}
        self._free: list[int] = []
        arguments = (weights,) if device == "cuda" else ()
        self._streams: Any = _streams_class(device, weights)(copy.deepcopy(model), *arguments)
        self._lock = threading.Lock()
        self.threads = threads

    @property
    def model(self) -> LSTMForecaster:
        """The forecaster that every stream starts from."""
        return self._streams.model

    @property
    def threads(self) -> int | None:
        """How many CPU threads to learn on. Set it between rounds to change it."""
        return self._streams.threads

    @threads.setter
    def threads(self, count: SupportsIndex | None) -> None:
        most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        count = plain(count)
        if count is not None and (type(count) is not int or not 1 <= count <= most):
            raise ParameterError(f"threads must be a whole number from 1 to {most}, got {count!r}")
        with self._lock:
            self._streams.threads = count

    def __len__(self) -> int:
        """The number of streams."""
        return len(self._rows)

    def __contains__(self, key: Hashable) -> bool:
        """Whether there is a stream with this key."""
        return key in self._rows

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the keys, in the order in which their streams started."""
        return iter(list(self._rows))

    @property
    def keys(self) -> list[Any]:
        """Keys of the streams, in the order in which the streams started."""
        return list(self._rows)

    def _parameters(self) -> dict[str, Any]:
        """The fleet's and the model's arguments by name, in a form that can be compared."""
        own = {"weights": self.weights, "device": self.device}
        return own | {f"model.{name}": value for name, value in self.model._parameters().items()}

    def _facts(self) -> dict[str, str]:
        """Facts about the fleet's state, by name, for display."""
        with self._lock:  # another thread may be adding streams or features
            keys, features = self.keys, list(self.model._columns.index)
        streams = f"{len(keys):,}"
        if keys:
            streams += f" ({', '.join(map(str, keys[:3]))}{', ...' if len(keys) > 3 else ''})"
        return {"streams": streams, "features": ", ".join(map(str, features)) or "none"}

    def __repr__(self) -> str:
        own = {"weights": self.weights, "device": self.device}
        return as_text("ForecasterFleet", own | changed_parameters(self.model), self._facts())

    def _repr_html_(self) -> str:
        return as_html("ForecasterFleet", self._parameters(), self._facts())

    @overload
    def learn_many(
        self,
        keys: Sequence[Hashable],
        values: Any,
        features: Any = None,
        timestamps: Any = None,
        horizon: SupportsIndex = 1,
        interval: None = None,
    ) -> FloatArray: ...

    @overload
    def learn_many(
        self,
        keys: Sequence[Hashable],
        values: Any,
        features: Any = None,
        timestamps: Any = None,
        horizon: SupportsIndex = 1,
        *,
        interval: float,
    ) -> tuple[FloatArray, FloatArray]: ...

    @overload
    def learn_many(
        self,
        keys: Sequence[Hashable],
        values: Any,
        features: Any = None,
        timestamps: Any = None,
        horizon: SupportsIndex = 1,
        interval: float | None = None,
    ) -> FloatArray | tuple[FloatArray, FloatArray]: ...

    def learn_many(
        self,
        keys: Sequence[Hashable],
        values: Any,
        features: Any = None,
        timestamps: Any = None,
        horizon: SupportsIndex = 1,
        interval: float | None = None,
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Forecast, then learn from, each tick of a round.

        Parameters
        ----------
        keys
            N keys of streams, in any order. A key that is repeated brings the next tick of its
            stream; a key that is new starts a stream.
        values, features, timestamps, horizon, interval
            As for `LSTMForecaster.learn_many`, for these N ticks. A new feature is added to all
            streams; it is missing where it is not given.

        Returns
        -------
        (N, K) array: row n holds the forecasts of tick n and of the ticks after it in its stream,
        made before tick n was learned. With `interval`, a pair as `LSTMForecaster.learn_many`
        returns.

        Raises
        ------
        InputError
            If something is not a number, a key is not hashable or the lengths differ. The fleet
            has not changed then.
        ParameterError
            If `interval` is out of range, or given on a GPU.

        """
        horizon = check_horizon(horizon)
        ys = as_vector(values, "values")
        table = as_table(features, ys.size)
        times = None if timestamps is None else as_times(timestamps, ys.size)
        if isinstance(keys, (str, bytes)):
            raise InputError(f"keys must be a sequence of keys, got the single key {keys!r}")
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
            new = [self._assign_row(key) for key in wanted if key not in self._rows]
            self._streams.begin(new)
            rows = np.fromiter(map(self._rows.__getitem__, keys), np.int64, ys.size)
            matrix = self.model._columns.matrix(table, ys.size)
            forecasts, bounds = self._streams.learn(rows, ys, matrix, times, horizon, places)
        return forecasts if interval is None else (forecasts, bounds)

    def forecast(
        self, horizon: SupportsIndex, keys: Hashable | Sequence[Hashable] | None = None
    ) -> FloatArray:
        """Forecast the next values of streams; the fleet does not change.

        Parameters
        ----------
        horizon
            How many values to forecast, K.
        keys
            Keys of S streams, or the key of one; None for all, in the order of `self.keys`.

        Returns
        -------
        (S, K) array, or (K,) for a single key; NaN for a stream that has no value yet.

        Raises
        ------
        InputError
            If there is no stream with a key.

        """
        horizon = check_horizon(horizon)
        with self._lock:
            single, rows = self._find_rows(keys)
            made = self._streams.forecast(rows, horizon)
        return made[0] if single else made

    def forecast_interval(
        self,
        horizon: SupportsIndex,
        interval: float = 0.9,
        keys: Hashable | Sequence[Hashable] | None = None,
    ) -> FloatArray:
        """Forecast intervals, (S, 2, K), or (2, K) for a single key; the fleet does not change.

        See `LSTMForecaster.forecast_interval`.

        Raises
        ------
        InputError, ParameterError
            As `forecast` and `LSTMForecaster.forecast_interval`.

        """
        horizon = check_horizon(horizon)
        with self._lock:
            self._check_intervals()
            single, rows = self._find_rows(keys)
            bounds = self._streams.forecast_interval(rows, horizon, interval)
        return bounds[0] if single else bounds

    def __getitem__(self, key: Hashable) -> LSTMForecaster:
        """Copy a stream's forecaster; the copy is independent of the fleet."""
        with self._lock:
            return self._streams.take(self._find_row(key))

    def __setitem__(self, key: Hashable, model: LSTMForecaster) -> None:
        """Start or replace a stream with a copy of a forecaster."""
        model = copy.deepcopy(model)
        for name in ("cell", "learning", "known_features", "horizon"):
            required = getattr(self.model, name)
            if getattr(model, name) != required:
                raise ParameterError(f"the forecaster's {name} must be {required!r}")
        with self._lock:
            features = list(self.model._columns.index)
            model._add_features(features)
            if list(model._columns.index)[: len(features)] != features:
                raise ParameterError(
                    "the forecaster's features must be those of the fleet, in the same order"
                )
            self._streams.put(self._assign_row(key), model)

    def __delitem__(self, key: Hashable) -> None:
        """Remove a stream. If its key comes again, a new stream starts."""
        with self._lock:
            row = self._find_row(key)
            self._streams.drop(row)
            del self._rows[key]
            self._free.append(row)

    def reset(self, key: Hashable) -> None:
        """Restart a stream from `model`."""
        with self._lock:
            self._streams.begin([self._find_row(key)])

    def _state(self) -> dict[str, Any]:
        """The state for `__setstate__`, not copied; the caller must hold the lock."""
        return {name: self.__dict__[name] for name in FLEET_STATE} | self._streams.__getstate__()

    def _copy_from(self, mark: int | None, copy: Callable[[LSTMForecaster], Any]) -> FleetCopy:
        """Begin a copy of all models as they are now, or of those that changed since a mark.

        The caller must hold the lock.
        """
        return self._streams.copy_from(mark, copy)

    def _mark(self) -> int:
        """Mark the current state for `_copy_from`; the caller must hold the lock."""
        return self._streams.mark()

    def _restore(self, other: Self) -> None:
        """Take over the state of another fleet of the same parameters."""
        with self._lock:
            threads = self._streams.threads
            self.__dict__.update({k: v for k, v in other.__dict__.items() if k != "_lock"})
            self._streams.threads = threads

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:  # so that no half-learned round is copied
            return copy.deepcopy(self._state())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({name: state[name] for name in FLEET_STATE})
        cls = _streams_class(self.device, self.weights)
        self._streams = cls.__new__(cls)
        self._streams.__setstate__({name: state[name] for name in state if name not in FLEET_STATE})
        self._lock = threading.Lock()

    def _check_intervals(self) -> None:
        if not self._streams.has_intervals:
            raise ParameterError(f"device={self.device!r} keeps no intervals")

    def _assign_row(self, key: Hashable) -> int:
        """The row of a stream; a new stream gets a free row."""
        if key not in self._rows:
            self._rows[key] = self._free.pop() if self._free else len(self._rows)
        return self._rows[key]

    def _find_row(self, key: Hashable) -> int:
        """The row of a stream; an InputError if there is no such stream."""
        try:
            return self._rows[key]
        except (KeyError, TypeError) as error:
            hint = did_you_mean(key, self._rows)
            raise InputError(f"there is no stream {key!r}{hint}") from error

    def _find_rows(self, keys: Any) -> tuple[bool, np.ndarray]:
        """Whether `keys` is a single key, and the rows, (S,), of its streams; None means all."""
        if keys is None:
            return False, np.array([*self._rows.values()], np.int64)
        single = isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable)
        if isinstance(keys, tuple):  # the key of a stream, or a tuple of keys
            single = keys in self._rows
        rows = [self._find_row(key) for key in ([keys] if single else keys)]
        return single, np.array(rows, np.int64)


def _streams_class(device: str, weights: str) -> Any:
    """The class of the streams on this device with these weights."""
    if device == "cpu":
        return STREAMS[weights]
    from .cuda import CudaStreams

    return CudaStreams
