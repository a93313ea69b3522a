"""The `streamlstm` command."""

import copy
import json
import logging
import signal
import sys
import time
import tomllib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ParameterError, StreamLSTMError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from ..fleets.fleet import ForecasterFleet
    from ..forecaster import LSTMForecaster
    from ..live.bars import Bars
    from ..live.batch import Batch
    from ..replays.report import FleetReport, StreamReport
    from ..replays.resume import ResumableRun

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

PLOTS = (".png", ".html")
LONGEST_HORIZON = 168  # that a replay trains; memory grows with its square


def main() -> None:
    """Run the command; what a user can mend ends with one line and exit code 1 or 2."""
    try:
        app()
    except (StreamLSTMError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ParameterError) else 1)


@app.callback()
def _streamlstm() -> None:
    """Online LSTM forecasting of live time-series."""


def _season(text: str) -> Any:
    if text in ("auto", "none"):
        return text
    try:
        periods = tuple(int(part) for part in text.split(","))
    except ValueError:
        periods = ()
    if not periods or min(periods) < 2:
        raise typer.BadParameter(
            f"expected auto, none, or ticks such as 24 or 24,168; got {text!r}"
        )
    return periods


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _interval(share: float | None) -> float | None:
    if share is not None and not 0 < share <= 0.99:
        raise typer.BadParameter(f"expected a share above 0, at most 0.99; got {share:g}")
    return share


def _plot_path(path: Path | None) -> Path | None:
    if path is not None and path.suffix.lower() not in PLOTS:
        raise typer.BadParameter(f"expected a name that ends in {' or '.join(PLOTS)}")
    return path


# Options of both commands that learn.
Features = Annotated[
    str,
    typer.Option(
        metavar="A,B", help="Columns or fields that help from the tick after they arrived on."
    ),
]
BarSpan = Annotated[
    str | None,
    typer.Option(
        "--bars",
        metavar="SPAN[:KIND]",
        help="Make bars of so much time or so many ticks, and forecast their close, or mean, such "
        "as 5min or 100:mean; --features are theirs, such as high,volume:sum.",
    ),
]
Season = Annotated[
    Any, typer.Option(parser=_season, metavar="auto|none|N[,M]", help="Seasons in ticks.")
]
Interval = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        callback=_interval,
        help="Add intervals that this share of the values should lie in, such as 0.9.",
    ),
]
Preset = Annotated[
    str, typer.Option(metavar="accurate|fast", help="Smaller errors, or less work a tick.")
]
HiddenSize = Annotated[int, typer.Option(min=1, help="Units of the LSTM.")]
Window = Annotated[int, typer.Option(min=1, help="Ticks that gradients reach back.")]
LearningRate = Annotated[float, typer.Option(min=0, help="Step size of Adam.")]
Weights = Annotated[
    str,
    typer.Option(
        metavar="private|shared",
        help="Of many streams: a network for each, or one for all (--preset fast).",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Of the initial weights.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Stop after so many ticks.")]
State = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Keep snapshots here; go on from the newest if there are some."
    ),
]


