"""CSV files: streams replayed from disk, forecasts written beside them.

Files may be larger than memory. What happens to bad input is listed in docs/replay.md.
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
from streamlstm.live import SHOWN, Address, Batch, Fields, History, iso

from ..rows import forecast_columns
from .files import AppendedFile, FileSource, appended_lines, disk_errors, path_of
from .table import MISSING, SAMPLE_ROWS, TableSource, is_number

TAIL = 1 << 16  # characters; a longer last line is not checked for being cut off
LONGEST = 1 << 24  # bytes of a header
_LINE_ENDS = str.maketrans("\r\n", "  ")
_UNREADABLE = OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error, pd.errors.ParserError


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


class CSVSource(TableSource):
    """Batches of ticks from a CSV file with a header line, plain or gzip.

    The delimiter is the one of `, ; tab |` that its header holds most often. Parameters and errors
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
        """A live source of the file's ticks."""
        return FileSource.of(cls, address, fields)

    def _header(self) -> list[str]:
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
        except _UNREADABLE as error:
            reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
            raise DataError(f"{self.path} cannot be read: {reason}") from error

    def _is_cut_off(self, tail: str) -> bool:
        """Whether the file ends inside a line that lacks fields."""
        *before, last = re.split(r"\r\n|\n|\r", tail)
        fields = next(csv.reader([last], delimiter=self._delimiter))
        return bool(before and last.strip()) and len(fields) < len(self.columns)

    def _where(self, row: int, column: object) -> str:
        """File, line and column of a data row; the file is read again to count its lines."""
        with self._open() as text:
            lines = csv.reader(text, delimiter=self._delimiter)
            filled = (
                lines.line_num for fields in lines if len(fields) > 1 or "".join(fields).strip()
            )
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

    @classmethod
    def from_address(cls, address: Address) -> "LiveCSVSink":
        """A sink of live forecasts."""
        address.options()
        return LiveCSVSink(path_of(address))

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


class LiveCSVSink:
    """Live forecasts appended to a file, a row each.

    Columns `id`, `key`, `time`, `forecast_1` to `forecast_K`, `lower_1`, `upper_K`, of which the
    second, third and last are there if the ticks have keys and times, and there are intervals. A
    batch is on the disk, whole, when `write` returns. A last line that a crash has torn is cut off.
    A line end in an id or a key becomes a space.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._header: bytes | None = None  # as it stands in the file, while open
        self._file: AppendedFile | None = None  # once it is known for one of ours

    def open(self) -> None:
        """Read what columns the file has, if it is there."""
        self.close()
        with disk_errors(self.path), self.path.open("ab+") as file:
            file.seek(0)
            self._header = file.readline(LONGEST)

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Append rows; DataError if the file has other columns, ConnectionError on a full disk."""
        if self._header is None:
            raise ConnectionError(f"{self.path} is not open")
        columns = forecast_columns(batch, forecasts, bounds)
        if batch.timestamps is not None:
            columns["time"] = iso(batch.timestamps)
        for name in columns.keys() & {"id", "key"}:  # so that a row is a line
            columns[name] = [text.translate(_LINE_ENDS) for text in columns[name]]
        header = (",".join(columns) + "\n").encode()
        if not header.startswith(self._header):  # of a torn one the beginning is there
            found = self._header[:SHOWN].decode(errors="replace").strip()
            raise DataError(f"{self.path} has the columns {found}, not {','.join(columns)}")
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
    """A file to write, from its beginning on or after so many bytes."""
    if size is None:
        return path.open("w", encoding="utf-8", newline="")
    found = path.stat().st_size if path.exists() else 0
    if found < size:
        raise DataError(f"{path} has {found} bytes, of {size} that were written: it cannot go on")
    os.truncate(path, size)
    return path.open("a", encoding="utf-8", newline="")
