"""Truncated back-propagation through time.

BPTT(h; h') of Williams & Peng (1990) with h = `window` and h' = `stride`: the state is carried
on for ever; every `stride` ticks the losses of these ticks are sent back through the last
`window` ticks. The activations stay on ring-shaped tapes, so a tick costs one forward step and
at most `window` backward steps.
"""

from typing import NamedTuple

from ..layout import (
    CLOCK,
    NetworkViews,
    inputs_of,
    layer_d_hs,
    layer_tape,
    layer_weights,
)
from .cells import backward, work_of
from .jit import jit_part
from .linear import copy
from .stack import head_backward, move_on, top


class TBPTT(NamedTuple):
    """What a network that learns this way is compiled for."""

    traces: int = 0  # it has


RULE = TBPTT()


@jit_part
def advance(rule, net: NetworkViews, x):
    """Take one tick's inputs."""
    m, T = net.memory, net.settings.window
    t = net.clock[CLOCK.ticks] % T
    move_on(net, m.states, m.tapes, T, t, x)
    copy(m.hs[t], top(net, m.states))


@jit_part
def gradient(rule, net: NetworkViews, fresh):
    """Send the losses of the `fresh` newest ticks back, layer by layer from the last."""
    s, m, work = net.settings, net.memory, net.scratch
    T, ticks = s.window, net.clock[CLOCK.ticks]
    newest, steps = (ticks - 1) % T, min(ticks, T)
    d_hs = layer_d_hs(work.d_hs, s, s.num_layers - 1)
    head_backward(net.d_head.w, net.d_head.b, d_hs, m.d_ys, m.hs, net.head.w, newest, fresh)
    for n in range(s.num_layers):
        layer = s.num_layers - 1 - n
        I = inputs_of(s, layer)
        d_xs = work.d_xs
        if layer > 0:
            d_xs = layer_d_hs(work.d_hs, s, layer - 1)
        backward(
            net.cell,
            layer_weights(net.cell, work.grads, s, layer),
            d_xs,
            work_of(net.cell, work.work, 0, I, s.hidden_size, T),
            layer_d_hs(work.d_hs, s, layer),
            layer_tape(net.cell, m.tapes, s, layer, T),
            layer_weights(net.cell, net.weights.params, s, layer),
            newest,
            steps,
        )
