"""`LSTMForecaster`: forecasts of one series, learned tick by tick."""

import numbers
import sys
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .errors import InputError, ParameterError
from .kernels.forecaster import entries as kernels
from .kernels.forecaster.history import append_history
from .kernels.forecaster.intervals import LEVELS, PRIOR
from .kernels.forecaster.layout import (
    CONTROL,
    DRIFT_INTERVAL,
    LAGS,
    PROFILES,
    RLS,
    Shape,
    intervals_size,
    intervals_views,
    rings_size,
    series_size,
    series_views,
    work_size,
)
from .kernels.forecaster.least_squares import rls_copy_to_control, rls_reset_covariance
from .kernels.layout import CLOCK, aligned_zeros, grow, replay_buffer_size, replay_buffer_views
from .model.drift import DriftWatch
from .model.features import as_number, as_table, as_times, as_vector, time_of
from .model.network import check_learning, check_settings
from .model.online import OnlineModel
from .model.river_parts import Forecaster
from .model.seasons import SLOTS, SeasonFinder

EXPERTS = ("last", "season", "rls", "lstm")
NO_BOUNDS, NO_PLACES = np.empty((0, 0, 0)), np.empty(0)
RLS_NAMES = ("rls", "rls_long", "rls_short", "rls_lags")
ELAPSED = "time since the last tick"  # a feature of irregular streams
ALERT_TICKS = 200  # of a raised learning rate after a drift
REPLAYED = 5000  # newest ticks that windows to replay are drawn from


class Preset(NamedTuple):
    """What `preset` decides where the parameters of these names are None."""

    replay: int
    weight_decay: float
    loss: str


PRESETS = {"accurate": Preset(16, 0.2, "absolute"), "fast": Preset(0, 0.0, "huber")}


class Part(NamedTuple):
    """Ticks to learn from in one go."""

    values: np.ndarray  # (T,)
    features: np.ndarray  # (T, F)
    rows: slice | None  # which of those that were handed over; None for ticks that never came


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
        return (0,) * SLOTS
    periods = season if isinstance(season, tuple) else (season,)
    if not periods or not all(type(period) is int and period >= 2 for period in periods):
        raise ParameterError(
            'season must be None, "auto", a whole number of ticks of at least 2, or a tuple '
            f"of such numbers, got {season!r}"
        )
    return periods


