"""The ways to learn, and what the file of each has to offer.

A network is compiled for its rule as it is for its cell (see `cells`): the functions below stand
for those of that name in the rule's file, which also has RULE, an instance of the rule's type.
"""

from ..jit import jit_choice
from . import bidirectional, forward, tbptt

# By the estimators' parameter `learning`.
LEARNING = {"tbptt": tbptt, "rtrl": forward, "snap1": forward}
RULES = LEARNING | {"bidirectional": bidirectional}

by_rule = jit_choice(lambda: {type(file.RULE): file for file in RULES.values()})


@by_rule
def advance(rule, net, x):
    """Take one tick's inputs, (I,) float32: state, tapes, traces and `memory.output` move on."""


@by_rule
def peek(rule, net, x):
    """Leave what `advance` would put into `memory.output` in `scratch.output`; on scratch alone."""


@by_rule
def gradient(rule, net, fresh):
    """Leave the gradient of the mean loss of the `fresh` newest ticks in `scratch.grads`."""
