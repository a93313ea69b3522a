"""Stacked layers of cells, each reading the outputs of the one below, and the Dense head on top.

The stack of a network is its layers 0 to `num_layers` - 1. A bidirectional network has a second
stack, from layer `num_layers` on.
"""

import numpy as np

from .cells import backward, step, work_of
from .jit import jit_part, jit_view
from .layout import NetworkViews, inputs_of, layer_d_hs, layer_state, layer_tape, layer_weights
from .linear import clear, copy, rows_dot


@jit_part
def head(y, h, w_head, b_head):
    """Dense layer y = w_head h + b_head. y: (K,), h: (H,), w_head: (K, H), b_head: (K,)."""
    rows_dot(y, w_head, h)
    for k in range(y.size):
        y[k] += b_head[k]


@jit_part
def head_backward(d_w_head, d_b_head, d_hs, d_ys, hs, w_head, newest, fresh):
    """Gradients of the mean loss of the `fresh` newest ticks with respect to the head and to hs.

    d_hs: (T, H), zero for older ticks; d_ys: (T, K); hs: (T, H).
    """
    T, H = d_hs.shape
    K = d_ys.shape[1]
    for k in range(K):
        clear(d_w_head[k])
    for t in range(T):
        clear(d_hs[t])
    clear(d_b_head)
    share = np.float32(1.0 / fresh)
    for n in range(fresh):
        t = (newest - n + T) % T
        for k in range(K):
            d_y = d_ys[t, k] * share
            d_b_head[k] += d_y
            for j in range(H):
                d_w_head[k, j] += d_y * hs[t, j]
                d_hs[t, j] += d_y * w_head[k, j]


@jit_part
def stack_step(net: NetworkViews, first, states, tapes, T, t, x):
    """Advance the stack from layer `first` on by a tick; write row t of its tapes of T ticks."""
    s, below = net.settings, x
    for layer in range(s.num_layers):
        state = layer_state(net.cell, states, s, layer)
        weights = layer_weights(net.cell, net.weights.params, s, first + layer)
        step(net.cell, state, layer_tape(net.cell, tapes, s, layer, T), t, below, weights)
        below = state[0]


@jit_view
def top_output(net: NetworkViews, states):
    """Output of the last layer, (H,)."""
    return layer_state(net.cell, states, net.settings, net.settings.num_layers - 1)[0]


@jit_part
def peek(rule, net: NetworkViews, x):
    """`rules.peek` of a network with one stack."""
    work = net.scratch
    copy(work.states, net.memory.states)
    stack_step(net, 0, work.states, work.tapes, 1, 0, x)
    head(work.output, top_output(net, work.states), net.head.w, net.head.b)


@jit_part
def stack_backward(net: NetworkViews, first, d_xs, tapes, T, newest, steps):
    """Back-propagate `scratch.d_hs` of the last layer through the stack from layer `first` on.

    d_xs: gradients of the stack's inputs. See `cells.backward` for it and for tapes, T, newest and
    steps. The gradients of the weights are left in `scratch.grads`.
    """
    s, work = net.settings, net.scratch
    for n in range(s.num_layers):
        layer = s.num_layers - 1 - n
        backward(
            net.cell,
            layer_weights(net.cell, work.grads, s, first + layer),
            layer_d_hs(work.d_hs, s, layer - 1, T) if layer > 0 else d_xs,
            work_of(net.cell, work.work, 0, inputs_of(s, layer), s.hidden_size, T),
            layer_d_hs(work.d_hs, s, layer, T),
            layer_tape(net.cell, tapes, s, layer, T),
            layer_weights(net.cell, net.weights.params, s, first + layer),
            newest,
            steps,
        )
