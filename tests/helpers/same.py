"""Compare two models without using snapshots."""

from collections import deque

import numpy as np


def same(one, other):
    """Whether two values are the same in all parts: types, order, and every bit of an array."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        same_form = (one.dtype, one.shape) == (other.dtype, other.shape)
        if same_form and one.dtype == object:
            return same(one.tolist(), other.tolist())
        return same_form and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (list, tuple, deque)):
        return len(one) == len(other) and all(map(same, one, other))
    if type(one).__module__.startswith("streamlstm"):
        return same(one.__getstate__(), other.__getstate__())
    return repr(one) == repr(other)
