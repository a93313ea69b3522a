"""Flat buffers and the named views into them: the only place that knows an offset.

Kernels and Python open the same buffers with the same functions, so a weight has one name
everywhere. Letters: I inputs, H hidden, K outputs, T rows of the tape (the window).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from . import cells
from .jit import jit_part, jit_view
from .views import ALIGNMENT, cube, matrix, room, row


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
    num_layers: int
    traces: int  # length of all layers' traces
    categories: int  # C, features that hold categories
    embedding_size: int  # E, inputs that stand for one of these
    rows: int  # of the table of embeddings, used or not
    lookahead: int  # ticks that the reverse layers run over; 0 without these
    directions: int  # 1, or 2 with reverse layers
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
        int(settings[8]),
        int(settings[9]),
        int(settings[10]),
        int(settings[11]),
        int(settings[12]),
        int(settings[13]),
        int(settings[14]),
        settings[15],
        settings[16],
        settings[17],
    )


class Head(NamedTuple):
    """Weights of the Dense head, or gradients of them."""

    w: np.ndarray  # (K, directions H)
    b: np.ndarray  # (K,)


def aligned_zeros(size: int) -> np.ndarray:
    """Zeros, (size,) float32, whose first lies on a cache line."""
    zeros = np.zeros(size + ALIGNMENT, np.float32)
    start = -zeros.ctypes.data // zeros.itemsize % ALIGNMENT
    return zeros[start : start + size]


def grow(new: Iterable[np.ndarray], old: Iterable[np.ndarray]) -> None:
    """Copy arrays into the leading corner of larger ones, one by one."""
    for larger, smaller in zip(new, old, strict=True):
        larger[tuple(slice(n) for n in smaller.shape)] = smaller


@jit_part
def inputs_of(s, layer):
    """I of a layer: those above the first read the outputs of the one below."""
    return s.input_size if layer == 0 or layer == s.num_layers else s.hidden_size


@jit_part
def layer_start(first, other, layer):
    """Where a layer's part begins when that of the first is `first` long, the others' `other`."""
    return first + (layer - 1) * other if layer > 0 else 0


@jit_part
def weights_start(cell, s, layer):
    """Where a layer's weights begin in a flat buffer of parameters; the head's after the last."""
    I, H, L = s.input_size, s.hidden_size, s.num_layers
    first, other = cells.weights_size(cell, I, H), cells.weights_size(cell, H, H)
    forward = layer_start(first, other, min(layer, L))
    return forward + layer_start(first, other, max(layer - L, 0))


@jit_part
def dense_size(cell, s):
    """Length of the parameters that every update changes: all but the table of embeddings."""
    H, K = s.directions * s.hidden_size, s.output_size
    return weights_start(cell, s, s.directions * s.num_layers) + room(K * H) + room(K)


@jit_part
def params_size(cell, s):
    """P, the length of a flat buffer of parameters."""
    return dense_size(cell, s) + room(s.rows * s.embedding_size)


@jit_part
def layer_weights(cell, buffer, s, layer):
    """Open a layer's weights, see `kernels.cells`, in a flat buffer of parameters, (P,)."""
    start = weights_start(cell, s, layer)
    return cells.weights_of(cell, buffer, start, inputs_of(s, layer), s.hidden_size)


@jit_part
def head_views(cell, buffer, s) -> Head:
    """Open the head's weights in a flat buffer of parameters, (P,)."""
    H, K = s.directions * s.hidden_size, s.output_size
    start = weights_start(cell, s, s.directions * s.num_layers)
    return Head(matrix(buffer, start, K, H), row(buffer, start + room(K * H), K))


@jit_view
def embedding_row(cell, buffer, s, number):
    """Open the embedding of a category, (E,), in a flat buffer of parameters, (P,)."""
    E = s.embedding_size
    return row(buffer, dense_size(cell, s) + number * E, E)


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


@jit_view
def layer_state(cell, buffer, s, layer):
    """Open a layer's state, (states, H) with the output h first, in a buffer of all states."""
    size = room(cell.states * s.hidden_size)
    return matrix(buffer, layer * size, cell.states, s.hidden_size)


@jit_view
def layer_d_hs(buffer, s, layer, T):
    """Open the gradients of a layer's outputs, (T, H), in a buffer of those of all layers."""
    return matrix(buffer, layer * room(T * s.hidden_size), T, s.hidden_size)


@jit_part
def layer_tape(cell, buffer, s, layer, T):
    """Open a layer's tape, see `kernels.cells`, in a buffer of the tapes of T ticks."""
    I, H = s.input_size, s.hidden_size
    start = layer_start(cells.tape_size(cell, I, H, T), cells.tape_size(cell, H, H, T), layer)
    return cells.tape_of(cell, buffer, start, inputs_of(s, layer), H, T)


@jit_part
def tapes_size(cell, s, T):
    """Length of the tapes of all layers over T ticks."""
    I, H = s.input_size, s.hidden_size
    return layer_start(cells.tape_size(cell, I, H, T), cells.tape_size(cell, H, H, T), s.num_layers)


class Memory(NamedTuple):
    """Recurrent state and the tapes of the last T ticks (see `kernels.cells`)."""

    states: np.ndarray  # of all layers, flat
    output: np.ndarray  # (K,) of the newest tick
    hs: np.ndarray  # (T, directions H) outputs of the last layers
    d_ys: np.ndarray  # (T, K) gradient of each tick's loss with respect to its output
    embedded: np.ndarray  # (T, 2C), see `kernels.embedding`
    inputs: np.ndarray  # (lookahead, I) of the last ticks, a ring for the reverse layers
    tapes: np.ndarray  # of all layers, flat
    traces: np.ndarray  # of all layers, flat; none where learning goes back in time


