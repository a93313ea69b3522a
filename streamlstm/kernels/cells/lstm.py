"""LSTM with forget gate (Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000).

    z = [h_prev, x] w + b            pre-activations of the gates i, f, g, o
    i, f, o = sigmoid(z)             input, forget and output gate
    g = tanh(z)                      candidate
    c = f c_prev + i g               cell state
    h = o tanh(c)                    output

A tape is a ring of what the backward pass needs, a row a tick: row `newest` is the last tick, row
`newest - 1` (modulo the number of rows) the one before. Letters as in docs/maths.md: T rows, I
inputs, H hidden.
"""

from typing import NamedTuple

import numpy as np

from ..jit import jit, jit_part
from ..linear import (
    ZERO,
    add_trace_gradient,
    affine,
    clear,
    copy,
    input_gradients,
    next_trace,
    outer_sum,
    own_weights,
    rows_dot,
)
from ..scalar import ONE, sigmoid, tanh
from ..vector import LANES, load, load2, splat, store, store2
from ..views import matrix, padded, row


class LSTM(NamedTuple):
    """The cell as a type, which kernels are compiled for."""

    states: int = 2  # h, c


CELL = LSTM()
FORWARD = "snap1"


@jit_part
def activate(z_i, z_f, z_g, z_o, c_prev):
    """Gates, cell state, its tanh and output, of float32 numbers or vectors."""
    i, f, g, o = sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)
    c = f * c_prev + i * g
    tanh_c = tanh(c)
    return i, f, g, o, c, tanh_c, o * tanh_c


@jit_part
def activate_backward(d_h, d_c, i, f, g, o, c_prev, tanh_c):
    """Gradients of the pre-activations i, f, g, o and of c_prev."""
    d_c = d_c + d_h * o * (ONE - tanh_c * tanh_c)
    return (
        d_c * g * i * (ONE - i),
        d_c * c_prev * f * (ONE - f),
        d_c * i * (ONE - g * g),
        d_h * tanh_c * o * (ONE - o),
        d_c * f,
    )


@jit
def lstm_step(h, c, gates, tanh_c, inputs, c_prev, w, b):
    """Advance by one tick.

    h, c: (H,) new output and cell state; gates: (4H,) i, f, g, o; tanh_c: (H,).
    inputs: (H + I,) holding [h_prev, x]; c_prev: (H,); w: (H + I, 4H); b: (4H,).
    h and c may be the arrays that h_prev and c_prev were copied from.
    """
    affine(gates, inputs, w, b)
    lstm_activate(h, c, gates, tanh_c, c_prev)


@jit
def lstm_activate(h, c, gates, tanh_c, c_prev):
    """Last part of `lstm_step`: gates hold the pre-activations on entry."""
    H = h.size
    whole = H - H % LANES
    for j in range(0, whole, LANES):
        i, f, g, o, cj, tanh_cj, hj = activate(
            load(gates, j),
            load(gates, H + j),
            load(gates, 2 * H + j),
            load(gates, 3 * H + j),
            load(c_prev, j),
        )
        store(gates, j, i)
        store(gates, H + j, f)
        store(gates, 2 * H + j, g)
        store(gates, 3 * H + j, o)
        store(c, j, cj)
        store(tanh_c, j, tanh_cj)
        store(h, j, hj)
    for j in range(whole, H):
        i, f, g, o = gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j]
        i, f, g, o, c[j], tanh_c[j], h[j] = activate(i, f, g, o, c_prev[j])
        gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j] = i, f, g, o


@jit
def lstm_sequence(hs, h, c, inputs, gates, c_prevs, tanh_cs, xs, w, b):
    """Advance by T ticks, writing tape rows 0 .. T-1.

    hs: (T, H) outputs; h, c: (H,) state, updated in place; inputs: (T, H + I);
    gates: (T, 4H); c_prevs, tanh_cs: (T, H); xs: (T, I).
    """
    H = h.size
    for t in range(xs.shape[0]):
        copy(inputs[t, :H], h)
        copy(inputs[t, H:], xs[t])
        copy(c_prevs[t], c)
        lstm_step(h, c, gates[t], tanh_cs[t], inputs[t], c_prevs[t], w, b)
        copy(hs[t], h)


