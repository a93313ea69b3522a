"""`LiveRun`: a model that learns from a live source and sends its forecasts to a sink."""

import logging
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic, perf_counter
from typing import Any, TypeVar

import numpy as np

from ..errors import ParameterError
from ..fleets.fleet import ForecasterFleet
from ..forecaster import LSTMForecaster
from ..model.checks import check_horizon, check_whole, plain
from ..model.display import as_html, as_text
from ..model.quantiles import interval_places
from ..snapshots.directory import Snapshots
from ..snapshots.runs import SECONDS, check_run, refuse
from .address import Address
from .bars import Bars
from .batch import Batch, EndOfStream, Rejected
from .connector import Sink, Source, connector
from .dead_letters import DeadLetters
from .learning import Model, learn
from .metrics import Metrics
from .payload import Fields
from .watermarks import Watermarks

SHORTEST, LONGEST = 0.1, 30.0  # seconds before a retry; pauses double
POSITION_FIELDS = {"options", "source", "watermarks", "bars"}  # of a snapshot

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class _GaveUpError(Exception):
    """The run is told to stop while something cannot be written or read."""


class LiveRun:
    """Lets a model learn each tick of a live source, and sends its forecasts to a sink.

    With `state` each tick counts once, whatever is killed: a snapshot holds the model together with
    the position in the source up to which it has learned, and the next run continues there. The
    sink gets each forecast at least once. The source gets an acknowledgement once a snapshot holds
    its ticks, or, without `state`, once the sink has their forecasts.

    Lost connections are opened again, after pauses that double up to 30 seconds. If a snapshot
    does not fit on the disk, the run continues without acknowledging and tries again later.

    Parameters
    ----------
    model
        An `LSTMForecaster`, or a `ForecasterFleet` if the source has keys. The run changes this
        object, so you can ask it for forecasts meanwhile.
    source
        Where ticks come from: an address such as "redis://localhost/readings", or a `Source`.
    sink
        Where forecasts go: an address such as "sqlite:///forecasts.db", a `Sink`, or None.
    state
        Directory for the snapshots of this run. If it holds some, the model takes over the state
        of the newest one and the run continues from there. None for no snapshots.
    value, key, time, features, sequence
        Names of the fields of a message: see `Fields`. Only for a source given as an address; a
        `Source` has its own.
    horizon
        How many values to forecast after each tick, K.
    interval
        Share of the values that intervals should hold, such as 0.9; None for no intervals.
    bars
        Turns ticks into bars, which the model then learns: text such as "5min" or "100:mean", whose
        `features` are those of the bars, such as "high" and "volume:sum", or a `Bars`.
    dead_letters
        File for messages that are not ticks; None to only count them.
    options
        Settings, by name, that must be the same whenever the run continues. By default source and
        fields if the source is given as an address.
    batch_ticks
        How many ticks to learn in one go, at most.
    wait
        Seconds to wait for ticks before checking whether to stop.
    snapshot_seconds
        Shortest time between snapshots, unless the source needs an acknowledgement to continue.

    Attributes
    ----------
    metrics
        Counters of this run, `Metrics`.

    Raises
    ------
    ParameterError
        If `state` holds another run, or a model of another class or with other parameters; if
        field names are given together with a `Source`; or if an address or number is invalid.
    SnapshotError
        If the snapshots cannot be used: see `Snapshots`.

    Examples
    --------
    >>> from streamlstm import LiveRun, LSTMForecaster
    >>> folder = getfixture("tmp_path")
    >>> getfixture("monkeypatch").chdir(folder)
    >>> _ = (folder / "flow.csv").write_text("flow\\n" + "1\\n2\\n3\\n" * 10)
    >>> model = LSTMForecaster(hidden_size=4, preset="fast", season=None)
    >>> run = LiveRun(model, "csv:///flow.csv", "csv:///forecasts.csv", value="flow")
    >>> run.run()
    >>> run.metrics.ticks, run.metrics.forecasts
    (30, 30)

    """

    def __init__(
        self,
        model: Model,
        source: Source | str,
        sink: Sink | str | None = None,
        state: str | Path | None = None,
        *,
        value: str = "value",
        key: str | None = None,
        time: str | None = None,
        features: str | Sequence[str] = (),
        sequence: str | None = None,
        horizon: int = 1,
        interval: float | None = None,
        bars: Bars | str | None = None,
        dead_letters: str | Path | None = None,
        options: Mapping[str, object] | None = None,
        batch_ticks: int = 1024,
        wait: float = 0.1,
        snapshot_seconds: float = SECONDS,
    ):
        if not snapshot_seconds >= 0:
            raise ParameterError(f"snapshot_seconds must be at least 0, got {snapshot_seconds}")
        if isinstance(model, type):
            raise ParameterError(f"model must be an object, got the class {model.__name__}")
        horizon = check_horizon(horizon)
        check_whole("batch_ticks", plain(batch_ticks), 1)
        if interval is not None:
            interval_places(interval)  # raises an error unless it can be had
        if isinstance(bars, str):
            bars, features = parse_bars(bars, features), ()
        fields = Fields(value, key, time, tuple(names_of(features)), sequence)
        if isinstance(source, str):
            if options is None:
                options = {"source": str(Address(source)), **_described(fields)}
            source = _source_at(Address(source), fields, model, bars)
        elif fields != Fields():
            raise ParameterError(
                "value, key, time, features and sequence are for a source given as an address; "
                f"this {type(source).__name__} has its own"
            )
        self.model = model
        self.source: Source = source
        self.sink: Sink | None = _sink_at(Address(sink)) if isinstance(sink, str) else sink
        self.horizon = horizon
        self.interval = interval
        self.metrics = Metrics()
        self._options = dict(options or {})
        self._batch_ticks = batch_ticks
        self._wait = wait
        self._snapshot_seconds = snapshot_seconds
        self._stopping = self._has_run = False
        # `stop` may be called by a signal handler while its own thread waits here: an Event would
        # then deadlock.
        self._wake_ups = SimpleQueue[None]()
        # Positions in the source, up to which ticks are ...
        self._position: Any = None  # learned, and their forecasts written
        self._saved: Any = None  # in a snapshot, which may not be on the disk yet
        self._safe: Any = None  # ready to be acknowledged
        self._acknowledged: Any = None
        self._is_saved = self._is_writing = False
        self._saved_at = monotonic()
        self._watermarks = Watermarks()
        self._bars = bars
        self._snapshots = None if state is None else Snapshots(state)
        self._dead_letters = None
        try:
            if self._snapshots is not None:
                self._continue(self._snapshots)
            if dead_letters is not None:
                self._dead_letters = DeadLetters(dead_letters)
        except BaseException:
            self._close_files()
            raise

    def _facts(self) -> dict[str, str]:
        """What the run has done so far, by name, for display."""
        counts = asdict(self.metrics).items()
        return {
            name: f"{count:,.2f}" if isinstance(count, float) else f"{count:,}"
            for name, count in counts
            if count or name == "ticks"
        }

    def __repr__(self) -> str:
        parts = {"model": type(self.model).__name__, "source": type(self.source).__name__}
        return as_text("LiveRun", parts, self._facts())

    def _repr_html_(self) -> str:
        parts = {"model": repr(self.model), "source": type(self.source).__name__}
        return as_html("LiveRun", parts, self._facts())

    def stop(self) -> None:
        """Let `run` end soon; may be called from any thread or signal handler."""
        self._stopping = True
        self._wake_ups.put(None)

    def run(self, limit: int | None = None) -> None:
        """Learn until `stop`, the end of the source or `limit` ticks; then save and close.

        Call it once; make another `LiveRun` to continue.

        Raises
        ------
        RuntimeError
            If it has run before.
        OSError
            If the last snapshot cannot be written.
        Exception
            What a connector or the model raises, except lost connections. Ticks learned since the
            last snapshot are read again by the next run.

        """
        if self._has_run:
            raise RuntimeError("this run has ended: make another LiveRun to continue")
        self._has_run = True
        try:
            self._open()
            while not self._stopping and (limit is None or self.metrics.ticks < limit):
                left = sys.maxsize if limit is None else limit - self.metrics.ticks
                batch = self._read(min(left, self._batch_ticks))
                if batch is not None:
                    self._process(batch)
                self._save_if_due()
            self._finish()
        except EndOfStream:
            self._finish()
        except _GaveUpError:
            _log.warning(
                "stopped before everything was written; the next run reads the last ticks again"
            )
        finally:
            self.source.close()
            if self.sink is not None:
                self.sink.close()
            self._close_files()

    def _continue(self, snapshots: Snapshots) -> None:
        """Take over the state of the newest snapshot, if there is one."""
        found = snapshots.load()
        if found is None:
            return
        directory, position = snapshots.directory, found.position
        check_run(directory, position, POSITION_FIELDS, self._options)
        if (self._bars is None) != (position["bars"] is None):
            refuse(directory, f"a run with{'out' if self._bars else ''} bars")
        snapshots.restore(self.model, found)  # refuses another model, before anything has changed
        if self._bars is not None:
            self._bars.restore(position["bars"])
        self._position = self._saved = self._safe = position["source"]
        self._is_saved = True
        self._watermarks = Watermarks(position["watermarks"])

    def _open(self) -> None:
        """Connect, and save where the source starts."""
        if self.sink is not None:
            self._retry(self.sink.open, self.sink.close, "sink_errors")
        start = self._ask_source(lambda: self.source.open(self._position), self.source.close)
        if start is not None and self._position is None:
            self._position, self._is_saved = start, False
        self._save(wait=True)

    def _finish(self) -> None:
        self._check_snapshot()
        self._save(wait=True)
        self._acknowledge()

    def _read(self, ticks: int) -> Batch | None:
        return self._ask_source(lambda: self.source.read(ticks, self._wait))

    def _process(self, batch: Batch) -> None:
        """Learn a batch, and write its forecasts and dead letters."""
        self.metrics.missed += batch.missed
        if batch.sequence is not None:
            is_new = self._watermarks.passed(batch)
            self.metrics.late += len(batch) - int(np.count_nonzero(is_new))
            batch = batch.chosen(is_new)
        if self._bars is not None:
            batch = self._bars.update(batch)
        if len(batch):
            self._learn(batch)
        if batch.rejected:
            self._report_rejected(batch.rejected)
        self._position = batch.position
        self._is_saved = False
        if self._snapshots is None:
            self._safe = self._position

    def _learn(self, batch: Batch) -> None:
        """Learn the ticks of a batch, and write their forecasts."""
        start = perf_counter()
        forecasts, bounds = learn(self.model, batch, self.horizon, self.interval)
        learned = perf_counter()
        self.metrics.learning_seconds += learned - start
        self.metrics.ticks += len(batch)
        self.metrics.batches += 1
        if self.sink is not None:
            self._write(self.sink, batch, forecasts, bounds)
            self.metrics.forecasts += len(batch)
            self.metrics.writing_seconds += perf_counter() - learned

    def _report_rejected(self, messages: Sequence[Rejected]) -> None:
        """Log and count messages that are not ticks, and write them to the dead letters."""
        self.metrics.rejected += len(messages)
        first = messages[0]
        _log.warning("rejected %s; %s: %s", counted(len(messages), "message"), *first[:2])
        letters = self._dead_letters
        if letters is not None:
            self._retry(lambda: letters.write(messages), letters.reopen, "disk_errors", OSError)

    def _save_if_due(self) -> None:
        if self._snapshots is not None:
            if self._snapshots.writing:
                return
            self._check_snapshot()
        self._acknowledge()
        is_full = getattr(self.source, "is_full", False) and self._saved is self._safe
        if is_full or monotonic() - self._saved_at >= self._snapshot_seconds:
            self._save(wait=False)

    def _save(self, wait: bool) -> None:
        """Make a snapshot unless the last one holds everything."""
        if self._snapshots is not None and not self._is_saved:
            self._saved = self._position
            position = {
                "options": self._options,
                "source": self._position,
                "watermarks": self._watermarks.state(),
                "bars": None if self._bars is None else self._bars.state(),
            }
            self._snapshots.save(self.model, position, wait)
            self._is_saved = self._is_writing = True
            if wait:
                self._check_snapshot()
        self._saved_at = monotonic()

    def _check_snapshot(self) -> None:
        """Wait for the last snapshot, and note whether it is on the disk."""
        if self._snapshots is None or not self._is_writing:
            return
        self._is_writing = False
        try:
            self._snapshots.finish()
        except OSError as error:
            _log.error("cannot write a snapshot: %s", error)
            self.metrics.disk_errors += 1
            self._is_saved = False
        else:
            self._safe = self._saved
            self.metrics.snapshots += 1

    def _acknowledge(self) -> None:
        """Acknowledge what is safe, if that is more than before."""
        safe = self._safe

        def acknowledge() -> None:
            self.source.acknowledge(safe)
            self._acknowledged = safe
            self.metrics.acknowledgements += 1

        if safe is not None and safe != self._acknowledged:
            self._ask_source(acknowledge)

    def _ask_source(
        self, action: Callable[[], _Result], reopen: Callable[[], object] | None = None
    ) -> _Result | None:
        """Call the source until that succeeds; return None if the run is stopped before."""
        try:
            return self._retry(action, reopen or self._reopen_source, "source_errors")
        except _GaveUpError:
            return None

    def _reopen_source(self) -> None:
        self.source.close()
        self.source.open(self._position)

    def _write(
        self, sink: Sink, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None
    ) -> None:
        """Write to the sink until that succeeds."""

        def reopen() -> None:
            sink.close()
            sink.open()

        self._retry(lambda: sink.write(batch, forecasts, bounds), reopen, "sink_errors")

    def _retry(
        self,
        action: Callable[[], _Result],
        reopen: Callable[[], object],
        counter: str,
        errors: type[OSError] = ConnectionError,
    ) -> _Result:
        """Do something, and again after each of these errors, with pauses that double.

        counter: the field of `metrics` that counts the errors.
        """
        pause, is_broken = SHORTEST, False
        while True:
            try:
                if is_broken:
                    reopen()
                return action()
            except errors as error:
                is_broken = True
                setattr(self.metrics, counter, getattr(self.metrics, counter) + 1)
                if self._stopping:
                    raise _GaveUpError from error
                seconds = pause * random.uniform(0.5, 1)
                _log.warning("%s; trying again in %.1f s", error, seconds)
                with suppress(Empty):
                    self._wake_ups.get(timeout=seconds)
                pause = min(2 * pause, LONGEST)

    def _close_files(self) -> None:
        try:
            if self._snapshots is not None:
                self._snapshots.close()
        finally:
            if self._dead_letters is not None:
                self._dead_letters.close()


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 tick", "2,000 ticks"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def parse_bars(text: str, features: str | Sequence[str] = ()) -> Bars:
    """Make `Bars` with these features from text such as "5min" or "100:mean"."""
    span, _, kind = text.partition(":")
    return Bars(span, kind or "close", names_of(features))


