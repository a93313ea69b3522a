"""`LSTMClassifier`: a class from features, learned tick by tick with memory of what came before."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np
from river.base import Classifier

from .errors import InputError
from .kernels import classifier as kernels
from .model.features import FloatArray
from .model.online import FeatureModel


def _is_missing(label: Any) -> bool:
    return label is None or (isinstance(label, float) and label != label)


class LSTMClassifier(FeatureModel, Classifier):
    """Online LSTM classification.

    `learn_one` advances the recurrent state by one tick and trains on its class; `predict_one` and
    `predict_proba_one` answer for the tick that would come next and leave the state as it is.
    Classes are known from the first tick that has them on; the loss is the cross-entropy of their
    softmax. A tick without a label only advances the state, so that a sequence can be learned from
    its last tick alone; `reset_state` ends it.

    Parameters
    ----------
    hidden_size, num_layers, cell, learning, window, stride
        As in `LSTMRegressor`.
    learning_rate, optimizer, clip_norm, scaling
        As in `LSTMRegressor`.
    embedding_size, seed
        As in `LSTMRegressor`.
    lookahead, bidirectional
        As in `LSTMRegressor`. A class is known once it has been learned, `lookahead` ticks after it
        came.

    Notes
    -----
    A text is a category and counts as its embedding, a row of a table that is learned with the
    weights; one that has never been learned counts as zeros. The table grows with the texts that
    come: it is for names and words, not for free text.

    A missing feature (absent, None or NaN) counts as its mean. Threads may share a classifier: they
    take turns.

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
        """River wants a class to be known at once; with a lookahead it is once it was learned."""
        return {"check_predict_proba_one"} if self.lookahead else set()

    @property
    def classes_(self) -> list[Hashable]:
        """Classes in the order in which they were first seen."""
        return list(self._classes)

    def learn_one(self, x: Mapping[Any, Any], y: Any) -> None:
        """Advance by one tick and learn its class.

        Parameters
        ----------
        x
            Features by name, numbers or text. Names and texts may appear, vanish and return in any
            order; dates and times are passed over.
        y
            The class, anything hashable; None or NaN if it is missing.

        Raises
        ------
        InputError
            If a feature is neither number nor text or not what it was so far, or the class not
            hashable. The model has not changed then.

        """
        label = self._check(y)
        with self._lock:
            row = self._row(x)
            self._learn(row[None], [label])

    def predict_proba_one(self, x: Mapping[Any, Any], **kwargs: Any) -> dict[Any, float]:
        """Probability of each class known so far at the next tick; the model stays as it is.

        With a lookahead of d ticks: at the tick d before the next, whose features are x. Features
        that have never been learned are ignored.

        Raises
        ------
        InputError
            If a feature is neither number nor text, or not what it was so far.

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
            A DataFrame or mapping with a (T,) column a feature, or a (T, F) array, whose columns
            are then named 0, 1, ...
        y
            T classes, None or NaN where missing.

        Returns
        -------
        (T, K) probabilities, each made before its class was seen; a column for each of `classes_`
        as they are after the call, 0 before a class was first learned. With a lookahead of d ticks
        row t is for tick t - d.

        Raises
        ------
        InputError
            As for `learn_one`, or if the lengths differ. The model has
            not changed then.

        """
        labels = [self._check(label) for label in np.asarray(y, object)]
        with self._lock:
            return self._learn(self._matrix(X, len(labels)), labels)

    def _check(self, label: Any) -> Hashable:
        if _is_missing(label):
            return None
        try:
            hash(label)
        except TypeError as error:
            raise InputError(f"a class must be hashable, got {label!r}") from error
        return label

    def _learn(self, features: np.ndarray, labels: Sequence[Hashable]) -> FloatArray:
        """Give new classes a number, then learn; features: (T, F)."""
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
