"""Small synthetic streams."""

import numpy as np


def seasonal(ticks, seed=0, period=24):
    """A daily pattern with noise."""
    t = np.arange(ticks)
    noise = np.random.default_rng(seed).normal(size=ticks)
    return 50 + 10 * np.sin(2 * np.pi * t / period) + 4 * np.cos(6 * np.pi * t / period) + noise


def random_walk(ticks, seed=0):
    return 100 + np.random.default_rng(seed).normal(size=ticks).cumsum()


def mase(values, forecasts, ahead=1):
    """MAE relative to the last value's, without the first tenth.

    forecasts: (T,); number t was made before tick t, for tick t + `ahead` - 1.
    """
    values, forecasts = np.asarray(values), np.asarray(forecasts)
    start, end = values.size // 10, values.size - ahead + 1
    actual = values[start + ahead - 1 :]
    error = np.abs(actual - forecasts[start:end]).mean()
    return error / np.abs(actual - values[start - 1 : end - 1]).mean()


S, T = 7, 150


def values_of(seed=0):
    """(T, S) random walks plus a season, with a few values missing or infinite."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(T, S)).cumsum(axis=0) + 5 * np.sin(np.arange(T) / 6 * np.pi)[:, None]
    values[rng.random((T, S)) < 0.02] = np.nan
    values[40, 2], values[:9, 3] = np.inf, np.nan
    return values


def inputs_and_targets(I, K, ticks=40):
    """(ticks, I) inputs and (ticks, K) targets of pure noise."""
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=(ticks, width)).astype(np.float32) for width in (I, K))
