"""Flat buffers of a network and the named views into them: the only place that knows offsets.

Kernels and Python open them with the same functions, so a weight has one name everywhere. Buffers
of a series: `forecaster.layout`. Letters: I inputs, H hidden, K outputs, T rows of the tape.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from . import cells
from .jit import jit_part, jit_view
from .views import ALIGNMENT, cube, matrix, padded, row


class Settings(NamedTuple):
    """Sizes of a network and how it learns. Kernels get it as one float64 array."""

    input_size: int
    hidden_size: int
    output_size: int
    window: int
    stride: int
    loss: int
    optimizer: int
    replay: int
    num_layers: int
    traces: int  # length of the traces of all layers
    categories: int  # C, features that hold categories
    embedding_size: int  # E, inputs that each of these takes
    rows: int  # of the table of embeddings
    lookahead: int  # ticks that the reverse layers read; 0 without these layers
    directions: int  # 1, or 2 with reverse layers
    learning_rate: float
    clip_norm: float
    weight_decay: float


@jit_part
def unpack(settings) -> Settings:
    """`Settings` from the float64 array."""
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
    """Weights of the Dense head, or their gradients."""

    w: np.ndarray  # (K, directions H)
    b: np.ndarray  # (K,)


def aligned_zeros(size: int) -> np.ndarray:
    """Zeros, (size,) float32, that begin on a cache line."""
    zeros = np.zeros(size + ALIGNMENT, np.float32)
    start = -zeros.ctypes.data // zeros.itemsize % ALIGNMENT
    return zeros[start : start + size]


def grow(new: Iterable[np.ndarray], old: Iterable[np.ndarray]) -> None:
    """Copy arrays into the leading corner of larger ones, one by one."""
    for larger, smaller in zip(new, old, strict=True):
        larger[tuple(slice(n) for n in smaller.shape)] = smaller


@jit_part
def inputs_of(s, layer):
    """I of a layer: a layer above the first reads the outputs of the one below."""
    return s.input_size if layer == 0 or layer == s.num_layers else s.hidden_size


@jit_part
def layer_start(first, other, layer):
    """Start of a layer's part: the first layer's has length `first`, all others `other`."""
    return first + (layer - 1) * other if layer > 0 else 0


@jit_part
def weights_start(cell, s, layer):
    """Start of a layer's weights in a flat buffer of parameters; those of the head come last."""
    I, H, L = s.input_size, s.hidden_size, s.num_layers
    first, other = cells.weights_size(cell, I, H), cells.weights_size(cell, H, H)
    forward = layer_start(first, other, min(layer, L))
    return forward + layer_start(first, other, max(layer - L, 0))


@jit_part
def dense_size(cell, s):
    """Number of parameters that every update changes: all but the table of embeddings."""
    H, K = s.directions * s.hidden_size, s.output_size
    return weights_start(cell, s, s.directions * s.num_layers) + padded(K * H) + padded(K)


@jit_part
def params_size(cell, s):
    """P, the length of a flat buffer of parameters."""
    return dense_size(cell, s) + padded(s.rows * s.embedding_size)


@jit_part
def layer_weights(cell, buffer, s, layer):
    """Open a layer's weights, see `cells`, in a flat buffer of parameters, (P,)."""
    start = weights_start(cell, s, layer)
    return cells.weights_of(cell, buffer, start, inputs_of(s, layer), s.hidden_size)


@jit_part
def head_views(cell, buffer, s) -> Head:
    """Open the head's weights in a flat buffer of parameters, (P,)."""
    H, K = s.directions * s.hidden_size, s.output_size
    start = weights_start(cell, s, s.directions * s.num_layers)
    return Head(matrix(buffer, start, K, H), row(buffer, start + padded(K * H), K))


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
    """Open a layer's state, (states, H) with the output h first, in the buffer of all states."""
    size = padded(cell.states * s.hidden_size)
    return matrix(buffer, layer * size, cell.states, s.hidden_size)


@jit_view
def layer_d_hs(buffer, s, layer, T):
    """Open the gradients of a layer's outputs, (T, H), in the buffer of all layers."""
    return matrix(buffer, layer * padded(T * s.hidden_size), T, s.hidden_size)


@jit_part
def layer_tape(cell, buffer, s, layer, T):
    """Open a layer's tape of T ticks, see `cells`, in the buffer of all tapes."""
    I, H = s.input_size, s.hidden_size
    start = layer_start(cells.tape_size(cell, I, H, T), cells.tape_size(cell, H, H, T), layer)
    return cells.tape_of(cell, buffer, start, inputs_of(s, layer), H, T)


@jit_part
def tapes_size(cell, s, T):
    """Length of the tapes of all layers over T ticks."""
    I, H = s.input_size, s.hidden_size
    return layer_start(cells.tape_size(cell, I, H, T), cells.tape_size(cell, H, H, T), s.num_layers)


