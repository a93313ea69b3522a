"""How a stream is stored on a GPU: its arrays, and conversion from and to a forecaster."""

import copy
from typing import Any

import numpy as np

from ..forecaster import LSTMForecaster
from ..kernels.cuda.layout import (
    CHANGE,
    COUNT,
    FIRST,
    HIGH,
    LOW,
    PARAM,
    RLS,
    SECOND,
    SPIKES,
    SPREAD,
    STATS,
    TICKS,
    UPDATES,
    Streams,
    Weights,
)
from ..kernels.forecaster.least_squares import LARGEST_OUTPUT
from ..kernels.layout import CLOCK, layer_tape, memory_views, weights_views


def empty_streams(rows: int, H: int, I: int, T: int) -> Streams:
    """Arrays of zeros for this many streams, each with T rows of tape, I inputs and H units."""
    M, C = H + I + 1, I - RLS
    shapes = Streams(
        (2,),
        (len(STATS),),
        (C, 5),
        (2, H),
        (T, M),
        (T, 4 * H),
        (T, H),
        (T, H),
    )
    dtypes = [np.int32, *[np.float32] * (len(shapes) - 1)]
    return Streams(
        *(np.zeros((rows, *shape), dtype) for shape, dtype in zip(shapes, dtypes, strict=True))
    )


def empty_weights(rows: int, H: int, I: int) -> Weights:
    """Arrays of zeros for the weights of this many streams and their running averages."""
    return Weights(
        np.zeros((rows, 3, (H + I + 1) * 4 * H), np.float32),
        np.zeros((rows, 3, H + 1), np.float32),
    )


def split_float64(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Split float64 numbers into float32 high and low parts, whose sums they are."""
    values = np.asarray(values, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        high = values.astype(np.float32)
        low = (values - high).astype(np.float32)
    return high, np.where(np.isfinite(high), low, np.float32(0.0))


def _memory_and_tape(model: LSTMForecaster) -> tuple[Any, Any]:
    """Views of a forecaster's memory and of the tape of its layer."""
    network = model._network
    cell, settings = network.kind[0], network.settings
    memory = memory_views(cell, network.memory, settings)
    return memory, layer_tape(cell, memory.tapes, settings, 0, settings.window)


def pack_stream(model: LSTMForecaster) -> Streams:
    """Convert a forecaster to the arrays of one stream, without its weights."""
    network, series = model._network, model._series
    s, clock = network.settings, network.clock
    streams = empty_streams(1, s.hidden_size, s.input_size, s.window)
    packed = Streams(*(array[0] for array in streams))
    packed.counts[:] = clock[CLOCK.values], clock[CLOCK.updates]
    stats, committee = packed.stats, series.committee
    memory, tape = _memory_and_tape(model)
    stats[STATS.value_high], stats[STATS.value_low] = split_float64(committee.values[0])
    stats[STATS.clipped_high], stats[STATS.clipped_low] = split_float64(series.clipped[-1])
    stats[STATS.last_weight], stats[STATS.weight] = committee.weights[0, [0, -1]]
    stats[STATS.product] = committee.products[0, -1]
    stats[STATS.square] = committee.squares[0, -1]
    stats[STATS.gate], stats[STATS.error] = committee.gates[0, -1], committee.errors[0]
    stats[STATS.output] = memory.output[0]
    scaler, channels = series.scaler, packed.channels
    channels[:, COUNT], channels[:, SPREAD] = scaler.counts, scaler.spread
    channels[:, HIGH], channels[:, LOW] = split_float64(scaler.center)
    channels[:, SPIKES] = scaler.spikes
    packed.state[:] = network.states[0]
    packed.inputs[:, :-1], packed.inputs[:, -1] = tape.inputs, 1.0
    packed.gates[:], packed.c_prevs[:] = tape.gates, tape.c_prevs
    packed.tanh_cs[:] = tape.tanh_cs
    return packed


def pack_weights(model: LSTMForecaster) -> Weights:
    """Convert the weights of a forecaster and their running averages to the arrays of a stream."""
    network = model._network
    named = [network.params_in(buffer) for buffer in weights_views(network.weights)]
    return Weights(
        np.array([np.vstack([part["w_l0"], part["b_l0"]]).ravel() for part in named]),
        np.array([np.append(part["w_head"], part["b_head"]) for part in named]),
    )


def unpack(
    model: LSTMForecaster, streams: Streams, weights: Weights, updates: int | None
) -> LSTMForecaster:
    """Convert the arrays of one stream to a forecaster, with the parameters of `model`.

    updates: how often shared weights were updated; None for private weights.
    """
    model = copy.deepcopy(model)
    network, series, stats = model._network, model._series, streams.stats.astype(np.float64)
    clock, ticks = network.clock, int(streams.counts[TICKS])
    clock[CLOCK.ticks] = clock[CLOCK.values] = ticks
    clock[CLOCK.updates] = streams.counts[UPDATES] if updates is None else updates
    H, rows = network.settings.hidden_size, 4 * network.settings.hidden_size
    for place, buffer in zip((PARAM, FIRST, SECOND), weights_views(network.weights), strict=True):
        named = network.params_in(buffer)
        w = weights.w[place].reshape(-1, rows)
        named["w_l0"][:], named["b_l0"][:] = w[:-1], w[-1]
        named["w_head"][:], named["b_head"][:] = weights.head[place, :H], weights.head[place, H]
    memory, tape = _memory_and_tape(model)
    network.states[0][:] = streams.state
    tape.inputs[:], tape.gates[:] = streams.inputs[:, :-1], streams.gates
    tape.c_prevs[:], tape.tanh_cs[:] = streams.c_prevs, streams.tanh_cs
    memory.output[0] = stats[STATS.output]
    memory.hs[(ticks - 1) % len(memory.hs)] = streams.state[0]
    scaler, committee, channels = series.scaler, series.committee, streams.channels.astype(float)
    scaler.counts[:], scaler.spread[:] = channels[:, COUNT], channels[:, SPREAD]
    scaler.center[:] = channels[:, HIGH] + channels[:, LOW]
    scaler.spikes[:] = channels[:, SPIKES]
    series.clipped[:] = stats[STATS.clipped_high] + stats[STATS.clipped_low]
    series.features[:], series.history[:] = np.nan, np.nan
    committee.weights[0, [0, -1]] = stats[STATS.last_weight], stats[STATS.weight]
    committee.products[0, -1], committee.squares[0, -1] = stats[[STATS.product, STATS.square]]
    committee.gates[0, -1], committee.errors[0] = stats[STATS.gate], stats[STATS.error]
    scale = committee.scales[0] = scaler.spread[CHANGE]
    value = committee.values[0] = stats[STATS.value_high] + stats[STATS.value_low]
    output = np.clip(np.nan_to_num(stats[STATS.output]), -LARGEST_OUTPUT, LARGEST_OUTPUT)
    committee.outputs[0, -1] = output if scale > 0 else 0.0
    if ticks:
        series.history[0, (ticks - 1) % series.history.shape[1]] = value
        share = scale * committee.weights[0, -1] * committee.gates[0, -1]
        series.intervals.forecasts[0] = value + share * output
    return model
