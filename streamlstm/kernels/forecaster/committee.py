"""The committee of a forecaster: for each horizon, a gate for each member and a mixture of all.

The members are the last value; the seasonal naive and the profiles of each season; the recursive
least squares; and the LSTM. A member's output is the change that it forecasts from the newest value
to the one k ticks ahead, in units of sqrt(k) times the running mean absolute change. That of the
last value is 0.
"""

import math

from ..jit import jit_inlined
from .layout import Committee
from .least_squares import clip_output

GATE_MEMORY = 500.0  # ticks
GATE_HUBER = 0.3  # larger errors count less; in running mean absolute errors of the mixture
ERROR_MEMORY = 500.0  # ticks
LEARNING_RATE = 0.1  # of the mixture one tick ahead; over sqrt(k) for k ticks
SHARE = 0.0003  # of the weights that all members share at every tick; also over sqrt(k)
SMALLEST_ERROR = 1e-3


@jit_inlined
def mixture(committee: Committee, k, outputs):
    """Weighted sum of the members' outputs (M,), each times its gate."""
    total = 0.0
    for e in range(outputs.size):
        total += committee.weights[k, e] * committee.gates[k, e] * outputs[e]
    return total


@jit_inlined
def committee_learn(committee: Committee, k, outputs, target, seen):
    """Update the weights and gates of horizon index k with outputs (M,) and their target.

    seen: number of values so far that this horizon has forecast.
    The weights learn by exponentiated gradient with fixed share (Kivinen & Warmuth 1997; Herbster &
    Warmuth 1998). The loss is the absolute error in units of its running mean: a member that pulls
    towards the target gains weight, and none loses all of it. Forecasts k ticks ahead overlap, so k
    of them carry the evidence of sqrt(k).
    A gate is the slope of a running regression of the target on the output, in which large errors
    count less, as in `rls_learn`. It is 1 for outputs that are right on average and 0 for noise,
    so that a noisy member forecasts the last value.
    """
    weights, M = committee.weights, outputs.size
    damping = 1.0 / math.sqrt(k + 1.0)
    combined = mixture(committee, k, outputs)
    error = abs(target - combined)
    rate = max(1.0 / seen, 1.0 / ERROR_MEMORY)
    committee.errors[k] += rate * (min(error, 10.0) - committee.errors[k])
    unit = max(committee.errors[k], SMALLEST_ERROR)
    direction = 1.0 if combined < target else -1.0
    total, members = 0.0, 0.0
    for e in range(M):
        pull = clip_output(direction * (committee.gates[k, e] * outputs[e] - combined) / unit)
        weights[k, e] *= math.exp(LEARNING_RATE * damping * pull)
        total += weights[k, e]
        members += committee.members[e]
    share = SHARE * damping
    for e in range(M):
        spread = share * committee.members[e] / members
        weights[k, e] = (1.0 - share) * weights[k, e] / total + spread
        output, rate = outputs[e], 1.0 / GATE_MEMORY
        error = abs(target - output)
        weight = 1.0 if error <= GATE_HUBER * unit else GATE_HUBER * unit / error
        committee.products[k, e] += rate * (weight * output * target - committee.products[k, e])
        committee.squares[k, e] += rate * (weight * output * output - committee.squares[k, e])
        slope = 0.0
        if committee.squares[k, e] > 0.0:
            slope = committee.products[k, e] / committee.squares[k, e]
        committee.gates[k, e] = min(max(slope, 0.0), 1.0)
