"""Flat buffers and the named views into them: the only place that knows an offset.

Kernels and Python open the same buffers with the same functions, so a weight has one name
everywhere. Letters: I inputs, H hidden, K outputs, T rows of the tape (the window).
"""

from typing import NamedTuple

import numpy as np

from .kernels.jit import jit_part
from .kernels.views import cube, matrix, row


class Settings(NamedTuple):
    """What a network is made of and how it learns; travels to the kernels as one float64 array."""

    input_size: int
    hidden_size: int
    output_size: int
    window: int
    stride: int
    loss: int
    optimizer: int
    replay: int
    learning_rate: float
    clip_norm: float
    weight_decay: float


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
        int(settings[7]),
        settings[8],
        settings[9],
        settings[10],
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
    """Length of a scratch buffer, without windows."""
    I, H, K, T = s.input_size, s.hidden_size, s.output_size, s.window
    backward = room(T * 4 * H) + room(T * H) + 2 * room(H)
    step = 4 * room(H) + room(H + I) + room(4 * H) + 2 * room(K)
    return params_size(s) + backward + step


class Windows(NamedTuple):
    """Work space for a mini-batch of B windows of T ticks (see `kernels.batch`)."""

    inputs: np.ndarray  # (T + 1, H + I, B)
    cs: np.ndarray  # (T + 1, H, B)
    gates: np.ndarray  # (T, 4H, B)
    tanh_cs: np.ndarray  # (T, H, B)
    outputs: np.ndarray  # (T, K, B), then the gradients of the loss with respect to them
    d_zs: np.ndarray  # (T, 4H, B)
    d_hs: np.ndarray  # (T, H, B)
    d_h: np.ndarray  # (H, B)
    d_c: np.ndarray  # (H, B)


@jit_part
def windows_size(s):
    """Length of the work space for the windows of a replay."""
    I, H, K, T = s.input_size, s.hidden_size, s.output_size, s.window
    ticks = (T + 1) * (H + I) + (T + 1) * H + T * (4 * H + H + K + 4 * H + H)
    return s.replay * (ticks + 2 * H)


@jit_part
def windows_views(buffer, start, s) -> Windows:
    """Open the work space that starts at `start`."""
    I, H, K, T, B = s.input_size, s.hidden_size, s.output_size, s.window, s.replay
    cs = start + (T + 1) * (H + I) * B
    gates = cs + (T + 1) * H * B
    tanh_cs = gates + T * 4 * H * B
    outputs = tanh_cs + T * H * B
    d_zs = outputs + T * K * B
    d_hs = d_zs + T * 4 * H * B
    d_h = d_hs + T * H * B
    return Windows(
        cube(buffer, start, T + 1, H + I, B),
        cube(buffer, cs, T + 1, H, B),
        cube(buffer, gates, T, 4 * H, B),
        cube(buffer, tanh_cs, T, H, B),
        cube(buffer, outputs, T, K, B),
        cube(buffer, d_zs, T, 4 * H, B),
        cube(buffer, d_hs, T, H, B),
        matrix(buffer, d_h, H, B),
        matrix(buffer, d_h + H * B, H, B),
    )


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
    seed: int = 5  # of the windows to replay
    alert: int = 6  # ticks for which the learning rate is still raised after a drift
    horizon: int = 7  # K, ticks that a committee forecasts
    periods: int = 8  # from here on: the series' seasonal periods in ticks, 0 while unknown


CLOCK = Clock()


class NetworkViews(NamedTuple):
    """Every view of one network, as the kernels use it."""

    settings: Settings
    params: Params
    weights: Weights
    memory: Memory
    scratch: Scratch
    windows: Windows
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
        windows_views(scratch, scratch_size(s), s),
        param_views(work.grads, s),
        row(clock, 0, clock.size),
    )


class Past(NamedTuple):
    """What a network has seen, for replay: a ring of the last C ticks."""

    inputs: np.ndarray  # (C, I)
    targets: np.ndarray  # (C, K), NaN until they arrive


@jit_part
def past_size(ticks, s):
    """Length of a buffer that holds the last `ticks`."""
    return ticks * (s.input_size + s.output_size)


@jit_part
def past_views(buffer, s) -> Past:
    """Open a buffer of past ticks."""
    I, K = s.input_size, s.output_size
    C = buffer.size // (I + K)
    return Past(matrix(buffer, 0, C, I), matrix(buffer, C * I, C, K))


SCALER = 4  # arrays of a scaler


class Scaler(NamedTuple):
    """Running statistics of C channels (see `kernels.scaling`)."""

    counts: np.ndarray  # (C,) values seen
    center: np.ndarray  # (C,)
    spread: np.ndarray  # (C,)
    beyond: np.ndarray  # (C,) values in a row that were out of reach


@jit_part
def scaler_views(buffer, channels) -> Scaler:
    """Open the statistics of C channels, the first SCALER C values of a buffer."""
    return Scaler(
        row(buffer, 0, channels),
        row(buffer, channels, channels),
        row(buffer, 2 * channels, channels),
        row(buffer, 3 * channels, channels),
    )


