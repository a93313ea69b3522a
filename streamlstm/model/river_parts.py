"""What is used of river, without the seconds that importing its packages takes."""

import importlib.util
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

_loading = threading.Lock()  # another thread must not see a module that is not there yet


def _load(package: str, name: str) -> Any:
    """Load one module of a river package; an import of the package will find and use it later."""
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
    """What `restored_detector` takes: its window, as river writes it, and whether it has cut it."""
    return detector._helper.__getstate__(), detector.drift_detected


def restored_detector(window: bytes, drift_detected: bool) -> Any:
    """A detector that goes on as the one did that this is the state of.

    Raises ValueError if this river does not write such a window.
    """
    detector = new_detector()
    detector._drift_detected = drift_detected
    try:
        detector._helper.__setstate__(window)
        understood = detector._helper.__getstate__() == window
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's, which is no Exception
            raise
        understood = False
    if not understood:
        raise ValueError("this river does not read the window of a drift detector")
    return detector


__all__ = ["Forecaster", "detector_state", "new_detector", "restored_detector"]
