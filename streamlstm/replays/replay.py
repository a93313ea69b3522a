"""`replay`: forecast a recorded file tick by tick, as if it were live."""

import inspect
import io
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import entry_points
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..errors import ParameterError
from ..fleets.fleet import ForecasterFleet
from ..forecaster import LSTMForecaster
from ..live.bars import Bars
from ..live.batch import Batch
from ..live.learning import Model
from ..live.pace import paced
from ..live.run import counted, names_of, parse_bars
from .report import FleetReport, Listing, StreamReport
from .resume import ResumableRun
from .runner import run
from .scores import Result

MIN_HORIZON, MAX_HORIZON = 24, 168  # that a model trains; memory grows with the square

Report: TypeAlias = StreamReport | FleetReport


class Recording(Protocol):
    """A file of ticks, as connectors read it."""

    time: str | None
    targets: list[str]
    features: list[str]
    columns: list[str]
    wide: bool
    warnings: list[str]
    fraction_read: float

    def __iter__(self) -> Iterator[Batch]:
        """Yield the ticks, in batches."""
        ...


class ReplayResult:
    """What a replay found: print it, or look at it in a notebook, for a table of figures.

    Attributes
    ----------
    model
        The `LSTMForecaster`, or the `ForecasterFleet` of many streams, after the replay.
    results
        Scores of each stream, by its key, the largest MASE first; of a single stream by the name of
        its column.
    figures
        All figures by name, as `streamlstm replay --json` prints them.
    notes
        What the replay guessed, and after how many ticks it continued.
    warnings
        What is odd about the file, such as timestamps that go backward.

    """

    def __init__(
        self,
        model: Model,
        report: Report,
        seconds: float,
        notes: Sequence[str] = (),
        warnings: Sequence[str] = (),
    ):
        self.model = model
        self.results: dict[Hashable, Result] = report.results()
        self.figures: dict[str, Any] = report.figures(seconds)
        self.notes = list(notes)
        self.warnings = list(warnings)
        self._report = report
        self._listings: list[Listing] = report.listings(seconds)

    def save_plot(self, path: str | Path) -> None:
        """Plot the last ticks with their forecasts, and the error over time.

        Of many streams, the one with the largest MASE is plotted.

        path: the file to write, a .png or .html.
        """
        if isinstance(self._report, FleetReport) and not self._report.keeps_plot:
            raise ParameterError("the ticks to plot were not kept: call replay with plot=True")
        self._report.save_plot(path)

    def __rich_console__(self, console: object, options: object) -> Iterator[object]:
        yield from (listing.rich() for listing in self._listings)

    def __str__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        Console(file=text, width=100, markup=False, emoji=False, color_system=None).print(self)
        return text.getvalue().rstrip("\n")

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in self.figures.items()
            if name != "results"
        )
        return f"ReplayResult({shown})"

    def _repr_html_(self) -> str:
        return "".join(listing.html() for listing in self._listings)


