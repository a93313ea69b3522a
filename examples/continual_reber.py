"""Predict which symbols may come next in an endless stream of embedded Reber strings.

The second symbol of a string returns as its last but one, so a network must remember it, and forget
it before the next string. The stream does not mark where strings begin. Forget gates were invented
for this task (Gers, Schmidhuber & Cummins 2000). The example compares a network with forget gates
to the LSTM of 1997, which has none.

Both learn from one stream, with a constant or a falling learning rate, and their state is never
reset. Then the weights are frozen and the stream continues: how many symbols lie between two
errors? A prediction is right if it is less than 0.49 off for all seven symbols. In the paper each
error ends a stream; `benchmarks/reber.py` follows that protocol and has the paper's table.

Run with `python examples/continual_reber.py`, a few seconds; `--full` runs ten networks per row.
"""

import argparse
from itertools import islice

import numpy as np
from classic_tasks import one_hot, reber_stream

from streamlstm import LSTMMultiTargetRegressor

LEARNED, FROZEN, CHUNK = 100_000, 100_000, 1000


def stream(ticks: int) -> tuple[np.ndarray, np.ndarray]:
    """(T, 7) one-hot symbols, and (T, 7) with 1 for those that may follow each."""
    pairs = list(islice(reber_stream(np.random.default_rng(0)), ticks))
    columns = zip(*pairs, strict=True)
    symbols, successors = (np.array([[*one_hot(s).values()] for s in part]) for part in columns)
    return symbols, successors


def symbols_between_errors(
    cell: str, falling: bool, seed: int, x: np.ndarray, y: np.ndarray
) -> tuple[int, int]:
    """Symbols between two errors, in the last tenth of learning and with frozen weights."""
    model = LSTMMultiTargetRegressor(16, cell=cell, scaling=False, seed=seed)
    predictions = np.empty_like(y)
    for start in range(0, LEARNED, CHUNK):
        part = slice(start, start + CHUNK)
        model.learning_rate = 0.003 * (1 - start / LEARNED if falling else 1)
        predictions[part] = model.learn_many(x[part], y[part])
    predictions[LEARNED:] = model.learn_many(x[LEARNED:], np.full((FROZEN, 7), np.nan))
    wrong = (np.abs(predictions - y) >= 0.49).any(axis=1)
    parts = wrong[LEARNED - LEARNED // 10 : LEARNED], wrong[LEARNED:]
    last, frozen = (part.size // (part.sum() + 1) for part in parts)
    return last, frozen


def main() -> None:
    """Print the median network of each cell, and how many networks make no error once frozen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="ten networks per row")
    nets = 10 if parser.parse_args().full else 1
    x, y = stream(LEARNED + FROZEN)
    print(f"symbols between errors, last {LEARNED // 10:,} learned and next {FROZEN:,} frozen")
    for cell in ("lstm", "lstm1997"):
        for falling in (False, True):
            rows = [symbols_between_errors(cell, falling, seed, x, y) for seed in range(nets)]
            last, frozen = (int(n) for n in np.median(rows, axis=0))
            never = sum(row[1] == FROZEN for row in rows)
            rate = "falling rate" if falling else "constant rate"
            print(f"{cell:<9}{rate:<14}{last:>7,}{frozen:>9,}   no error: {never} of {nets}")


if __name__ == "__main__":
    main()