@jit
def lstm_backward(
    d_w, d_b, d_zs, d_h, d_c, d_hs, inputs, gates, c_prevs, tanh_cs, w, newest, steps
):
    """Back-propagate through the last `steps` ticks of the tape.

    d_w: (H + I, 4H) and d_b: (4H,) weight gradients, overwritten.
    d_zs: (T, 4H) pre-activation gradients, one row a tick, overwritten.
    d_h, d_c: (H,) gradient of the state after the newest tick on entry, of the state before the
    oldest tick on return.
    d_hs: (T, H) gradients of the loss of each tick's output, see `cells.backward`.
    steps: at most T; a tape that is not full holds its ticks in rows 0 .. steps-1.
    """
    T, H = tanh_cs.shape
    whole = H - H % LANES
    for n in range(steps):
        t = (newest - n + T) % T
        for j in range(0, whole, LANES):
            d_i, d_f, d_g, d_o, d_cj = activate_backward(
                load(d_h, j) + load2(d_hs, t, j),
                load(d_c, j),
                load2(gates, t, j),
                load2(gates, t, H + j),
                load2(gates, t, 2 * H + j),
                load2(gates, t, 3 * H + j),
                load2(c_prevs, t, j),
                load2(tanh_cs, t, j),
            )
            store2(d_zs, t, j, d_i)
            store2(d_zs, t, H + j, d_f)
            store2(d_zs, t, 2 * H + j, d_g)
            store2(d_zs, t, 3 * H + j, d_o)
            store(d_c, j, d_cj)
        for j in range(whole, H):
            d_zs[t, j], d_zs[t, H + j], d_zs[t, 2 * H + j], d_zs[t, 3 * H + j], d_c[j] = (
                activate_backward(
                    d_h[j] + d_hs[t, j],
                    d_c[j],
                    gates[t, j],
                    gates[t, H + j],
                    gates[t, 2 * H + j],
                    gates[t, 3 * H + j],
                    c_prevs[t, j],
                    tanh_cs[t, j],
                )
            )
        rows_dot(d_h, w[:H], d_zs[t], n % 2 == 1)
    outer_sum(d_w, d_b, inputs[:steps], d_zs[:steps])


class Weights(NamedTuple):
    """Weights of a layer."""

    w: np.ndarray  # (H + I, 4H) gates i, f, g, o of [h_prev, x]
    b: np.ndarray  # (4H,)


@jit_part
def matrices_size(cell, I, H):
    """See `cells`, also for the functions below."""
    return padded((H + I) * 4 * H)


@jit_part
def weights_size(cell, I, H):
    """Length of `Weights`."""
    return matrices_size(cell, I, H) + padded(4 * H)


@jit_part
def weights_of(cell, buffer, start, I, H):
    """Open `Weights`."""
    b = start + matrices_size(cell, I, H)
    return Weights(matrix(buffer, start, H + I, 4 * H), row(buffer, b, 4 * H))


class Tape(NamedTuple):
    """Tape of a layer."""

    inputs: np.ndarray  # (T, H + I)
    gates: np.ndarray  # (T, 4H)
    c_prevs: np.ndarray  # (T, H)
    tanh_cs: np.ndarray  # (T, H)


@jit_part
def tape_size(cell, I, H, T):
    """Length of a `Tape`."""
    return padded(T * (H + I)) + padded(T * 4 * H) + 2 * padded(T * H)


@jit_part
def tape_of(cell, buffer, start, I, H, T):
    """Open a `Tape`."""
    gates = start + padded(T * (H + I))
    c_prevs = gates + padded(T * 4 * H)
    tanh_cs = c_prevs + padded(T * H)
    return Tape(
        matrix(buffer, start, T, H + I),
        matrix(buffer, gates, T, 4 * H),
        matrix(buffer, c_prevs, T, H),
        matrix(buffer, tanh_cs, T, H),
    )


