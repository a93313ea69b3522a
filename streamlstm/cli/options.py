"""Options that commands share, and how their text is read."""

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

# Groups of options in the help.
TICKS, MODEL, FORECASTS, RUN = "Ticks", "Model", "Forecasts", "Run"


class Preset(StrEnum):
    """Presets of an `LSTMForecaster`."""

    accurate = "accurate"
    fast = "fast"


class Weights(StrEnum):
    """Weights of a `ForecasterFleet`."""

    private = "private"
    shared = "shared"


def names(text: str) -> list[str]:
    """Split text such as "high, volume:sum" into names."""
    return [name.strip() for name in text.split(",") if name.strip()]


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


def _check_interval(share: float | None) -> float | None:
    if share is not None and not 0 < share <= 0.99:
        raise typer.BadParameter(f"expected a share above 0 and up to 0.99, got {share:g}")
    return share


@dataclass
class LearningOptions:
    """Options of the commands that learn. A field is an option."""

    features: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Columns or fields that help to forecast the ticks after their own.",
            rich_help_panel=TICKS,
            show_default="none",
        ),
    ] = ""
    bars: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN[:KIND]",
            help="Turn ticks into bars of a time span or a number of ticks, such as 5min or "
            "100:mean, and forecast their close, or mean and so on. --features are then those of "
            "the bars, such as high,volume:sum.",
            rich_help_panel=TICKS,
            show_default="no bars",
        ),
    ] = None
    season: Annotated[
        Any,
        typer.Option(
            parser=_season,
            metavar="auto|none|N[,M]",
            help="Lengths of seasons in ticks.",
            rich_help_panel=MODEL,
        ),
    ] = "auto"
    preset: Annotated[
        Preset,
        typer.Option(
            help="Whether to aim for small errors or for little work per tick.",
            rich_help_panel=MODEL,
        ),
    ] = Preset.accurate
    hidden_size: Annotated[
        int, typer.Option(min=1, help="Units of the LSTM.", rich_help_panel=MODEL)
    ] = 32
    window: Annotated[
        int,
        typer.Option(min=1, help="How many ticks gradients reach back.", rich_help_panel=MODEL),
    ] = 20
    learning_rate: Annotated[
        float, typer.Option(min=0, help="Step size of the optimizer.", rich_help_panel=MODEL)
    ] = 0.002
    weights: Annotated[
        Weights,
        typer.Option(
            help="Whether each of several streams has a network of its own, or all share one; "
            "shared needs --preset fast.",
            rich_help_panel=MODEL,
        ),
    ] = Weights.private
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the initial weights.", rich_help_panel=MODEL)
    ] = 0
    horizon: Annotated[
        int, typer.Option(min=1, help="How many ticks to forecast.", rich_help_panel=FORECASTS)
    ] = 1
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            callback=_check_interval,
            help="Add intervals that should hold this share of the values, such as 0.9.",
            rich_help_panel=FORECASTS,
            show_default="no intervals",
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stop after this many ticks, in all of a replay or since the start of a live run.",
            rich_help_panel=RUN,
            show_default="no limit",
        ),
    ] = None
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep snapshots in this directory, and continue from the newest one there.",
            rich_help_panel=RUN,
            show_default="no snapshots",
        ),
    ] = None

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of an `LSTMForecaster` among the options."""
        return {
            "season": None if self.season == "none" else self.season,
            "preset": self.preset.value,
            "hidden_size": self.hidden_size,
            "window": self.window,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
        }


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let Typer see the fields of `LearningOptions`, a parameter of a command, as its options."""
    parameters = []
    group_name, group = "", LearningOptions
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if is_dataclass(parameter.annotation):
            group_name = parameter.name
            hints = get_type_hints(group, include_extras=True)
            parameters += [
                parameter.replace(name=each.name, default=each.default, annotation=hints[each.name])
                for each in fields(group)
            ]
        else:
            parameters.append(parameter)
    keyword_only = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]

    @wraps(command)
    def expanded(**given: Any) -> None:
        grouped = {each.name: given.pop(each.name) for each in fields(group)}
        command(**given, **{group_name: group(**grouped)})

    expanded.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    expanded.__annotations__ = {each.name: each.annotation for each in keyword_only}
    return expanded


def set_up_logging(level: int | str) -> None:
    """Log to standard error from a level on, unless that is set up already."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=level)
