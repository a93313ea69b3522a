"""Snapshots: a model in a file, with all that it has learned, and back to the last bit.

A file is MAGIC, the number of the format, the lengths of header and arrays, the header, the arrays,
and a SHA-256 digest of all before it: see docs/snapshots.md. The header is JSON, see `encoding`.
"""

import contextlib
import errno
import fcntl
import gc
import hashlib
import json
import logging
import os
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from ..errors import DamagedSnapshotError, ParameterError, SnapshotError
from ..fleets.snapshot_copy import Moment, copying
from .encoding import Decoder, Encoder

MAGIC = b"streamlstm\r\n"  # the line end, so that a copy in text mode shows
FORMAT = 1  # of this version; raise it when what a model's state consists of changes
_PREFIX = struct.Struct("<12sIQQ")  # MAGIC, FORMAT, bytes of the header, bytes of the arrays
_DIGEST = 32  # bytes
_WHOLE, _CHANGES, _DAMAGED = ".snapshot", ".changes", ".damaged"
_UNFINISHED = ".unfinished"
PORTION = 0.001  # seconds that others wait for a fleet at a time
_LONGEST = 100  # changes of a fleet in a row, before it is written as a whole again

_VERSION = version("streamlstm")

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
    _write(Path(path), _Copy(model, position).pieces(at_once=True))


def load(path: str | Path) -> Snapshot:
    """Read a model that goes on as the one would have that was saved, and its position.

    Raises
    ------
    DamagedSnapshotError
        If the file is no snapshot, is cut off or is not as it was written, or the disk fails.
    SnapshotError
        If it was written by a version of this package, or of river, that this one cannot read; says
        which one to install.
    OSError
        If there is no file to read, or not just now, as where there are too many open files.

    """
    path = Path(path)
    file = _opened(path)
    header = file.header
    refusal = SnapshotError(
        f"{path} was written by streamlstm {header['streamlstm']} with river {header['river']}; "
        f"this is streamlstm {_VERSION} with river {version('river')}, which cannot "
        "read it: install those"
    )
    if file.format != FORMAT:
        raise refusal
    try:
        with _no_collection():
            position = Decoder(file.arrays).value(header["position"])
            return Snapshot(_model(path, file), position)
    except DamagedSnapshotError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise refusal from error


class _File(NamedTuple):
    format: int
    header: dict[str, Any]
    arrays: memoryview
    digest: str


def _opened(path: Path) -> _File:
    """A file that is as it was written."""
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        if error.errno == errno.EIO:
            raise DamagedSnapshotError(f"{path} cannot be read: {error}") from error
        raise
    if len(data) < _PREFIX.size or data[: len(MAGIC)] != MAGIC:
        raise DamagedSnapshotError(f"{path} is not a snapshot, nor the beginning of one")
    _, form, header_size, arrays_size = _PREFIX.unpack_from(data)
    size = _PREFIX.size + header_size + arrays_size + _DIGEST
    if len(data) < size:
        raise DamagedSnapshotError(f"{path} is cut off: {len(data)} bytes of {size}")
    digest = hashlib.sha256(data[:-_DIGEST])
    if digest.digest() != data[-_DIGEST:]:
        raise DamagedSnapshotError(f"{path} is damaged: its checksum is wrong")
    start = _PREFIX.size + header_size
    header = json.loads(bytes(data[_PREFIX.size : start]))
    return _File(form, header, data[start:-_DIGEST], digest.hexdigest())


def _model(path: Path, file: _File) -> Any:
    """The model in a file; of a fleet, streams that had not changed are in the files before."""
    decoder, node = Decoder(file.arrays), file.header["model"]
    if file.header["after"] is None:
        return decoder.value(node)
    state = decoder.state(node)
    models = state["models"]
    missing = {row for row, model in models.items() if model is None}
    while file.header["after"] is not None:
        before = path.with_name(file.header["after"]["name"])
        try:
            older = _opened(before)
        except (DamagedSnapshotError, FileNotFoundError) as error:
            raise DamagedSnapshotError(f"{path} needs {before.name}: {error}") from error
        if older.digest != file.header["after"]["digest"]:
            raise DamagedSnapshotError(f"{path} needs {before.name}, which is another by now")
        file, decoder = older, Decoder(older.arrays)
        for row, model in file.header["model"]["state"]["models"]["dict"]:
            if row in missing and model is not None:
                models[row] = decoder.value(model)
                missing.remove(row)
    return decoder.object(node["class"], state)