class Work(NamedTuple):
    """Work space of `backward`."""

    d_zs: np.ndarray  # (T, 4H)
    d_h: np.ndarray  # (H,)
    d_c: np.ndarray  # (H,)


@jit_part
def work_size(cell, I, H, T):
    """Length of `Work`."""
    return padded(T * 4 * H) + 2 * padded(H)


@jit_part
def work_of(cell, buffer, start, I, H, T):
    """Open `Work`."""
    d_h = start + padded(T * 4 * H)
    return Work(
        matrix(buffer, start, T, 4 * H), row(buffer, d_h, H), row(buffer, d_h + padded(H), H)
    )


@jit_part
def step(cell, state, tape, t, x, weights):
    """See `cells`."""
    H = state.shape[1]
    h, c = state[0], state[1]
    copy(tape.inputs[t, :H], h)
    copy(tape.inputs[t, H:], x)
    copy(tape.c_prevs[t], c)
    lstm_step(
        h, c, tape.gates[t], tape.tanh_cs[t], tape.inputs[t], tape.c_prevs[t], weights.w, weights.b
    )


@jit_part
def backward(cell, grads, d_xs, work, d_hs, tape, weights, newest, steps):
    """See `cells`."""
    clear(work.d_h)
    clear(work.d_c)
    lstm_backward(
        grads.w, grads.b, work.d_zs, work.d_h, work.d_c, d_hs, tape.inputs, tape.gates,
        tape.c_prevs, tape.tanh_cs, weights.w, newest, steps,
    )  # fmt: skip
    if d_xs.shape[0] > 0:
        H = d_hs.shape[1]
        input_gradients(d_xs, weights.w[H:], work.d_zs, steps)


def initialise(cell, weights):
    """Open the forget gates, so that the cells remember from the start (Gers et al. 2000)."""
    H = weights.b.size // 4
    weights.b[H : 2 * H] = 1.0


class Traces(NamedTuple):
    """Derivatives of each unit's h and c with respect to the weights of its gates.

    Row 0 is of b, the others are of w. There are none of c with respect to the weights of o, which
    do not reach c within one tick.
    """

    h: np.ndarray  # (1 + H + I, 4H)
    c: np.ndarray  # (1 + H + I, 3H) of i, f, g
    diagonal: np.ndarray  # (4H,) work space of a step


@jit_part
def traces_size(cell, I, H):
    """Length of `Traces`."""
    return padded((1 + H + I) * 4 * H) + padded((1 + H + I) * 3 * H) + padded(4 * H)


@jit_part
def traces_of(cell, buffer, start, I, H):
    """Open `Traces`."""
    c = start + padded((1 + H + I) * 4 * H)
    return Traces(
        matrix(buffer, start, 1 + H + I, 4 * H),
        matrix(buffer, c, 1 + H + I, 3 * H),
        row(buffer, c + padded((1 + H + I) * 3 * H), 4 * H),
    )


@jit_part
def slopes(i, f, g, o, c_prev, tanh_c, w_i, w_f, w_g, w_o):
    """Derivatives of h, then of c, with respect to the pre-activations, h_prev and c_prev.

    All of one unit, of float32 numbers or vectors. w_i and so on are the weights of its own h_prev.
    """
    h_i, h_f, h_g, h_o, h_c = activate_backward(ONE, ZERO, i, f, g, o, c_prev, tanh_c)
    c_i, c_f, c_g, _, c_c = activate_backward(ZERO, ONE, i, f, g, o, c_prev, tanh_c)
    c_h = c_i * w_i + c_f * w_f + c_g * w_g
    h_h = h_i * w_i + h_f * w_f + h_g * w_g + h_o * w_o
    return (h_i, h_f, h_g, h_o, h_h, h_c), (c_i, c_f, c_g, c_h, c_c)


