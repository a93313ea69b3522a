"""LSTM and Dense head over a mini-batch of windows: a lane for each window.

The last axis of every array but the weights is the B windows of the batch, B a multiple of LANES.
So a weight multiplies a vector, and any H goes without a remainder. Blocks of sums stay in
registers (see `blocks`). An incomplete last block overlaps the one before and computes the same
again. The equations are those of `cells.lstm`. Letters: T ticks, I inputs, H hidden, K outputs of
the head; M = H + I and N = 4H, the shape of the weights.

A row should be a cache line: use arrays made by `layout.aligned_zeros`.
"""

from .blocks import (
    ROWS,
    add_columns,
    add_outer,
    add_splats,
    load_rows,
    store_rows,
    store_totals2,
    zeros,
)
from .cells.lstm import activate, activate_backward
from .jit import jit_apart, jit_part, jit_view
from .linear import ZERO, clear
from .scalar import ONE
from .vector import LANES, load2, splat, store2, total
from .views import matrix, row

BATCH = 16  # windows, or a multiple

# Sizes of blocks that fill the registers. There are 32 of 16 lanes, or else perhaps only 16.
UNITS = LANES // 4  # times four gates
OUTPUTS = LANES
INPUTS = 3 if LANES == 16 else 1  # times ROWS pre-activations
PRODUCTS = INPUTS * ROWS
PANEL = 3 * INPUTS  # inputs that fit into the L1 cache beside ROWS pre-activations, for 32 ticks
HEAD_ROWS = LANES // 2  # times two ticks
TILE = ROWS // 2  # pre-activations that are stored together, see `_d_z_row`; divides 4H


@jit_view
def _at(x, t):
    """Row t of x, (T, N, B), as (N, B)."""
    _, N, B = x.shape
    return matrix(x, t * N * B, N, B)


@jit_part
def _step_block(j, a, zero_sums, h, c, gates, tanh_c, inputs, c_prev, w, b):
    """One tick of the units from j on, one for each of `zero_sums`, in the windows from a on.

    h, c, tanh_c, c_prev: (H, B); gates: (4H, B); inputs: (M, B); w: (M, 4H); b: (1, 4H).
    """
    H = c.shape[0]
    one = splat(ONE)
    i, f = add_splats(zero_sums, b, 0, j, one), add_splats(zero_sums, b, 0, H + j, one)
    g, o = add_splats(zero_sums, b, 0, 2 * H + j, one), add_splats(zero_sums, b, 0, 3 * H + j, one)
    for m in range(w.shape[0]):
        xm = load2(inputs, m, a)
        i = add_splats(i, w, m, j, xm)
        f = add_splats(f, w, m, H + j, xm)
        g = add_splats(g, w, m, 2 * H + j, xm)
        o = add_splats(o, w, m, 3 * H + j, xm)
    store_rows(gates, j, a, i)
    store_rows(gates, H + j, a, f)
    store_rows(gates, 2 * H + j, a, g)
    store_rows(gates, 3 * H + j, a, o)
    for k in range(j, j + len(zero_sums)):
        ik, fk, gk, ok, ck, tanh_ck, hk = activate(
            load2(gates, k, a),
            load2(gates, H + k, a),
            load2(gates, 2 * H + k, a),
            load2(gates, 3 * H + k, a),
            load2(c_prev, k, a),
        )
        store2(gates, k, a, ik)
        store2(gates, H + k, a, fk)
        store2(gates, 2 * H + k, a, gk)
        store2(gates, 3 * H + k, a, ok)
        store2(c, k, a, ck)
        store2(tanh_c, k, a, tanh_ck)
        store2(h, k, a, hk)


