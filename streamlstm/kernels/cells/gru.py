"""Gated recurrent unit (Cho et al. 2014), reset after the product, as in PyTorch and Keras.

    r, z = sigmoid([h_prev, x] w_rz + b_rz)     reset and update gate
    q    = h_prev w_hn + b_hn                   contribution of the past
    n    = tanh(x w_xn + b_xn + r q)            candidate
    h    = (1 - z) n + z h_prev                 output

A tape is a ring of what the backward pass needs, a row a tick: row `newest` is the last tick, row
`newest - 1` (modulo the number of rows) the one before. The columns of w are r, z, n; b is b_r,
b_z, b_xn, b_hn. Letters as in docs/maths.md: T rows, I inputs, H hidden.
"""

from typing import NamedTuple

import numpy as np

from ..jit import jit, jit_part
from ..linear import (
    add_trace_gradient,
    affine,
    clear,
    copy,
    input_gradients,
    next_trace,
    outer_sum_columns,
    own_weights,
    rows_dot,
)
from ..scalar import ONE, sigmoid, tanh
from ..vector import LANES, load, load2, splat, store, store2
from ..views import matrix, padded, row


class GRU(NamedTuple):
    """The cell as a type, which kernels are compiled for."""

    states: int = 1  # h


CELL = GRU()
FORWARD = "snap1"


@jit_part
def activate(z_r, z_z, q, z_n, h_prev):
    """Gates, candidate and output, of float32 numbers or vectors."""
    r, z = sigmoid(z_r), sigmoid(z_z)
    n = tanh(z_n + r * q)
    return r, z, n, n + z * (h_prev - n)


@jit_part
def activate_backward(d_h, r, z, q, n, h_prev):
    """Gradients of the pre-activations r and z, of q, of the pre-activation n and of h_prev.

    The gradient of h_prev leaves out what comes through the gates.
    """
    d_n = d_h * (ONE - z) * (ONE - n * n)
    return d_n * q * r * (ONE - r), d_h * (h_prev - n) * z * (ONE - z), d_n * r, d_n, d_h * z


@jit
def gru_step(h, gates, sums, h_prev, x, w, b):
    """Advance by one tick.

    h: (H,) new output; gates: (4H,) r, z, q, n; sums: (3H,) work space.
    h_prev: (H,), not the array h; x: (I,); w: (H + I, 3H); b: (4H,).
    """
    H = h.size
    affine(sums, x, w[H:], b[: 3 * H])
    copy(gates[3 * H :], sums[2 * H :])
    copy(sums[2 * H :], b[3 * H :])
    affine(gates[: 3 * H], h_prev, w[:H], sums)
    whole = H - H % LANES
    for j in range(0, whole, LANES):
        r, z, n, hj = activate(
            load(gates, j),
            load(gates, H + j),
            load(gates, 2 * H + j),
            load(gates, 3 * H + j),
            load(h_prev, j),
        )
        store(gates, j, r)
        store(gates, H + j, z)
        store(gates, 3 * H + j, n)
        store(h, j, hj)
    for j in range(whole, H):
        gates[j], gates[H + j], gates[3 * H + j], h[j] = activate(
            gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j], h_prev[j]
        )


@jit
def gru_sequence(hs, h, h_prevs, inputs, gates, sums, xs, w, b):
    """Advance by T ticks, writing tape rows 0 .. T-1.

    hs: (T, H) outputs; h: (H,) state, updated in place; h_prevs: (T, H); inputs: (T, I);
    gates: (T, 4H); sums: (3H,) work space; xs: (T, I).
    """
    for t in range(xs.shape[0]):
        copy(h_prevs[t], h)
        copy(inputs[t], xs[t])
        gru_step(h, gates[t], sums, h_prevs[t], inputs[t], w, b)
        copy(hs[t], h)


