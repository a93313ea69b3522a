"""Drift detection: have the errors of a forecaster grown?"""

from typing import Any

import numpy as np

from ..kernels.forecaster.layout import DRIFT_INTERVAL
from .river_parts import detector_state, new_detector, restored_detector

LARGEST_ERROR = 10.0  # in mean absolute changes; larger errors are clipped for the detector


class DriftWatch:
    """Feeds the errors of a forecaster to river's ADWIN, every DRIFT_INTERVAL ticks."""

    def __init__(self) -> None:
        self.events: list[int] = []  # ticks learned when each drift was found
        self._detector = new_detector()

    def due(self, ticks: int) -> int:
        """Ticks until the next call of `look`."""
        return DRIFT_INTERVAL - ticks % DRIFT_INTERVAL

    def look(self, errors: np.ndarray, ticks: int) -> bool:
        """Whether the errors have grown; errors: (DRIFT_INTERVAL,) newest, NaN where missing."""
        grown = False
        for error in np.minimum(errors, LARGEST_ERROR)[~np.isnan(errors)].tolist():
            before = self._detector.estimation
            self._detector.update(error)
            grown |= self._detector.drift_detected and self._detector.estimation > before
        if grown:
            self.events.append(ticks)
        return grown

    def __getstate__(self) -> dict[str, Any]:
        return {"events": self.events, "detector": detector_state(self._detector)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.events = state["events"]
        self._detector = restored_detector(*state["detector"])
