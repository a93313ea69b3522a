"""A forecaster of one series around the network: what `LSTMForecaster` does with each tick.

Inputs of the network after tick t, in this order:
    level      y_t
    change     y_t - y_{t-1}
    seasons    y_{t+1-m} - y_t, the next change if season m repeated itself, for each m
    features   as they arrived with tick t
each in units of its running deviation. The output is the next change in the units of `change`.
"""

import numpy as np

from ..layout import CLOCK, TRACK, NetworkViews, SeriesViews, network_views, series_views
from .jit import jit, jit_part
from .scaling import is_missing, observe, observe_uncentred, standardise
from .tbptt import advance, learn, peek, peek_from_now

LEVEL, CHANGE, FIRST_SEASON = 0, 1, 2
GATE_MEMORY = 500.0


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
def gate(series: SeriesViews):
    """How much of the network's output to believe, 0 to 1.

    The slope of a running regression of what the output should have been on what it was: 1 for
    outputs that are right on average, 0 for noise, so that noise leaves the last value standing.
    """
    square = series.track[TRACK.gate_square]
    if not square > 0.0:
        return 0.0
    return min(max(series.track[TRACK.gate_product] / square, 0.0), 1.0)


@jit_part
def observe_gate(series: SeriesViews, output, target):
    """Let the gate learn from one output and what it should have been."""
    track, rate = series.track, 1.0 / GATE_MEMORY
    track[TRACK.gate_product] += rate * (output * target - track[TRACK.gate_product])
    track[TRACK.gate_square] += rate * (output * output - track[TRACK.gate_square])


@jit_part
def next_value(series: SeriesViews, value, output):
    """The forecast of the value after `value`; `value` itself should it overflow."""
    forecast = value + gate(series) * series.scaler.spread[CHANGE] * output
    return value if is_missing(forecast) else forecast


@jit_part
def forecast(path, net: NetworkViews, series: SeriesViews, future_features):
    """Fill path, (horizon,), with forecasts of the next values, each step fed with the one before.

    future_features: (>= 0, F) features that will arrive with these values; where they end, the
    last ones are held. Touches scratch alone. NaN before the first value.
    """
    values = net.clock[CLOCK.values]
    if values == 0:
        for k in range(path.size):
            path[k] = np.nan
        return
    before = series.track[TRACK.last]
    path[0] = next_value(series, before, float(net.memory.output[0]))
    if path.size > 1:
        peek_from_now(net)
    x = net.scratch.inputs[net.settings.hidden_size :]
    for k in range(1, path.size):
        value = path[k - 1]
        known = k - 1 < future_features.shape[0]
        features = future_features[k - 1] if known else series.features
        fill_inputs(x, series, values, path, k, value, value - before, features)
        peek(net, x)
        path[k] = next_value(series, value, float(net.scratch.output[0]))
        before = value


@jit_part
def tick(net: NetworkViews, series: SeriesViews, y, features):
    """Learn from the value y and the features (F,) of one tick, and move on.

    A missing y trains nothing; the state advances as if the last value had come again. Ticks
    before the first value are passed over.
    """
    track, scaler, S = series.track, series.scaler, series.periods.size
    values = net.clock[CLOCK.values]
    missing = is_missing(y)
    if values == 0 and missing:
        return
    change = 0.0
    if values > 0:
        net.scratch.targets[0] = np.nan
        if not missing:
            change = y - track[TRACK.last]
            if scaler.spread[CHANGE] > 0.0:
                target = standardise(scaler, CHANGE, change)
                observe_gate(series, float(net.memory.output[0]), float(target))
                net.scratch.targets[0] = target
            observe_uncentred(scaler, CHANGE, change)
        learn(net, net.scratch.targets)
    if not missing:
        observe(scaler, LEVEL, y)
        track[TRACK.last] = y
    value = track[TRACK.last]
    series.history[values % series.history.size] = value
    values += 1
    net.clock[CLOCK.values] = values
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
    x = net.scratch.inputs[net.settings.hidden_size :]
    fill_inputs(x, series, values, series.history, 0, value, change, features)
    advance(net, x)


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
    return next_value(series, series.track[TRACK.last], float(net.memory.output[0]))
