"""`LSTMRegressor`: a target from features, learned tick by tick with memory of what came before."""

from collections.abc import Hashable
from typing import Any

import numpy as np
from river.base import Regressor

from .features import as_number, as_table, as_vector
from .kernels import regressor as kernels
from .layout import CLOCK, SCALER, grow, scaler_views
from .model import OnlineModel
from .network import check_settings


class LSTMRegressor(OnlineModel, Regressor):
    """Online LSTM regression.

    `learn_one` advances the recurrent state by one tick and trains on its target;
    `predict_one` answers for the tick that would come next and leaves the state as it is.
    Features and target are standardised online. The head starts at zero, so that an untrained
    model predicts the running mean of the target.

    Parameters
    ----------
    hidden_size
        Units of the LSTM layer, H.
    num_layers
        LSTM layers; 1 in this version.
    window
        Ticks that an update's gradient reaches back, h of BPTT(h; h') [1].
    stride
        Ticks between updates, h'; at most `window`.
    learning_rate
        Step size of the optimiser; 0 freezes the weights.
    optimizer
        "adam", "rmsprop" or "sgd" (with momentum 0.9).
    loss
        "squared", "absolute" or "huber" (threshold: one mean absolute deviation of the target).
    clip_norm
        Largest global norm of a gradient.
    seed
        Of the initial weights; None draws one.

    Notes
    -----
    A missing feature (absent, None or NaN) counts as its mean. A missing target trains nothing;
    the state still advances. Threads may share a regressor: they take turns.

    References
    ----------
    [1] Williams & Peng (1990). An efficient gradient-based algorithm for on-line training of
        recurrent network trajectories. Neural Computation 2.

    Examples
    --------
    The target is the feature two ticks ago, which takes memory:

    >>> import numpy as np
    >>> from streamlstm import LSTMRegressor
    >>> bits = np.random.default_rng(0).integers(0, 2, 3000).astype(float)
    >>> model = LSTMRegressor(hidden_size=8, window=4, learning_rate=0.01)
    >>> predictions = model.learn_many(bits[2:, None], bits[:-2])
    >>> error = np.abs(predictions - bits[:-2])
    >>> bool(error[:100].mean() > 0.4), bool(error[-100:].mean() < 0.05)
    (True, True)

    """

    def __init__(
        self,
        hidden_size: int = 32,
        num_layers: int = 1,
        window: int = 20,
        stride: int = 1,
        learning_rate: float = 0.002,
        optimizer: str = "adam",
        loss: str = "squared",
        clip_norm: float = 1.0,
        seed: int | None = 0,
    ):
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.window = window
        self.stride = stride
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.loss = loss
        self.clip_norm = clip_norm
        self.seed = seed
        settings = check_settings(
            hidden_size, num_layers, window, stride, learning_rate, optimizer, loss, clip_norm
        )
        self._build(settings, CLOCK.periods, seed)
        self._stats = np.zeros(SCALER)

    def learn_one(self, x: dict[Hashable, Any], y: float) -> None:
        """Advance by one tick and learn its target.

        Parameters
        ----------
        x
            Features, numbers by name. Names may appear, vanish and return in any order; dates and
            times are passed over.
        y
            The target; NaN or None if it is missing.

        Raises
        ------
        InputError
            If the target or a feature is not a number. The model has not changed then.

        """
        target = as_number(y, "y")
        with self._lock:
            row = self._row(x)
            kernels.learn_one(row, target, *self._network.buffers, self._stats)

    def predict_one(self, x: dict[Hashable, Any]) -> float:
        """Predict the target of the next tick; the model stays as it is.

        Names that have never been learned are ignored. 0 before the first target.

        Raises
        ------
        InputError
            If a feature is not a number.

        """
        with self._lock:
            row = self._columns.known_row(x)
            if row is None:
                row = self._columns.row(self._columns.numbers(x))
            return kernels.predict_one(row, *self._network.buffers, self._stats)

    def step(self, x: Any, y: float) -> float:
        """Predict, then learn from, one tick: for services that have arrays, not dicts.

        Parameters
        ----------
        x
            (F,) features, whose columns are named 0, 1, ...
        y
            The target; NaN if it is missing.

        Returns
        -------
        The prediction, made before the target was seen.

        Raises
        ------
        InputError
            If the features are not those that the model knows.

        """
        target = as_number(y, "y")
        with self._lock:
            row = self._array_row(x)
            return kernels.learn_one(row, target, *self._network.buffers, self._stats)

    def learn_many(self, X: Any, y: Any) -> np.ndarray:
        """Predict, then learn from, each of T ticks: `predict_one` and `learn_one` in one call.

        Parameters
        ----------
        X
            A DataFrame or mapping with a (T,) column a feature, or a (T, F) array, whose columns
            are then named 0, 1, ...
        y
            (T,) targets, NaN where missing.

        Returns
        -------
        (T,) predictions, each made before its target was seen.

        Raises
        ------
        InputError
            If something is not a number or the lengths differ. The model has not changed then.

        """
        targets = as_vector(y, "y")
        table = as_table(X, targets.size)
        predictions = np.empty(targets.size)
        with self._lock:
            self._add_features(list(table))
            matrix = self._columns.matrix(table, targets.size)
            kernels.learn_many(predictions, matrix, targets, *self._network.buffers, self._stats)
        return predictions

    def _add_features(self, names: list[Hashable]) -> None:
        new = self._columns.new_names(names)
        if not new:
            return
        old = scaler_views(self._stats, len(self._columns.index) + 1)
        self._columns.add(new)
        self._network.add_inputs(new)
        channels = len(self._columns.index) + 1
        self._stats = np.zeros(SCALER * channels)
        grow(scaler_views(self._stats, channels), old)