class _Saved(NamedTuple):
    """What a later snapshot may build upon."""

    model: Any
    number: int
    name: str
    digest: str
    mark: int | None  # of a fleet


class _Copy:
    """A model and a position as they are now, on their way into a file.

    after: what the file is to hold the changes since.
    """

    def __init__(self, model: Any, position: Any, after: _Saved | None = None):
        if getattr(model, "device", "cpu") != "cpu":
            raise SnapshotError("a fleet on a GPU has no snapshots: pickle it, or save fleet[key]")
        self.mark: int | None = None  # of a fleet
        self._lock = model._lock
        self._encoder = encoder = Encoder()
        self._moment = Moment({}, encoder.value)
        header: dict[str, Any] = {
            "streamlstm": _VERSION,
            "river": version("river"),
            "after": None if after is None else {"name": after.name, "digest": after.digest},
            "position": encoder.value(position),
        }
        with self._lock, _no_collection():
            if hasattr(model, "_mark"):
                state = {**model._state(), "models": {}}  # which come last
                header["model"] = encoder.object(model, state)
                since = None if after is None else after.mark
                self._moment = model._moment(since, encoder.value)
                self.mark = model._mark()
            else:
                header["model"] = encoder.value(model)
        self._header = _json(header)

    def pieces(self, at_once: bool) -> Iterator[bytes]:
        """The bytes of the file but for the digest, once, for none of them is kept.

        at_once: whether to copy a fleet's streams in one go, or to let others use it in between.
        """
        header, encoder = self._header, self._encoder
        if self._moment.rows:
            start, end = header.rsplit("[]", 1)  # the models, none so far, are what it ends with
            header = f"{start}[{','.join(self._streams(at_once))}]{end}"
        yield _PREFIX.pack(MAGIC, FORMAT, len(header), encoder.size)
        yield header.encode()
        while encoder.arrays:
            yield encoder.arrays.popleft()

    def _streams(self, at_once: bool) -> Iterator[str]:
        """Rows and models in JSON, in the order of the fleet."""
        moment, more = self._moment, True
        texts = {row: f"[{row},null]" for row in moment.unchanged}
        try:
            while more:
                began = time.perf_counter()
                with copying, self._lock, _no_collection():
                    more = moment.copy_for(sys.maxsize if at_once else PORTION)
                texts.update((row, _json([row, node])) for row, node in moment.taken())
                if more:
                    time.sleep(time.perf_counter() - began)
        finally:
            with copying, self._lock:
                moment.waiting.clear()
        return (texts[row] for row in moment.rows)


def _json(node: Any) -> str:
    return json.dumps(node, separators=(",", ":"))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Collect no garbage: while many objects are made, all of a fleet is searched, many times."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _write(path: Path, pieces: Iterable[bytes]) -> str:
    """Write a file and its digest so that, come what may, the old one or the new one is there."""
    unfinished = path.with_name(f".{path.name}{_UNFINISHED}")
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
    _sync(path.parent)
    return digest.hexdigest()


