"""The `streamlstm` command."""

import json
import sys
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import ParameterError, StreamLSTMError

if TYPE_CHECKING:
    from .evaluate import Result
    from .forecaster import LSTMForecaster

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


@app.command()
def replay(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="CSV with a header, plain or gzip.", exists=True, dir_okay=False
        ),
    ],
    time_column: Annotated[
        str,
        typer.Option(
            "--time", metavar="COL", help="Column of timestamps, or none; guessed by default."
        ),
    ] = "auto",
    target: Annotated[
        str, typer.Option(metavar="COL", help="Column to forecast; guessed by default.")
    ] = "auto",
    features: Annotated[
        str,
        typer.Option(metavar="A,B", help="Columns that help from the tick after they arrived on."),
    ] = "",
    known: Annotated[
        str,
        typer.Option(
            metavar="A,B", help="Columns known in advance, which help for their own tick."
        ),
    ] = "",
    season: Annotated[
        Any, typer.Option(parser=_season, metavar="auto|none|N[,M]", help="Seasons in ticks.")
    ] = "auto",
    horizon: Annotated[int, typer.Option(min=1, help="Ticks ahead to forecast.")] = 1,
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            callback=_interval,
            help="Add intervals that this share of the values should lie in, such as 0.9.",
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(metavar="accurate|fast", help="Smaller errors, or less work a tick.")
    ] = "accurate",
    hidden_size: Annotated[int, typer.Option(min=1, help="Units of the LSTM.")] = 32,
    window: Annotated[int, typer.Option(min=1, help="Ticks that gradients reach back.")] = 20,
    learning_rate: Annotated[float, typer.Option(min=0, help="Step size of Adam.")] = 0.002,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many ticks.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the initial weights.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(metavar="OUT.csv", help="Write a row a tick: timestamp, value, forecasts."),
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
    """Forecast a recorded stream as if it were live, and learn from each tick once it has come."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from .evaluate import Score
    from .forecaster import LSTMForecaster
    from .plot import STRETCH, save_plot
    from .runner import run

    console = Console(stderr=True, highlight=False)
    in_advance = _names(known)
    source = _connector("csv", "source")(
        file,
        time=None if time_column == "none" else time_column,
        target=target,
        features=list(dict.fromkeys(_names(features) + in_advance)),
    )
    guessed = [
        f"{what} column {name or 'none'}"
        for what, option, name in [
            ("time", time_column, source.time),
            ("target", target, source.target),
        ]
        if option == "auto"
    ]
    if guessed:
        console.print(f"guessed: {', '.join(guessed)}", markup=False)
    if source.target in in_advance:
        raise ParameterError(f"--known names {source.target!r}, the column to forecast")
    model = LSTMForecaster(
        hidden_size=hidden_size,
        window=window,
        learning_rate=learning_rate,
        season=None if season == "none" else season,
        preset=preset,
        horizon=min(max(horizon, 24), LONGEST_HORIZON),
        known_features=tuple(in_advance) or None,
        seed=seed,
    )
    # Loads the kernel, or compiles it and says so, before the clock runs.
    model.clone().learn_many([0.0, 1.0])

    score, newest = Score(), deque[tuple[Any, ...]](maxlen=STRETCH)
    alpha = None if interval is None else 1 - interval
    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[ticks]:,} ticks"),
        TimeRemainingColumn(),
    )
    with ExitStack() as stack:
        sink = None
        if output is not None:
            sink = stack.enter_context(
                _connector("csv", "sink")(output, horizon, alpha is not None)
            )
        progress = stack.enter_context(
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        )
        task = progress.add_task("", total=1.0, ticks=0)
        ticks, start = 0, time.perf_counter()
        for batch, forecasts, bounds in run(model, source, horizon, limit, alpha):
            first = None if bounds is None else bounds[:, :, 0]
            score.update(batch.values, forecasts[:, 0], first)
            if sink is not None:
                sink.write(batch, forecasts, bounds)
            ends = () if first is None else tuple(first.T)
            newest.extend(zip(batch.labels, batch.values, forecasts[:, 0], *ends, strict=True))
            ticks += len(batch)
            done = max(source.fraction_read, ticks / limit if limit else 0.0)
            progress.update(task, completed=done, ticks=ticks)
        seconds = time.perf_counter() - start

    for warning in source.warnings:
        console.print(f"note: {warning}", markup=False)
    result = score.result()
    if plot is not None:
        save_plot(plot, f"{file.name}: {source.target}", newest, score, interval)
    if as_json:
        figures = asdict(result) | {"seconds": seconds, "ticks_per_second": ticks / seconds}
        left_out = ["scored"] if interval else ["scored", "coverage", "interval_width"]
        print(json.dumps({name: figures[name] for name in figures if name not in left_out}))
    else:
        _print_table(f"{file.name}: {source.target}", model, result, interval, seconds)


@app.command()
def warmup() -> None:
    """Compile all kernels, so that later processes load them from the cache."""
    from .warmup import warm_up

    start = time.perf_counter()
    warm_up()
    print(f"kernels are ready, after {time.perf_counter() - start:.1f} s")


def _connector(system: str, kind: str) -> Any:
    """Class of an installed connector; core itself knows none of them."""
    return entry_points(group=f"streamlstm.{kind}s")[system].load()


def _print_table(
    title: str, model: "LSTMForecaster", result: "Result", interval: float | None, seconds: float
) -> None:
    from rich.console import Console
    from rich.table import Table

    def shown(figure: float | None) -> str:
        return "-" if figure is None else f"{figure:.6g}"

    table = Table(title=title, title_style="bold", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_row("ticks", f"{result.ticks:,}")
    table.add_row("  of these scored, after the first tenth", f"{result.scored:,}")
    table.add_row("seasons, ticks", ", ".join(map(str, model.seasons_)) or "none")
    if model.drift_events_:
        table.add_row("drift events", f"{len(model.drift_events_):,}")
    table.add_row("MAE", shown(result.mae))
    table.add_row("RMSE", shown(result.rmse))
    table.add_row("MASE, MAE over that of the last value", shown(result.mase))
    if interval is not None:
        table.add_row(f"coverage of the {100 * interval:g}% interval", shown(result.coverage))
        table.add_row("mean width", shown(result.interval_width))
    table.add_row("ticks per second", f"{result.ticks / seconds:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
