"""LSTM with peephole connections: its gates read the cell state (Gers & Schmidhuber 2000).

    z = [h_prev, x] w + b            pre-activations of the gates i, f, g, o
    i = sigmoid(z + p_i c_prev)      input gate
    f = sigmoid(z + p_f c_prev)      forget gate
    g = tanh(z)                      candidate
    c = f c_prev + i g               cell state
    o = sigmoid(z + p_o c)           output gate, the only one that reads the new c
    h = o tanh(c)                    output

p is element-wise, a number for each of the three gates of a unit. Tape, work space and letters are
those of `lstm`.
"""

from typing import NamedTuple

import numpy as np

from ..jit import jit, jit_part
from ..linear import affine, clear, copy, input_gradients, outer_sum, rows_dot
from ..scalar import ONE, sigmoid, tanh
from ..vector import LANES, load, load2, store, store2
from ..views import matrix, padded, row
from .lstm import initialise, matrices_size, tape_of, tape_size, work_of, work_size

# The functions of `lstm` that are also those of this cell.
__all__ = ["initialise", "matrices_size", "tape_of", "tape_size", "work_of", "work_size"]


class Peephole(NamedTuple):
    """The cell as a type, which kernels are compiled for."""

    states: int = 2  # h, c


CELL = Peephole()
FORWARD = ""


@jit_part
def activate(z_i, z_f, z_g, z_o, c_prev, p_i, p_f, p_o):
    """Gates, cell state, its tanh and output, of float32 numbers or vectors."""
    i, f, g = sigmoid(z_i + p_i * c_prev), sigmoid(z_f + p_f * c_prev), tanh(z_g)
    c = f * c_prev + i * g
    o = sigmoid(z_o + p_o * c)
    tanh_c = tanh(c)
    return i, f, g, o, c, tanh_c, o * tanh_c


@jit_part
def activate_backward(d_h, d_c, i, f, g, o, c_prev, tanh_c, p_i, p_f, p_o):
    """Gradients of the pre-activations i, f, g, o, of c_prev and of p_i, p_f, p_o."""
    d_o = d_h * tanh_c * o * (ONE - o)
    d_c = d_c + d_h * o * (ONE - tanh_c * tanh_c) + d_o * p_o
    d_i = d_c * g * i * (ONE - i)
    d_f = d_c * c_prev * f * (ONE - f)
    d_g = d_c * i * (ONE - g * g)
    d_c_prev = d_c * f + d_i * p_i + d_f * p_f
    return d_i, d_f, d_g, d_o, d_c_prev, d_i * c_prev, d_f * c_prev, d_o * (f * c_prev + i * g)


@jit
def peephole_step(h, c, gates, tanh_c, inputs, c_prev, w, b, p):
    """Advance by one tick.

    h, c: (H,) new output and cell state; gates: (4H,) i, f, g, o; tanh_c: (H,).
    inputs: (H + I,) holding [h_prev, x]; c_prev: (H,); w: (H + I, 4H); b: (4H,); p: (3H,).
    h and c may be the arrays that h_prev and c_prev were copied from.
    """
    H = h.size
    affine(gates, inputs, w, b)
    whole = H - H % LANES
    for j in range(0, whole, LANES):
        i, f, g, o, cj, tanh_cj, hj = activate(
            load(gates, j),
            load(gates, H + j),
            load(gates, 2 * H + j),
            load(gates, 3 * H + j),
            load(c_prev, j),
            load(p, j),
            load(p, H + j),
            load(p, 2 * H + j),
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
        i, f, g, o, c[j], tanh_c[j], h[j] = activate(
            i, f, g, o, c_prev[j], p[j], p[H + j], p[2 * H + j]
        )
        gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j] = i, f, g, o


