"""The committee of a forecaster: for each horizon, a gate for each member and a mixture of all.

An output is the change from the newest value to the one k ticks ahead, in units of the running mean
absolute change times sqrt(k). The members are the last value, whose output is 0; of every season
the seasonal naive and its profiles; recursive least squares; and the LSTM.
"""

import math

from ..jit import jit_inlined
from ..layout import Committee
from .least_squares import clip_output

GATE_MEMORY = 500.0
GATE_HUBER = 0.3  # error, in running mean absolute errors of the mixture, that counts in full
ERROR_MEMORY = 500.0
LEARNING_RATE = 0.1  # of the mixture one tick ahead; over sqrt(k) for k ticks
SHARE = 0.0003  # of its weights, spread over all members at every tick; likewise
SMALLEST_ERROR = 1e-3


@jit_inlined
def mixture(committee: Committee, k, outputs):
    """The committee's output: gated outputs (M,) of the members, by their weights."""
    total = 0.0
    for e in range(outputs.size):
        total += committee.weights[k, e] * committee.gates[k, e] * outputs[e]
    return total


@jit_inlined
def committee_learn(committee: Committee, k, outputs, target, seen):
    """Let mixture and gates of horizon index k learn from outputs (M,) and what came.

    seen: how many values have come so far that this horizon has forecasts of.
    Exponentiated gradient on the absolute error, in units of what is usual, with fixed share
    (Kivinen & Warmuth 1997; Herbster & Warmuth 1998): a member gains weight for pulling towards the
    target, and none is ever lost. Forecasts of the same value overlap: k of them carry the
    evidence of sqrt(k). A gate is the slope of a running regression of what the output should have
    been on what it was, which counts large errors less, as `rls_learn` does: 1 for outputs that are
    right on average, 0 for noise, so that noise leaves the last value standing.
    """
    weights, M = committee.weights, outputs.size
    thin = 1.0 / math.sqrt(k + 1.0)
    mixed = mixture(committee, k, outputs)
    error = abs(target - mixed)
    rate = max(1.0 / seen, 1.0 / ERROR_MEMORY)
    committee.errors[k] += rate * (min(error, 10.0) - committee.errors[k])
    usual = max(committee.errors[k], SMALLEST_ERROR)
    towards = 1.0 if mixed < target else -1.0
    total, members = 0.0, 0.0
    for e in range(M):
        pull = clip_output(towards * (committee.gates[k, e] * outputs[e] - mixed) / usual)
        weights[k, e] *= math.exp(LEARNING_RATE * thin * pull)
        total += weights[k, e]
        members += committee.members[e]
    share = SHARE * thin
    for e in range(M):
        spread = share * committee.members[e] / members
        weights[k, e] = (1.0 - share) * weights[k, e] / total + spread
        output, rate = outputs[e], 1.0 / GATE_MEMORY
        error = abs(target - output)
        weight = 1.0 if error <= GATE_HUBER * usual else GATE_HUBER * usual / error
        committee.products[k, e] += rate * (weight * output * target - committee.products[k, e])
        committee.squares[k, e] += rate * (weight * output * output - committee.squares[k, e])
        slope = 0.0
        if committee.squares[k, e] > 0.0:
            slope = committee.products[k, e] / committee.squares[k, e]
        committee.gates[k, e] = min(max(slope, 0.0), 1.0)
