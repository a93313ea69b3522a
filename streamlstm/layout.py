"""Flat buffers and the named views into them: the only place that knows an offset.

Kernels and Python open the same buffers with the same functions, so a weight has one name
everywhere. Letters: I inputs, H hidden, K outputs, T rows of the tape (the window).
"""

from typing import NamedTuple

import numpy as np

from .kernels.jit import jit_part
from .kernels.views import matrix, row


class Settings(NamedTuple):
    """What a network is made of and how it learns; travels to the kernels as one float64 array."""

    input_size: int
    hidden_size: int
    output_size: int
    window: int
    stride: int
    loss: int
    optimizer: int
    learning_rate: float
    clip_norm: float


@jit_part
def unpack(settings) -> Settings:
    """The float64 array back as `Settings`."""
    return Settings(
        int(settings[0]),
        int(settings[1]),
        int(settings[2]),
        int(settings[3]),
        int(settings[4]),
        int(settings[5]),
        int(settings[6]),
        settings[7],
        settings[8],
    )


class Params(NamedTuple):
    """Weights of the network, or anything with their shapes: gradients, optimiser averages."""

    w: np.ndarray  # (H + I, 4H) gates i, f, g, o of [h_prev, x]
    b: np.ndarray  # (4H,)
    w_head: np.ndarray  # (K, H)
    b_head: np.ndarray  # (K,)


ALIGNMENT = 16  # float32 values of a 64-byte cache line; every array starts on one


@jit_part
def room(size):
    """`size` rounded up, so that the array that follows is aligned."""
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def aligned_zeros(size: int) -> np.ndarray:
    """Zeros, (size,) float32, whose first lies on a cache line."""
    zeros = np.zeros(size + ALIGNMENT, np.float32)
    start = -zeros.ctypes.data // zeros.itemsize % ALIGNMENT
    return zeros[start : start + size]


def grow(new: NamedTuple, old: NamedTuple) -> None:
    """Copy arrays into the leading corner of larger ones, name by name."""
    for larger, smaller in zip(new, old, strict=True):
        larger[tuple(slice(n) for n in smaller.shape)] = smaller


@jit_part
def params_size(s):
    """P, the length of a flat buffer of parameters."""
    H, K = s.hidden_size, s.output_size
    return room((H + s.input_size) * 4 * H) + room(4 * H) + room(K * H) + room(K)


@jit_part
def param_views(buffer, s) -> Params:
    """Open a flat buffer of parameters, (P,)."""
    H, K, rows = s.hidden_size, s.output_size, s.hidden_size + s.input_size
    b = room(rows * 4 * H)
    w_head = b + room(4 * H)
    b_head = w_head + room(K * H)
    return Params(
        matrix(buffer, 0, rows, 4 * H),
        row(buffer, b, 4 * H),
        matrix(buffer, w_head, K, H),
        row(buffer, b_head, K),
    )


class Weights(NamedTuple):
    """Parameters and the optimiser's running averages, each flat: (P,)."""

    params: np.ndarray
    first: np.ndarray
    second: np.ndarray


@jit_part
def weights_views(buffer) -> Weights:
    """Open a buffer of 3P values."""
    P = buffer.size // 3
    return Weights(row(buffer, 0, P), row(buffer, P, P), row(buffer, 2 * P, P))


class Memory(NamedTuple):
    """Recurrent state and the tape of the last T ticks (see `kernels.lstm`)."""

    h: np.ndarray  # (H,)
    c: np.ndarray  # (H,)
    output: np.ndarray  # (K,) of the newest tick
    inputs: np.ndarray  # (T, H + I)
    gates: np.ndarray  # (T, 4H)
    c_prevs: np.ndarray  # (T, H)
    tanh_cs: np.ndarray  # (T, H)
    d_ys: np.ndarray  # (T, K) gradient of each tick's loss with respect to its output


