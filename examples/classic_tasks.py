"""Streams and sequences on which recurrent networks have been compared since 1997.

Hochreiter & Schmidhuber (1997). Long short-term memory. Neural Computation 9.
Gers, Schmidhuber & Cummins (2000). Learning to forget. Neural Computation 12.
"""

from collections.abc import Callable, Iterator

import numpy as np

SYMBOLS = "BTPSXVE"


def embedded_reber() -> list[dict[str, int]]:
    """Grammar of the continual stream: at each state the legal symbols, and where they lead.

    B, then T or P, then a Reber string, then the same T or P, then E, and all over again.
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
    """Symbols without end, each with those that may follow it; turns are even chances."""
    grammar, state = embedded_reber(), 0
    while True:
        turns = list(grammar[state].items())
        symbol, state = turns[int(rng.integers(len(turns)))]
        yield symbol, "".join(grammar[state])


def one_hot(symbols: str) -> dict[str, float]:
    """1 for each of the symbols, 0 for the others."""
    return {symbol: float(symbol in symbols) for symbol in SYMBOLS}


def adding_problem(rng: np.random.Generator, length: int) -> tuple[np.ndarray, float]:
    """(T, 2) values and markers, and 0.5 + a quarter of the sum of the two marked values.

    Values are uniform in [-1, 1]; T is `length` and up to a tenth more. Marked 1 are one of the
    first ten values and one of the first half; the first and the last are marked -1, the others 0.
    Should the first be drawn, it stays -1 and counts as 0.
    """
    T = length + int(rng.integers(length // 10 + 1))
    sequence = np.zeros((T, 2))
    sequence[:, 0] = rng.uniform(-1, 1, T)
    first, second = int(rng.integers(10)), int(rng.integers(T // 2 - 2))
    second += second >= first  # another one
    sequence[[first, second], 1] = 1
    sequence[[0, -1], 1] = -1
    marked = sequence[:, 1] == 1
    return sequence, 0.5 + float(sequence[marked, 0].sum()) / 4


ORDER = "EBabcdXY"


def temporal_order(rng: np.random.Generator, length: int) -> tuple[np.ndarray, str]:
    """(T, 8) one-hot symbols, and which of X and Y came first and second: task 6a.

    T is `length` and up to a tenth more. E is the first, B the last, the others are drawn from
    a, b, c, d; but one within a tenth and two tenths and one within five and six is X or Y.
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
    """Sequences it takes until `enough` in a row are right, and how many of 2,560 new ones are not.

    None if that takes more than `most`. attempt(learning) does one more sequence.
    """
    row, learned = 0, None
    for n in range(1, most + 1):
        row = row + 1 if attempt(True) else 0
        if row == enough:
            learned = n
            break
    return learned, sum(not attempt(False) for _ in range(2560))
