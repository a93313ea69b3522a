"""The products that every layer is made of. Outputs come first and are overwritten.

Blocks of sums stay in registers (see `blocks`). If a row is no whole number of vectors, its last
vector overlaps the one before, and computes the same again or adds zeros there.
"""

import numpy as np

from .blocks import (
    ROWS,
    add_outer,
    add_rows,
    add_scaled,
    load_many,
    load_rows,
    repeat,
    store_each,
    store_many,
    store_totals,
    zeros,
)
from .jit import jit, jit_part
from .vector import LANES, last, load, load2, splat, store, store2, total

ZERO = np.float32(0.0)
TRACE_FLOOR = np.float32(1e-20)
# Of `affine_rows`: ROW_BLOCK rows times COLUMN_BLOCK vectors fill the registers. There are 32 of 16
# lanes, or else perhaps only 16.
ROW_BLOCK = 6
COLUMN_BLOCK = 4 if LANES == 16 else 2


@jit
def copy(y, x):
    """y = x, both (N,). Compiles faster than a slice assignment."""
    for n in range(y.size):
        y[n] = x[n]


@jit
def clear(y):
    """y = 0, (N,)."""
    for n in range(y.size):
        y[n] = ZERO


@jit
def affine_block(z, n, x, w, sums):
    """Columns of `affine` from n on, one for each vector of `sums`, which hold b."""
    for m in range(x.size):
        sums = add_scaled(sums, w, m, n, x[m])
    store_many(z, n, sums)


@jit
def affine(z, x, w, b):
    """z = x w + b.

    z: (N,), x: (M,), w: (M, N), b: (N,).
    """
    M, N = w.shape
    n = 0
    while n + 8 * LANES <= N:
        affine_block(z, n, x, w, load_many(b, n, 8))
        n += 8 * LANES
    if n + 6 * LANES <= N:
        affine_block(z, n, x, w, load_many(b, n, 6))
        n += 6 * LANES
    elif n + 4 * LANES <= N:
        affine_block(z, n, x, w, load_many(b, n, 4))
        n += 4 * LANES
    if n + 2 * LANES <= N:
        affine_block(z, n, x, w, load_many(b, n, 2))
        n += 2 * LANES
    while n < N and LANES <= N:
        n = min(n, N - LANES)
        affine_block(z, n, x, w, load_many(b, n, 1))
        n += LANES
    for k in range(n, N):  # fewer columns than a vector has lanes
        z[k] = b[k]
        for m in range(M):
            z[k] += x[m] * w[m, k]


@jit
def affine_rows_block(zs, xs, w, n, sums):
    """Columns of `affine_rows` from n on. sums: vectors of b for each row, one after the other."""
    for m in range(w.shape[0]):
        sums = add_rows(sums, xs, w, m, n)
    store_each(zs, n, sums)


@jit
def affine_rows(zs, xs, w, b):
    """`affine` of ROW_BLOCK rows at once, with the same bits: a small matrix product.

    zs, xs: tuples of (N,) and of (M,), w: (M, N), b: (N,).
    """
    N = b.size
    n = 0
    while n + COLUMN_BLOCK * LANES <= N:
        affine_rows_block(zs, xs, w, n, repeat(load_many(b, n, COLUMN_BLOCK), ROW_BLOCK))
        n += COLUMN_BLOCK * LANES
    while n < N and LANES <= N:
        n = min(n, N - LANES)
        affine_rows_block(zs, xs, w, n, repeat(load_many(b, n, 1), ROW_BLOCK))
        n += LANES
    if N < LANES:
        for k in range(ROW_BLOCK):
            affine(zs[k], xs[k], w, b)


@jit
def dot(x, y):
    """Sum of x * y over two vectors of equal length."""
    whole = x.size - x.size % LANES
    sums = splat(ZERO)
    for n in range(0, whole, LANES):
        sums += load(x, n) * load(y, n)
    result = total(sums)
    for n in range(whole, x.size):
        result += x[n] * y[n]
    return result


@jit
def rows_dot(z, w, x, backward=False):
    """z = w x, one dot product a row, from the last row to the first if `backward`.

    z: (M,), w: (M, N), x: (N,). Successive calls should alternate the direction: then a call begins
    with the rows that the one before left in the cache.
    """
    M, N = w.shape
    whole = N - N % LANES
    blocks = M // ROWS if whole > 0 else 0
    for block in range(blocks):
        m = ROWS * (blocks - 1 - block if backward else block)
        sums = zeros(ROWS)
        for n in range(0, whole, LANES):
            sums = add_outer(sums, load_rows(w, m, n, ROWS), (load(x, n),))
        if whole < N:
            rest = last(load(x, N - LANES), N - whole)
            sums = add_outer(sums, load_rows(w, m, N - LANES, ROWS), (rest,))
        store_totals(z, m, sums)
    for m in range(blocks * ROWS, M):
        z[m] = dot(w[m], x)


