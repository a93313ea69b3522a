"""Messages that are no ticks, put aside in a file."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from .stream import Rejected


class DeadLetters:
    """A JSON object a line: `id`, `reason`, `size` in bytes, and the `payload`, or its beginning.

    Messages that a run reads again after a crash are written again.
    """

    def __init__(self, path: str | Path):
        self._file = _opened(Path(path))

    def write(self, messages: Iterable[Rejected]) -> None:
        """Append some."""
        for message in messages:
            self._file.write(json.dumps(message._asdict()).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _opened(path: Path) -> BinaryIO:
    """A file to append lines to, the last of which may have been cut off."""
    file = path.open("ab+")
    if file.tell():
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            file.write(b"\n")
    return file
