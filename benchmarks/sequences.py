"""Adding problem and temporal order (task 6a) at full size, over several networks.

Run with `python benchmarks/sequences.py`. The examples of these names say what is learned, and when
it counts as learned.
"""

import argparse
import sys
import time
from pathlib import Path

import harness
import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import adding_problem
import temporal_order

# Task and mean sequences of Hochreiter & Schmidhuber (1997).
TASKS = {
    "adding problem, 100 pairs": (adding_problem, "74,000"),
    "temporal order 6a, 100 symbols": (temporal_order, "31,390"),
}


def main() -> None:
    """Both tasks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", type=int, default=10)
    nets = parser.parse_args().nets
    rows, data = [], []
    for name, (task, published) in TASKS.items():
        start = time.perf_counter()
        solved = [task.solve(100, 2000, seed) for seed in range(nets)]
        seconds = (time.perf_counter() - start) / nets
        learned = [sequences for sequences, _ in solved if sequences]
        wrong = [failures for sequences, failures in solved if sequences]
        mean = f"{np.mean(learned):,.0f} ({min(learned):,} to {max(learned):,})" if learned else "-"
        failures = f"{np.mean(wrong):.1f}" if wrong else "-"
        rows.append(
            [name, published, f"{len(learned)} of {nets}", mean, failures, f"{seconds:.1f}"]
        )
        data.append({"task": name, "sequences and failures": solved})
    header = [
        "task", "sequences, paper", "learned", "sequences, mean (min to max)",
        "wrong of 2,560, mean", "seconds a network",
    ]  # fmt: skip
    title = "Adding problem and temporal order: sequences until 2,000 in a row are right"
    harness.report("sequences", title, header, rows, data)


if __name__ == "__main__":
    main()
