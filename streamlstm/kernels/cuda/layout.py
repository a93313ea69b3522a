"""Arrays of the streams on the device, and the index of each number in them.

Numbers are float32, because float64 is slow on most GPUs. Values and their running means need more
digits: these are pairs of a high and a low part, whose sum is the number (Dekker 1971). Letters: S
streams, T rows of the tape, I inputs, H hidden; M = H + I + 1 rows of the weights, the last of them
the bias; N = 4H columns; C channels; F features.
"""

from typing import Any, NamedTuple

import numpy as np

from ..jit import jit_part

ZERO, ONE, NAN = np.float32(0.0), np.float32(1.0), np.float32(np.nan)
RLS = 4  # inputs that stay 0: on the CPU these are forecasts of the recursive least squares
LEVEL, CHANGE, FIRST_FEATURE = 0, 1, 2  # channels
COUNT, HIGH, LOW, SPREAD, SPIKES = range(5)  # of a channel; the mean is a pair
TICKS, UPDATES = 0, 1  # counts
PARAM, FIRST, SECOND = 0, 1, 2  # weights, and the optimiser's running averages of them


class Stats(NamedTuple):
    """Index of each number in the statistics of a stream."""

    value_high: int = 0  # the newest value
    value_low: int = 1
    clipped_high: int = 2  # the newest value, spikes clipped
    clipped_low: int = 3
    last_weight: int = 4  # of the last value in the mixture
    weight: int = 5  # of the LSTM
    product: int = 6  # these four: see `forecaster.layout.Committee`
    square: int = 7
    gate: int = 8
    error: int = 9
    output: int = 10  # of the network


STATS = Stats()


class Rules(NamedTuple):
    """How all streams learn."""

    loss: int
    optimizer: int
    rate: np.float32
    clip_norm: np.float32
    decay: np.float32  # factor of weight decay
    last: np.float32  # 1 if the last value is a member of the committee, else 0


class Streams(NamedTuple):
    """Arrays of S streams, on the device or the host; or those of one stream, or their shapes."""

    counts: Any  # (S, 2) int32
    stats: Any  # (S, 11)
    channels: Any  # (S, C, 5)
    state: Any  # (S, 2, H) h, c
    inputs: Any  # (S, T, M) [h_prev, x, 1]
    gates: Any  # (S, T, 4H)
    c_prevs: Any  # (S, T, H)
    tanh_cs: Any  # (S, T, H)


class Weights(NamedTuple):
    """Arrays of weights, like `Streams`; S is 1 if all streams share their weights."""

    w: Any  # (S, 3, M * N), see PARAM
    head: Any  # (S, 3, H + 1), the bias last


class Work(NamedTuple):
    """Views of the shared memory of a block."""

    d_zs: np.ndarray  # (T * N,) gradients of the pre-activations
    sums: np.ndarray  # (max(N, threads),)
    d_c: np.ndarray  # (H,)
    x: np.ndarray  # (M,) [h, x, 1]
    d_y: np.ndarray  # (1,) gradient of the loss, NaN without a target
    staged: np.ndarray  # the rest: a copy of the weights


@jit_part
def work_of(shared, T, M, N, threads):
    """Open the shared memory of a block."""
    H = N // 4
    d_c = T * N + max(N, threads)
    x = d_c + H
    d_y = x + M
    return Work(
        shared[: T * N],
        shared[T * N : d_c],
        shared[d_c:x],
        shared[x:d_y],
        shared[d_y : d_y + 1],
        shared[d_y + 1 :],
    )
