"""Learning forward in time: without a window, by traces that every tick updates.

A trace is the derivative of a unit's state with respect to a weight, through the whole past. If the
units of a cell do not read each other's states (`elstm`), this is real-time recurrent learning,
which is exact (Williams & Zipser 1989; Irie, Gopalakrishnan & Schmidhuber 2024). For other cells
(`lstm`, `gru`) it is SnAp-1 (Menick et al. 2021), which leaves out what passes through other units.
A layer passes the gradient to the layer below within the newest tick only.
"""

from typing import NamedTuple

from ..cells import trace_gradient, trace_step, traces_of, traces_size, work_of
from ..jit import jit_part
from ..layout import NetworkViews, inputs_of, layer_d_hs, layer_start, layer_tape, layer_weights
from ..linear import clear, copy
from ..stack import head, head_backward, stack_step, top_output
from ..stack import peek as peek
from ..views import row


class Forward(NamedTuple):
    """The rule as a type, which kernels are compiled for."""

    traces: int = 1  # 1 if it needs traces


RULE = Forward()


@jit_part
def layer_traces(net: NetworkViews, layer):
    """Open a layer's traces."""
    s = net.settings
    I, H = s.input_size, s.hidden_size
    start = layer_start(traces_size(net.cell, I, H), traces_size(net.cell, H, H), layer)
    return traces_of(net.cell, net.memory.traces, start, inputs_of(s, layer), H)


@jit_part
def advance(rule, net: NetworkViews, x):
    """See `rules`."""
    s, m = net.settings, net.memory
    stack_step(net, 0, m.states, m.tapes, 1, 0, x)
    copy(m.hs[0], top_output(net, m.states))
    for layer in range(s.num_layers):
        weights = layer_weights(net.cell, net.weights.params, s, layer)
        tape = layer_tape(net.cell, m.tapes, s, layer, 1)
        trace_step(net.cell, layer_traces(net, layer), tape, weights)
    head(m.output, top_output(net, m.states), net.head.w, net.head.b)


@jit_part
def gradient(rule, net: NetworkViews, fresh):
    """See `rules`; `fresh` is 1."""
    s, m, work = net.settings, net.memory, net.scratch
    clear(work.grads)
    d_hs = layer_d_hs(work.d_hs, s, s.num_layers - 1, 1)
    head_backward(net.d_head.w, net.d_head.b, d_hs, m.d_ys, m.hs, net.head.w, 0, 1)
    for n in range(s.num_layers):
        layer = s.num_layers - 1 - n
        I = inputs_of(s, layer)
        d_x = row(work.d_hs, 0, 0)
        if layer > 0:
            d_x = layer_d_hs(work.d_hs, s, layer - 1, 1)[0]
        elif s.categories > 0:
            d_x = work.d_xs[0]
        trace_gradient(
            net.cell,
            layer_weights(net.cell, work.grads, s, layer),
            d_x,
            layer_traces(net, layer),
            work_of(net.cell, work.work, 0, I, s.hidden_size, 1),
            layer_d_hs(work.d_hs, s, layer, 1)[0],
            layer_tape(net.cell, m.tapes, s, layer, 1),
            layer_weights(net.cell, net.weights.params, s, layer),
        )
