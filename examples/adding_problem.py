"""The adding problem: remember two of a hundred values and add them.

Run with `python examples/adding_problem.py`: sequences of 30 pairs, a few seconds. `--full` is the
task of Hochreiter & Schmidhuber (1997), with 100 pairs: learn until the errors of 2,000 sequences
in a row are below 0.04, then count failures among 2,560 new ones. Theirs needed 74,000 sequences,
with 1 failure.
"""

import numpy as np
from classic_tasks import adding_problem, learn_and_test, run

from streamlstm import LSTMRegressor


def solve(length: int, enough: int, seed: int) -> tuple[int | None, int]:
    """Learn and test a network: see `learn_and_test`."""
    rng = np.random.default_rng(seed)
    model = LSTMRegressor(
        hidden_size=16, cell="lstm1997", window=length + length // 10, learning_rate=0.002,
        scaling=False, seed=seed,
    )  # fmt: skip

    def attempt(learning: bool) -> bool:
        sequence, target = adding_problem(rng, length)
        targets = np.full(len(sequence), np.nan)  # only the last tick has a target
        if learning:
            targets[-1] = target
        model.reset_state()
        answer = model.learn_many(sequence, targets)[-1]
        return abs(answer - target) < 0.04

    return learn_and_test(attempt, enough)


if __name__ == "__main__":
    run(solve, __doc__.splitlines()[0], "pairs")
