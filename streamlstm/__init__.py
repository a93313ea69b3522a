"""Online LSTM forecasting of live time-series: learn from every tick in microseconds."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classifier import LSTMClassifier
    from .fleet import ForecasterFleet
    from .forecaster import LSTMForecaster
    from .multi_target import LSTMMultiTargetRegressor
    from .regressor import LSTMRegressor

__all__ = [
    "ForecasterFleet",
    "LSTMClassifier",
    "LSTMForecaster",
    "LSTMMultiTargetRegressor",
    "LSTMRegressor",
]
__version__ = version("streamlstm")

_MODULES = {
    "ForecasterFleet": "fleet",
    "LSTMClassifier": "classifier",
    "LSTMForecaster": "forecaster",
    "LSTMMultiTargetRegressor": "multi_target",
    "LSTMRegressor": "regressor",
}


def __getattr__(name: str) -> Any:
    """Import an estimator when it is first asked for: river and numba take their time."""
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