@app.command()
def replay(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV with a header, plain or gzip, or Parquet.",
            exists=True,
            dir_okay=False,
        ),
    ],
    time_column: Annotated[
        str,
        typer.Option(
            "--time", metavar="COL", help="Column of timestamps, or none; guessed by default."
        ),
    ] = "auto",
    target: Annotated[
        str,
        typer.Option(
            metavar="COL", help="Column to forecast, or several with --wide; guessed by default."
        ),
    ] = "auto",
    wide: Annotated[
        bool, typer.Option("--wide", help="Each target is a stream; by default all columns.")
    ] = False,
    key: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Column that names the stream of each row, of several."),
    ] = None,
    features: Features = "",
    bar_span: BarSpan = None,
    known: Annotated[
        str,
        typer.Option(
            metavar="A,B", help="Columns known in advance, which help for their own tick."
        ),
    ] = "",
    season: Season = "auto",
    horizon: Annotated[int, typer.Option(min=1, help="Ticks ahead to forecast.")] = 1,
    interval: Interval = None,
    preset: Preset = "accurate",
    hidden_size: HiddenSize = 32,
    window: Window = 20,
    learning_rate: LearningRate = 0.002,
    weights: Weights = "private",
    worst: Annotated[
        int, typer.Option(min=0, help="Of several streams, show so many with the largest errors.")
    ] = 5,
    limit: Limit = None,
    speed: Annotated[
        float | None,
        typer.Option(metavar="N", help="Go N times as fast as the timestamps; 1: in real time."),
    ] = None,
    seed: Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option(metavar="OUT.csv", help="Write a row a tick: timestamp, value, forecasts."),
    ] = None,
    state: State = None,
    snapshot_every: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Ticks between snapshots; by default 10 seconds."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.html|OUT.png",
            callback=_plot_path,
            help="Draw the last stretch and the running error.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object.")
    ] = False,
) -> None:
    """Forecast a recorded stream as if it were live, and learn from each tick once it has come.

    Or many of them, with --wide or --key: each is forecast by itself, all side by side.
    """
    from rich.console import Console

    from ..fleets.fleet import ForecasterFleet
    from ..replays.report import FleetReport, StreamReport

    if weights != "private" and not (wide or key):
        raise ParameterError("--weights needs many streams: --wide or --key")
    if snapshot_every is not None and state is None:
        raise ParameterError("--snapshot-every needs --state, a directory for the snapshots")
    console = Console(stderr=True, highlight=False, markup=False)
    in_advance = _names(known)
    bars = _bars(bar_span, features)
    if bars is not None and in_advance:
        raise ParameterError("--known is of ticks, and of their bars nothing is known in advance")
    source = _connector("parquet" if file.suffix == ".parquet" else "csv", "source")(
        file,
        time=None if time_column == "none" else time_column,
        target=_names(target) if wide and target != "auto" else target,
        features=list(dict.fromkeys([*_needed(features, bars), *in_advance])),
        key=key,
        wide=wide,
    )
    _tell_guesses(console, source, time_column == "auto", target == "auto")
    if both := [name for name in source.targets if name in in_advance]:
        raise ParameterError(f"--known names {both[0]!r}, a column to forecast")
    if bars is not None and bars.by_time and source.time is None:
        raise ParameterError(f"--bars {bar_span} needs timestamps: name their column with --time")
    chosen = {
        "--season": season, "--horizon": horizon, "--interval": interval, "--preset": preset,
        "--hidden-size": hidden_size, "--window": window, "--learning-rate": learning_rate,
        "--weights": weights, "--seed": seed,
    }  # fmt: skip
    model = _model(chosen, in_advance)
    several = wide or key is not None
    title = file.name if wide else f"{file.name}: {source.targets[0]}"
    if bars is not None:
        title += f", {bars.value} of {bars.every}"
    report: FleetReport | StreamReport
    # A first call loads the kernel, or compiles it and says so, before the clock runs.
    if several:
        ForecasterFleet(model, weights).learn_many(["", ""], [0.0, 1.0])
        title += "" if wide else f" by {key}"
        report = FleetReport(title, interval, worst, plot is not None)
    else:
        model.clone().learn_many([0.0, 1.0])
        report = StreamReport(title, model, interval)
    options = {
        "--time": time_column, "--target": target, "--wide": wide, "--key": key,
        "--features": features, "--bars": bar_span, "--known": known, **chosen,
        "--output": None if output is None else str(output),
        "--plot": several and plot is not None,  # which has fleets keep more
    }  # fmt: skip
    with ExitStack() as stack:
        forecaster = ForecasterFleet(model, weights) if several else model
        saved = position = None
        if state is not None:
            from ..replays.resume import ResumableRun

            saved = stack.enter_context(ResumableRun(state, options, snapshot_every))
            if saved.model is not None:
                console.print(f"goes on after {saved.ticks:,} ticks")
                forecaster = saved.model
                collected, position = saved.surroundings
                report.go_on(forecaster, collected)
        sink = None
        if output is not None:
            sink = stack.enter_context(
                _connector("csv", "sink")(output, horizon, interval is not None, several, position)
            )
        progress = stack.enter_context(_progress(console))
        seconds = _drive(
            forecaster, source, bars, report, sink, progress, horizon, limit, interval, speed, saved
        )
    for warning in source.warnings:
        console.print(f"note: {warning}")
    if bars is not None and bars.late:
        console.print(f"note: {bars.late:,} ticks came after their bar, and are in none")
    if plot is not None:
        report.save_plot(plot)
    if as_json:
        print(json.dumps(report.figures(seconds)))
    else:
        for table in report.tables(seconds):
            Console(markup=False, emoji=False).print(table)


