"""Temporal order: which of two symbols came first, which second, in a long sequence of others?

Run with `python examples/temporal_order.py`: sequences of 30 symbols, a few seconds. `--full` is
task 6a of Hochreiter & Schmidhuber (1997), 100 symbols: learn until 2,000 sequences in a row are
right, no class 0.3 off or more, then count failures among 2,560 new ones. They needed 31,390.
"""

import argparse

import numpy as np
from classic_tasks import learn_and_test, temporal_order

from streamlstm import LSTMClassifier


def solve(length: int, enough: int, seed: int) -> tuple[int | None, int]:
    """Sequences learned, see `learn_and_test`, and failures afterwards."""
    rng = np.random.default_rng(seed)
    model = LSTMClassifier(
        hidden_size=16, cell="lstm1997", window=length + length // 10, learning_rate=0.001,
        scaling=False, seed=seed,
    )  # fmt: skip

    def attempt(learning: bool) -> bool:
        sequence, order = temporal_order(rng, length)
        labels: list[str | None] = [None] * len(sequence)  # none until the end
        if learning:
            labels[-1] = order
        model.reset_state()
        shares = model.learn_many(sequence, labels)[-1]
        chances = dict(zip(model.classes_, shares, strict=True))
        return len(chances) > 1 and all(
            abs(chance - (label == order)) < 0.3 for label, chance in chances.items()
        )

    return learn_and_test(attempt, enough)


def main() -> None:
    """Solve one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="100 symbols, 2,000 in a row")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    length, enough = (100, 2000) if options.full else (30, 500)
    learned, wrong = solve(length, enough, options.seed)
    print(f"{length} symbols: {learned} sequences learned, {wrong} of 2560 new ones wrong")


if __name__ == "__main__":
    main()
