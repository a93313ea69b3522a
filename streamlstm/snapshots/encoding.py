"""Python values as JSON and arrays, with their types, and back: what a snapshot is written in.

What JSON has no notation for is an object with one key that says what it is, such as
{"tuple": [...]}. Of classes only those of `_MODULES` and `_TOKENS` are written or made, so that
reading a file runs no code of it.
"""

import base64
import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from ..errors import SnapshotError
from ..kernels.cells import CELLS
from ..kernels.rules import RULES

INTEGERS = 32  # a longer list of them is kept as an array
_PLAIN = {type(None), bool, int, str}  # of these JSON keeps the type

# By name of the class.
_MODULES = {
    "Blocks": "streamlstm.replays.blocks",
    "Columns": "streamlstm.model.columns",
    "DriftWatch": "streamlstm.model.drift",
    "FleetScore": "streamlstm.replays.evaluate",
    "ForecasterFleet": "streamlstm.fleets.fleet",
    "History": "streamlstm.live.history",
    "LSTMClassifier": "streamlstm.classifier",
    "LSTMForecaster": "streamlstm.forecaster",
    "LSTMMultiTargetRegressor": "streamlstm.multi_target",
    "LSTMRegressor": "streamlstm.regressor",
    "Network": "streamlstm.model.network",
    "Score": "streamlstm.replays.evaluate",
    "SeasonFinder": "streamlstm.model.seasons",
    "Settings": "streamlstm.kernels.layout",
}
_TOKENS: dict[str, type] = {
    type(token).__name__: type(token)
    for token in [file.CELL for file in CELLS.values()] + [file.RULE for file in RULES.values()]
}


def _class(name: str) -> type | None:
    """The class that a snapshot calls so, if it may."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    return _TOKENS.get(name)


class Encoder:
    """Python values as JSON; copies of arrays, little-endian, go where JSON refers to them."""

    def __init__(self) -> None:
        self.arrays = deque[bytes]()
        self.size = 0

    def value(self, value: Any) -> Any:
        """Encode anything; SnapshotError names what cannot be."""
        if type(value) in _PLAIN:
            return value
        way = self._WAYS.get(type(value))
        return self._other(value) if way is None else way(self, value)

    def object(self, value: Any, state: Any) -> dict[str, Any]:
        """Encode an object of a class that is known, in this state."""
        named = {name: self.value(each) for name, each in state.items()}
        return {"class": type(value).__name__, "state": named}

    def _all(self, values: Iterable[Any]) -> list[Any]:
        return [value if type(value) in _PLAIN else self.value(value) for value in values]

    def _float(self, value: float) -> Any:
        return value if math.isfinite(value) else {"float": str(value)}

    def _bytes(self, value: bytes) -> Any:
        return {"bytes": base64.b64encode(value).decode()}

    def _list(self, values: list[Any]) -> Any:
        if len(values) > INTEGERS and all(type(value) is int for value in values):
            with contextlib.suppress(OverflowError):
                return {"integers": self._array(np.array(values, np.int64))["array"]}
        return self._all(values)

    def _tuple(self, values: tuple[Any, ...]) -> Any:
        return {"tuple": self._all(values)}

    def _deque(self, values: deque[Any]) -> Any:
        return {"deque": self._all(values), "longest": values.maxlen}

    def _dict(self, values: dict[Any, Any]) -> Any:
        return {"dict": [self._all(pair) for pair in values.items()]}

    def _array(self, array: np.ndarray) -> dict[str, Any]:
        if array.dtype == object:
            return {"objects": [list(array.shape), self._all(array.ravel().tolist())]}
        if array.dtype.kind not in "biuf":
            raise SnapshotError(f"a snapshot cannot hold an array of {array.dtype}")
        dtype, start = array.dtype.newbyteorder("<"), self.size
        self.arrays.append(array.astype(dtype, copy=False).tobytes())
        self.size += array.nbytes
        return {"array": [dtype.str, list(array.shape), start]}

    def _other(self, value: Any) -> Any:
        name = type(value).__name__
        if _class(name) is type(value):
            if isinstance(value, tuple):
                return {"class": name, "fields": self._all(value)}
            return self.object(
                value, value._state() if hasattr(value, "_state") else value.__getstate__()
            )
        if isinstance(value, np.generic) and value.dtype.kind in "biufU":
            return {"scalar": [value.dtype.str, self.value(value.item())]}
        raise SnapshotError(
            f"a snapshot cannot hold {value!r}, a {name}: names, keys and classes may be text, "
            "numbers, True, False, None and tuples of these"
        )

    _WAYS: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {
        float: _float,
        bytes: _bytes,
        list: _list,
        tuple: _tuple,
        deque: _deque,
        dict: _dict,
        np.ndarray: _array,
    }


class Decoder:
    """The values again, in objects of their own."""

    def __init__(self, arrays: memoryview):
        self._arrays = arrays

    def value(self, node: Any) -> Any:
        """What a node of the header stands for."""
        if isinstance(node, list):
            return self._all(node)
        if not isinstance(node, dict):
            return node
        if "class" in node:
            return self._instance(node)
        if "deque" in node:
            return deque(self._all(node["deque"]), node["longest"])
        ((kind, content),) = node.items()
        return self._WAYS[kind](self, content)

    def state(self, node: dict[str, Any]) -> dict[str, Any]:
        """That of the object that a node stands for."""
        return {name: self.value(value) for name, value in node["state"].items()}

    def object(self, name: str, state: dict[str, Any]) -> Any:
        """Make an object of a class."""
        cls: Any = _class(name)
        if cls is None:
            raise ValueError(f"there is no class {name}")
        made = cls.__new__(cls)
        if hasattr(made, "__setstate__"):
            made.__setstate__(state)
        else:
            made.__dict__.update(state)
        return made

    def _all(self, nodes: list[Any]) -> list[Any]:
        return [self.value(node) for node in nodes]

    def _instance(self, node: dict[str, Any]) -> Any:
        if "fields" in node:
            cls: Any = _class(node["class"])
            return cls(*self._all(node["fields"]))
        return self.object(node["class"], self.state(node))

    def _float(self, text: str) -> float:
        return float(text)

    def _bytes(self, text: str) -> bytes:
        return base64.b64decode(text)

    def _tuple(self, nodes: list[Any]) -> tuple[Any, ...]:
        return tuple(self._all(nodes))

    def _dict(self, pairs: list[Any]) -> dict[Any, Any]:
        return {self.value(key): self.value(node) for key, node in pairs}

    def _array(self, place: list[Any]) -> np.ndarray:
        dtype, shape, start = np.dtype(place[0]), place[1], place[2]
        count = int(np.prod(shape))
        array = np.frombuffer(self._arrays, dtype, count, start) if count else np.empty(0, dtype)
        return array.astype(dtype.newbyteorder("=")).reshape(shape)

    def _integers(self, place: list[Any]) -> list[int]:
        return self._array(place).tolist()

    def _objects(self, array: list[Any]) -> np.ndarray:
        return np.fromiter(self._all(array[1]), object, len(array[1])).reshape(array[0])

    def _scalar(self, scalar: list[Any]) -> Any:
        return np.array(self.value(scalar[1]), scalar[0])[()]

    _WAYS: ClassVar[dict[str, Callable[[Any, Any], Any]]] = {
        "float": _float,
        "bytes": _bytes,
        "tuple": _tuple,
        "dict": _dict,
        "array": _array,
        "integers": _integers,
        "objects": _objects,
        "scalar": _scalar,
    }
