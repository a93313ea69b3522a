"""Files that a sink appends to, of which no row is torn by a crash or a full disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import UnsupportedOperation
from pathlib import Path

from streamlstm.errors import DataError

SCAN_BYTES = 1 << 16  # to search for a line end at a time
_PERMANENT = (
    *(FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError),
    UnsupportedOperation,  # of a pipe
)


class AppendedFile:
    """A file that grows by whole pieces, each of them on the disk when `append` returns."""

    def __init__(self, path: Path):
        self._file = path.open("ab", buffering=0)
        self.size = self._file.tell()

    def append(self, piece: bytes) -> None:
        """Append a piece; an OSError leaves the file as it was."""
        try:
            rest = memoryview(piece)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            with suppress(OSError):
                self._file.truncate(self.size)
            raise
        self.size += len(piece)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def appended_lines(path: Path) -> AppendedFile:
    """Open a file of lines, or make it, and remove a last line that a crash has torn."""
    with path.open("ab+") as file:
        end = file.tell()
        while end:
            start = max(end - SCAN_BYTES, 0)
            file.seek(start)
            if (found := file.read(end - start).rfind(b"\n")) >= 0:
                end = start + found + 1
                break
            end = start
        file.truncate(end)
    return AppendedFile(path)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn errors of a disk into those that a run knows; a full disk is one that passes."""
    try:
        yield
    except _PERMANENT as error:
        raise DataError(f"{path} cannot be written: {error}") from error
    except OSError as error:
        raise ConnectionError(f"{path}: {error}") from error
