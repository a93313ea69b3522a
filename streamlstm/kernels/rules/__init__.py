"""The learning rules, and what the file of each defines.

A network is compiled for its rule, as for its cell (see `cells`): the functions below stand for the
functions of that name in the rule's file. A new rule is a file with these functions, with RULE, an
instance of the rule's type, and a line in LEARNING.
"""

from ..jit import jit_choice
from . import bidirectional, forward, tbptt

# By the estimators' parameter `learning`.
LEARNING = {"tbptt": tbptt, "rtrl": forward, "snap1": forward}
RULES = LEARNING | {"bidirectional": bidirectional}

by_rule = jit_choice(lambda: {type(file.RULE): file for file in RULES.values()})


@by_rule
def advance(rule, net, x):
    """Advance by a tick with inputs x, (I,) float32: state, tapes, traces and `memory.output`."""


@by_rule
def peek(rule, net, x):
    """Leave in `scratch.output` what `advance` would put into `memory.output`; change no state."""


@by_rule
def gradient(rule, net, fresh):
    """Leave the gradient of the mean loss of the `fresh` newest ticks in `scratch.grads`."""
