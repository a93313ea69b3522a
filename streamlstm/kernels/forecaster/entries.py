"""A forecaster of one series: what `LSTMForecaster` does with each tick.

A tick is absorbed (statistics, committee, least squares and network learn from its value) and then
looked out from (every member forecasts the next K values, to be compared when they come).

Inputs of the network after tick t, in this order:
    level      y_t
    change     y_t - y_{t-1}
    repeats    y_{t+1-m} - y_t, the next change if season m repeated itself, for each m
    profiles   s_{t+1-m} - y_t for each season and each of its profiles s
    features   as they arrived with tick t
each in units of its running deviation, and without a scale:
    forecasts  of the next change by the recursive least squares
    phase      sine and cosine of 2 pi (t + 1) / m for each m
Regressors of the recursive least squares:
    1, y_t less its running mean, y_{t-1} - y_t, ..., y_{t-23} - y_t; for each m y_{t+1-m+d} - y_t,
    d = 1, 0, -1, unless that is among the lags, and of each of its profiles s_{t+1-m} - y_t and
    s_{t-m} - y_t
in units of the running mean absolute change, as are all outputs; and the features in units of their
own. A profile is the series smoothed from season to season, s_t = s_{t-m} + rate (y_t - s_{t-m}).
Features count as they arrived with tick t, except those that are known in advance: these count as
they will arrive with tick t + 1, so that looking out has to wait until they are.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from ..cells import CELLS
from ..jit import jit, jit_inlined, jit_part
from ..layout import (
    CLOCK,
    CONTROL,
    LAGS,
    PROFILES,
    RLS,
    WATCH,
    NetworkViews,
    Past,
    SeriesViews,
    Shape,
    Work,
    network_views,
    past_views,
    series_views,
    shape_of,
    work_views,
)
from ..network import advance, learn
from ..replay import replay_learn
from ..rules import RULES
from ..scaling import is_missing, observe, observe_uncentred, standardise
from .committee import committee_learn, mixture
from .intervals import PHASE, error_bound, intervals_issue, intervals_learn
from .least_squares import clip_output, rls_learn, rls_output, rls_reopen, rls_start_control

LARGEST_REGRESSOR = 1e6
PROFILE_RATES = (0.3, 0.05)
LEVEL, CHANGE, FIRST_SEASON = 0, 1, 2
LOW, HIGH, NEWEST = 0, 1, 2


@jit_inlined
def first_feature(shape: Shape):
    """Channel of the first feature."""
    return FIRST_SEASON + (1 + PROFILES) * shape.seasons


@jit_inlined
def first_rls(shape: Shape):
    """Place of the first recursive least squares among the members; the network is the last."""
    return 1 + (1 + PROFILES) * shape.seasons


@jit_inlined
def value_at(series: SeriesViews, ring, tick, ticks):
    """Entry of a ring at a tick, of which `ticks` have come; NaN where unknown."""
    size = series.history.shape[1]
    if tick < 0 or tick < ticks - size or tick >= ticks:
        return np.nan
    return series.history[ring, tick % size]


@jit_inlined
def season_before(row, count, series: SeriesViews, ring, m, ticks):
    """Fill row, (>= count,), with a ring's entries from m ticks before the newest tick on.

    Beyond what has come the season repeats itself; NaN where m is 0.
    """
    for j in range(count):
        if m == 0:
            row[j] = np.nan
        elif j > m:
            row[j] = row[j - m]
        else:
            row[j] = value_at(series, ring, ticks - 1 + j - m, ticks)


@jit_inlined
def look_back(work: Work, series: SeriesViews, ticks, h):
    """Fill in what forecasts of the next h ticks rest on: the last values, the last season."""
    for lag in range(LAGS + 1):
        value = value_at(series, 0, ticks - 1 - LAGS + lag, ticks)
        for r in range(RLS):
            work.paths[r, lag] = value
    for n in range(series.periods.size):
        m = series.periods[n]
        season_before(work.repeats[n], h + 2, series, 0, m, ticks)
        for ring in range(PROFILES * n, PROFILES * (n + 1)):
            season_before(work.profiles[ring], h + 1, series, 1 + ring, m, ticks)


@jit_inlined
def fill_regressors(x, path, ahead, work: Work, series: SeriesViews, features):
    """Regressors x, (N,), of the value `ahead` ticks after the newest known one.

    path: (>= LAGS + ahead,) the last values and the forecasts of those before it.
    """
    newest = LAGS + ahead - 1
    value = path[newest]
    more = 1.0 / series.scaler.spread[CHANGE]
    x[0] = 1.0
    x[1] = (value - series.scaler.center[LEVEL]) * more
    for lag in range(LAGS):
        x[2 + lag] = (path[newest - 1 - lag] - value) * more
    i = 2 + LAGS
    for n in range(series.periods.size):
        m = series.periods[n]
        for d in range(3):
            j = ahead + 1 - d
            repeated = np.nan
            if m - 2 + d > LAGS:  # a shorter one is among the lags
                repeated = path[LAGS + j - m] if j > m else work.repeats[n, j]
            x[i + d] = (repeated - value) * more
        for p in range(PROFILES):
            profile = work.profiles[PROFILES * n + p]
            x[i + 3 + 2 * p] = (profile[ahead] - value) * more
            x[i + 4 + 2 * p] = (profile[ahead - 1] - value) * more
        i += 3 + 2 * PROFILES
    for n in range(features.size):
        x[i + n] = standardise(series.scaler, first_feature(series.shape) + n, features[n])
    for i in range(x.size):
        x[i] = 0.0 if np.isnan(x[i]) else min(max(x[i], -LARGEST_REGRESSOR), LARGEST_REGRESSOR)


@jit_inlined
def follow(work: Work, series: SeriesViews, r, h, future_features):
    """Let the recursive least squares r forecast h ticks, each fed with the one before.

    A step may not leave the range of the values seen by more than that range.
    """
    low, high = series.sane[LOW], series.sane[HIGH]
    room, scale = high - low, series.scaler.spread[CHANGE]
    path = work.paths[r]
    for ahead in range(1, h + 1):
        x = series.rls.regressors
        if ahead > 1:
            x = work.regressors
            known = ahead - 2 < future_features.shape[0]
            features = future_features[ahead - 2] if known else series.features
            fill_regressors(x, path, ahead, work, series, features)
        value = path[LAGS + ahead - 1] + scale * rls_output(series.rls, r, x)
        path[LAGS + ahead] = min(max(value, low - room), high + room)


@jit_inlined
def fill_outputs(outputs, first, work: Work, net: NetworkViews, series: SeriesViews, h, future):
    """Outputs of all members for the next h ticks, in the rows of outputs from `first` on."""
    S, members = series.periods.size, series.committee.members
    scale = series.scaler.spread[CHANGE]
    M = members.size
    if not scale > 0.0:
        for k in range(h):
            for e in range(M):
                outputs[first + k, e] = 0.0
        return
    value = work.paths[0, LAGS]
    e = first_rls(series.shape)
    for r in range(RLS):
        if members[e + r] > 0.0:
            follow(work, series, r, h, future)
    known = net.settings.output_size
    for k in range(h):
        more = 1.0 / (scale * math.sqrt(k + 1.0))
        row = first + k
        outputs[row, 0] = 0.0
        for n in range(S):
            outputs[row, 1 + n] = clip_output((work.repeats[n, k + 1] - value) * more)
        for ring in range(PROFILES * S):
            profile = work.profiles[ring, k + 1]
            outputs[row, 1 + S + ring] = clip_output((profile - value) * more)
        for r in range(RLS):
            change = 0.0
            if members[e + r] > 0.0:
                change = (work.paths[r, LAGS + 1 + k] - value) * more
            outputs[row, e + r] = clip_output(change)
        last = min(k + 1, known)  # beyond what it knows the network's change stays
        held = math.sqrt(float(last) / (k + 1.0))
        outputs[row, M - 1] = clip_output(held * float(net.memory.output[last - 1]))


@jit_inlined
def fill_inputs(x, work: Work, series: SeriesViews, ticks, change):
    """Inputs x, (I,), of the network after the newest tick."""
    scaler, S = series.scaler, series.periods.size
    value = work.paths[0, LAGS]
    x[LEVEL] = standardise(scaler, LEVEL, value)
    x[CHANGE] = standardise(scaler, CHANGE, change)
    i = FIRST_SEASON
    for n in range(S):
        x[i + n] = standardise(scaler, i + n, work.repeats[n, 1] - value)
    i += S
    for ring in range(PROFILES * S):
        x[i + ring] = standardise(scaler, i + ring, work.profiles[ring, 1] - value)
    i += PROFILES * S
    for r in range(RLS):
        output = 0.0
        if scaler.spread[CHANGE] > 0.0:
            output = rls_output(series.rls, r, series.rls.regressors)
        x[i + r] = np.float32(output)
    i += RLS
    for n in range(S):
        phase = 0.0
        if series.periods[n] > 0:
            phase = 2.0 * math.pi * float(ticks % series.periods[n]) / float(series.periods[n])
        x[i + 2 * n] = np.float32(math.sin(phase))
        x[i + 2 * n + 1] = np.float32(math.cos(phase) if series.periods[n] > 0 else 0.0)
    i += 2 * S
    for n in range(series.features.size):
        x[i + n] = standardise(scaler, first_feature(series.shape) + n, series.features[n])


@jit_inlined
def mixed(committee, k, outputs, value, scale):
    """The committee's forecast of the tick with horizon index k; `value` should it overflow."""
    K = committee.errors.size
    known = min(k, K - 1)
    forecast = value + scale * math.sqrt(k + 1.0) * mixture(committee, known, outputs)
    return value if is_missing(forecast) else forecast


