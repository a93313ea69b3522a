"""`evaluate`: scores of a river forecaster at each step ahead."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ParameterError
from ..model.features import as_rows, as_vector
from .scores import UNSCORED_SHARE, Result, summarise

if TYPE_CHECKING:
    import pandas as pd

PROTOCOLS = ("strict", "river")


class RiverForecaster(Protocol):
    """A river `Forecaster`, or a river pipeline that ends with one."""

    def learn_one(self, *, y: float, x: Any) -> object:
        """Learn the next value and its features."""
        ...

    def forecast(self, horizon: int, *, xs: Any) -> Any:
        """Forecast the next values, given their features."""
        ...


def evaluate(
    model: RiverForecaster,
    ys: ArrayLike,
    xs: "Sequence[Mapping[Any, Any]] | pd.DataFrame | pd.Series[Any] | None" = None,
    horizon: int = 1,
    protocol: str = "strict",
) -> list[Result]:
    """Let a river forecaster forecast and learn a stream tick by tick, and score it.

    With "strict", the forecasts made before tick t is learned are compared with the values of ticks
    t, t + 1, ..., t + K - 1. Those made before the first tenth of the ticks has been learned are
    not scored, nor are those that reach beyond the last tick.

    With "river", the same forecasts are compared with the values of ticks t + 1, ..., t + K, and
    only those made before the first K ticks have been learned are not scored. This is what
    `river.evaluate.evaluate` of river 0.26 does. It withholds the value of tick t from the model,
    so good forecasts get bad scores: use it only to compare with figures from there.

    Parameters
    ----------
    model
        A river `Forecaster`, or a pipeline that ends with one. It learns all ticks.
    ys
        (T,) values: a list, an array, a Series, or a DataFrame with one column. Values that are
        missing, NaN or infinite, are given to the model but not scored.
    xs
        Features of the T ticks: a dict for each, a DataFrame, or a Series with one feature. A
        forecast gets the features of the ticks that it is compared with, so use only features that
        are known in advance, such as the hour of the day.
    horizon
        How many ticks to forecast each time, K.
    protocol
        "strict" or "river".

    Returns
    -------
    K results: the first is for one step ahead. MASE compares with the last value that was known
    when the forecast was made, on the same ticks. A forecast that is NaN or infinite is scored too:
    it makes the figures of its step NaN.

    Raises
    ------
    ParameterError
        If the horizon or the protocol is invalid.
    InputError
        If a value is not a number, or if `xs` and `ys` have different lengths.

    Examples
    --------
    A model that knows that each value is one more than the last is perfect only with "strict":

    >>> class CountOn:
    ...     def learn_one(self, y, x=None):
    ...         self.last = y
    ...     def forecast(self, horizon, xs=None):
    ...         return [self.last + k for k in range(1, horizon + 1)]
    >>> [result.mae for result in evaluate(CountOn(), range(100), horizon=2)]
    [0.0, 0.0]
    >>> [result.mae for result in evaluate(CountOn(), range(100), horizon=2, protocol="river")]
    [1.0, 1.0]

    """
    if protocol not in PROTOCOLS:
        raise ParameterError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    if horizon < 1:
        raise ParameterError(f"horizon must be at least 1, got {horizon!r}")
    values = as_vector(_as_series(ys), "ys")
    ticks = values.size
    features = None if xs is None else as_rows(_as_frame(xs), ticks)
    is_strict = protocol == "strict"
    skipped = 0 if is_strict else 1  # ticks between the last known one and the first forecast
    start = max(int(UNSCORED_SHARE * ticks), 1) if is_strict else horizon
    origins = np.arange(start, ticks - horizon - skipped + 1)  # ticks before which to forecast
    paths = np.empty((origins.size, horizon))
    for t, y in enumerate(values.tolist()):
        if start <= t < start + origins.size:
            first = t + skipped
            future = None if features is None else [*features[first : first + horizon]]
            path = model.forecast(horizon, xs=future)
            paths[t - start] = np.reshape(path, horizon)
        model.learn_one(y=y, x=None if features is None else features[t])
    targets = np.array([values[origins + skipped + k] for k in range(horizon)])
    errors = np.where(np.isfinite(paths.T), np.abs(paths.T - targets), np.nan)
    naive_errors = np.abs(_last_known(values)[origins] - targets)
    results = []
    for of_model, of_naive in zip(errors, naive_errors, strict=True):
        scored = np.isfinite(of_naive)
        of_model, of_naive = of_model[scored], of_naive[scored]
        results.append(summarise(ticks, np.ones(of_model.size), of_model, of_model, of_naive))
    return results


def _as_series(ys: Any) -> Any:
    """A DataFrame with one column as a Series."""
    return ys[ys.columns[0]] if len(getattr(ys, "columns", ())) == 1 else ys


def _as_frame(xs: Any) -> Any:
    """A Series as a DataFrame with one column."""
    return xs.to_frame() if hasattr(xs, "to_frame") else xs


def _last_known(values: np.ndarray) -> np.ndarray:
    """(T + 1,) the newest of T values before each tick, and after all; NaN if there is none."""
    known = np.isfinite(values)
    newest = np.maximum.accumulate(np.where(known, np.arange(1, values.size + 1), 0))
    return np.concatenate([[np.nan], values])[np.concatenate([[0], newest])]
