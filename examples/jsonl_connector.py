"""A template for connectors: ticks from a growing file of JSON lines, forecasts to another.

Its addresses are `jsonl:///path/of/the/file`, once a package names the classes in its entry points:

    [project.entry-points."streamlstm.sources"]
    jsonl = "jsonl_connector:LinesSource"

    [project.entry-points."streamlstm.sinks"]
    jsonl = "jsonl_connector:LinesSink"
"""

import json
import os
import time
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from streamlstm_connectors.files.appended_file import AppendedFile, appended_lines, disk_errors

from streamlstm.errors import DataError, ParameterError
from streamlstm.live import Address, Batch, Fields, Parser

POLL_SECONDS = 0.01  # between looks at a file that does not grow


class LinesSource:
    """Lines of a file that only grows.

    The position is the number of bytes before the next line. A file beside it, the bookmark, holds
    the position up to which lines were acknowledged.
    """

    def __init__(self, path: str | Path, fields: Fields):
        self.path = Path(path)
        self._bookmark = self.path.with_suffix(".acknowledged")
        self._parser = Parser(fields)
        self._file: IO[bytes] | None = None

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make a source."""
        address.options()  # takes none, and raises an error if some are given
        if not address.path:
            raise ParameterError(f"{address} names no file: write jsonl:///FILE")
        return cls(f"/{address.path}", fields)

    def open(self, position: Any) -> int:
        """Open the file, at its beginning if nothing was acknowledged."""
        self.close()
        try:
            self._file = self.path.open("rb")
        except FileNotFoundError as error:
            raise ConnectionError(f"{self.path} does not exist") from error  # yet: try again later
        if position is None:
            position = self._bookmark.read_text() if self._bookmark.exists() else 0
        return self._file.seek(int(position))

    def read(self, max_ticks: int, timeout: float) -> Batch | None:
        """Return the lines that are complete."""
        if self._file is None:
            raise ConnectionError(f"{self.path} is not open")
        position, end = self._file.tell(), time.monotonic() + timeout
        ids: list[str] = []
        lines: list[bytes] = []
        while len(lines) < max_ticks:
            line = self._file.readline()
            if line.endswith(b"\n"):
                ids.append(str(position))
                lines.append(line)
                position += len(line)
                continue
            if os.fstat(self._file.fileno()).st_size < position:
                raise DataError(f"{self.path} has become shorter than what was read of it")
            self._file.seek(position)
            if lines or time.monotonic() >= end:
                break
            time.sleep(POLL_SECONDS)
        if not lines:
            return None
        return self._parser.batch(ids, lines, time.time_ns(), position)

    def acknowledge(self, position: Any) -> None:
        """Move the bookmark; a crash leaves the old one or the new one."""
        moved = self._bookmark.with_suffix(".moved")
        moved.write_text(str(position))
        moved.replace(self._bookmark)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class LinesSink:
    """Appends a line for each forecast."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._file: AppendedFile | None = None

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make a sink."""
        address.options()
        return cls(f"/{address.path}")

    def open(self) -> None:
        """Open the file at its end."""
        self.close()
        with disk_errors(self.path):
            self._file = appended_lines(self.path)

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None) -> None:
        """Append the lines of a batch, all or none, and wait until they are on the disk."""
        if self._file is None:
            raise ConnectionError(f"{self.path} is not open")
        rows = zip(batch.ids or batch.labels, forecasts.tolist(), strict=True)
        lines = [json.dumps({"id": name, "forecast": row}) + "\n" for name, row in rows]
        with disk_errors(self.path):
            self._file.append("".join(lines).encode())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
