"""A forward and a reverse stack that answer `lookahead` ticks late.

After Graves & Schmidhuber (2005), with a fixed lag so that it works online. At tick t the output
answers for tick t - d, d = `lookahead`. The head reads the forward stack's output at t - d, and
that of the reverse stack, which starts from a state of zero at tick t and runs back to t - d. The
state of the forward stack is carried on for ever.

Learning is that of `tbptt` with a stride of 1: the loss of an answer goes back through all d + 1
steps of the reverse stack, and through the forward stack from t - d on. The tapes of the forward
stack also hold the newest d ticks, whose outputs have gradients of zero.
"""

from typing import NamedTuple

from ..jit import jit_part
from ..layout import CLOCK, NetworkViews, layer_d_hs
from ..linear import clear, copy
from ..stack import head, head_backward, stack_backward, stack_step, top_output
from ..views import matrix


class Bidirectional(NamedTuple):
    """The rule as a type, which kernels are compiled for."""

    traces: int = 0  # 1 if it needs traces


RULE = Bidirectional()


@jit_part
def answered_row(net: NetworkViews, t):
    """Row of the tick that is answered at tick t; a row not yet written if there is none."""
    return (t - net.settings.lookahead) % net.settings.window


@jit_part
def run_reverse(net: NetworkViews, t, x):
    """Run the reverse stack from tick t, with inputs x, back to t - d, on `scratch.states`."""
    s, work = net.settings, net.scratch
    d, inputs = s.lookahead, net.memory.inputs
    clear(work.states)
    below = x
    for n in range(d + 1):
        if n > 0:
            below = inputs[(t - n) % d]
        stack_step(net, s.num_layers, work.states, work.tapes, d + 1, n, below)


@jit_part
def advance(rule, net: NetworkViews, x):
    """See `rules`."""
    s, m, t = net.settings, net.memory, net.clock[CLOCK.ticks]
    H, T = s.hidden_size, s.window
    stack_step(net, 0, m.states, m.tapes, T, t % T, x)
    copy(m.hs[t % T, :H], top_output(net, m.states))
    h = m.hs[answered_row(net, t)]
    run_reverse(net, t, x)
    copy(h[H:], top_output(net, net.scratch.states))
    copy(m.inputs[t % s.lookahead], x)
    head(m.output, h, net.head.w, net.head.b)


@jit_part
def peek(rule, net: NetworkViews, x):
    """See `rules`. The forward stack has read that tick already."""
    H, h, t = net.settings.hidden_size, net.scratch.h, net.clock[CLOCK.ticks]
    copy(h[:H], net.memory.hs[answered_row(net, t), :H])
    run_reverse(net, t, x)
    copy(h[H:], top_output(net, net.scratch.states))
    head(net.scratch.output, h, net.head.w, net.head.b)


@jit_part
def gradient(rule, net: NetworkViews, fresh):
    """See `rules`; `fresh` is 1. The reverse stack is as `advance` left it."""
    s, m, work = net.settings, net.memory, net.scratch
    H, T, steps, ticks = s.hidden_size, s.window, s.lookahead + 1, net.clock[CLOCK.ticks]
    newest, t = (ticks - 1) % T, answered_row(net, ticks - 1)
    head_backward(
        net.d_head.w, net.d_head.b, matrix(work.h, 0, 1, 2 * H), m.d_ys[newest : newest + 1],
        m.hs[t : t + 1], net.head.w, 0, 1,
    )  # fmt: skip
    d_hs = layer_d_hs(work.d_hs, s, s.num_layers - 1, T)
    for n in range(T):
        clear(d_hs[n])
    copy(d_hs[t], work.h[:H])
    stack_backward(net, 0, work.d_xs, m.tapes, T, newest, min(ticks, T))
    d_hs = layer_d_hs(work.d_hs, s, s.num_layers - 1, steps)
    for n in range(steps):
        clear(d_hs[n])
    copy(d_hs[steps - 1], work.h[H:])
    d_xs = work.d_xs_reverse
    stack_backward(net, s.num_layers, d_xs, work.tapes, steps, steps - 1, steps)
    for n in range(d_xs.shape[0]):  # the reverse stack read the newest tick first
        for i in range(s.input_size):
            work.d_xs[(newest - n + T) % T, i] += d_xs[n, i]
