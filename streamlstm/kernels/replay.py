"""Experience replay (Lin 1992): updates on random windows of the past and the newest one.

An update takes a mini-batch of B windows of T ticks from a ring of the last C ticks: the newest
window and B - 1 random ones. Each starts from a state of zero. The first ticks are a burn-in that
only builds up the state; the outputs of the others learn from all targets that have arrived. So a
value is learned from whenever it is drawn, and the batch turns matrix-vector products into matrix
products.
"""

import numpy as np

from .batch import head_batch, head_batch_backward, lstm_batch, lstm_batch_backward
from .jit import jit_part
from .layout import CLOCK, NetworkViews, ReplayBuffer, layer_weights
from .loss import loss_gradient
from .network import update

BURN_IN = 0.3  # share of a window
LATER_WEIGHT = np.float32(0.03)  # of the loss of each horizon after the first
ZERO = np.float32(0.0)


@jit_part
def scramble(n):
    """A pseudo-random integer from 0 to 2^31 - 1: splitmix64 of n (Steele et al. 2014)."""
    z = np.uint64(n) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((z ^ (z >> np.uint64(31))) >> np.uint64(33))


@jit_part
def window_start(net: NetworkViews, n, ticks, capacity):
    """First tick of window n of the next update; window 0 is the newest.

    ticks: number of ticks so far, of which the replay buffer holds the last `capacity`.
    """
    newest, oldest = ticks - net.settings.window, max(ticks - capacity, 0)
    if n == 0:
        return newest
    draw = net.clock[CLOCK.updates] * net.settings.replay + n
    return oldest + scramble(net.clock[CLOCK.seed] + draw) % (newest - oldest + 1)


@jit_part
def replay_learn(net: NetworkViews, past: ReplayBuffer, ticks):
    """Update on a mini-batch of windows, once there are ticks for three windows.

    ticks: number of ticks so far.
    """
    s, windows = net.settings, net.windows
    H, T, C = s.hidden_size, s.window, past.inputs.shape[0]
    if ticks < 3 * T:
        return
    for n in range(s.replay):
        start = window_start(net, n, ticks, C)
        for j in range(H):
            windows.inputs[0, j, n] = ZERO
            windows.cs[0, j, n] = ZERO
            windows.d_h[j, n] = ZERO
            windows.d_c[j, n] = ZERO
        for t in range(T):
            tick = (start + t) % C
            for i in range(s.input_size):
                windows.inputs[t, H + i, n] = past.inputs[tick, i]
    weights = layer_weights(net.cell, net.weights.params, s, 0)
    grads = layer_weights(net.cell, net.scratch.grads, s, 0)
    lstm_batch(windows.inputs, windows.cs, windows.gates, windows.tanh_cs, weights.w, weights.b)
    first = int(BURN_IN * T)
    head_batch(windows.outputs, windows.inputs, net.head.w, net.head.b, first)
    tick_weight, arrived = np.float32(1.0 / ((T - first) * s.replay)), 0
    for n in range(s.replay):
        start = window_start(net, n, ticks, C)
        for t in range(first, T):
            tick = (start + t) % C
            for k in range(s.output_size):
                error = windows.outputs[t, k, n] - past.targets[tick, k]
                weight = tick_weight if k == 0 else tick_weight * LATER_WEIGHT
                windows.outputs[t, k, n] = ZERO
                if not np.isnan(error):
                    windows.outputs[t, k, n] = weight * loss_gradient(s.loss, error)
                    arrived += 1
    if arrived == 0:
        return
    head_batch_backward(
        net.d_head.w, net.d_head.b, windows.d_hs, windows.outputs, windows.inputs,
        net.head.w, first,
    )  # fmt: skip
    lstm_batch_backward(
        grads.w, grads.b, windows.d_zs, windows.d_h, windows.d_c, windows.d_hs,
        windows.inputs, windows.cs, windows.gates, windows.tanh_cs, weights.w,
    )  # fmt: skip
    update(net)
