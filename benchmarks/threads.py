"""Several threads, each with a model of its own: throughput against one thread.

A control does nothing but multiply and add in registers: what it gains is what the cores are worth.
Run with `python benchmarks/threads.py`.
"""

import os
import threading
import time

import harness
import numpy as np
import peers
from roofline import multiply_adds

from streamlstm import LSTMForecaster, LSTMRegressor
from streamlstm.kernels.layout import aligned_zeros

ROUNDS = 25


def chunks():
    """Replay in calls of 2,000 ticks."""
    model, values = LSTMForecaster(), np.random.default_rng(0).normal(size=2000).cumsum()
    return lambda: [model.learn_many(values) for _ in range(10)]


def ticks():
    """One call a tick, at a size where the kernel, not the interpreter, takes the time."""
    model = LSTMRegressor(hidden_size=128)
    pairs = list(zip(peers.DICTS, peers.YS.tolist(), strict=True))
    return lambda: [model.learn_one(x, y) for x, y in pairs * 2]


def control():
    """Multiply and add in registers."""
    x, out = aligned_zeros(64), aligned_zeros(64)
    return lambda: multiply_adds(50_000, x, out)


def seconds(jobs) -> float:
    """Until all jobs, each in a thread, are done."""
    threads = [threading.Thread(target=job) for job in jobs]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def main() -> None:
    """Compare one thread with as many as there are cores."""
    cores = os.cpu_count() or 1
    rows, data = [], {}
    works = {"learn_many, H=32": chunks, "learn_one, H=128": ticks, "control": control}
    for name, build in works.items():
        jobs = [build() for _ in range(cores)]
        for job in jobs:
            job()
        one, all_cores = [], []
        for _ in range(ROUNDS):  # in turns; the best of each, for the machine is shared
            one.append(seconds(jobs[:1]))
            all_cores.append(seconds(jobs))
        gain = cores * min(one) / min(all_cores)
        rows.append([name, str(cores), f"{gain:.2f}x"])
        data[name] = {"one": one, "all": all_cores}
    title = f"Threads with a model each: throughput against one thread, best of {ROUNDS} rounds"
    harness.report("threads", title, ["work", "threads", "gain"], rows, data)


if __name__ == "__main__":
    main()
