"""Kernels of `LSTMRegressor` and `LSTMMultiTargetRegressor`: regression on features.

The first K channels of the scaler are those of the targets, the others those of the features. The
network's outputs are standardised targets. Channels that are not scaled have a mean of 0 and a
deviation of 1 for ever: see `is_fixed`.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from .cells import CELLS
from .inputs import fill_inputs, learn_channel
from .jit import jit, jit_part
from .layout import NetworkViews, network_views
from .network import advance, learn, learn_pending, peek
from .rules import RULES
from .scaling import Scaler, is_fixed, is_missing, scaler_views, standardise, unscaled


@jit_part
def unscaled_prediction(scaler: Scaler, k, output):
    """Output k of the network in units of target k; the running mean if it overflows."""
    prediction = scaler.center[k] + scaler.spread[k] * output
    return scaler.center[k] if is_missing(prediction) else prediction


@jit_part
def set_target(net: NetworkViews, scaler: Scaler, k, y):
    """Set target k of the network; NaN, which trains nothing, if y or its scale is missing."""
    if is_fixed(scaler, k):
        net.scratch.targets[k] = unscaled(y, np.nan)
    elif not is_missing(y) and scaler.spread[k] > 0.0:
        net.scratch.targets[k] = standardise(scaler, k, y)
    else:
        net.scratch.targets[k] = np.nan


@jit_part
def advance_tick(net: NetworkViews, scaler: Scaler, features):
    """Advance the network by a tick with these features, (F,)."""
    fill_inputs(net, scaler, net.settings.output_size, features)
    advance(net, net.scratch.x)


@jit_part
def peek_tick(net: NetworkViews, scaler: Scaler, features):
    """Leave in `scratch.output` what the outputs would be after such a tick; change no state."""
    fill_inputs(net, scaler, net.settings.output_size, features)
    peek(net, net.scratch.x)


@jit_part
def learn_features(net: NetworkViews, scaler: Scaler, features):
    """Update the features' channels: last, so that a tick is scaled as its prediction was."""
    for n in range(features.size):
        learn_channel(scaler, net.settings.output_size + n, features[n])


@jit_part
def learn_tick(net: NetworkViews, scaler: Scaler, features, y):
    """Predict the target of a tick from its features (F,), then learn it. Returns the prediction.

    The scaler learns last, so that the prediction is the one that `predict_one` gives before.
    """
    advance_tick(net, scaler, features)
    prediction = unscaled_prediction(scaler, 0, float(net.memory.output[0]))
    set_target(net, scaler, 0, y)
    learn(net, net.scratch.targets)
    learn_channel(scaler, 0, y)
    learn_features(net, scaler, features)
    return prediction


class Entries(NamedTuple):
    """Entry points compiled for one cell and one learning rule."""

    predict_one: Callable[..., float]
    learn_one: Callable[..., float]
    learn_many: Callable[..., None]
    predict_targets: Callable[..., None]
    learn_targets: Callable[..., None]
    flush: Callable[..., None]


@cache
def entries(cell: str, learning: str) -> Entries:
    """The entry points for the cell and the learning rule of these names."""
    kind = CELLS[cell].CELL, RULES[learning].RULE

    @jit
    def predict_one(features, settings, weights, memory, scratch, clock, stats):
        """The prediction for a tick with these features (F,); changes work space only."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        scaler = scaler_views(stats, 1 + features.size)
        peek_tick(net, scaler, features)
        return unscaled_prediction(scaler, 0, float(net.scratch.output[0]))

    @jit
    def learn_one(features, y, settings, weights, memory, scratch, clock, stats):
        """Learn from a tick. Returns the prediction made before. features: (F,)."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        return learn_tick(net, scaler_views(stats, 1 + features.size), features, y)

    @jit
    def learn_many(predictions, features, ys, settings, weights, memory, scratch, clock, stats):
        """Predict, then learn from, each of T ticks. predictions, ys: (T,); features: (T, F)."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        scaler = scaler_views(stats, 1 + features.shape[1])
        for t in range(ys.size):
            predictions[t] = learn_tick(net, scaler, features[t], ys[t])

    @jit
    def predict_targets(predictions, features, settings, weights, memory, scratch, clock, stats):
        """`predict_one` of K targets: predictions (K,)."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        scaler = scaler_views(stats, predictions.size + features.size)
        peek_tick(net, scaler, features)
        for k in range(predictions.size):
            predictions[k] = unscaled_prediction(scaler, k, float(net.scratch.output[k]))

    @jit
    def learn_targets(predictions, features, ys, settings, weights, memory, scratch, clock, stats):
        """`learn_many` of K targets. predictions, ys: (T, K); features: (T, F)."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        T, K = ys.shape
        scaler = scaler_views(stats, K + features.shape[1])
        for t in range(T):
            advance_tick(net, scaler, features[t])
            for k in range(K):
                predictions[t, k] = unscaled_prediction(scaler, k, float(net.memory.output[k]))
                set_target(net, scaler, k, ys[t, k])
            learn(net, net.scratch.targets)
            for k in range(K):
                learn_channel(scaler, k, ys[t, k])
            learn_features(net, scaler, features[t])

    @jit
    def flush(settings, weights, memory, scratch, clock):
        """Learn from the ticks that wait for the next update."""
        learn_pending(network_views(kind, settings, weights, memory, scratch, clock))

    return Entries(predict_one, learn_one, learn_many, predict_targets, learn_targets, flush)
