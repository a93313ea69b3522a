"""Flat buffers and the named views into them: the only place that knows an offset.

Kernels and Python open the same buffers with the same functions, so a weight has one name
everywhere. Letters: I inputs, H hidden, K outputs, T rows of the tape (the window).
"""

from typing import NamedTuple

import numpy as np

from .kernels.jit import jit_part


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


def grow(new: NamedTuple, old: NamedTuple) -> None:
    """Copy arrays into the leading corner of larger ones, name by name."""
    for larger, smaller in zip(new, old, strict=True):
        larger[tuple(slice(n) for n in smaller.shape)] = smaller


def param_count(s: Settings) -> int:
    """P, the number of parameters."""
    H, K = s.hidden_size, s.output_size
    return (H + s.input_size) * 4 * H + 4 * H + K * H + K


@jit_part
def param_views(buffer, s) -> Params:
    """Open a flat buffer of parameters, (P,)."""
    I, H, K = s.input_size, s.hidden_size, s.output_size
    w_end = (H + I) * 4 * H
    b_end = w_end + 4 * H
    head_end = b_end + K * H
    return Params(
        buffer[:w_end].reshape(H + I, 4 * H),
        buffer[w_end:b_end],
        buffer[b_end:head_end].reshape(K, H),
        buffer[head_end : head_end + K],
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
    return Weights(buffer[:P], buffer[P : 2 * P], buffer[2 * P :])


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


def memory_size(s: Settings) -> int:
    """Length of a memory buffer."""
    H, K = s.hidden_size, s.output_size
    return 2 * H + K + s.window * ((H + s.input_size) + 4 * H + H + H + K)


@jit_part
def memory_views(buffer, s) -> Memory:
    """Open a memory buffer."""
    I, H, K, T = s.input_size, s.hidden_size, s.output_size, s.window
    output_end = 2 * H + K
    inputs_end = output_end + T * (H + I)
    gates_end = inputs_end + T * 4 * H
    c_prevs_end = gates_end + T * H
    tanh_end = c_prevs_end + T * H
    return Memory(
        buffer[:H],
        buffer[H : 2 * H],
        buffer[2 * H : output_end],
        buffer[output_end:inputs_end].reshape(T, H + I),
        buffer[inputs_end:gates_end].reshape(T, 4 * H),
        buffer[gates_end:c_prevs_end].reshape(T, H),
        buffer[c_prevs_end:tanh_end].reshape(T, H),
        buffer[tanh_end : tanh_end + T * K].reshape(T, K),
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


def scratch_size(s: Settings) -> int:
    """Length of a scratch buffer."""
    H = s.hidden_size
    return (
        param_count(s) + s.window * 5 * H + 4 * H + (H + s.input_size) + 6 * H + 2 * s.output_size
    )


@jit_part
def scratch_views(buffer, s) -> Scratch:
    """Open a scratch buffer."""
    I, H, K, T = s.input_size, s.hidden_size, s.output_size, s.window
    grads_end = (H + I) * 4 * H + 4 * H + K * H + K
    d_zs_end = grads_end + T * 4 * H
    d_hs_end = d_zs_end + T * H
    state_end = d_hs_end + 4 * H
    inputs_end = state_end + H + I
    return Scratch(
        buffer[:grads_end],
        buffer[grads_end:d_zs_end].reshape(T, 4 * H),
        buffer[d_zs_end:d_hs_end].reshape(T, H),
        buffer[d_hs_end : d_hs_end + H],
        buffer[d_hs_end + H : d_hs_end + 2 * H],
        buffer[d_hs_end + 2 * H : d_hs_end + 3 * H],
        buffer[d_hs_end + 3 * H : state_end],
        buffer[state_end:inputs_end],
        buffer[inputs_end : inputs_end + 4 * H],
        buffer[inputs_end + 4 * H : inputs_end + 5 * H],
        buffer[inputs_end + 5 * H : inputs_end + 6 * H],
        buffer[inputs_end + 6 * H : inputs_end + 6 * H + K],
        buffer[inputs_end + 6 * H + K : inputs_end + 6 * H + 2 * K],
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
        clock,
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
        buffer[:channels],
        buffer[channels : 2 * channels],
        buffer[2 * channels : 3 * channels],
    )


class Track(NamedTuple):
    """Where each float64 of a series' running state stands in its track."""

    last: int = 0  # newest observed value
    gate_product: int = 1  # running mean of (output of the network) x (what it should have been)
    gate_square: int = 2  # running mean of its square


TRACK = Track()


class SeriesViews(NamedTuple):
    """The series that a forecaster follows, around the network that forecasts it."""

    scaler: Scaler  # C = I channels, those of the network's inputs
    track: np.ndarray  # see Track
    features: np.ndarray  # (F,) as they last arrived
    periods: np.ndarray  # (S,)
    history: np.ndarray  # ring of the newest values, missing ones filled in


def series_size(s: Settings, seasons: int) -> int:
    """Length of the statistics buffer of a series."""
    features = s.input_size - 2 - seasons
    return 3 * s.input_size + len(TRACK) + features


@jit_part
def series_views(stats, history, clock, s) -> SeriesViews:
    """Open the buffers of a series."""
    track_start = 3 * s.input_size
    features_start = track_start + len(TRACK)
    return SeriesViews(
        scaler_views(stats, s.input_size),
        stats[track_start:features_start],
        stats[features_start:],
        clock[CLOCK.periods :],
        history,
    )
