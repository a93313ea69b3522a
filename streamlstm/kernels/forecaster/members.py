"""The members of the committee: what they read and what they forecast.

The network reads after tick t, each in units of its running deviation:
    level      y_t
    change     y_t - y_{t-1}
    repeats    y_{t+1-m} - y_t for each season m: the next change if the season repeats itself
    profiles   s_{t+1-m} - y_t for each profile s of each season
and without a scale:
    forecasts  of the next change, by the recursive least squares
    phase      sine and cosine of 2 pi (t + 1) / m for each m
and last the features, each in units of its running deviation.
The recursive least squares read, in units of the running mean absolute change:
    1, y_t less its running mean, and the lags y_{t-1} - y_t, ..., y_{t-23} - y_t
    for each m: y_{t+2-m} - y_t, y_{t+1-m} - y_t and y_{t-m} - y_t, unless they are among the lags,
    and for each of its profiles s_{t+1-m} - y_t and s_{t-m} - y_t
and last the features, again in units of their own. A feature has the value that arrived with tick
t. One that is known in advance has the value that will arrive with tick t + 1.
"""

import math

import numpy as np

from ..jit import jit_inlined
from ..layout import NetworkViews
from ..scaling import standardise
from .layout import (
    CHANGE,
    FIRST_SEASON,
    HIGH,
    LAGS,
    LEVEL,
    LOW,
    PROFILES,
    RLS,
    SeriesViews,
    Work,
    first_feature,
    first_rls,
)
from .least_squares import clip_output, rls_output

LARGEST_REGRESSOR = 1e6


@jit_inlined
def has_network(series: SeriesViews):
    """Whether the network is a member."""
    return series.committee.members[series.committee.members.size - 1] > 0.0


@jit_inlined
def fill_regressors(x, path, ahead, work: Work, series: SeriesViews, features):
    """Fill in the regressors x, (N,), of the value `ahead` ticks after the newest.

    path: (>= LAGS + ahead,) the last values, then forecasts of the ticks before that one.
    """
    newest = LAGS + ahead - 1
    value = path[newest]
    per_unit = 1.0 / series.scaler.spread[CHANGE]
    x[0] = 1.0
    x[1] = (value - series.scaler.center[LEVEL]) * per_unit
    for lag in range(LAGS):
        x[2 + lag] = (path[newest - 1 - lag] - value) * per_unit
    i = 2 + LAGS
    for n in range(series.periods.size):
        m = series.periods[n]
        for d in range(3):
            j = ahead + 1 - d
            repeated = np.nan
            if m - 2 + d > LAGS:  # a shorter one is among the lags
                repeated = path[LAGS + j - m] if j > m else work.repeats[n, j]
            x[i + d] = (repeated - value) * per_unit
        for p in range(PROFILES):
            profile = work.profiles[PROFILES * n + p]
            x[i + 3 + 2 * p] = (profile[ahead] - value) * per_unit
            x[i + 4 + 2 * p] = (profile[ahead - 1] - value) * per_unit
        i += 3 + 2 * PROFILES
    for n in range(features.size):
        x[i + n] = standardise(series.scaler, first_feature(series.shape) + n, features[n])
    for i in range(x.size):
        x[i] = 0.0 if np.isnan(x[i]) else min(max(x[i], -LARGEST_REGRESSOR), LARGEST_REGRESSOR)


@jit_inlined
def fill_inputs(x, work: Work, series: SeriesViews, ticks, change):
    """Fill in the inputs x, (I,), of the network after the newest tick."""
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
def roll_out(work: Work, series: SeriesViews, r, h, future_features):
    """Let the recursive least squares r forecast h ticks, each from the forecasts before it.

    A forecast is clipped where it leaves the range of the values seen by more than that range.
    """
    low, high = series.clipped[LOW], series.clipped[HIGH]
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
    """Fill the rows of outputs from `first` on with the members' outputs for the next h ticks.

    future: features of these ticks, see `fill_path`.
    """
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
            roll_out(work, series, r, h, future)
    known = net.settings.output_size
    for k in range(h):
        per_unit = 1.0 / (scale * math.sqrt(k + 1.0))
        row = first + k
        outputs[row, 0] = 0.0
        for n in range(S):
            outputs[row, 1 + n] = clip_output((work.repeats[n, k + 1] - value) * per_unit)
        for ring in range(PROFILES * S):
            profile = work.profiles[ring, k + 1]
            outputs[row, 1 + S + ring] = clip_output((profile - value) * per_unit)
        for r in range(RLS):
            change = 0.0
            if members[e + r] > 0.0:
                change = (work.paths[r, LAGS + 1 + k] - value) * per_unit
            outputs[row, e + r] = clip_output(change)
        last = min(k + 1, known)  # later, the change that the network forecasts stays as it is
        damping = math.sqrt(float(last) / (k + 1.0))
        outputs[row, M - 1] = clip_output(damping * float(net.memory.output[last - 1]))
