"""Snapshots: a model in a file, with all that it has learned, and back to the last bit.

A file is MAGIC, the number of the format, the lengths of header and arrays, the header, the arrays,
and a BLAKE2b digest of all before it: see docs/snapshots.md. The header is JSON, see `encoding`.
"""

import fcntl
import hashlib
import json
import logging
import os
import struct
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import streamlstm

from .encoding import Decoder, Encoder
from .errors import DamagedSnapshotError, ParameterError, SnapshotError

MAGIC = b"streamlstm\r\n"  # the line end, so that a copy in text mode shows
FORMAT = 1  # of this version; raise it when what a model's state consists of changes
_PREFIX = struct.Struct("<12sIQQ")  # MAGIC, FORMAT, bytes of the header, bytes of the arrays
_DIGEST = 32  # bytes
_SUFFIX, _DAMAGED, _UNFINISHED = ".snapshot", ".damaged", ".unfinished"

_log = logging.getLogger(__name__)


class Snapshot(NamedTuple):
    """What a file holds."""

    model: Any
    position: Any  # of the source, as `save` was given it


def save(model: Any, path: str | Path, position: Any = None) -> None:
    """Write a model to a file, which appears whole or not at all.

    Parameters
    ----------
    model
        Any estimator of this package.
    path
        The file; one that is there is replaced.
    position
        Where the source of its ticks stands: numbers, text, None and NumPy arrays, in lists,
        tuples and dicts.

    Raises
    ------
    SnapshotError
        If a feature, key, class or position is of a type that a file cannot hold.
    OSError
        If the file cannot be written. What was there before still is.

    Examples
    --------
    >>> from streamlstm import LSTMForecaster, snapshot
    >>> model = LSTMForecaster(hidden_size=4, preset="fast", season=None)
    >>> for n in range(50):
    ...     model.learn_one(n % 5)
    >>> path = getfixture("tmp_path") / "model.snapshot"
    >>> snapshot.save(model, path, position={"row": 50})
    >>> again, position = snapshot.load(path)
    >>> again.forecast(3) == model.forecast(3), position
    (True, {'row': 50})

    """
    _write(Path(path), _pieces(model, position))


def load(path: str | Path) -> Snapshot:
    """Read a model that goes on as the one would have that was saved, and its position.

    Raises
    ------
    DamagedSnapshotError
        If the file is no snapshot, is cut off or is not as it was written.
    SnapshotError
        If it was written by a version of this package, or of river, that this one cannot read; says
        which one to install.
    OSError
        If there is no file to read.

    """
    header, arrays = _opened(Path(path))
    written_by = f"streamlstm {header['streamlstm']} with river {header['river']}"
    refusal = SnapshotError(
        f"{path} was written by {written_by}; this is streamlstm {streamlstm.__version__} "
        f"with river {version('river')}, which cannot read it: install those"
    )
    if header["format"] != FORMAT:
        raise refusal
    decoder = Decoder(arrays)
    try:
        return Snapshot(decoder.value(header["model"]), decoder.value(header["position"]))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise refusal from error


def _opened(path: Path) -> tuple[dict[str, Any], memoryview]:
    """Header and arrays of a file that is as it was written."""
    data = memoryview(path.read_bytes())
    if len(data) < _PREFIX.size or data[: len(MAGIC)] != MAGIC:
        raise DamagedSnapshotError(f"{path} is not a snapshot, nor the beginning of one")
    _, form, header_size, arrays_size = _PREFIX.unpack_from(data)
    size = _PREFIX.size + header_size + arrays_size + _DIGEST
    if len(data) < size:
        raise DamagedSnapshotError(f"{path} is cut off: {len(data)} bytes of {size}")
    if hashlib.blake2b(data[:-_DIGEST], digest_size=_DIGEST).digest() != data[-_DIGEST:]:
        raise DamagedSnapshotError(f"{path} is damaged: its checksum is wrong")
    start = _PREFIX.size + header_size
    header = json.loads(bytes(data[_PREFIX.size : start]))
    return header | {"format": form}, data[start:-_DIGEST]


def _pieces(model: Any, position: Any) -> list[bytes]:
    """The bytes of a file but for the digest; the model is held up while it is copied."""
    encoder = Encoder()
    with model._lock:
        tree = encoder.value(model)
    header = {
        "streamlstm": streamlstm.__version__,
        "river": version("river"),
        "position": encoder.value(position),
        "model": tree,
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return [_PREFIX.pack(MAGIC, FORMAT, len(text), encoder.size), text, *encoder.arrays]


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file and its digest so that, come what may, the old one or the new one is there."""
    unfinished = path.with_name(f".{path.name}{_UNFINISHED}")
    digest = hashlib.blake2b(digest_size=_DIGEST)
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
    _sync(path.parent)


def _sync(directory: Path) -> None:
    """Let the names in a directory outlast a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Snapshots:
    """The last snapshots of one run, numbered, in a directory of their own.

    Parameters
    ----------
    directory
        It is made if there is none. One process at a time may use it.
    keep
        How many to keep; older ones are removed once a newer one is written.

    Raises
    ------
    SnapshotError
        If another process uses the directory.

    Examples
    --------
    >>> from streamlstm import LSTMRegressor
    >>> from streamlstm.snapshot import Snapshots
    >>> directory = getfixture("tmp_path") / "state"
    >>> with Snapshots(directory) as snapshots:
    ...     found = snapshots.load()
    ...     model, position = found or (LSTMRegressor(hidden_size=4), 0)
    ...     for n in range(position, 100):
    ...         model.learn_one({"x": n % 3}, n % 3)
    ...     _ = snapshots.save(model, position=100)
    >>> with Snapshots(directory) as snapshots:
    ...     snapshots.load().position
    100

    """

    def __init__(self, directory: str | Path, keep: int = 3):
        if type(keep) is not int or keep < 1:
            raise ParameterError(f"keep must be a whole number of at least 1, got {keep!r}")
        self.directory = Path(directory)
        self.keep = keep
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = (self.directory / "lock").open("w")  # released by the system with the process
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise SnapshotError(f"{self.directory} is in use by another run") from error
        for unfinished in self.directory.glob(f".*{_UNFINISHED}"):
            unfinished.unlink()

    def save(self, model: Any, position: Any = None) -> Path:
        """Write the next snapshot, see the function `save`, and remove those that are too many."""
        number = max(self._numbers(_SUFFIX) + self._numbers(_DAMAGED), default=0) + 1
        path = self._path(number)
        save(model, path, position)
        for old in self._numbers(_SUFFIX)[: -self.keep]:
            self._path(old).unlink()
        return path

    def load(self) -> Snapshot | None:
        """The newest snapshot, None if there has been none.

        One that is damaged is set aside under another name, with a warning in the log, and the one
        before is taken.

        Raises
        ------
        SnapshotError
            If there are but damaged ones, or a version wrote the newest that this one cannot read.

        """
        for number in reversed(self._numbers(_SUFFIX)):
            path = self._path(number)
            try:
                return load(path)
            except (DamagedSnapshotError, OSError) as error:
                aside = path.rename(path.with_suffix(_DAMAGED))
                _log.warning("%s; it is now %s, the one before is taken", error, aside.name)
        if self._numbers(_DAMAGED):
            raise SnapshotError(f"all snapshots in {self.directory} are damaged: begin in another")
        return None

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:08d}{_SUFFIX}"

    def _numbers(self, suffix: str) -> list[int]:
        names = [path.stem for path in self.directory.glob(f"*{suffix}")]
        return sorted(int(name) for name in names if name.isdecimal())

    def close(self) -> None:
        """Let others use the directory."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