@jit
def gru_backward(d_w, d_b, d_zs, d_bh, d_h, d_u, d_hs, h_prevs, inputs, gates, w, newest, steps):
    """Back-propagate through the last `steps` ticks of the tape.

    d_w: (H + I, 3H) and d_b: (4H,) weight gradients, overwritten.
    d_zs: (T, 4H) gradients of r, z, q and n before activation, one row a tick, overwritten.
    d_bh: (3H,) and d_u: (H,) work space.
    d_h: (H,) gradient of the state after the newest tick on entry, of the state before the oldest
    tick on return.
    d_hs: (T, H) gradients of the loss of each tick's output, see `cells.backward`.
    steps: at most T; a tape that is not full holds its ticks in rows 0 .. steps-1.
    """
    T, H = h_prevs.shape
    whole = H - H % LANES
    clear(d_u)  # gradient of h through the gates; d_h is the rest
    for k in range(steps):
        t = (newest - k + T) % T
        for j in range(0, whole, LANES):
            d_r, d_z, d_q, d_n, d_hj = activate_backward(
                load(d_h, j) + load(d_u, j) + load2(d_hs, t, j),
                load2(gates, t, j),
                load2(gates, t, H + j),
                load2(gates, t, 2 * H + j),
                load2(gates, t, 3 * H + j),
                load2(h_prevs, t, j),
            )
            store2(d_zs, t, j, d_r)
            store2(d_zs, t, H + j, d_z)
            store2(d_zs, t, 2 * H + j, d_q)
            store2(d_zs, t, 3 * H + j, d_n)
            store(d_h, j, d_hj)
        for j in range(whole, H):
            d_zs[t, j], d_zs[t, H + j], d_zs[t, 2 * H + j], d_zs[t, 3 * H + j], d_h[j] = (
                activate_backward(
                    d_h[j] + d_u[j] + d_hs[t, j],
                    gates[t, j],
                    gates[t, H + j],
                    gates[t, 2 * H + j],
                    gates[t, 3 * H + j],
                    h_prevs[t, j],
                )
            )
        rows_dot(d_u, w[:H], d_zs[t], k % 2 == 1)  # r, z, q
    for j in range(H):
        d_h[j] += d_u[j]
    outer_sum_columns(d_w[:H], d_bh, h_prevs[:steps], d_zs[:steps], 0, 0, 3 * H)
    copy(d_b[3 * H :], d_bh[2 * H :])
    outer_sum_columns(d_w[H:], d_b, inputs[:steps], d_zs[:steps], 0, 0, 2 * H)
    outer_sum_columns(d_w[H:], d_b, inputs[:steps], d_zs[:steps], 2 * H, 3 * H, H)


class Weights(NamedTuple):
    """Weights of a layer."""

    w: np.ndarray  # (H + I, 3H) r, z, n of [h_prev, x]
    b: np.ndarray  # (4H,) b_r, b_z, b_xn, b_hn


@jit_part
def matrices_size(cell, I, H):
    """See `cells`, also for the functions below."""
    return padded((H + I) * 3 * H)


@jit_part
def weights_size(cell, I, H):
    """Length of `Weights`."""
    return matrices_size(cell, I, H) + padded(4 * H)


@jit_part
def weights_of(cell, buffer, start, I, H):
    """Open `Weights`."""
    b = start + matrices_size(cell, I, H)
    return Weights(matrix(buffer, start, H + I, 3 * H), row(buffer, b, 4 * H))


class Tape(NamedTuple):
    """Tape of a layer."""

    h_prevs: np.ndarray  # (T, H)
    inputs: np.ndarray  # (T, I)
    gates: np.ndarray  # (T, 4H) r, z, q, n
    sums: np.ndarray  # (3H,) work space of a step


@jit_part
def tape_size(cell, I, H, T):
    """Length of a `Tape`."""
    return padded(T * H) + padded(T * I) + padded(T * 4 * H) + padded(3 * H)


