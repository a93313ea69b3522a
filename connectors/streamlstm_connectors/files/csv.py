"""CSV files: csv:///readings.csv?speed=60 for a live run, or a path for a replay.

Files may be larger than memory. docs/replay.md lists what happens to bad input, and
docs/connectors/files.md describes live runs.
"""

import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd

from streamlstm.errors import DataError
from streamlstm.live import Address, Batch, Fields, History, iso

from ..options import path_of
from ..rows import forecast_columns
from .appended_file import AppendedFile, appended_lines, disk_errors
from .live_file import FileSource
from .table_source import MISSING, SAMPLE_ROWS, TableSource, is_number

MAX_LAST_LINE_CHARACTERS = 1 << 16  # a longer last line is not checked for being cut off
MAX_HEADER_BYTES = 1 << 24
MAX_HEADER_SHOWN = 2000  # bytes, in an error
_LINE_ENDS = str.maketrans("\r\n", "  ")
_UNREADABLE = OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error, pd.errors.ParserError


class _Text(io.TextIOWrapper):
    """The text of a plain or gzip file; remembers its last characters and how far it was read."""

    def __init__(self, path: Path):
        self._raw = path.open("rb")
        self._size = max(path.stat().st_size, 1)
        is_gzip = self._raw.peek(2)[:2] == b"\x1f\x8b"
        plain: Any = gzip.GzipFile(fileobj=self._raw) if is_gzip else self._raw
        super().__init__(plain, encoding="utf-8-sig", newline="")
        self.tail = ""

    def read(self, size: int | None = -1) -> str:
        text = super().read(size)
        self.tail = (self.tail + text)[-MAX_LAST_LINE_CHARACTERS:]
        return text

    def close(self) -> None:
        super().close()
        self._raw.close()

    @property
    def fraction(self) -> float:
        return min(self._raw.tell() / self._size, 1.0)


class CSVSource(TableSource):
    """Batches of ticks from a CSV file with a header line, plain or gzip.

    The delimiter is whichever of `, ; tab |` is most frequent in the header. Parameters and errors
    are those of `TableSource`.

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

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> FileSource:
        """Make a live source of the file's ticks."""
        return FileSource.of(cls, address, fields)

    def _header(self) -> list[str]:
        with self._open() as text:
            first = next((line for line in text if line.strip()), "")
            if not first:
                raise DataError(f"{self.path} is empty: expected a header line")
            delimiter = max(",;\t|", key=first.count)
            lines = csv.reader(chain([first], text), delimiter=delimiter)
            names = [name.strip() for name in next(lines)]
            row = next((fields for fields in lines if fields), [])
            if len(row) > len(names):
                raise DataError(
                    f"{self.path} line {lines.line_num} has {len(row)} fields, "
                    f"expected {len(names)} as in the header"
                )
        if any(is_number(name) for name in names):
            raise DataError(
                f"{self.path} line 1 looks like data ({first.strip()[:60]!r}); "
                "add a first line that names the columns"
            )
        if len(set(names)) < len(names):
            raise DataError(f"{self.path} line 1 names a column twice: {first.strip()}")
        self._delimiter = delimiter
        return names

    def _read(self, text: _Text, **options: Any) -> Any:
        if self.key is not None:  # in which "NA" is a name like any other
            missing = {name: MISSING for name in self.columns if name != self.key}
            options |= {"keep_default_na": False, "na_values": missing}
        # Read all columns: only then does pandas refuse lines with too many fields.
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
        """Yield chunks of rows, each once it is known whether it is the last."""
        numbers = (*self.targets, *self.features)
        text_columns = {name: str for name in self.columns if name not in numbers}
        held = None
        with self._open() as text:
            chunks = self._read(
                text, chunksize=self._chunk_rows, dtype=text_columns, low_memory=False
            )
            for chunk in chunks:
                if held is not None:
                    yield held
                held = chunk
                self.fraction_read = text.fraction
            if held is not None and self._is_cut_off(text.tail):
                self.warnings.append("the last line is incomplete and was skipped")
                held = held.iloc[:-1]
        if held is not None and len(held):
            yield held
        self.fraction_read = 1.0

    @contextmanager
    def _open(self) -> Iterator[_Text]:
        """Open the file's text; errors while reading it become DataErrors."""
        try:
            with _Text(self.path) as text:
                yield text
        except _UNREADABLE as error:
            reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
            raise DataError(f"{self.path} cannot be read: {reason}") from error

    def _is_cut_off(self, tail: str) -> bool:
        """Whether the last line has no end and lacks fields."""
        *before, last = re.split(r"\r\n|\n|\r", tail)
        fields = next(csv.reader([last], delimiter=self._delimiter))
        return bool(before and last.strip()) and len(fields) < len(self.columns)

    def _where(self, row: int, column: object) -> str:
        """File, line and column of a data row; reads the file again to count lines."""
        with self._open() as text:
            lines = csv.reader(text, delimiter=self._delimiter)
            filled = (
                lines.line_num for fields in lines if len(fields) > 1 or "".join(fields).strip()
            )
            line = next(line for number, line in enumerate(filled) if number == row + 1)
        return f"{self.path} line {line}, column {column!r}"


