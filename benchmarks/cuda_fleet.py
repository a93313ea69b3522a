"""Streams on a GPU: a round of ticks learned, and a step of shared weights.

Streams with weights of their own read and write weights and moments once a tick: the time is set
against that of copying as many bytes on the device, measured here. A step of shared weights is set
against cuDNN's, through PyTorch, replayed as a CUDA graph. Run with
`python benchmarks/cuda_fleet.py`; needs a GPU, and PyTorch for the second part.
"""

import itertools
import sys
import time
from collections.abc import Callable

import harness
import numpy as np

from streamlstm import LSTMForecaster
from streamlstm.errors import StreamLSTMError
from streamlstm.fleets.cuda import CudaStreams
from streamlstm.forecaster import NO_PLACES
from streamlstm.kernels.cuda.device import check_device, cuda
from streamlstm.kernels.cuda.shared import step_shared

OWN, SHARED = (16_384, 32), (100_000, 64)  # streams, H
ROUNDS, WARM = 20, 25  # the window is 20 ticks


def streams_of(S: int, H: int, weights: str) -> tuple[CudaStreams, Callable[[], object]]:
    """Streams beyond their window, and a call that learns a round."""
    model = LSTMForecaster(
        H, preset="fast", season=None, drift=False, horizon=1, experts=("last", "lstm")
    )
    streams, rows, nothing = CudaStreams(model, weights), np.arange(S), np.empty((S, 0))
    rounds = itertools.cycle(np.random.default_rng(0).normal(size=(50, S)).cumsum(axis=0))
    streams.begin(rows)

    def learn() -> None:
        streams.learn(rows, next(rounds), nothing, None, 1, NO_PLACES)

    for _ in range(WARM):
        learn()
    return streams, learn


def seconds(call: Callable[[], object], calls: int = 1) -> float:
    """Of one of several calls in turn, the device's work included."""
    cuda.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    cuda.synchronize()
    return (time.perf_counter() - start) / calls


def copy_of(size: int) -> Callable[[], object]:
    """A call that reads and writes so many bytes each."""
    source, target = (cuda.device_array(size // 4, np.float32) for _ in range(2))
    return lambda: target.copy_to_device(source)


def cudnn_step(S: int, H: int, inputs: int) -> Callable[[], object]:
    """A step of `torch.nn.LSTM` for S sequences, captured once and replayed."""
    import torch

    lstm = torch.nn.LSTM(inputs, H).cuda().requires_grad_(False)
    x = torch.zeros(1, S, inputs, device="cuda")
    state = torch.zeros(1, S, H, device="cuda"), torch.zeros(1, S, H, device="cuda")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            lstm(x, state)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        lstm(x, state)
    return graph.replay


def main() -> None:
    """Time both."""
    try:
        check_device()
    except StreamLSTMError as error:
        sys.exit(f"cuda_fleet: {error}")
    (S, H), (S2, H2) = OWN, SHARED
    streams, learn = streams_of(S, H, "private")
    shared, learn_shared = streams_of(S2, H2, "shared")
    rows, tile = cuda.to_device(np.arange(S2)), shared._tile
    kernel = step_shared(tile)[-(-S2 // tile.streams), tile.threads]

    def step() -> None:
        kernel(shared._streams, shared._weights, rows)

    copy = copy_of(sum(array.size * 4 for array in streams._weights))
    timed = [
        (f"learn a round, private, {S:,} x {H}", learn, "copy of the weights", copy, 1),
        (f"step, shared, {S2:,} x {H2}", step, "cuDNN", cudnn_step(S2, H2, shared._size[1]), 50),
        (f"learn a round, shared, {S2:,} x {H2}", learn_shared, "-", learn_shared, 1),
    ]
    lines, data = [], {}
    for name, ours, peer, other, calls in timed:
        taken = [(seconds(ours, calls), seconds(other, calls)) for _ in range(ROUNDS)]
        mine, its = (harness.Figures([pair[n] * 1e6 for pair in taken]) for n in range(2))
        lines.append([name, str(mine), peer, str(its), f"{mine.ratio_to(its):.2f}"])
        data[name] = taken
    device = cuda.get_current_device().name
    title = f"Streams on {device!s}, microseconds, host and device: median (min-max), and ratio"
    harness.report("cuda_fleet", title, ["what", "ours", "peer", "its", "ratio"], lines[:2], data)
    print(f"{lines[2][0]}: {lines[2][1]}")


if __name__ == "__main__":
    main()
