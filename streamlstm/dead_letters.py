"""Messages that are no ticks, put aside in a file."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from .stream import Rejected


class DeadLetters:
    """A JSON object a line: `id`, `reason`, `size` in bytes, and the `payload`, or its beginning.

    Messages that a run reads again after a crash are written again.
    """

    def __init__(self, path: str | Path):
        self._file = Path(path).open("ab+")
        if self._file.tell():
            self._file.seek(-1, os.SEEK_END)
            if self._file.read() != b"\n":  # a line was cut off
                self._file.write(b"\n")

    def write(self, messages: Iterable[Rejected]) -> None:
        """Append some."""
        for message in messages:
            self._file.write(json.dumps(message._asdict()).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
