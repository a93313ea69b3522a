"""The file format of snapshots: written completely or not at all, and checked when read.

A file holds MAGIC, the number of the format, the lengths of header and arrays, the header, the
arrays, and a SHA-256 digest of all that: see docs/snapshots.md. `encoding` makes the header.
"""

import errno
import hashlib
import json
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DamagedSnapshotError

MAGIC = b"streamlstm\r\n"  # a copy in text mode would change the line end and so be detected
FORMAT = 1  # increase it when the state of a model changes its form
PREFIX = struct.Struct("<12sIQQ")  # MAGIC, FORMAT, size of the header, size of the arrays
DIGEST = 32  # bytes
UNFINISHED = ".unfinished"


class SnapshotFile(NamedTuple):
    """The parts of a file."""

    format: int
    header: dict[str, Any]
    arrays: memoryview
    digest: str


def open_file(path: Path) -> SnapshotFile:
    """Read a file and check that it is complete and unchanged."""
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        if error.errno == errno.EIO:
            raise DamagedSnapshotError(f"{path} cannot be read: {error}") from error
        raise
    if len(data) < PREFIX.size or data[: len(MAGIC)] != MAGIC:
        raise DamagedSnapshotError(f"{path} is not a snapshot, nor the beginning of one")
    _, file_format, header_size, arrays_size = PREFIX.unpack_from(data)
    size = PREFIX.size + header_size + arrays_size + DIGEST
    if len(data) < size:
        raise DamagedSnapshotError(f"{path} is cut off: {len(data)} bytes of {size}")
    digest = hashlib.sha256(data[:-DIGEST])
    if digest.digest() != data[-DIGEST:]:
        raise DamagedSnapshotError(f"{path} is damaged: its checksum is wrong")
    start = PREFIX.size + header_size
    header = json.loads(bytes(data[PREFIX.size : start]))
    return SnapshotFile(file_format, header, data[start:-DIGEST], digest.hexdigest())


def write_file(path: Path, pieces: Iterable[bytes]) -> str:
    """Write a file and its digest; whatever fails, the old or the new file is complete."""
    unfinished = path.with_name(f".{path.name}{UNFINISHED}")
    digest = hashlib.sha256()
    try:
        with unfinished.open("wb") as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    """Read the digest at the end of a file."""
    with path.open("rb") as file:
        file.seek(-DIGEST, os.SEEK_END)
        return file.read().hex()


def sync_directory(directory: Path) -> None:
    """Write a directory's entries to the disk, so that they survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
