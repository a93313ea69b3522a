"""Inputs of a network that reads features: standardised numbers, and embeddings of categories.

Feature n has the channel `first + n` of the scaler.
"""

from .embedding import look_up
from .jit import jit_part
from .layout import NetworkViews
from .scaling import Scaler, is_category, is_fixed, is_missing, observe, standardise, unscaled


@jit_part
def fill_inputs(net: NetworkViews, scaler: Scaler, first, features):
    """Fill `scratch.x` from features, (F,)."""
    x, i, category = net.scratch.x, 0, 0
    for n in range(features.size):
        if is_category(scaler, first + n):
            look_up(net, category, i, features[n])
            category += 1
            i += net.settings.embedding_size
        else:
            fixed = is_fixed(scaler, first + n)
            x[i] = (
                unscaled(features[n], 0.0) if fixed else standardise(scaler, first + n, features[n])
            )
            i += 1


@jit_part
def learn_channel(scaler: Scaler, j, value):
    """Update channel j with a value, unless it is missing or the channel is not scaled."""
    if not (is_missing(value) or is_fixed(scaler, j) or is_category(scaler, j)):
        observe(scaler, j, value)
