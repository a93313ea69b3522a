"""Bars, or candles: summaries of the ticks of each minute, or of each hundred; see docs/bars.md.

An open bar holds SLOTS numbers for each of C columns, the value and features of its ticks.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, ParameterError
from ..kernels.jit import jit
from .batch import Batch, Rejected, iso

SLOTS = 6
OPEN, HIGH, LOW, CLOSE, SUM, COUNT = range(SLOTS)
_SLOT = {"open": OPEN, "high": HIGH, "low": LOW, "close": CLOSE, "sum": SUM, "count": COUNT}
KINDS = (*_SLOT, "mean")
_SECOND = 10**9
_UNITS = {"ms": _SECOND // 1000, "s": _SECOND, "min": 60 * _SECOND, "h": 3600 * _SECOND}
_UNITS["d"] = 24 * _UNITS["h"]
_LATEST = np.iinfo(np.int64).max


class _Open(NamedTuple):
    """The open bar of each of R streams."""

    ticks: np.ndarray  # (R,) how many it has; 0 if the stream has no open bar
    ends: np.ndarray  # (R,)
    bars: np.ndarray  # (R, C, SLOTS)


class _Closed(NamedTuple):
    """The bars that T ticks close, with room for T of them."""

    ends: np.ndarray  # (T,)
    bars: np.ndarray  # (T, C, SLOTS)
    closes: np.ndarray  # (T,) whether the tick closes a bar
    late: np.ndarray  # (T,) whether the tick comes after its bar was closed


@jit
def _add(
    columns: np.ndarray, rows: np.ndarray, ends: np.ndarray, most: int, open: _Open, closed: _Closed
) -> int:
    """Add T ticks to the open bars, and return how many bars that closes.

    columns: (T, C). rows, ends: (T,) each tick's stream and the end of its bar. most: the number of
    ticks that closes a bar.
    """
    T, C = columns.shape
    N = 0
    for t in range(T):
        r = rows[t]
        closed.closes[t] = False
        closed.late[t] = open.ticks[r] > 0 and ends[t] < open.ends[r]
        if closed.late[t]:
            continue
        if open.ticks[r] > 0 and ends[t] > open.ends[r]:
            _close(open, r, closed, N, t)
            N += 1
        open.ends[r] = ends[t]
        open.ticks[r] += 1
        bar = open.bars[r]
        for c in range(C):
            x = columns[t, c]
            if not math.isfinite(x):
                continue
            if bar[c, COUNT] == 0.0:
                bar[c, OPEN] = bar[c, HIGH] = bar[c, LOW] = x
            bar[c, HIGH] = max(bar[c, HIGH], x)
            bar[c, LOW] = min(bar[c, LOW], x)
            bar[c, CLOSE] = x
            bar[c, SUM] += x
            bar[c, COUNT] += 1.0
        if open.ticks[r] == most:
            _close(open, r, closed, N, t)
            N += 1
    return N


@jit
def _close(open: _Open, r: int, closed: _Closed, n: int, t: int) -> None:
    """Close the bar of stream r at tick t, as the nth closed bar."""
    for c in range(open.bars.shape[1]):
        for slot in range(SLOTS):
            closed.bars[n, c, slot] = open.bars[r, c, slot]
            open.bars[r, c, slot] = 0.0
    closed.ends[n] = open.ends[r]
    closed.closes[t] = True
    open.ticks[r] = 0


class Bars:
    """Turns batches of ticks into batches of closed bars, for each stream separately.

    A bar by time is closed by the first tick of its stream at or after its end; that tick belongs
    to a later bar. The timestamp and label of the bar are its end. No clock is used. A bar by count
    is closed by its last tick, and has the timestamp and label of that tick. In both cases the id
    of the bar is that of the closing tick. There are no bars without ticks: the forecaster sees
    gaps by the timestamps.

    Ticks that arrive after their bar was closed are passed on as `rejected` and counted in `late`.
    Within a bar, ticks are in the order of arrival. Missing values are ignored; a bar that has no
    others has a missing value.

    Parameters
    ----------
    every
        The length of a bar: a time such as "500ms", "60s", "5min", "1h" or "1d", where bars end at
        multiples of it since 1970 UTC, or a number of ticks, such as 100 or "100".
    value
        The value to forecast: "open", "high", "low", "close", "mean", "sum" or "count" of the
        ticks' values, or of one of their features, such as "volume:sum".
    features
        Features of a bar, written in the same way, which is also how they are named.

    Attributes
    ----------
    needs
        Names of the ticks' features that the bars are made of.
    by_time
        Whether ticks need timestamps.
    late
        How many ticks arrived after their bar was closed.

    Raises
    ------
    ParameterError
        If an argument is none of these, or a feature is given twice.

    Examples
    --------
    >>> from streamlstm.live import Batch
    >>> from streamlstm.live.bars import Bars
    >>> times = np.array([5, 30, 59, 61, 150]) * 10**9
    >>> volumes = np.array([1.0, 1, 2, 3, 1])
    >>> ticks = Batch(np.array([7.0, 9, 8, 5, 6]), {"volume": volumes}, times, [*"abcde"])
    >>> source = [ticks.part(0, 2), ticks.part(2, 5)]
    >>> bars = Bars("60s", features=("high", "volume:sum"))
    >>> for batch in map(bars.update, source):
    ...     print(batch.values, batch.features["high"], batch.features["volume:sum"], batch.labels)
    [] [] [] []
    [8. 5.] [9. 5.] [4. 3.] ['1970-01-01T00:01:00Z', '1970-01-01T00:02:00Z']

    """

    def __init__(self, every: str | int, value: str = "close", features: Sequence[str] = ()):
        self.every = str(every)
        self.value = value
        self.features = tuple(features)
        self.late = 0
        self._nanoseconds, self._most = _span(every)
        wanted = [_parsed(name) for name in (value, *self.features)]
        if twice := [name for name in self.features if self.features.count(name) > 1]:
            raise ParameterError(f"the feature {twice[0]!r} is given twice")
        self._columns = [*dict.fromkeys(column for column, _ in wanted)]
        self._wanted = [(self._columns.index(column), kind) for column, kind in wanted]
        self.needs = tuple(name for name in self._columns if name is not None)
        self.by_time = self._nanoseconds > 0
        self._rows: dict[str | None, int] = {}
        none = np.empty(0, np.int64)
        self._open = _Open(none, none, np.empty((0, len(self._columns), SLOTS)))

    def update(self, batch: Batch) -> Batch:
        """Add ticks, and return the bars that they close, in the order of closing.

        The position, rejected messages and so on of the batch are passed on, even if no bar is
        closed.

        Raises
        ------
        InputError
            If the ticks lack a feature, or timestamps for bars by time. The bars are unchanged.

        """
        T, columns = len(batch), self._columns_of(batch)
        ends = self._ends_of(batch)
        rows = self._rows_of(batch.keys, T)
        bars = np.empty((T, *self._open.bars.shape[1:]))
        closes, late = np.empty(T, np.bool_), np.empty(T, np.bool_)
        closed = _Closed(np.empty(T, np.int64), bars, closes, late)
        N = _add(columns, rows, ends, self._most, self._open, closed)
        value, *features = [_summary(bars[:N, c], kind) for c, kind in self._wanted]
        closers = batch.chosen(closes)
        times, labels = closers.timestamps, closers.labels
        if self.by_time:
            times = closed.ends[:N]
            labels = iso(times, fraction=self._nanoseconds % _SECOND > 0)
        return replace(
            closers,
            values=value,
            features=dict(zip(self.features, features, strict=True)),
            timestamps=times,
            labels=labels,
            rejected=batch.rejected + self._rejected(batch, late),
        )

    def _columns_of(self, batch: Batch) -> np.ndarray:
        """(T, C)."""
        columns = np.empty((len(batch), len(self._columns)))
        for c, name in enumerate(self._columns):
            if name is not None and name not in batch.features:
                known = ", ".join(batch.features) or "none"
                raise InputError(f"bars need the feature {name!r}, but the ticks have {known}")
            columns[:, c] = batch.values if name is None else batch.features[name]
        return columns

    def _ends_of(self, batch: Batch) -> np.ndarray:
        """(T,) the end of each tick's bar, in nanoseconds since 1970; 0 for bars by count."""
        if not self.by_time:
            return np.zeros(len(batch), np.int64)
        times = batch.timestamps
        if times is None:
            raise InputError(
                f"bars of {self.every} need ticks with timestamps: name the field of the time"
            )
        ends = times + (self._nanoseconds - times % self._nanoseconds)
        ends[ends < times] = _LATEST  # of int64, in 2262
        return ends

    def _rows_of(self, keys: Sequence[str] | None, ticks: int) -> np.ndarray:
        """(T,) the row of each key's stream; room for rows grows by doubling."""
        for key in {None: None} if keys is None else dict.fromkeys(keys):
            self._rows.setdefault(key, len(self._rows))
        rows = len(self._open.ticks)
        if (more := len(self._rows) - rows) > 0:
            more = max(more, rows)
            self._open = _Open(
                *(
                    np.concatenate([each, np.zeros_like(each, shape=(more, *each.shape[1:]))])
                    for each in self._open
                )
            )
        if keys is None:
            return np.full(ticks, self._rows[None])
        return np.fromiter(map(self._rows.__getitem__, keys), np.int64, ticks)

    def _rejected(self, batch: Batch, late: np.ndarray) -> tuple[Rejected, ...]:
        """The late ticks, as rejected messages."""
        rejected = []
        for t in np.flatnonzero(late).tolist():
            numbers = {"value": batch.values, **batch.features}
            tick: dict[str, Any] = {name: each[t].item() for name, each in numbers.items()}
            tick = {name: x if math.isfinite(x) else None for name, x in tick.items()}
            if batch.timestamps is not None:
                tick["time"] = batch.timestamps[t].item()
            if batch.keys is not None:
                tick["key"] = batch.keys[t]
            payload, name = json.dumps(tick), (batch.ids or batch.labels)[t]
            rejected.append(
                Rejected(name, "late: its bar was already closed", payload, len(payload))
            )
        self.late += len(rejected)
        return tuple(rejected)

    def state(self) -> dict[str, Any]:
        """Return what a snapshot holds: numbers, text and arrays."""
        ticks, ends, bars = (each[: len(self._rows)].copy() for each in self._open)
        return {
            "every": self.every,
            "value": self.value,
            "features": self.features,
            "late": self.late,
            "keys": list(self._rows),
            "ticks": ticks,
            "ends": ends,
            "bars": bars,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state; ParameterError if it is of bars with other parameters."""
        for name in ("every", "value", "features"):
            own = getattr(self, name)
            if state[name] != own:
                raise ParameterError(f"the saved bars have {name} {state[name]}, not {own}")
        self.late = state["late"]
        self._rows = {key: row for row, key in enumerate(state["keys"])}
        self._open = _Open(*(state[name].copy() for name in _Open._fields))


def _span(every: str | int) -> tuple[int, int]:
    """The length of a bar in nanoseconds, 0 for bars by count, and its most ticks."""
    found = re.fullmatch(r"([1-9][0-9]{0,18})([a-z]*)", str(every))
    if found and found[2] in ("", *_UNITS) and not isinstance(every, bool):
        number, unit = int(found[1]), found[2]
        if number * _UNITS.get(unit, 1) <= _LATEST:
            return (number * _UNITS[unit], _LATEST) if unit else (0, number)
    raise ParameterError(
        f"the length of a bar must be a number of ticks, such as 100, or a time in "
        f"{', '.join(_UNITS)}, such as '5min'; got {every!r}"
    )


def _parsed(name: str) -> tuple[str | None, str]:
    """The column, a feature or None for the value, and the kind of summary."""
    column, colon, kind = name.rpartition(":")
    if kind not in KINDS or (colon and not column):
        raise ParameterError(
            f"expected {', '.join(KINDS)}, or one of them of a feature, such as volume:sum; "
            f"got {name!r}"
        )
    return column or None, kind


def _summary(bars: np.ndarray, kind: str) -> np.ndarray:
    """(N,) a summary of a column of bars, (N, SLOTS); NaN where all ticks were missing."""
    count = bars[:, COUNT]
    if kind == "count":
        return count.copy()
    numbers = bars[:, _SLOT.get(kind, SUM)]
    if kind == "mean":
        numbers = numbers / np.maximum(count, 1.0)
    return np.where((count > 0) & np.isfinite(numbers), numbers, np.nan)
