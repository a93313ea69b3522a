"""Recursive least squares that are robust to outliers: the linear members of the committee."""

import numpy as np

from ..jit import jit_inlined
from .layout import CONTROL, LAGS, PROFILES, RLS, LeastSquares

# For each: the forgetting factor, and the error above which a tick counts less, in running mean
# absolute errors. The last member reads lags only. The control is the first member without the
# second season.
FORGETTING = (0.999, 1.0, 0.998, 1.0, 0.999)
HUBER = (0.5, 1.0, 1.0, np.inf, 0.5)
PRIOR = 10.0  # variance of the coefficients before the first tick
LARGEST_TRACE = 1e4  # of the covariance, a regressor: above it nothing is forgotten
LARGEST_OUTPUT = 10.0
ERROR_RATE, SLOW_RATE = 0.01, 0.001  # of the running mean absolute errors
LARGEST_LEVERAGE = 100.0  # size of a regressor above which a tick counts less
SMALLEST_ERROR = 1e-3  # below which all ticks count alike


@jit_inlined
def clip_output(output):
    """An output within +-10; 0 for NaN."""
    if np.isnan(output):
        return 0.0
    return min(max(output, -LARGEST_OUTPUT), LARGEST_OUTPUT)


@jit_inlined
def regressors_of(rls: LeastSquares, r):
    """Number of regressors that the recursive least squares r reads: the first ones."""
    if r == CONTROL:
        return min(rls.regressors.size, 2 + LAGS + 3 + 2 * PROFILES)
    return 2 + LAGS if r == RLS - 1 else rls.regressors.size


@jit_inlined
def rls_output(rls: LeastSquares, r, regressors):
    """Forecast of the recursive least squares r, within +-10."""
    w, n = rls.coefficients[r], regressors_of(rls, r)
    whole = n - n % 4
    a = b = c = d = 0.0  # four sums, so that no addition waits for the one before
    for i in range(0, whole, 4):
        a += w[i] * regressors[i]
        b += w[i + 1] * regressors[i + 1]
        c += w[i + 2] * regressors[i + 2]
        d += w[i + 3] * regressors[i + 3]
    for i in range(whole, n):
        a += w[i] * regressors[i]
    return clip_output((a + b) + (c + d))


@jit_inlined
def rls_reset_covariance(rls: LeastSquares, r):
    """Treat the coefficients as a first guess: set the covariance to PRIOR times the identity."""
    k = rls.regressors.size
    for i in range(k):
        for j in range(k):
            rls.covariance[r * k + i, j] = PRIOR if i == j else 0.0


@jit_inlined
def rls_copy_to_control(rls: LeastSquares):
    """Let the control start with the coefficients and errors of the first member."""
    for i in range(rls.regressors.size):
        rls.coefficients[CONTROL, i] = rls.coefficients[0, i]
    rls.deviations[CONTROL] = rls.deviations[0]
    rls.errors[CONTROL] = rls.errors[0]


@jit_inlined
def rls_learn(rls: LeastSquares, r, target):
    """One update of the recursive least squares r with exponential forgetting (Haykin 2002).

        g = q P x / (lambda + q x' P x)     w += g (target - w' x)     P = (P - g x' P) / lambda

    The weight q of a tick is that of Huber's M-estimator in iteratively reweighted least squares
    (Holland & Welsch 1977): it falls as one over the error, which comes close to least absolute
    errors. It also falls with a regressor above LARGEST_LEVERAGE, such as a spike among the lags.
    Regressors that are 0, such as those of a season still unknown, forget nothing. If P loses its
    positive definiteness, the member starts again.
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
        rls_reset_covariance(rls, r)
        for i in range(n):
            rls.coefficients[r, i] = 0.0
        return
    forgetting = FORGETTING[r] if trace <= LARGEST_TRACE * n else 1.0
    error = target - forecast
    clipped_error = min(abs(error), LARGEST_OUTPUT)
    threshold = max(HUBER[r] * rls.deviations[r], SMALLEST_ERROR)
    weight = 1.0 if abs(error) <= threshold else threshold / abs(error)
    if largest > LARGEST_LEVERAGE:
        weight *= (LARGEST_LEVERAGE / largest) ** 2
    rls.deviations[r] += ERROR_RATE * (clipped_error - rls.deviations[r])
    rls.errors[r] += SLOW_RATE * (clipped_error - rls.errors[r])
    factor, growth = weight / (forgetting + weight * power), 1.0 / forgetting
    for i in range(n):
        gain = factor * Px[i]
        rls.coefficients[r, i] += gain * error
        for j in range(n):
            P = rls.covariance[r * k + i, j] - gain * Px[j]
            excited = x[i] != 0.0 and x[j] != 0.0
            rls.covariance[r * k + i, j] = P * growth if excited else P
