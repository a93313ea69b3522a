"""Where intervals and quantiles lie among the levels that the kernels track."""

import numbers
from typing import Any

import numpy as np

from ..errors import ParameterError
from ..kernels.forecaster.intervals import LEVELS
from .features import as_vector

NO_BOUNDS, NO_PLACES = np.empty((0, 0, 0)), np.empty(0)  # for kernels, where none are wanted


def interval_places(interval: float) -> np.ndarray:
    """(2,) places among LEVELS of the two ends of intervals that hold this share of the values."""
    widest = 1 - 2 * LEVELS[0]
    if not isinstance(interval, numbers.Real) or not 0 <= interval <= widest:
        raise ParameterError(
            f"interval, the share of values to hold, must be from 0 to {widest:g}, got {interval!r}"
        )
    tail = round((1 - float(interval)) / 2, 12)  # 0.05 of 0.9, which 1 - 0.9 misses
    return quantile_places((tail, 1 - tail))


def quantile_places(levels: Any) -> np.ndarray:
    """(Q,) places of probabilities among LEVELS, fractions between two of them, by log-odds."""
    sought = as_vector(levels, "levels")
    if not sought.size or not np.all((sought >= LEVELS[0]) & (sought <= LEVELS[-1])):
        raise ParameterError(f"levels must be from {LEVELS[0]:g} to {LEVELS[-1]:g}, got {levels!r}")
    odds = np.log(LEVELS / (1 - LEVELS))
    return np.interp(np.log(sought / (1 - sought)), odds, np.arange(LEVELS.size))
