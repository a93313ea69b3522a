"""Online standardisation: a running mean and a running mean absolute deviation for each channel.

The averages weigh all values alike until MEMORY of them have come, then forget exponentially. The
mean absolute deviation, unlike the variance, is not dominated by outliers and does not overflow.
"""

import numpy as np

from ..layout import Scaler
from .jit import jit_part

MEMORY = 1000.0
CLIP = 10.0
LARGEST = 1e300  # a value beyond it counts as missing: differences must not overflow


@jit_part
def is_missing(value):
    """Whether a value is NaN, infinite or too large to calculate with."""
    return not abs(value) <= LARGEST


@jit_part
def observe(scaler: Scaler, j, value):
    """Let channel j learn from a value."""
    scaler.counts[j] += 1.0
    rate = max(1.0 / scaler.counts[j], 1.0 / MEMORY)
    scaler.center[j] += rate * (value - scaler.center[j])
    scaler.spread[j] += rate * (abs(value - scaler.center[j]) - scaler.spread[j])


@jit_part
def observe_uncentred(scaler: Scaler, j, value):
    """Let channel j, whose centre stays 0, learn from a value."""
    scaler.counts[j] += 1.0
    rate = max(1.0 / scaler.counts[j], 1.0 / MEMORY)
    scaler.spread[j] += rate * (abs(value) - scaler.spread[j])


@jit_part
def standardise(scaler: Scaler, j, value):
    """(value - centre) / spread within +-CLIP; 0 for a NaN or a channel without spread."""
    deviation = value - scaler.center[j]
    if not scaler.spread[j] > 0.0 or np.isnan(deviation):
        return np.float32(0.0)
    return np.float32(min(max(deviation / scaler.spread[j], -CLIP), CLIP))
