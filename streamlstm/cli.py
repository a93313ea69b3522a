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

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

PLOTS = (".png", ".html")


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
    season: Annotated[
        Any, typer.Option(parser=_season, metavar="auto|none|N[,M]", help="Seasons in ticks.")
    ] = "auto",
    horizon: Annotated[int, typer.Option(min=1, help="Ticks ahead to forecast.")] = 1,
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
    source = _connector("csv", "source")(
        file,
        time=None if time_column == "none" else time_column,
        target=target,
        features=[name.strip() for name in features.split(",") if name.strip()],
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
    model = LSTMForecaster(
        hidden_size=hidden_size,
        window=window,
        learning_rate=learning_rate,
        season=None if season == "none" else season,
        seed=seed,
    )
    trial = model.clone()  # loads the kernels, or compiles them and says so, before the clock runs
    trial.learn_many([0.0, 1.0])
    trial.forecast(2)  # which finding the seasons takes

    score, newest = Score(), deque[tuple[str, float, float]](maxlen=STRETCH)
    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[ticks]:,} ticks"),
        TimeRemainingColumn(),
    )
    with ExitStack() as stack:
        sink = None
        if output is not None:
            sink = stack.enter_context(_connector("csv", "sink")(output, horizon))
        progress = stack.enter_context(
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        )
        task = progress.add_task("", total=1.0, ticks=0)
        ticks, start = 0, time.perf_counter()
        for batch, forecasts in run(model, source, horizon, limit):
            score.update(batch.values, forecasts[:, 0])
            if sink is not None:
                sink.write(batch, forecasts)
            newest.extend(zip(batch.labels, batch.values, forecasts[:, 0], strict=True))
            ticks += len(batch)
            done = max(source.fraction_read, ticks / limit if limit else 0.0)
            progress.update(task, completed=done, ticks=ticks)
        seconds = time.perf_counter() - start

    for warning in source.warnings:
        console.print(f"note: {warning}", markup=False)
    result = score.result()
    if plot is not None:
        save_plot(plot, f"{file.name}: {source.target}", newest, score)
    if as_json:
        figures = asdict(result) | {"seconds": seconds, "ticks_per_second": ticks / seconds}
        print(json.dumps({name: value for name, value in figures.items() if name != "scored"}))
    else:
        seasons = ", ".join(map(str, model.seasons_)) or "none"
        _print_table(file.name, source.target, seasons, result, seconds)


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


def _print_table(file: str, target: str, seasons: str, result: "Result", seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    def shown(figure: float | None) -> str:
        return "-" if figure is None else f"{figure:.6g}"

    table = Table(title=f"{file}: {target}", title_style="bold", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_row("ticks", f"{result.ticks:,}")
    table.add_row("  of these scored, after the first tenth", f"{result.scored:,}")
    table.add_row("seasons, ticks", seasons)
    table.add_row("MAE", shown(result.mae))
    table.add_row("RMSE", shown(result.rmse))
    table.add_row("MASE, MAE over that of the last value", shown(result.mase))
    table.add_row("ticks per second", f"{result.ticks / seconds:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
