"""Gradients by central finite differences."""

import numpy as np


def finite_differences(loss, x, step=1e-6):
    d_x = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        kept = x[index]
        x[index] = kept + step
        above = loss()
        x[index] = kept - step
        d_x[index] = (above - loss()) / (2 * step)
        x[index] = kept
    return d_x