@jit_part
def memory_size(s):
    """Length of a memory buffer."""
    I, H, K, T = s.input_size, s.hidden_size, s.output_size, s.window
    tape = room(T * (H + I)) + room(T * 4 * H) + 2 * room(T * H) + room(T * K)
    return 2 * room(H) + room(K) + tape


@jit_part
def memory_views(buffer, s) -> Memory:
    """Open a memory buffer."""
    I, H, K, T = s.input_size, s.hidden_size, s.output_size, s.window
    c = room(H)
    output = c + room(H)
    inputs = output + room(K)
    gates = inputs + room(T * (H + I))
    c_prevs = gates + room(T * 4 * H)
    tanh_cs = c_prevs + room(T * H)
    d_ys = tanh_cs + room(T * H)
    return Memory(
        row(buffer, 0, H),
        row(buffer, c, H),
        row(buffer, output, K),
        matrix(buffer, inputs, T, H + I),
        matrix(buffer, gates, T, 4 * H),
        matrix(buffer, c_prevs, T, H),
        matrix(buffer, tanh_cs, T, H),
        matrix(buffer, d_ys, T, K),
    )


class Scratch(NamedTuple):
    """Work space whose content means nothing between calls."""

    grads: np.ndarray  # (P,)
    d_zs: np.ndarray  # (T, 4H)
    d_hs: np.ndarray  # (T, H)
    d_h: np.ndarray  # (H,)
    d_c: np.ndarray  # (H,)
    h: np.ndarray  # (H,) state of a forecast that must not touch the real one
    c: np.ndarray  # (H,)
    inputs: np.ndarray  # (H + I,)
    gates: np.ndarray  # (4H,)
    c_prev: np.ndarray  # (H,)
    tanh_c: np.ndarray  # (H,)
    output: np.ndarray  # (K,)
    targets: np.ndarray  # (K,)


@jit_part
def scratch_size(s):
    """Length of a scratch buffer."""
    I, H, K, T = s.input_size, s.hidden_size, s.output_size, s.window
    backward = room(T * 4 * H) + room(T * H) + 2 * room(H)
    step = 4 * room(H) + room(H + I) + room(4 * H) + 2 * room(K)
    return params_size(s) + backward + step


@jit_part
def scratch_views(buffer, s) -> Scratch:
    """Open a scratch buffer."""
    I, H, K, T = s.input_size, s.hidden_size, s.output_size, s.window
    d_zs = params_size(s)
    d_hs = d_zs + room(T * 4 * H)
    d_h = d_hs + room(T * H)
    d_c = d_h + room(H)
    h = d_c + room(H)
    c = h + room(H)
    inputs = c + room(H)
    gates = inputs + room(H + I)
    c_prev = gates + room(4 * H)
    tanh_c = c_prev + room(H)
    output = tanh_c + room(H)
    targets = output + room(K)
    return Scratch(
        row(buffer, 0, d_zs),
        matrix(buffer, d_zs, T, 4 * H),
        matrix(buffer, d_hs, T, H),
        row(buffer, d_h, H),
        row(buffer, d_c, H),
        row(buffer, h, H),
        row(buffer, c, H),
        row(buffer, inputs, H + I),
        row(buffer, gates, 4 * H),
        row(buffer, c_prev, H),
        row(buffer, tanh_c, H),
        row(buffer, output, K),
        row(buffer, targets, K),
    )


class Clock(NamedTuple):
    """Where each int64 counter stands in the clock buffer."""

    ticks: int = 0  # the network has advanced so far
    unlearned: int = 1  # ticks since the last update
    labelled: int = 2  # of these, with a target
    updates: int = 3  # of the optimiser
    values: int = 4  # in the history of a series
    periods: int = 5  # from here on: the series' seasonal periods in ticks, 0 while unknown


CLOCK = Clock()


class NetworkViews(NamedTuple):
    """Every view of one network, as the kernels use it."""

    settings: Settings
    params: Params
    weights: Weights
    memory: Memory
    scratch: Scratch
    grads: Params
    clock: np.ndarray


