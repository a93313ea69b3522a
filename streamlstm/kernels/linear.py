"""The products that every layer is made of. Outputs come first and are overwritten."""

import numpy as np

from .jit import jit, jit_reduction

ZERO = np.float32(0.0)


@jit
def copy(y, x):
    """y = x, both (N,): compiles in a tenth of the time of a slice assignment."""
    for n in range(y.size):
        y[n] = x[n]


@jit
def clear(y):
    """y = 0, (N,)."""
    for n in range(y.size):
        y[n] = ZERO


@jit
def affine(z, x, w, b):
    """z = x w + b.

    z: (N,), x: (M,), w: (M, N) with the N axis contiguous, b: (N,).
    """
    M, N = w.shape
    copy(z, b)
    # Four rows a pass: z is loaded and stored a quarter as often.
    blocked = M - M % 4
    for m in range(0, blocked, 4):
        x0, x1, x2, x3 = x[m], x[m + 1], x[m + 2], x[m + 3]
        w0, w1, w2, w3 = w[m], w[m + 1], w[m + 2], w[m + 3]
        for n in range(N):
            z[n] += x0 * w0[n] + x1 * w1[n] + x2 * w2[n] + x3 * w3[n]
    for m in range(blocked, M):
        x0, w0 = x[m], w[m]
        for n in range(N):
            z[n] += x0 * w0[n]


@jit_reduction
def dot(x, y):
    """Sum of x * y over two vectors of equal length."""
    total = ZERO
    for n in range(x.size):
        total += x[n] * y[n]
    return total


@jit
def rows_dot(z, w, x):
    """z = w x: the transpose product of `affine`'s backward, one dot product a row.

    z: (M,), w: (M, N), x: (N,).
    """
    for m in range(w.shape[0]):
        z[m] = dot(w[m], x)


@jit
def outer_sum(d_w, d_b, xs, d_zs):
    """Weight gradient of `affine` over T rows as one small matrix product.

    d_w = xs' d_zs, d_b = sum of d_zs over rows.
    d_w: (M, N), d_b: (N,), xs: (T, M), d_zs: (T, N).
    """
    T = xs.shape[0]
    M, N = d_w.shape
    blocked = T - T % 4
    clear(d_b)
    for t in range(T):
        for n in range(N):
            d_b[n] += d_zs[t, n]
    for m in range(M):
        row = d_w[m]
        clear(row)
        for t in range(0, blocked, 4):
            x0, x1, x2, x3 = xs[t, m], xs[t + 1, m], xs[t + 2, m], xs[t + 3, m]
            d0, d1, d2, d3 = d_zs[t], d_zs[t + 1], d_zs[t + 2], d_zs[t + 3]
            for n in range(N):
                row[n] += x0 * d0[n] + x1 * d1[n] + x2 * d2[n] + x3 * d3[n]
        for t in range(blocked, T):
            x0, d0 = xs[t, m], d_zs[t]
            for n in range(N):
                row[n] += x0 * d0[n]
