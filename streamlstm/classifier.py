"""`LSTMClassifier`: predicts a class from features and from the ticks before, learning online."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np
from river.base import Classifier

from .errors import InputError
from .kernels import classifier as kernels
from .model.features import FloatArray
from .model.online import FeatureModel


class LSTMClassifier(FeatureModel, Classifier):
    """Online LSTM classification.

    Predict the class of the next tick with `predict_one` or `predict_proba_one`, then train on it
    with `learn_one`, which also advances the recurrent state by one tick. Predicting does not
    change the state. A class is added when it first occurs; the loss is the cross-entropy of the
    softmax over all classes so far. A tick without a label advances the state and trains nothing,
    so a sequence may have a label at its last tick only; end it with `reset_state`.

    Parameters
    ----------
    hidden_size, num_layers, cell, learning, window, stride
        As in `LSTMRegressor`.
    learning_rate, optimizer, clip_norm, scaling
        As in `LSTMRegressor`.
    embedding_size, seed
        As in `LSTMRegressor`.
    lookahead, bidirectional
        As in `LSTMRegressor`. A new class is added when it is learned, `lookahead` ticks after it
        first occurred.

    Notes
    -----
    Text and missing features are treated as in `LSTMRegressor`. Threads may share a classifier:
    they take turns.

    Examples
    --------
    The class is what the feature was two ticks ago, which takes memory:

    >>> import numpy as np
    >>> from streamlstm import LSTMClassifier
    >>> bits = np.random.default_rng(0).integers(0, 2, 3000)
    >>> model = LSTMClassifier(hidden_size=8, window=4, learning_rate=0.01)
    >>> names = ["off" if bit == 0 else "on" for bit in bits]
    >>> probabilities = model.learn_many(bits[2:, None], names[:-2])
    >>> truth = np.array([model.classes_.index(name) for name in names[:-2]])
    >>> right = probabilities.argmax(axis=1) == truth
    >>> bool(right[:100].mean() < 0.7), bool(right[-100:].mean() > 0.95)
    (True, True)

    """

    _targets = 0
    _missing = None
    _entries = staticmethod(kernels.entries)

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
        clip_norm: float = 1.0,
        scaling: bool = True,
        embedding_size: SupportsIndex = 16,
        lookahead: SupportsIndex = 0,
        bidirectional: bool = False,
        seed: SupportsIndex | None = 0,
    ):
        super().__init__(
            hidden_size=hidden_size,
            num_layers=num_layers,
            cell=cell,
            learning=learning,
            window=window,
            stride=stride,
            learning_rate=learning_rate,
            optimizer=optimizer,
            clip_norm=clip_norm,
            scaling=scaling,
            embedding_size=embedding_size,
            lookahead=lookahead,
            bidirectional=bidirectional,
            seed=seed,
        )
        self._classes: dict[Hashable, int] = {}

    @property
    def _multiclass(self) -> bool:
        return True

    def _unit_test_skips(self) -> set[str]:
        """Skip river's check that a class is known at once: with a lookahead it is known later."""
        return {"check_predict_proba_one"} if self.lookahead else set()

    @property
    def classes_(self) -> list[Hashable]:
        """Classes in the order in which they were first learned."""
        return list(self._classes)

    def learn_one(self, x: Mapping[Any, Any], y: Any) -> None:
        """Advance by one tick and learn its class.

        Parameters
        ----------
        x
            Features by name, numbers or text. Names and texts may appear, vanish and return in any
            order. Dates and times are ignored.
        y
            The class, anything hashable; None or NaN if it is missing.

        Raises
        ------
        InputError
            If the class is not hashable, or a feature is neither a number nor text, or has changed
            from one to the other. The model has not changed then.

        """
        label = self._as_label(y)
        with self._lock:
            row = self._row(x)
            self._learn(row[None], [label])

    def predict_proba_one(self, x: Mapping[Any, Any], **kwargs: Any) -> dict[Any, float]:
        """Predict the probability of each class at the next tick; the model does not change.

        x holds the features of the next tick. With a lookahead of d ticks, the prediction is for
        the tick d before it. Features that were never learned are ignored.

        Raises
        ------
        InputError
            If a feature is neither a number nor text, or has changed from one to the other.

        """
        with self._lock:
            row = self._known_row(x)
            probabilities = np.zeros(len(self._classes))
            if self._classes:
                self._kernels.predict(probabilities, row, *self._network.buffers, self._stats)
            return dict(zip(self._classes, probabilities.tolist(), strict=True))

    def learn_many(self, X: Any, y: Sequence[Any]) -> FloatArray:
        """Predict, then learn from, each of T ticks in one call.

        Parameters
        ----------
        X
            A DataFrame or mapping with a (T,) column for each feature, or a (T, F) array, whose
            columns are then named 0, 1, ...
        y
            T classes, None or NaN where missing.

        Returns
        -------
        (T, K) probabilities, each row predicted before its class was learned. There is a column for
        each of `classes_` after the call; it is 0 until its class is learned. With a lookahead of d
        ticks row t is for tick t - d.

        Raises
        ------
        InputError
            As for `learn_one`, or if the lengths differ. The model has not changed then.

        """
        labels = [self._as_label(label) for label in np.asarray(y, object)]
        with self._lock:
            return self._learn(self._matrix(X, len(labels)), labels)

    def _as_label(self, label: Any) -> Hashable:
        """The class, None if it is missing; InputError if it is not hashable."""
        if label is None or (isinstance(label, float) and label != label):
            return None
        try:
            hash(label)
        except TypeError as error:
            raise InputError(f"a class must be hashable, got {label!r}") from error
        return label

    def _learn(self, features: np.ndarray, labels: Sequence[Hashable]) -> FloatArray:
        """Number the new classes, then predict and learn each tick; features: (T, F)."""
        numbers = np.full(len(labels), -1)
        for t, label in enumerate(self._delayed(labels)):
            if label is not None:
                numbers[t] = self._classes.setdefault(label, len(self._classes))
        K = len(self._classes)
        if new := K - self._network.settings.output_size:
            self._network.add_outputs(new)
        probabilities = np.zeros((len(labels), K))
        buffers = self._network.buffers
        self._kernels.learn_many(probabilities, features, numbers, *buffers, self._stats)
        return probabilities
