"""Experience replay: an update on windows of the past next to the newest (Lin 1992).

Every update takes a mini-batch of B windows of T ticks from a ring of the last C: the newest and
B - 1 at random. Each begins from a state of zero; after the first ticks, which only build up the
state, every output counts for all targets that have arrived by now. So a value is learned from as
often as it is drawn, not once, and the batch makes matrix products of matrix-vector products.
"""

import numpy as np

from .batch import head_batch, head_batch_backward, lstm_batch, lstm_batch_backward
from .jit import jit_part
from .layout import CLOCK, NetworkViews, Past, layer_weights
from .loss import loss_gradient
from .network import update

BUILD_UP = 0.3  # of a window
LATER = np.float32(0.03)  # weight of the loss of every horizon but the first
ZERO = np.float32(0.0)


@jit_part
def scramble(n):
    """A whole number from 0 to 2^31 - 1 that looks random: splitmix64 (Steele et al. 2014)."""
    z = np.uint64(n) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((z ^ (z >> np.uint64(31))) >> np.uint64(33))


@jit_part
def window_start(net: NetworkViews, n, ticks, capacity):
    """First tick of the n-th window of the next update; window 0 is the newest.

    ticks: how many the past has seen, of which it holds the last `capacity`.
    """
    newest, oldest = ticks - net.settings.window, max(ticks - capacity, 0)
    if n == 0:
        return newest
    draw = net.clock[CLOCK.updates] * net.settings.replay + n
    return oldest + scramble(net.clock[CLOCK.seed] + draw) % (newest - oldest + 1)


@jit_part
def replay_learn(net: NetworkViews, past: Past, ticks):
    """One update on a mini-batch of windows; none until there are three windows' worth of ticks.

    ticks: how many `past` has seen.
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
    first = int(BUILD_UP * T)
    head_batch(windows.outputs, windows.inputs, net.head.w, net.head.b, first)
    share, arrived = np.float32(1.0 / ((T - first) * s.replay)), 0
    for n in range(s.replay):
        start = window_start(net, n, ticks, C)
        for t in range(first, T):
            tick = (start + t) % C
            for k in range(s.output_size):
                error = windows.outputs[t, k, n] - past.targets[tick, k]
                weight = share if k == 0 else share * LATER
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
