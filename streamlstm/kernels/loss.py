"""Losses of one prediction and their gradients."""

import numpy as np

from .jit import jit_scalar

SQUARED, ABSOLUTE, HUBER = 0, 1, 2
LOSSES = {"squared": SQUARED, "absolute": ABSOLUTE, "huber": HUBER}

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)


@jit_scalar
def loss_value(kind, error):
    """Loss of error = prediction - target.

    squared: e^2 / 2; absolute: |e|; Huber (1964): e^2 / 2 up to 1, |e| - 1/2 beyond.
    """
    size = abs(error)
    if kind == SQUARED or (kind == HUBER and size <= ONE):
        return HALF * error * error
    if kind == ABSOLUTE:
        return size
    return size - HALF


@jit_scalar
def loss_gradient(kind, error):
    """Derivative of `loss_value` with respect to the prediction; 0 at the kink of the absolute."""
    if kind == SQUARED or (kind == HUBER and abs(error) <= ONE):
        return error
    if error > ZERO:
        return ONE
    if error < ZERO:
        return -ONE
    return ZERO
