"""Fleets of one stream to a million: ticks a second, and memory a stream.

32 units, the last value and the LSTM as experts, window 20, on all cores; rounds with a tick of
every stream. A fleet grows from size to size, in a process of its own for each kind of weights,
until the next size would not fit into the memory that is left. Run with
`python benchmarks/fleet_scaling.py`; draws docs/fleet_scaling.png.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import harness
import numpy as np

from streamlstm import ForecasterFleet, LSTMForecaster

SIZES = [10**n for n in range(7)]
PICTURE = Path(__file__).parent.parent / "docs" / "fleet_scaling.png"
SHARE = 0.8  # of the free memory that a fleet may take


def memory(field: str, file: str) -> int:
    """Bytes, from the system's own account."""
    lines = Path(file).read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def measure(weights: str, largest: int) -> list[dict[str, float]]:
    """One figure a size: ticks a second, seconds to begin a stream, bytes a stream."""
    model = LSTMForecaster(
        32, preset="fast", season=None, drift=False, experts=("last", "lstm"), horizon=1
    )
    fleet, rng, figures = ForecasterFleet(model, weights), np.random.default_rng(0), []
    fleet.learn_many([0], [0.0])
    before, bytes_each, begun = memory("VmRSS", "/proc/self/status"), 0.0, 1
    for S in [size for size in SIZES if size <= largest]:
        free = memory("MemAvailable", "/proc/meminfo")
        if bytes_each * (S - begun) > SHARE * free:
            break
        start = time.perf_counter()
        fleet.learn_many(range(S), rng.normal(size=S))
        beginning = (time.perf_counter() - start) / max(S - begun, 1)
        rounds = max(3, min(2000, 20_000 // S))
        for _ in range(3):
            fleet.learn_many(range(S), rng.normal(size=S))
        start = time.perf_counter()
        for _ in range(rounds):
            fleet.learn_many(range(S), rng.normal(size=S))
        rate = S * rounds / (time.perf_counter() - start)
        bytes_each = (memory("VmRSS", "/proc/self/status") - before) / max(S - 1, 1)
        begun = S
        figures.append({"S": S, "ticks": rate, "begin": beginning, "bytes": bytes_each})
        print(json.dumps(figures[-1]), file=sys.stderr, flush=True)
    return figures


def draw(data: dict[str, list[dict[str, float]]]) -> None:
    """Ticks a second by the number of streams."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for weights, figures in data.items():
        each = f"{figures[-1]['bytes'] / 1024:.0f} KiB a stream"
        sizes, ticks = zip(*[(f["S"], f["ticks"]) for f in figures], strict=True)
        axes.plot(sizes, ticks, "o-", label=f"{weights} weights, {each}")
    axes.set(xscale="log", yscale="log", xlabel="streams", ylabel="ticks a second, learned")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(PICTURE, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    parser.add_argument("--only", choices=["private", "shared"], help="print figures as JSON")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments.largest)))
        return
    data = {}
    for weights in ("private", "shared"):
        command = [sys.executable, __file__, "--only", weights]
        command += ["--largest", str(arguments.largest)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        data[weights] = json.loads(done.stdout)
    rows = [
        [
            weights, f"{f['S']:,}", f"{f['ticks']:,.0f}", f"{f['S'] / f['ticks'] * 1e3:,.2f}",
            f"{f['begin'] * 1e3:.2f}", f"{f['bytes'] / 1024:,.0f}" if f["S"] >= 1000 else "-",
        ]
        for weights, figures in data.items()
        for f in figures
    ]  # fmt: skip
    header = ["weights", "streams", "ticks a second", "ms a round", "ms to begin one", "KiB each"]
    title = f"Fleets by size, 32 units, last value and LSTM, {os.cpu_count()} threads"
    harness.report("fleet_scaling", title, header, rows, data)
    draw(data)


if __name__ == "__main__":
    main()
