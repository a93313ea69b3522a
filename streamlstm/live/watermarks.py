"""Which ticks are new: the sequence numbers of each stream must grow."""

from typing import Any

import numpy as np

from .batch import Batch

_LEAST = np.iinfo(np.int64).min


class Watermarks:
    """The largest sequence number of each stream so far.

    A tick whose number is not larger is a duplicate or comes too late.

    Examples
    --------
    >>> from dataclasses import replace
    >>> ticks = Batch(np.ones(4), {}, None, [""] * 4, ["a", "b", "a", "a"])
    >>> marks = Watermarks()
    >>> marks.passed(replace(ticks, sequence=np.array([5, 5, 5, 6]))).tolist()
    [True, True, False, True]

    """

    def __init__(self, state: Any = None):
        self._of: dict[str | None, int] = {}
        if state is not None:
            self._of = dict(zip(state["keys"], state["numbers"].tolist(), strict=True))

    def passed(self, batch: Batch) -> np.ndarray:
        """Return (T,) whether each tick is above the watermark of its stream, and raise that."""
        assert batch.sequence is not None
        marks = self._of
        keys = [None] * len(batch) if batch.keys is None else batch.keys
        new = np.empty(len(batch), np.bool_)
        for n, (key, number) in enumerate(zip(keys, batch.sequence.tolist(), strict=True)):
            new[n] = number > marks.get(key, _LEAST)
            if new[n]:
                marks[key] = number
        return new

    def state(self) -> dict[str, Any]:
        """Return what a snapshot holds, to be handed to the constructor later."""
        return {"keys": list(self._of), "numbers": np.array(list(self._of.values()), np.int64)}
