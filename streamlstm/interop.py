"""`LSTMRegressor` from and to PyTorch, Keras, ONNX and safetensors.

Weights have the names that a PyTorch module with members `rnn` and `head` gives them. For each
layer n, of I inputs and H units with G gates (4 of an LSTM: i, f, g, o; 3 of a GRU: r, z, n):

    rnn.weight_ih_ln   (G H, I)
    rnn.weight_hh_ln   (G H, H)
    rnn.bias_ih_ln     (G H,)
    rnn.bias_hh_ln     (G H,) only the sum of both counts, but for gate n of a GRU
    head.weight        (1, H)
    head.bias          (1,)

What leaves for PyTorch, Keras or ONNX takes features, in the order in which the model came to know
them, and gives the target in the units in which they were learned: the standardisation, as it is at
that moment, is folded into the weights of the first layer and the head. That differs in what cannot
be folded: `LSTMRegressor` cuts standardised features off at 10 deviations and replaces missing
ones. The recurrent state stays behind. With a `lookahead` the output is as late as the model's.
A bidirectional model cannot be exchanged.

The other libraries are imported when they are needed.
"""

import importlib
import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .errors import DataError, MissingPackageError, ParameterError
from .layout import CLOCK, inputs_of, scaler_views

if TYPE_CHECKING:
    from .regressor import LSTMRegressor

M = TypeVar("M", bound="LSTMRegressor")

GATES = {"lstm": 4, "gru": 3}
# Which of PyTorch's gates stands first, second, ... there. Those of Keras are their own inverses.
KERAS_ORDER = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}
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
ONNX_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
OPSET, IR_VERSION = 18, 9  # of ONNX, that of the end of 2022


