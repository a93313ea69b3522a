"""CSV files: streams replayed from disk, forecasts written beside them.

Files may be larger than memory. What happens to bad input is listed in docs/replay.md.
"""

import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from streamlstm.errors import DataError, ParameterError
from streamlstm.history import History
from streamlstm.stream import Batch

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
TAIL = 1 << 16  # characters; a longer last line is not checked for being cut off


class _Text(io.TextIOWrapper):
    """The text of a plain or gzip file, remembering how it ended and how far it has been read."""

    def __init__(self, path: Path):
        self._raw = path.open("rb")
        self._size = max(path.stat().st_size, 1)
        is_gzip = self._raw.peek(2)[:2] == b"\x1f\x8b"
        plain: Any = gzip.GzipFile(fileobj=self._raw) if is_gzip else self._raw
        super().__init__(plain, encoding="utf-8-sig", newline="")
        self.tail = ""

    def read(self, size: int | None = -1) -> str:
        text = super().read(size)
        self.tail = (self.tail + text)[-TAIL:]
        return text

    def close(self) -> None:
        super().close()
        self._raw.close()

    @property
    def fraction(self) -> float:
        return min(self._raw.tell() / self._size, 1.0)


class CSVSource:
    """Batches of ticks from a CSV file with a header line, plain or gzip.

    Parameters
    ----------
    path
        The file. The delimiter is the one of `, ; tab |` that its header holds most often.
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
        When the file is opened or iterated over and cannot be used; names file, line and column.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "two.csv"
    >>> _ = path.write_text("when,load\\n2024-01-01,5\\n2024-01-02,7\\n")
    >>> source = CSVSource(path)
    >>> source.time, source.targets
    ('when', ['load'])
    >>> [batch.values.tolist() for batch in source]
    [[5.0, 7.0]]
    >>> _ = path.write_text("when,north,south\\n2024-01-01,5,60\\n2024-01-02,,70\\n")
    >>> [(batch.keys, batch.values.tolist()) for batch in CSVSource(path, wide=True)]
    [(['north', 'south', 'north', 'south'], [5.0, 60.0, nan, 70.0])]

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
        self._delimiter, self.columns = self._header()
        sample = self._sample()
        if sample.empty:
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

    def __iter__(self) -> Iterator[Batch]:
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
                times, labels = self._times(frame, rows), frame[self.time].tolist()
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

    def _header(self) -> tuple[str, list[str]]:
        """Delimiter and column names."""
        with self._open() as text:
            first = next((line for line in text if line.strip()), "")
            if not first:
                raise DataError(f"{self.path} is empty")
            delimiter = max(",;\t|", key=first.count)
            lines = csv.reader(chain([first], text), delimiter=delimiter)
            names = [name.strip() for name in next(lines)]
            row = next((fields for fields in lines if fields), [])
            if len(row) > len(names):
                raise DataError(
                    f"{self.path} line {lines.line_num} has {len(row)} fields, "
                    f"expected {len(names)} as in the header"
                )
        if any(_is_number(name) for name in names):
            raise DataError(
                f"{self.path} line 1 looks like data ({first.strip()[:60]!r}); "
                "add a first line that names the columns"
            )
        if len(set(names)) < len(names):
            raise DataError(f"{self.path} line 1 names a column twice: {first.strip()}")
        return delimiter, names

    def _read(self, text: _Text, **options: Any) -> Any:
        if self.key is not None:  # where "NA" is a name like any other
            missing = {name: MISSING for name in self.columns if name != self.key}
            options |= {"keep_default_na": False, "na_values": missing}
        # All columns are read, for then pandas refuses lines with too many fields.
        return pd.read_csv(
            text,
            sep=self._delimiter,
            names=self.columns,
            header=0,
            index_col=False,
            skipinitialspace=True,
            **options,
        )

    def _sample(self) -> pd.DataFrame:
        with self._open() as text:
            return self._read(text, nrows=SAMPLE_ROWS, dtype=str)

    def _frames(self) -> Iterator[pd.DataFrame]:
        """Chunks of rows, each given out once the next one is known to exist."""
        numbers = (*self.targets, *self.features)
        text_columns = {name: str for name in self.columns if name not in numbers}
        held = None
        with self._open() as text:
            chunks = self._read(
                text, chunksize=self._batch_rows, dtype=text_columns, low_memory=False
            )
            for chunk in chunks:
                if held is not None:
                    yield held
                held = chunk
                self.fraction_read = text.fraction
            if held is not None and self._is_cut_off(text.tail):
                self.warnings.append("the last line is incomplete and left out")
                held = held.iloc[:-1]
        if held is not None and len(held):
            yield held
        self.fraction_read = 1.0

    @contextmanager
    def _open(self) -> Iterator[_Text]:
        """The file's text; what goes wrong with it becomes a DataError."""
        try:
            with _Text(self.path) as text:
                yield text
        except (OSError, EOFError, zlib.error, UnicodeDecodeError, pd.errors.ParserError) as error:
            reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
            raise DataError(f"{self.path} cannot be read: {reason}") from error

    def _is_cut_off(self, tail: str) -> bool:
        """Whether the file ends inside a line that lacks fields."""
        last = re.split(r"\r\n|\n|\r", tail)[-1]
        fields = next(csv.reader([last], delimiter=self._delimiter), [])
        return 0 < len(fields) < len(self.columns)

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
        self._refuse(column, column == "", rows_before, "names no stream")
        return column.tolist()

    def _times(self, frame: pd.DataFrame, rows_before: int) -> np.ndarray:
        column = frame[self.time]
        self._refuse(column, column.isna(), rows_before, "is not a timestamp")
        if self._epoch_unit is None:
            self._epoch_unit = _epoch_unit(column.iloc[0])
        if self._epoch_unit == "ISO":
            times = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
        else:
            numbers = pd.to_numeric(column, errors="coerce")
            times = pd.to_datetime(numbers, unit=self._epoch_unit, utc=True, errors="coerce")
        known = times.between(
            pd.Timestamp.min.tz_localize("UTC"), pd.Timestamp.max.tz_localize("UTC")
        )
        why = "is not a timestamp, ISO 8601 or epoch, from 1677 to 2262"
        self._refuse(column, ~known, rows_before, why)
        return times.dt.as_unit("ns").astype(np.int64).to_numpy()

    def _refuse(self, column: pd.Series, bad: pd.Series, rows_before: int, why: str) -> None:
        """Raise a DataError for the first cell that is bad."""
        if bad.any():
            row = int(np.argmax(bad.to_numpy()))
            cell = column.iloc[row]
            text = "an empty cell" if pd.isna(cell) or cell == "" else repr(cell)
            raise DataError(f"{self._where(rows_before + row, column.name)}: {text} {why}")

    def _where(self, row: int, column: object) -> str:
        """File, line and column of a data row; the file is read again to count its lines."""
        with self._open() as text:
            lines = csv.reader(text, delimiter=self._delimiter)
            filled = (lines.line_num for fields in lines if fields)
            line = next(line for number, line in enumerate(filled) if number == row + 1)
        return f"{self.path} line {line}, column {column!r}"