class Memory(NamedTuple):
    """Recurrent state and the tapes of the last T ticks (see `cells`)."""

    states: np.ndarray  # of all layers, flat
    output: np.ndarray  # (K,) of the newest tick
    hs: np.ndarray  # (T, directions H) outputs of the last layers
    d_ys: np.ndarray  # (T, K) gradient of each tick's loss with respect to its output
    embedded: np.ndarray  # (T, 2C), see `embedding`
    inputs: np.ndarray  # (lookahead, I) of the last ticks, a ring for the reverse layers
    tapes: np.ndarray  # of all layers, flat
    traces: np.ndarray  # of all layers, flat; empty for back-propagation


@jit_part
def memory_size(cell, s):
    """Length of a memory buffer."""
    H, K, T = s.hidden_size, s.output_size, s.window
    states = s.num_layers * padded(cell.states * H)
    ticks = padded(T * s.directions * H) + padded(T * K) + padded(T * 2 * s.categories)
    ticks += padded(s.lookahead * s.input_size)
    return states + padded(K) + ticks + tapes_size(cell, s, T) + s.traces


@jit_part
def memory_views(cell, buffer, s) -> Memory:
    """Open a memory buffer."""
    H, K, T = s.hidden_size, s.output_size, s.window
    output = s.num_layers * padded(cell.states * H)
    hs = output + padded(K)
    d_ys = hs + padded(T * s.directions * H)
    embedded = d_ys + padded(T * K)
    inputs = embedded + padded(T * 2 * s.categories)
    tapes = inputs + padded(s.lookahead * s.input_size)
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
    """Work space: its content means nothing between calls."""

    grads: np.ndarray  # (P,)
    d_hs: np.ndarray  # gradients of the layers' outputs, (T, H) each
    work: np.ndarray  # of the backward pass of a layer
    x: np.ndarray  # (I,) the network's inputs
    targets: np.ndarray  # (K,)
    output: np.ndarray  # (K,) of `peek`
    states: np.ndarray  # of all layers
    tapes: np.ndarray  # of all layers, 1 + lookahead ticks
    h: np.ndarray  # (2H,) outputs of two directions that the head reads, or their gradient
    embedded: np.ndarray  # (2C,) of the tick in x
    d_xs: np.ndarray  # (T, I) gradients of the inputs; (0, I) without embeddings to learn
    d_xs_reverse: np.ndarray  # (lookahead + 1, I) the same of the reverse stack
    marks: np.ndarray  # (rows,) see `embedding`


@jit_part
def scratch_sizes(cell, s):
    """Lengths of the arrays of `Scratch`."""
    learned = 1 if s.categories > 0 else 0  # embeddings
    I, H, K, T = max(s.input_size, s.hidden_size), s.hidden_size, s.output_size, s.window
    return (
        params_size(cell, s),
        s.num_layers * padded(T * H),
        cells.work_size(cell, I, H, T),
        padded(s.input_size),
        padded(K),
        padded(K),
        s.num_layers * padded(cell.states * H),
        tapes_size(cell, s, 1 + s.lookahead),
        (s.directions - 1) * padded(2 * H),
        padded(2 * s.categories),
        padded(learned * T * s.input_size),
        padded((s.directions - 1) * learned * (s.lookahead + 1) * s.input_size),
        padded(s.rows),
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
    """Work space for a mini-batch of B windows of T ticks (see `batch`)."""

    inputs: np.ndarray  # (T + 1, H + I, B)
    cs: np.ndarray  # (T + 1, H, B)
    gates: np.ndarray  # (T, 4H, B)
    tanh_cs: np.ndarray  # (T, H, B)
    outputs: np.ndarray  # (T, K, B), later the gradient of the loss with respect to them
    d_zs: np.ndarray  # (T, 4H, B)
    d_hs: np.ndarray  # (T, H, B)
    d_h: np.ndarray  # (H, B)
    d_c: np.ndarray  # (H, B)


@jit_part
def windows_size(s):
    """Length of the work space for replayed windows."""
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
    """Index of each int64 counter in the clock buffer."""

    ticks: int = 0  # that the network has advanced
    unlearned: int = 1  # ticks since the last update
    labelled: int = 2  # ticks among these with a target
    updates: int = 3  # of the optimiser
    values: int = 4  # in the history of a series
    seed: int = 5  # of the draws of windows to replay
    alert: int = 6  # ticks left of the raised learning rate after a drift
    horizon: int = 7  # K, ticks that a committee forecasts
    classes: int = 8  # learned so far
    periods: int = 9  # and on: seasonal periods in ticks, 0 while unknown


CLOCK = Clock()


class NetworkViews(NamedTuple):
    """All views of a network."""

    cell: tuple  # see `cells`
    rule: tuple  # see `rules`
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
    """Open the flat buffers of a network. kind: its cell and its learning rule."""
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


class ReplayBuffer(NamedTuple):
    """Inputs and targets of the last C ticks, a ring."""

    inputs: np.ndarray  # (C, I)
    targets: np.ndarray  # (C, K), NaN until they arrive


@jit_part
def replay_buffer_size(ticks, s):
    """Length of a buffer of the last `ticks`."""
    return ticks * (s.input_size + s.output_size)


@jit_part
def replay_buffer_views(buffer, s) -> ReplayBuffer:
    """Open a replay buffer."""
    I, K = s.input_size, s.output_size
    C = buffer.size // (I + K)
    return ReplayBuffer(matrix(buffer, 0, C, I), matrix(buffer, C * I, C, K))
