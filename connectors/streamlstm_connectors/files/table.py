"""Files of rows with named columns as batches of ticks: what is the same for CSV and Parquet.

What happens to bad input is listed in docs/replay.md.
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
# What pandas takes for missing.
MISSING = [
    *("", "NA", "N/A", "n/a", "#NA", "#N/A", "#N/A N/A", "<NA>", "NaN", "nan", "-NaN", "-nan"),
    *("NULL", "null", "None", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
]
FEWEST_ROWS = 64  # to read at a time: a column of a chunk takes 0.1 ms, however short
EpochUnit = Literal["ISO", "s", "ms", "us", "ns"]
# Whole microseconds in 64 bits of nanoseconds.
EARLIEST = pd.Timestamp.min.ceil("us").tz_localize("UTC")
LATEST = pd.Timestamp.max.floor("us").tz_localize("UTC")


class TableSource(ABC):
    """Batches of ticks from a file of rows.

    Parameters
    ----------
    path
        The file.
    time
        Column of timestamps, ISO 8601 or seconds, milliseconds, microseconds or nanoseconds since
        1970; None for none; "auto" to guess.
    target
        Column of values to forecast; "auto" to guess. With `wide` several, by default all columns
        of numbers but features and those that no target is guessed from: row counts, names such as
        `id` or `year`.
    features
        Columns of further numbers.
    batch_rows
        Ticks read at a time, at least a row; 8192 if None, or, with `wide`, those of 64 rows where
        that is more.
    key
        Column that names the stream of each row, in a file of several; text as it is written.
    wide
        Each target is a stream of its own: a row is a tick of each, in the order of the columns,
        with the row's time and features.

    Raises
    ------
    ParameterError
        If `key` and `wide` are both given, no target, or several without `wide`.
    DataError
        When the file is opened or iterated over and cannot be used; names file, row and column.

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
                "wide makes a stream of each column, key of the rows of each name: give one of them"
            )
        if not target:
            raise ParameterError(f"target names no column: {target!r}")
        if not wide and not isinstance(target, str):
            raise ParameterError(f"several targets are streams: pass wide=True; got {target!r}")
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
                raise DataError(f"{self.path}: column {name!r} is the {what}, not a number to use")
        if key is not None and key == self.time:
            raise DataError(f"{self.path}: column {key!r} cannot be both the time and the key")
        in_a_row = len(self.targets) if wide else 1
        least = 1 if batch_rows else FEWEST_ROWS
        self._batch_rows = max((batch_rows or BATCH_TICKS) // in_a_row, least)
        self._epoch_unit: EpochUnit | None = None  # of a time column of numbers, once seen

    @abstractmethod
    def _header(self) -> list[str]:
        """Names of the columns; called first."""

    @abstractmethod
    def _sample(self) -> pd.DataFrame:
        """The first rows as text, NaN where missing, for guessing."""

    @abstractmethod
    def _frames(self) -> Iterator[pd.DataFrame]:
        """Chunks of rows with the columns in use; keeps `fraction_read`, may add to `warnings`.

        Keys are text, times text or timestamps, targets and features numbers or text of them.
        """

    @abstractmethod
    def _where(self, row: int, column: object) -> str:
        """File, place of a row, counted from 0, and column, for an error."""

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
        before = "the one before" if self.key is None else "the one before of their stream"
        if repeated:
            self.warnings.append(f"{repeated} timestamps repeat {before}; each is a tick")
        if backward:
            self.warnings.append(
                f"{backward} timestamps go backward, first in "
                f"{self._where(first_backward, self.time)}; "
                "the ticks are taken in the order of the file"
            )

    def _widened(
        self,
        values: list[np.ndarray],
        features: dict[str, np.ndarray],
        times: np.ndarray | None,
        labels: list[str],
    ) -> Batch:
        """Rows as ticks of all targets, row by row."""
        streams = len(values)
        return Batch(
            np.column_stack(values).ravel(),
            {name: np.repeat(column, streams) for name, column in features.items()},
            None if times is None else np.repeat(times, streams),
            [label for label in labels for _ in range(streams)],
            self.targets * len(labels),
        )

    def _guess_targets(self, sample: pd.DataFrame) -> list[str]:
        """The column to forecast, or with `wide` all that may be."""
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
        if self.wide:  # a stream may begin later than the sample ends
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
        self._refuse(column, column.isna() | (column == ""), rows_before, "names no stream")
        return column.tolist()

    def _times(self, frame: pd.DataFrame, rows_before: int) -> tuple[np.ndarray, list[str]]:
        """(T,) nanoseconds since 1970 UTC, and as they are written."""
        column = frame[self.time]
        self._refuse(column, column.isna(), rows_before, "is not a timestamp")
        if typed := column.dtype.kind == "M":
            times = column
        elif (unit := self._unit_of(column)) == "ISO":
            times = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
        else:
            numbers = pd.to_numeric(column, errors="coerce")
            times = pd.to_datetime(numbers, unit=unit, utc=True, errors="coerce")
        self._refuse(column, times.isna(), rows_before, "is not a timestamp, ISO 8601 or epoch")
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
                cell = str(cell.to_datetime64())  # which can show any year
            text = "an empty cell" if pd.isna(cell) or cell == "" else repr(cell)
            raise DataError(f"{self._where(rows_before + row, column.name)}: {text} {why}")


def is_number(text: str) -> bool:
    """Whether a cell is a number, and not one that stands for none."""
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().lower() not in ("nan", "inf", "infinity")


def _epoch_unit(text: str) -> EpochUnit:
    """Unit of a number of seconds or parts of them since 1970, by its size; "ISO" for a date."""
    if not is_number(text) or re.fullmatch(r"\d{4}|\d{8}", text):
        return "ISO"
    size = abs(float(text))
    if size < 1e11:
        return "s"
    if size < 1e14:
        return "ms"
    return "us" if size < 1e17 else "ns"


def _counts_rows(numbers: "pd.Series[float]") -> bool:
    return bool((numbers.diff().iloc[1:] == 1).all())


def _guess_time(sample: pd.DataFrame, key: str | None) -> str | None:
    """The first column of ISO 8601 dates, or of numbers under a name that says time."""
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
