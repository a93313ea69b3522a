"""The encoding of snapshots: Python values to JSON and arrays, and back, with their types.

A value that JSON cannot express is an object whose one key names its type, such as
{"tuple": [...]}. Only classes in `_MODULES` and `_TOKENS` are written or made, so reading a file
never runs code from it.
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

INTEGERS = 32  # a longer list of integers is stored as an array
_PLAIN = {type(None), bool, int, str}  # types that JSON preserves

# Modules by the name of their class.
_MODULES = {
    "Blocks": "streamlstm.replays.blocks",
    "Columns": "streamlstm.model.columns",
    "DriftWatch": "streamlstm.model.drift",
    "FleetScore": "streamlstm.replays.scores",
    "ForecasterFleet": "streamlstm.fleets.fleet",
    "History": "streamlstm.live.history",
    "LSTMClassifier": "streamlstm.classifier",
    "LSTMForecaster": "streamlstm.forecaster",
    "LSTMMultiTargetRegressor": "streamlstm.multi_target",
    "LSTMRegressor": "streamlstm.regressor",
    "Network": "streamlstm.model.network",
    "Score": "streamlstm.replays.scores",
    "SeasonFinder": "streamlstm.model.seasons",
    "Settings": "streamlstm.kernels.layout",
}
_TOKENS: dict[str, type] = {
    type(token).__name__: type(token)
    for token in [file.CELL for file in CELLS.values()] + [file.RULE for file in RULES.values()]
}


def _class(name: str) -> type | None:
    """The class of this name; None unless a snapshot may hold it."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    return _TOKENS.get(name)


class Encoder:
    """Encodes Python values as JSON; arrays are copied, little-endian, to the bytes in `arrays`."""

    def __init__(self) -> None:
        self.arrays = deque[bytes]()
        self.size = 0

    def value(self, value: Any) -> Any:
        """Encode any value; a SnapshotError names one that cannot be encoded."""
        if type(value) in _PLAIN:
            return value
        encode = self._ENCODERS.get(type(value))
        return self._other(value) if encode is None else encode(self, value)

    def object(self, value: Any, state: Any) -> dict[str, Any]:
        """Encode an object of a known class, with this state."""
        attributes = {name: self.value(each) for name, each in state.items()}
        return {"class": type(value).__name__, "state": attributes}

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
        # No repr of a model: it would wait for the lock that its copy holds.
        shown = f"a {name}" if hasattr(value, "_lock") else f"{value!r}, a {name}"
        raise SnapshotError(
            f"a snapshot cannot hold {shown}: names, keys and classes may be text, "
            "numbers, True, False, None and tuples of these"
        )

    _ENCODERS: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {
        float: _float,
        bytes: _bytes,
        list: _list,
        tuple: _tuple,
        deque: _deque,
        dict: _dict,
        np.ndarray: _array,
    }


class Decoder:
    """Decodes values from JSON and arrays into new objects."""

    def __init__(self, arrays: memoryview):
        self._arrays = arrays

    def value(self, node: Any) -> Any:
        """Decode a node of the header."""
        if isinstance(node, list):
            return self._all(node)
        if not isinstance(node, dict):
            return node
        if "class" in node:
            return self._instance(node)
        if "deque" in node:
            return deque(self._all(node["deque"]), node["longest"])
        ((kind, content),) = node.items()
        return self._DECODERS[kind](self, content)

    def state(self, node: dict[str, Any]) -> dict[str, Any]:
        """Decode the state of an object, without making the object."""
        return {name: self.value(value) for name, value in node["state"].items()}

    def object(self, name: str, state: dict[str, Any]) -> Any:
        """Make an object of the class of this name, with this state."""
        cls: Any = _class(name)
        if cls is None:
            raise ValueError(f"there is no class {name}")
        instance = cls.__new__(cls)
        if hasattr(instance, "__setstate__"):
            instance.__setstate__(state)
        else:
            instance.__dict__.update(state)
        return instance

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

    def _array(self, node: list[Any]) -> np.ndarray:
        dtype, shape, start = np.dtype(node[0]), node[1], node[2]
        count = int(np.prod(shape))
        array = np.frombuffer(self._arrays, dtype, count, start) if count else np.empty(0, dtype)
        return array.astype(dtype.newbyteorder("=")).reshape(shape)

    def _integers(self, node: list[Any]) -> list[int]:
        return self._array(node).tolist()

    def _objects(self, array: list[Any]) -> np.ndarray:
        return np.fromiter(self._all(array[1]), object, len(array[1])).reshape(array[0])

    def _scalar(self, scalar: list[Any]) -> Any:
        return np.array(self.value(scalar[1]), scalar[0])[()]

    _DECODERS: ClassVar[dict[str, Callable[[Any, Any], Any]]] = {
        "float": _float,
        "bytes": _bytes,
        "tuple": _tuple,
        "dict": _dict,
        "array": _array,
        "integers": _integers,
        "objects": _objects,
        "scalar": _scalar,
    }
