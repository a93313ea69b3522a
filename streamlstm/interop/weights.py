"""Weights of an `LSTMRegressor`, named as in PyTorch, and safetensors files of them.

The names are those of a PyTorch module with members `rnn` and `head`. Layer n has I inputs and H
units with G gates (4 in an LSTM: i, f, g, o; 3 in a GRU: r, z, n):

    rnn.weight_ih_ln   (G H, I)
    rnn.weight_hh_ln   (G H, H)
    rnn.bias_ih_ln     (G H,)
    rnn.bias_hh_ln     (G H,) only its sum with bias_ih matters, except for gate n of a GRU
    head.weight        (1, H)
    head.bias          (1,)

A network for PyTorch, Keras or ONNX takes the features in the order in which the model first saw
them and returns the target in its own units: `folded_weights` folds the current standardisation
into the first layer and the head. Two things cannot be folded: `LSTMRegressor` clips standardised
features at 10 deviations and fills in missing ones. The recurrent state is not exchanged. With a
`lookahead` the output is delayed as in the model. Bidirectional models cannot be exchanged.
"""

import importlib
import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import DataError, MissingPackageError, ParameterError
from ..kernels.layout import CLOCK, inputs_of
from ..kernels.scaling import scaler_views
from ..model.online import FeatureModel

M = TypeVar("M", bound=FeatureModel)

GATES = {"lstm": 4, "gru": 3}


def package(name: str) -> Any:
    """Import a library that streamlstm does not depend on."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        extra = name.partition(".")[0]
        raise MissingPackageError(
            f"this needs {extra}: pip install 'streamlstm[{extra}]' ({error})"
        ) from error


def gate_count(model: FeatureModel) -> int:
    """How many gates the model's cell has; a ParameterError if the model cannot be exchanged."""
    if model.cell not in GATES:
        cells = " or ".join(map(repr, GATES))
        raise ParameterError(f"only models of cell={cells} can be exchanged, got {model.cell!r}")
    if model.bidirectional:
        raise ParameterError("models with bidirectional=True cannot be exchanged")
    if model._columns.vocabularies:
        names = listed(list(model._columns.vocabularies))
        raise ParameterError(f"a model with text features ({names}) cannot be exchanged")
    return GATES[model.cell]


def state_dict(model: FeatureModel) -> dict[str, np.ndarray]:
    """Copy a model's float32 weights, by name; the statistics of the scaling are not included.

    Raises
    ------
    ParameterError
        If the cell is neither "lstm" nor "gru", or the model is bidirectional or has text features.

    """
    gate_count(model)
    with model._lock:
        return _state_dict(model)


def _state_dict(model: FeatureModel) -> dict[str, np.ndarray]:
    network, H = model._network, model.hidden_size
    weights = {}
    for n, layer in enumerate(network.layers):
        columns, extra = layer.w.shape[1], layer.b.size - layer.w.shape[1]
        b_hh = np.zeros(columns, np.float32)
        b_hh[columns - extra :] = layer.b[columns:]
        weights[f"rnn.weight_ih_l{n}"] = np.array(layer.w[H:].T, order="C")
        weights[f"rnn.weight_hh_l{n}"] = np.array(layer.w[:H].T, order="C")
        weights[f"rnn.bias_ih_l{n}"] = layer.b[:columns].copy()
        weights[f"rnn.bias_hh_l{n}"] = b_hh
    return {**weights, "head.weight": network.head.w.copy(), "head.bias": network.head.b.copy()}


def load_state_dict(model: FeatureModel, weights: Mapping[str, Any]) -> None:
    """Set the weights of a model, and reset its recurrent state and its optimiser.

    Parameters
    ----------
    model
        A model with the same features as the weights, in the same order, or without features: it
        then gets features named 0, 1, ...
    weights
        Arrays, or CPU tensors, by name.

    Raises
    ------
    ParameterError
        If names are missing or unexpected, or a shape or a value is wrong. The model has not
        changed then.

    """
    with model._lock:
        _load(model, weights, list(model._columns.index))


def _load(model: FeatureModel, weights: Mapping[str, Any], names: Sequence[Hashable]) -> None:
    """Load weights whose inputs have these names; 0, 1, ... if the list is empty."""
    arrays = {name: _as_array(name, value) for name, value in weights.items()}
    first = arrays.get("rnn.weight_ih_l0")
    if not names and first is not None and first.ndim == 2:
        names = range(first.shape[1])
    _check(arrays, _shapes(model, len(names)))
    unknown = [name for name in model._columns.index if name not in names]
    if unknown:
        raise ParameterError(f"there are no weights for the features {listed(unknown)}")
    model._add_features(list(names))
    network, H = model._network, model.hidden_size
    order = [list(names).index(name) for name in model._columns.index]
    arrays["rnn.weight_ih_l0"] = arrays["rnn.weight_ih_l0"][:, order]
    network.weights[:] = 0.0  # this also resets the optimiser's averages
    for n, layer in enumerate(network.layers):
        columns, extra = layer.w.shape[1], layer.b.size - layer.w.shape[1]
        b_ih, b_hh = arrays[f"rnn.bias_ih_l{n}"], arrays[f"rnn.bias_hh_l{n}"]
        layer.w[H:] = arrays[f"rnn.weight_ih_l{n}"].T
        layer.w[:H] = arrays[f"rnn.weight_hh_l{n}"].T
        layer.b[:columns] = b_ih
        layer.b[: columns - extra] += b_hh[: columns - extra]
        layer.b[columns:] = b_hh[columns - extra :]
    network.head.w[:], network.head.b[:] = arrays["head.weight"], arrays["head.bias"]
    model._begin_sequence()
    network.clock[[CLOCK.unlearned, CLOCK.labelled, CLOCK.updates]] = 0