RLS = 4  # recursive least squares in a committee
CONTROL = RLS  # one more, which tells what the second season is worth
LAGS = 23  # differences to earlier values that they regress on
PROFILES = 2  # seasonal profiles of a season: one that follows fast, one that averages long


class Shape(NamedTuple):
    """Sizes of a series: what its buffers are opened with."""

    seasons: int  # S
    features: int  # F
    horizon: int  # K


@jit_part
def shape_of(clock, features) -> Shape:
    """The shape of a series with F features."""
    return Shape(clock.size - CLOCK.periods, features, clock[CLOCK.horizon])


@jit_part
def inputs_size(shape):
    """I: level, change, RLS forecasts, five for each season, features."""
    return 2 + RLS + (3 + PROFILES) * shape.seasons + shape.features


@jit_part
def scaled_size(shape):
    """C: channels with running statistics are level, change, three a season, features."""
    return 2 + (1 + PROFILES) * shape.seasons + shape.features


@jit_part
def committee_size(shape):
    """M: the last value, three a season, recursive least squares, the LSTM."""
    return 1 + (1 + PROFILES) * shape.seasons + RLS + 1


@jit_part
def regressors_size(shape):
    """N: a constant, the level, the lags, seven a season, features."""
    return 2 + LAGS + (3 + 2 * PROFILES) * shape.seasons + shape.features


class LeastSquares(NamedTuple):
    """R = RLS + 1 recursive least squares on N regressors (see `kernels.rls`)."""

    regressors: np.ndarray  # (N,) for the next tick
    gain: np.ndarray  # (N,) work space
    deviations: np.ndarray  # (R,) running mean absolute error of late
    errors: np.ndarray  # (R,) and over a longer time
    coefficients: np.ndarray  # (R, N)
    covariance: np.ndarray  # (R * N, N), one square matrix below the other


class Committee(NamedTuple):
    """A committee of M members that forecast K ticks (see `kernels.committee`).

    Forecasts wait in a ring of the last K origins for the values that they are of.
    """

    members: np.ndarray  # (M,) 1 for those that take part, 0 for the others
    weights: np.ndarray  # (K, M) in the mixture
    products: np.ndarray  # (K, M) running mean of output x what it should have been
    squares: np.ndarray  # (K, M) running mean of output^2
    gates: np.ndarray  # (K, M) how much of an output to believe, 0 to 1
    errors: np.ndarray  # (K,) running mean absolute error of the mixture
    outputs: np.ndarray  # (K * K, M) of origin o in rows o K .. o K + K - 1
    values: np.ndarray  # (K,) newest value at each origin
    scales: np.ndarray  # (K,) running mean absolute change at each origin


QUANTILES = 13  # levels of the error that are tracked
WATCH = 32  # ticks between looks for a drift


class Intervals(NamedTuple):
    """Quantiles of the errors at K horizons (see `kernels.intervals`); L levels.

    What was issued waits in a ring of the last K origins: of origin o in rows o K .. o K + K - 1.
    """

    common: np.ndarray  # (5,) running means of |e| and of the value
    means: np.ndarray  # (K,) of |e|
    counts: np.ndarray  # (K,) of errors seen
    quantiles: np.ndarray  # (K, L) of asinh(e / scale)
    weights: np.ndarray  # (K, 3) of the scale's features
    covariance: np.ndarray  # (3K, 3)
    forecasts: np.ndarray  # (K * K,) issued
    scales: np.ndarray  # (K * K,) issued
    features: np.ndarray  # (K * K, 3) issued
    issued: np.ndarray  # (K * K, L) quantiles
    recent: np.ndarray  # (WATCH,) ring of |e| one tick ahead in running mean absolute changes
    gain: np.ndarray  # (3,) work space


@jit_part
def intervals_size(K):
    """Length of the buffer of the intervals at K horizons."""
    L = QUANTILES
    return 5 + 2 * K + K * L + 12 * K + K * K * (5 + L) + WATCH + 3


@jit_part
def intervals_views(buffer, K) -> Intervals:
    """Open the buffer of the intervals at K horizons."""
    L = QUANTILES
    weights = 5 + 2 * K + K * L
    forecasts = weights + 12 * K
    issued = forecasts + 5 * K * K
    recent = issued + K * K * L
    return Intervals(
        row(buffer, 0, 5),
        row(buffer, 5, K),
        row(buffer, 5 + K, K),
        matrix(buffer, 5 + 2 * K, K, L),
        matrix(buffer, weights, K, 3),
        matrix(buffer, weights + 3 * K, 3 * K, 3),
        row(buffer, forecasts, K * K),
        row(buffer, forecasts + K * K, K * K),
        matrix(buffer, forecasts + 2 * K * K, K * K, 3),
        matrix(buffer, issued, K * K, L),
        row(buffer, recent, WATCH),
        row(buffer, recent + WATCH, 3),
    )


