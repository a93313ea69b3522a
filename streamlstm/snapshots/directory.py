"""A directory of numbered snapshots of one run."""

import fcntl
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from ..errors import DamagedSnapshotError, ParameterError, SnapshotError
from .file import UNFINISHED, digest_of, sync_directory, write_file
from .snapshot import M, ModelCopy, SavedSnapshot, Snapshot, load

if TYPE_CHECKING:
    from .snapshot import Model

_WHOLE, _CHANGES, _DAMAGED = ".snapshot", ".changes", ".damaged"
_MAX_CHANGES = 100  # files of changes in a row before a fleet is written as a whole again

_log = logging.getLogger(__name__)


class Snapshots:
    """Keeps the newest snapshots of one run, numbered, in a directory of their own.

    Parameters
    ----------
    directory
        The directory; it is created if needed. Only one process at a time may use it.
    keep
        How many snapshots to keep; older ones are removed once a newer one has been written.

    Raises
    ------
    SnapshotError
        If another process uses the directory.

    Examples
    --------
    >>> from streamlstm import LSTMRegressor
    >>> from streamlstm.snapshots import Snapshots
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
        missing = [each for each in (self.directory, *self.directory.parents) if not each.exists()]
        self.directory.mkdir(parents=True, exist_ok=True)
        for each in missing:
            sync_directory(each.parent)
        self._lock = (self.directory / "lock").open("w")  # released when the process ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise SnapshotError(f"{self.directory} is in use by another run") from error
        self._newest: SavedSnapshot | None = None
        self._writer = ThreadPoolExecutor(1)  # starts its thread when first used
        self._writing: Future[None] | None = None
        for unfinished in self.directory.glob(f".*{UNFINISHED}"):
            unfinished.unlink()

    def save(self, model: Any, position: Any = None, wait: bool = True) -> Path:
        """Write the next snapshot, as the function `save` does, and remove old ones.

        For a fleet, only the streams that changed since the last snapshot are written; when these
        changes add up to the size of the fleet, the next snapshot holds all streams again.

        wait: True to return when the snapshot is on the disk. False to return at once and write in
        the background; errors are then raised by the next call. A fleet may learn meanwhile: each
        stream is copied before it learns. Either way the file holds the model as it was at the time
        of the call.
        """
        self.finish()
        number = max(self._numbers(), default=0) + 1
        base = self._base_for(model, number)
        path = self.directory / f"{number:08d}{_WHOLE if base is None else _CHANGES}"
        copy = ModelCopy(model, position, base)

        def write() -> None:
            digest = write_file(path, copy.pieces(at_once=wait))
            self._newest = SavedSnapshot(model, number, path.name, digest, copy.mark)
            self._remove_old()

        if wait:
            write()
        else:
            self._writing = self._writer.submit(write)
        return path

    @overload
    def load(self) -> "Snapshot[Model] | None": ...

    @overload
    def load(self, kind: type[M]) -> Snapshot[M] | None: ...

    def load(self, kind: type[Any] | None = None) -> Snapshot[Any] | None:
        """Load the newest snapshot; None if there is none. kind: as for the function `load`.

        A damaged snapshot is renamed, with a warning in the log, and the one before it is loaded.

        Raises
        ------
        SnapshotError
            If all snapshots are damaged, or if the newest was written by a version that this one
            cannot read.
        OSError
            If a file cannot be opened, as for the function `load`; nothing is renamed then.

        """
        self.finish()
        for number in reversed(self._numbers(_WHOLE, _CHANGES)):
            path = self._path(number)
            try:
                found: Snapshot[Any] = load(path) if kind is None else load(path, kind)
            except DamagedSnapshotError as error:
                renamed = path.rename(path.with_suffix(_DAMAGED))
                _log.warning("%s; renamed to %s, loading the one before", error, renamed.name)
            else:
                if hasattr(found.model, "_mark"):
                    mark = found.model._mark()
                    digest = digest_of(path)
                    self._newest = SavedSnapshot(found.model, number, path.name, digest, mark)
                return found
        if self._numbers(_DAMAGED):
            raise SnapshotError(
                f"all snapshots in {self.directory} are damaged: use another directory"
            )
        return None

    def restore(self, model: Any, found: Snapshot[Any]) -> None:
        """Put the state of a loaded snapshot into an existing model of the same parameters.

        Raises
        ------
        ParameterError
            If the model's class or parameters differ from the snapshot's. The model has not changed
            then.

        """
        loaded = found.model
        if type(model) is not type(loaded):
            raise ParameterError(
                f"{self.directory} holds {type(loaded).__name__}, not {type(model).__name__}: "
                "use another directory for this model"
            )
        saved = loaded._parameters()
        for name, value in model._parameters().items():
            if value != saved[name]:
                raise ParameterError(
                    f"{self.directory} holds a model with {name}={saved[name]!r}, not {value!r}: "
                    "use another directory for this model"
                )
        model._restore(loaded)
        if self._newest is not None and self._newest.model is loaded:
            self._newest = self._newest._replace(model=model)

    def _base_for(self, model: Any, number: int) -> SavedSnapshot | None:
        """The snapshot that number `number` may store changes from; None to write all streams."""
        newest = self._newest
        if newest is None or newest.mark is None or newest.model is not model:
            return None
        if newest.number != number - 1:
            return None
        changes = 0
        for older in range(newest.number, newest.number - _MAX_CHANGES, -1):
            path = self._path(older)
            if not path.exists():
                return None
            if path.suffix == _WHOLE:
                return newest if changes <= path.stat().st_size else None
            changes += path.stat().st_size
        return None

    def _remove_old(self) -> None:
        """Remove the files that none of the `keep` newest snapshots needs."""
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
        """Sorted numbers of the files with these suffixes, or of all snapshot files."""
        wanted = suffixes or (_WHOLE, _CHANGES, _DAMAGED)
        names = [path.stem for path in self.directory.iterdir() if path.suffix in wanted]
        return sorted(int(name) for name in names if name.isdecimal())

    @property
    def writing(self) -> bool:
        """Whether a snapshot is being written in the background."""
        return self._writing is not None and not self._writing.done()

    def finish(self) -> None:
        """Wait for the snapshot in the background, and raise its error if it failed."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Finish writing, and unlock the directory."""
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
