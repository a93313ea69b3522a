"""The adding problem: remember two of a hundred values and add them up.

Run with `python examples/adding_problem.py`: sequences of 30 pairs, a few seconds. `--full` is the
task of Hochreiter & Schmidhuber (1997), 100 pairs: learn until 2,000 sequences in a row are less
than 0.04 off, then count failures among 2,560 new ones. They needed 74,000 sequences and 1 failed.
"""

import argparse

import numpy as np
from classic_tasks import adding_problem, learn_and_test

from streamlstm import LSTMRegressor


def solve(length: int, enough: int, seed: int) -> tuple[int | None, int]:
    """Sequences learned, see `learn_and_test`, and failures afterwards."""
    rng = np.random.default_rng(seed)
    model = LSTMRegressor(
        hidden_size=16, cell="lstm1997", window=length + length // 10, learning_rate=0.002,
        scaling=False, seed=seed,
    )  # fmt: skip

    def attempt(learning: bool) -> bool:
        sequence, target = adding_problem(rng, length)
        targets = np.full(len(sequence), np.nan)  # none until the end
        if learning:
            targets[-1] = target
        model.reset_state()
        answer = model.learn_many(sequence, targets)[-1]
        return abs(answer - target) < 0.04

    return learn_and_test(attempt, enough)


def main() -> None:
    """Solve one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="100 pairs, 2,000 in a row")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    length, enough = (100, 2000) if options.full else (30, 500)
    learned, wrong = solve(length, enough, options.seed)
    print(f"{length} pairs: {learned} sequences learned, {wrong} of 2560 new ones wrong")


if __name__ == "__main__":
    main()