def replay(
    file: str | Path,
    *,
    time: str | None = "auto",
    target: str | Sequence[str] = "auto",
    wide: bool = False,
    key: str | None = None,
    features: str | Sequence[str] = (),
    bars: Bars | str | None = None,
    known: str | Sequence[str] = (),
    season: int | Sequence[int] | str | None = "auto",
    horizon: int = 1,
    interval: float | None = None,
    preset: str = "accurate",
    hidden_size: int = 32,
    window: int = 20,
    learning_rate: float = 0.002,
    weights: str = "private",
    seed: int | None = 0,
    model: Model | None = None,
    worst: int = 5,
    plot: bool = True,
    limit: int | None = None,
    speed: float | None = None,
    output: str | Path | None = None,
    state: str | Path | None = None,
    snapshot_every: int | None = None,
    on_progress: Callable[[float, int], object] | None = None,
    on_note: Callable[[str], object] | None = None,
) -> ReplayResult:
    """Forecast a recorded file tick by tick as if it were live, and score the forecasts.

    Each tick is forecast before it is learned. `streamlstm replay` calls this function.

    Parameters
    ----------
    file
        A CSV file with a header, plain or gzip, or a Parquet file.
    time
        Column of timestamps; None if there is none; "auto" to guess.
    target
        Column to forecast, or several of them with `wide`; "auto" to guess.
    wide
        Whether each target is a stream of its own. By default all columns of numbers are targets.
    key
        Column that names the stream of each row, if the file holds several streams.
    features
        Columns that help to forecast the ticks after their own.
    bars
        Turns ticks into bars, which are then forecast: text such as "5min" or "100:mean", whose
        `features` are those of the bars, such as "high" and "volume:sum", or a `Bars`.
    known
        Columns that are known in advance and help to forecast their own tick, such as holidays.
    season, preset, hidden_size, window, learning_rate, seed
        Parameters of the `LSTMForecaster`.
    horizon
        How many ticks ahead to forecast.
    interval
        Share of the values that intervals should hold, such as 0.9; None for no intervals.
    weights
        "private" gives each stream a network of its own; "shared" gives all streams one network and
        needs `preset="fast"`.
    model
        Your own `LSTMForecaster` or `ForecasterFleet`, instead of the parameters above. If there
        are several streams, each starts as a copy of the forecaster.
    worst
        How many streams the table lists, those with the largest MASE first.
    plot
        Whether to keep the last ticks of each stream for `save_plot`, if there are several streams.
    limit
        How many ticks to learn, at most.
    speed
        How many times faster than their timestamps the ticks come, 1 for real time; None for as
        fast as possible.
    output
        CSV file to write, with the forecasts beside the values.
    state
        Directory for snapshots. If it holds some, the replay continues from the newest.
    snapshot_every
        Ticks between snapshots; None for a snapshot every 10 seconds.
    on_progress
        Called before the first and after each batch, with the share of the replay that is done and
        the number of ticks so far.
    on_note
        Called with each line of `ReplayResult.notes` as soon as it is known.

    Raises
    ------
    ParameterError
        If an argument is invalid, or `state` holds another replay.
    DataError
        If the file cannot be read; says where.
    SnapshotError
        If the snapshots cannot be used.

    Examples
    --------
    >>> import math
    >>> from streamlstm import replay
    >>> path = getfixture("tmp_path") / "tide.csv"
    >>> _ = path.write_text("level\\n" + "".join(f"{math.sin(n / 3)}\\n" for n in range(200)))
    >>> result = replay(path, preset="fast", hidden_size=4)
    >>> result.notes
    ['guessed: time column none, target column level']
    >>> result.results["level"].mase < 0.5
    True

    """
    file, features, known = Path(file), names_of(features), names_of(known)
    is_fleet = wide or key is not None
    if snapshot_every is not None and state is None:
        raise ParameterError("snapshot_every needs state, the directory of the snapshots")
    if weights != "private" and not is_fleet:
        raise ParameterError(f"weights={weights!r} is for several streams: use wide or key")
    parameters: dict[str, Any] = {
        "season": _as_season(season), "preset": preset, "hidden_size": hidden_size,
        "window": window, "learning_rate": learning_rate, "seed": seed,
    }  # fmt: skip
    settings: dict[str, object] = {
        "time": time or "none",
        "target": target if isinstance(target, str) else ",".join(target),
        "wide": wide,
        "key": key,
        "features": ",".join(bars.features if isinstance(bars, Bars) else features),
        "bars": f"{bars.every}:{bars.value}" if isinstance(bars, Bars) else bars,
        "horizon": horizon,
        "interval": interval,
        "output": None if output is None else str(output),
        "plot": is_fleet and plot,
    }
    if model is None:
        settings |= parameters | {"known": ",".join(known), "weights": weights}
        model = new_forecaster(horizon, known, **parameters)
    else:
        _check_defaults({**parameters, "known": known})
        first = model.model if isinstance(model, ForecasterFleet) else model
        known = [str(name) for name in first.known_features or ()]
    if is_fleet and isinstance(model, LSTMForecaster):
        model = ForecasterFleet(model, weights)
    elif not is_fleet and isinstance(model, ForecasterFleet):
        raise ParameterError("a ForecasterFleet is for several streams: use wide or key")
    bars = _new_bars(bars, features)
    if bars is not None and known:
        raise ParameterError("known columns are for ticks; nothing is known in advance of bars")
    needed = features if bars is None else bars.needs
    recording: Recording = _connector("parquet" if file.suffix == ".parquet" else "csv", "source")(
        file, time=time, target=target, features=[*dict.fromkeys([*needed, *known])], key=key,
        wide=wide,
    )  # fmt: skip
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        if on_note is not None:
            on_note(text)

    def progress(ticks: int) -> None:
        if on_progress is not None:
            on_progress(max(recording.fraction_read, ticks / limit if limit else 0.0), ticks)

    if guesses := _guesses(recording, time == "auto", target == "auto"):
        note(f"guessed: {guesses}")
    _check_columns(recording, bars, known)
    _load_kernels(model, bars, horizon, interval)
    title = _title(file, recording, bars, key)
    report: Report
    if isinstance(model, ForecasterFleet):
        report = FleetReport(title, interval, worst, plot)
    else:
        report = StreamReport(title, recording.targets[0], model, interval)
    batches: Iterable[Batch] = recording if bars is None else map(bars.update, recording)
    with ExitStack() as stack:
        saved = sink = sink_position = None
        if state is not None:
            options = {f"--{name.replace('_', '-')}": value for name, value in settings.items()}
            saved = stack.enter_context(ResumableRun(state, options, snapshot_every))
            if saved.model is not None:
                saved.restore(model)
                scores, sink_position = saved.surroundings
                report.restore(scores)
                note(f"continuing after {counted(saved.ticks, 'tick')}")
        if output is not None:
            new_sink = _connector("csv", "sink")
            sink = new_sink(output, horizon, interval is not None, is_fleet, sink_position)
            stack.enter_context(sink)
        if speed is not None:
            batches = paced(batches, speed, start=0 if saved is None else saved.ticks)
        if saved is not None:
            batches = saved.rest(batches, limit)
        steps = run(model, batches, horizon, limit if saved is None else None, interval)
        seconds = _learn(model, steps, report, sink, saved, progress)
    warnings = list(recording.warnings)
    if bars is not None and bars.late:
        warnings.append(f"late for their bar and left out: {counted(bars.late, 'tick')}")
    return ReplayResult(model, report, seconds, notes, warnings)