@jit_apart
def lstm_batch(inputs, cs, gates, tanh_cs, w, b):
    """Advance B windows by T ticks.

    inputs: (T + 1, M, B), row t is [h_prev, x] of tick t. Given are x and the first h_prev; the
    output h of tick t goes to row t + 1. cs: (T + 1, H, B) cell states, row 0 given.
    gates: (T, 4H, B) i, f, g, o; tanh_cs: (T, H, B); w: (M, 4H); b: (4H,).
    """
    T, H, B = tanh_cs.shape
    biases = matrix(b, 0, 1, 4 * H)
    for t in range(T):
        h, c = _at(inputs, t + 1), _at(cs, t + 1)
        gate, tanh_c, x, c_prev = _at(gates, t), _at(tanh_cs, t), _at(inputs, t), _at(cs, t)
        for a in range(0, B, LANES):
            j = 0
            while j < H and H >= UNITS:
                j = min(j, H - UNITS)
                _step_block(j, a, zeros(UNITS), h, c, gate, tanh_c, x, c_prev, w, biases)
                j += UNITS
            while j < H:
                _step_block(j, a, zeros(1), h, c, gate, tanh_c, x, c_prev, w, biases)
                j += 1


@jit_part
def _d_z_row(n, t, T):
    """Row of d_z[n] of tick t in d_zs: the T ticks of a TILE of pre-activations lie together.

    The weight gradient reads a few pre-activations of all ticks. If whole ticks lay between them,
    often a power of two apart, they would evict each other from the L1 cache.
    """
    return (n - n % TILE) * T + TILE * t + n % TILE


@jit_part
def _d_z_rows(d_zs, n, t, T, a):
    """d_z[n] .. d_z[n + ROWS - 1] of tick t in the windows from a on; n is a multiple of TILE."""
    low = load_rows(d_zs, _d_z_row(n, t, T), a, TILE)
    return low + load_rows(d_zs, _d_z_row(n + TILE, t, T), a, TILE)


@jit_part
def _d_h_block(k, a, zero_sums, d_h, d_zs, t, T, w):
    """d_h = w d_z of tick t, for the outputs from k on, one for each of `zero_sums`.

    d_h: (H, B), written from window a on; d_zs: (T N, B); w: (N, H), transposed.
    """
    sums = zero_sums
    for n in range(0, w.shape[0], TILE):
        first = _d_z_row(n, t, T)
        for m in range(TILE):
            sums = add_splats(sums, w, n + m, k, load2(d_zs, first + m, a))
    store_rows(d_h, k, a, sums)


@jit_part
def _weight_gradient(d_w, d_b, d_zs, inputs, T):
    """d_w = sum of x d_z', d_b = sum of d_z over ticks and windows.

    d_w: (M, N), at least INPUTS times ROWS; d_b: (1, N); d_zs: (T N, B); inputs: (T M, B).
    """
    M, N = d_w.shape
    B = inputs.shape[1]
    for panel in range(0, M, PANEL):
        n = 0
        while n < N:
            n = min(n, N - ROWS)
            m = panel
            while m < min(panel + PANEL, M):
                m = min(m, M - INPUTS)
                products = zeros(PRODUCTS)
                for a in range(0, B, LANES):
                    for t in range(T):
                        x = load_rows(inputs, t * M + m, a, INPUTS)
                        products = add_outer(products, x, _d_z_rows(d_zs, n, t, T, a))
                store_totals2(d_w, m, n, products)
                m += INPUTS
            if panel == 0:
                sums = zeros(ROWS)
                for a in range(0, B, LANES):
                    for t in range(T):
                        sums = add_outer(sums, (splat(ONE),), _d_z_rows(d_zs, n, t, T, a))
                store_totals2(d_b, 0, n, sums)
            n += ROWS


@jit_part
def _small_weight_gradient(d_w, d_b, d_zs, inputs, T):
    """`_weight_gradient` for weights of any shape."""
    M, N = d_w.shape
    for n in range(N):
        d_b[0, n] = ZERO
        for m in range(M):
            d_w[m, n] = ZERO
        for a in range(0, inputs.shape[1], LANES):
            for t in range(T):
                d_z = load2(d_zs, _d_z_row(n, t, T), a)
                d_b[0, n] += total(d_z)
                for m in range(M):
                    d_w[m, n] += total(load2(inputs, t * M + m, a) * d_z)


