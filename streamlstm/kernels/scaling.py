"""Online standardisation: a running mean and a running mean absolute deviation for each channel.

The averages weigh all values alike until MEMORY of them have come, then forget exponentially. The
mean absolute deviation, unlike the variance, is not dominated by outliers and does not overflow;
once it is known, a value counts for no more than REACH times as much, so that a spike leaves the
scale where it is. From the third such value in a row on, it is the scale that is wrong.
"""

import numpy as np

from .jit import jit_inlined
from .layout import Scaler

MEMORY = 1000.0
CLIP = 10.0
REACH, KNOWN, PATIENCE = 100.0, 30.0, 2.0  # the latter two in values
LARGEST_RAW = 1e15  # likewise, of what is not scaled: float32 must not overflow in the network
CATEGORY = -1.0  # what stands for the count of a channel without numbers
LARGEST = 1e300  # a value beyond it counts as missing: differences must not overflow


@jit_inlined
def is_missing(value):
    """Whether a value is NaN, infinite or too large to calculate with."""
    return not abs(value) <= LARGEST


@jit_inlined
def is_fixed(scaler: Scaler, j):
    """Whether values of channel j stay as they are: counted for ever, mean 0, deviation 1."""
    return scaler.counts[j] == np.inf


@jit_inlined
def is_category(scaler: Scaler, j):
    """Whether values of channel j are numbers of categories: there is nothing to count."""
    return scaler.counts[j] == CATEGORY


@jit_inlined
def as_it_is(value, missing):
    """A value for the network, or what stands for one that is missing."""
    return np.float32(value if abs(value) <= LARGEST_RAW else missing)


@jit_inlined
def within_reach(scaler: Scaler, j, deviation):
    """A deviation from the centre of channel j, as far as it counts."""
    reach = REACH * scaler.spread[j]
    if scaler.counts[j] <= KNOWN or abs(deviation) <= reach:
        scaler.beyond[j] = 0.0
        return deviation
    scaler.beyond[j] += 1.0
    if scaler.beyond[j] > PATIENCE:
        return deviation
    return min(max(deviation, -reach), reach)


@jit_inlined
def observe(scaler: Scaler, j, value):
    """Let channel j learn from a value."""
    scaler.counts[j] += 1.0
    rate = max(1.0 / scaler.counts[j], 1.0 / MEMORY)
    deviation = within_reach(scaler, j, value - scaler.center[j])
    scaler.center[j] += rate * deviation
    scaler.spread[j] += rate * (abs(deviation - rate * deviation) - scaler.spread[j])


@jit_inlined
def observe_uncentred(scaler: Scaler, j, value):
    """Let channel j, whose centre stays 0, learn from a value; as much of it as counts."""
    scaler.counts[j] += 1.0
    rate = max(1.0 / scaler.counts[j], 1.0 / MEMORY)
    value = within_reach(scaler, j, value)
    scaler.spread[j] += rate * (abs(value) - scaler.spread[j])
    return value


@jit_inlined
def standardise(scaler: Scaler, j, value):
    """(value - centre) / spread within +-CLIP; 0 for a NaN or a channel without spread."""
    deviation = value - scaler.center[j]
    if not scaler.spread[j] > 0.0 or np.isnan(deviation):
        return np.float32(0.0)
    return np.float32(min(max(deviation / scaler.spread[j], -CLIP), CLIP))
