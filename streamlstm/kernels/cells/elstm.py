"""eLSTM, a cell for real-time recurrent learning (Irie, Gopalakrishnan & Schmidhuber 2023).

    f = sigmoid(x w_f + r_f c_prev + b_f)     forget gate
    z = tanh(x w_z + r_z c_prev + b_z)        candidate
    c = f c_prev + (1 - f) z                  cell state
    o = sigmoid(x w_o + c w_c + b_o)          output gate
    h = o c                                   output

r is element-wise: the cell state of a unit depends on its own past only. So the traces, the
derivatives of c with respect to the weights of f and z, are one number a weight. Updating them from
tick to tick, real-time recurrent learning, is exact and costs no more than the step itself. The
output gate reads all cell states, but no cell reads the output. Letters as in docs/maths.md: T
rows, I inputs, H hidden.
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
    outer_sum,
    rows_dot,
)
from ..scalar import ONE, sigmoid, tanh
from ..vector import LANES, last, load, load2, splat, store, store2
from ..views import matrix, padded, row


class ELSTM(NamedTuple):
    """The cell as a type, which kernels are compiled for."""

    states: int = 2  # h, c


CELL = ELSTM()
FORWARD = "rtrl"


@jit_part
def activate(a_f, a_z, c_prev, r_f, r_z):
    """f, z and c, of float32 numbers or vectors."""
    f, z = sigmoid(a_f + r_f * c_prev), tanh(a_z + r_z * c_prev)
    return f, z, f * c_prev + (ONE - f) * z


@jit_part
def slopes(f, z, c_prev, r_f, r_z):
    """Derivatives of c with respect to the pre-activations of f and z, and to c_prev."""
    by_f, by_z = (c_prev - z) * f * (ONE - f), (ONE - f) * (ONE - z * z)
    return by_f, by_z, f + by_f * r_f + by_z * r_z


@jit
def elstm_step(h, c, gates, x, c_prev, w, w_c, r, b):
    """Advance by one tick.

    h, c: (H,) new output and cell state; gates: (3H,) f, z, o.
    x: (I,); c_prev: (H,); w: (I, 3H); w_c: (H, H); r: (2H,); b: (3H,).
    c may be the array that c_prev was copied from.
    """
    H = h.size
    affine(gates, x, w, b)
    whole = H - H % LANES
    for j in range(0, whole, LANES):
        f, z, cj = activate(
            load(gates, j), load(gates, H + j), load(c_prev, j), load(r, j), load(r, H + j)
        )
        store(gates, j, f)
        store(gates, H + j, z)
        store(c, j, cj)
    for j in range(whole, H):
        gates[j], gates[H + j], c[j] = activate(gates[j], gates[H + j], c_prev[j], r[j], r[H + j])
    affine(h, c, w_c, gates[2 * H :])
    for j in range(0, whole, LANES):
        o = sigmoid(load(h, j))
        store(gates, 2 * H + j, o)
        store(h, j, o * load(c, j))
    for j in range(whole, H):
        gates[2 * H + j] = sigmoid(h[j])
        h[j] = gates[2 * H + j] * c[j]


@jit
def elstm_backward(
    d_w, d_w_c, d_r, d_b, d_zs, d_os, d_c, d_o_c, d_hs, xs, gates, c_prevs, cs, w_c, r, newest,
    steps,
):  # fmt: skip
    """Back-propagate through the last `steps` ticks of the tape.

    d_w: (I, 3H), d_w_c: (H, H), d_r: (2H,) and d_b: (3H,) weight gradients, overwritten.
    d_zs: (T, 3H) pre-activation gradients, a row a tick, and d_os: (T, H) a copy of those of o,
    overwritten; d_o_c: (H,) work space.
    d_c: (H,) gradient of the cell state after the newest tick on entry, then work space.
    d_hs: (T, H) gradients of the loss of each tick's output, see `cells.backward`.
    steps: at most T; a tape that is not full holds its ticks in rows 0 .. steps-1.
    """
    T, H = cs.shape
    whole = H - H % LANES
    clear(d_r)
    for n in range(steps):
        t = (newest - n + T) % T
        output_gradients(d_os[t], d_o_c, d_hs[t], gates[t], cs[t], w_c)
        for j in range(0, whole, LANES):
            c_prev = load2(c_prevs, t, j)
            by_f, by_z, by_c = slopes(
                load2(gates, t, j), load2(gates, t, H + j), c_prev, load(r, j), load(r, H + j)
            )
            d_cj = load(d_c, j) + load(d_o_c, j)
            store2(d_zs, t, j, d_cj * by_f)
            store2(d_zs, t, H + j, d_cj * by_z)
            store2(d_zs, t, 2 * H + j, load2(d_os, t, j))
            store(d_r, j, load(d_r, j) + d_cj * by_f * c_prev)
            store(d_r, H + j, load(d_r, H + j) + d_cj * by_z * c_prev)
            store(d_c, j, d_cj * by_c)
        for j in range(whole, H):
            c_prev = c_prevs[t, j]
            by_f, by_z, by_c = slopes(gates[t, j], gates[t, H + j], c_prev, r[j], r[H + j])
            d_cj = d_c[j] + d_o_c[j]
            d_zs[t, j], d_zs[t, H + j], d_zs[t, 2 * H + j] = d_cj * by_f, d_cj * by_z, d_os[t, j]
            d_r[j] += d_cj * by_f * c_prev
            d_r[H + j] += d_cj * by_z * c_prev
            d_c[j] = d_cj * by_c
    outer_sum(d_w, d_b, xs[:steps], d_zs[:steps])
    outer_sum(d_w_c, d_o_c, cs[:steps], d_os[:steps])  # its bias gradient is known already


@jit
def output_gradients(d_o, d_c, d_h, gates, c, w_c):
    """Gradients of the pre-activation of o, (H,), and of c, (H,), from that of a tick's output."""
    H = c.size
    whole = H - H % LANES
    for j in range(0, whole, LANES):
        o = load(gates, 2 * H + j)
        store(d_o, j, load(d_h, j) * load(c, j) * o * (ONE - o))
    for j in range(whole, H):
        o = gates[2 * H + j]
        d_o[j] = d_h[j] * c[j] * o * (ONE - o)
    rows_dot(d_c, w_c, d_o, False)
    for j in range(H):
        d_c[j] += d_h[j] * gates[2 * H + j]


