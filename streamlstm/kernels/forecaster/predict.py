"""Forecasts of a series: prefetched after every tick, rolled out further on request.

After a tick every member forecasts the next K values. These forecasts are stored: they answer
requests at once, and the members learn from their errors when the values arrive. If features are
known in advance, the prefetch waits for those of the next tick.
"""

import math

import numpy as np

from ..jit import jit_inlined, jit_part
from ..layout import CLOCK, NetworkViews, ReplayBuffer
from ..network import advance
from ..scaling import is_missing
from .committee import mixture
from .history import fill_recent_values, value_at
from .intervals import error_quantile, intervals_store
from .layout import CHANGE, LAGS, SeriesViews, Work
from .members import fill_inputs, fill_outputs, fill_regressors, has_network


@jit_inlined
def committee_forecast(committee, k, outputs, value, scale):
    """The committee's forecast for horizon index k; the newest `value` if it overflows."""
    K = committee.errors.size
    known = min(k, K - 1)
    forecast = value + scale * math.sqrt(k + 1.0) * mixture(committee, known, outputs)
    return value if is_missing(forecast) else forecast


@jit_part
def prefetch_forecasts(work: Work, net: NetworkViews, series: SeriesViews, past: ReplayBuffer):
    """Let every member forecast the next K values, and store the forecasts."""
    prepare_inputs(work, net, series, past)
    if has_network(series):
        advance(net, net.scratch.x)
    store_forecasts(work, net, series)


@jit_inlined
def prepare_inputs(work: Work, net: NetworkViews, series: SeriesViews, past: ReplayBuffer):
    """First part of `prefetch_forecasts`: leave the network's inputs in `scratch.x`."""
    ticks, K = net.clock[CLOCK.values], series.shape.horizon
    fill_recent_values(work, series, ticks, K)
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
def store_forecasts(work: Work, net: NetworkViews, series: SeriesViews):
    """Last part of `prefetch_forecasts`, once the network has advanced."""
    ticks, K = net.clock[CLOCK.values], series.shape.horizon
    committee, origin = series.committee, ticks % K
    committee.values[origin] = work.paths[0, LAGS]
    committee.scales[origin] = series.scaler.spread[CHANGE]
    no_features = series.history[:0]
    fill_outputs(committee.outputs, origin * K, work, net, series, K, no_features)
    value, scale = committee.values[origin], committee.scales[origin]
    ring = series.history.shape[0] - 1
    m = series.periods[0] if series.periods.size > 0 else 0
    for k in range(K):
        outputs = committee.outputs[origin * K + k]
        phase_error, cycles = np.nan, 0.0
        if m > 0:
            phase_error = value_at(series, ring, ticks + k - m * (k // m + 1), ticks)
            cycles = float(ticks // m)
        ahead = committee_forecast(committee, k, outputs, value, scale)
        intervals_store(series.intervals, origin, k, ahead, phase_error, cycles)


@jit_inlined
def set_known_features(series: SeriesViews, known, features):
    """Set the features of the next tick, (F,), that are known in advance.

    known: (F,) 1 for these, 0 for others.
    """
    for n in range(features.size):
        if known[n] > 0.0:
            series.features[n] = features[n]


@jit_inlined
def fill_path(path, work: Work, net: NetworkViews, series: SeriesViews, future_features):
    """Fill path, (h,), with forecasts of the next values; NaN before the first value.

    future_features: (h, F) features of these ticks; with (0, F) the newest ones stay. Then the
    first K forecasts have been prefetched. Beyond K ticks the committee has the weights of the
    K-th. Changes work space only.
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
    fill_recent_values(work, series, ticks, h)
    fill_outputs(work.outputs, 0, work, net, series, h, future_features)
    for k in range(h):
        path[k] = committee_forecast(committee, k, work.outputs[k], value, scale)


@jit_inlined
def fill_bounds(bounds, path, places, work: Work, net: NetworkViews, series: SeriesViews):
    """Fill bounds, (Q, h), with quantiles around path, (h,). places: see `error_quantile`."""
    origin = net.clock[CLOCK.values] % series.shape.horizon
    for side in range(places.size):
        for k in range(path.size):
            bounds[side, k] = path[k]
            if net.clock[CLOCK.values] > 0:
                bounds[side, k] += error_quantile(
                    series.intervals, work.ordered, origin, k, places[side]
                )