class CSVSink:
    """Forecasts beside the values they are for, one row a tick.

    Columns `timestamp,value,forecast`, with `keyed` streams `timestamp,key,value,forecast`, with
    intervals also `lower,upper`, and, for more than one horizon, `forecast_2,lower_2,upper_2` and
    so on; those with `_h` in the row of tick t are of the forecast of t made h ticks of its stream
    before it was seen. Empty where there is none.

    With a `position`, as the method of that name gave it, it goes on with a file from there, and
    cuts off what was written since; DataError if the file is shorter.
    """

    def __init__(
        self,
        path: str | Path,
        horizon: int,
        intervals: bool = False,
        keyed: bool = False,
        position: Any = None,
    ):
        self._file = _opened(Path(path), None if position is None else position["bytes"])
        kinds = ["forecast", "lower", "upper"] if intervals else ["forecast"]
        self._names = [
            kind if h == 1 else f"{kind}_{h}" for h in range(1, horizon + 1) for kind in kinds
        ]
        if position is not None:
            self._earlier = position["earlier"]
            return
        first = ["timestamp", "key", "value"] if keyed else ["timestamp", "value"]
        self._file.write(",".join([*first, *self._names]) + "\n")
        self._earlier = History(horizon - 1, np.full((len(kinds), horizon), np.nan))

    def position(self) -> dict[str, Any]:
        """What it takes to go on after what has been written, which is on the disk by then."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return {"bytes": os.fstat(self._file.fileno()).st_size, "earlier": self._earlier}

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Append a batch.

        forecasts: (T, K) made before each tick for it and those that follow; bounds: (T, 2, K) ends
        of the intervals around them, if there are any.
        """
        made = [forecasts[:, None]] if bounds is None else [forecasts[:, None], bounds]
        rows, at = self._earlier.push(batch.keys, np.concatenate(made, axis=1))
        table: dict[str, object] = {"timestamp": batch.labels}
        if batch.keys is not None:
            table["key"] = batch.keys
        table["value"] = batch.values
        columns = [column for h in range(forecasts.shape[1]) for column in rows[at - h, :, h].T]
        table.update(zip(self._names, columns, strict=True))
        pd.DataFrame(table).to_csv(self._file, header=False, index=False, lineterminator="\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def _opened(path: Path, size: int | None) -> io.TextIOWrapper:
    """A file to write, from its beginning on or after so many bytes."""
    if size is None:
        return path.open("w", encoding="utf-8", newline="")
    found = path.stat().st_size if path.exists() else 0
    if found < size:
        raise DataError(f"{path} has {found} bytes, of {size} that were written: it cannot go on")
    os.truncate(path, size)
    return path.open("a", encoding="utf-8", newline="")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().lower() not in ("nan", "inf", "infinity")


def _epoch_unit(text: str) -> EpochUnit:
    """Unit of a number of seconds or parts of them since 1970, by its size; "ISO" for a date."""
    if not _is_number(text) or re.fullmatch(r"\d{4}|\d{8}", text):
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
        if _epoch_unit(cells.iloc[0]) == "ISO" and not _is_number(cells.iloc[0]):
            if pd.to_datetime(cells, format="ISO8601", utc=True, errors="coerce").notna().all():
                return str(name)
        elif name.lower() in TIME_NAMES and all(map(_is_number, cells)):
            return str(name)
    return None
