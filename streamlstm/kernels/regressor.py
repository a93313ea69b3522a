"""Regression on features around the network: what `LSTMRegressor` does with each tick.

Channel 0 of the scaler is the target, the others are the network's inputs. The output of the
network is the target in units of its running deviation from its running mean. A scaler that does
not scale has means of 0 and deviations of 1 that have been counted for ever: see `is_fixed`.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from ..layout import NetworkViews, Scaler, network_views, scaler_views
from .cells import CELLS
from .jit import jit, jit_part
from .network import advance, learn, learn_now, peek
from .rules import RULES
from .scaling import as_it_is, is_fixed, is_missing, observe, standardise

TARGET = 0


@jit_part
def fill_inputs(x, scaler: Scaler, features):
    """Inputs x of the network, (F,) each, in units of their running deviations."""
    if is_fixed(scaler):
        for n in range(features.size):
            x[n] = as_it_is(features[n], 0.0)
    else:
        for n in range(features.size):
            x[n] = standardise(scaler, n + 1, features[n])


@jit_part
def in_units_of_target(scaler: Scaler, output):
    """Output of the network as a prediction; the running mean should it overflow."""
    prediction = scaler.center[TARGET] + scaler.spread[TARGET] * output
    return scaler.center[TARGET] if is_missing(prediction) else prediction


@jit_part
def tick(net: NetworkViews, scaler: Scaler, features, y):
    """Predict y from the features (F,) of one tick, learn from it and return the prediction.

    Statistics move on last, so that the prediction is the one `predict` gives before the tick.
    """
    fill_inputs(net.scratch.x, scaler, features)
    advance(net, net.scratch.x)
    prediction = in_units_of_target(scaler, float(net.memory.output[0]))
    net.scratch.targets[0] = np.nan
    fixed, missing = is_fixed(scaler), is_missing(y)
    if fixed:
        net.scratch.targets[0] = as_it_is(y, np.nan)
    elif not missing and scaler.spread[TARGET] > 0.0:
        net.scratch.targets[0] = standardise(scaler, TARGET, y)
    learn(net, net.scratch.targets)
    if fixed:
        return prediction
    if not missing:
        observe(scaler, TARGET, y)
    for n in range(features.size):
        if not is_missing(features[n]):
            observe(scaler, n + 1, features[n])
    return prediction


class Entries(NamedTuple):
    """Compiled for one cell and one learning rule."""

    predict_one: Callable[..., float]
    learn_one: Callable[..., float]
    learn_many: Callable[..., None]
    flush: Callable[..., None]


@cache
def entries(cell: str, learning: str) -> Entries:
    """What `LSTMRegressor` calls for the cell and the learning rule of these names."""
    kind = CELLS[cell].CELL, RULES[learning].RULE

    @jit
    def predict_one(features, settings, weights, memory, scratch, clock, stats):
        """The prediction for a tick with these features (F,); touches scratch alone."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        scaler = scaler_views(stats, net.settings.input_size + 1)
        fill_inputs(net.scratch.x, scaler, features)
        peek(net, net.scratch.x)
        return in_units_of_target(scaler, float(net.scratch.output[0]))

    @jit
    def learn_one(features, y, settings, weights, memory, scratch, clock, stats):
        """Learn from one tick; the prediction made before. features: (F,)."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        return tick(net, scaler_views(stats, net.settings.input_size + 1), features, y)

    @jit
    def learn_many(predictions, features, ys, settings, weights, memory, scratch, clock, stats):
        """Predict, then learn from, each of T ticks. predictions, ys: (T,); features: (T, F)."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        scaler = scaler_views(stats, net.settings.input_size + 1)
        for t in range(ys.size):
            predictions[t] = tick(net, scaler, features[t], ys[t])

    @jit
    def flush(settings, weights, memory, scratch, clock):
        """Learn now what waits for the next update."""
        learn_now(network_views(kind, settings, weights, memory, scratch, clock))

    return Entries(predict_one, learn_one, learn_many, flush)
