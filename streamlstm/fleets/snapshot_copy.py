"""Copy the streams of a fleet as they are at one moment, while the fleet keeps learning."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakSet

copying = threading.Lock()  # held while copying, and before a fork: neither happens in the other
_copies_in_progress = WeakSet["FleetCopy"]()


def _after_fork() -> None:
    """Cancel all copies in a forked child, which has no thread to finish them."""
    copying.release()
    for each in _copies_in_progress:
        each.pending.clear()


os.register_at_fork(
    before=copying.acquire, after_in_parent=copying.release, after_in_child=_after_fork
)


class FleetCopy:
    """Copies of models by row, all as they were when this object was made.

    Each model is copied when there is time, or earlier if it is about to change. Callers of all
    methods except `take_copies` must hold the fleet's lock.

    models: by row, None for those that need no copy; copy: makes a copy of a model.
    """

    def __init__(self, models: Mapping[int, Any], copy: Callable[[Any], Any]):
        self.rows = list(models)
        self.unchanged = [row for row, model in models.items() if model is None]
        self.pending = {row: model for row, model in models.items() if model is not None}
        self._copy = copy
        self._copies: dict[int, Any] = {}
        _copies_in_progress.add(self)

    def before_change(self, rows: Iterable[int]) -> None:
        """Copy those models that are about to change and have not been copied yet."""
        if self.pending:
            for row in rows:
                if row in self.pending:
                    self._copies[row] = self._copy(self.pending.pop(row))

    def copy_for(self, seconds: float) -> bool:
        """Copy models, at least one, for this long; return whether some are left."""
        end = time.perf_counter() + seconds
        while self.pending:
            row, model = self.pending.popitem()
            self._copies[row] = self._copy(model)
            if time.perf_counter() > end:
                break
        return bool(self.pending)

    def take_copies(self) -> Iterable[tuple[int, Any]]:
        """Remove and yield the copies made so far, with their rows; for one thread only."""
        while self._copies:
            yield self._copies.popitem()