@jit
def input_gradients(d_xs, w_x, d_zs, steps):
    """d_xs = d_zs w_x' in rows 0 .. steps-1. d_xs: (T, I), w_x: (I, N), d_zs: (T, N)."""
    for t in range(steps):
        rows_dot(d_xs[t], w_x, d_zs[t], t % 2 == 1)


@jit
def outer_sum(d_w, d_b, xs, d_zs):
    """Weight gradient of `affine` over T rows as one small matrix product.

    d_w = xs' d_zs, d_b = sum of d_zs over rows.
    d_w: (M, N), d_b: (N,), xs: (T, M), d_zs: (T, N).
    """
    outer_sum_columns(d_w, d_b, xs, d_zs, 0, 0, d_zs.shape[1])


@jit
def outer_sum_columns(d_w, d_b, xs, d_zs, to, of, N):
    """`outer_sum` of N columns: columns `of` and on of d_zs, `to` and on of d_w and d_b."""
    T, M = xs.shape
    n = 0
    while n < N and 2 * LANES <= N:
        n = min(n, N - 2 * LANES)
        m = 0
        while m < M and M >= 4:
            m = min(m, M - 4)
            a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = splat(ZERO)
            for t in range(T):
                z0, z1 = load2(d_zs, t, of + n), load2(d_zs, t, of + n + LANES)
                x0, x1 = splat(xs[t, m]), splat(xs[t, m + 1])
                x2, x3 = splat(xs[t, m + 2]), splat(xs[t, m + 3])
                a0 += x0 * z0
                a1 += x0 * z1
                b0 += x1 * z0
                b1 += x1 * z1
                c0 += x2 * z0
                c1 += x2 * z1
                d0 += x3 * z0
                d1 += x3 * z1
            store2(d_w, m, to + n, a0)
            store2(d_w, m, to + n + LANES, a1)
            store2(d_w, m + 1, to + n, b0)
            store2(d_w, m + 1, to + n + LANES, b1)
            store2(d_w, m + 2, to + n, c0)
            store2(d_w, m + 2, to + n + LANES, c1)
            store2(d_w, m + 3, to + n, d0)
            store2(d_w, m + 3, to + n + LANES, d1)
            m += 4
        for k in range(m, M):  # fewer rows than a block
            a0 = a1 = splat(ZERO)
            for t in range(T):
                a0 += splat(xs[t, k]) * load2(d_zs, t, of + n)
                a1 += splat(xs[t, k]) * load2(d_zs, t, of + n + LANES)
            store2(d_w, k, to + n, a0)
            store2(d_w, k, to + n + LANES, a1)
        a0 = a1 = splat(ZERO)
        for t in range(T):
            a0 += load2(d_zs, t, of + n)
            a1 += load2(d_zs, t, of + n + LANES)
        store(d_b, to + n, a0)
        store(d_b, to + n + LANES, a1)
        n += 2 * LANES
    while n < N and LANES <= N:  # fewer columns than a block
        n = min(n, N - LANES)
        for m in range(M):
            a0 = splat(ZERO)
            for t in range(T):
                a0 += splat(xs[t, m]) * load2(d_zs, t, of + n)
            store2(d_w, m, to + n, a0)
        a0 = splat(ZERO)
        for t in range(T):
            a0 += load2(d_zs, t, of + n)
        store(d_b, to + n, a0)
        n += LANES
    for k in range(n, N):  # fewer columns than a vector has lanes
        d_b[to + k] = ZERO
        for t in range(T):
            d_b[to + k] += d_zs[t, of + k]
        for m in range(M):
            d_w[m, to + k] = ZERO
            for t in range(T):
                d_w[m, to + k] += xs[t, m] * d_zs[t, of + k]


@jit_part
def next_trace(kept, trace, new):
    """The trace of the next tick, kept trace + new, of float32 numbers or vectors.

    The trace of an input that stays zero would decay into denormals, which are slow. TRACE_FLOOR
    keeps it above them.
    """
    return kept * trace + (new + TRACE_FLOOR)


@jit
def own_weights(y, w, H):
    """Weights of each unit's own last output in its gates: y[n H + j] = w[j, n H + j].

    y: (N,), w: (at least H, N), N a multiple of H.
    """
    for n in range(0, y.size, H):
        for j in range(H):
            y[n + j] = w[j, n + j]


@jit
def add_trace_gradient(d_w, traces, d):
    """d_w += traces d: traces times the gradient of what they are derivatives of.

    d_w: (M, at least N), traces: (M, N), d: (H,), used for every H columns.
    """
    M, N = traces.shape
    H = d.size
    for n in range(0, N, H):
        j = 0
        while j < H and LANES <= H:
            k = min(j, H - LANES)
            dj = last(load(d, k), min(H - j, LANES))
            k += n
            for m in range(M):
                store2(d_w, m, k, load2(d_w, m, k) + dj * load2(traces, m, k))
            j += LANES
        for m in range(M):
            for k in range(j, H):  # fewer columns than a vector has lanes
                d_w[m, n + k] += d[k] * traces[m, n + k]
