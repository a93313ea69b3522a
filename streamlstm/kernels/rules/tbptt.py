"""Truncated back-propagation through time.

BPTT(h; h') of Williams & Peng (1990) with h = `window` and h' = `stride`: the state is carried
on for ever; every `stride` ticks the losses of these ticks are sent back through the last
`window` ticks. The activations stay on ring-shaped tapes, so a tick costs one forward step and
at most `window` backward steps.
"""

from typing import NamedTuple

from ..jit import jit_part
from ..layout import CLOCK, NetworkViews, layer_d_hs
from ..linear import copy
from ..stack import head, head_backward, move_on, stack_backward, top
from ..stack import peek as peek


class TBPTT(NamedTuple):
    """What a network that learns this way is compiled for."""

    traces: int = 0  # it has


RULE = TBPTT()


@jit_part
def advance(rule, net: NetworkViews, x):
    """Take one tick's inputs."""
    m, T = net.memory, net.settings.window
    t = net.clock[CLOCK.ticks] % T
    move_on(net, 0, m.states, m.tapes, T, t, x)
    copy(m.hs[t], top(net, m.states))
    head(m.output, top(net, m.states), net.head.w, net.head.b)


@jit_part
def gradient(rule, net: NetworkViews, fresh):
    """Send the losses of the `fresh` newest ticks back, layer by layer from the last."""
    s, m, work = net.settings, net.memory, net.scratch
    T, ticks = s.window, net.clock[CLOCK.ticks]
    newest, steps = (ticks - 1) % T, min(ticks, T)
    d_hs = layer_d_hs(work.d_hs, s, s.num_layers - 1, T)
    head_backward(net.d_head.w, net.d_head.b, d_hs, m.d_ys, m.hs, net.head.w, newest, fresh)
    stack_backward(net, 0, work.d_xs, m.tapes, T, newest, steps)