def names_of(names: str | Sequence[str]) -> list[str]:
    """Names given as a list, or one name given as text."""
    return [names] if isinstance(names, str) else list(names)


def _source_at(address: Address, fields: Fields, model: Model, bars: Bars | None) -> Source:
    """Make the source at an address, whose messages must have what the model and bars need."""
    if fields.key is not None and isinstance(model, LSTMForecaster):
        raise ParameterError(f"key={fields.key!r} makes several streams: use a ForecasterFleet")
    if fields.key is None and isinstance(model, ForecasterFleet):
        raise ParameterError("a ForecasterFleet needs key, the field that names the stream")
    if bars is not None:
        if fields.features:
            raise ParameterError("features are for ticks; Bars have their own features")
        if bars.by_time and fields.time is None:
            raise ParameterError(f"bars of {bars.every} need time, the field of the timestamp")
        fields = replace(fields, features=bars.needs)
    return connector("source", address).from_address(address, fields)


def _sink_at(address: Address) -> Sink:
    return connector("sink", address).from_address(address)


def _described(fields: Fields) -> dict[str, object]:
    """The names of fields, as the options of a run."""
    names = ("value", "key", "time", "sequence")
    described = {name: getattr(fields, name) for name in names}
    return described | {"features": ",".join(fields.features)}
