"""Prequential scores: every forecast is compared with the value that came after it was made."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, ParameterError
from ..live.history import History
from ..model.features import as_vector
from .blocks import Blocks

LEFT_OUT = 0.1  # of the ticks, at the beginning
PROTOCOLS = ("strict", "river")
FINENESS, FINENESS_OF_MANY = 4096, 64  # of the blocks of one stream, and of each of many


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
    """Collects errors as a stream goes by, in a memory that hardly grows.

    Up to 131,072 ticks figures leave out exactly the first tenth. Of longer streams it is rounded
    down to the beginning of a block, see `Blocks`: up to 1/4096 of it is scored as well.

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
        self._blocks = Blocks(len(COLUMNS), FINENESS)
        self._known = History(1, np.nan)

    def update(
        self, values: np.ndarray, forecasts: np.ndarray, bounds: np.ndarray | None = None
    ) -> None:
        """Compare T values with their one-step forecasts, NaN where there is none.

        bounds: (T, 2) lower and upper ends of the intervals around them, if there are any.
        """
        rows = np.zeros(values.size, np.int32)
        self._blocks.add(rows, _numbers(self._known, None, values, forecasts, bounds))

    def curve(self) -> "Curve":
        """The errors as they went."""
        return _curve(*self._blocks.streams()[0])

    def result(self) -> Result:
        """Scores over all ticks but the first tenth."""
        return _result(*self._blocks.streams()[0])


class Sums(NamedTuple):
    """What is summed up over the ticks of a block, (B,) each."""

    scored: Any  # ticks with a value and a forecast
    errors: Any  # of these, absolute
    naive_errors: Any  # of the last-value forecast on the same ticks
    bounded: Any  # those of them that have an interval
    inside: Any  # and lie in it
    widths: Any
    norm: Any  # of the errors


COLUMNS = Sums(*range(len(Sums._fields)))


class Curve(NamedTuple):
    """Sums over all ticks before each of some places in a stream, of which the first is 0."""

    ticks: np.ndarray  # (N,)
    scored: np.ndarray  # (N,) of these, with a value and a forecast
    errors: np.ndarray  # (N,) sums of their absolute errors
    naive_errors: np.ndarray  # (N,) and of those of the last-value forecast


def _numbers(
    known: History,
    keys: Sequence[Hashable] | None,
    values: np.ndarray,
    forecasts: np.ndarray,
    bounds: np.ndarray | None,
) -> np.ndarray:
    """(T, C) what is to be summed up of ticks; known: the last value of each stream."""
    finite = np.isfinite(values)
    finite_keys = None if keys is None else list(compress(keys, finite))
    entries, at = known.push(finite_keys, values[finite])
    numbers = np.zeros((values.size, len(COLUMNS)))
    errors = np.abs(forecasts - np.where(finite, values, np.nan))
    scored = np.isfinite(errors)
    naive = np.full(values.size, np.nan)
    naive[finite] = np.abs(entries[at - 1] - entries[at])
    numbers[:, COLUMNS.scored] = scored
    numbers[scored, COLUMNS.errors] = numbers[scored, COLUMNS.norm] = errors[scored]
    numbers[scored, COLUMNS.naive_errors] = naive[scored]
    if bounds is not None:
        lower, upper = bounds.T
        bounded = scored & ~np.isnan(upper - lower)
        numbers[:, COLUMNS.bounded] = bounded
        numbers[:, COLUMNS.inside] = bounded & (lower <= values) & (values <= upper)
        numbers[bounded, COLUMNS.widths] = (upper - lower)[bounded]
    return numbers


def _result(sizes: np.ndarray, sums: np.ndarray) -> Result:
    """Figures of the blocks of a stream but for those that lie in its first tenth."""
    ends = np.cumsum(sizes)
    ticks = int(sizes.sum())
    columns = Sums(*sums[ends > int(LEFT_OUT * ticks)].T)
    some = columns.scored > 0
    result = _summary(
        ticks, columns.scored[some], columns.errors[some], columns.norm[some],
        columns.naive_errors[some],
    )  # fmt: skip
    bounded = columns.bounded > 0
    if not bounded.any():
        return result
    count = columns.bounded.sum()
    coverage, widths = columns.inside.sum() / count, columns.widths[bounded].sum() / count
    return replace(result, coverage=float(coverage), interval_width=float(widths))


def _curve(sizes: np.ndarray, sums: np.ndarray) -> Curve:
    """The running sums of the blocks of a stream."""
    columns = Sums(*sums.T)
    parts = sizes, columns.scored, columns.errors, np.nan_to_num(columns.naive_errors)
    return Curve(*(np.concatenate([[0], np.cumsum(part)]) for part in parts))


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
    """Collects errors of many streams as their ticks go by, in a memory that hardly grows.

    Up to 131,072 ticks in all figures leave out exactly the first tenth of each stream, beyond
    that up to 1/64 less of it: see `Score`.

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
        self._blocks = Blocks(len(COLUMNS), FINENESS_OF_MANY)
        self._known = History(1, np.nan)
        self._rows: dict[Hashable, int] = {}

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
        rows = np.fromiter(map(self._rows.__getitem__, keys), np.int32, len(keys))
        self._blocks.add(rows, _numbers(self._known, keys, values, forecasts, bounds))

    def curve(self, key: Hashable) -> Curve:
        """The errors of a stream as they went."""
        return _curve(*self._blocks.streams()[self._rows[key]])

    def results(self) -> dict[Hashable, Result]:
        """The figures of each stream, in the order in which they came."""
        streams = zip(self._rows, self._blocks.streams(), strict=False)
        return {key: _result(*stream) for key, stream in streams}


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
        _summary(ticks, np.ones(mine[scored].size), mine[scored], mine[scored], naive[scored])
        for mine, naive in zip(errors, naive_errors, strict=True)
        for scored in [np.isfinite(naive)]
    ]


def _last_known(values: np.ndarray, last: float) -> np.ndarray:
    """(T + 1,) the newest of T values before each tick, and after all; `last` if there is none."""
    known = np.isfinite(values)
    newest = np.maximum.accumulate(np.where(known, np.arange(1, values.size + 1), 0))
    return np.concatenate([[last], values])[np.concatenate([[0], newest])]


def _summary(
    ticks: int, counts: np.ndarray, errors: np.ndarray, norms: np.ndarray, naive: np.ndarray
) -> Result:
    """Figures of blocks of ticks, each with a count of scored ones and sums over them.

    These are of the absolute errors, the root of that of their squares, and of those of the last
    value.
    """
    scored = int(counts.sum())
    if scored == 0:
        return Result(ticks, 0, None, None, None)
    mae = float(errors.sum() / scored)
    largest = float(norms.max())  # squares are taken of fractions of it: no overflow
    rmse = 0.0
    if largest != 0:
        rmse = largest * float(np.sqrt(np.sum((norms / largest) ** 2) / scored))
    naive_mae = float(naive.sum() / scored)
    return Result(ticks, scored, mae, rmse, mae / naive_mae if naive_mae > 0 else None)
