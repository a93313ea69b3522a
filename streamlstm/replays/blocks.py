"""Sums over blocks of the ticks of streams, of which there are few, however long the streams."""

from typing import Any

import numpy as np

KEPT = 1 << 17  # ticks of all streams together, up to which each is kept
WAITING = 1 << 14  # ticks that wait to be sorted in


class Blocks:
    """Sums of several columns over consecutive ticks of streams, by row.

    As long as there are `KEPT` ticks at most, each is a block. From then on a block that begins at
    tick t of its stream has as many ticks as the largest power of two in t / fineness, or one, and
    the last, unfinished one is in parts that are powers of two. So memory grows with the logarithm
    of the ticks, and sums do not depend on how the ticks came in batches.

    Parameters
    ----------
    columns
        How many sums, C. The last is no sum of its ticks' numbers but the root of that of squares.
    fineness
        Blocks in each doubling of a stream's length, a power of two.

    Examples
    --------
    >>> blocks = Blocks(2, fineness=4)
    >>> blocks.add(np.array([0, 0, 1]), np.array([[1.0, 3.0], [2.0, 4.0], [5.0, 6.0]]))
    >>> [(sizes.tolist(), sums.tolist()) for sizes, sums in blocks.streams()]
    [([1, 1], [[1.0, 3.0], [2.0, 4.0]]), ([1], [[5.0, 6.0]])]

    """

    def __init__(self, columns: int, fineness: int):
        self._fineness = fineness
        self._rows = np.empty(0, np.int32)  # of the blocks; in their order, those of a stream too
        self._sizes = np.empty(0, np.int64)  # ticks in them
        self._sums = np.empty((0, columns))
        self._added: list[tuple[np.ndarray, np.ndarray]] = []  # since then, rows and numbers
        self._waiting = 0  # ticks in it

    def add(self, rows: np.ndarray, numbers: np.ndarray) -> None:
        """Append T ticks, each to the stream of its row, with their numbers, (T, C)."""
        self._added.append((rows.astype(np.int32), numbers))
        self._waiting += rows.size
        if self._waiting > max(WAITING, self._rows.size // 2):
            self._sort_in()

    def streams(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Ticks in the blocks and their sums, (B,) and (B, C), of each stream by row."""
        self._sort_in()
        starts = np.flatnonzero(np.diff(self._rows))
        return list(
            zip(np.split(self._sizes, starts + 1), np.split(self._sums, starts + 1), strict=True)
        )

    def __getstate__(self) -> dict[str, Any]:
        self._sort_in()
        return self.__dict__

    def _sort_in(self) -> None:
        """Bring the ticks that wait into their streams, and make blocks of them if it is time."""
        if not self._added:
            return
        rows, sums = zip(*self._added, strict=True)
        self._rows = np.concatenate([self._rows, *rows])
        self._sums = np.concatenate([self._sums, *sums])
        self._sizes = np.concatenate([self._sizes, np.ones(self._waiting, np.int64)])
        self._added, self._waiting = [], 0
        if np.any(np.diff(self._rows) < 0):
            order = np.argsort(self._rows, kind="stable")
            self._rows, self._sizes = self._rows[order], self._sizes[order]
            self._sums = self._sums[order]
        if self._sizes.sum() > KEPT:
            self._merge()

    def _merge(self) -> None:
        """Merge blocks side by side until they are as large as they may be."""
        ends = np.cumsum(self._sizes)
        starts = ends - self._sizes
        first = np.diff(self._rows, prepend=-1) > 0  # of its stream
        starts -= np.repeat(starts[first], np.diff(np.flatnonzero(first), append=first.size))
        doublings = np.frexp(np.maximum(starts // self._fineness, 1))[1] - 1
        largest, size = 1 << doublings.astype(np.int64), 1
        while 2 * size <= largest.max():
            sizes, rows = self._sizes, self._rows
            pairs = (sizes[:-1] == size) & (sizes[1:] == size) & (rows[:-1] == rows[1:])
            pairs &= (starts[:-1] % (2 * size) == 0) & (largest[:-1] > size)
            left = np.flatnonzero(pairs)
            self._sums[left, :-1] += self._sums[left + 1, :-1]
            self._sums[left, -1] = np.hypot(self._sums[left, -1], self._sums[left + 1, -1])
            sizes[left] = 2 * size
            self._rows, self._sizes = np.delete(rows, left + 1), np.delete(sizes, left + 1)
            self._sums = np.delete(self._sums, left + 1, axis=0)
            starts, largest = np.delete(starts, left + 1), np.delete(largest, left + 1)
            size *= 2
