"""Prequential scores: each forecast is compared with the value that came after it was made."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, NamedTuple

import numpy as np

from ..live.history import History
from .blocks import Blocks

UNSCORED_SHARE = 0.1  # of the ticks, at the beginning
FINENESS, FLEET_FINENESS = 4096, 64  # of the blocks of one stream, and of each of many


@dataclass(frozen=True)
class Result:
    """Scores of forecasts one step ahead, after the first tenth of the ticks.

    A score is None if there is nothing to compute it from.
    """

    ticks: int  # seen, the first tenth included
    scored: int  # with a value and a forecast
    mae: float | None  # mean absolute error
    rmse: float | None  # root mean squared error
    mase: float | None  # MAE relative to that of the last-value forecast of the same ticks
    coverage: float | None = None  # share of the scored ticks that lie in their intervals
    interval_width: float | None = None  # mean


class Score:
    """Collects the errors of a stream in memory that hardly grows.

    Up to 131,072 ticks exactly the first tenth is not scored. On longer streams up to 1/4096 of
    that tenth is scored as well, because the errors are summed over blocks of ticks.

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
        """Compare T values with their one-step forecasts, which are NaN if there were none.

        bounds: (T, 2) lower and upper ends of their intervals, or None.
        """
        rows = np.zeros(values.size, np.int32)
        self._blocks.add(rows, _summands(self._known, None, values, forecasts, bounds))

    def curve(self) -> "Curve":
        """Return the errors over time."""
        return _curve(*self._blocks.streams()[0])

    def result(self) -> Result:
        """Return the scores of all ticks after the first tenth."""
        return _result(*self._blocks.streams()[0])


class Sums(NamedTuple):
    """Sums over the ticks of each of B blocks, (B,) each."""

    scored: Any  # ticks with a value and a forecast
    errors: Any  # their absolute errors
    naive_errors: Any  # those of the last-value forecast of the same ticks
    bounded: Any  # scored ticks that have an interval
    inside: Any  # those that lie in it
    widths: Any  # of the intervals
    norm: Any  # root of the sum of squared errors


COLUMNS = Sums(*range(len(Sums._fields)))


class Curve(NamedTuple):
    """Sums over all ticks before each of N places in a stream, the first of which is 0."""

    ticks: np.ndarray  # (N,)
    scored: np.ndarray  # (N,) ticks with a value and a forecast
    errors: np.ndarray  # (N,) their absolute errors
    naive_errors: np.ndarray  # (N,) those of the last-value forecast


def _summands(
    known: History,
    keys: Sequence[Hashable] | None,
    values: np.ndarray,
    forecasts: np.ndarray,
    bounds: np.ndarray | None,
) -> np.ndarray:
    """(T, C) what each tick adds to the sums; known: the last value of each stream."""
    finite = np.isfinite(values)
    finite_keys = None if keys is None else list(compress(keys, finite))
    entries, at = known.push(finite_keys, values[finite])
    summands = np.zeros((values.size, len(COLUMNS)))
    errors = np.abs(forecasts - np.where(finite, values, np.nan))
    scored = np.isfinite(errors)
    naive = np.full(values.size, np.nan)
    naive[finite] = np.abs(entries[at - 1] - entries[at])
    summands[:, COLUMNS.scored] = scored
    summands[scored, COLUMNS.errors] = summands[scored, COLUMNS.norm] = errors[scored]
    summands[scored, COLUMNS.naive_errors] = naive[scored]
    if bounds is not None:
        lower, upper = bounds.T
        bounded = scored & ~np.isnan(upper - lower)
        summands[:, COLUMNS.bounded] = bounded
        summands[:, COLUMNS.inside] = bounded & (lower <= values) & (values <= upper)
        summands[bounded, COLUMNS.widths] = (upper - lower)[bounded]
    return summands


def _result(sizes: np.ndarray, sums: np.ndarray) -> Result:
    """Scores of the blocks of a stream that do not lie in its first tenth."""
    ends = np.cumsum(sizes)
    ticks = int(sizes.sum())
    columns = Sums(*sums[ends > int(UNSCORED_SHARE * ticks)].T)
    some = columns.scored > 0
    result = summarise(
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
    """Running sums over the blocks of a stream."""
    columns = Sums(*sums.T)
    parts = sizes, columns.scored, columns.errors, np.nan_to_num(columns.naive_errors)
    return Curve(*(np.concatenate([[0], np.cumsum(part)]) for part in parts))


def summarise(
    ticks: int, counts: np.ndarray, errors: np.ndarray, norms: np.ndarray, naive: np.ndarray
) -> Result:
    """Scores from B blocks of ticks.

    ticks: seen in all; counts: (B,) scored ticks; errors: (B,) sums of their absolute errors;
    norms: (B,) roots of the sums of their squares; naive: (B,) sums of the absolute errors of the
    last-value forecast.
    """
    scored = int(counts.sum())
    if scored == 0:
        return Result(ticks, 0, None, None, None)
    mae = float(errors.sum() / scored)
    largest = float(norms.max())  # only squares of fractions of it are formed: no overflow
    rmse = 0.0
    if largest != 0:
        rmse = largest * float(np.sqrt(np.sum((norms / largest) ** 2) / scored))
    naive_mae = float(naive.sum() / scored)
    return Result(ticks, scored, mae, rmse, mae / naive_mae if naive_mae > 0 else None)


@dataclass(frozen=True)
class FleetResult:
    """Scores of forecasts one step ahead over many streams, which may differ in scale.

    A score is None if there is nothing to compute it from. Streams without a MASE do not count in
    the scores of MASE.
    """

    streams: int
    ticks: int  # seen
    scored: int  # with a value and a forecast, after the first tenth of each stream
    mase_median: float | None
    mase_mean: float | None  # geometric mean
    above_last_value: float | None  # share of the streams whose MASE is above 1
    coverage: float | None  # share of the scored ticks that lie in their intervals


class FleetScore:
    """Collects the errors of many streams in memory that hardly grows.

    Up to 131,072 ticks in all exactly the first tenth of each stream is not scored. Beyond that up
    to 1/64 of the tenth is scored as well: see `Score`.

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
        self._blocks = Blocks(len(COLUMNS), FLEET_FINENESS)
        self._known = History(1, np.nan)
        self._rows: dict[Hashable, int] = {}

    def update(
        self,
        keys: Sequence[Hashable],
        values: np.ndarray,
        forecasts: np.ndarray,
        bounds: np.ndarray | None = None,
    ) -> None:
        """Compare T values of the streams with these keys with their forecasts: see `Score`."""
        for key in dict.fromkeys(keys):
            self._rows.setdefault(key, len(self._rows))
        rows = np.fromiter(map(self._rows.__getitem__, keys), np.int32, len(keys))
        self._blocks.add(rows, _summands(self._known, keys, values, forecasts, bounds))

    def curve(self, key: Hashable) -> Curve:
        """Return the errors of a stream over time."""
        return _curve(*self._blocks.streams()[self._rows[key]])

    def results(self) -> dict[Hashable, Result]:
        """Return the scores of each stream, in the order in which the streams came."""
        streams = zip(self._rows, self._blocks.streams(), strict=False)
        return {key: _result(*stream) for key, stream in streams}


def fleet_result(results: Collection[Result]) -> FleetResult:
    """Summarise the scores of many streams."""
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
