"""Split ticks into segments, and do the work between segments that is done in Python.

A kernel learns a whole segment in one call. Between segments a forecaster looks for drift and for
seasons, and fills the gaps that its timestamps show.
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..kernels.forecaster.layout import CONTROL, DRIFT_INTERVAL
from ..kernels.forecaster.least_squares import rls_reset_covariance
from ..kernels.layout import CLOCK
from .seasons import SeasonFinder
from .series import RLS_NAMES, SeriesModel

ELAPSED = "time since the last tick"  # a feature of irregular streams
ALERT_TICKS = 200  # how long the learning rate is raised after a drift


class Segment(NamedTuple):
    """Ticks to learn in one call."""

    values: np.ndarray  # (T,)
    features: np.ndarray  # (T, F)
    rows: slice | None  # their place in the caller's arrays; None for ticks that fill a gap


def segments(
    model: SeriesModel, values: np.ndarray, features: np.ndarray, times: np.ndarray | None
) -> Iterator[Segment]:
    """Split T ticks into segments; learn each segment before asking for the next.

    values: (T,); features: (T, F); times: (T,) nanoseconds, or None.
    """
    start, finder = 0, model._finder
    while start < values.size:
        if finder is not None and times is not None:
            yield from _missing_ticks(model, finder, int(times[start]))
        stop = min(values.size, start + ticks_to_review(model))
        if finder is not None and times is not None:
            stop = start + finder.until_gap(times[start:stop])
        place = slice(start, stop)
        rows = features[place]
        if rows.shape[1] < len(model._columns.index):  # a review has added ELAPSED
            more = len(model._columns.index) - rows.shape[1]
            rows = np.hstack([rows, np.full((stop - start, more), np.nan)])
        if finder is not None and finder.irregular and times is not None:
            elapsed = model._columns.index[ELAPSED]
            rows[:, elapsed] = np.log1p(finder.seconds_since_last(times[place]))
        yield Segment(values[place], rows, place)
        review(model, None if times is None else times[place])
        start = stop


def ticks_to_review(model: SeriesModel) -> int:
    """How many ticks to learn before the next review."""
    ticks = model._ticks
    due = sys.maxsize if model._finder is None else model._finder.due(ticks)
    return due if model._drift is None else min(due, model._drift.due(ticks))


def review(model: SeriesModel, times: np.ndarray | None) -> None:
    """Look for drift and for seasons if they are due; times: of the segment just learned."""
    ticks = model._ticks
    watch = model._drift if ticks and ticks % DRIFT_INTERVAL == 0 else None
    if watch is not None and watch.look(model._intervals.recent, ticks):
        model._network.clock[CLOCK.alert] = ALERT_TICKS
        rls_reset_covariance(model._series.rls, RLS_NAMES.index("rls_short"))
    if model._finder is not None:
        due = model._finder.due(ticks) == 0
        model._finder.add_times(times, ticks)
        if due:
            _review_seasons(model, model._finder, ticks)


def _missing_ticks(model: SeriesModel, finder: SeasonFinder, time: int) -> Iterator[Segment]:
    """Segments of missing values that fill the gap before this time.

    Only gaps of up to one season are filled, and only where ticks come around the clock.
    """
    times = finder.missing_before(time, max(model.seasons_, default=0))
    while times.size:
        count = min(times.size, ticks_to_review(model))
        no_features = np.full((count, len(model._columns.index)), np.nan)
        yield Segment(np.full(count, np.nan), no_features, None)
        review(model, times[:count])
        times = times[count:]


def _review_seasons(model: SeriesModel, finder: SeasonFinder, ticks: int) -> None:
    """Look for seasons in the ticks so far, and set those that were found."""
    series = model._series
    for second in model.seasons_[1:]:
        trial = ticks - max(model._seasons_since, second)
        errors = series.rls.errors
        finder.drop_if_harmful(second, trial, float(errors[0]), float(errors[CONTROL]))
    values = series.history[0]
    newest = np.arange(max(ticks - values.size, 0), ticks)
    periods = finder.review(values[newest % values.size])
    if finder.irregular:
        model._add_features([ELAPSED])
    if tuple(model._network.clock[CLOCK.periods :]) != periods:
        model._set_periods(periods)
