"""The buffers of one series, which grow when features and seasons are added."""

from collections.abc import Hashable
from typing import Any

import numpy as np

from ..kernels.forecaster.history import append_history
from ..kernels.forecaster.intervals import LEVELS, PRIOR
from ..kernels.forecaster.layout import (
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
from ..kernels.forecaster.least_squares import rls_copy_to_control, rls_reset_covariance
from ..kernels.layout import (
    CLOCK,
    Settings,
    aligned_zeros,
    grow,
    replay_buffer_size,
    replay_buffer_views,
)
from .drift import DriftWatch
from .online import OnlineModel
from .seasons import SeasonFinder

RLS_NAMES = ("rls", "rls_long", "rls_short", "rls_lags")
REPLAYED = 5000  # replayed windows are drawn from this many newest ticks


class SeriesModel(OnlineModel):
    """A network and the buffers of the series that it forecasts.

    The buffers besides the network's are `_stats` (scaler, least squares, committee), `_errors`
    (intervals), `_history` (values and seasonal profiles), `_past` (ticks to replay) and `_work`
    (work space, which is not part of the state).
    """

    window: int
    horizon: int
    experts: tuple[str, ...]
    known_features: tuple[Hashable, ...] | None
    _finder: SeasonFinder | None  # of `season="auto"`
    _drift: DriftWatch | None

    def _build_series(self, settings: Settings, periods: tuple[int, ...], seed: int | None) -> None:
        """Make the network and the buffers for seasons of these periods, 0 where unknown."""
        self._known = np.empty(0)  # per feature: 1 if it is known in advance, else 0
        self._build(settings, CLOCK.periods + len(periods), seed, self.cell, self.learning)
        self._network.clock[CLOCK.horizon] = self.horizon
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
        self._errors = np.zeros(intervals_size(self.horizon))
        self._intervals = intervals_views(self._errors, self.horizon)
        self._history = np.full(rings_size(self._shape), np.nan)
        self._past = self._new_past()
        self._work = np.zeros(work_size(self._shape, self.horizon))
        series = self._series
        series.features[:] = np.nan
        series.rls.deviations[:] = 1.0
        series.committee.errors[:] = 1.0
        tails = np.log(2 * np.minimum(LEVELS, 1 - LEVELS))  # of a Laplace distribution
        series.intervals.quantiles[:] = np.arcsinh(np.where(LEVELS < 0.5, tails, -tails))
        series.intervals.covariance[:] = PRIOR * np.tile(np.eye(3), (self.horizon, 1))
        for r in range(RLS + 1):
            rls_reset_covariance(series.rls, r)
        self._seasons_since = 0  # ticks

    @property
    def seasons_(self) -> tuple[int, ...]:
        """Seasonal periods in use, in ticks."""
        return tuple(int(m) for m in self._network.clock[CLOCK.periods :] if m > 0)

    @property
    def _ticks(self) -> int:
        """Ticks learned since the first value."""
        return int(self._network.clock[CLOCK.values])

    @property
    def _shape(self) -> Shape:
        seasons = self._network.clock.size - CLOCK.periods
        return Shape(seasons, len(self._columns.index), self.horizon)

    @property
    def _series(self) -> Any:
        """Views of the buffers, `SeriesViews`."""
        clock = self._network.clock
        return series_views(self._stats, self._errors, self._history, clock, self._shape)

    @property
    def _buffers(self) -> tuple[np.ndarray, ...]:
        return *self._network.buffers, self._stats, self._errors, self._history, self._past

    def _new_past(self) -> np.ndarray:
        """An empty buffer for the ticks to replay; of size 0 without replay."""
        settings = self._network.settings
        ticks = max(REPLAYED, 3 * self.window, 2 * self.horizon) if settings.replay else 0
        return aligned_zeros(replay_buffer_size(ticks, settings))

    def _work_for(self, horizon: int) -> np.ndarray:
        """Work space for forecasts this many ticks ahead."""
        if horizon <= self.horizon:
            return self._work
        return np.zeros(work_size(self._shape, horizon))

    def _share_work_space(self, other: "SeriesModel") -> None:
        """Use the work space of another model if the sizes match.

        The two models must then not compute at the same time.
        """
        if self._work.size == other._work.size and self._network.share_scratch(other._network):
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
            raise ValueError("another version of streamlstm made these buffers")
        self._past = self._new_past()
        self._past[:] = state["_past"]
        self._work = np.zeros(work_size(self._shape, self.horizon))
        self._intervals = intervals_views(self._errors, self.horizon)

    def _add_features(self, names: list[Hashable]) -> None:
        """Add the features that are new: move everything learned so far into larger buffers."""
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
        """Set the seasons, and resize the history to hold the longest of them.

        The profiles are computed again from the history. The members of new seasons join the
        committee with equal weights. The least squares that use seasonal lags restart from their
        coefficients so far.
        """
        clock = self._network.clock
        before = tuple(clock[CLOCK.periods :])
        clock[CLOCK.periods :] = periods
        ticks = int(clock[CLOCK.values])
        rings = rings_size(self._shape)
        size = self._history.size // rings
        newest = range(max(ticks - size, 0), ticks)
        values = [float(self._history[tick % size]) for tick in newest]
        reviewed = 0 if self._finder is None else self._finder.values_needed()
        size = max([LAGS, *periods, reviewed]) + 2
        self._history = np.full(rings * size, np.nan)
        series = self._series
        for tick, value in zip(newest, values, strict=True):
            clock[CLOCK.values] = tick
            append_history(clock, series, value, value, np.nan)
        clock[CLOCK.values] = ticks
        if any(new not in (0, old) for new, old in zip(periods, before, strict=True)):
            for r in {*range(RLS + 1)} - {RLS - 1}:
                rls_reset_covariance(series.rls, r)
            rls_copy_to_control(series.rls)
            self._seasons_since = ticks
        self._admit_members(periods)

    def _admit_members(self, periods: tuple[int, ...]) -> None:
        """Set the members of the committee: those of `experts` whose season, if any, is known."""
        committee, found = self._series.committee, [1 if period else 0 for period in periods]
        season = [*found, *np.repeat(found, PROFILES)]
        kinds = ["last", *["season"] * len(season), *["rls"] * RLS, "lstm"]
        available = np.array([1, *season, *[1] * RLS, 1])
        members = np.array([kind in self.experts for kind in kinds]) * available
        members[0] = max(members[0], members.sum() == 0)  # while no season has been found
        joining = (members > 0) & (committee.members == 0)
        committee.members[:] = members
        committee.weights[:] = np.where(joining, 1 / members.sum(), committee.weights * members)
        committee.weights[:] /= committee.weights.sum(axis=1, keepdims=True)

    def _member_names(self) -> list[str]:
        """Names of the members, in the order of the committee's arrays."""
        seasons = [f"season_{n + 1}" for n in range(self._shape.seasons)]
        profiles = [f"{season}_profile_{p + 1}" for season in seasons for p in range(PROFILES)]
        return ["last", *seasons, *profiles, *RLS_NAMES, "lstm"]