class CSVSink:
    """Forecasts of a replay, in one row with the value that they predicted.

    The columns are `timestamp,value,forecast`, with `keyed` streams `timestamp,key,value,forecast`,
    and with intervals also `lower,upper`. If the horizon is above 1 there are also
    `forecast_2,lower_2,upper_2` and so on: columns with `_h` in the row of a tick hold what was
    predicted for it h ticks earlier in its stream. A cell without a forecast is empty.

    With a `position`, which the method of that name returned earlier, the sink continues the file
    from there and removes what was written since; DataError if the file is shorter.
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

    @classmethod
    def from_address(cls, address: Address) -> "LiveCSVSink":
        """Make a sink of live forecasts."""
        address.options()
        return LiveCSVSink(path_of(address))

    def position(self) -> dict[str, Any]:
        """Return what it takes to continue here; everything written is then on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return {"bytes": os.fstat(self._file.fileno()).st_size, "earlier": self._earlier}

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Append a batch.

        forecasts: (T, K) of each tick and those that follow, made before the tick was seen.
        bounds: (T, 2, K) lower and upper ends of their intervals, or None.
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


class LiveCSVSink:
    """Forecasts of a live run, appended to a file: csv:///forecasts.csv.

    The columns are those of `rows.forecast_columns`, with times in ISO 8601. A whole batch is on
    the disk when `write` returns. A last line that a crash has torn is removed. Line ends in ids
    and keys become spaces.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._header: bytes | None = None  # of the file, while it is open
        self._file: AppendedFile | None = None  # once its columns are known to be the same

    def open(self) -> None:
        """Read the columns of the file, if it exists."""
        self.close()
        with disk_errors(self.path), self.path.open("ab+") as file:
            file.seek(0)
            self._header = file.readline(MAX_HEADER_BYTES)

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Append a row for each tick; DataError if the file has other columns."""
        if self._header is None:
            raise ConnectionError(f"{self.path} is not open")
        columns = forecast_columns(batch, forecasts, bounds)
        if batch.timestamps is not None:
            columns["time"] = iso(batch.timestamps)
        for name in columns.keys() & {"id", "key"}:  # each row must be one line
            columns[name] = [text.translate(_LINE_ENDS) for text in columns[name]]
        header = (",".join(columns) + "\n").encode()
        if not header.startswith(self._header):  # a crash may have torn the header
            found = self._header[:MAX_HEADER_SHOWN].decode(errors="replace").strip()
            raise DataError(
                f"{self.path} has the columns {found}, not {','.join(columns)}: use another file"
            )
        rows = pd.DataFrame(columns).to_csv(header=False, index=False, lineterminator="\n").encode()
        with disk_errors(self.path):
            if self._file is None:
                self._file = appended_lines(self.path)
            self._file.append(rows if self._header == header else header + rows)
        self._header = header

    def close(self) -> None:
        """Close the file."""
        self._header = None
        if self._file is not None:
            self._file.close()
            self._file = None


def _opened(path: Path, size: int | None) -> io.TextIOWrapper:
    """Open a file for writing, at its beginning or after so many bytes."""
    if size is None:
        return path.open("w", encoding="utf-8", newline="")
    found = path.stat().st_size if path.exists() else 0
    if found < size:
        raise DataError(
            f"{path} has {found} bytes, but {size} were written: it cannot be continued"
        )
    os.truncate(path, size)
    return path.open("a", encoding="utf-8", newline="")
