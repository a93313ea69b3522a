"""`LSTMForecaster`: forecasts of one series, learned tick by tick."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from .errors import InputError, ParameterError
from .features import as_number, as_table, as_times, as_vector, time_of
from .kernels import forecaster as kernels
from .kernels.experts import gate, rls_reopen
from .layout import CLOCK, LAGS, RLS, grow, series_size, series_views
from .model import OnlineModel
from .network import check_settings
from .river_base import Forecaster
from .seasons import CYCLES, SAMPLE, seasons_of

EXPERTS = ("last", "season", "rls", "lstm")


def _check_experts(experts: Any) -> None:
    if not isinstance(experts, tuple) or not experts or not set(experts) <= set(EXPERTS):
        raise ParameterError(
            f"experts must be a tuple of some of {', '.join(EXPERTS)}, got {experts!r}"
        )


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
    recurrent state: one compiled call with a fixed amount of work and memory.

    The forecast is that of a committee: the last value, the seasonal naive of each season, three
    recursive least squares on lags and seasonal lags, and an LSTM. The network sees the last
    value, the last change, one difference for each season and any features, each in units of its
    running deviation, and forecasts the next change in such units; its head starts at zero. Each
    member's change from the last value is shrunk by how far it has proved right so far, and
    exponentiated gradient with fixed share [3] weighs them. So the forecaster begins as the
    last-value forecast and moves away from it only as far as that pays.

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
    experts
        Kinds of members, some of "last", "season", "rls" and "lstm": ("lstm",) is the network
        alone.
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
    [3] Herbster & Warmuth (1998). Tracking the best expert. Machine Learning 32.

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
        experts: tuple[str, ...] = EXPERTS,
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
        self.experts = experts
        self.seed = seed
        settings = check_settings(
            hidden_size, num_layers, window, stride, learning_rate, optimizer, loss, clip_norm
        )
        periods = _check_season(season)
        _check_experts(experts)
        self._build(settings, CLOCK.periods + len(periods), seed)
        self._network.add_inputs(
            ["level", "change", *(f"season_{n + 1}" for n in range(len(periods)))]
        )
        self._stats = np.zeros(series_size(self._network.settings, len(periods)))
        self._history = np.empty(1)
        committee = self._series.experts
        kinds = ["last", *["season"] * len(periods), *["rls"] * RLS, "lstm"]
        committee.members[:] = [kind in experts for kind in kinds]
        committee.weights[:] = committee.members / committee.members.sum()
        for r in range(RLS):
            rls_reopen(committee, r)
        # Timestamps to find seasons in; None once that is decided.
        self._first_times: list[int] | None = [] if season == "auto" else None
        self._set_periods(periods)

    @property
    def seasons_(self) -> tuple[int, ...]:
        """Seasonal periods in use, in ticks."""
        return tuple(int(m) for m in self._network.clock[CLOCK.periods :] if m > 0)

    @property
    def experts_(self) -> dict[str, dict[str, float]]:
        """What each member of the committee contributes to the next forecast.

        By name: its `weight` in the mixture; its `gate`, how much of its output is believed; and
        the `change` from the last value that it forecasts, gate included, in units of the series.
        A season that has not been found forecasts no change.
        """
        with self._lock:
            series = self._series
            committee, scale = series.experts, float(series.scaler.spread[1])
            seasons = [f"season_{n + 1}" for n in range(series.periods.size)]
            names = ["last", *seasons, "rls", "rls_forgetting", "rls_lags", "lstm"]
            return {
                name: {
                    "weight": float(committee.weights[e]),
                    "gate": gate(committee, e),
                    "change": scale * gate(committee, e) * float(committee.outputs[e]),
                }
                for e, name in enumerate(names)
                if committee.members[e]
            }

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
            kernels.learn_one(value, row, *self._buffers)
            self._note_time(time)

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
                time = None if times is None or self._first_times is None else int(times[start])
                part = slice(start, values.size if time is None else start + 1)
                kernels.learn_many(forecasts[part], values[part], matrix[part], *self._buffers)
                self._note_time(time)
                start = part.stop
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
    def _series(self) -> Any:
        """Views of the series, `layout.SeriesViews`."""
        network = self._network
        return series_views(self._stats, self._history, network.clock, network.settings)

    @property
    def _buffers(self) -> tuple[np.ndarray, ...]:
        return *self._network.buffers, self._stats, self._history

    def _add_features(self, names: list[Hashable]) -> None:
        new = self._columns.new_names(names)
        if not new:
            return
        old = self._series
        self._network.add_inputs(new)
        self._columns.add(new)
        self._stats = np.zeros(series_size(self._network.settings, old.periods.size))
        grown = self._series
        for larger, smaller in [(grown.scaler, old.scaler), (grown.experts, old.experts)]:
            grow(larger, smaller)
        grown.last[:] = old.last
        grown.features[: old.features.size] = old.features
        grown.features[old.features.size :] = np.nan

    def _note_time(self, time: int | None) -> None:
        """Collect the timestamps of ticks learned until there are enough to find the seasons."""
        if self._first_times is None or time is None:
            return
        self._first_times.append(time)
        if len(self._first_times) == SAMPLE:
            periods = seasons_of(np.array(self._first_times))
            self._first_times = None
            self._set_periods(periods)
            for r in range(RLS - 1):  # those that use seasons, as when their lags become known
                rls_reopen(self._series.experts, r)
            # Forecasting ahead brings the members' outputs for the next tick up to date.
            nothing = np.empty((0, len(self._columns.index)))
            kernels.forecast_now(np.empty(2), nothing, *self._buffers)

    def _set_periods(self, periods: tuple[int, ...]) -> None:
        """Set the seasons and make room for a history that holds the longest."""
        clock = self._network.clock
        clock[CLOCK.periods :] = periods
        known = int(clock[CLOCK.values])
        newest = np.arange(max(known - self._history.size, 0), known)
        values = self._history[newest % self._history.size]
        room = SAMPLE if self._first_times is not None else 1
        self._history = np.full(max([LAGS, *periods]) + room, np.nan)
        self._history[newest % self._history.size] = values


def _check_horizon(horizon: int) -> None:
    if not isinstance(horizon, (int, np.integer)) or isinstance(horizon, bool) or horizon < 1:
        raise ParameterError(f"horizon must be a whole number of at least 1, got {horizon!r}")
