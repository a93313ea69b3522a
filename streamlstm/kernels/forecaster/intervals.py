"""Prediction intervals: for each horizon a scale of the errors, and quantiles in units of it.

The scale of an error is predicted with the forecast,

    s = m exp(w' x)        m: running mean of |e| of this horizon

from three features x: how large errors are in this phase of the season, how large they were of
late, and how high the forecast is. w learns by recursive least squares, as in a regression of
gamma-distributed |e| with a logarithmic link.

The quantiles q of v = asinh(e / s) are tracked as in conformal PID control (Angelopoulos, Candes &
Tibshirani 2023): a quantile below v goes up, one above v comes down, and the ratio of the two
steps makes the share of misses right whatever the stream does. The error is compared with the
quantiles that were stored with its forecast, so that this also holds beyond the first horizon.
Later horizons take smaller steps, because errors of overlapping forecasts repeat each other (Wang &
Hyndman 2024). A step inwards stops at the error.
"""

import math

import numpy as np

from ..jit import jit_inlined
from .layout import Intervals

LEVELS = np.array([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995])
STEP = 0.02  # of the quantiles one tick ahead; over sqrt(k) for k ticks
WIDENING = (2 * np.minimum(LEVELS, 1 - LEVELS)) ** -0.25  # quantiles in the tails take larger steps
SLOW_RATE, FAST_RATE, PHASE_RATE = 1 / 200, 1 / 4, 1 / 20  # rates of the running means
PRIOR = 0.01  # variance of the coefficients of the scale before the first error
FORGETTING = 0.9995
LARGEST_ERROR = 6.0  # in scales: a scale learns from larger ones as from this
LARGEST_EXPONENT = 5.0
FLOOR = 0.05  # added to both sides of a ratio
FAST_ERROR, SLOW_ERROR, MEAN, VARIANCE, SEEN = 0, 1, 2, 3, 4
TINY = 1e-300


@jit_inlined
def log_ratio(a, b):
    """log(a / b), close to 0 where both are small."""
    return math.log((a + FLOOR * b + TINY) / ((1.0 + FLOOR) * b + TINY))


@jit_inlined
def scale_learn(intervals: Intervals, k, x, excess, noise):
    """Update the scale of horizon index k: |e| / s was 1 + excess. x: (3,)."""
    w, C, gain = intervals.weights[k], intervals.covariance, intervals.gain
    total, trace = noise, 0.0
    for i in range(3):
        gain[i] = 0.0
        for j in range(3):
            gain[i] += C[3 * k + i, j] * x[j]
        total += x[i] * gain[i]
        trace += C[3 * k + i, i]
    growth = 1.0 / FORGETTING if trace < 3.0 * PRIOR else 1.0
    for i in range(3):
        w[i] += gain[i] * (excess / total)
        for j in range(3):
            C[3 * k + i, j] = (C[3 * k + i, j] - gain[i] * gain[j] / total) * growth


@jit_inlined
def quantiles_learn(quantiles, issued, v, step):
    """Update quantiles (L,) with v. issued: (L,) those stored with its forecast."""
    for i in range(quantiles.size):
        level = LEVELS[i]
        size = step * WIDENING[i]
        deviation = v - quantiles[i]
        if level < 0.5:
            move = size * (level - 1.0 if v < issued[i] else level)
        else:
            move = size * (level if v > issued[i] else level - 1.0)
        if level <= 0.5 and move > 0.0:
            move = min(move, max(deviation, 0.0))
        if level >= 0.5 and move < 0.0:
            move = max(move, min(deviation, 0.0))
        quantiles[i] += move


@jit_inlined
def intervals_learn(intervals: Intervals, ticks, y):
    """Learn from the value y after `ticks` others. Returns the error one tick ahead, or NaN."""
    common, K = intervals.common, intervals.means.size
    newest = np.nan
    for k in range(min(K, ticks)):
        row = (ticks - k) % K * K + k
        error, mean = y - intervals.forecasts[row], intervals.means[k]
        if k == 0:
            newest = error
        if np.isnan(error) or (error == 0.0 and mean == 0.0):
            continue
        intervals.counts[k] += 1.0
        overlap = math.sqrt(k + 1.0)
        scale = intervals.scales[row]
        if not scale > 0.0:
            scale = mean if mean > 0.0 else abs(error)
        ratio = error / max(scale, TINY)
        x = intervals.features[row]
        excess = min(abs(ratio), LARGEST_ERROR) - 1.0
        scale_learn(intervals, k, x, excess, FORGETTING * overlap)
        v = math.asinh(min(max(ratio, -1e9), 1e9))
        quantiles_learn(intervals.quantiles[k], intervals.issued[row], v, STEP / overlap)
        rate = max(1.0 / intervals.counts[k], SLOW_RATE)
        intervals.means[k] += rate * (abs(error) - mean)
    common[SEEN] += 1.0
    rate = max(1.0 / common[SEEN], SLOW_RATE)
    if not np.isnan(newest):
        size = abs(newest)
        common[FAST_ERROR] += max(rate, FAST_RATE) * (size - common[FAST_ERROR])
        common[SLOW_ERROR] += rate * (size - common[SLOW_ERROR])
    deviation = y - common[MEAN]
    common[MEAN] += rate * deviation
    common[VARIANCE] += rate * (deviation * (y - common[MEAN]) - common[VARIANCE])
    return newest


@jit_inlined
def intervals_store(intervals: Intervals, origin, k, forecast, phase_error, cycles):
    """Store a forecast, its scale and its quantiles.

    phase_error: smoothed |e| one tick ahead in this phase of the season, or NaN; cycles: number of
    seasons so far.
    """
    common, row = intervals.common, origin * intervals.means.size + k
    x, w, slow = intervals.features[row], intervals.weights[k], common[SLOW_ERROR]
    x[0], x[1], x[2] = 0.0, log_ratio(common[FAST_ERROR], slow), 0.0
    if not np.isnan(phase_error):
        x[0] = log_ratio((phase_error * cycles + slow) / (cycles + 1.0), slow)
    if common[VARIANCE] > 0.0:
        height = (forecast - common[MEAN]) / math.sqrt(common[VARIANCE])
        x[2] = min(max(height, -3.0), 3.0)
    exponent = w[0] * x[0] + w[1] * x[1] + w[2] * x[2]
    exponent = min(max(exponent, -LARGEST_EXPONENT), LARGEST_EXPONENT)
    intervals.forecasts[row] = forecast
    intervals.scales[row] = intervals.means[k] * math.exp(exponent)
    for i in range(LEVELS.size):
        intervals.issued[row, i] = intervals.quantiles[k, i]


@jit_inlined
def error_quantile(intervals: Intervals, ordered, origin, k, place):
    """Quantile of the error of the forecast for horizon index k.

    ordered: (L,) work space for the quantiles in order; place: index of the level in LEVELS, a
    fraction between two of them. Forecasts beyond K ticks have the quantiles of the K-th, times the
    square root of the ratio of the horizons.
    """
    K = intervals.means.size
    known = min(k, K - 1)
    row = origin * K + known
    for i in range(LEVELS.size):
        ordered[i] = intervals.issued[row, i]
        j = i
        while j > 0 and ordered[j - 1] > ordered[j]:
            ordered[j - 1], ordered[j] = ordered[j], ordered[j - 1]
            j -= 1
    below = min(int(place), LEVELS.size - 2)
    share = place - below
    v = (1.0 - share) * ordered[below] + share * ordered[below + 1]
    return math.sqrt((k + 1.0) / (known + 1.0)) * intervals.scales[row] * math.sinh(v)