@jit
def peephole_backward(
    d_w, d_b, d_p, d_zs, d_h, d_c, d_hs, inputs, gates, c_prevs, tanh_cs, w, p, newest, steps
):
    """Back-propagate through the last `steps` ticks of the tape.

    d_w: (H + I, 4H), d_b: (4H,) and d_p: (3H,) weight gradients, overwritten.
    d_zs: (T, 4H) pre-activation gradients, one row a tick, overwritten.
    d_h, d_c: (H,) gradient of the state after the newest tick on entry, of the state before the
    oldest tick on return.
    d_hs: (T, H) gradients of the loss of each tick's output, see `cells.backward`.
    steps: at most T; a tape that is not full holds its ticks in rows 0 .. steps-1.
    """
    T, H = tanh_cs.shape
    whole = H - H % LANES
    clear(d_p)
    for n in range(steps):
        t = (newest - n + T) % T
        for j in range(0, whole, LANES):
            d_i, d_f, d_g, d_o, d_cj, d_p_i, d_p_f, d_p_o = activate_backward(
                load(d_h, j) + load2(d_hs, t, j),
                load(d_c, j),
                load2(gates, t, j),
                load2(gates, t, H + j),
                load2(gates, t, 2 * H + j),
                load2(gates, t, 3 * H + j),
                load2(c_prevs, t, j),
                load2(tanh_cs, t, j),
                load(p, j),
                load(p, H + j),
                load(p, 2 * H + j),
            )
            store2(d_zs, t, j, d_i)
            store2(d_zs, t, H + j, d_f)
            store2(d_zs, t, 2 * H + j, d_g)
            store2(d_zs, t, 3 * H + j, d_o)
            store(d_c, j, d_cj)
            store(d_p, j, load(d_p, j) + d_p_i)
            store(d_p, H + j, load(d_p, H + j) + d_p_f)
            store(d_p, 2 * H + j, load(d_p, 2 * H + j) + d_p_o)
        for j in range(whole, H):
            d_i, d_f, d_g, d_o, d_c[j], d_p_i, d_p_f, d_p_o = activate_backward(
                d_h[j] + d_hs[t, j],
                d_c[j],
                gates[t, j],
                gates[t, H + j],
                gates[t, 2 * H + j],
                gates[t, 3 * H + j],
                c_prevs[t, j],
                tanh_cs[t, j],
                p[j],
                p[H + j],
                p[2 * H + j],
            )
            d_zs[t, j], d_zs[t, H + j], d_zs[t, 2 * H + j], d_zs[t, 3 * H + j] = d_i, d_f, d_g, d_o
            d_p[j] += d_p_i
            d_p[H + j] += d_p_f
            d_p[2 * H + j] += d_p_o
        rows_dot(d_h, w[:H], d_zs[t], n % 2 == 1)
    outer_sum(d_w, d_b, inputs[:steps], d_zs[:steps])


class Weights(NamedTuple):
    """Weights of a layer."""

    w: np.ndarray  # (H + I, 4H) gates i, f, g, o of [h_prev, x]
    b: np.ndarray  # (4H,)
    p: np.ndarray  # (3H,) gates i, f, o of c_prev, c_prev, c


@jit_part
def weights_size(cell, I, H):
    """Length of `Weights`; see `cells`, also for the functions below."""
    return matrices_size(cell, I, H) + padded(4 * H) + padded(3 * H)


@jit_part
def weights_of(cell, buffer, start, I, H):
    """Open `Weights`."""
    b = start + matrices_size(cell, I, H)
    p = b + padded(4 * H)
    return Weights(
        matrix(buffer, start, H + I, 4 * H), row(buffer, b, 4 * H), row(buffer, p, 3 * H)
    )


@jit_part
def step(cell, state, tape, t, x, weights):
    """See `cells`."""
    H = state.shape[1]
    h, c = state[0], state[1]
    copy(tape.inputs[t, :H], h)
    copy(tape.inputs[t, H:], x)
    copy(tape.c_prevs[t], c)
    peephole_step(
        h, c, tape.gates[t], tape.tanh_cs[t], tape.inputs[t], tape.c_prevs[t],
        weights.w, weights.b, weights.p,
    )  # fmt: skip


@jit_part
def backward(cell, grads, d_xs, work, d_hs, tape, weights, newest, steps):
    """See `cells`."""
    clear(work.d_h)
    clear(work.d_c)
    peephole_backward(
        grads.w, grads.b, grads.p, work.d_zs, work.d_h, work.d_c, d_hs, tape.inputs, tape.gates,
        tape.c_prevs, tape.tanh_cs, weights.w, weights.p, newest, steps,
    )  # fmt: skip
    if d_xs.shape[0] > 0:
        H = d_hs.shape[1]
        input_gradients(d_xs, weights.w[H:], work.d_zs, steps)
