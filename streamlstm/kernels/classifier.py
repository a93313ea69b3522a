"""Kernels of `LSTMClassifier`: classification on features.

The outputs of the network are logits. A class is known after the first tick with it; until then its
probability is 0. All channels of the scaler are those of features.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from .cells import CELLS
from .inputs import fill_inputs, learn_channel
from .jit import jit, jit_part
from .layout import CLOCK, NetworkViews, network_views
from .network import advance, learn_pending, peek, update_if_due
from .rules import RULES
from .scaling import Scaler, scaler_views


@jit_part
def softmax(probabilities, logits, classes):
    """exp(y) / sum of exp(y) over the first `classes`, 0 for the others; both (K,)."""
    largest = -np.inf
    for k in range(classes):
        largest = max(largest, logits[k])
    total = 0.0
    for k in range(classes):
        probabilities[k] = np.exp(logits[k] - largest)
        total += probabilities[k]
    for k in range(logits.size):
        probabilities[k] = probabilities[k] / total if k < classes else 0.0


@jit_part
def learn_tick(probabilities, net: NetworkViews, scaler: Scaler, features, label):
    """Predict the probabilities of a tick's classes, (K,), then learn its label.

    label: number of a class; -1 if it is missing, then only the state advances. The gradient of
    the cross-entropy with respect to the logits is softmax - 1 for the label, softmax for others.
    """
    fill_inputs(net, scaler, 0, features)
    advance(net, net.scratch.x)
    softmax(probabilities, net.memory.output, net.clock[CLOCK.classes])
    if label >= 0:
        net.clock[CLOCK.classes] = max(net.clock[CLOCK.classes], label + 1)
        softmax(net.scratch.targets, net.memory.output, net.clock[CLOCK.classes])
        newest = (net.clock[CLOCK.ticks] - 1) % net.settings.window
        for k in range(net.clock[CLOCK.classes]):
            net.memory.d_ys[newest, k] = net.scratch.targets[k]
        net.memory.d_ys[newest, label] -= np.float32(1.0)
    update_if_due(net, 1 if label >= 0 else 0)
    for n in range(features.size):
        learn_channel(scaler, n, features[n])


class Entries(NamedTuple):
    """Entry points compiled for one cell and one learning rule."""

    predict: Callable[..., None]
    learn_many: Callable[..., None]
    flush: Callable[..., None]


@cache
def entries(cell: str, learning: str) -> Entries:
    """The entry points for the cell and the learning rule of these names."""
    kind = CELLS[cell].CELL, RULES[learning].RULE

    @jit
    def predict(probabilities, features, settings, weights, memory, scratch, clock, stats):
        """Probabilities, (K,), for a tick with these features (F,); changes work space only."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        fill_inputs(net, scaler_views(stats, features.size), 0, features)
        peek(net, net.scratch.x)
        softmax(probabilities, net.scratch.output, net.clock[CLOCK.classes])

    @jit
    def learn_many(
        probabilities, features, labels, settings, weights, memory, scratch, clock, stats
    ):
        """Predict, then learn from, each of T ticks.

        probabilities: (T, K); features: (T, F); labels: (T,) numbers of classes, -1 if missing.
        """
        net = network_views(kind, settings, weights, memory, scratch, clock)
        scaler = scaler_views(stats, features.shape[1])
        for t in range(labels.size):
            learn_tick(probabilities[t], net, scaler, features[t], labels[t])

    @jit
    def flush(settings, weights, memory, scratch, clock):
        """Learn from the ticks that wait for the next update."""
        learn_pending(network_views(kind, settings, weights, memory, scratch, clock))

    return Entries(predict, learn_many, flush)
