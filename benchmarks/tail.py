"""Tail latency: a million calls of `LSTMRegressor.learn_one`, each one timed.

A control makes as many calls that take as long and do nothing but count: its tail is the system's
own, the interrupts that no program escapes. Run with `python benchmarks/tail.py`.
"""

import gc
import time
from collections.abc import Callable

import harness
import numpy as np
import peers

from streamlstm import LSTMRegressor
from streamlstm.kernels.jit import jit

TICKS = 1_000_000
PERCENTILES = {"p50": 50, "p99": 99, "p99.9": 99.9, "max": 100}


@jit
def count(steps, x):
    """Take a while."""
    for _ in range(steps):
        x = x * 1.0000001 + 1e-9
    return x


def percentiles(call: Callable[[int], object]) -> dict[str, float]:
    """Microseconds of a million calls."""
    for n in range(1000):
        call(n)
    taken = np.empty(TICKS, np.int64)
    clock = time.perf_counter_ns
    gc.collect()
    for n in range(TICKS):
        start = clock()
        call(n)
        taken[n] = clock() - start
    return {name: np.percentile(taken, p) / 1e3 for name, p in PERCENTILES.items()}


def control(microseconds: float) -> Callable[[int], object]:
    """A call that takes about as long."""
    steps = 10_000
    count(steps, 1.0)
    start = time.perf_counter()
    for _ in range(100):
        count(steps, 1.0)
    steps = int(steps * microseconds / ((time.perf_counter() - start) / 100 * 1e6))
    return lambda n: count(steps, 1.0)


def main() -> None:
    """Time every call."""
    rows, data = [], {}
    xs, ys = peers.DICTS, peers.YS.tolist()
    for H in (32, 64):
        model = LSTMRegressor(hidden_size=H)

        def learn(n: int, model: LSTMRegressor = model) -> None:
            model.learn_one(xs[n % len(xs)], ys[n % len(ys)])

        figures = percentiles(learn)
        sides = {"learn_one": figures, "control": percentiles(control(figures["p50"]))}
        for side, figures in sides.items():
            shown = [f"{figure:.1f}" for figure in figures.values()]
            rows.append([str(H), side, *shown, f"{figures['p99.9'] / figures['p50']:.2f}"])
        data[H] = sides
    title = f"learn_one over {TICKS:,} ticks, 8 features, window 20, microseconds"
    harness.report("tail", title, ["H", "call", *PERCENTILES, "p99.9 / p50"], rows, data)


if __name__ == "__main__":
    main()
