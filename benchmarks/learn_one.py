"""Time to learn from one tick: `LSTMRegressor.learn_one` against PyTorch eager.

Both sides learn from 8 features with one LSTM layer and a linear head, by truncated
back-propagation over the last 20 ticks, the squared error of the newest, clipping by norm and
Adam, once a tick, on one thread. PyTorch gets its inputs as ready tensors; streamlstm gets a dict
and scales features and target as well.

Run with `pip install -e ".[bench]" && python benchmarks/learn_one.py`.
"""

import argparse
import os
import platform
import statistics
import time
from collections import deque
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = "1"

import numba
import numpy as np
import torch

from streamlstm import LSTMRegressor

FEATURES, WINDOW = 8, 20


def streamlstm_learner(hidden_size: int) -> Callable[[list[float], float], None]:
    model = LSTMRegressor(hidden_size=hidden_size, window=WINDOW)
    names = [f"f{n}" for n in range(FEATURES)]

    def learn(x: list[float], y: float) -> None:
        model.learn_one(dict(zip(names, x, strict=True)), y)

    return learn


def torch_learner(hidden_size: int) -> Callable[[torch.Tensor, torch.Tensor], None]:
    lstm, head = torch.nn.LSTM(FEATURES, hidden_size), torch.nn.Linear(hidden_size, 1)
    params = [*lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(params, lr=0.002)
    inputs: deque[torch.Tensor] = deque(maxlen=WINDOW)
    states: deque[tuple[torch.Tensor, torch.Tensor]] = deque(maxlen=WINDOW)
    state = (torch.zeros(1, 1, hidden_size), torch.zeros(1, 1, hidden_size))

    def learn(x: torch.Tensor, y: torch.Tensor) -> None:
        nonlocal state
        inputs.append(x)
        states.append(state)
        hs, (h, c) = lstm(torch.stack(tuple(inputs)).unsqueeze(1), states[0])
        state = (h.detach(), c.detach())
        loss = 0.5 * (head(hs[-1]) - y).square().sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()

    return learn


def microseconds(learn: Callable, xs: list, ys: list) -> float:
    start = time.perf_counter()
    for x, y in zip(xs, ys, strict=True):
        learn(x, y)
    return (time.perf_counter() - start) / len(xs) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden-sizes", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--ticks", type=int, default=300, help="of a round, for PyTorch")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"torch {torch.__version__}, numba {numba.__version__}, numpy {np.__version__}")
    print(f"{FEATURES} features, window {WINDOW}, stride 1, Adam; median (min-max) of rounds\n")
    print(f"{'H':>4}{'streamlstm us':>24}{'PyTorch us':>26}{'ratio':>8}")
    rng = np.random.default_rng(0)
    few, many = arguments.ticks, 10 * arguments.ticks
    xs, ys = rng.normal(size=(many, FEATURES)), rng.normal(size=many)
    tensors = list(torch.tensor(xs[:few], dtype=torch.float32))
    targets = list(torch.tensor(ys[:few], dtype=torch.float32))
    for hidden_size in arguments.hidden_sizes:
        ours, theirs = streamlstm_learner(hidden_size), torch_learner(hidden_size)
        microseconds(ours, xs[:few].tolist(), ys[:few].tolist())
        microseconds(theirs, tensors[:50], targets[:50])
        figures: tuple[list[float], list[float]] = ([], [])
        for _ in range(arguments.rounds):  # in turn, so that a busy machine slows down both
            figures[0].append(microseconds(ours, xs.tolist(), ys.tolist()))
            figures[1].append(microseconds(theirs, tensors, targets))
        shown = [f"{statistics.median(f):.1f} ({min(f):.1f}-{max(f):.1f})" for f in figures]
        ratio = statistics.median(b / a for a, b in zip(*figures, strict=True))
        print(f"{hidden_size:>4}{shown[0]:>24}{shown[1]:>26}{ratio:>7.0f}x", flush=True)


if __name__ == "__main__":
    main()