class Weights(NamedTuple):
    """Weights of a layer."""

    w: np.ndarray  # (I, 3H) f, z, o of x
    w_c: np.ndarray  # (H, H) o of c
    r: np.ndarray  # (2H,) f, z of c_prev, element-wise
    b: np.ndarray  # (3H,)


@jit_part
def matrices_size(cell, I, H):
    """See `cells`, also for the functions below."""
    return padded(I * 3 * H) + padded(H * H)


@jit_part
def weights_size(cell, I, H):
    """Length of `Weights`."""
    return matrices_size(cell, I, H) + padded(2 * H) + padded(3 * H)


@jit_part
def weights_of(cell, buffer, start, I, H):
    """Open `Weights`."""
    w_c = start + padded(I * 3 * H)
    r = start + matrices_size(cell, I, H)
    return Weights(
        matrix(buffer, start, I, 3 * H),
        matrix(buffer, w_c, H, H),
        row(buffer, r, 2 * H),
        row(buffer, r + padded(2 * H), 3 * H),
    )


class Tape(NamedTuple):
    """Tape of a layer."""

    xs: np.ndarray  # (T, I)
    gates: np.ndarray  # (T, 3H)
    c_prevs: np.ndarray  # (T, H)
    cs: np.ndarray  # (T, H)


@jit_part
def tape_size(cell, I, H, T):
    """Length of a `Tape`."""
    return padded(T * I) + padded(T * 3 * H) + 2 * padded(T * H)