@jit_part
def memory_size(cell, s):
    """Length of a memory buffer."""
    H, K, T = s.hidden_size, s.output_size, s.window
    states = s.num_layers * room(cell.states * H)
    ticks = room(T * s.directions * H) + room(T * K) + room(T * 2 * s.categories)
    ticks += room(s.lookahead * s.input_size)
    return states + room(K) + ticks + tapes_size(cell, s, T) + s.traces


@jit_part
def memory_views(cell, buffer, s) -> Memory:
    """Open a memory buffer."""
    H, K, T = s.hidden_size, s.output_size, s.window
    output = s.num_layers * room(cell.states * H)
    hs = output + room(K)
    d_ys = hs + room(T * s.directions * H)
    embedded = d_ys + room(T * K)
    inputs = embedded + room(T * 2 * s.categories)
    tapes = inputs + room(s.lookahead * s.input_size)
    traces = tapes + tapes_size(cell, s, T)
    return Memory(
        row(buffer, 0, output),
        row(buffer, output, K),
        matrix(buffer, hs, T, s.directions * H),
        matrix(buffer, d_ys, T, K),
        matrix(buffer, embedded, T, 2 * s.categories),
        matrix(buffer, inputs, s.lookahead, s.input_size),
        row(buffer, tapes, traces - tapes),
        row(buffer, traces, s.traces),
    )


class Scratch(NamedTuple):
    """Work space whose content means nothing between calls."""

    grads: np.ndarray  # (P,)
    d_hs: np.ndarray  # gradients of the layers' outputs, (T, H) each
    work: np.ndarray  # of the backward pass of a layer
    x: np.ndarray  # (I,) the network's inputs
    targets: np.ndarray  # (K,)
    output: np.ndarray  # (K,) of a forecast, which must not touch the real state
    states: np.ndarray  # of all layers
    tapes: np.ndarray  # of all layers, one tick and those of the lookahead
    h: np.ndarray  # (2H,) what the head reads of two directions, or the gradient of that
    embedded: np.ndarray  # (2C,) of the tick in x
    d_xs: np.ndarray  # (T, I) gradients of the inputs; (0, I) without embeddings to learn
    d_xs_reverse: np.ndarray  # (lookahead + 1, I) likewise, of the reverse stack
    marks: np.ndarray  # (rows,) of embeddings that an update has been to


@jit_part
def scratch_sizes(cell, s):
    """Lengths of the arrays of `Scratch`."""
    learned = 1 if s.categories > 0 else 0  # embeddings
    I, H, K, T = max(s.input_size, s.hidden_size), s.hidden_size, s.output_size, s.window
    return (
        params_size(cell, s),
        s.num_layers * room(T * H),
        cells.work_size(cell, I, H, T),
        room(s.input_size),
        room(K),
        room(K),
        s.num_layers * room(cell.states * H),
        tapes_size(cell, s, 1 + s.lookahead),
        (s.directions - 1) * room(2 * H),
        room(2 * s.categories),
        room(learned * T * s.input_size),
        room((s.directions - 1) * learned * (s.lookahead + 1) * s.input_size),
        room(s.rows),
    )


@jit_part
def scratch_size(cell, s):
    """Length of a scratch buffer, without windows."""
    return sum(scratch_sizes(cell, s))


@jit_part
def scratch_views(cell, buffer, s) -> Scratch:
    """Open a scratch buffer."""
    sizes = scratch_sizes(cell, s)
    work = sizes[0] + sizes[1]
    x = work + sizes[2]
    targets = x + sizes[3]
    output = targets + sizes[4]
    states = output + sizes[5]
    tapes = states + sizes[6]
    h = tapes + sizes[7]
    embedded = h + sizes[8]
    d_xs = embedded + sizes[9]
    d_xs_reverse = d_xs + sizes[10]
    marks = d_xs_reverse + sizes[11]
    learned = 1 if s.categories > 0 else 0
    back = (s.directions - 1) * learned * (s.lookahead + 1)
    return Scratch(
        row(buffer, 0, sizes[0]),
        row(buffer, sizes[0], sizes[1]),
        row(buffer, work, sizes[2]),
        row(buffer, x, s.input_size),
        row(buffer, targets, s.output_size),
        row(buffer, output, s.output_size),
        row(buffer, states, sizes[6]),
        row(buffer, tapes, sizes[7]),
        row(buffer, h, (s.directions - 1) * 2 * s.hidden_size),
        row(buffer, embedded, 2 * s.categories),
        matrix(buffer, d_xs, learned * s.window, s.input_size),
        matrix(buffer, d_xs_reverse, back, s.input_size),
        row(buffer, marks, s.rows),
    )


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
    classes: int = 8  # that have been learned so far
    periods: int = 9  # from here on: the series' seasonal periods in ticks, 0 while unknown


CLOCK = Clock()


class NetworkViews(NamedTuple):
    """Every view of one network, as the kernels use it."""

    cell: tuple  # what it is made of, see `kernels.cells`
    rule: tuple  # how it learns, see `kernels.rules`
    settings: Settings
    head: Head
    weights: Weights
    memory: Memory
    scratch: Scratch
    windows: Windows
    d_head: Head  # gradients
    clock: np.ndarray


@jit_part
def network_views(kind, settings, weights, memory, scratch, clock) -> NetworkViews:
    """Open the flat buffers of one network. kind: its cell and its learning rule."""
    cell, rule = kind
    s = unpack(settings)
    flat = weights_views(weights)
    work = scratch_views(cell, scratch, s)
    return NetworkViews(
        cell,
        rule,
        s,
        head_views(cell, flat.params, s),
        flat,
        memory_views(cell, memory, s),
        work,
        windows_views(scratch, scratch_size(cell, s), s),
        head_views(cell, work.grads, s),
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
