"""Rows of a file as batches of ticks: what CSV and Parquet have in common.

docs/replay.md lists what happens to bad input.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from streamlstm.errors import DataError, ParameterError
from streamlstm.live import Batch, History, iso

AUTO = "auto"

TIME_NAMES = {"time", "timestamp", "date", "datetime", "ds", "date_time", "utc", "ts"}
TARGET_NAMES = ("value", "y", "target", "close", "price")
NOT_TARGETS = {"", "id", "no", "index", "year", "month", "day", "hour", "minute", "second"}
SAMPLE_ROWS = 100
BATCH_TICKS = 8192
# Cells that pandas takes as missing.
MISSING = [
    *("", "NA", "N/A", "n/a", "#NA", "#N/A", "#N/A N/A", "<NA>", "NaN", "nan", "-NaN", "-nan"),
    *("NULL", "null", "None", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
]
MIN_CHUNK_ROWS = 64  # each column of a chunk takes 0.1 ms, however short
EpochUnit = Literal["ISO", "s", "ms", "us", "ns"]
# The whole microseconds that 64 bits of nanoseconds can hold.
EARLIEST = pd.Timestamp.min.ceil("us").tz_localize("UTC")
LATEST = pd.Timestamp.max.floor("us").tz_localize("UTC")


class TableSource(ABC):
    """Batches of ticks from a file of rows.

    Parameters
    ----------
    path
        The file.
    time
        Column of timestamps: ISO 8601, or seconds, milliseconds, microseconds or nanoseconds since
        1970. None if the file has none; "auto" to guess.
    target
        Column of the values to forecast; "auto" to guess. With `wide` several columns; "auto" takes
        all columns of numbers that are neither features nor row counts nor have a name such as `id`
        or `year`.
    features
        Columns of further numbers.
    batch_rows
        How many ticks to read at a time, at least those of one row. By default 8192, or those of 64
        rows if that is more.
    key
        Column that names the stream of each row, if the file has several.
    wide
        Whether each target is a stream of its own. A row is then one tick of each, in the order of
        the columns, with the row's time and features.

    Raises
    ------
    ParameterError
        If both `key` and `wide` are given, or no target, or several without `wide`.
    DataError
        If the file cannot be used, on opening or reading it; names file, row and column.

    """

    def __init__(
        self,
        path: str | Path,
        time: str | None = AUTO,
        target: str | Sequence[str] = AUTO,
        features: Sequence[str] = (),
        batch_rows: int | None = None,
        key: str | None = None,
        wide: bool = False,
    ):
        if wide and key is not None:
            raise ParameterError(
                "wide makes a stream of each column, key one of the rows with the same name: give "
                "only one of the two"
            )
        if not target:
            raise ParameterError(f"target must name a column, got {target!r}")
        if not wide and not isinstance(target, str):
            raise ParameterError(f"several targets need wide=True, got target={target!r}")
        self.path = Path(path)
        self.features = list(features)
        self.key = key
        self.wide = wide
        self.fraction_read = 0.0
        self.warnings: list[str] = []
        self.columns = self._header()
        sample = self._sample()
        if len(sample) == 0:
            raise DataError(f"{self.path} has a header but no rows")
        self.time = _guess_time(sample, key) if time == AUTO else time
        if target == AUTO:
            self.targets = self._guess_targets(sample)
        else:
            self.targets = [target] if isinstance(target, str) else list(dict.fromkeys(target))
        labels = [(what, name) for what, name in [("time", self.time), ("key", key)] if name]
        for name in [*self.targets, *self.features, *(name for _, name in labels)]:
            if name not in self.columns:
                raise DataError(
                    f"{self.path} has no column {name!r}; its columns are {', '.join(self.columns)}"
                )
        for what, name in labels:
            if name in (*self.targets, *self.features):
                raise DataError(
                    f"{self.path}: column {name!r} is the {what}; it cannot also be a target or "
                    "feature"
                )
        if key is not None and key == self.time:
            raise DataError(f"{self.path}: column {key!r} cannot be both the time and the key")
        in_a_row = len(self.targets) if wide else 1
        least = 1 if batch_rows else MIN_CHUNK_ROWS
        self._chunk_rows = max((batch_rows or BATCH_TICKS) // in_a_row, least)
        self._epoch_unit: EpochUnit | None = None  # of the column of times, once it is known

    @abstractmethod
    def _header(self) -> list[str]:
        """Return the names of the columns; called first."""

    @abstractmethod
    def _sample(self) -> pd.DataFrame:
        """Return the first rows, as text with NaN where missing, to guess columns from."""

    @abstractmethod
    def _frames(self) -> Iterator[pd.DataFrame]:
        """Yield chunks of rows with the columns in use.

        Keys are text, times text or timestamps, targets and features numbers or text. Updates
        `fraction_read`, and may add to `warnings`.
        """

    @abstractmethod
    def _where(self, row: int, column: object) -> str:
        """Return file, row and column for an error; rows are counted from 0."""

    def __iter__(self) -> Generator[Batch, None, None]:
        """Yield the ticks in the order of the file, from its beginning."""
        self.warnings = []
        rows = repeated = backward = first_backward = 0
        newest = History(1, np.iinfo(np.int64).min)
        for frame in self._frames():
            features = {name: self._numbers(frame, name, rows) for name in self.features}
            keys = None if self.key is None else self._keys(frame, rows)
            if self.time is None:
                times, labels = None, [str(row) for row in range(rows, rows + len(frame))]
            else:
                times, labels = self._times(frame, rows)
                entries, at = newest.push(keys, times)
                late = entries[at] < entries[at - 1]
                if backward == 0 and late.any():
                    first_backward = rows + int(np.argmax(late))
                repeated += int(np.sum(entries[at] == entries[at - 1]))
                backward += int(np.sum(late))
            values = [self._numbers(frame, name, rows) for name in self.targets]
            rows += len(frame)
            if self.wide:
                yield self._widened(values, features, times, labels)
            else:
                yield Batch(values[0], features, times, labels, keys)
        if rows == 0:
            raise DataError(f"{self.path} has no complete row")
        of_stream = "" if self.key is None else " of the same stream"
        if repeated:
            self.warnings.append(
                f"{_timestamps(repeated, 'equals', 'equal')} the one before it{of_stream}; "
                "each row is a tick"
            )
        if backward:
            self.warnings.append(
                f"{_timestamps(backward, 'is', 'are')} earlier than the one before it{of_stream}, "
                f"first in {self._where(first_backward, self.time)}; "
                "the ticks are taken in the order of the file"
            )

    def _widened(
        self,
        values: list[np.ndarray],
        features: dict[str, np.ndarray],
        times: np.ndarray | None,
        labels: list[str],
    ) -> Batch:
        """Rows as ticks of all targets."""
        streams = len(values)
        return Batch(
            np.column_stack(values).ravel(),
            {name: np.repeat(column, streams) for name, column in features.items()},
            None if times is None else np.repeat(times, streams),
            [label for label in labels for _ in range(streams)],
            self.targets * len(labels),
        )

    def _guess_targets(self, sample: pd.DataFrame) -> list[str]:
        """The column to forecast, or with `wide` all columns that may be one."""
        numbers = {name: pd.to_numeric(sample[name], errors="coerce") for name in sample.columns}
        taken = (self.time, self.key, *(self.features if self.wide else ()))
        candidates = [
            name
            for name in sample.columns
            if name not in taken
            and name.lower() not in NOT_TARGETS
            and numbers[name].notna().sum() == sample[name].count()
        ]
        numeric = [name for name in candidates if sample[name].notna().any()]
        if not numeric:
            raise DataError(
                f"{self.path}: no column of numbers to forecast among {', '.join(self.columns)}; "
                "name one with target"
            )
        counters = [name for name in numeric if len(sample) > 2 and _counts_rows(numbers[name])]
        if self.wide:  # a stream may begin after the sample
            return [name for name in candidates if name not in counters] or numeric
        by_name = {name.lower(): name for name in reversed(numeric)}
        for name in TARGET_NAMES:
            if name in by_name:
                return [by_name[name]]
        return [next((name for name in numeric if name not in counters), numeric[0])]

    def _numbers(self, frame: pd.DataFrame, name: str, rows_before: int) -> np.ndarray:
        column = frame[name]
        if not pd.api.types.is_numeric_dtype(column):
            numbers = pd.to_numeric(column, errors="coerce")
            self._refuse(column, numbers.isna() & column.notna(), rows_before, "is not a number")
            column = numbers
        values = column.to_numpy(np.float64)
        return np.where(np.isfinite(values), values, np.nan)

    def _keys(self, frame: pd.DataFrame, rows_before: int) -> list[str]:
        column = frame[self.key].str.strip()
        self._refuse(column, column.isna() | (column == ""), rows_before, "is not a key")
        return column.tolist()

    def _times(self, frame: pd.DataFrame, rows_before: int) -> tuple[np.ndarray, list[str]]:
        """(T,) nanoseconds since 1970 UTC, and the same as the file has them."""
        column = frame[self.time]
        self._refuse(column, column.isna(), rows_before, "is not a timestamp")
        if typed := column.dtype.kind == "M":
            times = column
        elif (unit := self._unit_of(column)) == "ISO":
            times = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
        else:
            numbers = pd.to_numeric(column, errors="coerce")
            times = pd.to_datetime(numbers, unit=unit, utc=True, errors="coerce")
        self._refuse(
            column,
            times.isna(),
            rows_before,
            "is not a timestamp: expected ISO 8601 or a number since 1970",
        )
        if times.dt.unit != "ns":
            within = times.between(EARLIEST, LATEST)
            self._refuse(column, ~within, rows_before, "is not a timestamp from 1677 to 2262")
        nanoseconds = times.dt.as_unit("ns").astype(np.int64).to_numpy()
        return nanoseconds, iso(nanoseconds) if typed else column.tolist()

    def _unit_of(self, column: "pd.Series[str]") -> EpochUnit:
        if self._epoch_unit is None:
            self._epoch_unit = _epoch_unit(column.iloc[0])
        return self._epoch_unit

    def _refuse(self, column: pd.Series, bad: pd.Series, rows_before: int, why: str) -> None:
        """Raise a DataError for the first cell that is bad."""
        if bad.any():
            row = int(np.argmax(bad.to_numpy()))
            cell = column.iloc[row]
            if isinstance(cell, pd.Timestamp):
                cell = str(cell.to_datetime64())  # which can print any year
            text = "an empty cell" if pd.isna(cell) or cell == "" else repr(cell)
            raise DataError(f"{self._where(rows_before + row, column.name)}: {text} {why}")


def is_number(text: str) -> bool:
    """Whether a cell is a finite number."""
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().lower() not in ("nan", "inf", "infinity")


def _epoch_unit(text: str) -> EpochUnit:
    """The unit of a number since 1970, by its size, or "ISO" for a date."""
    if not is_number(text) or re.fullmatch(r"\d{4}|\d{8}", text):
        return "ISO"
    size = abs(float(text))
    if size < 1e11:
        return "s"
    if size < 1e14:
        return "ms"
    return "us" if size < 1e17 else "ns"


def _timestamps(count: int, singular: str, plural: str) -> str:
    return f"1 timestamp {singular}" if count == 1 else f"{count} timestamps {plural}"


def _counts_rows(numbers: "pd.Series[float]") -> bool:
    return bool((numbers.diff().iloc[1:] == 1).all())


def _guess_time(sample: pd.DataFrame, key: str | None) -> str | None:
    """The first column of ISO 8601 dates, or of numbers and with a name such as `time`."""
    for name in sample.columns:
        cells = sample[name].dropna()
        if cells.empty or name == key:
            continue
        if _epoch_unit(cells.iloc[0]) == "ISO" and not is_number(cells.iloc[0]):
            if pd.to_datetime(cells, format="ISO8601", utc=True, errors="coerce").notna().all():
                return str(name)
        elif name.lower() in TIME_NAMES and all(map(is_number, cells)):
            return str(name)
    return None
