"""LSTM with forget gate (Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000).

    z = [h_prev, x] w + b            pre-activations of the gates i, f, g, o
    i, f, o = sigmoid(z)             input, forget and output gate
    g = tanh(z)                      candidate
    c = f c_prev + i g               cell state
    h = o tanh(c)                    output

A tape keeps what the backward pass needs, one row a tick, and is a ring: row `newest` is the
last tick, row `newest - 1` (modulo the number of rows) the one before. Letters as in docs/maths.md:
T rows, I inputs, H hidden.
"""

from .jit import jit
from .linear import affine, copy, outer_sum, rows_dot
from .scalar import ONE, sigmoid, tanh


@jit
def lstm_step(h, c, gates, tanh_c, inputs, c_prev, w, b):
    """Advance by one tick.

    h, c: (H,) new output and cell state; gates: (4H,) i, f, g, o; tanh_c: (H,).
    inputs: (H + I,) holding [h_prev, x]; c_prev: (H,); w: (H + I, 4H); b: (4H,).
    h and c may be the arrays that h_prev and c_prev were copied from.
    """
    H = h.size
    affine(gates, inputs, w, b)
    for j in range(2 * H):
        gates[j] = sigmoid(gates[j])
    for j in range(2 * H, 3 * H):
        gates[j] = tanh(gates[j])
    for j in range(3 * H, 4 * H):
        gates[j] = sigmoid(gates[j])
    for j in range(H):
        c[j] = gates[H + j] * c_prev[j] + gates[j] * gates[2 * H + j]
        tanh_c[j] = tanh(c[j])
        h[j] = gates[3 * H + j] * tanh_c[j]


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
    d_h, d_c: (H,) gradient with respect to the state after the newest tick on entry, and before
    the oldest tick on return.
    d_hs: (T, H) gradient that the loss sends directly into each tick's output.
    steps: at most T; a tape that is not full holds its ticks in rows 0 .. steps-1.
    """
    T, H = tanh_cs.shape
    for n in range(steps):
        t = (newest - n + T) % T
        i, f, g, o = gates[t, :H], gates[t, H : 2 * H], gates[t, 2 * H : 3 * H], gates[t, 3 * H :]
        d_z, c_prev, tanh_c, d_out = d_zs[t], c_prevs[t], tanh_cs[t], d_hs[t]
        for j in range(H):
            d_hj = d_h[j] + d_out[j]
            d_cj = d_c[j] + d_hj * o[j] * (ONE - tanh_c[j] * tanh_c[j])
            d_z[j] = d_cj * g[j] * i[j] * (ONE - i[j])
            d_z[H + j] = d_cj * c_prev[j] * f[j] * (ONE - f[j])
            d_z[2 * H + j] = d_cj * i[j] * (ONE - g[j] * g[j])
            d_z[3 * H + j] = d_hj * tanh_c[j] * o[j] * (ONE - o[j])
            d_c[j] = d_cj * f[j]
        rows_dot(d_h, w[:H], d_z)
    outer_sum(d_w, d_b, inputs[:steps], d_zs[:steps])
