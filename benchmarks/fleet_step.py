"""One step of S streams that share weights against `torch.nn.LSTMCell` on a batch, 8 inputs.

Ours is the step that a fleet takes in `learn_many`, on the fleet's own buffers: it writes the tapes
for the gradient and calculates the head as well. Run with `python benchmarks/fleet_step.py`.
"""

import argparse
import itertools
import os
import subprocess
import sys

import harness
import numba
import numpy as np
import peers

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.fleets import rounds
from streamlstm.kernels.cells import CELLS
from streamlstm.kernels.fleets.private import network_at
from streamlstm.kernels.fleets.shared import ITEMSIZE, SLOT_SIZE, TICK, lstm_group_step
from streamlstm.kernels.jit import jit_apart, jit_parallel
from streamlstm.kernels.linear import ROW_BLOCK, copy
from streamlstm.kernels.rules import RULES
from streamlstm.kernels.views import row

STREAMS, SIZES = 1024, (32, 64, 128)
KIND = CELLS["lstm"].CELL, RULES["tbptt"].RULE


@jit_apart
def advance_some(first, last, xs, rows, table, sizes, scratch, slots):
    """The network of the first stream tells where in `scratch` all have their inputs."""
    k, count = rows[first], last - first
    net = network_at(KIND, table[k], sizes[k], scratch[0])
    x = (net.scratch.x.ctypes.data - scratch.ctypes.data) // ITEMSIZE
    for n in range(count):
        slots[n, TICK] = first + n
        copy(row(scratch[n], x, xs.shape[1]), xs[first + n])
    lstm_group_step(net, rows, table, sizes, scratch, slots, count)


@jit_parallel
def advance_all(xs, rows, table, sizes, scratch, slots):
    C, S = slots.shape[0], rows.size
    for c in numba.prange(C):
        mine = slice(c * ROW_BLOCK, (c + 1) * ROW_BLOCK)
        for first in range(c * ROW_BLOCK, S, C * ROW_BLOCK):
            last = min(first + ROW_BLOCK, S)
            advance_some(first, last, xs, rows, table, sizes, scratch[mine], slots[c])


def ours(H: int, threads: int) -> peers.Call:
    model = LSTMForecaster(H, preset="fast", season=None, experts=("last", "lstm"), horizon=1)
    fleet = ForecasterFleet(model, "shared", threads=threads)
    fleet.learn_many(range(STREAMS), np.zeros(STREAMS), np.zeros((STREAMS, 2)))
    streams = fleet._streams
    scratch, _ = streams._room(threads * ROW_BLOCK, 1)
    rows, slots = np.arange(STREAMS), np.empty((threads, ROW_BLOCK, SLOT_SIZE), np.int64)
    xs = np.random.default_rng(0).normal(size=(STREAMS, peers.FEATURES)).astype(np.float32)
    assert model._network.settings.input_size + 2 == peers.FEATURES
    return lambda: rounds.run(
        advance_all, threads, xs, rows, streams._table, streams._sizes, scratch, slots
    )


def torch_cell(H: int, threads: int) -> peers.Call:
    import torch

    cell = torch.nn.LSTMCell(peers.FEATURES, H)
    x = torch.randn(STREAMS, peers.FEATURES)
    state = torch.zeros(STREAMS, H), torch.zeros(STREAMS, H)

    def step():
        nonlocal state
        torch.set_num_threads(threads)
        with torch.inference_mode():
            state = cell(x, state)

    return step


SIDES = {"ours": ours, "LSTMCell": torch_cell}


def in_a_process(side: str, H: int, threads: int, seconds: float) -> float:
    """Microseconds of a step in a process of its own: pools of threads hinder each other."""
    command = [sys.executable, __file__, side, str(H), str(threads), "--seconds", str(seconds)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", nargs="*", help="one of ours, LSTMCell; H; threads")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3)
    arguments = parser.parse_args()
    if arguments.side:
        side, H, threads = arguments.side
        call = {side: SIDES[side](int(H), int(threads))}
        print(harness.in_turns(call, 3, arguments.seconds)[side].median)
        return
    rows, data = [], []
    for H, threads in itertools.product(SIZES, sorted({1, os.cpu_count() or 1})):
        taken: dict[str, list[float]] = {side: [] for side in SIDES}
        for _ in range(arguments.rounds):
            for side in SIDES:
                taken[side].append(in_a_process(side, H, threads, arguments.seconds))
        figures = {side: harness.Figures(us) for side, us in taken.items()}
        rows.append([str(H), str(threads), *harness.compared(figures, "ours", ["LSTMCell"])])
        data.append({"H": H, "threads": threads, "us": taken})
    title = f"One step of {STREAMS:,} streams that share weights, microseconds, and ratio"
    header = ["H", "threads", "ours", "PyTorch LSTMCell"]
    harness.report("fleet_step", title, header, rows, data)


if __name__ == "__main__":
    main()
