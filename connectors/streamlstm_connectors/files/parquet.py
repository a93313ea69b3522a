"""Parquet: parquet:///readings.parquet to read a file, parquet:///forecasts to write a folder.

Files may be larger than memory. See docs/connectors/files.md for live runs, docs/replay.md for
replays.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from streamlstm.errors import DataError, MissingPackageError, ParameterError
from streamlstm.live import Address, Batch, Fields

from ..options import path_of
from ..rows import forecast_columns
from .appended_file import AppendedFile, disk_errors
from .live_file import FileSource
from .table_source import MISSING, SAMPLE_ROWS, TableSource

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingPackageError("Parquet needs pyarrow: pip install 'streamlstm[parquet]'") from error

_NUMBERS = (
    *(pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean),
    pa.types.is_null,
)
_FILE_NUMBER = 8 * "[0-9]"
_TEXTS = pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view


class ParquetSource(TableSource):
    """Batches of ticks from a Parquet file.

    Times may be timestamps, in UTC unless they have a zone, dates, or whatever they may be in a CSV
    file. Targets and features may be numbers of any type, numbers as text, or true and false, which
    count as 1 and 0. Keys may be of any type that is not nested. Parameters and errors are those of
    `TableSource`.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "two.parquet"
    >>> columns = {"when": pd.to_datetime(["2024-01-01", "2024-01-02"]), "load": [5, 7]}
    >>> pd.DataFrame(columns).to_parquet(path)
    >>> source = ParquetSource(path)
    >>> source.time, source.targets
    ('when', ['load'])
    >>> [(batch.labels, batch.values.tolist()) for batch in source]
    [(['2024-01-01T00:00:00Z', '2024-01-02T00:00:00Z'], [5.0, 7.0])]

    """

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> FileSource:
        """Make a live source of the file's ticks."""
        return FileSource.of(cls, address, fields)

    def _header(self) -> list[str]:
        with self._open() as file:
            self._schema = file.schema_arrow
        names = self._schema.names
        if len(set(names)) < len(names):
            raise DataError(f"{self.path} names a column twice: {', '.join(names)}")
        return names

    def _sample(self) -> pd.DataFrame:
        flat = [each.name for each in self._schema if not pa.types.is_nested(each.type)]
        with self._open() as file:
            rows = next(file.iter_batches(SAMPLE_ROWS, columns=flat), None)
            if rows is None:
                return pd.DataFrame(columns=flat)
            texts = {name: self._text(rows.column(name)) for name in flat}
            frame = pd.DataFrame(texts, index=range(len(rows)))
        return frame.mask(frame.isin(MISSING))

    def _frames(self) -> Iterator[pd.DataFrame]:
        names = [name for name in (self.time, self.key, *self.targets, *self.features) if name]
        seen = 0
        with self._open() as file:
            total = file.metadata.num_rows
            # Threads would read ahead, and hold more rows in memory than these.
            batches = file.iter_batches(
                self._chunk_rows, columns=dict.fromkeys(names), use_threads=False
            )
            for rows in batches:
                seen += len(rows)
                self.fraction_read = seen / total
                yield pd.DataFrame({name: self._column(rows.column(name), name) for name in names})
        self.fraction_read = 1.0

    def _column(self, column: Any, name: str) -> "pd.Series[Any]":
        kind = column.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if name in (self.time, self.key):
            if pa.types.is_nested(kind):
                raise DataError(f"{self.path}: column {name!r} holds {kind}, not text or times")
            if name == self.time and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
                if pa.types.is_date(kind):
                    column = column.cast(pa.timestamp("ms"))
                return pd.to_datetime(column.to_pandas(), utc=True)
            return self._text(column)
        if any(of_kind(kind) for of_kind in _NUMBERS):
            numbers = column.cast(pa.float64(), safe=False)  # rounds to 53 bits
            return pd.Series(numbers.to_numpy(zero_copy_only=False))
        if any(of_kind(kind) for of_kind in _TEXTS):
            text = self._text(column)
            return text.mask(text.isin(MISSING))
        raise DataError(f"{self.path}: column {name!r} holds {kind}, not numbers")

    def _text(self, column: Any) -> "pd.Series[str]":
        return column.cast(pa.string()).to_pandas()

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """Open the file; errors while reading it become DataErrors."""
        try:
            with pq.ParquetFile(self.path) as file:
                yield file
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.path} cannot be read: {error}") from error

    def _where(self, row: int, column: object) -> str:
        return f"{self.path} row {row + 1}, column {column!r}"