@jit_part
def tape_of(cell, buffer, start, I, H, T):
    """Open a `Tape`."""
    gates = start + padded(T * I)
    c_prevs = gates + padded(T * 3 * H)
    return Tape(
        matrix(buffer, start, T, I),
        matrix(buffer, gates, T, 3 * H),
        matrix(buffer, c_prevs, T, H),
        matrix(buffer, c_prevs + padded(T * H), T, H),
    )


class Work(NamedTuple):
    """Work space of `backward`."""

    d_zs: np.ndarray  # (T, 3H)
    d_os: np.ndarray  # (T, H)
    d_c: np.ndarray  # (H,)
    d_o_c: np.ndarray  # (H,)


@jit_part
def work_size(cell, I, H, T):
    """Length of `Work`."""
    return padded(T * 3 * H) + padded(T * H) + 2 * padded(H)


@jit_part
def work_of(cell, buffer, start, I, H, T):
    """Open `Work`."""
    d_os = start + padded(T * 3 * H)
    d_c = d_os + padded(T * H)
    return Work(
        matrix(buffer, start, T, 3 * H),
        matrix(buffer, d_os, T, H),
        row(buffer, d_c, H),
        row(buffer, d_c + padded(H), H),
    )


@jit_part
def step(cell, state, tape, t, x, weights):
    """See `cells`."""
    h, c = state[0], state[1]
    copy(tape.xs[t], x)
    copy(tape.c_prevs[t], c)
    elstm_step(
        h, c, tape.gates[t], tape.xs[t], tape.c_prevs[t],
        weights.w, weights.w_c, weights.r, weights.b,
    )  # fmt: skip
    copy(tape.cs[t], c)


@jit_part
def backward(cell, grads, d_xs, work, d_hs, tape, weights, newest, steps):
    """See `cells`."""
    clear(work.d_c)
    elstm_backward(
        grads.w, grads.w_c, grads.r, grads.b, work.d_zs, work.d_os, work.d_c, work.d_o_c, d_hs,
        tape.xs, tape.gates, tape.c_prevs, tape.cs, weights.w_c, weights.r, newest, steps,
    )  # fmt: skip
    if d_xs.shape[0] > 0:
        input_gradients(d_xs, weights.w, work.d_zs, steps)


def initialise(cell, weights):
    """Let the forget gates remember 2 to 56 ticks, 1 + exp(b), each unit for another time.

    As in Tallec & Ollivier (2018), but evenly spaced, not random: the same weights for any seed.
    """
    H = weights.w_c.shape[0]
    weights.b[:H] = np.linspace(0.0, 4.0, H)


class Traces(NamedTuple):
    """Derivatives of c with respect to the weights of f and z."""

    w: np.ndarray  # (I, 2H)
    r: np.ndarray  # (2H,)
    b: np.ndarray  # (2H,)


@jit_part
def traces_size(cell, I, H):
    """Length of `Traces`."""
    return padded(I * 2 * H) + 2 * padded(2 * H)


@jit_part
def traces_of(cell, buffer, start, I, H):
    """Open `Traces`."""
    r = start + padded(I * 2 * H)
    return Traces(
        matrix(buffer, start, I, 2 * H),
        row(buffer, r, 2 * H),
        row(buffer, r + padded(2 * H), 2 * H),
    )


