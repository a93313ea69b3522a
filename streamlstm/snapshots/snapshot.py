"""Save a model with all that it has learned to a file, and load it again, equal to the last bit."""

import contextlib
import gc
import json
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar, overload

from ..errors import DamagedSnapshotError, SnapshotError
from ..fleets.snapshot_copy import FleetCopy, copying
from .encoding import Decoder, Encoder
from .file import FORMAT, MAGIC, PREFIX, SnapshotFile, open_file, write_file

if TYPE_CHECKING:
    from ..classifier import LSTMClassifier
    from ..fleets.fleet import ForecasterFleet
    from ..forecaster import LSTMForecaster
    from ..multi_target import LSTMMultiTargetRegressor
    from ..regressor import LSTMRegressor

    Model: TypeAlias = (
        LSTMForecaster | ForecasterFleet | LSTMRegressor | LSTMMultiTargetRegressor | LSTMClassifier
    )

M = TypeVar("M")

_VERSION = version("streamlstm")
COPY_SECONDS = 0.001  # how long a fleet is locked at a time while it is copied


class Snapshot(NamedTuple, Generic[M]):
    """A model and a position, loaded from a file."""

    model: M
    position: Any  # of the source of the ticks, as it was passed to `save`


def save(model: Any, path: str | Path, position: Any = None) -> None:
    """Write a model to a file, which appears complete or not at all.

    Parameters
    ----------
    model
        An estimator or a fleet.
    path
        The file; an existing one is replaced.
    position
        Where the source of the ticks is, in any form made of numbers, text, None, NumPy arrays,
        lists, tuples and dicts.

    Raises
    ------
    SnapshotError
        If a feature, key, class or position is of a type that a file cannot hold.
    OSError
        If the file cannot be written. An existing file is unchanged then.

    Examples
    --------
    >>> from streamlstm import LSTMForecaster, load, save
    >>> model = LSTMForecaster(hidden_size=4, preset="fast", season=None)
    >>> for n in range(50):
    ...     model.learn_one(n % 5)
    >>> path = getfixture("tmp_path") / "model.snapshot"
    >>> save(model, path, position={"row": 50})
    >>> again, position = load(path, LSTMForecaster)
    >>> again.forecast(3) == model.forecast(3), position
    (True, {'row': 50})

    """
    write_file(Path(path), ModelCopy(model, position).pieces(at_once=True))


@overload
def load(path: str | Path) -> "Snapshot[Model]": ...


@overload
def load(path: str | Path, kind: type[M]) -> Snapshot[M]: ...


def load(path: str | Path, kind: type[Any] | None = None) -> Snapshot[Any]:
    """Load a model, which continues exactly as the saved one would have, and its position.

    Parameters
    ----------
    path
        The file.
    kind
        The expected class of the model, such as `LSTMForecaster`. It is checked, and it tells type
        checkers the class of the returned model.

    Returns
    -------
    The pair (model, position).

    Raises
    ------
    DamagedSnapshotError
        If the file is not a snapshot, is cut off or has changed since it was written, or if the
        disk fails.
    SnapshotError
        If another version of streamlstm or river wrote the file and this one cannot read it (the
        message says which versions to install), or if the model is not of class `kind`.
    OSError
        If there is no such file, or it cannot be opened now, for example because too many files are
        open.

    """
    found = _load(Path(path))
    if kind is not None and not isinstance(found.model, kind):
        raise SnapshotError(f"{path} holds {type(found.model).__name__}, not {kind.__name__}")
    return found


def _load(path: Path) -> Snapshot[Any]:
    file = open_file(path)
    header = file.header
    refusal = SnapshotError(
        f"{path} was written by streamlstm {header['streamlstm']} with river {header['river']}; "
        f"this is streamlstm {_VERSION} with river {version('river')}, which cannot "
        "read it: install those versions"
    )
    if file.format != FORMAT:
        raise refusal
    try:
        with garbage_collection_paused():
            position = Decoder(file.arrays).value(header["position"])
            return Snapshot(_model(path, file), position)
    except DamagedSnapshotError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise refusal from error


