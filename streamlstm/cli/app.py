"""The `streamlstm` command."""

import logging
import sys
from enum import StrEnum
from importlib.metadata import version
from typing import Annotated

import typer

from ..errors import ParameterError, StreamLSTMError
from .options import set_up_logging
from .replay import replay
from .run import run
from .warmup import warmup

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")
app.command(epilog="Example: streamlstm replay readings.csv --interval 0.9 --plot forecast.png")(
    replay
)
app.command(
    epilog="Example: streamlstm run --source redis://localhost/readings --value flow --key pump "
    "--sink sqlite:///forecasts.db --state state"
)(run)
app.command(epilog="Example: streamlstm warmup")(warmup)


class LogLevel(StrEnum):
    """How much to log, from most to least."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def main() -> None:
    """Run the command; errors that a user can fix become one line and exit code 1 or 2."""
    try:
        app()
    except (StreamLSTMError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ParameterError) else 1)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"streamlstm {version('streamlstm')}")
        raise typer.Exit


@app.callback()
def streamlstm(
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            case_sensitive=False,
            help="What to log to standard error.",
            show_default="INFO for run, else WARNING",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Forecast live time-series with an LSTM that learns from every tick."""
    if log_level is not None:
        set_up_logging(logging.getLevelName(log_level.value))


if __name__ == "__main__":
    main()