def _learn(
    model: Model,
    steps: Iterable[tuple[Batch, np.ndarray, np.ndarray | None]],
    report: Report,
    sink: Any,
    saved: ResumableRun | None,
    progress: Callable[[int], None],
) -> float:
    """Learn batch by batch, and return the seconds that took, in all parts of the replay."""

    def surroundings() -> tuple[Any, Any]:
        return report.state, None if sink is None else sink.position()

    ticks, start = 0 if saved is None else saved.ticks, perf_counter()
    progress(ticks)
    for batch, forecasts, bounds in steps:
        report.update(batch, forecasts[:, 0], None if bounds is None else bounds[:, :, 0])
        if sink is not None:
            sink.write(batch, forecasts, bounds)
        ticks += len(batch)
        progress(ticks)
        if saved is not None:
            saved.save_if_due(model, surroundings)
    if saved is None:
        return perf_counter() - start
    saved.save(model, surroundings)
    return saved.seconds


def _as_season(season: int | Sequence[int] | str | None) -> tuple[int, ...] | str | None:
    if season is None or isinstance(season, str):
        return season
    return tuple(map(int, season)) if isinstance(season, Sequence) else (int(season),)


def new_forecaster(horizon: int, known: Sequence[str] = (), **parameters: Any) -> LSTMForecaster:
    """Make a forecaster that trains as many horizons as are asked for, within limits."""
    return LSTMForecaster(
        **parameters,
        horizon=min(max(horizon, MIN_HORIZON), MAX_HORIZON),
        known_features=tuple(known) or None,
    )


def _check_defaults(parameters: Mapping[str, Any]) -> None:
    """Raise a ParameterError for a parameter of a model that is given beside a model."""
    defaults = inspect.signature(replay).parameters
    for name, value in parameters.items():
        default = defaults[name].default
        if value != (list(default) if name == "known" else default):
            raise ParameterError(f"the model has its own {name}: set it there")


def _new_bars(bars: Bars | str | None, features: Sequence[str]) -> Bars | None:
    if isinstance(bars, str):
        return parse_bars(bars, features)
    if bars is None:
        return None
    if features:
        raise ParameterError("features are for ticks; Bars have their own features")
    return Bars(bars.every, bars.value, bars.features)  # without ticks of another run


def _connector(system: str, kind: str) -> Any:
    """The class of an installed connector; the core does not import connectors."""
    return entry_points(group=f"streamlstm.{kind}s")[system].load()


def _guesses(recording: Recording, guessed_time: bool, guessed_target: bool) -> str:
    """What was guessed about the columns, as text."""
    guesses = [f"time column {recording.time or 'none'}"] if guessed_time else []
    if guessed_target and recording.wide:
        used = (*recording.targets, *recording.features, recording.time)
        unused = [name for name in recording.columns if name not in used]
        guesses.append(f"streams in {counted(len(recording.targets), 'column')}")
        guesses += [f"not in {', '.join(unused)}"] if unused else []
    elif guessed_target:
        guesses.append(f"target column {recording.targets[0]}")
    return ", ".join(guesses)


def _check_columns(recording: Recording, bars: Bars | None, known: Sequence[str]) -> None:
    for name in known:
        if name in recording.targets:
            raise ParameterError(f"{name!r} is the column to forecast: it is not known in advance")
    if bars is not None and bars.by_time and recording.time is None:
        raise ParameterError(f"bars of {bars.every} need time, the column of timestamps")


def _title(file: Path, recording: Recording, bars: Bars | None, key: str | None) -> str:
    title = file.name if recording.wide else f"{file.name}: {recording.targets[0]}"
    title += "" if bars is None else f", {bars.value} of {bars.every}"
    return title if key is None else f"{title} by {key}"


def _load_kernels(model: Model, bars: Bars | None, horizon: int, interval: float | None) -> None:
    """Load the kernels, or compile them and say so, before the clock starts."""
    if isinstance(model, ForecasterFleet):
        fleet = ForecasterFleet(model.model.clone(), model.weights, model.device)
        fleet.learn_many(["", ""], [0.0, 1.0], horizon=horizon, interval=interval)
    else:
        model.clone().learn_many([0.0, 1.0], horizon=horizon, interval=interval)
    if bars is not None:
        Bars(2).update(Batch(np.zeros(2), {}, None, ["", ""]))
