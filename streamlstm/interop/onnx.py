"""Convert an `LSTMRegressor` to ONNX."""

from pathlib import Path
from typing import Any

import numpy as np

from ..model.online import FeatureModel
from .weights import folded_weights, layer_arrays, package

ONNX_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}  # PyTorch's gates in the order of ONNX
OPSET, IR_VERSION = 18, 9  # of ONNX at the end of 2022


def to_onnx(model: FeatureModel, path: str | Path) -> None:
    """Write a model to an ONNX file that predicts one series, a tick or many ticks at a time.

    Inputs are "x" (T, 1, I) and the state before the first tick: "h" and, for an LSTM, "c", each
    (layers, 1, H). Outputs are "y" (T, 1, 1) and the state after the last tick, "h_next" and
    "c_next". A new series starts with a state of zero.

    Raises
    ------
    ParameterError
        If the cell is neither "lstm" nor "gru", or the model is bidirectional, has no features yet
        or has text features.

    """
    onnx, weights = package("onnx"), folded_weights(model)
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
        w_ih, w_hh, b_ih, b_hh = layer_arrays(weights, n, ONNX_ORDER[cell])
        constants |= {f"w_l{n}": w_ih[None], f"r_l{n}": w_hh[None]}
        constants[f"b_l{n}"] = np.concatenate([b_ih, b_hh])[None]
        before = [f"{state}_l{n}" for state in states]
        after = [f"{state}_next_l{n}" for state in states]
        inputs = [below, f"w_l{n}", f"r_l{n}", f"b_l{n}", "", *before]
        below = f"hs_l{n}"  # (T, 1, H), after Squeeze has removed the axis of directions
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