@jit
def elstm_trace_step(s_w, s_r, s_b, x, gates, c_prev, r):
    """Advance the traces of c by one tick.

    s_w: (I, 2H), s_r, s_b: (2H,) traces, updated in place; the others as in `elstm_step`.
    """
    I, H = x.size, c_prev.size
    whole = H - H % LANES
    for j in range(0, whole, LANES):
        k, cj = H + j, load(c_prev, j)
        by_f, by_z, by_c = slopes(load(gates, j), load(gates, k), cj, load(r, j), load(r, k))
        for i in range(I):
            xi = splat(x[i])
            store2(s_w, i, j, next_trace(by_c, load2(s_w, i, j), by_f * xi))
            store2(s_w, i, k, next_trace(by_c, load2(s_w, i, k), by_z * xi))
        store(s_r, j, next_trace(by_c, load(s_r, j), by_f * cj))
        store(s_r, k, next_trace(by_c, load(s_r, k), by_z * cj))
        store(s_b, j, next_trace(by_c, load(s_b, j), by_f))
        store(s_b, k, next_trace(by_c, load(s_b, k), by_z))
    for j in range(whole, H):
        k, cj = H + j, c_prev[j]
        by_f, by_z, by_c = slopes(gates[j], gates[k], cj, r[j], r[k])
        for i in range(I):
            s_w[i, j] = next_trace(by_c, s_w[i, j], by_f * x[i])
            s_w[i, k] = next_trace(by_c, s_w[i, k], by_z * x[i])
        s_r[j], s_r[k] = next_trace(by_c, s_r[j], by_f * cj), next_trace(by_c, s_r[k], by_z * cj)
        s_b[j], s_b[k] = next_trace(by_c, s_b[j], by_f), next_trace(by_c, s_b[k], by_z)


@jit_part
def trace_step(cell, traces, tape, weights):
    """See `cells`."""
    elstm_trace_step(
        traces.w, traces.r, traces.b, tape.xs[0], tape.gates[0], tape.c_prevs[0], weights.r
    )


@jit
def add_outer_product(d_w, n, x, z):
    """d_w[:, n : n + N] += x' z. d_w: (M, at least n + N), x: (M,), z: (N,)."""
    M, N = x.size, z.size
    j = 0
    while j + 2 * LANES <= N:
        z0, z1 = load(z, j), load(z, j + LANES)
        k = n + j
        for m in range(M):
            xm = splat(x[m])
            store2(d_w, m, k, load2(d_w, m, k) + xm * z0)
            store2(d_w, m, k + LANES, load2(d_w, m, k + LANES) + xm * z1)
        j += 2 * LANES
    while j < N and LANES <= N:
        k, left = n + min(j, N - LANES), min(N - j, LANES)
        z0 = last(load(z, k - n), left)
        for m in range(M):
            store2(d_w, m, k, load2(d_w, m, k) + splat(x[m]) * z0)
        j += LANES
    for m in range(M):
        for k in range(j, N):  # fewer columns than a vector has lanes
            d_w[m, n + k] += x[m] * z[k]


@jit_part
def trace_gradient(cell, grads, d_x, traces, work, d_h, tape, weights):
    """Through this tick to c and o; the traces lead from c to the weights of f and z."""
    H = d_h.size
    x, gates, c_prev, c = tape.xs[0], tape.gates[0], tape.c_prevs[0], tape.cs[0]
    d_o, d_c, r = work.d_os[0], work.d_c, weights.r
    output_gradients(d_o, d_c, d_h, gates, c, weights.w_c)
    add_trace_gradient(grads.w, traces.w, d_c)
    add_trace_gradient(matrix(grads.r, 0, 1, 2 * H), matrix(traces.r, 0, 1, 2 * H), d_c)
    add_trace_gradient(matrix(grads.b, 0, 1, 3 * H), matrix(traces.b, 0, 1, 2 * H), d_c)
    add_outer_product(grads.w, 2 * H, x, d_o)
    add_outer_product(grads.w_c, 0, c, d_o)
    for j in range(H):
        grads.b[2 * H + j] += d_o[j]
    if d_x.size > 0:
        d_z = work.d_zs[0]
        for j in range(H):
            by_f, by_z, _ = slopes(gates[j], gates[H + j], c_prev[j], r[j], r[H + j])
            d_z[j], d_z[H + j], d_z[2 * H + j] = d_c[j] * by_f, d_c[j] * by_z, d_o[j]
        rows_dot(d_x, weights.w, d_z, False)
