"""The streams of a fleet as they are at one moment, copied while the fleet goes on."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakSet

copying = threading.Lock()  # held by threads that copy, so that no process forks meanwhile
_copies_in_progress = WeakSet["FleetCopy"]()


def _after_fork() -> None:
    """Nobody copies in a forked child."""
    copying.release()
    for each in _copies_in_progress:
        each.waiting.clear()


os.register_at_fork(
    before=copying.acquire, after_in_parent=copying.release, after_in_child=_after_fork
)


class FleetCopy:
    """Copies of models by row, each made before the model changes or when there is time.

    So all of them are of the moment when this was made. Whoever calls a method, but for `taken`,
    holds the lock of the fleet.

    models: what is to be copied, None for what is not; copy: makes a copy.
    """

    def __init__(self, models: Mapping[int, Any], copy: Callable[[Any], Any]):
        self.rows = list(models)
        self.unchanged = [row for row, model in models.items() if model is None]
        self.waiting = {row: model for row, model in models.items() if model is not None}
        self._copy = copy
        self._copies: dict[int, Any] = {}
        _copies_in_progress.add(self)

    def before_change(self, rows: Iterable[int]) -> None:
        """Copy models that are about to change, those of them that wait."""
        if self.waiting:
            for row in rows:
                if row in self.waiting:
                    self._copies[row] = self._copy(self.waiting.pop(row))

    def copy_for(self, seconds: float) -> bool:
        """Copy models for so long, at least one; whether there are more."""
        end = time.perf_counter() + seconds
        while self.waiting:
            row, model = self.waiting.popitem()
            self._copies[row] = self._copy(model)
            if time.perf_counter() > end:
                break
        return bool(self.waiting)

    def taken(self) -> Iterable[tuple[int, Any]]:
        """The copies that there are, with their rows, each once; for one thread."""
        while self._copies:
            yield self._copies.popitem()
