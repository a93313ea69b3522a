"""A stack of recurrent layers with a Dense head, tick by tick: advance, peek, learn."""

import numpy as np

from . import embedding, rules
from .cells import matrices_size
from .jit import jit_part
from .layout import CLOCK, NetworkViews, dense_size, inputs_of, weights_start
from .linear import clear, copy
from .loss import loss_gradient
from .optimizer import clip_factor, optimizer_step, squared_norm
from .views import row

ALERT_FACTOR = 2.0  # of the learning rate for a while after a drift


@jit_part
def advance(net: NetworkViews, x):
    """Advance by one tick: state, tapes and `memory.output`. x: (I,) float32."""
    m, t = net.memory, net.clock[CLOCK.ticks] % net.settings.window
    rules.advance(net.rule, net, x)
    clear(m.d_ys[t])
    copy(m.embedded[t], net.scratch.embedded)
    net.clock[CLOCK.ticks] += 1


@jit_part
def peek(net: NetworkViews, x):
    """Leave in `scratch.output` what `advance` would put into `memory.output`; change no state."""
    rules.peek(net.rule, net, x)


@jit_part
def learn(net: NetworkViews, targets):
    """Store the gradient of the newest output's loss, and update the weights if due.

    targets: (K,) float32; a NaN is a missing target and adds nothing to the loss.
    """
    s, m = net.settings, net.memory
    newest = (net.clock[CLOCK.ticks] - 1) % s.window
    labelled = 0
    for k in range(s.output_size):
        error = m.output[k] - targets[k]
        if not np.isnan(error):
            m.d_ys[newest, k] = loss_gradient(s.loss, error)
            labelled = 1
    update_if_due(net, labelled)


@jit_part
def update_if_due(net: NetworkViews, labelled):
    """Count a tick and update every `stride` ticks. labelled: 1 if the tick has a target, or 0."""
    net.clock[CLOCK.labelled] += labelled
    net.clock[CLOCK.unlearned] += 1
    if net.clock[CLOCK.unlearned] >= net.settings.stride:
        learn_pending(net)


@jit_part
def learn_pending(net: NetworkViews):
    """Update the weights with the ticks since the last update, if any of them has a target."""
    if net.clock[CLOCK.labelled] > 0:
        rules.gradient(net.rule, net, net.clock[CLOCK.unlearned])
        embedding.gradient(net)
        update(net)
    net.clock[CLOCK.unlearned] = 0
    net.clock[CLOCK.labelled] = 0


@jit_part
def decay_weights(w, factor):
    """w = factor w: decoupled weight decay (Loshchilov & Hutter 2019). w: (N,)."""
    for n in range(w.size):
        w[n] *= factor


@jit_part
def update(net: NetworkViews):
    """One optimiser step along `scratch.grads`."""
    s, flat = net.settings, net.weights
    rate = s.learning_rate
    if net.clock[CLOCK.alert] > 0:
        rate *= ALERT_FACTOR
    net.clock[CLOCK.updates] += 1
    updates, P = net.clock[CLOCK.updates], dense_size(net.cell, s)
    grads = row(net.scratch.grads, 0, P)
    factor = clip_factor(squared_norm(grads) + embedding.squared_norms(net), s.clip_norm)
    optimizer_step(
        row(flat.params, 0, P), row(flat.first, 0, P), row(flat.second, 0, P), grads,
        s.optimizer, rate, factor, updates,
    )  # fmt: skip
    embedding.update(net, rate, factor, updates)
    if s.weight_decay > 0.0:
        decay = np.float32(1.0 - rate * s.weight_decay)
        layers = s.directions * s.num_layers
        for layer in range(layers):
            I = inputs_of(s, layer)
            start = weights_start(net.cell, s, layer)
            decay_weights(row(flat.params, start, matrices_size(net.cell, I, s.hidden_size)), decay)
        decay_weights(row(flat.params, weights_start(net.cell, s, layers), net.head.w.size), decay)
