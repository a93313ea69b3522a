"""`LSTMRegressor`: a target from features, learned tick by tick with memory of what came before."""

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

    `learn_one` advances the recurrent state by one tick and trains on its target;
    `predict_one` answers for the tick that would come next and leaves the state as it is.
    Features and target are standardised online. The head starts at zero, so that an untrained
    model predicts the running mean of the target.

    Parameters
    ----------
    hidden_size
        Units of the LSTM layer, H.
    num_layers
        Recurrent layers, each reading the outputs of the one below.
    cell
        "lstm" [2], "lstm1997", without forget gate [3], "peephole" [4], "gru" [5] or "elstm" [6].
    learning
        "tbptt", back-propagation through a window of time; or forward in time, through the whole
        past: for cell "elstm", "rtrl", real-time recurrent learning, which is exact [6]; for "lstm"
        and "gru", "snap1", which leaves out how units act on each other from tick to tick [7].
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
    scaling
        Whether to standardise features and target online; if not, they enter and leave the network
        as they are.
    embedding_size
        Values of an embedding, which stands for the text of a feature that has text [8].
    lookahead
        d, ticks that an answer may wait for: the one given at a tick, as its features arrive, is
        for the tick d before, whose target is learned then. The first d answers of a stream, or
        after `reset_state`, are for ticks before it and mean nothing. Gradients that reach back to
        the tick that is answered for take a window of more than d ticks.
    bidirectional
        Whether a second stack of `num_layers` layers runs from the newest tick back over the d
        that followed the one that is answered for, anew at each tick [9]. Needs a lookahead,
        learning "tbptt" and stride 1. The window then ends with the tick that is answered for.
    seed
        Of the initial weights and embeddings; None draws one.

    Notes
    -----
    A text is a category and counts as its embedding, a row of a table that is learned with the
    weights; one that has never been learned counts as zeros. The table grows with the texts that
    come: it is for names and words, not for free text.

    A missing feature (absent, None or NaN) counts as its mean, as 0 without scaling and for text. A
    missing target trains nothing; the state still advances. Threads may share a regressor: they
    take turns.

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
            order; dates and times are passed over.
        y
            The target; NaN or None if it is missing.

        Raises
        ------
        InputError
            If the target is no number, or a feature neither number nor text or not what it was
            so far. The model has not changed then.

        """
        target = as_number(y, "y")
        with self._lock:
            row = self._row(x)
            if self.lookahead:
                (target,) = self._delayed([target])
            self._kernels.learn_one(row, target, *self._network.buffers, self._stats)

    def predict_one(self, x: Mapping[Any, Any]) -> float:
        """Predict the target of the next tick; the model stays as it is.

        With a lookahead of d ticks: the target of the tick d before the next, whose features are x.
        Names that have never been learned are ignored. 0 before the first target.

        Raises
        ------
        InputError
            If a feature is neither number nor text, or not what it was so far.

        """
        with self._lock:
            row = self._known_row(x)
            return self._kernels.predict_one(row, *self._network.buffers, self._stats)

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
        The prediction, made before the target was seen; with a lookahead that of an earlier tick.

        Raises
        ------
        InputError
            If the features are not those that the model knows.

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
            A DataFrame or mapping with a (T,) column a feature, or a (T, F) array, whose columns
            are then named 0, 1, ...
        y
            (T,) targets, NaN where missing.

        Returns
        -------
        (T,) predictions, each made before its target was seen. With a lookahead of d ticks row t is
        for tick t - d, so that `predictions[d:]` are those of `y[:-d]`.

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
        """Weights, copied, by the names that PyTorch has for `rnn` and `head`: see `interop`."""
        return exchange.state_dict(self)

    def load_state_dict(self, weights: Mapping[str, Any]) -> None:
        """Take over weights, named and shaped as by `state_dict`: see `interop`."""
        exchange.load_state_dict(self, weights)

    def save_weights(self, path: str | Path) -> None:
        """Write weights and the features' names to a safetensors file: see `interop`."""
        exchange.save_weights(self, path)

    def load_weights(self, path: str | Path) -> None:
        """Take over the weights of a file that `save_weights` wrote: see `interop`."""
        exchange.load_weights(self, path)

    @classmethod
    def from_torch(cls, rnn: Any, head: Any, **parameters: Any) -> Self:
        """Go on with a `torch.nn.LSTM` or `GRU` and its `Linear` head: see `interop`."""
        return torch.from_torch(cls, rnn, head, parameters)

    def to_torch(self) -> tuple[Any, Any]:
        """The model as a `torch.nn.LSTM` or `GRU` and its `Linear` head: see `interop`."""
        return torch.to_torch(self)

    @classmethod
    def from_keras(cls, model: Any, **parameters: Any) -> Self:
        """Go on with a Keras `Sequential` of `LSTM` or `GRU` and `Dense`: see `interop`."""
        return keras.from_keras(cls, model, parameters)

    def to_keras(self) -> Any:
        """The model as a Keras `Sequential`, with an output a tick: see `interop`."""
        return keras.to_keras(self)

    def to_onnx(self, path: str | Path) -> None:
        """Write the model to an ONNX file whose state comes in and goes out: see `interop`."""
        onnx.to_onnx(self, path)
