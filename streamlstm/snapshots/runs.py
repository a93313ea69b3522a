"""Check that a directory of snapshots belongs to the run that opens it."""

from pathlib import Path
from typing import Any, NoReturn

from ..errors import ParameterError

SECONDS = 10.0  # between snapshots, unless a number of ticks is given


def check_run(directory: Path, held: Any, names: set[str], options: dict[str, Any]) -> None:
    """Raise a ParameterError unless a directory holds a run with the same options.

    held: the position in its newest snapshot; names: the keys that the position of such a run has.
    """
    if not isinstance(held, dict) or held.keys() != names:
        refuse(directory, "snapshots of something else")
    before = held["options"]
    for name in {**options, **before}:
        old, new = (_shown(named.get(name)) for named in (before, options))
        if old != new:
            refuse(directory, f"a run with {name} {old}, not {new}")


def refuse(directory: Path, what: str) -> NoReturn:
    """Raise a ParameterError that says what a directory holds."""
    raise ParameterError(f"{directory} holds {what}: use another directory for this run")


def _shown(option: Any) -> str:
    return "none" if option is None else str(option)
