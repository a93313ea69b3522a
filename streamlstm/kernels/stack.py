"""Layers of cells, each reading the outputs of the one below, and the Dense head on the last.

A network has a stack of `num_layers` layers that begins with layer 0, and in `bidirectional` a
second one that begins with layer `num_layers`.
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
    """Gradients of the head over the `fresh` newest ticks, their mean loss counting.

    d_hs: (T, H), rows of older ticks set to zero; d_ys: (T, K); hs: (T, H).
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
def move_on(net: NetworkViews, first, states, tapes, T, t, x):
    """Advance the stack that begins with layer `first`, writing row t of its tapes of T ticks."""
    s, below = net.settings, x
    for layer in range(s.num_layers):
        state = layer_state(net.cell, states, s, layer)
        weights = layer_weights(net.cell, net.weights.params, s, first + layer)
        step(net.cell, state, layer_tape(net.cell, tapes, s, layer, T), t, below, weights)
        below = state[0]


@jit_view
def top(net: NetworkViews, states):
    """The output of the last layer, (H,)."""
    return layer_state(net.cell, states, net.settings, net.settings.num_layers - 1)[0]


@jit_part
def peek(rule, net: NetworkViews, x):
    """Of a network with one stack: see `rules`."""
    work = net.scratch
    copy(work.states, net.memory.states)
    move_on(net, 0, work.states, work.tapes, 1, 0, x)
    head(work.output, top(net, work.states), net.head.w, net.head.b)


@jit_part
def stack_backward(net: NetworkViews, first, d_xs, tapes, T, newest, steps):
    """Send `scratch.d_hs` of the last layer back through the stack that begins with layer `first`.

    For `d_xs`, of its inputs, `tapes`, T, `newest` and `steps` see `cells.backward`; the gradients
    are in `scratch.grads`.
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
