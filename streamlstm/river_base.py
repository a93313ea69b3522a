"""River's base class of forecasters, without the import of its whole package."""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from river.time_series.base import Forecaster
else:
    NAME = "river.time_series.base"

    def _load():
        """Load the one module; `import river.time_series` will find and use it later."""
        if NAME in sys.modules:
            return sys.modules[NAME]
        package = importlib.util.find_spec("river.time_series")
        path = Path(package.origin).with_name("base.py")
        spec = importlib.util.spec_from_file_location(NAME, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[NAME] = module
        spec.loader.exec_module(module)
        return module

    Forecaster = _load().Forecaster

__all__ = ["Forecaster"]