@jit_apart
def lstm_batch_backward(d_w, d_b, d_zs, d_h, d_c, d_hs, inputs, cs, gates, tanh_cs, w):
    """Back-propagate through the ticks of `lstm_batch`.

    d_w: (M, 4H) and d_b: (4H,) weight gradients, summed over ticks and windows, overwritten.
    d_zs: (T, 4H, B) work space: gradients of the pre-activations, in the order of `_d_z_row`.
    d_h, d_c: (H, B) gradient with respect to the state after the last tick on entry, and before
    the first on return.
    d_hs: (T, H, B) gradient that the loss sends directly into each tick's output.
    """
    T, H, B = tanh_cs.shape
    M, N = w.shape
    d_z = matrix(d_zs, 0, T * N, B)
    transposed = matrix(d_w, 0, N, H)  # in the space of the gradient, which comes last
    for k in range(0, H, OUTPUTS):
        for n in range(N):
            for m in range(k, min(k + OUTPUTS, H)):
                transposed[n, m] = w[m, n]
    for t in range(T - 1, -1, -1):
        d_out, gate, c_prev, tanh_c = _at(d_hs, t), _at(gates, t), _at(cs, t), _at(tanh_cs, t)
        for a in range(0, B, LANES):
            for j in range(H):
                d_i, d_f, d_g, d_o, d_cj = activate_backward(
                    load2(d_h, j, a) + load2(d_out, j, a),
                    load2(d_c, j, a),
                    load2(gate, j, a),
                    load2(gate, H + j, a),
                    load2(gate, 2 * H + j, a),
                    load2(gate, 3 * H + j, a),
                    load2(c_prev, j, a),
                    load2(tanh_c, j, a),
                )
                store2(d_z, _d_z_row(j, t, T), a, d_i)
                store2(d_z, _d_z_row(H + j, t, T), a, d_f)
                store2(d_z, _d_z_row(2 * H + j, t, T), a, d_g)
                store2(d_z, _d_z_row(3 * H + j, t, T), a, d_o)
                store2(d_c, j, a, d_cj)
            k = 0
            while k + OUTPUTS <= H:
                _d_h_block(k, a, zeros(OUTPUTS), d_h, d_z, t, T, transposed)
                k += OUTPUTS
            while k < H and H >= 4:
                k = min(k, H - 4)
                _d_h_block(k, a, zeros(4), d_h, d_z, t, T, transposed)
                k += 4
            while k < H:
                _d_h_block(k, a, zeros(1), d_h, d_z, t, T, transposed)
                k += 1
    x, d_biases = matrix(inputs, 0, T * M, B), matrix(d_b, 0, 1, N)
    if M >= INPUTS and N >= ROWS:
        _weight_gradient(d_w, d_biases, d_z, x, T)
    else:
        _small_weight_gradient(d_w, d_biases, d_z, x, T)


@jit_part
def _head_block(k, a, zero_sums, y, later_y, h, later_h, w, b):
    """Outputs of two ticks from k on, one for each of `zero_sums`, in the windows from a on.

    y, later_y: (K, B); h, later_h: (M, B), of which H count; w: (K, H); b: (1, K).
    """
    sums = later = add_splats(zero_sums, b, 0, k, splat(ONE))
    for j in range(w.shape[1]):
        sums = add_columns(sums, w, k, j, load2(h, j, a))
        later = add_columns(later, w, k, j, load2(later_h, j, a))
    store_rows(y, k, a, sums)
    store_rows(later_y, k, a, later)


@jit_apart
def head_batch(outputs, inputs, w_head, b_head, first):
    """Dense layer on the outputs h of `lstm_batch`, from tick `first` on.

    outputs: (T, K, B), earlier ticks stay as they are; inputs: (T + 1, M, B), row t + 1 begins
    with h of tick t; w_head: (K, H); b_head: (K,).
    """
    T, K, B = outputs.shape
    b = matrix(b_head, 0, 1, K)
    for t in range(first, T, 2):
        later = min(t + 1, T - 1)  # the last tick of an odd number is computed twice
        y, later_y = _at(outputs, t), _at(outputs, later)
        h, later_h = _at(inputs, t + 1), _at(inputs, later + 1)
        for a in range(0, B, LANES):
            k = 0
            while k + HEAD_ROWS <= K:
                _head_block(k, a, zeros(HEAD_ROWS), y, later_y, h, later_h, w_head, b)
                k += HEAD_ROWS
            while k < K and K >= 4:
                k = min(k, K - 4)
                _head_block(k, a, zeros(4), y, later_y, h, later_h, w_head, b)
                k += 4
            while k < K:
                _head_block(k, a, zeros(1), y, later_y, h, later_h, w_head, b)
                k += 1