class ParquetSink:
    """Forecasts of a live run, in the Parquet files of a folder.

    A Parquet file can only be read once it is complete. So a batch is first appended to a journal,
    where it is on the disk when `write` returns. A journal that has enough rows or is old enough
    becomes a Parquet file when the next batch comes or the sink is closed. A journal that a crash
    has left becomes one at the next `open`. The columns are those of `rows.forecast_columns`.

    Parameters
    ----------
    folder
        Used by this run only; made if it does not exist.
    rows, seconds
        Size and age at which a journal becomes a file.

    """

    def __init__(self, folder: str | Path, rows: int = 100_000, seconds: float = 60.0):
        if rows < 1:
            raise ParameterError(f"rows must be at least 1, got {rows}")
        self.folder = Path(folder)
        self.rows = rows
        self.seconds = seconds
        self._journal: AppendedFile | None = None
        self._number = 0  # of the next file; 0 while closed

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make a sink; opens nothing."""
        return cls(path_of(address), **address.options_for(cls))

    def open(self) -> None:
        """Turn journals that a crash has left into files."""
        self.close()
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for journal in sorted(self.folder.glob(f"_{_FILE_NUMBER}.journal")):
                self._finish(journal)
            for torn in self.folder.glob(f"_{_FILE_NUMBER}.unfinished"):
                torn.unlink()
            files = self.folder.glob(f"forecasts-{_FILE_NUMBER}.parquet")
            taken = [int(path.stem.removeprefix("forecasts-")) for path in files]
            self._number = max(taken, default=0) + 1

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Append a batch to the journal."""
        if not self._number:
            raise ConnectionError(f"{self.folder} is not open")
        columns = forecast_columns(batch, forecasts, bounds)
        if batch.timestamps is not None:
            columns["time"] = pa.array(batch.timestamps, pa.timestamp("ns", "UTC"))
        rows = pa.RecordBatch.from_pydict(columns)
        with disk_errors(self.folder):
            if self._journal is not None and self._is_full(rows.schema):
                self._roll()
            piece = rows.serialize().to_pybytes()
            if self._journal is None:
                self._journal = AppendedFile(self._journal_path)
                self._schema, self._held, self._began = rows.schema, 0, time.monotonic()
                piece = rows.schema.serialize().to_pybytes() + piece
            self._journal.append(piece)
            self._held += len(rows)

    def close(self) -> None:
        """Turn the journal into a file; if that fails, the next `open` does it."""
        with suppress(OSError, pa.ArrowException):
            if self._journal is not None:
                self._roll()
        self._number = 0

    def _is_full(self, schema: Any) -> bool:
        old = time.monotonic() - self._began >= self.seconds
        return old or self._held >= self.rows or schema != self._schema

    def _roll(self) -> None:
        assert self._journal is not None
        self._journal.close()
        self._journal = None
        self._finish(self._journal_path)
        self._number += 1

    @property
    def _journal_path(self) -> Path:
        return self.folder / f"_{self._number:08}.journal"

    def _finish(self, journal: Path) -> None:
        """Turn a journal into a file, unless that was done before."""
        path = self.folder / f"forecasts-{journal.stem.removeprefix('_')}.parquet"
        if not path.exists() and (batches := _complete_batches(journal.read_bytes())):
            unfinished = journal.with_suffix(".unfinished")
            with unfinished.open("wb") as file:
                pq.write_table(pa.Table.from_batches(batches), file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        journal.unlink()


def _complete_batches(journal: bytes) -> list[Any]:
    """The batches of a journal, without a last one that a crash has torn."""
    batches = []
    with suppress(pa.ArrowInvalid, OSError):
        for batch in pa.ipc.open_stream(journal):
            batches.append(batch)
    return batches
