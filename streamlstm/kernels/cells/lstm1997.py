"""LSTM without forget gate (Hochreiter & Schmidhuber 1997), with its full gradient.

    z = [h_prev, x] w + b            pre-activations of the gates i, g, o
    i, o = sigmoid(z)                input and output gate
    g = tanh(z)                      candidate
    c = c_prev + i g                 cell state: nothing is ever forgotten
    h = o tanh(c)                    output

The original truncated the gradient at the gates; this one does not (Graves & Schmidhuber 2005).
Tape and letters as in `lstm`.
"""

from typing import NamedTuple

import numpy as np

from ..jit import jit, jit_part
from ..linear import affine, clear, copy, input_gradients, outer_sum, rows_dot
from ..scalar import ONE, sigmoid, tanh
from ..vector import LANES, load, load2, store, store2
from ..views import matrix, padded, row


class LSTM1997(NamedTuple):
    """The cell as a type, which kernels are compiled for."""

    states: int = 2  # h, c


CELL = LSTM1997()
FORWARD = ""


@jit_part
def activate(z_i, z_g, z_o, c_prev):
    """Gates, cell state, its tanh and output, of float32 numbers or vectors."""
    i, g, o = sigmoid(z_i), tanh(z_g), sigmoid(z_o)
    c = c_prev + i * g
    tanh_c = tanh(c)
    return i, g, o, c, tanh_c, o * tanh_c


@jit_part
def activate_backward(d_h, d_c, i, g, o, tanh_c):
    """Gradients of the pre-activations i, g, o and of c_prev."""
    d_c = d_c + d_h * o * (ONE - tanh_c * tanh_c)
    return d_c * g * i * (ONE - i), d_c * i * (ONE - g * g), d_h * tanh_c * o * (ONE - o), d_c


@jit
def lstm1997_step(h, c, gates, tanh_c, inputs, w, b):
    """Advance by one tick.

    h: (H,) new output, may be the array that h_prev was copied from; c: (H,) cell state, updated
    in place; gates: (3H,) i, g, o; tanh_c: (H,).
    inputs: (H + I,) holding [h_prev, x]; w: (H + I, 3H); b: (3H,).
    """
    H = h.size
    affine(gates, inputs, w, b)
    whole = H - H % LANES
    for j in range(0, whole, LANES):
        i, g, o, cj, tanh_cj, hj = activate(
            load(gates, j), load(gates, H + j), load(gates, 2 * H + j), load(c, j)
        )
        store(gates, j, i)
        store(gates, H + j, g)
        store(gates, 2 * H + j, o)
        store(c, j, cj)
        store(tanh_c, j, tanh_cj)
        store(h, j, hj)
    for j in range(whole, H):
        gates[j], gates[H + j], gates[2 * H + j], c[j], tanh_c[j], h[j] = activate(
            gates[j], gates[H + j], gates[2 * H + j], c[j]
        )


@jit
def lstm1997_backward(d_w, d_b, d_zs, d_h, d_c, d_hs, inputs, gates, tanh_cs, w, newest, steps):
    """Back-propagate through the last `steps` ticks of the tape.

    d_w: (H + I, 3H) and d_b: (3H,) weight gradients, overwritten.
    d_zs: (T, 3H) pre-activation gradients, one row a tick, overwritten.
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
            d_i, d_g, d_o, d_cj = activate_backward(
                load(d_h, j) + load2(d_hs, t, j),
                load(d_c, j),
                load2(gates, t, j),
                load2(gates, t, H + j),
                load2(gates, t, 2 * H + j),
                load2(tanh_cs, t, j),
            )
            store2(d_zs, t, j, d_i)
            store2(d_zs, t, H + j, d_g)
            store2(d_zs, t, 2 * H + j, d_o)
            store(d_c, j, d_cj)
        for j in range(whole, H):
            d_zs[t, j], d_zs[t, H + j], d_zs[t, 2 * H + j], d_c[j] = activate_backward(
                d_h[j] + d_hs[t, j],
                d_c[j],
                gates[t, j],
                gates[t, H + j],
                gates[t, 2 * H + j],
                tanh_cs[t, j],
            )
        rows_dot(d_h, w[:H], d_zs[t], n % 2 == 1)
    outer_sum(d_w, d_b, inputs[:steps], d_zs[:steps])


class Weights(NamedTuple):
    """Weights of a layer."""

    w: np.ndarray  # (H + I, 3H) gates i, g, o of [h_prev, x]
    b: np.ndarray  # (3H,)


@jit_part
def matrices_size(cell, I, H):
    """See `cells`, also for the functions below."""
    return padded((H + I) * 3 * H)


@jit_part
def weights_size(cell, I, H):
    """Length of `Weights`."""
    return matrices_size(cell, I, H) + padded(3 * H)


@jit_part
def weights_of(cell, buffer, start, I, H):
    """Open `Weights`."""
    b = start + matrices_size(cell, I, H)
    return Weights(matrix(buffer, start, H + I, 3 * H), row(buffer, b, 3 * H))


class Tape(NamedTuple):
    """Tape of a layer."""

    inputs: np.ndarray  # (T, H + I)
    gates: np.ndarray  # (T, 3H)
    tanh_cs: np.ndarray  # (T, H)


@jit_part
def tape_size(cell, I, H, T):
    """Length of a `Tape`."""
    return padded(T * (H + I)) + padded(T * 3 * H) + padded(T * H)


@jit_part
def tape_of(cell, buffer, start, I, H, T):
    """Open a `Tape`."""
    gates = start + padded(T * (H + I))
    tanh_cs = gates + padded(T * 3 * H)
    return Tape(
        matrix(buffer, start, T, H + I),
        matrix(buffer, gates, T, 3 * H),
        matrix(buffer, tanh_cs, T, H),
    )


class Work(NamedTuple):
    """Work space of `backward`."""

    d_zs: np.ndarray  # (T, 3H)
    d_h: np.ndarray  # (H,)
    d_c: np.ndarray  # (H,)


@jit_part
def work_size(cell, I, H, T):
    """Length of `Work`."""
    return padded(T * 3 * H) + 2 * padded(H)


@jit_part
def work_of(cell, buffer, start, I, H, T):
    """Open `Work`."""
    d_h = start + padded(T * 3 * H)
    return Work(
        matrix(buffer, start, T, 3 * H), row(buffer, d_h, H), row(buffer, d_h + padded(H), H)
    )


@jit_part
def step(cell, state, tape, t, x, weights):
    """See `cells`."""
    H = state.shape[1]
    h, c = state[0], state[1]
    copy(tape.inputs[t, :H], h)
    copy(tape.inputs[t, H:], x)
    lstm1997_step(h, c, tape.gates[t], tape.tanh_cs[t], tape.inputs[t], weights.w, weights.b)


@jit_part
def backward(cell, grads, d_xs, work, d_hs, tape, weights, newest, steps):
    """See `cells`."""
    clear(work.d_h)
    clear(work.d_c)
    lstm1997_backward(
        grads.w, grads.b, work.d_zs, work.d_h, work.d_c, d_hs, tape.inputs, tape.gates,
        tape.tanh_cs, weights.w, newest, steps,
    )  # fmt: skip
    if d_xs.shape[0] > 0:
        H = d_hs.shape[1]
        input_gradients(d_xs, weights.w[H:], work.d_zs, steps)


def initialise(cell, weights):
    """Nothing to do: there is no forget gate to open."""
