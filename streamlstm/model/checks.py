"""Convert the parameters of estimators to plain Python values, and check them."""

import difflib
import inspect
import numbers
from collections.abc import Hashable, Iterable
from typing import Any, SupportsIndex

import numpy as np

from ..errors import ParameterError
from ..kernels.batch import BATCH
from ..kernels.cells import CELLS
from ..kernels.layout import Settings
from ..kernels.loss import LOSSES
from ..kernels.optimizer import OPTIMIZERS
from ..kernels.rules import LEARNING


def plain(value: Any) -> Any:
    """Convert a parameter to plain Python: NumPy scalars to numbers, lists and arrays to tuples."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(plain(each) for each in value)
    return value


def parameters_of(estimator: Any) -> dict[str, Any]:
    """The constructor's arguments of an estimator, by name."""
    names = inspect.signature(type(estimator)).parameters
    return {name: plain(getattr(estimator, name)) for name in names}


def check_whole(name: str, value: Any, least: int) -> None:
    """Raise a ParameterError unless a value is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ParameterError(f"{name} must be a whole number of at least {least}, got {value!r}")


def check_horizon(horizon: SupportsIndex) -> int:
    """The horizon as an int; a ParameterError unless it is a whole number of at least 1."""
    if type(horizon) is int and horizon >= 1:  # the usual case, in little time
        return horizon
    ticks = plain(horizon)
    check_whole("horizon", ticks, 1)
    return ticks


def did_you_mean(name: Hashable, known: Iterable[Hashable]) -> str:
    """Text to append to a message about an unknown name: the most similar known name, if any."""
    close = difflib.get_close_matches(str(name), [str(each) for each in known], 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_learning(cell: str, learning: str, stride: int = 1, replay: int = 0) -> None:
    """Raise a ParameterError unless networks of this cell can learn by this rule."""
    for name, choice, choices in [("cell", cell, CELLS), ("learning", learning, LEARNING)]:
        if choice not in choices:
            raise ParameterError(f"{name} must be one of {', '.join(choices)}, got {choice!r}")
    if learning == "tbptt":
        return
    cells = [name for name, file in CELLS.items() if learning == file.FORWARD]
    if cell not in cells:
        raise ParameterError(f"learning={learning!r} needs cell={' or '.join(map(repr, cells))}")
    if stride != 1 or replay:
        raise ParameterError(f"learning={learning!r} needs stride=1 and no replay")


def check_number(name: str, number: float) -> None:
    """Raise a ParameterError unless a number is finite and at least 0, or above 0 for a norm."""
    if (
        not isinstance(number, numbers.Real)
        or not 0 <= number < np.inf
        or (name == "clip_norm" and number == 0)
    ):
        raise ParameterError(f"{name} must be positive and finite, got {number!r}")


def check_lookahead(lookahead: int, bidirectional: bool, learning: str, stride: int) -> None:
    """Raise a ParameterError unless `lookahead` and `bidirectional` fit the other parameters."""
    if not isinstance(lookahead, int) or isinstance(lookahead, bool) or lookahead < 0:
        raise ParameterError(f"lookahead must be 0 or a whole number of ticks, got {lookahead!r}")
    if bidirectional and lookahead == 0:
        raise ParameterError("bidirectional=True needs a lookahead of at least 1 tick, got 0")
    if bidirectional and (learning != "tbptt" or stride != 1):
        raise ParameterError(
            "bidirectional=True needs learning='tbptt' and stride=1, "
            f"got {learning!r} and {stride!r}"
        )


def check_settings(
    hidden_size: int,
    num_layers: int,
    window: int,
    stride: int,
    learning_rate: float,
    optimizer: str,
    loss: str,
    clip_norm: float,
    replay: int = 0,
    weight_decay: float = 0.0,
    output_size: int = 1,
    embedding_size: int = 1,
) -> Settings:
    """Settings of a network without inputs; a ParameterError names the wrong parameter."""
    for name, value in [
        ("hidden_size", hidden_size),
        ("num_layers", num_layers),
        ("window", window),
        ("stride", stride),
        ("embedding_size", embedding_size),
    ]:
        check_whole(name, value, 1)
    if stride > window:
        raise ParameterError(
            f"stride ({stride}) must not exceed window ({window}): "
            "a tick's loss must be propagated back before the tick leaves the window"
        )
    if not isinstance(replay, int) or isinstance(replay, bool) or replay < 0 or replay % BATCH:
        raise ParameterError(f"replay must be 0 or a multiple of {BATCH} windows, got {replay!r}")
    for name, number in [
        ("learning_rate", learning_rate),
        ("clip_norm", clip_norm),
        ("weight_decay", weight_decay),
    ]:
        check_number(name, number)
    for name, choice, choices in [("optimizer", optimizer, OPTIMIZERS), ("loss", loss, LOSSES)]:
        if choice not in choices:
            raise ParameterError(f"{name} must be one of {', '.join(choices)}, got {choice!r}")
    return Settings(
        input_size=0,
        hidden_size=hidden_size,
        output_size=output_size,
        window=window,
        stride=stride,
        loss=LOSSES[loss],
        optimizer=OPTIMIZERS[optimizer],
        replay=replay,
        num_layers=num_layers,
        traces=0,
        categories=0,
        embedding_size=embedding_size,
        rows=0,
        lookahead=0,
        directions=1,
        learning_rate=float(learning_rate),
        clip_norm=float(clip_norm),
        weight_decay=float(weight_decay),
    )
