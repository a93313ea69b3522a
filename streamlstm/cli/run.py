"""`streamlstm run`."""

import copy
import json
import logging
import signal
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ParameterError
from .options import RUN, TICKS, LearningOptions, expand_options, names, set_up_logging

if TYPE_CHECKING:
    from ..live.learning import Model


def _read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Take from a TOML file the options that are not on the command line."""
    if path is None:
        return None
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise typer.BadParameter(f"{path} is not valid TOML: {error}") from error
    parameters = {
        option.removeprefix("--"): parameter.name
        for parameter in context.command.params
        for option in parameter.opts
    }
    context.default_map = {}
    for name, value in given.items():
        if name not in parameters or name == "config":
            raise typer.BadParameter(f"{path}: {name!r} is not an option of this command")
        parts = value if isinstance(value, list) else [value]
        if any(type(part) not in (str, int, float) for part in parts):
            raise typer.BadParameter(
                f"{path}: {name} must be text, a number or a list of these, got {value!r}"
            )
        context.default_map[parameters[name]] = ",".join(map(str, parts))
    return path


@expand_options
def run(
    source: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where ticks come from, such as redis://host:6379/stream.",
            rich_help_panel=RUN,
        ),
    ],
    sink: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where forecasts go, such as sqlite:///forecasts.db.",
            rich_help_panel=RUN,
            show_default="nowhere",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help="File with further options by name; the command line takes precedence.",
            exists=True,
            dir_okay=False,
            is_eager=True,
            callback=_read_config,
            rich_help_panel=RUN,
            show_default="none",
        ),
    ] = None,
    value: Annotated[
        str,
        typer.Option(
            metavar="FIELD", help="Field of a message to forecast.", rich_help_panel=TICKS
        ),
    ] = "value",
    key: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Field that names the stream of the tick, if there are several streams.",
            rich_help_panel=TICKS,
            show_default="one stream",
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Field of the timestamp.",
            rich_help_panel=TICKS,
            show_default="none",
        ),
    ] = None,
    sequence: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Field of a number that grows from tick to tick of a stream. Ticks whose number "
            "does not grow are skipped as duplicate or late.",
            rich_help_panel=TICKS,
            show_default="none",
        ),
    ] = None,
    dead_letters: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.jsonl",
            help="Write messages that are not ticks to this file, and why.",
            rich_help_panel=TICKS,
            show_default="only count them",
        ),
    ] = None,
    *,
    learning: LearningOptions,
    snapshot_seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Shortest time between snapshots.",
            rich_help_panel=RUN,
            show_default="10",
        ),
    ] = None,
) -> None:
    """Forecast a live source, learning from each tick once, until SIGTERM or SIGINT.

    In a URL, ${NAME} stands for an environment variable.
    """
    from ..fleets.fleet import ForecasterFleet
    from ..live.address import Address
    from ..live.run import LiveRun
    from ..replays.replay import MAX_HORIZON, new_forecaster
    from ..snapshots.runs import SECONDS

    if snapshot_seconds is not None and learning.state is None:
        raise ParameterError("--snapshot-seconds needs --state, the directory of the snapshots")
    if learning.horizon > MAX_HORIZON:
        raise ParameterError(f"--horizon must be at most {MAX_HORIZON}, got {learning.horizon}")
    if learning.weights != "private" and key is None:
        raise ParameterError("--weights is for several streams: use --key")
    forecaster = new_forecaster(learning.horizon, **learning.parameters())
    model: Model = forecaster
    if key is not None:
        model = ForecasterFleet(forecaster, learning.weights.value)
    untrained = copy.deepcopy(model)
    set_up_logging(logging.INFO)
    live = LiveRun(
        model,
        source,
        sink,
        learning.state,
        value=value,
        key=key,
        time=time,
        features=names(learning.features),
        sequence=sequence,
        horizon=learning.horizon,
        interval=learning.interval,
        bars=learning.bars,
        dead_letters=dead_letters,
        options={
            "--source": str(Address(source)), "--value": value, "--key": key, "--time": time,
            "--features": learning.features, "--bars": learning.bars, "--sequence": sequence,
            "--season": learning.season, "--horizon": learning.horizon,
            "--interval": learning.interval, "--preset": learning.preset.value,
            "--hidden-size": learning.hidden_size, "--window": learning.window,
            "--learning-rate": learning.learning_rate, "--weights": learning.weights.value,
            "--seed": learning.seed,
        },
        snapshot_seconds=SECONDS if snapshot_seconds is None else snapshot_seconds,
    )  # fmt: skip
    _load_kernels(untrained, learning)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: live.stop())
    live.run(learning.limit)
    print(json.dumps(asdict(live.metrics)))


def _load_kernels(model: "Model", learning: LearningOptions) -> None:
    """Load the kernels, or compile them and say so, before ticks wait for them."""
    import numpy as np

    from ..fleets.fleet import ForecasterFleet
    from ..live.bars import Bars
    from ..live.batch import Batch
    from ..live.learning import learn

    keys = ["", ""] if isinstance(model, ForecasterFleet) else None
    learn(model, Batch(np.zeros(2), {}, None, ["", ""], keys), learning.horizon, learning.interval)
    if learning.bars is not None:
        Bars(2).update(Batch(np.zeros(2), {}, None, ["", ""]))
