"""Ticks as bars: what those of each minute, or each hundred, were like; see docs/bars.md.

A bar holds SLOTS numbers of each of C columns, which are the ticks' value and features.
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
    """The open bar of each of R streams; one without ticks is none."""

    ticks: np.ndarray  # (R,)
    ends: np.ndarray  # (R,)
    bars: np.ndarray  # (R, C, SLOTS)


class _Closed(NamedTuple):
    """Room for as many closed bars as there are ticks."""

    ends: np.ndarray  # (T,)
    bars: np.ndarray  # (T, C, SLOTS)
    by: np.ndarray  # (T,) whether a tick closes the next of them
    late: np.ndarray  # (T,) whether a tick comes after its bar


@jit
def _add(
    columns: np.ndarray, rows: np.ndarray, ends: np.ndarray, most: int, open: _Open, closed: _Closed
) -> int:
    """Add T ticks to open bars, and return how many of these they close.

    columns: (T, C); rows, ends: (T,) of each tick its stream and the end of its bar; most: ticks of
    a bar.
    """
    T, C = columns.shape
    N = 0
    for t in range(T):
        r = rows[t]
        closed.by[t] = False
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
    """Let tick t close the bar of stream r, as bar n."""
    for c in range(open.bars.shape[1]):
        for slot in range(SLOTS):
            closed.bars[n, c, slot] = open.bars[r, c, slot]
            open.bars[r, c, slot] = 0.0
    closed.ends[n] = open.ends[r]
    closed.by[t] = True
    open.ticks[r] = 0


class Bars:
    """Makes batches of closed bars from batches of ticks, each stream by itself.

    A bar by time is closed by the first tick of its stream at or after its end, which belongs to a
    later bar, and has that end as its timestamp and label; no clock is asked. A bar by count is
    closed by its last tick, and has the timestamp and label of that one. Either way the closing
    tick gives it its id. Bars without ticks are left out: the forecaster sees by the timestamps
    what is missing.

    Ticks that come after their bar was closed are handed on as `rejected`, and counted in `late`.
    The order in a bar is that in which ticks arrive. Missing values are left out; what is made
    of nothing else is missing.

    Parameters
    ----------
    every
        What a bar spans: a time such as "500ms", "60s", "5min", "1h" or "1d", in multiples of it
        since 1970 UTC, or a number of ticks, such as 100 or "100".
    value
        The value of a bar, which is to be forecast: "open", "high", "low", "close", "mean", "sum"
        or "count" of the ticks' values, or, as "volume:sum", of one of their features.
    features
        The features of a bar, written likewise, which are also their names.

    Attributes
    ----------
    needs
        The features of ticks that bars are made of, a tuple of names.
    by_time
        Whether ticks need timestamps.
    late
        How many ticks came after their bar.

    Raises
    ------
    ParameterError
        If one of them is none of these, or a feature stands twice.

    Examples
    --------
    >>> from streamlstm.bars import Bars
    >>> from streamlstm.stream import Batch
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
            raise ParameterError(f"the feature {twice[0]!r} stands twice")
        self._columns = [*dict.fromkeys(column for column, _ in wanted)]
        self._wanted = [(self._columns.index(column), kind) for column, kind in wanted]
        self.needs = tuple(name for name in self._columns if name is not None)
        self.by_time = self._nanoseconds > 0
        self._rows: dict[str | None, int] = {}
        none = np.empty(0, np.int64)
        self._open = _Open(none, none, np.empty((0, len(self._columns), SLOTS)))

    def update(self, batch: Batch) -> Batch:
        """Take ticks, and return the bars that they close, in the order in which they do.

        What a batch says of all of its messages goes along, also where no bar is closed.

        Raises
        ------
        InputError
            If it lacks a feature, or timestamps for bars by time. The bars have not changed.

        """
        T, columns = len(batch), self._columns_of(batch)
        ends = self._ends_of(batch)
        rows = self._rows_of(batch.keys, T)
        bars = np.empty((T, *self._open.bars.shape[1:]))
        by, late = np.empty(T, np.bool_), np.empty(T, np.bool_)
        closed = _Closed(np.empty(T, np.int64), bars, by, late)
        N = _add(columns, rows, ends, self._most, self._open, closed)
        value, *features = [_summary(bars[:N, c], kind) for c, kind in self._wanted]
        closers = batch.chosen(by)
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
                raise InputError(f"bars need the feature {name!r} of ticks; they have {known}")
            columns[:, c] = batch.values if name is None else batch.features[name]
        return columns

    def _ends_of(self, batch: Batch) -> np.ndarray:
        """(T,) nanoseconds since 1970 at which the bar of each tick ends; 0 by count."""
        if not self.by_time:
            return np.zeros(len(batch), np.int64)
        times = batch.timestamps
        if times is None:
            raise InputError(f"bars of {self.every} need ticks with timestamps: name their field")
        ends = times + (self._nanoseconds - times % self._nanoseconds)
        ends[ends < times] = _LATEST  # of int64, in 2262
        return ends

    def _rows_of(self, keys: Sequence[str] | None, ticks: int) -> np.ndarray:
        """(T,) the rows of streams, which grow by doubling."""
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
        """The ticks that are late, as messages."""
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
            rejected.append(Rejected(name, "late: its bar is closed", payload, len(payload)))
        self.late += len(rejected)
        return tuple(rejected)

    def state(self) -> dict[str, Any]:
        """What a snapshot holds: numbers, text and arrays."""
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
        """Go on from a state of bars that are made alike, else a ParameterError."""
        for name in ("every", "value", "features"):
            own = getattr(self, name)
            if state[name] != own:
                raise ParameterError(f"the bars to go on with have {name} {state[name]}, not {own}")
        self.late = state["late"]
        self._rows = {key: row for row, key in enumerate(state["keys"])}
        self._open = _Open(*(state[name].copy() for name in _Open._fields))


def _span(every: str | int) -> tuple[int, int]:
    """Nanoseconds of a bar, 0 if it is one by count, and most ticks of it."""
    found = re.fullmatch(r"([1-9][0-9]{0,18})([a-z]*)", str(every))
    if found and found[2] in ("", *_UNITS) and not isinstance(every, bool):
        number, unit = int(found[1]), found[2]
        if number * _UNITS.get(unit, 1) <= _LATEST:
            return (number * _UNITS[unit], _LATEST) if unit else (0, number)
    raise ParameterError(
        f"every must be a number of ticks or a time in {', '.join(_UNITS)}, such as 100 or '5min', "
        f"got {every!r}"
    )


def _parsed(name: str) -> tuple[str | None, str]:
    """The feature, None for the value, and the kind of summary."""
    column, colon, kind = name.rpartition(":")
    if kind not in KINDS or (colon and not column):
        raise ParameterError(f"a bar has {', '.join(KINDS)}, or FEATURE:sum, not {name!r}")
    return column or None, kind


def _summary(bars: np.ndarray, kind: str) -> np.ndarray:
    """(N,) of a column of bars, (N, SLOTS); NaN where there was nothing."""
    count = bars[:, COUNT]
    if kind == "count":
        return count.copy()
    numbers = bars[:, _SLOT.get(kind, SUM)]
    if kind == "mean":
        numbers = numbers / np.maximum(count, 1.0)
    return np.where((count > 0) & np.isfinite(numbers), numbers, np.nan)
