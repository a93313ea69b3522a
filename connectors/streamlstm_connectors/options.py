"""Checks of addresses and their options that several connectors share."""

from pathlib import Path
from typing import Any

from streamlstm.errors import ParameterError
from streamlstm.live import Address


def check_choice(address: Address, name: str, value: Any, *choices: Any) -> None:
    """Raise a ParameterError if an option is not one of the choices."""
    if value not in choices:
        *most, last = map(str, choices)
        expected = f"{', '.join(most)} or {last}"
        raise ParameterError(f"{address}: {name} must be {expected}, got {value!r}")


def check_path(address: Address, what: str) -> None:
    """Raise a ParameterError if an address has no path; what: that the path should name."""
    if not address.path:
        raise ParameterError(f"{address} names no {what}: add /{what.upper()}")


def check_table_name(address: Address, name: str, max_bytes: int) -> None:
    """Raise a ParameterError if a database cannot have a table of this name."""
    if not name or len(name.encode()) > max_bytes or "\0" in name:
        raise ParameterError(
            f"{address}: a table cannot have the name {name!r}; "
            f"use 1 to {max_bytes} bytes without a zero byte"
        )


def path_of(address: Address) -> Path:
    """Return the file or folder of an address; ParameterError if it has none, or a host."""
    if address.host or not address.path:
        scheme = address.scheme
        raise ParameterError(
            f"{address} names no file: write {scheme}:///FILE for a file in the current folder, "
            f"{scheme}:////PATH/FILE for an absolute path"
        )
    return Path(address.path)
