"""`LSTMForecaster`: forecasts of one series, learned tick by tick.

This is the public class; most of the file is documentation for users. Its parts are in
`streamlstm.model`: `online` (network, features and lock), `series` (buffers) and `segments` (work
between ticks). The arithmetic of a tick is in `streamlstm.kernels.forecaster`.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import numpy as np

from .errors import InputError, ParameterError
from .kernels.forecaster import entries as kernels
from .kernels.forecaster.layout import series_views
from .kernels.layout import CLOCK
from .model.checks import (
    check_horizon,
    check_learning,
    check_settings,
    check_whole,
    did_you_mean,
    plain,
)
from .model.drift import DriftWatch
from .model.features import FloatArray, as_number, as_rows, as_table, as_times, as_vector, time_of
from .model.presets import EXPERTS, PRESETS, check_experts, check_season
from .model.quantiles import NO_BOUNDS, NO_PLACES, interval_places, quantile_places
from .model.river_parts import Forecaster
from .model.seasons import SeasonFinder
from .model.segments import ELAPSED, segments
from .model.series import SeriesModel

if TYPE_CHECKING:
    from pandas import DataFrame


class LSTMForecaster(SeriesModel, Forecaster):
    """Online LSTM forecaster of a univariate series.

    Learn from each value with `learn_one` as it arrives, and call `forecast` at any time. Learning
    compares the value with the earlier forecasts of it, updates the model and advances the
    recurrent state, in one compiled call with a fixed amount of work and memory.

    A committee makes the forecasts. Its members are the last value; the seasonal naive and two
    smoothed profiles of each season; four recursive least squares on lags, seasonal lags and
    profiles, robust to outliers; and an LSTM, whose inputs include the seasonal values, the
    profiles and the forecasts of the least squares. Each member forecasts how far the series moves
    from the last value in the next 1, 2, ... `horizon` ticks. A gate between 0 and 1 shrinks each
    of these changes: it is 0 at first and grows as the member proves right. Exponentiated gradient
    with fixed share [3] sets the weights of the members. So the forecaster starts as the last-value
    forecast and departs from it only where that has reduced the error.

    Parameters
    ----------
    hidden_size
        Units of the LSTM layer, H.
    num_layers
        Recurrent layers, each reading the outputs of the one below.
    cell
        "lstm", "lstm1997", "peephole", "gru" or "elstm": see `LSTMRegressor`.
    learning
        "tbptt" for any cell, "rtrl" for cell "elstm", "snap1" for cells "lstm" and "gru": see
        `LSTMRegressor`.
    window
        How many ticks the gradient of an update reaches back, h of BPTT(h; h') [1]. Replayed
        windows have this length, too.
    stride
        Ticks between updates, h'; at most `window`.
    learning_rate
        Step size of the optimiser; 0 freezes the weights.
    optimizer
        "adam", "rmsprop" or "sgd" (with momentum 0.9).
    loss
        "huber" (threshold: one mean absolute change), "squared" or "absolute"; None for that of
        the preset.
    clip_norm
        Largest global norm of a gradient.
    season
        Seasonal periods in ticks: a number, several numbers, or None. "auto" finds up to two: the
        day, week or year that the timestamps show or, if timestamps are missing or irregular,
        periods that repeat in the values. See Notes.
    experts
        Kinds of committee members: some of "last", "season", "rls" and "lstm". ("lstm",) is the
        network alone.
    preset
        "accurate" replays 16 windows of the past at every update, with absolute-error loss and
        weight decay 0.2: about 100 us a tick. "fast" learns from the newest window only, one tick
        ahead: about 20 us.
    replay
        Windows in an update, the newest one included: a multiple of 16, or 0 to learn without
        replay; None for that of the preset.
    weight_decay
        Decay of the weights; an update subtracts this share of them, times the learning rate. None
        for that of the preset.
    horizon
        How many ticks ahead the members are compared, K. Forecasts further ahead use the weights
        at K. A smaller horizon is cheaper.
    known_features
        Names of features whose values are known before their tick, such as holidays or a weather
        forecast. They help to forecast the tick that they belong to.
    drift
        Whether to watch for drift: every 32 ticks ADWIN [5] tests the newest errors. When they have
        grown, the learning rate doubles for 200 ticks and one of the least squares restarts.
    seed
        Seed of the initial weights and of the choice of replayed windows; None draws one.

    Notes
    -----
    Missing data. A value that is NaN, infinite or larger than 1e300 counts as missing: the model
    does not learn from it, and the state advances as if the last value had been repeated. A missing
    feature counts as its mean.

    Features. An ordinary feature is used with a lag: one that arrives with tick t helps to forecast
    tick t + 1. A known feature is used at its own tick.

    Seasons. With `season="auto"` the forecaster looks for seasons after 64, 128, ... 16,384 ticks.
    It drops a second season that makes the least squares worse. If ticks come around the clock, it
    counts absent rows as missing values, up to one season of them. If ticks are irregular, the time
    since the last tick becomes a feature.

    Threads may share a forecaster: they take turns.

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
        hidden_size: SupportsIndex = 32,
        num_layers: SupportsIndex = 1,
        cell: str = "lstm",
        learning: str = "tbptt",
        window: SupportsIndex = 20,
        stride: SupportsIndex = 1,
        learning_rate: float = 0.002,
        optimizer: str = "adam",
        loss: str | None = None,
        clip_norm: float = 1.0,
        season: SupportsIndex | Sequence[SupportsIndex] | str | None = "auto",
        experts: Sequence[str] = EXPERTS,
        preset: str = "accurate",
        replay: SupportsIndex | None = None,
        weight_decay: float | None = None,
        horizon: SupportsIndex = 24,
        known_features: Sequence[Hashable] | None = None,
        drift: bool = True,
        seed: SupportsIndex | None = 0,
    ):
        self.hidden_size = plain(hidden_size)
        self.num_layers = plain(num_layers)
        self.cell = cell
        self.learning = learning
        self.window = plain(window)
        self.stride = plain(stride)
        self.learning_rate = plain(learning_rate)
        self.optimizer = optimizer
        self.loss = loss
        self.clip_norm = plain(clip_norm)
        self.season = plain(season)
        self.experts = plain(experts)
        self.preset = preset
        self.replay = plain(replay)
        self.weight_decay = plain(weight_decay)
        self.horizon = plain(horizon)
        self.known_features = plain(known_features)
        self.drift = plain(drift)
        self.seed = plain(seed)
        if preset not in PRESETS:
            raise ParameterError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
        batched = (cell, learning, self.num_layers) == ("lstm", "tbptt", 1)
        chosen = PRESETS[preset if batched else "fast"]
        replayed = chosen.replay if self.replay is None else self.replay
        check_learning(cell, learning, self.stride, replayed)
        if replayed and not batched:
            raise ParameterError('replay needs one layer, cell="lstm" and learning="tbptt"')
        check_whole("horizon", self.horizon, 1)
        settings = check_settings(
            self.hidden_size,
            self.num_layers,
            self.window,
            self.stride,
            self.learning_rate,
            optimizer,
            chosen.loss if loss is None else loss,
            self.clip_norm,
            replayed,
            chosen.weight_decay if self.weight_decay is None else self.weight_decay,
            self.horizon if replayed else 1,
        )
        periods = check_season(self.season)
        check_experts(self.experts)
        if self.known_features is not None and not isinstance(self.known_features, tuple):
            raise ParameterError(
                f"known_features must be a list or tuple of names, got {known_features!r}"
            )
        self._build_series(settings, periods, self.seed)
        self._finder = SeasonFinder() if self.season == "auto" else None
        self._drift = DriftWatch() if self.drift else None
        self._set_periods(periods)

    @property
    def drift_events_(self) -> list[int]:
        """Ticks learned when each drift was found, one number per drift."""
        return [] if self._drift is None else list(self._drift.events)

    @property
    def experts_(self) -> dict[str, dict[str, float]]:
        """What each member of the committee contributes to the next forecast.

        For each member, by name: its `weight` in the mixture; its `gate`, the factor between 0 and
        1 that shrinks its output; and the `change` from the last value that it forecasts, after the
        gate, in units of the series. The members of a season appear once it has been found.
        """
        with self._lock:
            *_, clock, stats, errors, history, _ = self._forecast_buffers(())
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

    def learn_one(self, y: float | None, x: Mapping[Any, Any] | None = None) -> None:
        """Learn from the next value.

        Parameters
        ----------
        y
            The value; NaN or None if it is missing.
        x
            Features that arrived with it, as numbers by name. Names may appear, vanish and return.
            The first date or time among them is the tick's timestamp.

        Raises
        ------
        InputError
            If the value or a feature is not a number, or if features arrive for the first time and
            one of `known_features` is absent. The model has not changed then.

        """
        value = as_number(y, "y")
        time = None if self._finder is None else time_of(x)
        with self._lock:
            self._learn_row(value, self._row(x or {}), time)

    def step(self, y: float, x: Any = ()) -> float:
        """Learn from the next value and forecast the one after it, with features as an array.

        Parameters
        ----------
        y
            The value; NaN if it is missing.
        x
            (F,) features that arrived with it; their names are 0, 1, ...

        Returns
        -------
        The forecast of the next value; NaN before the first.

        Raises
        ------
        InputError
            If the value is not a number, or the features are not those that the model knows.

        """
        value = as_number(y, "y")
        with self._lock:
            self._learn_row(value, self._array_row(x), None)
        return self.forecast(1)[0]

    @overload
    def learn_many(
        self,
        ys: Any,
        features: Any = None,
        timestamps: Any = None,
        horizon: SupportsIndex = 1,
        interval: None = None,
    ) -> FloatArray: ...

    @overload
    def learn_many(
        self,
        ys: Any,
        features: Any = None,
        timestamps: Any = None,
        horizon: SupportsIndex = 1,
        *,
        interval: float,
    ) -> tuple[FloatArray, FloatArray]: ...

    @overload
    def learn_many(
        self,
        ys: Any,
        features: Any = None,
        timestamps: Any = None,
        horizon: SupportsIndex = 1,
        interval: float | None = None,
    ) -> FloatArray | tuple[FloatArray, FloatArray]: ...

    def learn_many(
        self,
        ys: Any,
        features: Any = None,
        timestamps: Any = None,
        horizon: SupportsIndex = 1,
        interval: float | None = None,
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Forecast, then learn from, each of T ticks: `forecast` and `learn_one` in one call.

        Parameters
        ----------
        ys
            (T,) values, NaN where missing.
        features
            A DataFrame or mapping with a (T,) column for each feature, or a (T, F) array, whose
            columns are then named 0, 1, ...
        timestamps
            (T,) datetime64 or nanoseconds since 1970; used by `season="auto"`.
        horizon
            How many ticks ahead to forecast before each tick, K.
        interval
            If given, also return intervals that hold this share of the values, such as 0.9: see
            `forecast_interval`.

        Returns
        -------
        (T, K) array: row t holds the forecasts of ticks t, t + 1, ..., made before tick t was
        learned; NaN before the first value. With `interval`, a pair: this array and a (T, 2, K)
        array of the lower and upper ends of the intervals.

        Raises
        ------
        InputError
            If something is not a number or the lengths differ. The model has not changed then.

        """
        horizon = check_horizon(horizon)
        values = as_vector(ys, "ys")
        table = as_table(features, values.size)
        times = None if timestamps is None else as_times(timestamps, values.size)
        forecasts = np.empty((values.size, horizon))
        bounds, places = NO_BOUNDS, NO_PLACES
        if interval is not None:
            bounds, places = np.empty((values.size, 2, horizon)), interval_places(interval)
        with self._lock:
            self._add_features(list(table))
            matrix = self._columns.matrix(table, values.size)
            self._learn(forecasts, bounds, places, values, matrix, times)
        return forecasts if interval is None else (forecasts, bounds)

    def forecast(
        self, horizon: SupportsIndex, xs: "Sequence[Mapping[Any, Any]] | DataFrame | None" = None
    ) -> list[float]:
        """Forecast the next values; the model does not change.

        Parameters
        ----------
        horizon
            How many values to forecast.
        xs
            Features that will arrive with these values: a dict for each of them, or a DataFrame
            with a row for each. Without `xs` the last features are assumed to stay. The least
            squares use all of `xs`, the network only the known features of the next tick.

        Returns
        -------
        `horizon` floats; NaN before the first value.

        Raises
        ------
        InputError
            If the length of `xs` is not the horizon, or `xs` holds a feature that was never learned
            or something that is not a number.

        """
        horizon = check_horizon(horizon)
        if xs is None and horizon <= self.horizon and not self._known.size:
            with self._lock:  # the forecasts are ready
                ticks = self._ticks
                if ticks == 0:
                    return [float("nan")] * horizon
                origin = ticks % self.horizon * self.horizon
                return self._intervals.forecasts[origin : origin + horizon].tolist()
        path = np.empty(horizon)
        self._fill_path(path, NO_BOUNDS.reshape(0, 0), NO_PLACES, xs)
        return path.tolist()

    def forecast_interval(
        self,
        horizon: SupportsIndex,
        interval: float = 0.9,
        xs: "Sequence[Mapping[Any, Any]] | DataFrame | None" = None,
    ) -> list[tuple[float, float]]:
        """Forecast intervals that hold a share `interval` of the values; the model does not change.

        The intervals come from quantiles of past errors, kept for each horizon. Every value
        corrects them, so that the share of misses stays right when the stream changes [4]. Beyond
        the model's own `horizon`, the last quantiles are widened by the square root of the ratio of
        the horizons.

        Parameters
        ----------
        horizon
            How many values to forecast.
        interval
            Share of the values that the intervals hold, 0 to 0.99. Half of the misses lie below,
            half above.
        xs
            Features that will arrive with these values, as for `forecast`.

        Returns
        -------
        `horizon` pairs (lower, upper); NaN before the first value.

        Raises
        ------
        ParameterError
            If `interval` is out of range.
        InputError
            As `forecast`.

        """
        return self._quantiles(horizon, interval_places(interval), xs)

    def forecast_quantiles(
        self,
        horizon: SupportsIndex,
        levels: Sequence[float] = (0.05, 0.5, 0.95),
        xs: "Sequence[Mapping[Any, Any]] | DataFrame | None" = None,
    ) -> list[tuple[float, ...]]:
        """Forecast quantiles of the next values; the model does not change.

        A value stays below its quantile with the probability of that level. Quantiles are
        calibrated like intervals: a 90% interval reaches from the quantile at 0.05 to that at 0.95.

        Parameters
        ----------
        horizon
            How many values to forecast.
        levels
            Probabilities from 0.005 to 0.995.
        xs
            Features that will arrive with these values, as for `forecast`.

        Returns
        -------
        `horizon` tuples with a value for each level; NaN before the first value.

        Raises
        ------
        ParameterError
            If a level is out of range.
        InputError
            As `forecast`.

        """
        return self._quantiles(horizon, quantile_places(levels), xs)

    def _quantiles(
        self, horizon: SupportsIndex, places: np.ndarray, xs: Any
    ) -> list[tuple[Any, ...]]:
        """Return `horizon` tuples of the quantiles at these places, (Q,)."""
        horizon = check_horizon(horizon)
        path, bounds = np.empty(horizon), np.empty((places.size, horizon))
        self._fill_path(path, bounds, places, xs)
        return list(zip(*bounds.tolist(), strict=True))

    def _learn_row(self, value: float, row: np.ndarray, time: int | None) -> None:
        """Learn from one tick: its value, features, (F,), and time in nanoseconds."""
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
        """Learn from T ticks, segment by segment; times: (T,) nanoseconds.

        Before each tick, its row of forecasts, (T, K), and bounds, (T, 2, K) or (0, 0, 0), is
        filled in.
        """
        for segment in segments(self, values, features, times):
            rows, ticks = segment.rows, segment.values.size
            self._kernels.learn_many(
                np.empty((ticks, 1)) if rows is None else forecasts[rows],
                NO_BOUNDS if rows is None else bounds[rows],
                places, segment.values, segment.features, self._known,
                self._work_for(forecasts.shape[1]),  # a review may have changed its size
                *self._buffers,
            )  # fmt: skip

    def _fill_path(self, path: np.ndarray, bounds: np.ndarray, places: np.ndarray, xs: Any) -> None:
        """Fill path, (h,), with forecasts of the next values, and bounds, (Q, h) or (0, 0)."""
        dicts = None if xs is None else as_rows(xs, path.size)
        with self._lock:
            rows = [self._future_row(x) for x in dicts or ()]
            buffers = self._forecast_buffers(rows)
            if self._known.size:  # each row also needs the known features of the tick after it
                rows = [
                    np.where(self._known > 0, later, row)
                    for row, later in zip(rows, rows[1:] + rows[-1:], strict=True)
                ]
            future = np.array(rows).reshape(len(rows), len(self._columns.index))
            work = self._work_for(path.size)
            self._kernels.forecast(path, bounds, places, future, work, *buffers)

    def _future_row(self, x: Mapping[Hashable, Any]) -> np.ndarray:
        """(F,) features of a future tick; an InputError for a name that was never learned."""
        numbers = self._columns.numbers(x)
        index = self._columns.index
        unknown = [name for name in numbers if name not in index]
        if unknown and self._ticks:
            hint = did_you_mean(unknown[0], index)
            raise InputError(f"feature {unknown[0]!r} of xs was never learned{hint}")
        return self._columns.row(numbers)

    def _forecast_buffers(self, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """The buffers, with every member's forecasts in them.

        Without known features these are the model's own buffers: the last tick left the forecasts
        there. With known features the forecasts depend on the next tick's features, so they are
        made in copies.

        rows: features of future ticks; only the first is used. Without rows the last features stay.
        """
        if not self._known.size or not self._ticks:
            return self._buffers
        buffers = tuple(buffer.copy() for buffer in self._buffers)
        row = rows[0] if rows else self._series.features
        self._kernels.prefetch_known(self._known, row, self._work, *buffers)
        return buffers

    def _add_features(self, names: list[Hashable]) -> None:
        """Add features; InputError if a known one is absent from the tick that adds a name."""
        new = self._columns.new_names(names)
        if self.known_features and new and ELAPSED not in new:
            absent = [name for name in self.known_features if name not in names]
            if absent:
                raise InputError(
                    f"feature {new[0]!r} is new, but {absent[0]!r} of known_features is absent "
                    f"from the same tick{did_you_mean(absent[0], new)}; NaN stands for missing"
                )
        super()._add_features(names)

    def _facts(self) -> dict[str, str]:
        shares = {name: expert["weight"] for name, expert in self.experts_.items()}
        largest = sorted(shares, key=lambda name: -shares[name])[:4]
        return {
            **super()._facts(),
            "ticks": f"{self._ticks:,}",
            "seasons": ", ".join(map(str, self.seasons_)) or "none",
            "experts": ", ".join(f"{name} {shares[name]:.2f}" for name in largest),
            "drift events": f"{len(self.drift_events_):,}",
        }