@jit_part
def tape_of(cell, buffer, start, I, H, T):
    """Open a `Tape`."""
    inputs = start + padded(T * H)
    gates = inputs + padded(T * I)
    sums = gates + padded(T * 4 * H)
    return Tape(
        matrix(buffer, start, T, H),
        matrix(buffer, inputs, T, I),
        matrix(buffer, gates, T, 4 * H),
        row(buffer, sums, 3 * H),
    )


class Work(NamedTuple):
    """Work space of `backward`."""

    d_zs: np.ndarray  # (T, 4H) r, z, q, n
    d_bh: np.ndarray  # (3H,)
    d_h: np.ndarray  # (H,)
    d_u: np.ndarray  # (H,)


@jit_part
def work_size(cell, I, H, T):
    """Length of `Work`."""
    return padded(T * 4 * H) + padded(3 * H) + 2 * padded(H)


@jit_part
def work_of(cell, buffer, start, I, H, T):
    """Open `Work`."""
    d_bh = start + padded(T * 4 * H)
    d_h = d_bh + padded(3 * H)
    return Work(
        matrix(buffer, start, T, 4 * H),
        row(buffer, d_bh, 3 * H),
        row(buffer, d_h, H),
        row(buffer, d_h + padded(H), H),
    )


@jit_part
def step(cell, state, tape, t, x, weights):
    """See `cells`."""
    h = state[0]
    copy(tape.h_prevs[t], h)
    copy(tape.inputs[t], x)
    gru_step(h, tape.gates[t], tape.sums, tape.h_prevs[t], tape.inputs[t], weights.w, weights.b)


@jit_part
def backward(cell, grads, d_xs, work, d_hs, tape, weights, newest, steps):
    """See `cells`."""
    clear(work.d_h)
    gru_backward(
        grads.w, grads.b, work.d_zs, work.d_bh, work.d_h, work.d_u, d_hs,
        tape.h_prevs, tape.inputs, tape.gates, weights.w, newest, steps,
    )  # fmt: skip
    if d_xs.shape[0] > 0:
        H = d_hs.shape[1]
        for t in range(steps):  # of r, z and n
            copy(work.d_zs[t, 2 * H : 3 * H], work.d_zs[t, 3 * H :])
        input_gradients(d_xs, weights.w[H:], work.d_zs, steps)


def initialise(cell, weights):
    """Nothing to do: all biases start at zero."""


class Traces(NamedTuple):
    """Derivatives of each unit's h with respect to the weights of its gates."""

    w: np.ndarray  # (H + I, 3H)
    b: np.ndarray  # (4H,)


@jit_part
def traces_size(cell, I, H):
    """Length of `Traces`."""
    return padded((H + I) * 3 * H) + padded(4 * H)


@jit_part
def traces_of(cell, buffer, start, I, H):
    """Open `Traces`."""
    b = start + padded((H + I) * 3 * H)
    return Traces(matrix(buffer, start, H + I, 3 * H), row(buffer, b, 4 * H))


@jit_part
def slopes(r, z, q, n, h_prev, w_r, w_z, w_n):
    """Derivatives of h with respect to r and z (pre-activations), q, n (pre-activation) and h_prev.

    All of one unit, of float32 numbers or vectors. w_r and so on are the weights of its own h_prev.
    """
    by_r, by_z, by_q, by_n, by_h = activate_backward(ONE, r, z, q, n, h_prev)
    return by_r, by_z, by_q, by_n, by_h + by_r * w_r + by_z * w_z + by_q * w_n


