"""Two stacks, one along the stream and one against it, that answer `lookahead` ticks late.

After Graves & Schmidhuber (2005), with a fixed lag so that it works online. At tick t the answer is
for tick t - d, d = `lookahead`: the head reads the output of the forward stack at t - d, whose
state is carried on for ever, and that of the reverse stack, which begins anew with a state of zero
at tick t and runs back to t - d. Learning is that of `tbptt` with a stride of 1: the loss of an
answer goes back through all d + 1 steps of the reverse stack, and through the ticks of the forward
stack that end with t - d. Its tapes, `window` rows, have d more than these: the gradients of the
newest d outputs are zero.
"""

from typing import NamedTuple

from ..jit import jit_part
from ..layout import CLOCK, NetworkViews, layer_d_hs
from ..linear import clear, copy
from ..stack import head, head_backward, move_on, stack_backward, top
from ..views import matrix


class Bidirectional(NamedTuple):
    """What a network that learns this way is compiled for."""

    traces: int = 0  # it has


RULE = Bidirectional()


@jit_part
def answered(net: NetworkViews, t):
    """Row of the tick that is answered for at tick t; one not yet written if there is none."""
    return (t - net.settings.lookahead) % net.settings.window


@jit_part
def reverse(net: NetworkViews, t, x):
    """Let the reverse stack read from tick t with inputs x back to t - d: on `scratch.states`."""
    s, work = net.settings, net.scratch
    d, inputs = s.lookahead, net.memory.inputs
    clear(work.states)
    below = x
    for n in range(d + 1):
        if n > 0:
            below = inputs[(t - n) % d]
        move_on(net, s.num_layers, work.states, work.tapes, d + 1, n, below)


@jit_part
def advance(rule, net: NetworkViews, x):
    """Take one tick's inputs."""
    s, m, t = net.settings, net.memory, net.clock[CLOCK.ticks]
    H, T = s.hidden_size, s.window
    move_on(net, 0, m.states, m.tapes, T, t % T, x)
    copy(m.hs[t % T, :H], top(net, m.states))
    h = m.hs[answered(net, t)]
    reverse(net, t, x)
    copy(h[H:], top(net, net.scratch.states))
    copy(m.inputs[t % s.lookahead], x)
    head(m.output, h, net.head.w, net.head.b)


@jit_part
def peek(rule, net: NetworkViews, x):
    """The forward stack has been there already."""
    H, h, t = net.settings.hidden_size, net.scratch.h, net.clock[CLOCK.ticks]
    copy(h[:H], net.memory.hs[answered(net, t), :H])
    reverse(net, t, x)
    copy(h[H:], top(net, net.scratch.states))
    head(net.scratch.output, h, net.head.w, net.head.b)


@jit_part
def gradient(rule, net: NetworkViews, fresh):
    """Of the newest answer's loss; `fresh` is 1, and the reverse stack as `advance` left it."""
    s, m, work = net.settings, net.memory, net.scratch
    H, T, steps, ticks = s.hidden_size, s.window, s.lookahead + 1, net.clock[CLOCK.ticks]
    newest, t = (ticks - 1) % T, answered(net, ticks - 1)
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