def _configured(context: typer.Context, path: Path | None) -> Path | None:
    """Let a TOML file give the options that the command line does not."""
    if path is None:
        return None
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise typer.BadParameter(f"{path} is no TOML: {error}") from error
    names = {
        option.removeprefix("--"): parameter.name
        for parameter in context.command.params
        for option in parameter.opts
    }
    if unknown := [name for name in given if name not in names or name == "config"]:
        raise typer.BadParameter(f"{path} has {unknown[0]!r}, which is no option of this command")
    context.default_map = {}
    for name, value in given.items():
        parts = value if isinstance(value, list) else [value]
        if any(type(part) not in (str, int, float) for part in parts):
            raise typer.BadParameter(f"{path}: {name} is text, a number or a list, not {value!r}")
        context.default_map[names[name]] = ",".join(map(str, parts))
    return path


@app.command("run")
def run_live(
    source_address: Annotated[
        str,
        typer.Option(
            "--source", metavar="URL", help="Where ticks come from, redis://host:6379/stream."
        ),
    ],
    sink_address: Annotated[
        str | None, typer.Option("--sink", metavar="URL", help="Where forecasts go, if anywhere.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help="Options by name; those of the command line come first.",
            exists=True,
            dir_okay=False,
            is_eager=True,
            callback=_configured,
        ),
    ] = None,
    value: Annotated[
        str, typer.Option(metavar="FIELD", help="Of a message: what to forecast.")
    ] = "value",
    key: Annotated[
        str | None, typer.Option(metavar="FIELD", help="That names its stream, of several.")
    ] = None,
    time_field: Annotated[
        str | None, typer.Option("--time", metavar="FIELD", help="With its timestamp.")
    ] = None,
    sequence: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="With a number that grows within a stream: others are late.",
        ),
    ] = None,
    features: Features = "",
    bar_span: BarSpan = None,
    season: Season = "auto",
    horizon: Annotated[
        int, typer.Option(min=1, max=LONGEST_HORIZON, help="Ticks ahead to forecast.")
    ] = 1,
    interval: Interval = None,
    preset: Preset = "accurate",
    hidden_size: HiddenSize = 32,
    window: Window = 20,
    learning_rate: LearningRate = 0.002,
    weights: Weights = "private",
    seed: Seed = 0,
    limit: Limit = None,
    state: State = None,
    snapshot_seconds: Annotated[
        float | None, typer.Option(min=0, help="Between snapshots, at least; by default 10.")
    ] = None,
    dead_letters: Annotated[
        Path | None,
        typer.Option(metavar="OUT.jsonl", help="Write messages here that are no ticks, and why."),
    ] = None,
) -> None:
    """Forecast a live source, and learn from each tick once, until SIGTERM or SIGINT.

    In URLs ${NAME} stands for a variable of the environment. What happens goes to standard error.
    """
    import numpy as np

    from ..fleets.fleet import ForecasterFleet
    from ..live.address import Address
    from ..live.batch import Batch
    from ..live.connector import connector
    from ..live.payload import Fields
    from ..live.run import LiveRun, learn
    from ..snapshots.runs import SECONDS

    bars = _bars(bar_span, features)
    if bars is not None and bars.by_time and time_field is None:
        raise ParameterError(f"--bars {bar_span} needs timestamps: name their field with --time")
    if weights != "private" and key is None:
        raise ParameterError("--weights needs many streams: --key")
    if snapshot_seconds is not None and state is None:
        raise ParameterError("--snapshot-seconds needs --state, a directory for the snapshots")
    fields = Fields(value, key, time_field, _needed(features, bars), sequence)
    address = Address(source_address)
    source = connector("source", address).from_address(address, fields)
    sink = None
    if sink_address is not None:
        to = Address(sink_address)
        sink = connector("sink", to).from_address(to)
    chosen = {
        "--season": season, "--horizon": horizon, "--interval": interval, "--preset": preset,
        "--hidden-size": hidden_size, "--window": window, "--learning-rate": learning_rate,
        "--weights": weights, "--seed": seed,
    }  # fmt: skip
    model: Any = _model(chosen)
    if key is not None:
        model = ForecasterFleet(model, weights)
    # A first call loads the kernels, or compiles them and says so, before ticks wait for them.
    two = Batch(np.zeros(2), {}, None, ["", ""], None if key is None else ["", ""])
    learn(copy.deepcopy(model), two, horizon, interval)
    options = {
        "--source": str(address), "--value": value, "--key": key, "--time": time_field,
        "--features": features, "--bars": bar_span, "--sequence": sequence, **chosen,
    }  # fmt: skip
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="INFO")
    live = LiveRun(
        model,
        source,
        sink,
        state,
        horizon=horizon,
        interval=interval,
        options=options,
        bars=bars,
        dead_letters=dead_letters,
        snapshot_seconds=SECONDS if snapshot_seconds is None else snapshot_seconds,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: live.stop())
    live.run(limit)
    print(json.dumps(asdict(live.metrics)))


