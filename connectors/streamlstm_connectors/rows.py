"""Live forecasts as rows of a database's table, as messages' fields, and as columns of a file."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from streamlstm.errors import ParameterError
from streamlstm.live import Address, Batch

COLUMNS = ("id", "key", "time", "forecast", "lower", "upper")


def forecast_rows(
    batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None
) -> Iterator[tuple[Any, ...]]:
    """A tuple of `COLUMNS` for each tick: text, nanoseconds since 1970, lists; None for none."""
    absent = [None] * len(batch)
    columns = [absent if each is None else each for each in _lists(batch, forecasts, bounds)]
    return zip(*columns, strict=True)


def forecast_records(
    batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None
) -> Iterator[dict[str, Any]]:
    """Likewise a dict for each tick, without what there is not; None for a number that is none."""
    numbers = (_finite(forecasts), None if bounds is None else _finite(bounds))
    lists = zip(COLUMNS, _lists(batch, *numbers), strict=True)
    columns = {name: each for name, each in lists if each is not None}
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def _finite(numbers: np.ndarray) -> np.ndarray:
    """With None for NaN and infinity, for which JSON has no words."""
    is_none = ~np.isfinite(numbers)
    if is_none.any():
        numbers = numbers.astype(object)
        numbers[is_none] = None
    return numbers


def _lists(
    batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None
) -> list[list[Any] | None]:
    """Each of `COLUMNS`."""
    return [
        batch.ids or batch.labels,
        batch.keys,
        None if batch.timestamps is None else batch.timestamps.tolist(),
        forecasts.tolist(),
        *((None, None) if bounds is None else (bounds[:, 0].tolist(), bounds[:, 1].tolist())),
    ]


def forecast_columns(
    batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None
) -> dict[str, Any]:
    """Live forecasts as columns.

    They are `id`, `key` if there are several streams, `time` in nanoseconds since 1970 if the ticks
    have one, `forecast_1` to `forecast_K`, and with intervals `lower_1` to `upper_K`.
    """
    columns: dict[str, Any] = {"id": batch.ids or batch.labels}
    if batch.keys is not None:
        columns["key"] = batch.keys
    if batch.timestamps is not None:
        columns["time"] = batch.timestamps
    numbers = {"forecast": forecasts}
    if bounds is not None:
        numbers |= {"lower": bounds[:, 0], "upper": bounds[:, 1]}
    for kind, rows in numbers.items():
        columns |= {f"{kind}_{h}": column for h, column in enumerate(rows.T, 1)}
    return columns


def check_name(address: Address, name: str, longest: int) -> None:
    """Raise a ParameterError for what cannot name a table: an empty name, a longer one, a NUL."""
    if not name or len(name.encode()) > longest or "\0" in name:
        raise ParameterError(f"{address}: no table can have the name {name!r}")
