"""The LSTM of a stream: backward pass, update and step, with units and columns split over threads.

The steps are those of the CPU, in float32: see `cells.lstm`, `rules.tbptt` and `optimizer`.
"""

import math

import numpy as np

from .. import optimizer
from ..cells.lstm import activate, activate_backward
from ..jit import jit_part
from .device import cuda
from .layout import FIRST, ONE, PARAM, SECOND, ZERO

MOMENTUM, SMOOTHING = optimizer.MOMENTUM, optimizer.SMOOTHING
BETA1, BETA2, EPSILON = optimizer.BETA1, optimizer.BETA2, optimizer.EPSILON
LOG_BETA1, LOG_BETA2 = np.float32(math.log(0.9)), np.float32(math.log(0.999))
SMALLEST_MEAN, SMALLEST_SQUARE = optimizer.SMALLEST_MEAN, optimizer.SMALLEST_SQUARE


@jit_part
def block_sum(values, count):
    """Leave the sum of values[:count], which the block has just written, in values[0].

    Sums pairs until one value is left, in an order that is always the same.
    """
    cuda.syncthreads()
    while count > 1:
        half = (count + 1) // 2
        for k in range(cuda.threadIdx.x, count - half, cuda.blockDim.x):
            values[k] += values[half + k]
        cuda.syncthreads()
        count = half


@jit_part
def backward(work, d_y, streams, r, ticks, w, pitch, head):
    """Back-propagate the gradient d_y of the newest output through the tape.

    work: d_zs are overwritten; w: weights, with rows `pitch` apart; head: (H + 1,).
    """
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    d_zs, sums, d_c = work.d_zs, work.sums, work.d_c
    gates, c_prevs, tanh_cs = streams.gates[r], streams.c_prevs[r], streams.tanh_cs[r]
    T, N = gates.shape
    H = N // 4
    for j in range(thread, H, threads):
        sums[j], d_c[j] = d_y * head[j], ZERO
        sums[H + j] = sums[2 * H + j] = sums[3 * H + j] = ZERO
    cuda.syncthreads()
    for step in range(min(ticks, T)):
        t = (ticks - 1 - step) % T
        d_z = d_zs[t * N : (t + 1) * N]
        for j in range(thread, H, threads):
            d_h = sums[j] + sums[H + j] + sums[2 * H + j] + sums[3 * H + j]
            d_z[j], d_z[H + j], d_z[2 * H + j], d_z[3 * H + j], d_c[j] = activate_backward(
                d_h, d_c[j], gates[t, j], gates[t, H + j], gates[t, 2 * H + j],
                gates[t, 3 * H + j], c_prevs[t, j], tanh_cs[t, j],
            )  # fmt: skip
        cuda.syncthreads()
        for k in range(thread, N, threads):  # the share of one gate in d_h of unit k % H
            first, total = k - k % H, ZERO
            row = (k % H) * pitch + first
            for j in range(H):
                total += w[row + j] * d_z[first + j]
            sums[k] = total
        cuda.syncthreads()


@jit_part
def gradient(inputs, d_zs, steps, m, n, N):
    """Gradient of weight m, n: the sum over the ticks of the tape."""
    total = ZERO
    for t in range(steps):
        total += inputs[t, m] * d_zs[t * N + n]
    return total


@jit_part
def clip_factor(squares, clip_norm):
    """See `optimizer`."""
    norm = math.sqrt(squares)
    if not norm <= np.float32(np.inf) or norm == np.float32(np.inf):
        return ZERO
    return ONE if norm <= clip_norm else clip_norm / norm


@jit_part
def corrections(updates):
    """Adam's bias corrections at update n, from 1; in float32, 1 - 0.999^n would lose digits."""
    n = np.float32(updates)
    return -ONE / math.expm1(n * LOG_BETA1), -ONE / math.expm1(n * LOG_BETA2)


@jit_part
def update(weights, i, d, factor, first_correction, second_correction, decay, rules):
    """Update weight i: an optimiser step, then decay. Returns the weight. weights: (3, ...)."""
    p = weights[PARAM, i]
    if factor > ZERO:
        d *= factor
        if rules.optimizer == optimizer.SGD:
            m = MOMENTUM * weights[FIRST, i] + d
            m = m if abs(m) > SMALLEST_MEAN else ZERO
            weights[FIRST, i] = m
            p -= rules.rate * m
        elif rules.optimizer == optimizer.RMSPROP:
            v = max(SMOOTHING * weights[SECOND, i] + (ONE - SMOOTHING) * d * d, SMALLEST_SQUARE)
            weights[SECOND, i] = v
            p -= rules.rate * d / (math.sqrt(v) + EPSILON)
        else:
            m = BETA1 * weights[FIRST, i] + (ONE - BETA1) * d
            v = max(BETA2 * weights[SECOND, i] + (ONE - BETA2) * d * d, SMALLEST_SQUARE)
            weights[FIRST, i] = m if abs(m) > SMALLEST_MEAN else ZERO
            weights[SECOND, i] = v
            size = math.sqrt(v * second_correction) + EPSILON
            p -= rules.rate * (m * first_correction) / size
    p *= decay
    weights[PARAM, i] = p
    return p


@jit_part
def step_unit(streams, r, t, j, z_i, z_f, z_g, z_o):
    """Last part of a unit's step, from its pre-activations; writes row t. Returns the output."""
    H = streams.state.shape[2]
    gates, c_prev = streams.gates[r, t], streams.state[r, 1, j]
    i, f, g, o, c, tanh_c, h = activate(z_i, z_f, z_g, z_o, c_prev)
    gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j] = i, f, g, o
    streams.c_prevs[r, t, j], streams.tanh_cs[r, t, j] = c_prev, tanh_c
    streams.state[r, 0, j], streams.state[r, 1, j] = h, c
    return h
