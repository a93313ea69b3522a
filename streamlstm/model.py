"""What the estimators share: a network, the columns of their features, and one lock."""

import abc
import copy
import threading
from collections.abc import Hashable
from typing import Any

import numpy as np

from .errors import InputError
from .features import Columns
from .layout import Settings
from .network import Network


class OnlineModel(abc.ABC):
    """A network that learns online, safe to share between threads.

    Kernels run without the GIL, so everything that touches the buffers holds the model's lock:
    threads that share one model take turns, threads with a model each run in parallel.
    """

    def _build(self, settings: Settings, counters: int, seed: int | None) -> None:
        self._columns = Columns()
        self._network = Network(settings, counters, seed)
        self._lock = threading.Lock()

    def summary(self) -> None:
        """Print layers, output shapes and parameter counts."""
        print(self._network.summary(type(self).__name__))

    @abc.abstractmethod
    def _add_features(self, names: list[Hashable]) -> None:
        """Make room for those of the names that are new."""

    def _row(self, x: dict[Hashable, Any]) -> np.ndarray:
        """(F,) features of a tick in column order, NaN where absent; new ones get a column."""
        row = self._columns.known_row(x)
        if row is None:
            numbers = self._columns.numbers(x)
            self._add_features(list(numbers))
            row = self._columns.row(numbers)
        return row

    def _array_row(self, x: Any) -> np.ndarray:
        """(F,) features given as an array, whose columns are named 0, 1, ..."""
        row = np.array(x, np.float64)
        if row.ndim != 1:
            raise InputError(f"expected the features of one tick, (F,), got shape {row.shape}")
        if not self._columns.index:
            self._add_features(list(range(row.size)))
        if row.size != len(self._columns.index) or not self._columns.numbered:
            known = ", ".join(map(repr, self._columns.index)) or "none"
            raise InputError(f"got an array of {row.size} features, but those known are {known}")
        return row

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:  # no copy of a tick half learned
            return copy.deepcopy({k: v for k, v in self.__dict__.items() if k != "_lock"})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
