"""Prequential scores: every forecast is compared with the value that came after it was made."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import numpy as np

from .errors import InputError, ParameterError
from .features import as_vector
from .history import History

LEFT_OUT = 0.1  # of the ticks, at the beginning
PROTOCOLS = ("strict", "river")


@dataclass(frozen=True)
class Result:
    """Errors of the forecasts of one step ahead; None where nothing can be said."""

    ticks: int  # seen
    scored: int  # with a value and a forecast, after the first tenth
    mae: float | None  # mean absolute error
    rmse: float | None  # root mean squared error
    mase: float | None  # MAE over that of the last-value forecast on the same ticks
    coverage: float | None = None  # share of these ticks in their intervals, ends included
    interval_width: float | None = None  # mean


class Score:
    """Collects errors as a stream goes by; 25 bytes a tick.

    Examples
    --------
    >>> import numpy as np
    >>> score = Score()
    >>> bounds = np.array([[np.nan, np.nan], [1.0, 2.0], [2.0, 3.5]])
    >>> score.update(np.array([1.0, 2.0, 4.0]), np.array([np.nan, 1.5, 3.0]), bounds)
    >>> result = score.result()
    >>> result.scored, result.mae, result.mase, result.coverage, result.interval_width
    (2, 0.75, 0.5, 0.5, 1.25)

    """

    def __init__(self) -> None:
        self._parts: list[list[np.ndarray]] = []  # errors, naive errors, in intervals, their widths
        self._known = History(1, np.nan)

    def update(
        self,
        values: np.ndarray,
        forecasts: np.ndarray,
        bounds: np.ndarray | None = None,
        keys: Sequence[Hashable] | None = None,
    ) -> None:
        """Compare T values with their one-step forecasts, NaN where there is none.

        bounds: (T, 2) lower and upper ends of the intervals around them, if there are any; keys:
        the stream of each value, if there are several.
        """
        known = np.isfinite(values)
        values = np.where(known, values, np.nan)
        known_keys = None if keys is None else list(compress(keys, known))
        entries, at = self._known.push(known_keys, values[known])
        naive_errors = np.full(values.size, np.nan)
        naive_errors[known] = np.abs(entries[at - 1] - entries[at])
        lower, upper = np.full((2, values.size), np.nan) if bounds is None else bounds.T
        self._parts.append(
            [
                np.abs(forecasts - values),
                np.where(np.isnan(forecasts), np.nan, naive_errors),
                (lower <= values) & (values <= upper),
                upper - lower,
            ]
        )

    @property
    def errors(self) -> np.ndarray:
        """(T,) absolute errors, NaN where a tick cannot be scored."""
        return self._columns()[0]

    @property
    def naive_errors(self) -> np.ndarray:
        """(T,) absolute errors of the last-value forecast on the same ticks."""
        return self._columns()[1]

    def result(self) -> Result:
        """Scores over all ticks but the first tenth."""
        errors, naive, inside, widths = self._columns()
        ticks = errors.size
        scored = np.isfinite(errors) & (np.arange(ticks) >= int(LEFT_OUT * ticks))
        result = _summary(ticks, errors[scored], naive[scored])
        bounded = scored & ~np.isnan(widths)
        if not bounded.any():
            return result
        coverage = float(inside[bounded].mean())
        return replace(result, coverage=coverage, interval_width=float(widths[bounded].mean()))

    def of_ticks(self, ticks: np.ndarray) -> "Score":
        """The score of some of the ticks, by number."""
        score = Score()
        score._parts = [[column[ticks] for column in self._columns()]]
        return score

    def __getstate__(self) -> dict[str, Any]:
        self._columns()
        return self.__dict__

    def _columns(self) -> list[np.ndarray]:
        """The four arrays of all ticks, put together once."""
        if len(self._parts) != 1:
            parts = zip(*self._parts, strict=True) if self._parts else [[np.empty(0)]] * 4
            self._parts = [[np.concatenate(column) for column in parts]]
        return self._parts[0]


@dataclass(frozen=True)
class FleetResult:
    """Errors of the forecasts of one step ahead of many streams, of whatever scale each.

    Figures are None where nothing can be said; those of MASE leave out streams that have none.
    """

    streams: int
    ticks: int  # seen
    scored: int  # with a value and a forecast, after the first tenth of its stream
    mase_median: float | None
    mase_mean: float | None  # geometric mean
    above_last_value: float | None  # share of the streams with a MASE above 1
    coverage: float | None  # share of the ticks scored in their intervals, ends included


class FleetScore:
    """Collects errors of many streams as their ticks go by; 29 bytes a tick.

    Examples
    --------
    >>> import numpy as np
    >>> score = FleetScore()
    >>> score.update(["a", "b"], np.array([1.0, 20.0]), np.array([np.nan, np.nan]))
    >>> score.update(["b", "a"], np.array([30.0, 2.0]), np.array([25.0, 3.0]))
    >>> results = score.results()
    >>> results["a"].mase, results["b"].mase
    (1.0, 0.5)
    >>> fleet_result(results.values()).mase_median
    0.75

    """

    def __init__(self) -> None:
        self._score = Score()
        self._rows: dict[Hashable, int] = {}
        self._of: list[np.ndarray] = []  # rows of the streams of all ticks

    def update(
        self,
        keys: Sequence[Hashable],
        values: np.ndarray,
        forecasts: np.ndarray,
        bounds: np.ndarray | None = None,
    ) -> None:
        """Compare T values, each of the stream of its key, with their forecasts: see `Score`."""
        for key in dict.fromkeys(keys):
            self._rows.setdefault(key, len(self._rows))
        self._of.append(np.fromiter(map(self._rows.__getitem__, keys), np.int32, len(keys)))
        self._score.update(values, forecasts, bounds, keys)

    def scores(self) -> dict[Hashable, Score]:
        """The score of each stream, in the order in which they came."""
        rows = np.concatenate(self._of or [np.empty(0, np.int32)])
        starts = np.cumsum(np.bincount(rows, minlength=len(self._rows)))[:-1]
        ticks = np.split(np.argsort(rows, kind="stable"), starts)
        return dict(zip(self._rows, map(self._score.of_ticks, ticks), strict=False))

    def results(self) -> dict[Hashable, Result]:
        """The figures of each stream, in the order in which they came."""
        return {key: score.result() for key, score in self.scores().items()}


def fleet_result(results: Collection[Result]) -> FleetResult:
    """Sum up the figures of many streams."""
    ratios = np.array([each.mase for each in results if each.mase is not None])
    median = mean = above = None
    if ratios.size:
        median, above = float(np.median(ratios)), float(np.mean(ratios > 1))
        mean = float(np.exp(np.mean(np.log(ratios)))) if ratios.all() else 0.0
    held = [(each.coverage, each.scored) for each in results if each.coverage is not None]
    return FleetResult(
        streams=len(results),
        ticks=sum(each.ticks for each in results),
        scored=sum(each.scored for each in results),
        mase_median=median,
        mase_mean=mean,
        above_last_value=above,
        coverage=sum(share * n for share, n in held) / sum(n for _, n in held) if held else None,
    )


def evaluate(
    model: Any,
    ys: Any,
    xs: Sequence[dict[Hashable, Any]] | None = None,
    horizon: int = 1,
    protocol: str = "strict",
) -> list[Result]:
    """Let a river forecaster forecast and learn a stream, and score each step ahead.

    With "strict", the path of forecasts made before tick t is learned is compared with the values
    of ticks t, t + 1, ..., t + K - 1. The first tenth of the ticks is only learned, as is the end,
    where a path would go beyond the last tick.

    With "river", the same path is compared with ticks t + 1, ..., t + K, and the first K ticks are
    only learned: what `river.evaluate.evaluate` of river 0.26 does. Good forecasts score badly
    there, since the value of tick t is held back from the model: use it to compare with figures
    from there.

    Parameters
    ----------
    model
        A river `Forecaster`, or a pipeline that ends with one. It learns all ticks.
    ys
        (T,) values. Missing ones, NaN or infinite, go to the model and are not scored.
    xs
        T dicts of features. A forecast gets those of the ticks that it is compared with: they must
        be ones that are known ahead, such as the hour of the day.
    horizon
        Ticks ahead to forecast each time, K.
    protocol
        "strict" or "river".

    Returns
    -------
    K results: the first is that of the step right after the values known. MASE is relative to the
    last value known when the forecast was made, on the same ticks. A forecast that is NaN or
    infinite is not passed over: it makes the figures of its step NaN.

    Raises
    ------
    ParameterError
        If the horizon or the protocol is none.
    InputError
        If a value is not a number or `xs` has another length than `ys`.

    Examples
    --------
    A forecaster that knows how its stream goes on is only perfect with "strict":

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
    values = as_vector(ys, "ys")
    ticks = values.size
    if xs is not None and len(xs) != ticks:
        raise InputError(f"xs has {len(xs)} entries, expected one for each of {ticks} ticks")
    strict = protocol == "strict"
    skipped = 0 if strict else 1  # ticks between those known and those forecast
    start = max(int(LEFT_OUT * ticks), 1) if strict else horizon
    made = np.arange(start, ticks - horizon - skipped + 1)  # ticks before which to forecast
    paths = np.empty((made.size, horizon))
    for t, y in enumerate(values.tolist()):
        if start <= t < start + made.size:
            first = t + skipped
            future = None if xs is None else list(xs[first : first + horizon])
            path = model.forecast(horizon, xs=future)
            paths[t - start] = np.reshape(path, horizon)
        model.learn_one(y=y, x=None if xs is None else xs[t])
    targets = np.array([values[made + skipped + k] for k in range(horizon)])
    errors = np.where(np.isfinite(paths.T), np.abs(paths.T - targets), np.nan)
    naive_errors = np.abs(_last_known(values, np.nan)[made] - targets)
    return [
        _summary(ticks, mine[scored], naive[scored])
        for mine, naive in zip(errors, naive_errors, strict=True)
        for scored in [np.isfinite(naive)]
    ]


def _last_known(values: np.ndarray, last: float) -> np.ndarray:
    """(T + 1,) the newest of T values before each tick, and after all; `last` if there is none."""
    known = np.isfinite(values)
    newest = np.maximum.accumulate(np.where(known, np.arange(1, values.size + 1), 0))
    return np.concatenate([[last], values])[np.concatenate([[0], newest])]


def _summary(ticks: int, errors: np.ndarray, naive: np.ndarray) -> Result:
    """Figures of absolute errors, and of the last value's on the same ticks."""
    if errors.size == 0:
        return Result(ticks, 0, None, None, None)
    mae = float(errors.mean())
    largest = float(errors.max())  # squares are taken of fractions of it: no overflow
    rmse = 0.0 if largest == 0 else largest * float(np.sqrt(np.mean((errors / largest) ** 2)))
    naive_mae = float(naive.mean())
    return Result(ticks, errors.size, mae, rmse, mae / naive_mae if naive_mae > 0 else None)
