"""The file of a snapshot, as bytes: written whole or not at all, and checked when it is read.

It holds MAGIC, the number of the format, the lengths of header and arrays, the header, the arrays,
and a SHA-256 digest of everything before it: see docs/snapshots.md. `encoding` makes the header.
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

MAGIC = b"streamlstm\r\n"  # the line end, so that a copy in text mode shows
FORMAT = 1  # of this version; raise it when what a model's state consists of changes
PREFIX = struct.Struct("<12sIQQ")  # MAGIC, FORMAT, bytes of the header, bytes of the arrays
DIGEST = 32  # bytes
UNFINISHED = ".unfinished"


class SnapshotFile(NamedTuple):
    """The parts of a file."""

    format: int
    header: dict[str, Any]
    arrays: memoryview
    digest: str


def open_file(path: Path) -> SnapshotFile:
    """A file that is as it was written."""
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        if error.errno == errno.EIO:
            raise DamagedSnapshotError(f"{path} cannot be read: {error}") from error
        raise
    if len(data) < PREFIX.size or data[: len(MAGIC)] != MAGIC:
        raise DamagedSnapshotError(f"{path} is not a snapshot, nor the beginning of one")
    _, form, header_size, arrays_size = PREFIX.unpack_from(data)
    size = PREFIX.size + header_size + arrays_size + DIGEST
    if len(data) < size:
        raise DamagedSnapshotError(f"{path} is cut off: {len(data)} bytes of {size}")
    digest = hashlib.sha256(data[:-DIGEST])
    if digest.digest() != data[-DIGEST:]:
        raise DamagedSnapshotError(f"{path} is damaged: its checksum is wrong")
    start = PREFIX.size + header_size
    header = json.loads(bytes(data[PREFIX.size : start]))
    return SnapshotFile(form, header, data[start:-DIGEST], digest.hexdigest())


def write_file(path: Path, pieces: Iterable[bytes]) -> str:
    """Write a file and its digest so that, come what may, the old one or the new one is there."""
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
    """The digest that a file ends with."""
    with path.open("rb") as file:
        file.seek(-DIGEST, os.SEEK_END)
        return file.read().hex()


def sync_directory(directory: Path) -> None:
    """Let the names in a directory outlast a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
