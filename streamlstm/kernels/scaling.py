"""Online standardisation: a running mean and a running mean absolute deviation for each channel.

The averages weigh the first MEMORY values alike, then forget exponentially. Unlike the variance,
the mean absolute deviation is not dominated by outliers and does not overflow. After WARM_UP values
a deviation of more than SPIKE mean deviations is a spike and is clipped there, so that it leaves
the scale as it is. After MOST_SPIKES spikes in a row the next values count in full: then the scale
is wrong, not the values.
"""

from typing import NamedTuple

import numpy as np

from .jit import jit_inlined, jit_part
from .views import row

MEMORY = 1000.0  # values
CLIP = 10.0  # largest standardised value
SPIKE, WARM_UP, MOST_SPIKES = 100.0, 30.0, 2.0  # in mean deviations; in values; in values
LARGEST_UNSCALED = 1e15  # the same of unscaled values: float32 must not overflow in the network
CATEGORY = -1.0  # count of a channel of categories
LARGEST = 1e300  # a larger value counts as missing: differences must not overflow
SCALER = 4  # number of arrays of a scaler


class Scaler(NamedTuple):
    """Running statistics of C channels."""

    counts: np.ndarray  # (C,) values seen
    center: np.ndarray  # (C,)
    spread: np.ndarray  # (C,)
    spikes: np.ndarray  # (C,) the newest values in a row that were spikes


@jit_part
def scaler_views(buffer, channels) -> Scaler:
    """Open the statistics of C channels: the first SCALER C values of a buffer."""
    return Scaler(
        row(buffer, 0, channels),
        row(buffer, channels, channels),
        row(buffer, 2 * channels, channels),
        row(buffer, 3 * channels, channels),
    )


@jit_inlined
def is_missing(value):
    """Whether a value is NaN, infinite or too large to calculate with."""
    return not abs(value) <= LARGEST


@jit_inlined
def is_fixed(scaler: Scaler, j):
    """Whether channel j is not scaled: its count is infinite, its mean 0, its deviation 1."""
    return scaler.counts[j] == np.inf


@jit_inlined
def is_category(scaler: Scaler, j):
    """Whether the values of channel j are numbers of categories."""
    return scaler.counts[j] == CATEGORY


@jit_inlined
def unscaled(value, missing):
    """A value as float32; `missing` instead if it is missing or too large."""
    return np.float32(value if abs(value) <= LARGEST_UNSCALED else missing)


@jit_inlined
def clip_spike(scaler: Scaler, j, deviation):
    """A deviation from the mean of channel j, clipped if it is a spike."""
    limit = SPIKE * scaler.spread[j]
    if scaler.counts[j] <= WARM_UP or abs(deviation) <= limit:
        scaler.spikes[j] = 0.0
        return deviation
    scaler.spikes[j] += 1.0
    if scaler.spikes[j] > MOST_SPIKES:
        return deviation
    return min(max(deviation, -limit), limit)


@jit_inlined
def observe(scaler: Scaler, j, value):
    """Update channel j with a value."""
    scaler.counts[j] += 1.0
    rate = max(1.0 / scaler.counts[j], 1.0 / MEMORY)
    deviation = clip_spike(scaler, j, value - scaler.center[j])
    scaler.center[j] += rate * deviation
    scaler.spread[j] += rate * (abs(deviation - rate * deviation) - scaler.spread[j])


@jit_inlined
def observe_uncentred(scaler: Scaler, j, value):
    """Update channel j, whose mean stays 0, with a value. Returns the value, clipped if a spike."""
    scaler.counts[j] += 1.0
    rate = max(1.0 / scaler.counts[j], 1.0 / MEMORY)
    value = clip_spike(scaler, j, value)
    scaler.spread[j] += rate * (abs(value) - scaler.spread[j])
    return value


@jit_inlined
def standardise(scaler: Scaler, j, value):
    """(value - mean) / deviation within +-CLIP; 0 for NaN or a channel without deviation."""
    deviation = value - scaler.center[j]
    if not scaler.spread[j] > 0.0 or np.isnan(deviation):
        return np.float32(0.0)
    return np.float32(min(max(deviation / scaler.spread[j], -CLIP), CLIP))
