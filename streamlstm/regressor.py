"""`LSTMRegressor`: predicts a target from features and from the ticks before, learning online."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from river.base import Regressor

from .interop import keras, onnx, torch
from .interop import weights as exchange
from .kernels import regressor as kernels
from .model.features import FloatArray, as_number, as_vector
from .model.online import FeatureModel


class LSTMRegressor(FeatureModel, Regressor):
    """Online LSTM regression.

    Predict the target of the next tick with `predict_one`, then train on it with `learn_one`, which
    also advances the recurrent state by one tick. `predict_one` does not change the state. Features
    and target are standardised online. The head starts at zero, so an untrained model predicts the
    running mean of the target.

    Parameters
    ----------
    hidden_size
        Units of the LSTM layer, H.
    num_layers
        Recurrent layers, each reading the outputs of the one below.
    cell
        "lstm" [2], "lstm1997", without forget gate [3], "peephole" [4], "gru" [5] or "elstm" [6].
    learning
        "tbptt": back-propagation through a window of time. Two rules carry gradients forward in
        time, through the whole past: "rtrl", real-time recurrent learning, is exact and needs cell
        "elstm" [6]; "snap1" ignores how units act on each other from tick to tick and needs cell
        "lstm" or "gru" [7].
    window
        How many ticks the gradient of an update reaches back, h of BPTT(h; h') [1].
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
    scaling
        Whether to standardise features and target online; if not, the network reads and returns
        them in their own units.
    embedding_size
        Length of the vector that represents each text of a text feature [8].
    lookahead
        Delay d, in ticks: the network sees d more ticks before it predicts. The prediction made at
        a tick, when its features arrive, is for the tick d earlier, whose target is learned at the
        same time. The first d predictions of a stream, and after `reset_state`, mean nothing.
        Unless the model is bidirectional, gradients reach the predicted tick only if `window`
        exceeds d.
    bidirectional
        Whether to add a second stack of `num_layers` layers, which runs at each tick from the
        newest tick back over the d ticks after the predicted one [9]. Needs a lookahead, learning
        "tbptt" and stride 1. The window then ends at the predicted tick.
    seed
        Seed of the initial weights and embeddings; None draws one.

    Notes
    -----
    Text is treated as a category. Each text has an embedding, a row of a table that is learned with
    the weights; a text that was never learned counts as zeros. The table gets a row for each new
    text, so use it for names and words, not for free text.

    A missing feature (absent, None or NaN) counts as its mean, or as 0 if it is text or without
    scaling. A missing target trains nothing; the state still advances. Threads may share a
    regressor: they take turns.

    References
    ----------
    [1] Williams & Peng (1990). An efficient gradient-based algorithm for on-line training of
        recurrent network trajectories. Neural Computation 2.
    [2] Gers, Schmidhuber & Cummins (2000). Learning to forget: continual prediction with LSTM.
        Neural Computation 12.
    [3] Hochreiter & Schmidhuber (1997). Long short-term memory. Neural Computation 9.
    [4] Gers & Schmidhuber (2000). Recurrent nets that time and count. IJCNN.
    [5] Cho et al. (2014). Learning phrase representations using RNN encoder-decoder for statistical
        machine translation. EMNLP. With the reset gate after the product, as in PyTorch and Keras.
    [6] Irie, Gopalakrishnan & Schmidhuber (2024). Exploring the promise and limits of real-time
        recurrent learning. ICLR.
    [7] Menick et al. (2021). A practical sparse approximation for real time recurrent learning.
        ICLR.
    [8] Bengio, Ducharme, Vincent & Janvin (2003). A neural probabilistic language model. JMLR 3.
    [9] Graves & Schmidhuber (2005). Framewise phoneme classification with bidirectional LSTM and
        other neural network architectures. Neural Networks 18.

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

    _entries = staticmethod(kernels.entries)

    def learn_one(self, x: Mapping[Any, Any], y: float | None) -> None:
        """Advance by one tick and learn its target.

        Parameters
        ----------
        x
            Features by name, numbers or text. Names and texts may appear, vanish and return in any
            order. Dates and times are ignored.
        y
            The target; NaN or None if it is missing.

        Raises
        ------
        InputError
            If the target is not a number, or a feature is neither a number nor text, or has changed
            from one to the other. The model has not changed then.

        """
        target = as_number(y, "y")
        with self._lock:
            row = self._row(x)
            if self.lookahead:
                (target,) = self._delayed([target])
            self._kernels.learn_one(row, target, *self._network.buffers, self._stats)

    def predict_one(self, x: Mapping[Any, Any]) -> float:
        """Predict the target of the next tick from its features x; the model does not change.

        With a lookahead of d ticks, the prediction is for the tick d before the next. Features that
        were never learned are ignored. Returns 0 before the first target.

        Raises
        ------
        InputError
            If a feature is neither a number nor text, or has changed from one to the other.

        """
        with self._lock:
            row = self._known_row(x)
            return self._kernels.predict_one(row, *self._network.buffers, self._stats)

    def step(self, x: Any, y: float) -> float:
        """Predict, then learn from, one tick, with features as an array.

        Parameters
        ----------
        x
            (F,) features; their names are 0, 1, ...
        y
            The target; NaN if it is missing.

        Returns
        -------
        The prediction, made before the target was learned; with a lookahead, that of an earlier
        tick.

        Raises
        ------
        InputError
            If the target is not a number, or the features are not those that the model knows.

        """
        target = as_number(y, "y")
        with self._lock:
            row = self._array_row(x)
            if self.lookahead:
                (target,) = self._delayed([target])
            return self._kernels.learn_one(row, target, *self._network.buffers, self._stats)

    def learn_many(self, X: Any, y: Any) -> FloatArray:
        """Predict, then learn from, each of T ticks: `predict_one` and `learn_one` in one call.

        Parameters
        ----------
        X
            A DataFrame or mapping with a (T,) column for each feature, or a (T, F) array, whose
            columns are then named 0, 1, ...
        y
            (T,) targets, NaN where missing.

        Returns
        -------
        (T,) predictions, each made before its target was learned. With a lookahead of d ticks row t
        is for tick t - d, so that `predictions[d:]` are those of `y[:-d]`.

        Raises
        ------
        InputError
            As for `learn_one`, or if the lengths differ. The model has not changed then.

        """
        targets = as_vector(y, "y")
        predictions = np.empty(targets.size)
        with self._lock:
            matrix, buffers = self._matrix(X, targets.size), self._network.buffers
            if self.lookahead:
                targets = np.array(self._delayed(targets), np.float64)
            self._kernels.learn_many(predictions, matrix, targets, *buffers, self._stats)
        return predictions

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copy the weights into arrays by name, as PyTorch names them: see `interop.weights`."""
        return exchange.state_dict(self)

    def load_state_dict(self, weights: Mapping[str, Any]) -> None:
        """Load weights named and shaped as in `state_dict`: see `interop.weights`."""
        exchange.load_state_dict(self, weights)

    def save_weights(self, path: str | Path) -> None:
        """Write weights and feature names to a safetensors file: see `interop.weights`."""
        exchange.save_weights(self, path)

    def load_weights(self, path: str | Path) -> None:
        """Load the weights in a file that `save_weights` wrote: see `interop.weights`."""
        exchange.load_weights(self, path)

    @classmethod
    def from_torch(cls, rnn: Any, head: Any, **parameters: Any) -> Self:
        """Make a model from a `torch.nn.LSTM` or `GRU` and a `Linear` head: see `interop.torch`."""
        return torch.from_torch(cls, rnn, head, parameters)

    def to_torch(self) -> tuple[Any, Any]:
        """Convert to a `torch.nn.LSTM` or `GRU` and a `Linear` head: see `interop.torch`."""
        return torch.to_torch(self)

    @classmethod
    def from_keras(cls, model: Any, **parameters: Any) -> Self:
        """Make a model from a Keras `Sequential` of `LSTM` or `GRU` layers: see `interop.keras`."""
        return keras.from_keras(cls, model, parameters)

    def to_keras(self) -> Any:
        """Convert to a Keras `Sequential` with an output for each tick: see `interop.keras`."""
        return keras.to_keras(self)

    def to_onnx(self, path: str | Path) -> None:
        """Write an ONNX file with the recurrent state as input and output: see `interop.onnx`."""
        onnx.to_onnx(self, path)