class SeriesViews(NamedTuple):
    """The series that a forecaster follows, around the network that forecasts it."""

    shape: Shape
    scaler: Scaler
    sane: np.ndarray  # (3,) smallest, largest and newest value, spikes cut off
    features: np.ndarray  # (F,) as they last arrived
    rls: LeastSquares
    committee: Committee
    intervals: Intervals
    periods: np.ndarray  # (S,)
    history: np.ndarray  # (2 + 2S, R) rings: values, missing ones filled in; profiles; errors


@jit_part
def rings_size(shape):
    """Rings of a history: the values, profiles of each season, |e| smoothed like a profile."""
    return 1 + PROFILES * shape.seasons + 1


@jit_part
def least_squares_size(N):
    """Length of the buffer of the least squares on N regressors."""
    return 2 * N + (RLS + 1) * (2 + N + N * N)


@jit_part
def series_size(shape):
    """Length of the statistics buffer of a series."""
    C, M, K = scaled_size(shape), committee_size(shape), shape.horizon
    committee = M + 4 * K * M + K + K * K * M + 2 * K
    return SCALER * C + 3 + shape.features + least_squares_size(regressors_size(shape)) + committee


@jit_part
def least_squares_views(buffer, start, shape) -> LeastSquares:
    """Open the least squares that start at `start`."""
    N, R = regressors_size(shape), RLS + 1
    coefficients = start + 2 * N + 2 * R
    return LeastSquares(
        row(buffer, start, N),
        row(buffer, start + N, N),
        row(buffer, start + 2 * N, R),
        row(buffer, start + 2 * N + R, R),
        matrix(buffer, coefficients, R, N),
        matrix(buffer, coefficients + R * N, R * N, N),
    )


@jit_part
def committee_views(buffer, start, shape) -> Committee:
    """Open the committee that starts at `start`."""
    K, M = shape.horizon, committee_size(shape)
    weights = start + M
    errors = weights + 4 * K * M
    outputs = errors + K
    values = outputs + K * K * M
    return Committee(
        row(buffer, start, M),
        matrix(buffer, weights, K, M),
        matrix(buffer, weights + K * M, K, M),
        matrix(buffer, weights + 2 * K * M, K, M),
        matrix(buffer, weights + 3 * K * M, K, M),
        row(buffer, errors, K),
        matrix(buffer, outputs, K * K, M),
        row(buffer, values, K),
        row(buffer, values + K, K),
    )


@jit_part
def series_views(stats, errors, history, clock, shape) -> SeriesViews:
    """Open the buffers of a series."""
    C, N = scaled_size(shape), regressors_size(shape)
    features = SCALER * C + 3
    rls = features + shape.features
    committee = rls + least_squares_size(N)
    rings = rings_size(shape)
    return SeriesViews(
        shape,
        scaler_views(stats, C),
        row(stats, SCALER * C, 3),
        row(stats, features, shape.features),
        least_squares_views(stats, rls, shape),
        committee_views(stats, committee, shape),
        intervals_views(errors, shape.horizon),
        row(clock, CLOCK.periods, shape.seasons),
        matrix(history, 0, rings, history.size // rings),
    )


class Work(NamedTuple):
    """Float64 work space to forecast h ticks ahead."""

    paths: np.ndarray  # (RLS, LAGS + 1 + h) last values, then each least squares' forecasts
    repeats: np.ndarray  # (S, h + 2) values one season before the newest and those that follow
    profiles: np.ndarray  # (2S, h + 1) likewise
    outputs: np.ndarray  # (h, M)
    regressors: np.ndarray  # (N,)
    ordered: np.ndarray  # (L,)


@jit_part
def work_size(shape, h):
    """Length of the work space to forecast h ticks."""
    S, M, N = shape.seasons, committee_size(shape), regressors_size(shape)
    paths = RLS * (LAGS + 1 + h) + S * (h + 2) + PROFILES * S * (h + 1)
    return paths + h * M + N + QUANTILES


@jit_part
def work_views(buffer, shape) -> Work:
    """Open a work space, for as many ticks as it has room for."""
    S, M, N = shape.seasons, committee_size(shape), regressors_size(shape)
    each = RLS + S + PROFILES * S + M
    h = (buffer.size - QUANTILES - N - RLS * (LAGS + 1) - 2 * S - PROFILES * S) // each
    repeats = RLS * (LAGS + 1 + h)
    profiles = repeats + S * (h + 2)
    outputs = profiles + PROFILES * S * (h + 1)
    return Work(
        matrix(buffer, 0, RLS, LAGS + 1 + h),
        matrix(buffer, repeats, S, h + 2),
        matrix(buffer, profiles, PROFILES * S, h + 1),
        matrix(buffer, outputs, h, M),
        row(buffer, outputs + h * M, N),
        row(buffer, outputs + h * M + N, QUANTILES),
    )
