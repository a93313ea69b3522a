"""Calls of parallel kernels: one at a time, on so many threads, safe after a fork."""

import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numba

from .kernels.jit import jit_apart

# Numba's simplest threading layer aborts the process when two threads enter it: rounds of all
# fleets take turns.
_turn = threading.Lock()
_forked = False


def _after_fork() -> None:
    """A forked child must not enter the threading layer that its parent began: OpenMP aborts it."""
    global _turn, _forked
    _turn, _forked = threading.Lock(), True


os.register_at_fork(after_in_child=_after_fork)


def run(kernel: Callable[..., None], threads: int, *arguments: Any) -> None:
    """Call a parallel kernel; how many threads others take stays as it was.

    In a forked child it runs on one, compiled for that when it is first called there.
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
