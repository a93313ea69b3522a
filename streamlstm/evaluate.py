"""Prequential scores: every forecast is compared with the value that came after it was made."""

from dataclasses import dataclass

import numpy as np

LEFT_OUT = 0.1  # of the ticks, at the beginning


@dataclass(frozen=True)
class Result:
    """Errors of the one-step forecasts over the scored ticks; None where nothing can be said."""

    ticks: int  # seen
    scored: int  # with a value and a forecast, after the first tenth
    mae: float | None  # mean absolute error
    rmse: float | None  # root mean squared error
    mase: float | None  # MAE over that of the last-value forecast on the same ticks


class Score:
    """Collects errors as a stream goes by; 16 bytes a tick.

    Examples
    --------
    >>> import numpy as np
    >>> score = Score()
    >>> score.update(np.array([1.0, 2.0, 4.0]), np.array([np.nan, 1.5, 3.0]))
    >>> score.result()
    Result(ticks=3, scored=2, mae=0.75, rmse=0.790..., mase=0.5)

    """

    def __init__(self) -> None:
        self._errors: list[np.ndarray] = []
        self._naive_errors: list[np.ndarray] = []
        self._last = np.nan

    def update(self, values: np.ndarray, forecasts: np.ndarray) -> None:
        """Compare T values with their one-step forecasts, NaN where there is none."""
        known = np.isfinite(values)
        newest = np.maximum.accumulate(np.where(known, np.arange(1, values.size + 1), 0))
        filled = np.concatenate([[self._last], values])[newest]
        before = np.concatenate([[self._last], filled[:-1]])
        values = np.where(known, values, np.nan)
        unknown = np.isnan(forecasts)
        self._errors.append(np.abs(forecasts - values))
        self._naive_errors.append(np.where(unknown, np.nan, np.abs(before - values)))
        self._last = filled[-1] if filled.size else self._last

    @property
    def errors(self) -> np.ndarray:
        """(T,) absolute errors, NaN where a tick cannot be scored."""
        return np.concatenate(self._errors or [np.empty(0)])

    @property
    def naive_errors(self) -> np.ndarray:
        """(T,) absolute errors of the last-value forecast on the same ticks."""
        return np.concatenate(self._naive_errors or [np.empty(0)])

    def result(self) -> Result:
        """Scores over all ticks but the first tenth."""
        errors, naive = self.errors, self.naive_errors
        ticks = errors.size
        scored = np.isfinite(errors) & (np.arange(ticks) >= int(LEFT_OUT * ticks))
        errors, naive = errors[scored], naive[scored]
        if errors.size == 0:
            return Result(ticks, 0, None, None, None)
        mae = float(errors.mean())
        largest = float(errors.max())  # squares are taken of fractions of it: no overflow
        rmse = largest * float(np.sqrt(np.mean((errors / largest) ** 2))) if largest > 0 else 0.0
        naive_mae = float(naive.mean())
        return Result(ticks, errors.size, mae, rmse, mae / naive_mae if naive_mae > 0 else None)
