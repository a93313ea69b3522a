"""Convert an `LSTMRegressor` from and to Keras."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ParameterError
from ..model.online import FeatureModel
from .weights import GATES, M, build, folded_weights, layer_arrays, package, reorder_gates

# PyTorch's gates in the order of Keras. Both permutations are their own inverses.
KERAS_ORDER = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}

# Keras's defaults, which a layer must have.
KERAS_OPTIONS: dict[str, dict[str, Any]] = {
    cell: {
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "go_backwards": False,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        **({"reset_after": True} if cell == "gru" else {}),
    }
    for cell in GATES
}


def from_keras(cls: type[M], model: Any, parameters: Mapping[str, Any]) -> M:
    """Make a model with the weights of a Keras model, without scaling and with its state at zero.

    Parameters
    ----------
    cls
        The model's class.
    model
        A built `keras.Sequential` of LSTM or GRU layers, all with H units and Keras's default
        activations, and `Dense(1)`.
    parameters
        Other parameters of `LSTMRegressor`, such as learning_rate. The features are named
        0 .. I - 1.

    Raises
    ------
    ParameterError
        If the model has other layers or options.

    """
    keras = package("keras")
    if not isinstance(model, keras.Sequential) or not model.built or len(model.layers) < 2:
        raise ParameterError(f"expected a built keras.Sequential of several layers, got {model!r}")
    *recurrent, dense = model.layers
    cells = {keras.layers.LSTM: "lstm", keras.layers.GRU: "gru"}
    kinds = {(type(layer), getattr(layer, "units", 0)) for layer in recurrent}
    kind, units = kinds.pop()
    if kinds or kind not in cells:
        raise ParameterError(
            "all layers but the last must be LSTM, or all GRU, with the same number of units"
        )
    weights: dict[str, Any] = {}
    for n, layer in enumerate(recurrent):
        _check_options(layer, KERAS_OPTIONS[cells[kind]])
        weights |= _from_keras_layer(layer, cells[kind], n)
    if not isinstance(dense, keras.layers.Dense) or dense.units != 1:
        raise ParameterError(f"the last layer must be a Dense of one unit, got {dense!r}")
    _check_options(dense, {"activation": "linear"})
    kernel, *bias = dense.get_weights()
    weights |= {"head.weight": kernel.T, "head.bias": bias[0] if bias else np.zeros(1)}
    return build(cls, cells[kind], units, len(recurrent), weights, parameters)


def _check_options(layer: Any, expected: Mapping[str, Any]) -> None:
    options = layer.get_config()
    for name, value in expected.items():
        if options[name] != value:
            raise ParameterError(
                f"layer {layer.name} must have {name}={value!r}, got {options[name]!r}"
            )


def _from_keras_layer(layer: Any, cell: str, n: int) -> dict[str, np.ndarray]:
    kernel, recurrent, *bias = layer.get_weights()
    both = np.zeros((2, kernel.shape[1]))
    if bias:
        both[: bias[0].ndim] = bias[0]  # (2, 3H) of a GRU, (4H,) of an LSTM
    order = KERAS_ORDER[cell]
    return {
        f"rnn.weight_ih_l{n}": reorder_gates(kernel.T, order),
        f"rnn.weight_hh_l{n}": reorder_gates(recurrent.T, order),
        f"rnn.bias_ih_l{n}": reorder_gates(both[0], order),
        f"rnn.bias_hh_l{n}": reorder_gates(both[1], order),
    }


def to_keras(model: FeatureModel) -> Any:
    """Convert a model to a `keras.Sequential` from (batch, T, I) to (batch, T, 1).

    Raises
    ------
    ParameterError
        If the cell is neither "lstm" nor "gru", or the model is bidirectional, has no features yet
        or has text features.

    """
    keras, weights = package("keras"), folded_weights(model)
    layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[model.cell]
    recurrent = [layer(model.hidden_size, return_sequences=True) for _ in range(model.num_layers)]
    dense = keras.layers.Dense(1)
    features = weights["rnn.weight_ih_l0"].shape[1]
    sequential = keras.Sequential([keras.Input((None, features)), *recurrent, dense])
    order = KERAS_ORDER[model.cell]
    for n, each in enumerate(recurrent):
        w_ih, w_hh, b_ih, b_hh = layer_arrays(weights, n, order)
        bias = b_ih + b_hh if model.cell == "lstm" else np.stack([b_ih, b_hh])
        each.set_weights([w_ih.T, w_hh.T, bias])
    dense.set_weights([weights["head.weight"].T, weights["head.bias"]])
    return sequential
