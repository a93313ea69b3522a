"""The newest entries of many streams, for batches that mix ticks of all of them."""

from collections.abc import Hashable, Sequence

import numpy as np


class History:
    """Keeps the newest entries of each stream, so that new ones can look back at them.

    Memory does not grow with the length of the streams.

    Parameters
    ----------
    depth
        How many entries to look back.
    blank
        An entry, a number or an array, that stands for those before the first of a stream.

    Examples
    --------
    >>> history = History(1, -1)
    >>> entries, at = history.push(["a", "b", "a"], np.array([5, 6, 7]))
    >>> entries[at - 1]
    array([-1, -1,  5])
    >>> entries, at = history.push(["b", "a"], np.array([8, 9]))
    >>> entries[at - 1]
    array([6, 7])

    """

    def __init__(self, depth: int, blank: object):
        self.depth = depth
        self._blank = np.asarray(blank)
        self._rows: dict[Hashable, int] = {}
        self._newest = np.empty((0, depth, *self._blank.shape), self._blank.dtype)

    def push(
        self, keys: Sequence[Hashable] | None, entries: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Append (T, ...) entries, each to the stream of its key; keys of None mean one stream.

        Returns an array with the entries sorted by stream, each stream preceded by its `depth`
        earlier entries, and (T,) the place of each entry in it. So the entry d steps earlier in the
        same stream, d <= depth, is d places before it.
        """
        ticks, depth = len(entries), self.depth
        rows = self._rows_of(keys, ticks)
        present, stream, counts = np.unique(rows, return_inverse=True, return_counts=True)
        order = np.argsort(stream, kind="stable")
        at = np.empty(ticks, np.int64)
        at[order] = np.arange(ticks) + depth * (stream[order] + 1)
        ends = np.cumsum(counts + depth)
        before = (ends - counts)[:, None] - np.arange(depth, 0, -1)
        side_by_side = np.empty((ticks + depth * present.size, *self._blank.shape), entries.dtype)
        side_by_side[before] = self._newest[present]
        side_by_side[at] = entries
        self._newest[present] = side_by_side[ends[:, None] - np.arange(depth, 0, -1)]
        return side_by_side, at

    def last(self, key: Hashable | None = None) -> np.ndarray:
        """Return (depth, ...) the newest entries of a stream, oldest first."""
        return self._newest[self._rows[key]]

    def _rows_of(self, keys: Sequence[Hashable] | None, ticks: int) -> np.ndarray:
        """(T,) the row of each key's stream; room for rows grows by doubling."""
        for key in {None: None} if keys is None else dict.fromkeys(keys):
            self._rows.setdefault(key, len(self._rows))
        more = len(self._rows) - len(self._newest)
        if more > 0:
            blank = np.broadcast_to(
                self._blank, (max(more, len(self._newest)), *self._newest.shape[1:])
            )
            self._newest = np.concatenate([self._newest, blank])
        if keys is None:
            return np.zeros(ticks, np.int64)
        return np.fromiter(map(self._rows.__getitem__, keys), np.int64, ticks)