def _as_array(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(f"{name} is not an array of numbers: {error}") from error
    if not np.isfinite(array).all():
        raise ParameterError(f"{name} holds values that are not finite")
    return array


def _shapes(model: FeatureModel, features: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays in a state dict with this many features."""
    H, columns = model.hidden_size, gate_count(model) * model.hidden_size
    settings = model._network.settings._replace(input_size=features)
    shapes: dict[str, tuple[int, ...]] = {}
    for n in range(model.num_layers):
        shapes[f"rnn.weight_ih_l{n}"] = columns, inputs_of(settings, n)
        shapes[f"rnn.weight_hh_l{n}"] = columns, H
        shapes[f"rnn.bias_ih_l{n}"] = (columns,)
        shapes[f"rnn.bias_hh_l{n}"] = (columns,)
    return {**shapes, "head.weight": (1, H), "head.bias": (1,)}


def _check(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    missing = [name for name in shapes if name not in arrays]
    if missing:
        raise ParameterError(f"weights are missing: {listed(missing)}")
    unexpected = [name for name in arrays if name not in shapes]
    if unexpected:
        raise ParameterError(f"the model has no weights named {listed(unexpected)}")
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ParameterError(f"{name} must have shape {shape}, got {arrays[name].shape}")


def listed(names: Sequence[Hashable]) -> str:
    """Join names with commas, for messages."""
    return ", ".join(map(str, names))


def reorder_gates(array: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Reorder the blocks of gates along the first axis."""
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[gate] for gate in order])


def layer_arrays(
    weights: Mapping[str, np.ndarray], n: int, order: Sequence[int]
) -> tuple[np.ndarray, ...]:
    """weight_ih, weight_hh, bias_ih and bias_hh of layer n, with the gates in this order."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return tuple(reorder_gates(weights[f"rnn.{name}_l{n}"], order) for name in names)


def save_weights(model: FeatureModel, path: str | Path) -> None:
    """Write `state_dict` and the names of the features to a safetensors file.

    The file has neither the statistics of the scaling nor the recurrent state; use
    `streamlstm.save` to keep them.

    Raises
    ------
    ParameterError
        As `state_dict`, or if a feature has a name that is neither text nor a whole number.

    """
    gate_count(model)
    with model._lock:
        weights, names = _state_dict(model), list(model._columns.index)
    others = [name for name in names if type(name) not in (str, int)]
    if others:
        raise ParameterError(f"names of features must be text or whole numbers, got {others[0]!r}")
    metadata = {"features": json.dumps(names)}
    package("safetensors.numpy").save_file(weights, path, metadata=metadata)


def load_weights(model: FeatureModel, path: str | Path) -> None:
    """Load weights from a safetensors file; features are matched by name.

    Features that the model does not have are added. If the file has no names, its features are
    taken to be the model's, in the same order.

    Raises
    ------
    ParameterError
        As `load_state_dict`, or if the file lacks a feature of the model.
    DataError
        If the file is not in the safetensors format.

    """
    safetensors = package("safetensors")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise DataError(f"{path}: {error}") from error
    with model._lock:
        names = json.loads(metadata.get("features", "null"))
        _load(model, weights, list(model._columns.index) if names is None else names)


def build(
    cls: type[M],
    cell: str,
    hidden_size: int,
    num_layers: int,
    weights: Mapping[str, Any],
    parameters: Mapping[str, Any],
) -> M:
    """Make a model without scaling that has these weights."""
    fixed = {"hidden_size": hidden_size, "num_layers": num_layers, "cell": cell, "scaling": False}
    chosen = [name for name in parameters if name in fixed]
    if chosen:
        raise ParameterError(f"{listed(chosen)} cannot be given: the weights determine them")
    model = cls(**fixed, **parameters)  # type: ignore[arg-type]
    load_state_dict(model, weights)
    return model


def folded_weights(model: FeatureModel) -> dict[str, np.ndarray]:
    """The state dict of a network that takes raw features and returns the raw target."""
    gate_count(model)
    with model._lock:
        features = len(model._columns.index)
        weights = _state_dict(model)
        scaler = scaler_views(model._stats.copy(), features + 1)
    if not features:
        raise ParameterError("the model has no features yet: let it learn a tick first")
    known = scaler.spread[1:] > 0.0
    w = weights["rnn.weight_ih_l0"] * (known / np.where(known, scaler.spread[1:], 1.0))
    b = weights["rnn.bias_ih_l0"] - w @ scaler.center[1:]
    w_head = scaler.spread[0] * weights["head.weight"]
    b_head = scaler.spread[0] * weights["head.bias"] + scaler.center[0]
    named = {"rnn.weight_ih_l0": w, "rnn.bias_ih_l0": b, "head.weight": w_head, "head.bias": b_head}
    return weights | {name: array.astype(np.float32) for name, array in named.items()}
