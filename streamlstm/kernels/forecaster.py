"""A forecaster of one series: what `LSTMForecaster` does with each tick.

Inputs of the network after tick t, in this order:
    level      y_t
    change     y_t - y_{t-1}
    seasons    y_{t+1-m} - y_t, the next change if season m repeated itself, for each m
    features   as they arrived with tick t
each in units of its running deviation. Regressors of the recursive least squares:
    1, y_t, y_{t-1} - y_t, ..., y_{t-23} - y_t, and y_{t+1-m+d} - y_t for each m and d = 1, 0, -1
in units of the running mean absolute change, as are all outputs.
"""

import numpy as np

from ..layout import CLOCK, LAGS, RLS, NetworkViews, SeriesViews, network_views, series_views
from .experts import clip_output, committee_learn, mixture, rls_learn, rls_output, rls_reopen
from .jit import jit, jit_part
from .scaling import is_missing, observe, observe_uncentred, standardise
from .tbptt import advance, learn, peek, peek_from_now

LARGEST_REGRESSOR = 1e6
LEVEL, CHANGE, FIRST_SEASON = 0, 1, 2


@jit_part
def lagged(series: SeriesViews, values, path, ahead, lag):
    """Value `lag` ticks before the one `ahead` ticks after the newest; NaN where unknown.

    values: how many are known so far; path: (>= ahead,) forecasts of those that follow.
    """
    back = lag - ahead
    if back < 0:
        return path[-back - 1]
    if back >= values or back >= series.history.size:
        return np.nan
    return series.history[(values - 1 - back) % series.history.size]


@jit_part
def fill_inputs(x, series: SeriesViews, values, path, ahead, value, change, features):
    """Inputs x once `value` is the newest, `ahead` ticks after the newest known one."""
    scaler, S = series.scaler, series.periods.size
    x[LEVEL] = standardise(scaler, LEVEL, value)
    x[CHANGE] = standardise(scaler, CHANGE, change)
    for n in range(S):
        m = series.periods[n]
        j = FIRST_SEASON + n
        repeated = lagged(series, values, path, ahead, m - 1) if m > 0 else np.nan
        x[j] = standardise(scaler, j, repeated - value)
    for n in range(features.size):
        j = FIRST_SEASON + S + n
        x[j] = standardise(scaler, j, features[n])


@jit_part
def fill_outputs(series: SeriesViews, values, path, ahead, value, network_output):
    """Outputs of all experts for the value after `value`, and their regressors."""
    experts, S = series.experts, series.periods.size
    outputs = experts.outputs
    x, scale = experts.regressors, series.scaler.spread[CHANGE]
    if not scale > 0.0:
        for e in range(outputs.size):
            outputs[e] = 0.0
        for i in range(x.size):
            x[i] = 0.0
        return
    x[0] = 1.0
    x[1] = (value - series.scaler.center[LEVEL]) / scale
    for k in range(LAGS):
        x[2 + k] = (lagged(series, values, path, ahead, k + 1) - value) / scale
    for n in range(S):
        m = series.periods[n]
        for d in range(3):
            repeated = np.nan
            if m - 2 + d > LAGS:  # a shorter one is among the lags
                repeated = lagged(series, values, path, ahead, m - 2 + d)
            x[2 + LAGS + 3 * n + d] = (repeated - value) / scale
    for i in range(x.size):
        x[i] = 0.0 if np.isnan(x[i]) else min(max(x[i], -LARGEST_REGRESSOR), LARGEST_REGRESSOR)
    outputs[0] = 0.0
    for n in range(S):
        m = series.periods[n]
        repeated = lagged(series, values, path, ahead, m - 1) if m > 0 else np.nan
        outputs[1 + n] = clip_output((repeated - value) / scale)
    for r in range(RLS):
        outputs[1 + S + r] = rls_output(experts, r)
    outputs[1 + S + RLS] = clip_output(network_output)


@jit_part
def next_value(series: SeriesViews, value):
    """The forecast of the value after `value`; `value` itself should it overflow."""
    forecast = value + series.scaler.spread[CHANGE] * mixture(series.experts)
    return value if is_missing(forecast) else forecast


