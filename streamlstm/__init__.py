"""Online LSTM forecasting of live time-series: learn from every tick in microseconds."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classifier import LSTMClassifier
    from .fleets.fleet import ForecasterFleet
    from .forecaster import LSTMForecaster
    from .live.run import LiveRun
    from .multi_target import LSTMMultiTargetRegressor
    from .regressor import LSTMRegressor
    from .replays.evaluate import evaluate
    from .replays.replay import replay
    from .snapshots.snapshot import load, save

__all__ = [
    "ForecasterFleet",
    "LSTMClassifier",
    "LSTMForecaster",
    "LSTMMultiTargetRegressor",
    "LSTMRegressor",
    "LiveRun",
    "evaluate",
    "load",
    "replay",
    "save",
]
__version__ = version("streamlstm")

_MODULES = {
    "ForecasterFleet": "fleets.fleet",
    "LSTMClassifier": "classifier",
    "LSTMForecaster": "forecaster",
    "LSTMMultiTargetRegressor": "multi_target",
    "LSTMRegressor": "regressor",
    "LiveRun": "live.run",
    "evaluate": "replays.evaluate",
    "load": "snapshots.snapshot",
    "replay": "replays.replay",
    "save": "snapshots.snapshot",
}


if not TYPE_CHECKING:  # type checkers take the names from the imports above

    def __getattr__(name: str) -> Any:
        """Import a name when it is first used: river and numba take half a second to import."""
        if name in _MODULES:
            from importlib import import_module

            return getattr(import_module(f".{_MODULES[name]}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
