"""`LSTMForecaster`: forecasts of one series, learned tick by tick."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from .errors import InputError, ParameterError
from .features import as_number, as_table, as_times, as_vector, time_of
from .kernels import forecaster as kernels
from .layout import CLOCK, grow, series_size, series_views
from .model import OnlineModel
from .network import check_settings
from .river_base import Forecaster
from .seasons import CYCLES, SAMPLE, seasons_of


def _check_season(season: Any) -> tuple[int, ...]:
    """Periods in ticks, zeros where `season="auto"` has yet to find them."""
    if season is None:
        return ()
    if isinstance(season, str) and season == "auto":
        return (0,) * len(CYCLES)
    periods = season if isinstance(season, tuple) else (season,)
    if not periods or not all(type(period) is int and period >= 2 for period in periods):
        raise ParameterError(
            'season must be None, "auto", a whole number of ticks of at least 2, or a tuple '
            f"of such numbers, got {season!r}"
        )
    return periods


class LSTMForecaster(OnlineModel, Forecaster):
    """Online LSTM forecaster of a univariate series.

    Each value is compared with the forecast made before it, learned from, and carried on in the
    recurrent state: one compiled call with a fixed amount of work and memory. The network sees
    the last value, the last change, one difference for each season and any features, each in
    units of its running deviation, and forecasts the next change in such units. Its head starts
    at zero and its output is shrunk by how far it has proved right so far, so the forecaster
    begins as the last-value forecast and moves away from it only as far as that pays.

    Parameters
    ----------
    hidden_size
        Units of the LSTM layer, H.
    num_layers
        LSTM layers; 1 in this version.
    window
        Ticks that an update's gradient reaches back, h of BPTT(h; h') [1].
    stride
        Ticks between updates, h'; at most `window`.
    learning_rate
        Step size of the optimiser; 0 freezes the weights.
    optimizer
        "adam", "rmsprop" or "sgd" (with momentum 0.9).
    loss
        "huber" (threshold: one mean absolute change), "squared" or "absolute".
    clip_norm
        Largest global norm of a gradient.
    season
        Seasonal periods in ticks: a number, a tuple of numbers, None, or "auto", which infers a
        day and a week from the spacing of the first 64 timestamps where ticks come with them.
    seed
        Of the initial weights; None draws one.

    Notes
    -----
    A NaN, infinite or larger than 1e300 value is a missing one: nothing is learned from it and the
    state advances as if the last value had come again. A missing feature counts as its mean.
    Features enter lagged: those that arrive with tick t help to forecast t + 1. Threads may share
    a forecaster: they take turns.

    References
    ----------
    [1] Williams & Peng (1990). An efficient gradient-based algorithm for on-line training of
        recurrent network trajectories. Neural Computation 2.
    [2] Gers, Schmidhuber & Cummins (2000). Learning to forget: continual prediction with LSTM.
        Neural Computation 12.

    Examples
    --------
    >>> from streamlstm import LSTMForecaster
    >>> model = LSTMForecaster(hidden_size=8, season=4)
    >>> for t in range(400):
    ...     model.learn_one([10.0, 12.0, 11.0, 7.0][t % 4])
    >>> [round(y) for y in model.forecast(4)]
    [10, 12, 11, 7]

    """

    def __init__(
        self,
        hidden_size: int = 32,
        num_layers: int = 1,
        window: int = 20,
        stride: int = 1,
        learning_rate: float = 0.002,
        optimizer: str = "adam",
        loss: str = "huber",
        clip_norm: float = 1.0,
        season: int | tuple[int, ...] | str | None = "auto",
        seed: int | None = 0,
    ):
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.window = window
        self.stride = stride
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.loss = loss
        self.clip_norm = clip_norm
        self.season = season
        self.seed = seed
        settings = check_settings(
            hidden_size, num_layers, window, stride, learning_rate, optimizer, loss, clip_norm
        )
        periods = _check_season(season)
        self._build(settings, CLOCK.periods + len(periods), seed)
        self._network.add_inputs(
            ["level", "change", *(f"season_{n + 1}" for n in range(len(periods)))]
        )
        self._stats = np.zeros(series_size(self._network.settings, len(periods)))
        self._history = np.empty(1)
        # Timestamps to find seasons in; None once that is decided.
        self._first_times: list[int] | None = [] if season == "auto" else None
        self._set_periods(periods)

    @property
    def seasons_(self) -> tuple[int, ...]:
        """Seasonal periods in use, in ticks."""
        return tuple(int(m) for m in self._network.clock[CLOCK.periods :] if m > 0)

    def learn_one(self, y: float, x: dict[Hashable, Any] | None = None) -> None:
        """Learn from the next value.

        Parameters
        ----------
        y
            The value; NaN or None if it is missing.
        x
            Features that arrived with it, numbers by name. Names may appear, vanish and return.
            A date or time among them is the tick's timestamp.

        Raises
        ------
        InputError
            If the value or a feature is not a number. The model has not changed then.

        """
        value = as_number(y, "y")
        time = None if self._first_times is None else time_of(x)
        with self._lock:
            row = self._row(x or {})
            self._note_times(time)
            kernels.learn_one(value, row, *self._buffers)

    def step(self, y: float, x: Any = ()) -> float:
        """Learn from the next value and forecast the one after: for services without dicts.

        Parameters
        ----------
        y
            The value; NaN if it is missing.
        x
            (F,) features that arrived with it, whose columns are named 0, 1, ...

        Returns
        -------
        The forecast, as `forecast(1)` gives it.

        Raises
        ------
        InputError
            If the features are not those that the model knows.

        """
        value = as_number(y, "y")
        with self._lock:
            forecast = kernels.learn_one(value, self._array_row(x), *self._buffers)
        return 0.0 if np.isnan(forecast) else forecast

    def learn_many(
        self,
        ys: Any,
        features: Any = None,
        timestamps: Any = None,
        horizon: int = 1,
    ) -> np.ndarray:
        """Forecast, then learn from, each of T ticks: `forecast` and `learn_one` in one call.

        Parameters
        ----------
        ys
            (T,) values, NaN where missing.
        features
            A DataFrame or mapping with a (T,) column a feature, or a (T, F) array, whose columns
            are then named 0, 1, ...
        timestamps
            (T,) datetime64 or nanoseconds since 1970, ascending; used by `season="auto"`.
        horizon
            Ticks ahead to forecast each time, K.

        Returns
        -------
        (T, K) array: row t holds the forecasts, made before tick t, of ticks t, t + 1, ...
        NaN before the first value.

        Raises
        ------
        InputError
            If something is not a number or the lengths differ. The model has not changed then.

        """
        _check_horizon(horizon)
        values = as_vector(ys, "ys")
        table = as_table(features, values.size)
        times = None if timestamps is None else as_times(timestamps, values.size)
        forecasts = np.empty((values.size, horizon))
        with self._lock:
            self._add_features(list(table))
            matrix = self._columns.matrix(table, values.size)
            start = 0
            while start < values.size:
                end = values.size
                if times is not None and self._first_times is not None:
                    self._note_times(int(times[start]))
                    end = start + 1 if self._first_times is not None else end
                part = slice(start, end)
                kernels.learn_many(forecasts[part], values[part], matrix[part], *self._buffers)
                start = end
        return forecasts

    def forecast(
        self, horizon: int, xs: Sequence[dict[Hashable, Any]] | None = None
    ) -> list[float]:
        """Forecast the next values; the model stays as it is.

        Steps after the first are iterated: each takes the one before for the value that came.

        Parameters
        ----------
        horizon
            How many.
        xs
            Features that will arrive with these values, one dict each. Without them the last ones
            are taken to stay. Names that have never been learned are ignored.

        Returns
        -------
        `horizon` floats; zeros before the first value.

        Raises
        ------
        InputError
            If `xs` has another length than the horizon or holds something that is not a number.

        """
        _check_horizon(horizon)
        if xs is not None and len(xs) != horizon:
            raise InputError(f"xs has {len(xs)} entries, expected one for each of {horizon} steps")
        path = np.empty(horizon)
        with self._lock:
            rows = [self._columns.row(self._columns.numbers(x)) for x in xs or ()]
            future = np.array(rows).reshape(len(rows), len(self._columns.index))
            kernels.forecast_now(path, future, *self._buffers)
        return [0.0] * horizon if np.isnan(path[0]) else path.tolist()

    @property
    def _buffers(self) -> tuple[np.ndarray, ...]:
        return *self._network.buffers, self._stats, self._history

    def _add_features(self, names: list[Hashable]) -> None:
        new = self._columns.new_names(names)
        if not new:
            return
        network, seasons = self._network, self._network.clock.size - CLOCK.periods
        old = series_views(self._stats, self._history, network.clock, network.settings)
        network.add_inputs(new)
        self._columns.add(new)
        self._stats = np.zeros(series_size(network.settings, seasons))
        grown = series_views(self._stats, self._history, network.clock, network.settings)
        grow(grown.scaler, old.scaler)
        grown.track[:] = old.track
        grown.features[: old.features.size] = old.features
        grown.features[old.features.size :] = np.nan

    def _note_times(self, time: int | None) -> None:
        """Collect timestamps until there are enough to find the seasons."""
        if self._first_times is None:
            return
        if len(self._first_times) == SAMPLE:
            self._set_periods(seasons_of(np.array(self._first_times)))
            self._first_times = None
        elif time is not None:
            self._first_times.append(time)

    def _set_periods(self, periods: tuple[int, ...]) -> None:
        """Set the seasons and make room for a history that holds the longest."""
        clock = self._network.clock
        clock[CLOCK.periods :] = periods
        known = int(clock[CLOCK.values])
        newest = np.arange(max(known - self._history.size, 0), known)
        values = self._history[newest % self._history.size]
        room = SAMPLE if self._first_times is not None else 1
        self._history = np.full(max(periods, default=0) + room, np.nan)
        self._history[newest % self._history.size] = values


def _check_horizon(horizon: int) -> None:
    if not isinstance(horizon, (int, np.integer)) or isinstance(horizon, bool) or horizon < 1:
        raise ParameterError(f"horizon must be a whole number of at least 1, got {horizon!r}")