def _package(name: str) -> Any:
    """Import a library that streamlstm does not depend on."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        extra = name.partition(".")[0]
        raise MissingPackageError(
            f"this needs {extra}: pip install 'streamlstm[{extra}]' ({error})"
        ) from error


def _gates(model: "LSTMRegressor") -> int:
    if model.cell not in GATES:
        able = " or ".join(map(repr, GATES))
        raise ParameterError(f"only models of cell={able} can be exchanged, got {model.cell!r}")
    if model.bidirectional:
        raise ParameterError("models with bidirectional=True cannot be exchanged")
    if model._columns.vocabularies:
        text = _listed(list(model._columns.vocabularies))
        raise ParameterError(f"a model with features of text, here {text}, cannot be exchanged")
    return GATES[model.cell]


def state_dict(model: "LSTMRegressor") -> dict[str, np.ndarray]:
    """Copies of a model's float32 weights by name; statistics of the scaling are not among them.

    Raises
    ------
    ParameterError
        If the model's cell is neither "lstm" nor "gru", or it is bidirectional or has features of
        text.

    """
    _gates(model)
    with model._lock:
        return _state_dict(model)


def _state_dict(model: "LSTMRegressor") -> dict[str, np.ndarray]:
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


def load_state_dict(model: "LSTMRegressor", weights: Mapping[str, Any]) -> None:
    """Set the weights of a model; its recurrent state and its optimiser begin anew.

    Parameters
    ----------
    model
        With as many features as the weights, in the same order, or without any yet: these are then
        named 0, 1, ...
    weights
        Arrays, or tensors in the memory of the CPU, by name.

    Raises
    ------
    ParameterError
        If names are missing or unexpected, or a shape or a value is wrong. The model has not
        changed then.

    """
    with model._lock:
        _load(model, weights, list(model._columns.index))


def _load(model: "LSTMRegressor", weights: Mapping[str, Any], names: Sequence[Hashable]) -> None:
    """Take over weights whose inputs have these names, 0, 1, ... if there are none."""
    arrays = {name: _as_array(name, value) for name, value in weights.items()}
    first = arrays.get("rnn.weight_ih_l0")
    if not names and first is not None and first.ndim == 2:
        names = range(first.shape[1])
    _check(arrays, _shapes(model, len(names)))
    unknown = [name for name in model._columns.index if name not in names]
    if unknown:
        raise ParameterError(f"there are no weights for the features {_listed(unknown)}")
    model._add_features(list(names))
    network, H = model._network, model.hidden_size
    order = [list(names).index(name) for name in model._columns.index]
    arrays["rnn.weight_ih_l0"] = arrays["rnn.weight_ih_l0"][:, order]
    network.weights[:] = 0.0  # the optimiser's averages too
    for n, layer in enumerate(network.layers):
        columns, extra = layer.w.shape[1], layer.b.size - layer.w.shape[1]
        b_ih, b_hh = arrays[f"rnn.bias_ih_l{n}"], arrays[f"rnn.bias_hh_l{n}"]
        layer.w[H:] = arrays[f"rnn.weight_ih_l{n}"].T
        layer.w[:H] = arrays[f"rnn.weight_hh_l{n}"].T
        layer.b[:columns] = b_ih
        layer.b[: columns - extra] += b_hh[: columns - extra]
        layer.b[columns:] = b_hh[columns - extra :]
    network.head.w[:], network.head.b[:] = arrays["head.weight"], arrays["head.bias"]
    model._begin()
    network.clock[[CLOCK.unlearned, CLOCK.labelled, CLOCK.updates]] = 0


def _as_array(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(f"{name} is not an array of numbers: {error}") from error
    if not np.isfinite(array).all():
        raise ParameterError(f"{name} holds values that are not finite")
    return array


def _shapes(model: "LSTMRegressor", features: int) -> dict[str, tuple[int, ...]]:
    """What the arrays of a state dict of F features must be like."""
    H, columns = model.hidden_size, _gates(model) * model.hidden_size
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
        raise ParameterError(f"weights are missing: {_listed(missing)}")
    unexpected = [name for name in arrays if name not in shapes]
    if unexpected:
        raise ParameterError(f"weights that the model does not have: {_listed(unexpected)}")
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ParameterError(f"{name} must have shape {shape}, got {arrays[name].shape}")


def _listed(names: Sequence[Hashable]) -> str:
    return ", ".join(map(str, names))


def save_weights(model: "LSTMRegressor", path: str | Path) -> None:
    """Write `state_dict` and the names of the features to a safetensors file.

    Statistics of the scaling and the state are not in it: pickle a model to keep them.

    Raises
    ------
    ParameterError
        If a feature has a name that is neither text nor a whole number.

    """
    _gates(model)
    with model._lock:
        weights, names = _state_dict(model), list(model._columns.index)
    odd = [name for name in names if type(name) not in (str, int)]
    if odd:
        raise ParameterError(f"names of features must be text or whole numbers, got {odd[0]!r}")
    metadata = {"features": json.dumps(names)}
    _package("safetensors.numpy").save_file(weights, path, metadata=metadata)


def load_weights(model: "LSTMRegressor", path: str | Path) -> None:
    """Take over the weights of a safetensors file, feature by feature of the same name.

    Features that the model does not know are added. Without names in the file, its features are
    those of the model in the same order.

    Raises
    ------
    ParameterError
        As `load_state_dict`, or if the file lacks a feature of the model.
    DataError
        If the file is not in the safetensors format.

    """
    safetensors = _package("safetensors")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise DataError(f"{path}: {error}") from error
    with model._lock:
        names = json.loads(metadata.get("features", "null"))
        _load(model, weights, list(model._columns.index) if names is None else names)


def from_torch(cls: type[M], rnn: Any, head: Any, parameters: Mapping[str, Any]) -> M:
    """A model without scaling that goes on where training in PyTorch stopped, its state at zero.

    Parameters
    ----------
    cls
        The model's class.
    rnn
        `torch.nn.LSTM` or `torch.nn.GRU` of I inputs and H units, any number of layers; one
        direction, without projection and dropout.
    head
        `torch.nn.Linear(H, 1)` on the outputs of the last layer.
    parameters
        Others of `LSTMRegressor`, such as learning_rate. Its features are named 0 .. I - 1.

    Raises
    ------
    ParameterError
        If the modules are something else.

    """
    torch = _package("torch")
    cells = {torch.nn.LSTM: "lstm", torch.nn.GRU: "gru"}
    if type(rnn) not in cells:
        raise ParameterError(f"rnn must be a torch.nn.LSTM or torch.nn.GRU, got {rnn!r}")
    for option in ("bidirectional", "proj_size", "dropout"):
        if getattr(rnn, option):
            raise ParameterError(f"{option}={getattr(rnn, option)!r} of rnn is not supported")
    if not isinstance(head, torch.nn.Linear) or head.out_features != 1:
        raise ParameterError(f"head must be a torch.nn.Linear with one output, got {head!r}")
    columns = GATES[cells[type(rnn)]] * rnn.hidden_size
    weights: dict[str, Any] = {"head.bias": np.zeros(1)}  # for modules with bias=False
    for n in range(rnn.num_layers):
        weights[f"rnn.bias_ih_l{n}"] = weights[f"rnn.bias_hh_l{n}"] = np.zeros(columns)
    for prefix, module in [("rnn", rnn), ("head", head)]:
        for name, tensor in module.state_dict().items():
            weights[f"{prefix}.{name}"] = tensor.float().cpu().numpy()
    return _built(cls, cells[type(rnn)], rnn.hidden_size, rnn.num_layers, weights, parameters)


def _built(
    cls: type[M],
    cell: str,
    hidden_size: int,
    num_layers: int,
    weights: Mapping[str, Any],
    parameters: Mapping[str, Any],
) -> M:
    """A model without scaling that has these weights."""
    fixed = {"hidden_size": hidden_size, "num_layers": num_layers, "cell": cell, "scaling": False}
    chosen = [name for name in parameters if name in fixed]
    if chosen:
        raise ParameterError(f"{_listed(chosen)} cannot be chosen: the weights decide")
    model = cls(**fixed, **parameters)  # type: ignore[arg-type]
    load_state_dict(model, weights)
    return model


def _folded(model: "LSTMRegressor") -> dict[str, np.ndarray]:
    """The state dict of a network that takes features and gives the target as they are."""
    _gates(model)
    with model._lock:
        features = len(model._columns.index)
        weights = _state_dict(model)
        scaler = scaler_views(model._stats.copy(), features + 1)
    if not features:
        raise ParameterError("the model knows no features yet: let it learn a tick before")
    known = scaler.spread[1:] > 0.0
    w = weights["rnn.weight_ih_l0"] * (known / np.where(known, scaler.spread[1:], 1.0))
    b = weights["rnn.bias_ih_l0"] - w @ scaler.center[1:]
    w_head = scaler.spread[0] * weights["head.weight"]
    b_head = scaler.spread[0] * weights["head.bias"] + scaler.center[0]
    named = {"rnn.weight_ih_l0": w, "rnn.bias_ih_l0": b, "head.weight": w_head, "head.bias": b_head}
    return weights | {name: array.astype(np.float32) for name, array in named.items()}


def to_torch(model: "LSTMRegressor") -> tuple[Any, Any]:
    """The model as it is now: `torch.nn.LSTM` or `GRU`, and `torch.nn.Linear(H, 1)` on its outputs.

    Raises
    ------
    ParameterError
        If its cell is neither "lstm" nor "gru", it is bidirectional, or it knows no features yet
        or some of text.

    """
    torch, weights = _package("torch"), _folded(model)
    features = weights["rnn.weight_ih_l0"].shape[1]
    rnn = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[model.cell]
    modules = {
        "rnn": rnn(features, model.hidden_size, model.num_layers),
        "head": torch.nn.Linear(model.hidden_size, 1),
    }
    torch.nn.ModuleDict(modules).load_state_dict(
        {name: torch.from_numpy(array) for name, array in weights.items()}
    )
    return modules["rnn"], modules["head"]


def from_keras(cls: type[M], model: Any, parameters: Mapping[str, Any]) -> M:
    """A model without scaling that goes on where training in Keras stopped, its state at zero.

    Parameters
    ----------
    cls
        The model's class.
    model
        A built `keras.Sequential` of LSTM or GRU layers, of H units each and with the activations
        that are Keras's defaults, and `Dense(1)`.
    parameters
        Others of `LSTMRegressor`, such as learning_rate. Its features are named 0 .. I - 1.

    Raises
    ------
    ParameterError
        If the layers are something else.

    """
    keras = _package("keras")
    if not isinstance(model, keras.Sequential) or not model.built or len(model.layers) < 2:
        raise ParameterError(f"expected a built keras.Sequential of several layers, got {model!r}")
    *recurrent, dense = model.layers
    cells = {keras.layers.LSTM: "lstm", keras.layers.GRU: "gru"}
    kinds = {(type(layer), getattr(layer, "units", 0)) for layer in recurrent}
    kind, units = kinds.pop()
    if kinds or kind not in cells:
        raise ParameterError("all layers but the last must be LSTM, or all GRU, of as many units")
    weights: dict[str, Any] = {}
    for n, layer in enumerate(recurrent):
        _check_options(layer, KERAS_OPTIONS[cells[kind]])
        weights |= _from_keras_layer(layer, cells[kind], n)
    if not isinstance(dense, keras.layers.Dense) or dense.units != 1:
        raise ParameterError(f"the last layer must be a Dense of one unit, got {dense!r}")
    _check_options(dense, {"activation": "linear"})
    kernel, *bias = dense.get_weights()
    weights |= {"head.weight": kernel.T, "head.bias": bias[0] if bias else np.zeros(1)}
    return _built(cls, cells[kind], units, len(recurrent), weights, parameters)


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
        f"rnn.weight_ih_l{n}": _reordered(kernel.T, order),
        f"rnn.weight_hh_l{n}": _reordered(recurrent.T, order),
        f"rnn.bias_ih_l{n}": _reordered(both[0], order),
        f"rnn.bias_hh_l{n}": _reordered(both[1], order),
    }


def _reordered(array: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Blocks of gates along the first axis in another order."""
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[gate] for gate in order])


