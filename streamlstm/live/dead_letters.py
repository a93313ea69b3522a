"""A file for the messages that are not ticks."""

import json
import os
import stat
from collections.abc import Iterable
from io import FileIO
from pathlib import Path

from .batch import Rejected

_MAX_LINE_BYTES = 1 << 16
_LINE_START = b'{"id": '


class DeadLetters:
    """Appends messages to a file, one JSON object a line: `id`, `reason`, `payload` and `size`.

    The payload is cut off if it is long; `size` is that of the whole message, in bytes. Messages
    that a run reads again after a crash are written again.
    """

    def __init__(self, path: str | Path):
        self._path = Path(path)
        self._file = _opened(self._path)

    def write(self, messages: Iterable[Rejected]) -> None:
        """Append messages and wait until they are on the disk; OSError if they do not fit."""
        left = b"".join(json.dumps(each._asdict()).encode() + b"\n" for each in messages)
        try:
            while left:
                left = left[self._file.write(left) :]
            if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):  # not a pipe
                os.fsync(self._file.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def reopen(self) -> None:
        """Continue after the last complete line."""
        self.close()
        self._file = _opened(self._path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _opened(path: Path) -> FileIO:
    """Open a file for appending; remove a last line that was cut off while we wrote it."""
    file = path.open("ab+", buffering=0)
    size = file.tell()
    start = max(size - _MAX_LINE_BYTES, 0)
    file.seek(start)
    tail = file.read(size - start).rpartition(b"\n")[2]
    if tail and tail[: len(_LINE_START)] == _LINE_START[: len(tail)]:
        file.truncate(size - len(tail))
    elif tail:
        file.write(b"\n")
    return file
