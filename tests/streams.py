"""Small made-up streams."""

import numpy as np


def seasonal(ticks, seed=0, period=24):
    """A daily pattern with noise."""
    t = np.arange(ticks)
    noise = np.random.default_rng(seed).normal(size=ticks)
    return 50 + 10 * np.sin(2 * np.pi * t / period) + 4 * np.cos(6 * np.pi * t / period) + noise


def random_walk(ticks, seed=0):
    return 100 + np.random.default_rng(seed).normal(size=ticks).cumsum()


def mase(values, forecasts):
    """MAE over that of the last value, the first tenth left out."""
    start = values.size // 10
    error = np.abs(values - forecasts)[start:].mean()
    return error / np.abs(np.diff(values))[start - 1 :].mean()