def to_keras(model: "LSTMRegressor") -> Any:
    """The model as it is now: a `keras.Sequential` from (batch, T, I) to (batch, T, 1).

    Raises
    ------
    ParameterError
        If its cell is neither "lstm" nor "gru", it is bidirectional, or it knows no features yet
        or some of text.

    """
    keras, weights = _package("keras"), _folded(model)
    layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[model.cell]
    recurrent = [layer(model.hidden_size, return_sequences=True) for _ in range(model.num_layers)]
    dense = keras.layers.Dense(1)
    features = weights["rnn.weight_ih_l0"].shape[1]
    sequential = keras.Sequential([keras.Input((None, features)), *recurrent, dense])
    order = KERAS_ORDER[model.cell]
    for n, each in enumerate(recurrent):
        w_ih, w_hh, b_ih, b_hh = (
            _reordered(weights[f"rnn.{name}_l{n}"], order)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        bias = b_ih + b_hh if model.cell == "lstm" else np.stack([b_ih, b_hh])
        each.set_weights([w_ih.T, w_hh.T, bias])
    dense.set_weights([weights["head.weight"].T, weights["head.bias"]])
    return sequential


def to_onnx(model: "LSTMRegressor", path: str | Path) -> None:
    """Write the model as it is now to an ONNX file, for one series, tick by tick or many at once.

    Inputs are "x" (T, 1, I) and the state before the first tick, "h" and, of an LSTM, "c", each
    (layers, 1, H); outputs are "y" (T, 1, 1) and the state after the last tick, "h_next" and
    "c_next". The state of a new series is zero.

    Raises
    ------
    ParameterError
        If its cell is neither "lstm" nor "gru", or it knows no features yet, or some of text.

    """
    onnx, weights = _package("onnx"), _folded(model)
    helper, cell, L, H = onnx.helper, model.cell, model.num_layers, model.hidden_size
    states = ("h", "c") if cell == "lstm" else ("h",)
    options = {"hidden_size": H} | ({} if cell == "lstm" else {"linear_before_reset": 1})
    constants = {
        "one": np.array([1]),
        "head.weight": weights["head.weight"].T,
        "head.bias": weights["head.bias"],
    }
    nodes, below = [], "x"
    for state in states:
        parts = [f"{state}_l{n}" for n in range(L)]
        nodes.append(helper.make_node("Split", [state], parts, axis=0, num_outputs=L))
    for n in range(L):
        w_ih, w_hh, b_ih, b_hh = (
            _reordered(weights[f"rnn.{name}_l{n}"], ONNX_ORDER[cell])
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        constants |= {f"w_l{n}": w_ih[None], f"r_l{n}": w_hh[None]}
        constants[f"b_l{n}"] = np.concatenate([b_ih, b_hh])[None]
        before = [f"{state}_l{n}" for state in states]
        after = [f"{state}_next_l{n}" for state in states]
        inputs = [below, f"w_l{n}", f"r_l{n}", f"b_l{n}", "", *before]
        below = f"hs_l{n}"  # (T, 1, H), once the axis of directions is gone
        nodes += [
            helper.make_node(cell.upper(), inputs, [f"{below}_directed", *after], **options),
            helper.make_node("Squeeze", [f"{below}_directed", "one"], [below]),
        ]
    for state in states:
        parts = [f"{state}_next_l{n}" for n in range(L)]
        nodes.append(helper.make_node("Concat", parts, [f"{state}_next"], axis=0))
    nodes += [
        helper.make_node("MatMul", [below, "head.weight"], ["weighted"]),
        helper.make_node("Add", ["weighted", "head.bias"], ["y"]),
    ]

    def floats(name: str, *shape: str | int) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    features = weights["rnn.weight_ih_l0"].shape[1]
    graph = helper.make_graph(
        nodes,
        type(model).__name__,
        [floats("x", "T", 1, features), *(floats(state, L, 1, H) for state in states)],
        [floats("y", "T", 1, 1), *(floats(f"{state}_next", L, 1, H) for state in states)],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = helper.make_opsetid("", OPSET)
    written = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(written)
    onnx.save(written, path)
