"""The parts of river that we use, loaded without the seconds that importing river takes."""

import importlib.util
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

_loading = threading.Lock()  # so that no other thread gets a module that is half loaded


def _load(package: str, name: str) -> Any:
    """Load one module of a river package; if the package is imported later, it uses this module."""
    full_name = f"{package}.{name}"
    with _loading:
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


def detector_state(detector: Any) -> tuple[bytes, bool]:
    """State for `restored_detector`: the window as river writes it, and whether drift was found."""
    return detector._helper.__getstate__(), detector.drift_detected


def restored_detector(window: bytes, drift_detected: bool) -> Any:
    """A detector that continues from a state returned by `detector_state`.

    Raises ValueError if the installed river cannot read the window.
    """
    detector = new_detector()
    detector._drift_detected = drift_detected
    try:
        detector._helper.__setstate__(window)
        restored = detector._helper.__getstate__() == window
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # from Rust, not a subclass of Exception
            raise
        restored = False
    if not restored:
        raise ValueError("the installed river cannot read the window of a drift detector")
    return detector


__all__ = ["Forecaster", "detector_state", "new_detector", "restored_detector"]