@jit
def gru_trace_step(s_w, s_b, diagonal, h_prev, x, gates):
    """SnAp-1 (Menick et al. 2021): traces of h with respect to the weights of its own unit.

    s_w: (H + I, 3H) and s_b: (4H,) traces, updated in place.
    diagonal: (3H,) each unit's weights of its own h_prev; the others as in `gru_step`.
    """
    I, H = x.size, h_prev.size
    whole = H - H % LANES
    for j in range(0, whole, LANES):
        j_z, j_q, j_n = H + j, 2 * H + j, 3 * H + j
        by_r, by_z, by_q, by_n, by_h = slopes(
            load(gates, j), load(gates, j_z), load(gates, j_q), load(gates, j_n), load(h_prev, j),
            load(diagonal, j), load(diagonal, j_z), load(diagonal, j_q),
        )  # fmt: skip
        for m in range(H):
            h = splat(h_prev[m])
            store2(s_w, m, j, next_trace(by_h, load2(s_w, m, j), by_r * h))
            store2(s_w, m, j_z, next_trace(by_h, load2(s_w, m, j_z), by_z * h))
            store2(s_w, m, j_q, next_trace(by_h, load2(s_w, m, j_q), by_q * h))
        for i in range(I):
            m, xi = H + i, splat(x[i])
            store2(s_w, m, j, next_trace(by_h, load2(s_w, m, j), by_r * xi))
            store2(s_w, m, j_z, next_trace(by_h, load2(s_w, m, j_z), by_z * xi))
            store2(s_w, m, j_q, next_trace(by_h, load2(s_w, m, j_q), by_n * xi))
        store(s_b, j, next_trace(by_h, load(s_b, j), by_r))
        store(s_b, j_z, next_trace(by_h, load(s_b, j_z), by_z))
        store(s_b, j_q, next_trace(by_h, load(s_b, j_q), by_n))
        store(s_b, j_n, next_trace(by_h, load(s_b, j_n), by_q))
    for j in range(whole, H):
        j_z, j_q, j_n = H + j, 2 * H + j, 3 * H + j
        by_r, by_z, by_q, by_n, by_h = slopes(
            gates[j], gates[j_z], gates[j_q], gates[j_n], h_prev[j],
            diagonal[j], diagonal[j_z], diagonal[j_q],
        )  # fmt: skip
        for m in range(H):
            h = h_prev[m]
            s_w[m, j] = next_trace(by_h, s_w[m, j], by_r * h)
            s_w[m, j_z] = next_trace(by_h, s_w[m, j_z], by_z * h)
            s_w[m, j_q] = next_trace(by_h, s_w[m, j_q], by_q * h)
        for i in range(I):
            m, xi = H + i, x[i]
            s_w[m, j] = next_trace(by_h, s_w[m, j], by_r * xi)
            s_w[m, j_z] = next_trace(by_h, s_w[m, j_z], by_z * xi)
            s_w[m, j_q] = next_trace(by_h, s_w[m, j_q], by_n * xi)
        s_b[j], s_b[j_z] = next_trace(by_h, s_b[j], by_r), next_trace(by_h, s_b[j_z], by_z)
        s_b[j_q], s_b[j_n] = next_trace(by_h, s_b[j_q], by_n), next_trace(by_h, s_b[j_n], by_q)


@jit_part
def trace_step(cell, traces, tape, weights):
    """See `cells`."""
    h_prev = tape.h_prevs[0]
    own_weights(tape.sums, weights.w, h_prev.size)
    gru_trace_step(traces.w, traces.b, tape.sums, h_prev, tape.inputs[0], tape.gates[0])


@jit_part
def trace_gradient(cell, grads, d_x, traces, work, d_h, tape, weights):
    """The traces of h times the gradient of h; d_x goes back through this tick only."""
    H = d_h.size
    add_trace_gradient(matrix(grads.b, 0, 1, 4 * H), matrix(traces.b, 0, 1, 4 * H), d_h)
    add_trace_gradient(grads.w, traces.w, d_h)
    if d_x.size > 0:
        gates, d_z = tape.gates[0], work.d_zs[0]
        for j in range(H):
            d_z[j], d_z[H + j], _, d_z[2 * H + j], _ = activate_backward(
                d_h[j], gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j],
                tape.h_prevs[0, j],
            )  # fmt: skip
        rows_dot(d_x, weights.w[H:], d_z, False)