class LSTMForecaster(OnlineModel, Forecaster):
    """Online LSTM forecaster of a univariate series.

    Each value is compared with the forecasts made of it before, learned from, and carried on in the
    recurrent state: one compiled call with a fixed amount of work and memory.

    The forecasts are those of a committee: the last value; the seasonal naive and two smoothed
    profiles of each season; four recursive least squares on lags, seasonal lags and profiles, which
    outliers mislead little; and an LSTM, which sees what they see and what they say. Each member
    forecasts the next `horizon` ticks. For each of these horizons its change from the last value is
    shrunk by how far it has proved right so far, and exponentiated gradient with fixed share [3]
    weighs the members. So the forecaster begins as the last-value forecast and moves away from it
    only as far as that pays.

    Parameters
    ----------
    hidden_size
        Units of the LSTM layer, H.
    num_layers
        Recurrent layers, each reading the outputs of the one below.
    cell
        "lstm", "lstm1997", "peephole", "gru" or "elstm", see `LSTMRegressor`.
    learning
        "tbptt" or, for cell "elstm", "rtrl", for "lstm" and "gru", "snap1", see `LSTMRegressor`.
    window
        Ticks that an update's gradient reaches back: h of BPTT(h; h') [1], and the length of the
        windows that are replayed.
    stride
        Ticks between updates, h'; at most `window`.
    learning_rate
        Step size of the optimiser; 0 freezes the weights.
    optimizer
        "adam", "rmsprop" or "sgd" (with momentum 0.9).
    loss
        "huber" (threshold: one mean absolute change), "squared" or "absolute"; None leaves it to
        the preset.
    clip_norm
        Largest global norm of a gradient.
    season
        Seasonal periods in ticks: a number, a tuple of numbers, None, or "auto": up to two among
        the day, the week and the year as timestamps tell them, or, where these are missing or
        irregular, those with which the values repeat themselves. See Notes.
    experts
        Kinds of members, some of "last", "season", "rls" and "lstm": ("lstm",) is the network
        alone.
    preset
        "accurate" replays 16 windows of the past at every update, with the absolute error for a
        loss and weight decay 0.2: about 100 us a tick. "fast" learns from the newest window only,
        one tick ahead: about 20 us.
    replay
        Windows that an update replays, a multiple of 16, the newest among them; 0 for none; None
        leaves it to the preset.
    weight_decay
        Share of the weights, times the learning rate, that an update takes away; None leaves it to
        the preset.
    horizon
        Ticks ahead that the members are compared at, K; forecasts go on beyond it with the weights
        of the last one. A smaller one is cheaper.
    known_features
        Names of features that are known before their tick comes, such as holidays or a weather
        forecast: they help to forecast the tick that they come with.
    drift
        Whether to look for drift: every 32 ticks ADWIN [5] sees the newest errors. Where they have
        grown, the learning rate is doubled for 200 ticks and one of the least squares begins anew.
    seed
        Of the initial weights and of what is replayed; None draws one.

    Notes
    -----
    A NaN, infinite or larger than 1e300 value is a missing one: nothing is learned from it and the
    state advances as if the last value had come again. A missing feature counts as its mean.
    Features enter lagged, unless they are known: those that arrive with tick t help to forecast
    t + 1. With `season="auto"` the forecaster reviews what has come after 64, 128, ... 16,384
    ticks; a second season that the least squares are better off without is given up; where ticks
    come day and night, rows that are missing count as missing values, up to a season of them; where
    they come irregularly, the time since the last tick is a feature. Threads may share a
    forecaster: they take turns.

    References
    ----------
    [1] Williams & Peng (1990). An efficient gradient-based algorithm for on-line training of
        recurrent network trajectories. Neural Computation 2.
    [2] Gers, Schmidhuber & Cummins (2000). Learning to forget: continual prediction with LSTM.
        Neural Computation 12.
    [3] Herbster & Warmuth (1998). Tracking the best expert. Machine Learning 32.
    [4] Angelopoulos, Candes & Tibshirani (2023). Conformal PID control for time series prediction.
        NeurIPS.
    [5] Bifet & Gavalda (2007). Learning from time-changing data with adaptive windowing. SDM.

    Examples
    --------
    >>> from streamlstm import LSTMForecaster
    >>> model = LSTMForecaster(hidden_size=8, season=4)
    >>> for t in range(400):
    ...     model.learn_one([10.0, 12.0, 11.0, 7.0][t % 4])
    >>> [round(y) for y in model.forecast(4)]
    [10, 12, 11, 7]
    >>> lower, upper = model.forecast_interval(1)[0]
    >>> 9.9 < lower <= upper < 10.1
    True

    """

    _entries = staticmethod(kernels.entries)

    def __init__(
        self,
        hidden_size: int = 32,
        num_layers: int = 1,
        cell: str = "lstm",
        learning: str = "tbptt",
        window: int = 20,
        stride: int = 1,
        learning_rate: float = 0.002,
        optimizer: str = "adam",
        loss: str | None = None,
        clip_norm: float = 1.0,
        season: int | tuple[int, ...] | str | None = "auto",
        experts: tuple[str, ...] = EXPERTS,
        preset: str = "accurate",
        replay: int | None = None,
        weight_decay: float | None = None,
        horizon: int = 24,
        known_features: tuple[Hashable, ...] | None = None,
        drift: bool = True,
        seed: int | None = 0,
    ):
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.cell = cell
        self.learning = learning
        self.window = window
        self.stride = stride
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.loss = loss
        self.clip_norm = clip_norm
        self.season = season
        self.experts = experts
        self.preset = preset
        self.replay = replay
        self.weight_decay = weight_decay
        self.horizon = horizon
        self.known_features = known_features
        self.drift = drift
        self.seed = seed
        if preset not in PRESETS:
            raise ParameterError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
        batched = (cell, learning, num_layers) == ("lstm", "tbptt", 1)
        chosen = PRESETS[preset if batched else "fast"]
        replay = chosen.replay if replay is None else replay
        check_learning(cell, learning, stride, replay)
        if replay and not batched:
            raise ParameterError('replay needs one layer, cell="lstm" and learning="tbptt"')
        check_horizon(horizon)
        settings = check_settings(
            hidden_size,
            num_layers,
            window,
            stride,
            learning_rate,
            optimizer,
            chosen.loss if loss is None else loss,
            clip_norm,
            replay,
            chosen.weight_decay if weight_decay is None else weight_decay,
            horizon if replay else 1,
        )
        periods = _check_season(season)
        _check_experts(experts)
        if known_features is not None and not isinstance(known_features, tuple):
            raise ParameterError(f"known_features must be a tuple, got {known_features!r}")
        self._known = np.empty(0)
        self._build(settings, CLOCK.periods + len(periods), seed, cell, learning)
        self._network.clock[CLOCK.horizon] = horizon
        seasons = [f"season_{n + 1}" for n in range(len(periods))]
        self._network.add_inputs(
            [
                "level",
                "change",
                *seasons,
                *(f"{season}_profile_{p + 1}" for season in seasons for p in range(PROFILES)),
                *(f"rls_{r + 1}" for r in range(RLS)),
                *(f"{season}_{wave}" for season in seasons for wave in ("sine", "cosine")),
            ]
        )
        self._stats = np.zeros(series_size(self._shape))
        self._errors = np.zeros(intervals_size(horizon))
        self._intervals = intervals_views(self._errors, horizon)
        self._history = np.full(rings_size(self._shape), np.nan)
        self._past = self._new_past()
        self._work = np.zeros(work_size(self._shape, horizon))
        series = self._series
        series.features[:] = np.nan
        series.rls.deviations[:] = 1.0
        series.committee.errors[:] = 1.0
        tails = np.log(2 * np.minimum(LEVELS, 1 - LEVELS))  # of a Laplace distribution
        series.intervals.quantiles[:] = np.arcsinh(np.where(LEVELS < 0.5, tails, -tails))
        series.intervals.covariance[:] = PRIOR * np.tile(np.eye(3), (horizon, 1))
        for r in range(RLS + 1):
            rls_reset_covariance(series.rls, r)
        self._finder = SeasonFinder() if season == "auto" else None
        self._seasons_since = 0  # ticks
        self._drift = DriftWatch() if drift else None
        self._set_periods(periods)

    @property
    def seasons_(self) -> tuple[int, ...]:
        """Seasonal periods in use, in ticks."""
        return tuple(int(m) for m in self._network.clock[CLOCK.periods :] if m > 0)

    @property
    def drift_events_(self) -> list[int]:
        """After how many ticks the errors were found to have grown."""
        return [] if self._drift is None else list(self._drift.events)

    @property
    def experts_(self) -> dict[str, dict[str, float]]:
        """What each member of the committee contributes to the next forecast.

        By name: its `weight` in the mixture; its `gate`, how much of its output is believed; and
        the `change` from the last value that it forecasts, gate included, in units of the series.
        A season that has not been found forecasts no change.
        """
        with self._lock:
            *_, clock, stats, errors, history, _ = self._looking_out(())
            committee = series_views(stats, errors, history, clock, self._shape).committee
            origin = int(clock[CLOCK.values]) % self.horizon
            outputs = committee.outputs[origin * self.horizon]
            return {
                name: {
                    "weight": float(committee.weights[0, e]),
                    "gate": float(committee.gates[0, e]),
                    "change": float(committee.scales[origin] * committee.gates[0, e] * outputs[e]),
                }
                for e, name in enumerate(self._member_names())
                if committee.members[e]
            }

    def _member_names(self) -> list[str]:
        """Names of the members in the order of the committee."""
        seasons = [f"season_{n + 1}" for n in range(self._shape.seasons)]
        profiles = [f"{season}_profile_{p + 1}" for season in seasons for p in range(PROFILES)]
        return ["last", *seasons, *profiles, *RLS_NAMES, "lstm"]

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
        time = None if self._finder is None else time_of(x)
        with self._lock:
            self._learn_row(value, self._row(x or {}), time)

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
            self._learn_row(value, self._array_row(x), None)
        return self.forecast(1)[0]

    def learn_many(
        self,
        ys: Any,
        features: Any = None,
        timestamps: Any = None,
        horizon: int = 1,
        alpha: float | None = None,
    ) -> Any:
        """Forecast, then learn from, each of T ticks: `forecast` and `learn_one` in one call.

        Parameters
        ----------
        ys
            (T,) values, NaN where missing.
        features
            A DataFrame or mapping with a (T,) column a feature, or a (T, F) array, whose columns
            are then named 0, 1, ...
        timestamps
            (T,) datetime64 or nanoseconds since 1970; used by `season="auto"`.
        horizon
            Ticks ahead to forecast each time, K.
        alpha
            Share of misses of the intervals to return, if any: see `forecast_interval`.

        Returns
        -------
        (T, K) array: row t holds the forecasts, made before tick t, of ticks t, t + 1, ...
        NaN before the first value. With `alpha` a pair of it and of a (T, 2, K) array of the lower
        and upper ends of intervals.

        Raises
        ------
        InputError
            If something is not a number or the lengths differ. The model has not changed then.

        """
        check_horizon(horizon)
        values = as_vector(ys, "ys")
        table = as_table(features, values.size)
        times = None if timestamps is None else as_times(timestamps, values.size)
        forecasts = np.empty((values.size, horizon))
        bounds, places = NO_BOUNDS, NO_PLACES
        if alpha is not None:
            bounds, places = np.empty((values.size, 2, horizon)), interval_places(alpha)
        with self._lock:
            self._add_features(list(table))
            matrix = self._columns.matrix(table, values.size)
            self._learn(forecasts, bounds, places, values, matrix, times)
        return forecasts if alpha is None else (forecasts, bounds)

    def forecast(
        self, horizon: int, xs: Sequence[dict[Hashable, Any]] | None = None
    ) -> list[float]:
        """Forecast the next values; the model stays as it is.

        Parameters
        ----------
        horizon
            How many.
        xs
            Features that will arrive with these values, one dict each. Without them the last ones
            are taken to stay. Names that have never been learned are ignored. All of them count in
            the least squares' steps; the network looks no further than the features known of the
            next tick.

        Returns
        -------
        `horizon` floats; zeros before the first value.

        Raises
        ------
        InputError
            If `xs` has another length than the horizon or holds something that is not a number.

        """
        check_horizon(horizon)
        if xs is None and horizon <= self.horizon and not self._known.size:
            with self._lock:  # they are ready
                ticks = int(self._network.clock[CLOCK.values])
                origin = ticks % self.horizon * self.horizon
                return self._intervals.forecasts[origin : origin + horizon].tolist()
        path = np.empty(horizon)
        self._path(path, NO_BOUNDS.reshape(0, 0), NO_PLACES, xs)
        return [0.0] * horizon if np.isnan(path[0]) else path.tolist()

    def forecast_interval(
        self,
        horizon: int,
        alpha: float = 0.1,
        xs: Sequence[dict[Hashable, Any]] | None = None,
    ) -> list[tuple[float, float]]:
        """Intervals that the next values will lie in, but for a share `alpha` of them.

        Each horizon has quantiles of its own errors so far, corrected with every value that comes,
        so that the share of misses stays right when the stream changes [4]. Horizons beyond the
        one that the model was made for have the last one's, widened by the square root of the
        ratio. The model stays as it is.

        Parameters
        ----------
        horizon
            How many.
        alpha
            Share of misses, 0.01 to 1, half of them on either side; 0.1 is a 90% interval.
        xs
            Features that will arrive with these values, as for `forecast`.

        Returns
        -------
        `horizon` pairs (lower, upper); zeros before the first value.

        Raises
        ------
        ParameterError
            If `alpha` is out of range.
        InputError
            As `forecast`.

        """
        return self._quantiles(horizon, interval_places(alpha), xs)

    def forecast_quantiles(
        self,
        horizon: int,
        levels: Sequence[float] = (0.05, 0.5, 0.95),
        xs: Sequence[dict[Hashable, Any]] | None = None,
    ) -> list[tuple[float, ...]]:
        """Values that the next ones will lie below with these probabilities.

        Calibrated like `forecast_interval`, whose ends are the quantiles at `alpha / 2` and
        `1 - alpha / 2`. The model stays as it is.

        Parameters
        ----------
        horizon
            How many values ahead.
        levels
            Probabilities from 0.005 to 0.995.
        xs
            Features that will arrive with these values, as for `forecast`.

        Returns
        -------
        `horizon` tuples of a value a level; zeros before the first value.

        Raises
        ------
        ParameterError
            If a level is out of range.
        InputError
            As `forecast`.

        """
        return self._quantiles(horizon, _places_of(levels), xs)

    def _quantiles(self, horizon: int, places: np.ndarray, xs: Any) -> list[tuple[Any, ...]]:
        """`horizon` tuples of the quantiles at these places, (Q,)."""
        check_horizon(horizon)
        path, bounds = np.empty(horizon), np.empty((places.size, horizon))
        self._path(path, bounds, places, xs)
        if np.isnan(path[0]):
            return [(0.0,) * places.size] * horizon
        return list(zip(*bounds.tolist(), strict=True))

    def _learn_row(self, value: float, row: np.ndarray, time: int | None) -> None:
        """Learn from the value and the features, (F,), of one tick."""
        times = None if time is None else np.array([time])
        forecasts = np.empty((1, 1))
        self._learn(forecasts, NO_BOUNDS, NO_PLACES, np.array([value]), row[None], times)

    def _learn(
        self,
        forecasts: np.ndarray,
        bounds: np.ndarray,
        places: np.ndarray,
        values: np.ndarray,
        features: np.ndarray,
        times: np.ndarray | None,
    ) -> None:
        """Learn from T ticks: see `kernels.forecaster.learn`; times: (T,) nanoseconds."""
        for part in self._parts(values, features, times):
            rows, ticks = part.rows, part.values.size
            self._kernels.learn_many(
                np.empty((ticks, 1)) if rows is None else forecasts[rows],
                NO_BOUNDS if rows is None else bounds[rows],
                places, part.values, part.features, self._known,
                self._work_for(forecasts.shape[1]),  # a review may have changed its size
                *self._buffers,
            )  # fmt: skip

    def _parts(
        self, values: np.ndarray, features: np.ndarray, times: np.ndarray | None
    ) -> Iterator[Part]:
        """T ticks in parts, between which there is something to do: what the next one waits for."""
        start, finder = 0, self._finder
        while start < values.size:
            if finder is not None and times is not None:
                yield from self._gap(finder, int(times[start]))
            stop = min(values.size, start + self._due())
            if finder is not None and times is not None:
                stop = start + finder.until_gap(times[start:stop])
            part = slice(start, stop)
            rows = features[part]
            if rows.shape[1] < len(self._columns.index):  # a column of our own has come
                more = len(self._columns.index) - rows.shape[1]
                rows = np.hstack([rows, np.full((stop - start, more), np.nan)])
            if finder is not None and finder.irregular and times is not None:
                elapsed = self._columns.index[ELAPSED]
                rows[:, elapsed] = np.log1p(finder.seconds_before(times[part]))
            yield Part(values[part], rows, part)
            self._look_after(None if times is None else times[part])
            start = stop

    def _gap(self, finder: SeasonFinder, time: int) -> Iterator[Part]:
        """Ticks that should have come before the one of this time, as missing ones.

        Only where ticks come day and night, and for gaps of up to one season.
        """
        times = finder.missing_before(time, max(self.seasons_, default=0))
        while times.size:
            count = min(times.size, self._due())
            nothing = np.full((count, len(self._columns.index)), np.nan)
            yield Part(np.full(count, np.nan), nothing, None)
            self._look_after(times[:count])
            times = times[count:]

    def _due(self) -> int:
        """How many ticks to learn before there is something to do between ticks."""
        ticks = int(self._network.clock[CLOCK.values])
        due = sys.maxsize if self._finder is None else self._finder.due(ticks)
        return due if self._drift is None else min(due, self._drift.due(ticks))

    def _look_after(self, times: np.ndarray | None) -> None:
        """Do what is due after ticks that came at these times: look for drift and for seasons."""
        ticks = int(self._network.clock[CLOCK.values])
        watch = self._drift if ticks and ticks % DRIFT_INTERVAL == 0 else None
        if watch is not None and watch.look(self._intervals.recent, ticks):
            self._network.clock[CLOCK.alert] = ALERT_TICKS
            rls_reset_covariance(self._series.rls, RLS_NAMES.index("rls_short"))
        if self._finder is not None:
            due = self._finder.due(ticks) == 0
            self._finder.note(times, ticks)
            if due:
                self._review(self._finder, ticks)

    def _review(self, finder: SeasonFinder, ticks: int) -> None:
        """Look for seasons in the ticks that have come so far."""
        series = self._series
        for second in self.seasons_[1:]:
            tried = ticks - max(self._seasons_since, second)
            errors = series.rls.errors
            finder.try_second(second, tried, float(errors[0]), float(errors[CONTROL]))
        values = series.history[0]
        newest = np.arange(max(ticks - values.size, 0), ticks)
        periods = finder.review(values[newest % values.size])
        if finder.irregular:
            self._add_features([ELAPSED])
        if tuple(self._network.clock[CLOCK.periods :]) != periods:
            self._set_periods(periods)

    def _path(self, path: np.ndarray, bounds: np.ndarray, places: np.ndarray, xs: Any) -> None:
        """Fill path, (h,), with forecasts of the next values, and bounds, (Q, h) or (0, 0)."""
        if xs is not None and len(xs) != path.size:
            raise InputError(
                f"xs has {len(xs)} entries, expected one for each of {path.size} steps"
            )
        with self._lock:
            rows = [self._columns.row(self._columns.numbers(x)) for x in xs or ()]
            buffers = self._looking_out(rows)
            if self._known.size:  # a row holds what is known when its tick has come
                rows = [
                    np.where(self._known > 0, later, row)
                    for row, later in zip(rows, rows[1:] + rows[-1:], strict=True)
                ]
            future = np.array(rows).reshape(len(rows), len(self._columns.index))
            work = self._work_for(path.size)
            self._kernels.forecast(path, bounds, places, future, work, *buffers)

    def _looking_out(self, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """The buffers once the members have looked out, which features known in advance delay.

        rows: features of the ticks to come, of which the first counts; if none, the last stay.
        """
        if not self._known.size or not self._network.clock[CLOCK.values]:
            return self._buffers
        buffers = tuple(buffer.copy() for buffer in self._buffers)
        row = rows[0] if rows else self._series.features
        self._kernels.prefetch_known(self._known, row, self._work, *buffers)
        return buffers

    def _work_for(self, horizon: int) -> np.ndarray:
        """Work space for forecasts so far ahead."""
        if horizon <= self.horizon:
            return self._work
        return np.zeros(work_size(self._shape, horizon))

    def _work_in(self, other: "LSTMForecaster") -> None:
        """Share the work space of another, if it is as large; not to be used at the same time."""
        if self._work.size == other._work.size and self._network.work_in(other._network):
            self._work = other._work

    def _state(self) -> dict[str, Any]:
        rebuilt = ("_work", "_intervals")
        return {name: value for name, value in super()._state().items() if name not in rebuilt}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        sizes = series_size(self._shape), intervals_size(self.horizon)
        if (self._stats.size, self._errors.size) != sizes or (
            self._history.size % rings_size(self._shape)
        ):
            raise ValueError("the buffers are not those of this version")
        self._past = self._new_past()
        self._past[:] = state["_past"]
        self._work = np.zeros(work_size(self._shape, self.horizon))
        self._intervals = intervals_views(self._errors, self.horizon)

    @property
    def _shape(self) -> Shape:
        seasons = self._network.clock.size - CLOCK.periods
        return Shape(seasons, len(self._columns.index), self.horizon)

    def _new_past(self) -> np.ndarray:
        """Room for the ticks to replay; none without replay."""
        settings = self._network.settings
        ticks = max(REPLAYED, 3 * self.window, 2 * self.horizon) if settings.replay else 0
        return aligned_zeros(replay_buffer_size(ticks, settings))

    @property
    def _series(self) -> Any:
        """Views of the series, `SeriesViews`."""
        clock = self._network.clock
        return series_views(self._stats, self._errors, self._history, clock, self._shape)

    @property
    def _buffers(self) -> tuple[np.ndarray, ...]:
        return *self._network.buffers, self._stats, self._errors, self._history, self._past

    def _add_features(self, names: list[Hashable]) -> None:
        new = self._columns.new_names(names)
        if not new:
            return
        old, old_past = self._series, replay_buffer_views(self._past, self._network.settings)
        self._network.add_inputs(new)
        self._columns.add(new)
        if self.known_features:
            self._known = np.array([float(x in self.known_features) for x in self._columns.index])
        self._stats = np.zeros(series_size(self._shape))
        self._past = self._new_past()
        self._work = np.zeros(work_size(self._shape, self.horizon))
        grown, size = self._series, old.rls.regressors.size
        for larger, smaller in [
            (grown.scaler, old.scaler),
            (grown.committee, old.committee),
            (replay_buffer_views(self._past, self._network.settings), old_past),
        ]:
            grow(larger, smaller)
        grown.clipped[:] = old.clipped
        grown.features[: old.features.size] = old.features
        grown.features[old.features.size :] = np.nan
        grown.rls.deviations[:] = old.rls.deviations
        grown.rls.errors[:] = old.rls.errors
        for r in range(RLS + 1):
            grown.rls.coefficients[r, :size] = old.rls.coefficients[r]
            rls_reset_covariance(grown.rls, r)
            more, less = grown.rls.regressors.size, size
            grown.rls.covariance[r * more : r * more + less, :less] = old.rls.covariance[
                r * less : (r + 1) * less
            ]
        grown.rls.regressors[:size] = old.rls.regressors

    def _set_periods(self, periods: tuple[int, ...]) -> None:
        """Set the seasons, with a history that holds the longest and profiles made from it.

        Members of new seasons join the committee with equal shares; least squares take what they
        know for a first guess, as when the lags of a season become known.
        """
        clock = self._network.clock
        before = tuple(clock[CLOCK.periods :])
        clock[CLOCK.periods :] = periods
        known = int(clock[CLOCK.values])
        rings = rings_size(self._shape)
        size = self._history.size // rings
        newest = range(max(known - size, 0), known)
        values = [float(self._history[tick % size]) for tick in newest]
        finder = self._finder
        size = max([LAGS, *periods, 0 if finder is None else finder.room()]) + 2
        self._history = np.full(rings * size, np.nan)
        series = self._series
        for tick, value in zip(newest, values, strict=True):
            clock[CLOCK.values] = tick
            append_history(clock, series, value, value, np.nan)
        clock[CLOCK.values] = known
        if any(new not in (0, old) for new, old in zip(periods, before, strict=True)):
            for r in {*range(RLS + 1)} - {RLS - 1}:
                rls_reset_covariance(series.rls, r)
            rls_copy_to_control(series.rls)
            self._seasons_since = known
        committee, repeats = series.committee, [1 if period else 0 for period in periods]
        season = [*repeats, *np.repeat(repeats, PROFILES)]
        kinds = ["last", *["season"] * len(season), *["rls"] * RLS, "lstm"]
        present = np.array([1, *season, *[1] * RLS, 1])
        members = np.array([kind in self.experts for kind in kinds]) * present
        members[0] = max(members[0], members.sum() == 0)  # while no season has been found
        joining = (members > 0) & (committee.members == 0)
        committee.members[:] = members
        committee.weights[:] = np.where(joining, 1 / members.sum(), committee.weights * members)
        committee.weights[:] /= committee.weights.sum(axis=1, keepdims=True)


def interval_places(alpha: float) -> np.ndarray:
    """(2,) places of the two ends of an interval among LEVELS."""
    if not isinstance(alpha, numbers.Real) or not 2 * LEVELS[0] <= alpha <= 1:
        raise ParameterError(f"alpha must be from {2 * LEVELS[0]:g} to 1, got {alpha!r}")
    return _places_of((alpha / 2, 1 - alpha / 2))


def _places_of(levels: Any) -> np.ndarray:
    """(Q,) places of probabilities among LEVELS, fractions between two of them, by log-odds."""
    sought = as_vector(levels, "levels")
    if not sought.size or not np.all((sought >= LEVELS[0]) & (sought <= LEVELS[-1])):
        raise ParameterError(f"levels must be from {LEVELS[0]:g} to {LEVELS[-1]:g}, got {levels!r}")
    odds = np.log(LEVELS / (1 - LEVELS))
    return np.interp(np.log(sought / (1 - sought)), odds, np.arange(LEVELS.size))


def check_horizon(horizon: int) -> None:
    """ParameterError unless it is a number of ticks."""
    if not isinstance(horizon, (int, np.integer)) or isinstance(horizon, bool) or horizon < 1:
        raise ParameterError(f"horizon must be a whole number of at least 1, got {horizon!r}")
