"""A tick of a series: scaler, committee, forecast and the inputs of the network.

The steps are those of the CPU, in float32: see `scaling`, `forecaster.committee` and
`forecaster.learn`. Thread 0 takes those of the value, all threads share the features.
"""

import math

import numpy as np

from .. import scaling
from ..forecaster import committee, least_squares
from ..jit import jit_part
from ..loss import loss_gradient
from .device import cuda
from .layout import (
    CHANGE,
    COUNT,
    FIRST_FEATURE,
    HIGH,
    LEVEL,
    LOW,
    NAN,
    ONE,
    RLS,
    SPIKES,
    SPREAD,
    STATS,
    TICKS,
    ZERO,
)

SPIKE, WARM_UP = np.float32(scaling.SPIKE), np.float32(scaling.WARM_UP)
MOST_SPIKES, CLIP = np.float32(scaling.MOST_SPIKES), np.float32(scaling.CLIP)
SLOWEST = np.float32(1.0 / scaling.MEMORY)
LARGEST_VALUE = np.float32(1e30)  # a larger value counts as missing: sums must not overflow
LARGEST_OUTPUT = np.float32(least_squares.LARGEST_OUTPUT)
GATE_RATE, GATE_HUBER = np.float32(1.0 / committee.GATE_MEMORY), np.float32(committee.GATE_HUBER)
ERROR_RATE = np.float32(1.0 / committee.ERROR_MEMORY)
MIXTURE_RATE, SHARE = np.float32(committee.LEARNING_RATE), np.float32(committee.SHARE)
SMALLEST_ERROR = np.float32(committee.SMALLEST_ERROR)


@jit_part
def pair_sum(high, low, number):
    """A pair plus a number, as a pair (Knuth's exact sum)."""
    total = high + number
    part = total - high
    rest = (high - (total - part)) + (number - part) + low
    return total + rest, rest - ((total + rest) - total)


@jit_part
def clip_output(output):
    """An output within +-10; 0 for NaN."""
    if math.isnan(output):
        return ZERO
    return min(max(output, -LARGEST_OUTPUT), LARGEST_OUTPUT)


@jit_part
def clip_spike(channel, deviation):
    """A deviation from a channel's mean, clipped if it is a spike."""
    limit = SPIKE * channel[SPREAD]
    if channel[COUNT] <= WARM_UP or abs(deviation) <= limit:
        channel[SPIKES] = ZERO
        return deviation
    channel[SPIKES] += ONE
    if channel[SPIKES] > MOST_SPIKES:
        return deviation
    return min(max(deviation, -limit), limit)


@jit_part
def observe(channel, high, low):
    """Update a channel with a value."""
    channel[COUNT] += ONE
    if channel[COUNT] == ONE:
        channel[HIGH], channel[LOW] = high, low
        return
    rate = max(ONE / channel[COUNT], SLOWEST)
    deviation = clip_spike(channel, (high - channel[HIGH]) + (low - channel[LOW]))
    moved = rate * deviation
    channel[HIGH], channel[LOW] = pair_sum(channel[HIGH], channel[LOW], moved)
    channel[SPREAD] += rate * (abs(deviation - moved) - channel[SPREAD])


@jit_part
def observe_uncentred(channel, value):
    """Update a channel, whose mean stays 0, with a value. Returns the value, clipped if a spike."""
    channel[COUNT] += ONE
    rate = max(ONE / channel[COUNT], SLOWEST)
    value = clip_spike(channel, value)
    channel[SPREAD] += rate * (abs(value) - channel[SPREAD])
    return value


@jit_part
def standardise(channel, high, low):
    """(value - mean) / deviation within +-CLIP; 0 for NaN or a channel without deviation."""
    deviation = (high - channel[HIGH]) + (low - channel[LOW])
    if not channel[SPREAD] > ZERO or math.isnan(deviation):
        return ZERO
    return min(max(deviation / channel[SPREAD], -CLIP), CLIP)


