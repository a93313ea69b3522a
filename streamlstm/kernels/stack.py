"""Layers of cells, each reading the outputs of the one below, and the Dense head on the last."""

import numpy as np

from ..layout import NetworkViews, layer_state, layer_tape, layer_weights
from .cells import step
from .jit import jit_part
from .linear import clear, rows_dot


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
def move_on(net: NetworkViews, states, tapes, T, t, x):
    """Advance the states of all layers by one tick, writing row t of their tapes of T ticks."""
    s, below = net.settings, x
    for layer in range(s.num_layers):
        state = layer_state(net.cell, states, s, layer)
        weights = layer_weights(net.cell, net.weights.params, s, layer)
        step(net.cell, state, layer_tape(net.cell, tapes, s, layer, T), t, below, weights)
        below = state[0]


@jit_part
def top(net: NetworkViews, states):
    """The output of the last layer, (H,)."""
    return layer_state(net.cell, states, net.settings, net.settings.num_layers - 1)[0]
