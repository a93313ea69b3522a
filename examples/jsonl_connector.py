"""A template for connectors: ticks from a growing file of JSON lines, forecasts to another.

`jsonl:///path/of/the/file`, once a package's entry points name the classes:

    [project.entry-points."streamlstm.sources"]
    jsonl = "jsonl_connector:LinesSource"

    [project.entry-points."streamlstm.sinks"]
    jsonl = "jsonl_connector:LinesSink"
"""

import json
import os
import time
from pathlib import Path

from streamlstm_connectors.files.files import appended_lines, disk_errors

from streamlstm.errors import DataError, ParameterError
from streamlstm.live import Parser

PAUSE = 0.01  # seconds between looks at a file that does not grow


class LinesSource:
    """Lines of a file that only grows; the position is that behind the last line, in bytes.

    What is acknowledged stands in a file beside it.
    """

    def __init__(self, path, fields):
        self.path = Path(path)
        self._parser = Parser(fields)
        self._file = None

    @classmethod
    def from_address(cls, address, fields):
        """Make one."""
        address.options()  # has none, and says so if some are given
        if not address.path:
            raise ParameterError(f"{address} names no file")
        return cls(f"/{address.path}", fields)

    @property
    def _bookmark(self):
        return self.path.with_suffix(".acknowledged")

    def open(self, position):
        """Open the file, at its beginning if nothing has been acknowledged."""
        self.close()
        try:
            self._file = self.path.open("rb")
        except FileNotFoundError as error:
            raise ConnectionError(f"{self.path} is not there") from error  # try again later
        if position is None:
            position = int(self._bookmark.read_text()) if self._bookmark.exists() else 0
        self._file.seek(position)
        return position

    def read(self, ticks, seconds):
        """Lines that are complete."""
        start, end = self._file.tell(), time.monotonic() + seconds
        names, lines = [], []
        while len(lines) < ticks:
            line = self._file.readline()
            if line.endswith(b"\n"):
                names.append(str(start))
                lines.append(line)
                start += len(line)
                continue
            if os.fstat(self._file.fileno()).st_size < start:
                raise DataError(f"{self.path} has become shorter than what was read of it")
            self._file.seek(start)
            if lines or time.monotonic() >= end:
                break
            time.sleep(PAUSE)
        if not lines:
            return None
        return self._parser.batch(names, lines, time.time_ns(), start)

    def acknowledge(self, position):
        """Move the bookmark, which is there whole whatever happens."""
        moved = self._bookmark.with_suffix(".moved")
        moved.write_text(str(position))
        moved.replace(self._bookmark)

    def close(self):
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class LinesSink:
    """A line a forecast."""

    def __init__(self, path):
        self.path = Path(path)
        self._file = None

    @classmethod
    def from_address(cls, address):
        """Make one."""
        address.options()
        return cls(f"/{address.path}")

    def open(self):
        """Open the file at its end."""
        self.close()
        with disk_errors(self.path):
            self._file = appended_lines(self.path)

    def write(self, batch, forecasts, bounds):
        """Append lines, all of them or nothing, and wait until they are on the disk."""
        rows = zip(batch.ids, forecasts.tolist(), strict=True)
        lines = [json.dumps({"id": name, "forecast": row}) + "\n" for name, row in rows]
        with disk_errors(self.path):
            self._file.append("".join(lines).encode())

    def close(self):
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
