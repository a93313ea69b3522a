"""Convert an `LSTMRegressor` from and to PyTorch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ParameterError
from ..model.online import FeatureModel
from .weights import GATES, M, build, folded_weights, package


def from_torch(cls: type[M], rnn: Any, head: Any, parameters: Mapping[str, Any]) -> M:
    """Make a model with the weights of PyTorch modules, without scaling and with its state at zero.

    Parameters
    ----------
    cls
        The model's class.
    rnn
        `torch.nn.LSTM` or `torch.nn.GRU` with I inputs, H units and any number of layers; one
        direction, no projection, no dropout.
    head
        `torch.nn.Linear(H, 1)` on the outputs of the last layer.
    parameters
        Other parameters of `LSTMRegressor`, such as learning_rate. The features are named
        0 .. I - 1.

    Raises
    ------
    ParameterError
        If the modules are of another kind.

    """
    torch = package("torch")
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
    return build(cls, cells[type(rnn)], rnn.hidden_size, rnn.num_layers, weights, parameters)


def to_torch(model: FeatureModel) -> tuple[Any, Any]:
    """Convert a model to a `torch.nn.LSTM` or `GRU` and a `torch.nn.Linear(H, 1)` on its outputs.

    Raises
    ------
    ParameterError
        If the cell is neither "lstm" nor "gru", or the model is bidirectional, has no features yet
        or has text features.

    """
    torch, weights = package("torch"), folded_weights(model)
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