@jit_part
def network_views(settings, weights, memory, scratch, clock) -> NetworkViews:
    """Open the flat buffers of one network."""
    s = unpack(settings)
    flat = weights_views(weights)
    work = scratch_views(scratch, s)
    return NetworkViews(
        s,
        param_views(flat.params, s),
        flat,
        memory_views(memory, s),
        work,
        param_views(work.grads, s),
        row(clock, 0, clock.size),
    )


class Scaler(NamedTuple):
    """Running statistics of C channels (see `kernels.scaling`)."""

    counts: np.ndarray  # (C,) values seen
    center: np.ndarray  # (C,)
    spread: np.ndarray  # (C,)


@jit_part
def scaler_views(buffer, channels) -> Scaler:
    """Open the statistics of C channels, the first 3C values of a buffer."""
    return Scaler(
        row(buffer, 0, channels),
        row(buffer, channels, channels),
        row(buffer, 2 * channels, channels),
    )


RLS = 3  # recursive least squares in a committee
LAGS = 23  # differences to earlier values that they regress on


class Experts(NamedTuple):
    """A committee of E members (see `kernels.experts`); N regressors."""

    weights: np.ndarray  # (E,) in the mixture
    members: np.ndarray  # (E,) 1 for those that take part, 0 for the others
    products: np.ndarray  # (E,) running mean of output x what it should have been
    squares: np.ndarray  # (E,) running mean of output^2
    outputs: np.ndarray  # (E,) for the next tick
    regressors: np.ndarray  # (N,) for the next tick
    gain: np.ndarray  # (N,) work space
    coefficients: np.ndarray  # (RLS, N)
    covariance: np.ndarray  # (RLS * N, N), one square matrix below the other


@jit_part
def committee_size(seasons):
    """Members: the last value, a naive for each season, recursive least squares, the LSTM."""
    return 1 + seasons + RLS + 1


@jit_part
def regressors_size(seasons):
    """Regressors: a constant, the level, the lags, three lags around each season."""
    return 2 + LAGS + 3 * seasons


@jit_part
def expert_views(buffer, start, seasons) -> Experts:
    """Open a committee that starts at `start`."""
    E, N = committee_size(seasons), regressors_size(seasons)
    regressors = start + 5 * E
    coefficients = regressors + 2 * N
    return Experts(
        row(buffer, start, E),
        row(buffer, start + E, E),
        row(buffer, start + 2 * E, E),
        row(buffer, start + 3 * E, E),
        row(buffer, start + 4 * E, E),
        row(buffer, regressors, N),
        row(buffer, regressors + N, N),
        matrix(buffer, coefficients, RLS, N),
        matrix(buffer, coefficients + RLS * N, RLS * N, N),
    )


class SeriesViews(NamedTuple):
    """The series that a forecaster follows, around the network that forecasts it."""

    scaler: Scaler  # C = I channels, those of the network's inputs
    last: np.ndarray  # (1,) newest observed value
    features: np.ndarray  # (F,) as they last arrived
    experts: Experts
    periods: np.ndarray  # (S,)
    history: np.ndarray  # ring of the newest values, missing ones filled in


@jit_part
def series_size(s, seasons):
    """Length of the statistics buffer of a series."""
    E, N = committee_size(seasons), regressors_size(seasons)
    features = s.input_size - 2 - seasons
    return 3 * s.input_size + 1 + features + 5 * E + 2 * N + RLS * N + RLS * N * N


@jit_part
def series_views(stats, history, clock, s) -> SeriesViews:
    """Open the buffers of a series."""
    seasons = clock.size - CLOCK.periods
    last = 3 * s.input_size
    features = s.input_size - 2 - seasons
    return SeriesViews(
        scaler_views(stats, s.input_size),
        row(stats, last, 1),
        row(stats, last + 1, features),
        expert_views(stats, last + 1 + features, seasons),
        row(clock, CLOCK.periods, seasons),
        row(history, 0, history.size),
    )
