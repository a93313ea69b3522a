"""Gradient of the loss of one prediction."""

import numpy as np

from .jit import jit_scalar

SQUARED, ABSOLUTE, HUBER = 0, 1, 2
LOSSES = {"squared": SQUARED, "absolute": ABSOLUTE, "huber": HUBER}

ZERO = np.float32(0.0)
ONE = np.float32(1.0)


@jit_scalar
def loss_gradient(kind, error):
    """Derivative of the loss with respect to the prediction. error e = prediction - target.

    squared: e^2 / 2; absolute: |e|; Huber (1964): e^2 / 2 up to |e| = 1, |e| - 1/2 beyond.
    """
    if kind == SQUARED or (kind == HUBER and abs(error) <= ONE):
        return error
    if error > ZERO:
        return ONE
    if error < ZERO:
        return -ONE
    return ZERO
