"""Messages that are no ticks, put aside in a file."""

import json
import os
import stat
from collections.abc import Iterable
from io import FileIO
from pathlib import Path

from .batch import Rejected

_TAIL = 1 << 16  # bytes, more than a line has
_BEGIN = b'{"id": '  # of a line


class DeadLetters:
    """A JSON object a line: `id`, `reason`, `size` in bytes, and the `payload`, or its beginning.

    Messages that a run reads again after a crash are written again.
    """

    def __init__(self, path: str | Path):
        self._path = Path(path)
        self._file = _opened(self._path)

    def write(self, messages: Iterable[Rejected]) -> None:
        """Append some, onto the disk where there is one; an OSError if there is no room for all."""
        left = b"".join(json.dumps(each._asdict()).encode() + b"\n" for each in messages)
        try:
            while left:
                left = left[self._file.write(left) :]
            if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                os.fsync(self._file.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def reopen(self) -> None:
        """Go on behind the last whole line."""
        self.close()
        self._file = _opened(self._path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _opened(path: Path) -> FileIO:
    """A file to append lines to, without the last one if that is ours and has been cut off."""
    file = path.open("ab+", buffering=0)
    size = file.tell()
    start = max(size - _TAIL, 0)
    file.seek(start)
    tail = file.read(size - start).rpartition(b"\n")[2]
    if tail and tail[: len(_BEGIN)] == _BEGIN[: len(tail)]:
        file.truncate(size - len(tail))
    elif tail:
        file.write(b"\n")
    return file
