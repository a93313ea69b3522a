"""Checks that a directory of snapshots belongs to the run that opens it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ..errors import ParameterError

SECONDS = 10.0  # between snapshots, if no number of ticks is given
_LISTS = ("--target", "--features", "--known")  # options that hold names separated by commas


def check_run(
    directory: Path, position: Any, fields: set[str], options: Mapping[str, object]
) -> None:
    """Raise a ParameterError unless a directory holds a run of this kind with these options.

    position: that of the newest snapshot; fields: what the position of such a run consists of.
    """
    if not isinstance(position, dict) or position.keys() != fields:
        refuse(directory, "snapshots of something else")
    _check_same(directory, position["options"], options)


def check_model(directory: Path, saved: Any, model: Any) -> None:
    """Raise a ParameterError unless a saved model has the class and the parameters of a model."""
    _check_same(directory, _description(saved), _description(model))


def refuse(directory: Path, content: str) -> NoReturn:
    """Raise a ParameterError that says what a directory holds."""
    raise ParameterError(f"{directory} holds {content}: use another directory for this run")


def _check_same(directory: Path, before: Mapping[str, object], now: Mapping[str, object]) -> None:
    for name in {**now, **before}:
        old, new = (_shown(name, options.get(name)) for options in (before, now))
        if old != new:
            label = name.removeprefix("--").replace("-", "_")
            refuse(directory, f"a run with {label} {old}, not {new}")


def _shown(name: str, value: object) -> str:
    text = "" if value is None else str(value)
    if name in _LISTS:
        text = ",".join(part.strip() for part in text.split(",") if part.strip())
    return text or "none"


def _description(model: Any) -> dict[str, object]:
    return {"model": type(model).__name__, **model._parameters()}