@jit_part
def look_out(work: Work, net: NetworkViews, series: SeriesViews, past: Past):
    """Let every member forecast from the newest tick, where the committee waits for the values."""
    look_around(work, net, series, past)
    if has_network(series):
        advance(net, net.scratch.x)
    issue(work, net, series)


@jit_inlined
def has_network(series: SeriesViews):
    """Whether the network is a member."""
    return series.committee.members[series.committee.members.size - 1] > 0.0


@jit_inlined
def look_around(work: Work, net: NetworkViews, series: SeriesViews, past: Past):
    """What `look_out` does before the network advances: its inputs are in `scratch.x`."""
    ticks, K = net.clock[CLOCK.values], series.shape.horizon
    look_back(work, series, ticks, K)
    change = work.paths[0, LAGS] - work.paths[0, LAGS - 1] if ticks > 1 else 0.0
    x = series.rls.regressors
    if series.scaler.spread[CHANGE] > 0.0:
        fill_regressors(x, work.paths[0], 1, work, series, series.features)
    if has_network(series):
        inputs = net.scratch.x
        fill_inputs(inputs, work, series, ticks, change)
        if net.settings.replay > 0:
            tick = (ticks - 1) % past.inputs.shape[0]
            for i in range(inputs.size):
                past.inputs[tick, i] = inputs[i]
            for k in range(net.settings.output_size):
                past.targets[tick, k] = np.float32(np.nan)