@app.command()
def warmup() -> None:
    """Compile all kernels, so that later processes load them from the cache."""
    from .warmup import warm_up

    start = time.perf_counter()
    warm_up()
    print(f"kernels are ready, after {time.perf_counter() - start:.1f} s")


def _model(chosen: dict[str, Any], known: Sequence[str] = ()) -> "LSTMForecaster":
    """A new model with options by name; known: features known in advance."""
    from ..forecaster import LSTMForecaster

    return LSTMForecaster(
        hidden_size=chosen["--hidden-size"],
        window=chosen["--window"],
        learning_rate=chosen["--learning-rate"],
        season=None if chosen["--season"] == "none" else chosen["--season"],
        preset=chosen["--preset"],
        horizon=min(max(chosen["--horizon"], 24), LONGEST_HORIZON),
        known_features=tuple(known) or None,
        seed=chosen["--seed"],
    )


def _bars(span: str | None, features: str) -> "Bars | None":
    """Bars with these features, their kernel loaded."""
    if span is None:
        return None
    import numpy as np

    from ..live.bars import Bars
    from ..live.batch import Batch

    Bars(2).update(Batch(np.zeros(2), {}, None, ["", ""]))
    every, _, kind = span.partition(":")
    return Bars(every, kind or "close", _names(features))


def _needed(features: str, bars: "Bars | None") -> tuple[str, ...]:
    """The features of ticks."""
    return tuple(_names(features)) if bars is None else bars.needs


def _connector(system: str, kind: str) -> Any:
    """Class of an installed connector; core itself knows none of them."""
    return entry_points(group=f"streamlstm.{kind}s")[system].load()


def _tell_guesses(console: "Console", source: Any, time_too: bool, target_too: bool) -> None:
    guessed = [f"time column {source.time or 'none'}"] if time_too else []
    if target_too and source.wide:
        chosen = (*source.targets, *source.features, source.time)
        others = [name for name in source.columns if name not in chosen]
        guessed.append(f"streams in {len(source.targets):,} columns")
        guessed += [f"not in {', '.join(others)}"] if others else []
    elif target_too:
        guessed.append(f"target column {source.targets[0]}")
    if guessed:
        console.print(f"guessed: {', '.join(guessed)}")


def _progress(console: "Console") -> "Progress":
    """A bar that vanishes at the end; none unless it is a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[ticks]:,} ticks"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _drive(
    model: "LSTMForecaster | ForecasterFleet",
    source: Any,
    bars: "Bars | None",
    report: "FleetReport | StreamReport",
    sink: Any,
    progress: "Progress",
    horizon: int,
    limit: int | None,
    interval: float | None,
    speed: float | None,
    saved: "ResumableRun | None",
) -> float:
    """Let the model learn the source, tell the report and the sink: the seconds that took."""
    from ..replays.runner import run

    def surroundings() -> Any:
        return report.collected, None if sink is None else sink.position()

    task = progress.add_task("", total=1.0, ticks=0)
    ticks, start = 0 if saved is None else saved.ticks, time.perf_counter()
    due: Iterable[Batch] = source if bars is None else map(bars.update, source)
    if speed is not None:
        from streamlstm_connectors.files.pace import paced

        due = paced(due, speed, start=ticks)
    batches = run(model, due, horizon, limit, interval)
    if saved is not None:
        batches = run(model, saved.rest(due, limit), horizon, None, interval)
    for batch, forecasts, bounds in batches:
        report.update(batch, forecasts[:, 0], None if bounds is None else bounds[:, :, 0])
        if sink is not None:
            sink.write(batch, forecasts, bounds)
        ticks += len(batch)
        done = max(source.fraction_read, ticks / limit if limit else 0.0)
        progress.update(task, completed=done, ticks=ticks)
        if saved is not None:
            saved.save_if_due(model, surroundings)
    if saved is None:
        return time.perf_counter() - start
    saved.save(model, surroundings)
    return saved.seconds


if __name__ == "__main__":
    main()
