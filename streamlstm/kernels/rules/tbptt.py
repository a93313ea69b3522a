"""Truncated back-propagation through time.

BPTT(h; h') of Williams & Peng (1990) with h = `window` and h' = `stride`. The state is carried on
for ever. Every `stride` ticks the losses of these ticks are back-propagated through the last
`window` ticks. The tapes keep the activations, so a tick costs one forward step and at most
`window` backward steps.
"""

from typing import NamedTuple

from ..jit import jit_part
from ..layout import CLOCK, NetworkViews, layer_d_hs
from ..linear import copy
from ..stack import head, head_backward, stack_backward, stack_step, top_output
from ..stack import peek as peek


class TBPTT(NamedTuple):
    """The rule as a type, which kernels are compiled for."""

    traces: int = 0  # 1 if it needs traces


RULE = TBPTT()


@jit_part
def advance(rule, net: NetworkViews, x):
    """See `rules`."""
    m, T = net.memory, net.settings.window
    t = net.clock[CLOCK.ticks] % T
    stack_step(net, 0, m.states, m.tapes, T, t, x)
    copy(m.hs[t], top_output(net, m.states))
    head(m.output, top_output(net, m.states), net.head.w, net.head.b)


@jit_part
def gradient(rule, net: NetworkViews, fresh):
    """See `rules`."""
    s, m, work = net.settings, net.memory, net.scratch
    T, ticks = s.window, net.clock[CLOCK.ticks]
    newest, steps = (ticks - 1) % T, min(ticks, T)
    d_hs = layer_d_hs(work.d_hs, s, s.num_layers - 1, T)
    head_backward(net.d_head.w, net.d_head.b, d_hs, m.d_ys, m.hs, net.head.w, newest, fresh)
    stack_backward(net, 0, work.d_xs, m.tapes, T, newest, steps)