@jit_inlined
def issue(work: Work, net: NetworkViews, series: SeriesViews):
    """What `look_out` does once the network has advanced."""
    ticks, K = net.clock[CLOCK.values], series.shape.horizon
    committee, origin = series.committee, ticks % K
    committee.values[origin] = work.paths[0, LAGS]
    committee.scales[origin] = series.scaler.spread[CHANGE]
    nothing = series.history[:0]
    fill_outputs(committee.outputs, origin * K, work, net, series, K, nothing)
    value, scale = committee.values[origin], committee.scales[origin]
    ring = series.history.shape[0] - 1
    m = series.periods[0] if series.periods.size > 0 else 0
    for k in range(K):
        outputs = committee.outputs[origin * K + k]
        usual, cycles = np.nan, 0.0
        if m > 0:
            usual = value_at(series, ring, ticks + k - m * (k // m + 1), ticks)
            cycles = float(ticks // m)
        ahead = mixed(committee, k, outputs, value, scale)
        intervals_issue(series.intervals, origin, k, ahead, usual, cycles)


@jit_inlined
def compare(net: NetworkViews, series: SeriesViews, past: Past, y):
    """Let committee and least squares learn from the value y; the target of the network."""
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
def smoothed(series: SeriesViews, ring, m, least_rate, value, ticks):
    """A value smoothed with a ring's of m ticks ago; itself where there is none."""
    before = value_at(series, ring, ticks - m, ticks) if m > 0 else np.nan
    if np.isnan(before):
        return value
    if np.isnan(value):
        return before
    return before + max(1.0 / float(ticks // m + 1), least_rate) * (value - before)


@jit_inlined
def remember(clock, series: SeriesViews, value, came, error):
    """Append a value to the history, what came (or NaN) to the profiles, |e| to the errors'."""
    ticks, size = clock[CLOCK.values], series.history.shape[1]
    series.history[0, ticks % size] = value
    for n in range(series.periods.size):
        m = series.periods[n]
        for p in range(PROFILES):
            ring = 1 + PROFILES * n + p
            smooth = smoothed(series, ring, m, PROFILE_RATES[p], came, ticks)
            series.history[ring, ticks % size] = smooth
    if series.periods.size > 0:
        ring, m = series.history.shape[0] - 1, series.periods[0]
        series.history[ring, ticks % size] = smoothed(series, ring, m, PHASE, error, ticks)
    clock[CLOCK.values] = ticks + 1


@jit_inlined
def absorb(net: NetworkViews, series: SeriesViews, past: Past, y, features):
    """Learn from the value y and the features (F,) of one tick.

    A missing y trains nothing; the last value stands in for it. Of a spike, level and profiles take
    no more than counts (`scaling`).
    """
    scaler, S, ticks = series.scaler, series.periods.size, net.clock[CLOCK.values]
    missing = is_missing(y)
    value, sane, error = y, y, np.nan
    if ticks > 0:
        last = value_at(series, 0, ticks - 1, ticks)
        target = np.nan
        if missing:
            value = last
        else:
            error = abs(intervals_learn(series.intervals, ticks, y))
        usual = scaler.spread[CHANGE]
        series.intervals.recent[ticks % WATCH] = error / usual if usual > 0.0 else np.nan
        if not missing:
            target = compare(net, series, past, y)
            counted = observe_uncentred(scaler, CHANGE, y - series.sane[NEWEST])
            if counted != y - series.sane[NEWEST]:
                sane = series.sane[NEWEST] + counted
        if has_network(series):
            if net.settings.replay == 0:
                for k in range(net.settings.output_size):
                    net.scratch.targets[k] = np.nan
                net.scratch.targets[0] = np.float32(target)
                learn(net, net.scratch.targets)
            elif not missing and ticks % net.settings.stride == 0:
                replay_learn(net, past, ticks)
    if not missing:
        observe(scaler, LEVEL, sane)
        series.sane[LOW] = sane if ticks == 0 else min(series.sane[LOW], sane)
        series.sane[HIGH] = sane if ticks == 0 else max(series.sane[HIGH], sane)
        series.sane[NEWEST] = sane
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
    net.clock[CLOCK.alert] = max(net.clock[CLOCK.alert] - 1, 0)
    for n in range(features.size):
        series.features[n] = features[n]
        if not is_missing(features[n]):
            observe(scaler, first_feature(series.shape) + n, features[n])
    remember(net.clock, series, value, np.nan if missing else sane, error)
    for n in range(S):
        if ticks == series.periods[n]:  # all its lags are known from now on
            for r in range(RLS + 1):
                if r != RLS - 1:
                    rls_reopen(series.rls, r)
            if n == 1:
                rls_start_control(series.rls)


@jit_inlined
def forecast(path, work: Work, net: NetworkViews, series: SeriesViews, future_features):
    """Fill path, (h,), with forecasts of the next values; NaN before the first.

    Up to K ticks ahead they are ready, unless there are future_features, (h, F) or (0, F), that
    will arrive with these values and the last ones are not to stay. Further ticks are weighed like
    the K-th. Leaves the state as it is.
    """
    ticks, h, K = net.clock[CLOCK.values], path.size, series.shape.horizon
    if ticks == 0:
        for k in range(h):
            path[k] = np.nan
        return
    committee, origin = series.committee, ticks % K
    value, scale = committee.values[origin], committee.scales[origin]
    if h <= K and future_features.shape[0] == 0:
        for k in range(h):
            path[k] = series.intervals.forecasts[origin * K + k]
        return
    look_back(work, series, ticks, h)
    fill_outputs(work.outputs, 0, work, net, series, h, future_features)
    for k in range(h):
        path[k] = mixed(committee, k, work.outputs[k], value, scale)


@jit_inlined
def bound(bounds, path, places, work: Work, net: NetworkViews, series: SeriesViews):
    """Fill bounds, (Q, h), around path, (h,), at Q places among the levels (`intervals`)."""
    origin = net.clock[CLOCK.values] % series.shape.horizon
    for side in range(places.size):
        for k in range(path.size):
            bounds[side, k] = path[k]
            if net.clock[CLOCK.values] > 0:
                bounds[side, k] += error_bound(
                    series.intervals, work.ordered, origin, k, places[side]
                )


@jit_inlined
def learn_ahead(series: SeriesViews, known, features):
    """Take the features, (F,), that are known in advance for those of the tick to come.

    known: (F,) 1 for these, 0 for others.
    """
    for n in range(features.size):
        if known[n] > 0.0:
            series.features[n] = features[n]


@jit_part
def judge(
    forecasts, bounds, places, y, features, work: Work, net: NetworkViews, series: SeriesViews,
    past: Past,
):  # fmt: skip
    """Forecast one tick, then absorb it. forecasts: (h,); bounds: (1, 2, h) or (0, 0, 0).

    Before the first value there is nothing to absorb.
    """
    forecast(forecasts, work, net, series, series.history[:0])
    if bounds.size > 0:
        bound(bounds[0], forecasts, places, work, net, series)
    if net.clock[CLOCK.values] > 0 or not is_missing(y):
        absorb(net, series, past, y, features)


@jit_part
def learn_ticks(
    forecasts, bounds, places, ys, features, known, work: Work, net: NetworkViews,
    series: SeriesViews, past: Past,
):  # fmt: skip
    """Forecast, then learn from, each of T ticks.

    forecasts: (T, h) what was forecast before each tick for it and those that follow.
    bounds: (T, 2, h) of intervals around them at `places` (2,), or (0, 0, 0).
    ys: (T,); features: (T, F); known: (F,) 1 for features known in advance, (0,) if there are none.
    Ticks before the first value are passed over.
    """
    clock = net.clock
    for t in range(ys.size):
        if known.size > 0 and clock[CLOCK.values] > 0:
            learn_ahead(series, known, features[t])
            look_out(work, net, series, past)
        around = bounds[t : t + 1]
        judge(forecasts[t], around, places, ys[t], features[t], work, net, series, past)
        if known.size == 0 and clock[CLOCK.values] > 0:
            look_out(work, net, series, past)


class Entries(NamedTuple):
    """Compiled for one cell and one learning rule."""

    look_ahead: Callable[..., None]
    forecast_now: Callable[..., None]
    learn_many: Callable[..., None]


@cache
def entries(cell: str, learning: str) -> Entries:
    """What `LSTMForecaster` calls for the cell and the learning rule of these names."""
    kind = CELLS[cell].CELL, RULES[learning].RULE

    @jit
    def look_ahead(
        known, features, work, settings, weights, memory, scratch, clock, stats, errors, history,
        past,
    ):  # fmt: skip
        """`look_out` once the features, (F,), that are `known`, (F,), in advance are."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        shape = shape_of(clock, features.size)
        series = series_views(stats, errors, history, clock, shape)
        learn_ahead(series, known, features)
        look_out(work_views(work, shape), net, series, past_views(past, net.settings))

    @jit
    def forecast_now(
        path, bounds, places, future_features, work, settings, weights, memory, scratch, clock,
        stats, errors, history, past,
    ):  # fmt: skip
        """`forecast` on flat buffers; `bound`, too, unless bounds are (0, 0)."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        shape = shape_of(clock, future_features.shape[1])
        series = series_views(stats, errors, history, clock, shape)
        room = work_views(work, shape)
        forecast(path, room, net, series, future_features)
        if bounds.size > 0:
            bound(bounds, path, places, room, net, series)

    @jit
    def learn_many(
        forecasts, bounds, places, ys, features, known, work, settings, weights, memory, scratch,
        clock, stats, errors, history, past,
    ):  # fmt: skip
        """`learn_ticks` on flat buffers."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        shape = shape_of(clock, features.shape[1])
        series = series_views(stats, errors, history, clock, shape)
        room = work_views(work, shape)
        before = past_views(past, net.settings)
        learn_ticks(forecasts, bounds, places, ys, features, known, room, net, series, before)

    return Entries(look_ahead, forecast_now, learn_many)
