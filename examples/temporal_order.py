"""Temporal order: which of two symbols came first and which second in a long sequence of others?

Run with `python examples/temporal_order.py`: sequences of 30 symbols, a few seconds. `--full` is
task 6a of Hochreiter & Schmidhuber (1997), with 100 symbols: learn until 2,000 sequences in a row
are right, with all class probabilities less than 0.3 off, then count failures among 2,560 new ones.
Theirs needed 31,390 sequences.
"""

import numpy as np
from classic_tasks import learn_and_test, run, temporal_order

from streamlstm import LSTMClassifier


def solve(length: int, enough: int, seed: int) -> tuple[int | None, int]:
    """Learn and test a network: see `learn_and_test`."""
    rng = np.random.default_rng(seed)
    model = LSTMClassifier(
        hidden_size=16, cell="lstm1997", window=length + length // 10, learning_rate=0.001,
        scaling=False, seed=seed,
    )  # fmt: skip

    def attempt(learning: bool) -> bool:
        sequence, order = temporal_order(rng, length)
        labels: list[str | None] = [None] * len(sequence)  # only the last tick has a label
        if learning:
            labels[-1] = order
        model.reset_state()
        last = model.learn_many(sequence, labels)[-1]
        probabilities = dict(zip(model.classes_, last, strict=True))
        return len(probabilities) > 1 and all(
            abs(probability - (label == order)) < 0.3
            for label, probability in probabilities.items()
        )

    return learn_and_test(attempt, enough)


if __name__ == "__main__":
    run(solve, __doc__.splitlines()[0], "symbols")
