"""Whether two models are the same, told without the help of snapshots."""

from collections import deque

import numpy as np


def same(one, other):
    """Whether two values are the same throughout: types, order, and every bit of an array."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        alike = (one.dtype, one.shape) == (other.dtype, other.shape)
        if alike and one.dtype == object:
            return same(one.tolist(), other.tolist())
        return alike and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (list, tuple, deque)):
        return len(one) == len(other) and all(map(same, one, other))
    if type(one).__module__.startswith("streamlstm"):
        return same(one.__getstate__(), other.__getstate__())
    return repr(one) == repr(other)
