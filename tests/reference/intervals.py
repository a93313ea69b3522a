"""Prediction intervals in float64."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from reference.lstm import Array


def at(series: list[float], tick: int, period: int = 0) -> float:
    """Value at a tick, NaN if unknown; with a period, the series repeats itself after its end."""
    while period and tick >= len(series):
        tick -= period
    return series[tick] if 0 <= tick < len(series) else np.nan


@dataclass
class StoredForecast:
    """A forecast, with the scale, features and quantiles of its interval."""

    forecast: float
    scale: float
    features: Array  # (3,)
    quantiles: Array  # (L,)


class ErrorTracker:
    """Errors of the forecasts k ticks ahead: their scale, and quantiles in units of it."""

    half = np.array([0.005, 0.01, 0.025, 0.05, 0.1, 0.25])
    levels = np.array([*half, 0.5, *(1 - half[::-1])])
    tails = 2 * np.minimum(levels, 1 - levels)

    def __init__(self, k: int):
        self.k, self.count, self.mean = k, 0, 0.0
        self.w, self.C = np.zeros(3), 0.01 * np.eye(3)
        laplace = np.sign(self.levels - 0.5) * -np.log(self.tails)
        self.q = np.arcsinh(laplace)

    def store(self, forecast: float, features: Array) -> StoredForecast:
        """Store a forecast with its scale, s = m exp(w' x)."""
        exponent = float(np.clip(self.w @ features, -5, 5))
        return StoredForecast(forecast, self.mean * np.exp(exponent), features, self.q.copy())

    def learn(self, stored: StoredForecast, error: float) -> None:
        """Learn from the error of a forecast."""
        if error == 0 and self.mean == 0:
            return
        self.count += 1
        ratio = error / max(stored.scale or self.mean or abs(error), 1e-300)
        self._learn_scale(stored.features, min(abs(ratio), 6.0) - 1)
        self._learn_quantiles(stored.quantiles, np.arcsinh(np.clip(ratio, -1e9, 1e9)))
        self.mean += max(1 / self.count, 1 / 200) * (abs(error) - self.mean)

    def _learn_scale(self, x: Array, excess: float) -> None:
        """w += C x excess / n, C -= C x x' C / n, with n = 0.9995 sqrt(k) + x' C x."""
        grow = 1 / 0.9995 if np.trace(self.C) < 3 * 0.01 else 1.0
        Cx = self.C @ x
        n = 0.9995 * np.sqrt(self.k) + x @ Cx
        self.w = self.w + Cx * excess / n
        self.C = (self.C - np.outer(Cx, Cx) / n) * grow

    def _learn_quantiles(self, stored: Array, v: float) -> None:
        """q += eta (level - [v < stored]); steps inwards end at v."""
        eta = 0.02 / np.sqrt(self.k) * self.tails**-0.25
        below = self.levels < 0.5
        missed = np.where(below, v < stored, v > stored)
        step = eta * np.where(below, self.levels - missed, self.levels - 1 + missed)
        away = v - self.q
        inwards = (self.levels <= 0.5) & (step > 0)
        step = np.where(inwards, np.minimum(step, np.maximum(away, 0)), step)
        inwards = (self.levels >= 0.5) & (step < 0)
        step = np.where(inwards, np.maximum(step, np.minimum(away, 0)), step)
        self.q = self.q + step


class Intervals:
    """Prediction intervals around given forecasts, with the whole history in lists.

    Every tick: `learn` from its value, then `store` the next forecasts.
    """

    def __init__(self, horizon: int, season: int = 0):
        self.trackers = [ErrorTracker(k) for k in range(1, horizon + 1)]
        self.season = season
        self.stored: list[list[StoredForecast]] = []  # after each tick
        self.usual: list[float] = []  # |e| one tick ahead, smoothed from season to season
        self.count, self.fast, self.slow, self.mean, self.variance = 0, 0.0, 0.0, 0.0, 0.0

    def learn(self, y: float) -> None:
        """Learn from the value of a tick, NaN if it is missing."""
        t, newest = len(self.stored), np.nan
        if t > 0 and not np.isnan(y):
            for tracker in self.trackers[:t]:
                stored = self.stored[t - tracker.k][tracker.k - 1]
                tracker.learn(stored, y - stored.forecast)
            newest = abs(y - self.stored[-1][0].forecast)
            self._learn_common(y, newest)
        before = at(self.usual, t - self.season) if self.season else np.nan
        rate = max(1 / (t // self.season + 1), 1 / 20) if self.season else 1.0
        smoothed = newest if np.isnan(before) else before + rate * (newest - before)
        self.usual.append(before if np.isnan(newest) else smoothed)

    def _learn_common(self, y: float, error: float) -> None:
        """Running means of |e|, of the value and of its squared distance from there."""
        self.count += 1
        rate = max(1 / self.count, 1 / 200)
        self.fast += max(rate, 1 / 4) * (error - self.fast)
        self.slow += rate * (error - self.slow)
        away = y - self.mean
        self.mean += rate * away
        self.variance += rate * (away * (y - self.mean) - self.variance)

    def store(self, forecasts: Any) -> None:
        """Store forecasts of the next K values, made after the newest tick."""
        self.stored.append(
            [
                tracker.store(forecast, self._features(tracker.k, forecast))
                for tracker, forecast in zip(self.trackers, forecasts, strict=True)
            ]
        )

    def _features(self, k: int, forecast: float) -> Array:
        """Log of the size of errors in this phase, and of recent errors; height of the forecast."""

        def log_ratio(a: float, b: float) -> float:
            return float(np.log((a + 0.05 * b + 1e-300) / (1.05 * b + 1e-300)))

        phase, height, t = 0.0, 0.0, len(self.stored) + 1  # values so far
        usual = at(self.usual, t + k - 1 - self.season, self.season) if self.season else np.nan
        if not np.isnan(usual):
            n = t // self.season
            phase = log_ratio((n * usual + self.slow) / (n + 1), self.slow)
        if self.variance > 0:
            height = np.clip((forecast - self.mean) / np.sqrt(self.variance), -3, 3)
        return np.array([phase, log_ratio(self.fast, self.slow), height])

    def bounds(self, alpha: float) -> Array:
        """(K, 2) ends of intervals around the newest forecasts."""
        levels = np.array([alpha / 2, 1 - alpha / 2])
        known = ErrorTracker.levels
        ends = []
        for stored in self.stored[-1]:
            q = np.sort(stored.quantiles)
            v = np.interp(np.log(levels / (1 - levels)), np.log(known / (1 - known)), q)
            ends.append(stored.forecast + stored.scale * np.sinh(v))
        return np.array(ends)