@jit_part
def carry_traces(by_h, by_c, x, s_i, s_f, s_g, s_o, u_i, u_f, u_g):
    """The next traces of h (s) and c (u) with respect to the weights of an input x."""
    h_i, h_f, h_g, h_o, h_h, h_c = by_h
    c_i, c_f, c_g, c_h, c_c = by_c
    return (
        next_trace(h_h, s_i, h_c * u_i + h_i * x),
        next_trace(h_h, s_f, h_c * u_f + h_f * x),
        next_trace(h_h, s_g, h_c * u_g + h_g * x),
        next_trace(h_h, s_o, h_o * x),
        next_trace(c_c, u_i, c_h * s_i + c_i * x),
        next_trace(c_c, u_f, c_h * s_f + c_f * x),
        next_trace(c_c, u_g, c_h * s_g + c_g * x),
    )


@jit
def lstm_trace_step(s, u, diagonal, inputs, gates, c_prev, tanh_c):
    """SnAp-1 (Menick et al. 2021): traces of h and c with respect to the weights of their own unit.

    s: (1 + H + I, 4H) and u: (1 + H + I, 3H) traces of h and c, updated in place.
    diagonal: (4H,) each unit's weights of its own h_prev; the others as in `lstm_step`.
    """
    H = c_prev.size
    whole = H - H % LANES
    for j in range(0, whole, LANES):
        j_f, j_g, j_o = H + j, 2 * H + j, 3 * H + j
        by_h, by_c = slopes(
            load(gates, j), load(gates, j_f), load(gates, j_g), load(gates, j_o),
            load(c_prev, j), load(tanh_c, j),
            load(diagonal, j), load(diagonal, j_f), load(diagonal, j_g), load(diagonal, j_o),
        )  # fmt: skip
        for m in range(s.shape[0]):
            s_i, s_f, s_g, s_o, u_i, u_f, u_g = carry_traces(
                by_h, by_c, splat(inputs[m - 1] if m > 0 else ONE),
                load2(s, m, j), load2(s, m, j_f), load2(s, m, j_g), load2(s, m, j_o),
                load2(u, m, j), load2(u, m, j_f), load2(u, m, j_g),
            )  # fmt: skip
            store2(s, m, j, s_i)
            store2(s, m, j_f, s_f)
            store2(s, m, j_g, s_g)
            store2(s, m, j_o, s_o)
            store2(u, m, j, u_i)
            store2(u, m, j_f, u_f)
            store2(u, m, j_g, u_g)
    for j in range(whole, H):
        j_f, j_g, j_o = H + j, 2 * H + j, 3 * H + j
        by_h, by_c = slopes(
            gates[j], gates[j_f], gates[j_g], gates[j_o], c_prev[j], tanh_c[j],
            diagonal[j], diagonal[j_f], diagonal[j_g], diagonal[j_o],
        )  # fmt: skip
        for m in range(s.shape[0]):
            s[m, j], s[m, j_f], s[m, j_g], s[m, j_o], u[m, j], u[m, j_f], u[m, j_g] = carry_traces(
                by_h, by_c, inputs[m - 1] if m > 0 else ONE,
                s[m, j], s[m, j_f], s[m, j_g], s[m, j_o], u[m, j], u[m, j_f], u[m, j_g],
            )  # fmt: skip


@jit_part
def trace_step(cell, traces, tape, weights):
    """See `cells`."""
    own_weights(traces.diagonal, weights.w, tape.c_prevs.shape[1])
    lstm_trace_step(
        traces.h, traces.c, traces.diagonal,
        tape.inputs[0], tape.gates[0], tape.c_prevs[0], tape.tanh_cs[0],
    )  # fmt: skip


@jit_part
def trace_gradient(cell, grads, d_x, traces, work, d_h, tape, weights):
    """The traces of h times the gradient of h; d_x goes back through this tick only."""
    H = d_h.size
    add_trace_gradient(matrix(grads.b, 0, 1, 4 * H), traces.h[:1], d_h)
    add_trace_gradient(grads.w, traces.h[1:], d_h)
    if d_x.size > 0:
        gates, d_z = tape.gates[0], work.d_zs[0]
        for j in range(H):
            d_z[j], d_z[H + j], d_z[2 * H + j], d_z[3 * H + j], _ = activate_backward(
                d_h[j], ZERO, gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j],
                tape.c_prevs[0, j], tape.tanh_cs[0, j],
            )  # fmt: skip
        rows_dot(d_x, weights.w[H:], d_z, False)
