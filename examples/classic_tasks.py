"""Classic benchmark tasks for recurrent networks, used by three of the examples.

Hochreiter & Schmidhuber (1997). Long short-term memory. Neural Computation 9.
Gers, Schmidhuber & Cummins (2000). Learning to forget. Neural Computation 12.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np

SYMBOLS = "BTPSXVE"


def embedded_reber() -> list[dict[str, int]]:
    """Grammar of the continual stream: for each state the legal symbols and the next states.

    A string is B, then T or P, then a Reber string, then the same T or P, then E; then the next
    string begins.
    """
    ends = 18
    states: list[dict[str, int]] = [{"B": 1}, {"T": 2, "P": 10}]
    for outer, first in states[1].items():
        string = [
            {"B": 1}, {"T": 2, "P": 3}, {"S": 2, "X": 4}, {"T": 3, "V": 5}, {"X": 3, "S": 6},
            {"P": 4, "V": 6}, {"E": 7},
        ]  # fmt: skip
        states += [{symbol: first + n for symbol, n in node.items()} for node in string]
        states.append({outer: ends})
    return [*states, {"E": 0}]


def reber_stream(rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Yield symbols without end, each with those that may follow it, which are equally likely."""
    grammar, state = embedded_reber(), 0
    while True:
        turns = list(grammar[state].items())
        symbol, state = turns[int(rng.integers(len(turns)))]
        yield symbol, "".join(grammar[state])


def one_hot(symbols: str) -> dict[str, float]:
    """1 for each of these symbols, 0 for all others."""
    return {symbol: float(symbol in symbols) for symbol in SYMBOLS}


def adding_problem(rng: np.random.Generator, length: int) -> tuple[np.ndarray, float]:
    """(T, 2) values and markers, and the target: 0.5 + a quarter of the sum of the marked values.

    Values are uniform in [-1, 1]; T is `length` plus up to a tenth. Marker 1 is given to one of the
    first ten values and to one of the first half, -1 to the first and the last value, and 0 to all
    others. If the first value is drawn, its marker stays -1 and it counts as 0.
    """
    T = length + int(rng.integers(length // 10 + 1))
    sequence = np.zeros((T, 2))
    sequence[:, 0] = rng.uniform(-1, 1, T)
    first, second = int(rng.integers(10)), int(rng.integers(T // 2 - 2))
    second += second >= first  # so that the two differ
    sequence[[first, second], 1] = 1
    sequence[[0, -1], 1] = -1
    marked = sequence[:, 1] == 1
    return sequence, 0.5 + float(sequence[marked, 0].sum()) / 4


ORDER = "EBabcdXY"


def temporal_order(rng: np.random.Generator, length: int) -> tuple[np.ndarray, str]:
    """(T, 8) one-hot symbols, and which of X and Y came first and second: task 6a.

    T is `length` plus up to a tenth. The first symbol is E, the last B, and the others are drawn
    from a, b, c, d, except for two that are X or Y: one in the second tenth and one in the sixth.
    """
    tenth = length // 10
    T = length + int(rng.integers(tenth + 1))
    symbols = rng.integers(2, 6, T)
    symbols[0], symbols[-1] = 0, 1
    two = rng.integers(6, 8, 2)
    for symbol, earliest in zip(two, (tenth, 5 * tenth), strict=True):
        symbols[earliest + int(rng.integers(tenth + 1))] = symbol
    return np.eye(len(ORDER))[symbols], "".join(ORDER[n] for n in two)


def learn_and_test(
    attempt: Callable[[bool], bool], enough: int, most: int = 200_000
) -> tuple[int | None, int]:
    """Learn until `enough` sequences in a row are right, then test with 2,560 new ones.

    Returns how many sequences were learned, None if more than `most` were needed, and how many of
    the new ones were wrong. attempt(learning) tries one sequence and returns whether it was right.
    """
    in_a_row, learned = 0, None
    for n in range(1, most + 1):
        in_a_row = in_a_row + 1 if attempt(True) else 0
        if in_a_row == enough:
            learned = n
            break
    return learned, sum(not attempt(False) for _ in range(2560))


def run(
    solve: Callable[[int, int, int], tuple[int | None, int]], description: str, elements: str
) -> None:
    """Command line of an example: solve a task and print the result of `learn_and_test`.

    solve: takes the length of sequences, how many must be right in a row, and the seed; elements:
    what a sequence consists of.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--full", action="store_true", help=f"100 {elements}, 2,000 in a row")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    length, enough = (100, 2000) if options.full else (30, 500)
    learned, wrong = solve(length, enough, options.seed)
    print(f"{length} {elements}: {learned} sequences learned, {wrong} of 2560 new ones wrong")
