"""Regression on features around the network: what the regressors do with each tick.

The first K channels of the scaler are the targets, the others the features. An output of the
network is a target in units of its running deviation from its running mean. A scaler that does not
scale has means of 0 and deviations of 1 that have been counted for ever: see `is_fixed`.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from .cells import CELLS
from .inputs import fill_inputs, learn_channel
from .jit import jit, jit_part
from .layout import NetworkViews, Scaler, network_views, scaler_views
from .network import advance, learn, learn_now, peek
from .rules import RULES
from .scaling import as_it_is, is_fixed, is_missing, standardise


@jit_part
def in_units_of_target(scaler: Scaler, k, output):
    """Output k of the network as a prediction; the running mean should it overflow."""
    prediction = scaler.center[k] + scaler.spread[k] * output
    return scaler.center[k] if is_missing(prediction) else prediction


@jit_part
def aim(net: NetworkViews, scaler: Scaler, k, y):
    """Set target k of the network; NaN, which trains nothing, while its scale is unknown."""
    if is_fixed(scaler, k):
        net.scratch.targets[k] = as_it_is(y, np.nan)
    elif not is_missing(y) and scaler.spread[k] > 0.0:
        net.scratch.targets[k] = standardise(scaler, k, y)
    else:
        net.scratch.targets[k] = np.nan


@jit_part
def take(net: NetworkViews, scaler: Scaler, features):
    """Advance by a tick with these features, (F,)."""
    fill_inputs(net, scaler, net.settings.output_size, features)
    advance(net, net.scratch.x)


@jit_part
def look_ahead(net: NetworkViews, scaler: Scaler, features):
    """What the outputs would be after such a tick, on scratch alone: see `scratch.output`."""
    fill_inputs(net, scaler, net.settings.output_size, features)
    peek(net, net.scratch.x)


@jit_part
def learn_features(net: NetworkViews, scaler: Scaler, features):
    """Let the features' channels learn: last, so that predictions before the tick hold."""
    for n in range(features.size):
        learn_channel(scaler, net.settings.output_size + n, features[n])


@jit_part
def tick(net: NetworkViews, scaler: Scaler, features, y):
    """Predict the only target from the features (F,) of one tick, learn it, return the prediction.

    Statistics move on last, so that the prediction is the one `predict_one` gives before the tick.
    """
    take(net, scaler, features)
    prediction = in_units_of_target(scaler, 0, float(net.memory.output[0]))
    aim(net, scaler, 0, y)
    learn(net, net.scratch.targets)
    learn_channel(scaler, 0, y)
    learn_features(net, scaler, features)
    return prediction


class Entries(NamedTuple):
    """Compiled for one cell and one learning rule."""

    predict_one: Callable[..., float]
    learn_one: Callable[..., float]
    learn_many: Callable[..., None]
    predict_targets: Callable[..., None]
    learn_targets: Callable[..., None]
    flush: Callable[..., None]


@cache
def entries(cell: str, learning: str) -> Entries:
    """What the regressors call for the cell and the learning rule of these names."""
    kind = CELLS[cell].CELL, RULES[learning].RULE

    @jit
    def predict_one(features, settings, weights, memory, scratch, clock, stats):
        """The prediction for a tick with these features (F,); touches scratch alone."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        scaler = scaler_views(stats, 1 + features.size)
        look_ahead(net, scaler, features)
        return in_units_of_target(scaler, 0, float(net.scratch.output[0]))

    @jit
    def learn_one(features, y, settings, weights, memory, scratch, clock, stats):
        """Learn from one tick; the prediction made before. features: (F,)."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        return tick(net, scaler_views(stats, 1 + features.size), features, y)

    @jit
    def learn_many(predictions, features, ys, settings, weights, memory, scratch, clock, stats):
        """Predict, then learn from, each of T ticks. predictions, ys: (T,); features: (T, F)."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        scaler = scaler_views(stats, 1 + features.shape[1])
        for t in range(ys.size):
            predictions[t] = tick(net, scaler, features[t], ys[t])

    @jit
    def predict_targets(predictions, features, settings, weights, memory, scratch, clock, stats):
        """`predict_one` of K targets: predictions (K,)."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        scaler = scaler_views(stats, predictions.size + features.size)
        look_ahead(net, scaler, features)
        for k in range(predictions.size):
            predictions[k] = in_units_of_target(scaler, k, float(net.scratch.output[k]))

    @jit
    def learn_targets(predictions, features, ys, settings, weights, memory, scratch, clock, stats):
        """`learn_many` of K targets. predictions, ys: (T, K); features: (T, F)."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        T, K = ys.shape
        scaler = scaler_views(stats, K + features.shape[1])
        for t in range(T):
            take(net, scaler, features[t])
            for k in range(K):
                predictions[t, k] = in_units_of_target(scaler, k, float(net.memory.output[k]))
                aim(net, scaler, k, ys[t, k])
            learn(net, net.scratch.targets)
            for k in range(K):
                learn_channel(scaler, k, ys[t, k])
            learn_features(net, scaler, features[t])

    @jit
    def flush(settings, weights, memory, scratch, clock):
        """Learn now what waits for the next update."""
        learn_now(network_views(kind, settings, weights, memory, scratch, clock))

    return Entries(predict_one, learn_one, learn_many, predict_targets, learn_targets, flush)