@jit_part
def _head_d_h_block(j, a, zero_sums, d_h, d_y, w):
    """d_h = w' d_y of the outputs h from j on, one for each of `zero_sums`.

    d_h: (H, B), written from window a on; d_y: (K, B); w: (K, H).
    """
    sums = zero_sums
    for k in range(w.shape[0]):
        sums = add_splats(sums, w, k, j, load2(d_y, k, a))
    store_rows(d_h, j, a, sums)


@jit_part
def _head_gradient(d_w, d_ys, inputs, first):
    """d_w = sum of d_y h' over ticks and windows.

    d_w: (K, H), at least INPUTS times ROWS; d_ys: (T, K, B); inputs: (T + 1, M, B).
    """
    K, H = d_w.shape
    T, _, B = d_ys.shape
    M = inputs.shape[1]
    d_y, x = matrix(d_ys, 0, T * K, B), matrix(inputs, 0, (T + 1) * M, B)
    j = 0
    while j < H:
        j = min(j, H - ROWS)
        k = 0
        while k < K:
            k = min(k, K - INPUTS)
            products = zeros(PRODUCTS)
            for a in range(0, B, LANES):
                for t in range(first, T):
                    d_yt = load_rows(d_y, t * K + k, a, INPUTS)
                    products = add_outer(products, d_yt, load_rows(x, (t + 1) * M + j, a, ROWS))
            store_totals2(d_w, k, j, products)
            k += INPUTS
        j += ROWS


@jit_part
def _small_head_gradient(d_w, d_ys, inputs, first):
    """`_head_gradient` for weights of any shape."""
    K, H = d_w.shape
    for k in range(K):
        for j in range(H):
            products = splat(ZERO)
            for t in range(first, d_ys.shape[0]):
                d_y, h = _at(d_ys, t), _at(inputs, t + 1)
                for a in range(0, d_ys.shape[2], LANES):
                    products += load2(d_y, k, a) * load2(h, j, a)
            d_w[k, j] = total(products)


@jit_apart
def head_batch_backward(d_w_head, d_b_head, d_hs, d_outputs, inputs, w_head, first):
    """Back-propagate through `head_batch`.

    d_w_head: (K, H) and d_b_head: (K,) weight gradients, summed over ticks and windows,
    overwritten.
    d_hs: (T, H, B) gradients with respect to h, overwritten: zeros before tick `first`.
    d_outputs: (T, K, B), earlier ticks ignored.
    """
    T, H, B = d_hs.shape
    K = w_head.shape[0]
    clear(row(d_hs, 0, first * H * B))
    for t in range(first, T):
        d_h, d_y = _at(d_hs, t), _at(d_outputs, t)
        for a in range(0, B, LANES):
            j = 0
            while j + OUTPUTS <= H:
                _head_d_h_block(j, a, zeros(OUTPUTS), d_h, d_y, w_head)
                j += OUTPUTS
            while j < H and H >= 4:
                j = min(j, H - 4)
                _head_d_h_block(j, a, zeros(4), d_h, d_y, w_head)
                j += 4
            while j < H:
                _head_d_h_block(j, a, zeros(1), d_h, d_y, w_head)
                j += 1
    for k in range(K):
        sums = splat(ZERO)
        for t in range(first, T):
            for a in range(0, B, LANES):
                sums += load2(_at(d_outputs, t), k, a)
        d_b_head[k] = total(sums)
    if K >= INPUTS and H >= ROWS:
        _head_gradient(d_w_head, d_outputs, inputs, first)
    else:
        _small_head_gradient(d_w_head, d_outputs, inputs, first)
