"""Live forecasts as rows of a database's table."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from streamlstm.address import Address
from streamlstm.errors import ParameterError
from streamlstm.stream import Batch

COLUMNS = ("id", "key", "time", "forecast", "lower", "upper")


def forecast_rows(
    batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None
) -> Iterator[tuple[Any, ...]]:
    """A tuple of `COLUMNS` for each tick: text, nanoseconds since 1970, lists; None for none."""
    absent = [None] * len(batch)
    lower, upper = (
        (absent, absent) if bounds is None else (bounds[:, 0].tolist(), bounds[:, 1].tolist())
    )
    return zip(
        batch.ids or batch.labels,
        absent if batch.keys is None else batch.keys,
        absent if batch.timestamps is None else batch.timestamps.tolist(),
        forecasts.tolist(),
        lower,
        upper,
        strict=True,
    )


def check_name(address: Address, name: str, longest: int) -> None:
    """Raise a ParameterError for what cannot name a table: an empty name, a longer one, a NUL."""
    if not name or len(name.encode()) > longest or "\0" in name:
        raise ParameterError(f"{address}: no table can have the name {name!r}")
