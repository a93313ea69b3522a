"""`streamlstm replay`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ParameterError
from .options import FORECASTS, RUN, TICKS, LearningOptions, expand_options, names

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def _check_plot(path: Path | None) -> Path | None:
    if path is not None:
        from ..replays.plot import check_format

        check_format(path)
    return path


@expand_options
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
    time: Annotated[
        str,
        typer.Option(
            metavar="COL",
            help="Column of timestamps; none if there is none; auto to guess.",
            rich_help_panel=TICKS,
        ),
    ] = "auto",
    target: Annotated[
        str,
        typer.Option(
            metavar="COL",
            help="Column to forecast, or A,B with --wide; auto to guess.",
            rich_help_panel=TICKS,
        ),
    ] = "auto",
    wide: Annotated[
        bool,
        typer.Option(
            "--wide",
            help="Forecast each target as a stream of its own; by default all columns of numbers.",
            rich_help_panel=TICKS,
        ),
    ] = False,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="COL",
            help="Column that names the stream of each row, if there are several streams.",
            rich_help_panel=TICKS,
            show_default="one stream",
        ),
    ] = None,
    known: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Columns that are known in advance and help to forecast their own tick.",
            rich_help_panel=TICKS,
            show_default="none",
        ),
    ] = "",
    *,
    learning: LearningOptions,
    worst: Annotated[
        int,
        typer.Option(
            min=0,
            help="How many of several streams to list, those with the largest errors first.",
            rich_help_panel=FORECASTS,
        ),
    ] = 5,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.csv",
            help="Write each tick with its forecasts to this file.",
            rich_help_panel=FORECASTS,
            show_default="none",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.html|OUT.png",
            callback=_check_plot,
            help="Plot the last ticks with their forecasts, and the error over time.",
            rich_help_panel=FORECASTS,
            show_default="none",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the figures as one JSON object.", rich_help_panel=FORECASTS
        ),
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Take ticks N times as fast as their timestamps, 1 for real time.",
            rich_help_panel=RUN,
            show_default="as fast as possible",
        ),
    ] = None,
    snapshot_every: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Ticks between snapshots.",
            rich_help_panel=RUN,
            show_default="a snapshot every 10 seconds",
        ),
    ] = None,
) -> None:
    """Forecast a recorded file tick by tick as if it were live, and score the forecasts.

    Each tick is forecast before it is learned.

    With --wide or --key the file holds several streams; each is forecast on its own.
    """
    from rich.console import Console

    from ..replays.replay import replay as replay_file

    if learning.weights.value != "private" and not (wide or key):
        raise ParameterError("--weights is for several streams: use --wide or --key")
    if snapshot_every is not None and learning.state is None:
        raise ParameterError("--snapshot-every needs --state, the directory of the snapshots")
    console = Console(stderr=True, highlight=False, markup=False)
    progress = _progress_bar(console)
    task = progress.add_task("", total=1.0, ticks=0)

    def show_progress(share: float, ticks: int) -> None:
        progress.start()  # not earlier: it would hold back the messages of the compiler
        progress.update(task, completed=share, ticks=ticks)

    try:
        result = replay_file(
            file,
            time=None if time == "none" else time,
            target=names(target) if wide and target != "auto" else target,
            wide=wide,
            key=key,
            features=names(learning.features),
            bars=learning.bars,
            known=names(known),
            horizon=learning.horizon,
            interval=learning.interval,
            **learning.parameters(),
            weights=learning.weights.value,
            worst=worst,
            plot=plot is not None,
            limit=learning.limit,
            speed=speed,
            output=output,
            state=learning.state,
            snapshot_every=snapshot_every,
            on_progress=show_progress,
            on_note=console.print,
        )
    finally:
        progress.stop()
    for warning in result.warnings:
        console.print(f"note: {warning}")
    if plot is not None:
        result.save_plot(plot)
    if as_json:
        print(json.dumps(result.figures))
    else:
        Console(markup=False, emoji=False).print(result)


def _progress_bar(console: "Console") -> "Progress":
    """Make a bar that vanishes at the end; it is shown on a terminal only."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[ticks]:,} ticks"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
