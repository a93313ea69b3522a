"""What is used of river, without the seconds that importing its packages takes."""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any


def _load(package: str, name: str) -> Any:
    """Load one module of a river package; an import of the package will find and use it later."""
    full_name = f"{package}.{name}"
    if full_name not in sys.modules:
        found = importlib.util.find_spec(package)
        path = Path(found.origin).with_name(f"{name}.py")  # type: ignore[union-attr, arg-type]
        spec: Any = importlib.util.spec_from_file_location(full_name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[full_name] = module
        spec.loader.exec_module(module)
    return sys.modules[full_name]


if TYPE_CHECKING:
    from river.time_series.base import Forecaster
else:
    Forecaster = _load("river.time_series", "base").Forecaster


def new_detector() -> Any:
    """ADWIN with river's defaults (Bifet & Gavalda 2007)."""
    return _load("river.drift", "adwin").ADWIN()


__all__ = ["Forecaster", "new_detector"]