def _model(path: Path, file: SnapshotFile) -> Any:
    """The model in a file; unchanged streams of a fleet are read from the files before it."""
    decoder, node = Decoder(file.arrays), file.header["model"]
    if file.header["after"] is None:
        return decoder.value(node)
    state = decoder.state(node)
    models = state["models"]
    missing = {row for row, model in models.items() if model is None}
    while file.header["after"] is not None:
        before = path.with_name(file.header["after"]["name"])
        try:
            older = open_file(before)
        except (DamagedSnapshotError, FileNotFoundError) as error:
            raise DamagedSnapshotError(f"{path} needs {before.name}: {error}") from error
        if older.digest != file.header["after"]["digest"]:
            raise DamagedSnapshotError(f"{path} needs {before.name}, which has been replaced")
        file, decoder = older, Decoder(older.arrays)
        for row, model in file.header["model"]["state"]["models"]["dict"]:
            if row in missing and model is not None:
                models[row] = decoder.value(model)
                missing.remove(row)
    return decoder.object(node["class"], state)


class SavedSnapshot(NamedTuple):
    """A snapshot on the disk, from which the next one may store changes."""

    model: Any
    number: int
    name: str
    digest: str
    mark: int | None  # of a fleet, see `ForecasterFleet._mark`


class ModelCopy:
    """A copy of a model and a position as they are now, encoded for a file.

    after: the snapshot before, if the file is to hold only what has changed since.
    """

    def __init__(self, model: Any, position: Any, after: SavedSnapshot | None = None):
        if getattr(model, "device", "cpu") != "cpu":
            raise SnapshotError("a fleet on a GPU has no snapshots: pickle it, or save fleet[key]")
        self.mark: int | None = None  # of a fleet
        self._lock = model._lock
        self._encoder = encoder = Encoder()
        self._streams_copy = FleetCopy({}, encoder.value)
        header: dict[str, Any] = {
            "streamlstm": _VERSION,
            "river": version("river"),
            "after": None if after is None else {"name": after.name, "digest": after.digest},
            "position": encoder.value(position),
        }
        with self._lock, garbage_collection_paused():
            if hasattr(model, "_mark"):
                state = {**model._state(), "models": {}}  # `pieces` inserts the models
                header["model"] = encoder.object(model, state)
                since = None if after is None else after.mark
                self._streams_copy = model._copy_from(since, encoder.value)
                self.mark = model._mark()
            else:
                header["model"] = encoder.value(model)
        self._header = _json(header)

    def pieces(self, at_once: bool) -> Iterator[bytes]:
        """Yield the bytes of the file without the digest; call it only once, as nothing is kept.

        at_once: whether to copy a fleet's streams in one go, or to unlock the fleet in between.
        """
        header, encoder = self._header, self._encoder
        if self._streams_copy.rows:
            start, end = header.rsplit("[]", 1)  # the last "[]" is the empty dict of models
            header = f"{start}[{','.join(self._streams(at_once))}]{end}"
        yield PREFIX.pack(MAGIC, FORMAT, len(header), encoder.size)
        yield header.encode()
        while encoder.arrays:
            yield encoder.arrays.popleft()

    def _streams(self, at_once: bool) -> Iterator[str]:
        """Rows and models as JSON, in the order of the fleet."""
        fleet_copy, more = self._streams_copy, True
        texts = {row: f"[{row},null]" for row in fleet_copy.unchanged}
        try:
            while more:
                began = time.perf_counter()
                with copying, self._lock, garbage_collection_paused():
                    more = fleet_copy.copy_for(sys.maxsize if at_once else COPY_SECONDS)
                texts.update((row, _json([row, node])) for row, node in fleet_copy.take_copies())
                if more:
                    time.sleep(time.perf_counter() - began)
        finally:
            with copying, self._lock:
                fleet_copy.pending.clear()
        return (texts[row] for row in fleet_copy.rows)


def _json(node: Any) -> str:
    return json.dumps(node, separators=(",", ":"))


@contextlib.contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Pause garbage collection, which would search a whole fleet many times as objects are made."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
