"""Live runs through each system, with snapshots: ticks a second, and latency.

Ten streams with weights of their own (8 units, window 10, `preset="fast"`) are learned in a process
of its own that is kept to one core; the server and what measures have the others. Beside the
speed stands what the client alone manages on that core, in turns: it reads as many messages, parses
them and writes as many. The latency is that from before a tick is sent until its forecast has been
read, at about 200 ticks a second; beside it stands what a message takes that is sent and comes
back, the part of the server and of the clients that measure. Run with
`PYTHONPATH=tests/helpers python benchmarks/live.py [SYSTEM ...]`; needs the servers of the tests.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import harness
import numpy as np
from live_systems import SYSTEMS, Message, System

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.live.run import LiveRun

TICKS, KEYS, SENT, ROUNDS = 40_000, 10, 2000, 3


def fleet() -> ForecasterFleet:
    """A new one, its kernels loaded."""
    model = LSTMForecaster(hidden_size=8, window=10, season=None, preset="fast")
    warm = ForecasterFleet(model, threads=1)
    warm.learn_many(["", ""], [0.0, 1.0])
    warm.forecast(1)
    return ForecasterFleet(model, threads=1)


def messages(count: int) -> list[Message]:
    """Of `KEYS` streams in turn."""
    values = np.random.default_rng(0).normal(size=count).tolist()
    return [{"key": str(n % KEYS), "value": value, "n": n} for n, value in enumerate(values)]


def live(system: System, name: str) -> LiveRun:
    """A run with snapshots."""
    return LiveRun(fleet(), *system.connectors(name), system.folder / f"{name} state")


def learn_all(system: System, name: str) -> Callable[[], None]:
    """A run that is ready to take all that waits."""
    run = live(system, name)
    return lambda: run.run(TICKS)


def client_alone(system: System, name: str) -> Callable[[], None]:
    return lambda: system.alone(name, TICKS)


SIDES = {"run": learn_all, "client": client_alone}


def on_one_core(work: Callable[[], None]) -> multiprocessing.Process:
    """A process that does it."""

    def child() -> None:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        work()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    return process


def speed(system: System, side: str, name: str) -> tuple[float, float]:
    """Ticks a second, and microseconds of processor a tick."""
    system.prepare(name)
    system.fill(name, messages(TICKS))
    answers = multiprocessing.get_context("fork").SimpleQueue()

    def timed() -> None:
        work = SIDES[side](system, name)
        began, busy = time.perf_counter(), time.process_time()
        work()
        answers.put((time.perf_counter() - began, time.process_time() - busy))

    process = on_one_core(timed)
    process.join(300)
    assert process.exitcode == 0, f"{side} of {system}"
    seconds, busy = answers.get()
    return TICKS / seconds, 1e6 * busy / TICKS


def latency(system: System, to: str, back: str) -> list[float]:
    """Milliseconds from before a tick is sent until something comes, once warm: median and 99%."""
    seconds = []
    with system.exchange(to, back) as exchange:
        for message in messages(SENT):
            began = time.perf_counter()
            exchange(message)
            seconds.append(time.perf_counter() - began)
            time.sleep(0.004)
    return np.percentile(1000 * np.array(seconds[SENT // 10 :]), [50, 99]).tolist()


def latencies(system: System) -> dict[str, list[float]]:
    """Of a run, and of a message that comes back."""

    def until_told() -> None:
        run = live(system, "slow")
        signal.signal(signal.SIGTERM, lambda *_: run.stop())
        run.run()

    system.prepare("slow")
    process = on_one_core(until_told)
    through = latency(system, "slow/ticks", "slow/out")
    process.terminate()
    process.join()
    assert process.exitcode == 0
    return {"run": through, "echo": latency(system, "echo", "echo")}


def shown(figures: list[float]) -> str:
    """Median and range."""
    low, middle, high = np.percentile(figures, [0, 50, 100])
    return f"{middle:,.0f} ({low:,.0f}-{high:,.0f})"


def main(names: list[str]) -> None:
    """Measure and print."""
    fleet()  # compiles its kernels, if they have not been
    rows, data = [], {}
    for name in names or SYSTEMS:
        with tempfile.TemporaryDirectory() as folder, SYSTEMS[name](Path(folder)) as system:
            figures: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
            for n in range(ROUNDS):
                for side, taken in figures.items():
                    taken.append(speed(system, side, f"{side}{n}"))
            points = {} if name == "CSV files" else latencies(system)
        data[name] = {"speed": figures, "latency_ms": points}
        cells = [shown([each[0] for each in figures["run"]])]
        cells += [shown([each[1] for each in figures["run"]])]
        cells += [shown([each[0] for each in figures["client"]])]
        cells += [f"{middle:.2f} / {high:.2f}" for middle, high in points.values()] or ["", ""]
        rows.append([name, *cells])
    header = ["system", "ticks a second", "us of processor a tick", "client alone"]
    header += ["latency, ms, median / 99%", "server alone"]
    harness.report("live", "Live runs, in and out", header, rows, data)


if __name__ == "__main__":
    main(sys.argv[1:])