@jit_part
def forecast(path, net: NetworkViews, series: SeriesViews, future_features):
    """Fill path, (horizon,), with forecasts of the next values, each step fed with the one before.

    future_features: (>= 0, F) features that will arrive with these values; where they end, the
    last ones are held. Leaves the state as it is. NaN before the first value.
    """
    values = net.clock[CLOCK.values]
    if values == 0:
        for k in range(path.size):
            path[k] = np.nan
        return
    before = series.last[0]
    path[0] = next_value(series, before)
    if path.size == 1:
        return
    peek_from_now(net)
    x = net.scratch.inputs[net.settings.hidden_size :]
    for k in range(1, path.size):
        value = path[k - 1]
        known = k - 1 < future_features.shape[0]
        features = future_features[k - 1] if known else series.features
        fill_inputs(x, series, values, path, k, value, value - before, features)
        peek(net, x)
        output = float(net.scratch.output[0])
        fill_outputs(series, values, path, k, value, output)
        path[k] = next_value(series, value)
        before = value
    # What the steps overwrote.
    now = float(net.memory.output[0])
    fill_outputs(series, values, path, 0, series.last[0], now)


@jit_part
def tick(net: NetworkViews, series: SeriesViews, y, features):
    """Learn from the value y and the features (F,) of one tick, and move on.

    A missing y trains nothing; the state advances as if the last value had come again. Ticks
    before the first value are passed over.
    """
    scaler, experts, S = series.scaler, series.experts, series.periods.size
    values = net.clock[CLOCK.values]
    missing = is_missing(y)
    if values == 0 and missing:
        return
    uses_network = experts.members[1 + S + RLS] > 0.0
    change = 0.0
    if values > 0:
        net.scratch.targets[0] = np.nan
        if not missing:
            change = y - series.last[0]
            if scaler.spread[CHANGE] > 0.0:
                target = standardise(scaler, CHANGE, change)
                net.scratch.targets[0] = target
                committee_learn(experts, float(target))
                for r in range(RLS):
                    if experts.members[1 + S + r] > 0.0:
                        rls_learn(experts, r, float(target))
            observe_uncentred(scaler, CHANGE, change)
        if uses_network:
            learn(net, net.scratch.targets)
    if not missing:
        observe(scaler, LEVEL, y)
        series.last[0] = y
    value = series.last[0]
    series.history[values % series.history.size] = value
    values += 1
    net.clock[CLOCK.values] = values
    for n in range(S):
        if values == series.periods[n] + 1:  # all its lags are known from now on
            for r in range(RLS - 1):
                rls_reopen(experts, r)
    if not missing:
        for n in range(S):
            if series.periods[n] > 0:
                repeated = lagged(series, values, series.history, 0, series.periods[n] - 1)
                if not np.isnan(repeated):
                    observe_uncentred(scaler, FIRST_SEASON + n, repeated - value)
    for n in range(features.size):
        series.features[n] = features[n]
        if not is_missing(features[n]):
            observe(scaler, FIRST_SEASON + S + n, features[n])
    if uses_network:
        x = net.scratch.inputs[net.settings.hidden_size :]
        fill_inputs(x, series, values, series.history, 0, value, change, features)
        advance(net, x)
    output = float(net.memory.output[0])
    fill_outputs(series, values, series.history, 0, value, output)


@jit
def forecast_now(path, future_features, settings, weights, memory, scratch, clock, stats, history):
    """`forecast` on flat buffers."""
    net = network_views(settings, weights, memory, scratch, clock)
    forecast(path, net, series_views(stats, history, clock, net.settings), future_features)


@jit
def learn_many(forecasts, ys, features, settings, weights, memory, scratch, clock, stats, history):
    """Forecast, then learn from, each of T ticks.

    forecasts: (T, horizon) what was forecast before each tick for it and those that follow.
    ys: (T,); features: (T, F).
    """
    net = network_views(settings, weights, memory, scratch, clock)
    series = series_views(stats, history, clock, net.settings)
    for t in range(ys.size):
        forecast(forecasts[t], net, series, features[:0])
        tick(net, series, ys[t], features[t])


@jit
def learn_one(y, features, settings, weights, memory, scratch, clock, stats, history):
    """Learn from one tick; the forecast of the next, NaN before the first value. features: (F,)."""
    net = network_views(settings, weights, memory, scratch, clock)
    series = series_views(stats, history, clock, net.settings)
    tick(net, series, y, features)
    if net.clock[CLOCK.values] == 0:
        return np.nan
    return next_value(series, series.last[0])
