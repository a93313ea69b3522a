"""A dependency ten times as long as the window: what each learning rule makes of it.

A cue of +1 or -1, silence, and `distance` ticks later the question what it was; episodes follow
each other without a reset. The error is the mean absolute one of the last tenth of the episodes:
always answering 0 gives 1. Every cell and rule has the same size, seeds and learning rates, and
shows the rate whose mean error over the seeds is the least.

What a cell forgets before it is asked, no rule can learn from. eLSTM begins with forget gates whose
memories are 2 to 56 ticks long, LSTM and GRU with about 4 and 2: these are also tried with gates
that begin as those of eLSTM. Only the question has a target, so that a tick seldom takes an update:
for its time see `cells.py`. Run with `python benchmarks/long_dependency.py`.
"""

import argparse
import time

import harness

harness.one_thread()

import numpy as np  # noqa: E402

from streamlstm import LSTMRegressor  # noqa: E402

HIDDEN, WINDOW = 16, 20
RATES = (0.001, 0.003, 0.01, 0.03)
AS_IT_IS, SPREAD = "as it is", "2 to 56 ticks"
SIDES = [
    ("elstm", "rtrl", AS_IT_IS),
    ("elstm", "tbptt", AS_IT_IS),
    ("lstm", "snap1", AS_IT_IS),
    ("lstm", "snap1", SPREAD),
    ("lstm", "tbptt", AS_IT_IS),
    ("lstm", "tbptt", SPREAD),
    ("gru", "snap1", AS_IT_IS),
    ("gru", "snap1", SPREAD),
    ("gru", "tbptt", AS_IT_IS),
    ("gru", "tbptt", SPREAD),
]


def stream(distance: int, episodes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cue and question, (T, 2), and targets, (T,), NaN where nothing is asked."""
    cues = np.random.default_rng(seed).choice([-1.0, 1.0], episodes)
    x = np.zeros((episodes, distance + 1, 2))
    y = np.full((episodes, distance + 1), np.nan)
    x[:, 0, 0], x[:, -1, 1], y[:, -1] = cues, 1.0, cues
    return x.reshape(-1, 2), y.ravel()


def spread_memories(model: LSTMRegressor) -> None:
    """Let f of an LSTM, or z of a GRU, begin as f of an eLSTM; i of an LSTM opens as f closes."""
    b = model._network.layers[0].b
    b[HIDDEN : 2 * HIDDEN] = np.linspace(0.0, 4.0, HIDDEN)
    if model.cell == "lstm":
        b[:HIDDEN] = -b[HIDDEN : 2 * HIDDEN]


def error_and_time(
    cell: str, learning: str, start: str, rate: float, x: np.ndarray, y: np.ndarray, seed: int
) -> tuple[float, float]:
    """Mean absolute error of the last tenth, and microseconds a tick."""
    model = LSTMRegressor(
        HIDDEN, cell=cell, learning=learning, window=WINDOW, learning_rate=rate, scaling=False,
        seed=seed,
    )  # fmt: skip
    model.learn_many(x[:1], y[:1])  # compiles
    model.reset_state()
    if start == SPREAD:
        spread_memories(model)
    began = time.perf_counter()
    errors = np.abs(model.learn_many(x, y) - y)
    seconds = time.perf_counter() - began
    return float(np.nanmean(errors[-len(y) // 10 :])), seconds / len(y) * 1e6


def main() -> None:
    """Every cell and rule at every learning rate, over several seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--distance", type=int, default=200)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    streams = [stream(arguments.distance, arguments.episodes, n) for n in range(arguments.seeds)]
    rows, data = [], []
    for cell, learning, start in SIDES:
        runs = {
            rate: [
                error_and_time(cell, learning, start, rate, *s, n) for n, s in enumerate(streams)
            ]
            for rate in RATES
        }
        errors = {rate: [error for error, _ in found] for rate, found in runs.items()}
        best = min(RATES, key=lambda rate: float(np.mean(errors[rate])))
        us = min(us for found in runs.values() for _, us in found)
        reached = errors[best]
        shown = f"{np.mean(reached):.3f} ({min(reached):.3f}-{max(reached):.3f})"
        rule = f"{learning}, window {WINDOW}" if learning == "tbptt" else learning
        rows.append([cell, rule, start, shown, f"{best:g}", f"{us:.2f}"])
        print(rows[-1], flush=True)
        data.append(
            {"cell": cell, "learning": learning, "start": start, "us": us, "errors": errors}
        )
    title = (
        f"A cue {arguments.distance} ticks ago, after {arguments.episodes:,} of them: error of the "
        f"last tenth, mean (min-max) of {arguments.seeds} seeds; always answering 0 gives 1"
    )
    header = ["cell", "rule", "memories at first", "error", "best learning rate", "us a tick"]
    harness.report("long_dependency", title, header, rows, data)


if __name__ == "__main__":
    main()