@jit_part
def committee_learn(stats, target, ticks, last):
    """Update the mixture of last value and LSTM, and the gate of the LSTM, with a target."""
    output = clip_output(stats[STATS.output])
    gated = stats[STATS.gate] * output
    mixed = stats[STATS.weight] * gated
    rate = max(ONE / np.float32(ticks), ERROR_RATE)
    error = min(abs(target - mixed), LARGEST_OUTPUT)
    stats[STATS.error] += rate * (error - stats[STATS.error])
    unit = max(stats[STATS.error], SMALLEST_ERROR)
    direction = ONE if mixed < target else -ONE
    last_pull = clip_output(-direction * mixed / unit)
    pull = clip_output(direction * (gated - mixed) / unit)
    last_weight = stats[STATS.last_weight] * math.exp(MIXTURE_RATE * last_pull)
    weight = stats[STATS.weight] * math.exp(MIXTURE_RATE * pull)
    decay, share = (ONE - SHARE) / (last_weight + weight), SHARE / (ONE + last)
    stats[STATS.last_weight] = decay * last_weight + share * last
    stats[STATS.weight] = decay * weight + share
    error, full = abs(target - output), GATE_HUBER * unit
    counts = ONE if error <= full else full / error
    stats[STATS.product] += GATE_RATE * (counts * output * target - stats[STATS.product])
    stats[STATS.square] += GATE_RATE * (counts * output * output - stats[STATS.square])
    slope = ZERO
    if stats[STATS.square] > ZERO:
        slope = stats[STATS.product] / stats[STATS.square]
    stats[STATS.gate] = min(max(slope, ZERO), ONE)


@jit_part
def forecast_parts(parts, counts, stats, channels):
    """Write the parts of a forecast: the value as a pair, the network's weight and its output."""
    parts[0], parts[1] = stats[STATS.value_high], stats[STATS.value_low]
    parts[2] = channels[CHANGE, SPREAD] * stats[STATS.weight] * stats[STATS.gate]
    parts[3] = stats[STATS.output]
    if counts[TICKS] == 0:
        parts[0] = NAN


@jit_part
def learn_value(x, stats, channels, ticks, high, low, rules):
    """Update scaler and committee with a value, NaN if it is missing.

    Fills in the inputs x, (I,), of level and change. Returns the gradient of the network's loss,
    NaN if there is no target.
    """
    change, d_y = ZERO, NAN
    if not math.isnan(high):
        clipped_high, clipped_low = high, low
        if ticks > 0:
            change = (high - stats[STATS.value_high]) + (low - stats[STATS.value_low])
            scale = channels[CHANGE, SPREAD]
            if scale > ZERO:
                target = clip_output(change / scale)
                committee_learn(stats, target, ticks, rules.last)
                error = stats[STATS.output] - target
                if not math.isnan(error):
                    d_y = loss_gradient(rules.loss, error)
            jump = (high - stats[STATS.clipped_high]) + (low - stats[STATS.clipped_low])
            clipped_change = observe_uncentred(channels[CHANGE], jump)
            if clipped_change != jump:
                clipped_high, clipped_low = pair_sum(
                    stats[STATS.clipped_high], stats[STATS.clipped_low], clipped_change
                )
        observe(channels[LEVEL], clipped_high, clipped_low)
        stats[STATS.clipped_high], stats[STATS.clipped_low] = clipped_high, clipped_low
        stats[STATS.value_high], stats[STATS.value_low] = high, low
    x[0] = standardise(channels[LEVEL], stats[STATS.value_high], stats[STATS.value_low])
    x[1] = standardise(channels[CHANGE], change, ZERO)
    return d_y


@jit_part
def observe_tick(parts, work, streams, r, tick, rules):
    """Forecast a tick, learn from it except for the network, and prepare the network's inputs.

    parts: (4,) of the forecast; work: x and d_y are overwritten; tick: (2 + 2F,) value and
    features, as pairs.
    """
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    x, H, M = work.x, streams.state.shape[2], work.x.size
    stats, channels = streams.stats[r], streams.channels[r]
    if thread == 0:
        forecast_parts(parts, streams.counts[r], stats, channels)
        inputs, ticks = x[H:], streams.counts[r, TICKS]
        work.d_y[0] = learn_value(inputs, stats, channels, ticks, tick[0], tick[1], rules)
        for n in range(RLS):
            inputs[2 + n] = ZERO
        x[M - 1] = ONE
    for n in range(thread, channels.shape[0] - FIRST_FEATURE, threads):
        channel, high, low = channels[FIRST_FEATURE + n], tick[2 + 2 * n], tick[3 + 2 * n]
        if abs(high) <= LARGEST_VALUE:
            observe(channel, high, low)
        x[H + 2 + RLS + n] = standardise(channel, high, low)
    for j in range(thread, H, threads):
        x[j] = streams.state[r, 0, j]
    cuda.syncthreads()
