"""Learning from a tick: intervals, committee, least squares, network, statistics, history."""

import math

import numpy as np

from ..jit import jit_inlined, jit_part
from ..layout import CLOCK, NetworkViews, ReplayBuffer
from ..network import learn
from ..replay import replay_learn
from ..scaling import is_missing, observe, observe_uncentred
from .committee import committee_learn
from .history import append_history, value_at
from .intervals import intervals_learn
from .layout import (
    CHANGE,
    CONTROL,
    DRIFT_INTERVAL,
    FIRST_SEASON,
    HIGH,
    LEVEL,
    LOW,
    NEWEST,
    PROFILES,
    RLS,
    SeriesViews,
    Work,
    first_feature,
    first_rls,
)
from .least_squares import clip_output, rls_copy_to_control, rls_learn, rls_reset_covariance
from .members import has_network
from .predict import fill_bounds, fill_path, prefetch_forecasts, set_known_features


@jit_inlined
def learn_members(net: NetworkViews, series: SeriesViews, past: ReplayBuffer, y):
    """Let committee and least squares learn from the value y. Returns the network's target."""
    ticks, K = net.clock[CLOCK.values], series.shape.horizon
    committee, S = series.committee, series.periods.size
    newest = np.nan
    for k in range(min(K, ticks)):
        origin = (ticks - k) % K
        scale = committee.scales[origin]
        if not scale > 0.0:
            continue
        change = (y - committee.values[origin]) / (scale * math.sqrt(k + 1.0))
        target = clip_output(change)
        committee_learn(committee, k, committee.outputs[origin * K + k], target, ticks - k)
        if k == 0:
            newest = target
        if k < net.settings.output_size and net.settings.replay > 0:
            past.targets[(ticks - 1 - k) % past.targets.shape[0], k] = np.float32(target)
    if not np.isnan(newest):
        for r in range(RLS):
            if committee.members[first_rls(series.shape) + r] > 0.0:
                rls_learn(series.rls, r, newest)
        if S > 1 and series.periods[1] > 0:
            rls_learn(series.rls, CONTROL, newest)
    return newest


@jit_inlined
def learn_network(net: NetworkViews, past: ReplayBuffer, target, missing, ticks):
    """Let the network learn: every tick from its newest output, or by replay every `stride` ticks.

    target: of the newest output, NaN if missing; ticks: number of ticks before this one.
    """
    if net.settings.replay == 0:
        for k in range(net.settings.output_size):
            net.scratch.targets[k] = np.nan
        net.scratch.targets[0] = np.float32(target)
        learn(net, net.scratch.targets)
    elif not missing and ticks % net.settings.stride == 0:
        replay_learn(net, past, ticks)


@jit_inlined
def observe_value(series: SeriesViews, value, clipped, ticks):
    """Update the statistics of level and seasons and the range of values with a value."""
    scaler, S = series.scaler, series.periods.size
    observe(scaler, LEVEL, clipped)
    series.clipped[LOW] = clipped if ticks == 0 else min(series.clipped[LOW], clipped)
    series.clipped[HIGH] = clipped if ticks == 0 else max(series.clipped[HIGH], clipped)
    series.clipped[NEWEST] = clipped
    for n in range(S):
        m = series.periods[n]
        if m > 0:
            repeated = value_at(series, 0, ticks + 1 - m, ticks)
            if not np.isnan(repeated):
                observe_uncentred(scaler, FIRST_SEASON + n, repeated - value)
            for p in range(PROFILES):
                ring = PROFILES * n + p
                smooth = value_at(series, 1 + ring, ticks + 1 - m, ticks)
                if not np.isnan(smooth):
                    observe_uncentred(scaler, FIRST_SEASON + S + ring, smooth - value)


@jit_inlined
def begin_seasons(series: SeriesViews, ticks):
    """Let the least squares start afresh at the end of a season, when all its lags are known."""
    for n in range(series.periods.size):
        if ticks == series.periods[n]:
            for r in range(RLS + 1):
                if r != RLS - 1:
                    rls_reset_covariance(series.rls, r)
            if n == 1:
                rls_copy_to_control(series.rls)


@jit_inlined
def learn_value(net: NetworkViews, series: SeriesViews, past: ReplayBuffer, y, features):
    """Learn from the value y and the features (F,) of one tick.

    A missing y trains nothing; the last value stands in for it. Level and profiles learn a spike
    clipped as `scaling` clips it.
    """
    scaler, ticks = series.scaler, net.clock[CLOCK.values]
    missing = is_missing(y)
    value, clipped, error = y, y, np.nan
    if ticks > 0:
        last = value_at(series, 0, ticks - 1, ticks)
        target = np.nan
        if missing:
            value = last
        else:
            error = abs(intervals_learn(series.intervals, ticks, y))
        scale = scaler.spread[CHANGE]
        series.intervals.recent[ticks % DRIFT_INTERVAL] = error / scale if scale > 0.0 else np.nan
        if not missing:
            target = learn_members(net, series, past, y)
            clipped_change = observe_uncentred(scaler, CHANGE, y - series.clipped[NEWEST])
            if clipped_change != y - series.clipped[NEWEST]:
                clipped = series.clipped[NEWEST] + clipped_change
        if has_network(series):
            learn_network(net, past, target, missing, ticks)
    if not missing:
        observe_value(series, value, clipped, ticks)
    net.clock[CLOCK.alert] = max(net.clock[CLOCK.alert] - 1, 0)
    for n in range(features.size):
        series.features[n] = features[n]
        if not is_missing(features[n]):
            observe(scaler, first_feature(series.shape) + n, features[n])
    append_history(net.clock, series, value, np.nan if missing else clipped, error)
    begin_seasons(series, ticks)


@jit_part
def learn_tick(
    forecasts, bounds, places, y, features, work: Work, net: NetworkViews, series: SeriesViews,
    past: ReplayBuffer,
):  # fmt: skip
    """Forecast a tick, then learn from it. forecasts: (h,); bounds: (1, 2, h) or (0, 0, 0).

    Before the first value there is nothing to learn from a missing one.
    """
    fill_path(forecasts, work, net, series, series.history[:0])
    if bounds.size > 0:
        fill_bounds(bounds[0], forecasts, places, work, net, series)
    if net.clock[CLOCK.values] > 0 or not is_missing(y):
        learn_value(net, series, past, y, features)


@jit_part
def learn_ticks(
    forecasts, bounds, places, ys, features, known, work: Work, net: NetworkViews,
    series: SeriesViews, past: ReplayBuffer,
):  # fmt: skip
    """Forecast, then learn from, each of T ticks.

    forecasts: (T, h) made before each tick, of it and the ticks that follow.
    bounds: (T, 2, h) ends of intervals around them at `places` (2,), or (0, 0, 0).
    ys: (T,); features: (T, F); known: (F,) 1 for features known in advance, (0,) if there are none.
    """
    clock = net.clock
    for t in range(ys.size):
        if known.size > 0 and clock[CLOCK.values] > 0:
            set_known_features(series, known, features[t])
            prefetch_forecasts(work, net, series, past)
        around = bounds[t : t + 1]
        learn_tick(forecasts[t], around, places, ys[t], features[t], work, net, series, past)
        if known.size == 0 and clock[CLOCK.values] > 0:
            prefetch_forecasts(work, net, series, past)
