"""Positions of intervals and quantiles among the LEVELS that the kernels track."""

import numbers
from typing import Any

import numpy as np

from ..errors import ParameterError
from ..kernels.forecaster.intervals import LEVELS
from .features import as_vector

NO_BOUNDS, NO_PLACES = np.empty((0, 0, 0)), np.empty(0)  # tell kernels to compute no intervals


def interval_places(interval: float) -> np.ndarray:
    """(2,) positions among LEVELS of the ends of intervals that hold this share of the values."""
    widest = 1 - 2 * LEVELS[0]
    if not isinstance(interval, numbers.Real) or not 0 <= interval <= widest:
        raise ParameterError(
            f"interval, the share of values to hold, must be from 0 to {widest:g}, got {interval!r}"
        )
    tail = round((1 - float(interval)) / 2, 12)  # 0.05 for 0.9, where (1 - 0.9) / 2 is below
    return quantile_places((tail, 1 - tail))


def quantile_places(levels: Any) -> np.ndarray:
    """(Q,) positions of probabilities among LEVELS, interpolated between levels by log-odds."""
    wanted = as_vector(levels, "levels")
    if not wanted.size or not np.all((wanted >= LEVELS[0]) & (wanted <= LEVELS[-1])):
        raise ParameterError(f"levels must be from {LEVELS[0]:g} to {LEVELS[-1]:g}, got {levels!r}")
    log_odds = np.log(LEVELS / (1 - LEVELS))
    return np.interp(np.log(wanted / (1 - wanted)), log_odds, np.arange(LEVELS.size))
