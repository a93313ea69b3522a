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

    position: that of the newest snapshot; fields: the keys that the position of such a run has.
    """
    if not isinstance(position, dict) or position.keys() != fields:
        refuse(directory, "snapshots of something else")
    before = position["options"]
    for name in {**options, **before}:
        old, new = (_shown(name, each.get(name)) for each in (before, options))
        if old != new:
            label = name.removeprefix("--").replace("-", "_")
            refuse(directory, f"a run with {label} {old}, not {new}")


def refuse(directory: Path, content: str) -> NoReturn:
    """Raise a ParameterError that says what a directory holds."""
    raise ParameterError(f"{directory} holds {content}: use another directory for this run")


def _shown(name: str, value: object) -> str:
    text = "" if value is None else str(value)
    if name in _LISTS:
        text = ",".join(part.strip() for part in text.split(",") if part.strip())
    return text or "none"