def _digest_of(path: Path) -> str:
    """The digest that a file ends with."""
    with path.open("rb") as file:
        file.seek(-_DIGEST, os.SEEK_END)
        return file.read().hex()


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
        made = [each for each in (self.directory, *self.directory.parents) if not each.exists()]
        self.directory.mkdir(parents=True, exist_ok=True)
        for each in made:
            _sync(each.parent)
        self._lock = (self.directory / "lock").open("w")  # released by the system with the process
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise SnapshotError(f"{self.directory} is in use by another run") from error
        self._newest: _Saved | None = None
        self._writer = ThreadPoolExecutor(1)  # starts a thread when it is first needed
        self._writing: Future[None] | None = None
        for unfinished in self.directory.glob(f".*{_UNFINISHED}"):
            unfinished.unlink()

    def save(self, model: Any, position: Any = None, wait: bool = True) -> Path:
        """Write the next snapshot, see the function `save`, and remove those that are too many.

        Of a fleet only the streams are written that have changed since the one before, if that is
        from here, until these add up to the fleet's size.

        wait: whether to return when it is on the disk, or else at once: a fleet's streams are then
        copied little by little, and each before it learns on, and what goes wrong is raised by the
        next call. Either way the file holds the model as it was when this was called.
        """
        self.finish()
        number = max(self._numbers(), default=0) + 1
        after = self._base_of(model, number)
        path = self.directory / f"{number:08d}{_WHOLE if after is None else _CHANGES}"
        copy = _Copy(model, position, after)

        def write() -> None:
            digest = _write(path, copy.pieces(at_once=wait))
            self._newest = _Saved(model, number, path.name, digest, copy.mark)
            self._remove_old()

        if wait:
            write()
        else:
            self._writing = self._writer.submit(write)
        return path

    def load(self) -> Snapshot | None:
        """The newest snapshot, None if there has been none.

        One that is damaged is set aside under another name, with a warning in the log, and the one
        before is taken.

        Raises
        ------
        SnapshotError
            If there are but damaged ones, or a version wrote the newest that this one cannot read.
        OSError
            As the function `load`; nothing is set aside then.

        """
        self.finish()
        for number in reversed(self._numbers(_WHOLE, _CHANGES)):
            path = self._path(number)
            try:
                found = load(path)
            except DamagedSnapshotError as error:
                aside = path.rename(path.with_suffix(_DAMAGED))
                _log.warning("%s; it is now %s, the one before is taken", error, aside.name)
            else:
                if hasattr(found.model, "_mark"):
                    mark = found.model._mark()
                    digest = _digest_of(path)
                    self._newest = _Saved(found.model, number, path.name, digest, mark)
                return found
        if self._numbers(_DAMAGED):
            raise SnapshotError(f"all snapshots in {self.directory} are damaged: begin in another")
        return None

    def _base_of(self, model: Any, number: int) -> _Saved | None:
        """The snapshot whose changes suffice for the one of this number, if there is one."""
        newest = self._newest
        if newest is None or newest.mark is None or newest.model is not model:
            return None
        if newest.number != number - 1:
            return None
        changes = 0
        for older in range(newest.number, newest.number - _LONGEST, -1):
            path = self._path(older)
            if not path.exists():
                return None
            if path.suffix == _WHOLE:
                return newest if changes <= path.stat().st_size else None
            changes += path.stat().st_size
        return None

    def _remove_old(self) -> None:
        """Remove what none of the newest snapshots needs."""
        numbers = self._numbers(_WHOLE, _CHANGES)
        oldest = numbers[-self.keep :][0]
        needed = max((number for number in self._numbers(_WHOLE) if number <= oldest), default=0)
        for number in numbers:
            if number < needed:
                self._path(number).unlink()

    def _path(self, number: int) -> Path:
        whole = self.directory / f"{number:08d}{_WHOLE}"
        return whole if whole.exists() else whole.with_suffix(_CHANGES)

    def _numbers(self, *suffixes: str) -> list[int]:
        """Of the files with these suffixes, or of all."""
        wanted = suffixes or (_WHOLE, _CHANGES, _DAMAGED)
        names = [path.stem for path in self.directory.iterdir() if path.suffix in wanted]
        return sorted(int(name) for name in names if name.isdecimal())

    @property
    def writing(self) -> bool:
        """Whether a snapshot that nobody waits for is still being written."""
        return self._writing is not None and not self._writing.done()

    def finish(self) -> None:
        """Wait for what is being written; raises what went wrong with it."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Finish writing and let others use the directory."""
        try:
            self.finish()
        finally:
            self._writer.shutdown()
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
