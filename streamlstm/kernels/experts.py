"""The committee of a forecaster: simple experts, a gate for each, and a mixture of all.

An expert's output is the next change in units of the running mean absolute change. The members are
the last value, whose output is 0; the seasonal naive of every season; recursive least squares on
lags, R of them; and the LSTM.
"""

import math

import numpy as np

from ..layout import LAGS, RLS, Experts
from .jit import jit_part

FORGETTING = (1.0, 0.999, 1.0)  # of each recursive least squares; the last knows no seasons
PRIOR = 10.0  # variance of the coefficients before the first tick
LARGEST_TRACE = 1e4  # of the covariance, for each regressor: beyond it nothing is forgotten
LARGEST_OUTPUT = 10.0
GATE_MEMORY = 500.0
LEARNING_RATE = 0.1  # of the mixture
SHARE = 0.0003  # of its weights, spread over all members at every tick


@jit_part
def regressors_of(experts: Experts, r):
    """How many of the regressors the recursive least squares r uses, from the first on."""
    return LAGS + 2 if r == RLS - 1 else experts.regressors.size


@jit_part
def rls_output(experts: Experts, r):
    """Forecast of the recursive least squares r from the regressors, within +-10."""
    total = 0.0
    for i in range(regressors_of(experts, r)):
        total += experts.coefficients[r, i] * experts.regressors[i]
    return clip_output(total)


@jit_part
def clip_output(output):
    """An output within +-10; 0 for NaN."""
    if np.isnan(output):
        return 0.0
    return min(max(output, -LARGEST_OUTPUT), LARGEST_OUTPUT)


@jit_part
def rls_reopen(experts: Experts, r):
    """Take the coefficients for a first guess: covariance PRIOR times the identity."""
    k = experts.regressors.size
    for i in range(k):
        for j in range(k):
            experts.covariance[r * k + i, j] = PRIOR if i == j else 0.0


@jit_part
def rls_learn(experts: Experts, r, target):
    """One update of the recursive least squares r with exponential forgetting (Haykin 2002).

        g = P x / (lambda + x' P x)     w += g (target - w' x)     P = (P - g x' P) / lambda

    What is known about regressors that are 0, such as a season not yet reached, is not forgotten.
    Starts again should the covariance P lose its positive definiteness.
    """
    x, Px, k = experts.regressors, experts.gain, experts.regressors.size
    n = regressors_of(experts, r)
    for i in range(n):
        Px[i] = 0.0
    for j in range(n):  # P is symmetric: its rows are its columns
        for i in range(n):
            Px[i] += x[j] * experts.covariance[r * k + j, i]
    power, trace, forecast = 0.0, 0.0, 0.0
    for i in range(n):
        power += x[i] * Px[i]
        trace += experts.covariance[r * k + i, i]
        forecast += x[i] * experts.coefficients[r, i]
    if not (0.0 <= power < 1e30 and trace < 1e30):
        rls_reopen(experts, r)
        for i in range(n):
            experts.coefficients[r, i] = 0.0
        return
    forgetting = FORGETTING[r] if trace <= LARGEST_TRACE * n else 1.0
    error, more = target - forecast, 1.0 / forgetting
    for i in range(n):
        gain = Px[i] / (forgetting + power)
        experts.coefficients[r, i] += gain * error
        for j in range(n):
            P = experts.covariance[r * k + i, j] - gain * Px[j]
            excited = x[i] != 0.0 and x[j] != 0.0
            experts.covariance[r * k + i, j] = P * more if excited else P


@jit_part
def gate(experts: Experts, e):
    """How much of expert e's output to believe, 0 to 1.

    The slope of a running regression of what the output should have been on what it was: 1 for
    outputs that are right on average, 0 for noise, so that noise leaves the last value standing.
    """
    if not experts.squares[e] > 0.0:
        return 0.0
    return min(max(experts.products[e] / experts.squares[e], 0.0), 1.0)


@jit_part
def mixture(experts: Experts):
    """The committee's output: gated outputs of the members, by their weights."""
    total = 0.0
    for e in range(experts.outputs.size):
        total += experts.weights[e] * gate(experts, e) * experts.outputs[e]
    return total


@jit_part
def committee_learn(experts: Experts, target):
    """Let mixture and gates learn from the outputs of the members and what came.

    Exponentiated gradient on the absolute error with fixed share (Kivinen & Warmuth 1997; Herbster
    & Warmuth 1998): a member gains weight for pulling towards the target, and none is ever lost.
    """
    outputs, weights, E = experts.outputs, experts.weights, experts.outputs.size
    mixed = mixture(experts)
    towards = 1.0 if mixed < target else -1.0
    total, members = 0.0, 0.0
    for e in range(E):
        pull = clip_output(towards * (gate(experts, e) * outputs[e] - mixed))
        weights[e] *= math.exp(LEARNING_RATE * pull)
        total += weights[e]
        members += experts.members[e]
    for e in range(E):
        weights[e] = (1.0 - SHARE) * weights[e] / total + SHARE * experts.members[e] / members
        rate = 1.0 / GATE_MEMORY
        experts.products[e] += rate * (outputs[e] * target - experts.products[e])
        experts.squares[e] += rate * (outputs[e] * outputs[e] - experts.squares[e])
