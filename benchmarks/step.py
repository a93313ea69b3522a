"""The LSTM step kernel against RTNeural (C++, Eigen, sizes fixed at compile time), 8 inputs.

Each step takes the output of the one before. Run with
`RTNEURAL=checkout/of/RTNeural python benchmarks/step.py`; needs g++ and Eigen.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import numpy as np

from streamlstm.kernels.cells.lstm import lstm_step
from streamlstm.kernels.jit import jit
from streamlstm.kernels.layout import aligned_zeros
from streamlstm.kernels.linear import copy

SOURCE = Path(__file__).parent / "rtneural_step.cpp"
EIGEN = "/usr/include/eigen3"
INPUTS, ROUNDS, TURNS = 8, 21, 3


@jit
def run_steps(steps, h, c, gates, tanh_c, inputs, w, b):
    """Steps in a row, the cell state updated in place."""
    H = h.size
    for _ in range(steps):
        copy(inputs[:H], h)
        inputs[H] = h[0]
        lstm_step(h, c, gates, tanh_c, inputs, c, w, b)


def ours(H: int) -> list[float]:
    """Microseconds of a step, one figure a round."""
    M, N = H + INPUTS, 4 * H
    vectors = [aligned_zeros(n) for n in (H, H, N, H, M)]
    w, b = aligned_zeros(M * N).reshape(M, N), aligned_zeros(N)
    w[:] = np.random.default_rng(0).uniform(-0.1, 0.1, w.shape)
    b[:] = 0.1
    steps = max(200_000 // H, 1000)
    run_steps(10, *vectors, w, b)
    figures = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run_steps(steps, *vectors, w, b)
        figures.append((time.perf_counter() - start) / steps * 1e6)
    return figures


def build(folder: Path) -> Path | None:
    """Compile the peer, or say why not."""
    checkout = os.environ.get("RTNEURAL")
    if checkout is None:
        print("skipped RTNeural: set RTNEURAL to a checkout of it", file=sys.stderr)
        return None
    program = folder / "rtneural_step"
    flags = ["-std=c++17", "-O3", "-march=native", "-ffast-math", "-DRTNEURAL_USE_EIGEN=1"]
    paths = [f"-I{checkout}", f"-I{EIGEN}"]
    subprocess.run(["g++", *flags, *paths, str(SOURCE), "-o", str(program)], check=True)
    return program


def main() -> None:
    """Measure both sides in turns."""
    mine: dict[int, list[float]] = {}
    theirs: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder))
        for _ in range(TURNS):
            for H in (8, 16, 32, 64, 128):
                mine.setdefault(H, []).append(statistics.median(ours(H)))
            if program is not None:
                lines = subprocess.run([program], capture_output=True, text=True, check=True)
                for line in lines.stdout.splitlines():
                    H, median, *_ = line.split()
                    theirs.setdefault(int(H), []).append(float(median))
    rows = []
    for H, figures in mine.items():
        row = [str(H), f"{statistics.median(figures):.3f}", "-", "-"]
        if H in theirs:
            median = statistics.median(theirs[H])
            row[2:] = [f"{median:.3f}", f"{median / statistics.median(figures):.2f}x"]
        rows.append(row)
    title = f"One LSTM step, microseconds, median of {TURNS} turns of {ROUNDS} rounds"
    data = {"streamlstm": mine, "RTNeural": theirs}
    harness.report("step", title, ["H", "streamlstm", "RTNeural", "ratio"], rows, data)


if __name__ == "__main__":
    main()
