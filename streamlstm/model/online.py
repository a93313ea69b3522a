"""Base classes of the estimators: a network, the columns of its features, and a lock."""

import abc
import copy
import threading
from collections import deque
from collections.abc import Collection, Container, Hashable, Mapping
from typing import Any, Self, SupportsIndex

import numpy as np

from ..errors import InputError
from ..kernels.layout import CLOCK, Settings
from ..kernels.scaling import CATEGORY, SCALER, Scaler, scaler_views
from .checks import (
    check_learning,
    check_lookahead,
    check_number,
    check_settings,
    parameters_of,
    plain,
)
from .columns import Columns
from .display import as_html, as_text, changed_parameters
from .features import as_column, as_table
from .network import Network


class OnlineModel(abc.ABC):
    """A network that learns online, safe to share between threads.

    Kernels run without the GIL, so every method that uses the buffers holds the model's lock:
    threads that share a model take turns, and threads with a model each run in parallel.
    """

    cell: str
    learning: str

    def _build(
        self, settings: Settings, counters: int, seed: int | None, cell: str, learning: str
    ) -> None:
        self._columns = Columns()
        self._network = Network(settings, counters, seed, cell, learning)
        self._kernels = self._entries(cell, learning)
        self._lock = threading.Lock()

    @staticmethod
    @abc.abstractmethod
    def _entries(cell: str, learning: str) -> Any:
        """Return the compiled kernels for a cell and a learning rule."""

    @property
    def _rule(self) -> str:
        """The learning rule of the kernels, one of `kernels.rules.RULES`."""
        return self.learning

    def _parameters(self) -> dict[str, Any]:
        """The constructor's arguments by name, in a form that can be compared."""
        return parameters_of(self)

    def _facts(self) -> dict[str, str]:
        """Facts about the model's state, by name, for display."""
        with self._lock:  # another thread may be adding features
            network = self._network
            return {
                "ticks": f"{int(network.clock[CLOCK.ticks]):,}",
                "features": ", ".join(map(str, self._columns.index)) or "none",
                "weights": f"{sum(weights.size for weights in network.params.values()):,}",
            }

    def __repr__(self) -> str:
        return as_text(type(self).__name__, changed_parameters(self), self._facts())

    __str__ = __repr__  # river's is the name of the class

    def _repr_html_(self) -> str:
        return as_html(type(self).__name__, self._parameters(), self._facts())

    def summary(self) -> None:
        """Print layers, output shapes and parameter counts."""
        print(self._network.summary(type(self).__name__))

    @abc.abstractmethod
    def _add_features(self, names: list[Hashable]) -> None:
        """Add inputs for those of the names that are new."""

    def _row(self, x: Mapping[Any, Any]) -> np.ndarray:
        """(F,) features of a tick in column order, NaN where absent; new names get columns."""
        row = self._columns.known_row(x)
        if row is None:
            numbers = self._columns.numbers(x)
            self._add_features(list(numbers))
            row = self._columns.row(numbers)
        return row

    def _array_row(self, x: Any) -> np.ndarray:
        """(F,) features given as an array; their names are 0, 1, ..."""
        row = np.array(x, np.float64)
        if row.ndim != 1:
            raise InputError(f"expected the features of one tick, (F,), got shape {row.shape}")
        if not self._columns.index:
            self._add_features(list(range(row.size)))
        if row.size != len(self._columns.index) or not self._columns.plain:
            known = ", ".join(map(repr, self._columns.index)) or "none"
            raise InputError(f"got an array of {row.size} features, but those known are {known}")
        return row

    def _state(self) -> dict[str, Any]:
        """The state for `__setstate__`, not copied; the caller must hold the lock."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_kernels")}

    def _restore(self, other: Self) -> None:
        """Take over the state of another model of the same class and parameters."""
        with self._lock:
            self.__dict__.update({k: v for k, v in other.__dict__.items() if k != "_lock"})

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:  # so that no half-learned tick is copied
            return copy.deepcopy(self._state())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._kernels = self._entries(self.cell, self._rule)
        self._lock = threading.Lock()


class FeatureModel(OnlineModel):
    """A model whose network reads features, numbers and text; each has a channel of the scaler.

    With a lookahead of d ticks, targets wait in a queue until their tick is predicted.
    """

    _targets = 1  # how many targets; their channels of the scaler precede those of the features
    _missing: Any = np.nan  # stands for a missing target

    def __init__(
        self,
        hidden_size: SupportsIndex = 32,
        num_layers: SupportsIndex = 1,
        cell: str = "lstm",
        learning: str = "tbptt",
        window: SupportsIndex = 20,
        stride: SupportsIndex = 1,
        learning_rate: float = 0.002,
        optimizer: str = "adam",
        loss: str = "squared",
        clip_norm: float = 1.0,
        scaling: bool = True,
        embedding_size: SupportsIndex = 16,
        lookahead: SupportsIndex = 0,
        bidirectional: bool = False,
        seed: SupportsIndex | None = 0,
    ):
        self.hidden_size = plain(hidden_size)
        self.num_layers = plain(num_layers)
        self.cell = cell
        self.learning = learning
        self.window = plain(window)
        self.stride = plain(stride)
        self.learning_rate = plain(learning_rate)
        self.optimizer = optimizer
        self.loss = loss  # used by regressors only
        self.clip_norm = plain(clip_norm)
        self.scaling = plain(scaling)
        self.embedding_size = plain(embedding_size)
        self.lookahead = plain(lookahead)
        self.bidirectional = plain(bidirectional)
        self.seed = plain(seed)
        check_learning(cell, learning, self.stride)
        check_lookahead(self.lookahead, self.bidirectional, learning, self.stride)
        settings = check_settings(
            self.hidden_size, self.num_layers, self.window, self.stride, self.learning_rate,
            optimizer, loss, self.clip_norm,
            output_size=self._targets, embedding_size=self.embedding_size,
        )  # fmt: skip
        if self.bidirectional:
            settings = settings._replace(lookahead=self.lookahead, directions=2)
        self._build(settings, CLOCK.periods, self.seed, cell, self._rule)
        self._stats = self._new_stats(self._targets)
        self._begin_sequence()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self._stats.size != SCALER * (self._targets + len(self._columns.index)):
            raise ValueError("another version of streamlstm made these buffers")

    @property
    def _rule(self) -> str:
        return "bidirectional" if self.bidirectional else self.learning

    def _begin_sequence(self) -> None:
        """Begin a new sequence: forget the recurrent state and the targets that wait."""
        self._network.reset_state()
        self._waiting = deque([self._missing] * self.lookahead)

    def _delayed(self, targets: Collection[Any]) -> list[Any]:
        """Queue these targets; return as many that are `lookahead` ticks old, to be learned now."""
        self._waiting.extend(targets)
        return [self._waiting.popleft() for _ in targets]

    @property
    def learning_rate(self) -> float:
        """Step size of the optimiser. Set it between ticks to follow a schedule."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        check_number("learning_rate", rate)
        self._learning_rate = plain(rate)
        if hasattr(self, "_network"):
            with self._lock:
                self._network.set_learning_rate(rate)

    @property
    def _scaler(self) -> Scaler:
        """Views of the scaler's statistics: channels of the targets, then of the features."""
        return scaler_views(self._stats, self._stats.size // SCALER)

    def _new_stats(self, channels: int) -> np.ndarray:
        """Initial statistics of channels; without scaling they are fixed to change nothing."""
        stats = np.zeros(SCALER * channels)
        if not self.scaling:
            scaler = scaler_views(stats, channels)
            scaler.counts[:], scaler.spread[:] = np.inf, 1.0
        return stats

    def reset_state(self) -> None:
        """End a sequence: the next tick is the first of a new one.

        The state is set to zero, and no gradient reaches back beyond this point. Ticks that wait
        for the next update are learned now. With a lookahead of d ticks, the last d ticks are not
        predicted and their targets are dropped; to predict them, first learn d ticks without a
        target.
        """
        with self._lock:
            network = self._network
            if network.clock[CLOCK.labelled]:
                self._kernels.flush(*network.buffers)
            self._begin_sequence()

    def _row(self, x: Mapping[Any, Any]) -> np.ndarray:
        """(F,) features of a tick in column order, NaN where absent; new names get columns."""
        row = self._columns.known_row(x)
        if row is None:
            values = self._columns.values(x)
            texts = {name: value for name, value in values.items() if isinstance(value, str)}
            self._add_columns([name for name, value in values.items() if value == value], texts)
            row = self._columns.row(values)
            for name, text in texts.items():
                self._columns.learn_texts(name, [text])
            self._network.add_embeddings(self._columns.texts)
        return row

    def _known_row(self, x: Mapping[Any, Any]) -> np.ndarray:
        """(F,) features of a tick to predict in column order; unknown names are ignored."""
        row = self._columns.known_row(x)
        return self._columns.row(self._columns.values(x)) if row is None else row

    def _matrix(self, X: Any, ticks: int) -> np.ndarray:
        """(T, F) features of T ticks in column order, NaN where absent; new names get columns."""
        table = as_table(X, ticks, as_column)
        self._columns.check(table)
        texts = {name for name, column in table.items() if column.dtype == object}
        self._add_columns(
            [n for n, column in table.items() if n in texts or (column == column).any()], texts
        )
        matrix = self._columns.matrix(table, ticks)
        self._network.add_embeddings(self._columns.texts)
        return matrix

    def _add_features(self, names: list[Hashable]) -> None:
        self._add_columns(names, ())

    def _add_columns(self, names: list[Hashable], categories: Container[Hashable]) -> None:
        """Add columns for those of the features that are new; categories: those with text."""
        new = self._columns.new_names(names)
        if not new:
            return
        self._columns.add(new, categories)
        self._network.add_inputs(new, categories)
        self._grow_stats(0, len(new))
        for name in self._columns.vocabularies:
            self._scaler.counts[self._targets + self._columns.index[name]] = CATEGORY

    def _grow_stats(self, targets: int, features: int) -> None:
        """Add channels to the scaler for this many new targets and features."""
        old, K = self._scaler, self._targets
        F = old.counts.size - K
        self._targets = K + targets
        self._stats = self._new_stats(K + targets + F + features)
        for larger, smaller in zip(self._scaler, old, strict=True):
            larger[:K] = smaller[:K]
            larger[K + targets : K + targets + F] = smaller[K:]
