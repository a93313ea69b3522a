"""Sums over blocks of ticks; however long a stream, it has few blocks."""

from typing import Any

import numpy as np

KEPT = 1 << 17  # ticks of all streams together up to which each is a block of its own
WAITING = 1 << 14  # new ticks that are collected before they are merged into the blocks


class Blocks:
    """Sums of several columns over consecutive ticks of each of many streams.

    While there are at most `KEPT` ticks in all, each is a block. From then on the size of a block
    that starts at tick t of its stream is the largest power of two up to t / fineness, or 1. The
    last block of a stream may be unfinished; it is then kept in parts whose sizes are powers of
    two. So memory grows with the logarithm of the number of ticks, and the sums do not depend on
    how the ticks were split into batches.

    Parameters
    ----------
    columns
        How many columns, C. The last one holds roots of sums of squares instead of sums.
    fineness
        Blocks for each doubling of a stream's length, a power of two.

    Examples
    --------
    >>> blocks = Blocks(2, fineness=4)
    >>> blocks.add(np.array([0, 0, 1]), np.array([[1.0, 3.0], [2.0, 4.0], [5.0, 6.0]]))
    >>> [(sizes.tolist(), sums.tolist()) for sizes, sums in blocks.streams()]
    [([1, 1], [[1.0, 3.0], [2.0, 4.0]]), ([1], [[5.0, 6.0]])]

    """

    def __init__(self, columns: int, fineness: int):
        self._fineness = fineness
        self._rows = np.empty(0, np.int32)  # (B,) streams of the blocks, sorted, oldest block first
        self._sizes = np.empty(0, np.int64)  # (B,) ticks in the blocks
        self._sums = np.empty((0, columns))  # (B, C)
        self._added: list[tuple[np.ndarray, np.ndarray]] = []  # rows and numbers not in blocks yet
        self._waiting = 0  # ticks in `_added`

    def add(self, rows: np.ndarray, numbers: np.ndarray) -> None:
        """Append T ticks: rows (T,) say to which stream, numbers (T, C) are to be summed."""
        self._added.append((rows.astype(np.int32), numbers))
        self._waiting += rows.size
        if self._waiting > max(WAITING, self._rows.size // 2):
            self._absorb()

    def streams(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the sizes (B,) and sums (B, C) of the blocks of each stream, by row."""
        self._absorb()
        starts = np.flatnonzero(np.diff(self._rows))
        return list(
            zip(np.split(self._sizes, starts + 1), np.split(self._sums, starts + 1), strict=True)
        )

    def __getstate__(self) -> dict[str, Any]:
        self._absorb()
        return self.__dict__

    def _absorb(self) -> None:
        """Add the waiting ticks to the blocks of their streams; merge blocks if there are many."""
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
        """Merge neighbouring blocks of a stream up to the size that they may have."""
        ends = np.cumsum(self._sizes)
        starts = ends - self._sizes
        first = np.diff(self._rows, prepend=-1) > 0  # whether a block is the first of its stream
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
