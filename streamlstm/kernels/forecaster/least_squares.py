"""Recursive least squares that shrug off outliers: the linear members of the committee."""

import numpy as np

from ..jit import jit_inlined
from ..layout import CONTROL, LAGS, PROFILES, RLS, LeastSquares

# Of each one: how it forgets, and the error, in running mean absolute errors, from which on a tick
# counts less. The last member knows lags only; the control is the first without a second season.
FORGETTING = (0.999, 1.0, 0.998, 1.0, 0.999)
HUBER = (0.5, 1.0, 1.0, np.inf, 0.5)
PRIOR = 10.0  # variance of the coefficients before the first tick
LARGEST_TRACE = 1e4  # of the covariance, for each regressor: beyond it nothing is forgotten
LARGEST_OUTPUT = 10.0
ERROR_RATE, SLOW_RATE = 0.01, 0.001  # of the running mean absolute errors
LARGEST_LEVER = 100.0  # size of a regressor from which on a tick counts less
SMALLEST_ERROR = 1e-3  # below which all ticks count alike


@jit_inlined
def clip_output(output):
    """An output within +-10; 0 for NaN."""
    if np.isnan(output):
        return 0.0
    return min(max(output, -LARGEST_OUTPUT), LARGEST_OUTPUT)


@jit_inlined
def regressors_of(rls: LeastSquares, r):
    """How many of the regressors the recursive least squares r uses, from the first on."""
    if r == CONTROL:
        return min(rls.regressors.size, 2 + LAGS + 3 + 2 * PROFILES)
    return 2 + LAGS if r == RLS - 1 else rls.regressors.size


@jit_inlined
def rls_output(rls: LeastSquares, r, regressors):
    """Forecast of the recursive least squares r, within +-10."""
    w, n = rls.coefficients[r], regressors_of(rls, r)
    whole = n - n % 4
    a = b = c = d = 0.0  # four sums at once: one would wait for itself
    for i in range(0, whole, 4):
        a += w[i] * regressors[i]
        b += w[i + 1] * regressors[i + 1]
        c += w[i + 2] * regressors[i + 2]
        d += w[i + 3] * regressors[i + 3]
    for i in range(whole, n):
        a += w[i] * regressors[i]
    return clip_output((a + b) + (c + d))


@jit_inlined
def rls_reopen(rls: LeastSquares, r):
    """Take the coefficients for a first guess: covariance PRIOR times the identity."""
    k = rls.regressors.size
    for i in range(k):
        for j in range(k):
            rls.covariance[r * k + i, j] = PRIOR if i == j else 0.0


@jit_inlined
def rls_start_control(rls: LeastSquares):
    """Let the control begin with what the first has learned."""
    for i in range(rls.regressors.size):
        rls.coefficients[CONTROL, i] = rls.coefficients[0, i]
    rls.deviations[CONTROL] = rls.deviations[0]
    rls.errors[CONTROL] = rls.errors[0]


@jit_inlined
def rls_learn(rls: LeastSquares, r, target):
    """One update of the recursive least squares r with exponential forgetting (Haykin 2002).

        g = q P x / (lambda + q x' P x)     w += g (target - w' x)     P = (P - g x' P) / lambda

    A tick's weight q falls as one over its error, which comes close to least absolute errors: the
    weight of Huber's M-estimator in iteratively reweighted least squares (Holland & Welsch 1977).
    A regressor beyond LARGEST_LEVER, as a spike is while it is among the lags, makes it fall, too.
    What is known about regressors that are 0, such as a season not yet reached, is not forgotten.
    Starts again should the covariance P lose its positive definiteness.
    """
    x, Px, k = rls.regressors, rls.gain, rls.regressors.size
    n = regressors_of(rls, r)
    for i in range(n):
        Px[i] = 0.0
    for j in range(n):  # P is symmetric: its rows are its columns
        for i in range(n):
            Px[i] += x[j] * rls.covariance[r * k + j, i]
    power, trace, forecast, largest = 0.0, 0.0, 0.0, 1.0
    for i in range(n):
        largest = max(largest, abs(x[i]))
        power += x[i] * Px[i]
        trace += rls.covariance[r * k + i, i]
        forecast += x[i] * rls.coefficients[r, i]
    if not (0.0 <= power < 1e30 and trace < 1e30):
        rls_reopen(rls, r)
        for i in range(n):
            rls.coefficients[r, i] = 0.0
        return
    forgetting = FORGETTING[r] if trace <= LARGEST_TRACE * n else 1.0
    error = target - forecast
    size = min(abs(error), LARGEST_OUTPUT)
    usual = max(HUBER[r] * rls.deviations[r], SMALLEST_ERROR)
    weight = 1.0 if abs(error) <= usual else usual / abs(error)
    if largest > LARGEST_LEVER:
        weight *= (LARGEST_LEVER / largest) ** 2
    rls.deviations[r] += ERROR_RATE * (size - rls.deviations[r])
    rls.errors[r] += SLOW_RATE * (size - rls.errors[r])
    factor, more = weight / (forgetting + weight * power), 1.0 / forgetting
    for i in range(n):
        gain = factor * Px[i]
        rls.coefficients[r, i] += gain * error
        for j in range(n):
            P = rls.covariance[r * k + i, j] - gain * Px[j]
            excited = x[i] != 0.0 and x[j] != 0.0
            rls.covariance[r * k + i, j] = P * more if excited else P
