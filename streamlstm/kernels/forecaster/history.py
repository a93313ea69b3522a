"""The past of a series: rings of its values, of its seasonal profiles and of its errors.

A profile is the series smoothed from season to season, s_t = s_{t-m} + rate (y_t - s_{t-m}).
"""

import numpy as np

from ..jit import jit_inlined
from ..layout import CLOCK
from .intervals import PHASE_RATE
from .layout import LAGS, PROFILES, RLS, SeriesViews, Work

PROFILE_RATES = (0.3, 0.05)


@jit_inlined
def value_at(series: SeriesViews, ring, tick, ticks):
    """Entry of a ring at a tick; NaN where unknown. ticks: number of ticks so far."""
    size = series.history.shape[1]
    if tick < 0 or tick < ticks - size or tick >= ticks:
        return np.nan
    return series.history[ring, tick % size]


@jit_inlined
def fill_last_season(row, count, series: SeriesViews, ring, m, ticks):
    """Fill row, (>= count,), with a ring's entries from m ticks before the newest tick on.

    Entries of ticks to come repeat the last season; NaN if m is 0.
    """
    for j in range(count):
        if m == 0:
            row[j] = np.nan
        elif j > m:
            row[j] = row[j - m]
        else:
            row[j] = value_at(series, ring, ticks - 1 + j - m, ticks)


@jit_inlined
def fill_recent_values(work: Work, series: SeriesViews, ticks, h):
    """Fill in what forecasts of the next h ticks start from: the last values and seasons."""
    for lag in range(LAGS + 1):
        value = value_at(series, 0, ticks - 1 - LAGS + lag, ticks)
        for r in range(RLS):
            work.paths[r, lag] = value
    for n in range(series.periods.size):
        m = series.periods[n]
        fill_last_season(work.repeats[n], h + 2, series, 0, m, ticks)
        for ring in range(PROFILES * n, PROFILES * (n + 1)):
            fill_last_season(work.profiles[ring], h + 1, series, 1 + ring, m, ticks)


@jit_inlined
def smoothed(series: SeriesViews, ring, m, least_rate, value, ticks):
    """The value smoothed with the ring's entry of m ticks ago, if there is one."""
    before = value_at(series, ring, ticks - m, ticks) if m > 0 else np.nan
    if np.isnan(before):
        return value
    if np.isnan(value):
        return before
    return before + max(1.0 / float(ticks // m + 1), least_rate) * (value - before)


@jit_inlined
def append_history(clock, series: SeriesViews, value, observed, error):
    """Append a tick to the rings.

    value: of the tick, or the last one if it is missing; observed: what the profiles learn from,
    NaN if the value is missing; error: |e| one tick ahead.
    """
    ticks, size = clock[CLOCK.values], series.history.shape[1]
    series.history[0, ticks % size] = value
    for n in range(series.periods.size):
        m = series.periods[n]
        for p in range(PROFILES):
            ring = 1 + PROFILES * n + p
            smooth = smoothed(series, ring, m, PROFILE_RATES[p], observed, ticks)
            series.history[ring, ticks % size] = smooth
    if series.periods.size > 0:
        ring, m = series.history.shape[0] - 1, series.periods[0]
        series.history[ring, ticks % size] = smoothed(series, ring, m, PHASE_RATE, error, ticks)
    clock[CLOCK.values] = ticks + 1
