"""`LSTMMultiTargetRegressor`: predicts several targets at once with one network."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from river.base import MultiTargetRegressor

from .kernels import regressor as kernels
from .model.columns import Columns
from .model.features import FloatArray, as_number, as_table
from .model.online import FeatureModel


class LSTMMultiTargetRegressor(FeatureModel, MultiTargetRegressor):
    """Online LSTM regression of several targets, which share the recurrent layers.

    Use it like `LSTMRegressor`, with targets by name. The head has an output for each target. The
    loss of a tick is the sum of the losses of its targets, each in units of its own running
    deviation. New targets may appear at any time, and any tick may lack some of them.

    Parameters
    ----------
    hidden_size, num_layers, cell, learning, window, stride
        As in `LSTMRegressor`.
    learning_rate, optimizer, loss, clip_norm, scaling
        As in `LSTMRegressor`.
    embedding_size, lookahead, bidirectional, seed
        As in `LSTMRegressor`.

    Examples
    --------
    >>> from streamlstm import LSTMMultiTargetRegressor
    >>> model = LSTMMultiTargetRegressor(hidden_size=8, learning_rate=0.01)
    >>> for n in range(1000):
    ...     model.learn_one({"phase": n % 4}, {"up": float(n % 4), "down": -10.0 * (n % 2)})
    >>> prediction = model.predict_one({"phase": 0})
    >>> {name: round(y) for name, y in prediction.items()}
    {'down': 0, 'up': 0}

    """

    _targets = 0
    _missing = ()  # a row without targets, so that targets added later are missing, too
    _entries = staticmethod(kernels.entries)

    def _build(self, *arguments: Any) -> None:
        super()._build(*arguments)
        self._target_columns = Columns()

    @property
    def targets_(self) -> list[Hashable]:
        """Names of the targets, in the order of the columns of `learn_many`."""
        return list(self._target_columns.index)

    def learn_one(self, x: Mapping[Any, Any], y: Mapping[Any, float | None], **kwargs: Any) -> None:
        """Advance by one tick and learn its targets.

        Parameters
        ----------
        x
            Features by name, numbers or text: see `LSTMRegressor.learn_one`.
        y
            Targets by name; a target that is absent, None or NaN is missing.
        kwargs
            Ignored; river may pass some.

        Raises
        ------
        InputError
            If a target is not a number, or a feature is neither a number nor text, or has changed
            from one to the other. The model has not changed then.

        """
        targets = {name: as_number(value, f"target {name!r}") for name, value in (y or {}).items()}
        with self._lock:
            row = self._row(x)
            self._add_targets(targets)
            self._learn(row[None], self._target_columns.row(targets)[None])

    def predict_one(self, x: Mapping[Any, Any]) -> dict[Hashable, float]:
        """Predict the targets of the next tick from its features x; the model does not change.

        Features that were never learned are ignored. A target is 0 before its first value.

        Raises
        ------
        InputError
            If a feature is neither a number nor text, or has changed from one to the other.

        """
        with self._lock:
            row = self._known_row(x)
            predictions = np.zeros(self._targets)
            if self._targets:
                buffers = self._network.buffers
                self._kernels.predict_targets(predictions, row, *buffers, self._stats)
            return dict(zip(self._target_columns.index, predictions.tolist(), strict=True))

    def learn_many(self, X: Any, y: Any) -> FloatArray:
        """Predict, then learn from, each of T ticks in one call.

        Parameters
        ----------
        X
            A DataFrame or mapping with a (T,) column for each feature, or a (T, F) array, whose
            columns are then named 0, 1, ...
        y
            Targets in the same form, NaN where missing.

        Returns
        -------
        (T, K) predictions, each made before its target was learned, with a column for each of
        `targets_`.

        Raises
        ------
        InputError
            As for `learn_one`, or if the lengths differ. The model has not changed then.

        """
        ticks = len(next(iter(y.values()), ())) if isinstance(y, Mapping) else len(y)
        table = as_table(y, ticks, what="target")
        with self._lock:
            matrix = self._matrix(X, ticks)
            self._add_targets(table)
            return self._learn(matrix, self._target_columns.matrix(table, ticks))

    def _add_targets(self, names: Mapping[Hashable, Any]) -> None:
        if new := self._target_columns.new_names(names):
            self._target_columns.add(new)
            self._network.add_outputs(len(new))
            self._grow_stats(len(new), 0)

    def _learn(self, features: np.ndarray, targets: np.ndarray) -> FloatArray:
        predictions = np.empty(targets.shape)
        if self.lookahead:
            delayed = self._delayed(targets)
            targets = np.full(targets.shape, np.nan)
            for row, known in zip(targets, delayed, strict=True):
                row[: len(known)] = known
        buffers = self._network.buffers
        self._kernels.learn_targets(predictions, features, targets, *buffers, self._stats)
        return predictions
