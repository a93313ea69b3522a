"""Split ticks into rounds, and call parallel kernels: one at a time, and safely after a fork."""

import os
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numba
import numpy as np

from ..kernels.jit import jit_apart

# Numba's simplest threading layer aborts the process when two threads enter it, so the rounds of
# all fleets take turns.
_turn = threading.Lock()
_forked = False


def _after_fork() -> None:
    """Keep a forked child out of its parent's threading layer, where OpenMP would abort it."""
    global _turn, _forked
    _turn, _forked = threading.Lock(), True


os.register_at_fork(after_in_child=_after_fork)


def run(kernel: Callable[..., None], threads: int, *arguments: Any) -> None:
    """Call a parallel kernel on this many threads; Numba's setting is restored afterwards.

    In a forked child the kernel runs on one thread; it is compiled for that at its first call.
    """
    if _forked:
        _serial(kernel)(*arguments)
        return
    with _turn:
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            kernel(*arguments)
        finally:
            numba.set_num_threads(before)


@cache
def _serial(kernel: Any) -> Callable[..., None]:
    return jit_apart(kernel.py_func)


def rounds_of(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Split N ticks into rounds: indices of one tick of each stream, sorted by row.

    rows: (N,) the streams that the ticks belong to.

    >>> [part.tolist() for part in rounds_of(np.array([3, 1, 3, 3, 1]))]
    [[1, 0], [4, 2], [3]]
    """
    order = np.argsort(rows, kind="stable")
    starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    counts = np.diff(starts, append=rows.size)
    nth = np.empty_like(rows)
    nth[order] = np.arange(rows.size) - np.repeat(starts, counts)
    order = np.lexsort((rows, nth))
    sizes = np.bincount(nth)
    yield from np.split(order, np.cumsum(sizes)[:-1]) if rows.size else ()
