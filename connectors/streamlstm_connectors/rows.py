"""Live forecasts as rows of a database, as fields of a message, and as columns of a file."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from streamlstm.live import Batch

COLUMNS = ("id", "key", "time", "forecast", "lower", "upper")


def forecast_rows(
    batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None
) -> Iterator[tuple[Any, ...]]:
    """Yield a tuple of `COLUMNS` for each tick.

    Ids and keys are text, times nanoseconds since 1970, forecasts and bounds lists; what the batch
    lacks is None.
    """
    absent = [None] * len(batch)
    columns = [absent if each is None else each for each in _lists(batch, forecasts, bounds)]
    return zip(*columns, strict=True)


def forecast_records(
    batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None
) -> Iterator[dict[str, Any]]:
    """Yield a dict for each tick, to be written as JSON.

    It has no entry for what the batch lacks, and None for NaN and infinity.
    """
    numbers = (_finite(forecasts), None if bounds is None else _finite(bounds))
    lists = zip(COLUMNS, _lists(batch, *numbers), strict=True)
    columns = {name: each for name, each in lists if each is not None}
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def forecast_columns(
    batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None
) -> dict[str, Any]:
    """Return forecasts as columns of a table with a row for each tick.

    The columns are `id`, `key` if there are several streams, `time` in nanoseconds since 1970 if
    the ticks have timestamps, `forecast_1` to `forecast_K`, and with intervals `lower_1` to
    `lower_K` and `upper_1` to `upper_K`.
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


def _lists(
    batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None
) -> list[list[Any] | None]:
    """A list for each of `COLUMNS`, or None."""
    return [
        batch.ids or batch.labels,
        batch.keys,
        None if batch.timestamps is None else batch.timestamps.tolist(),
        forecasts.tolist(),
        *((None, None) if bounds is None else (bounds[:, 0].tolist(), bounds[:, 1].tolist())),
    ]


def _finite(numbers: np.ndarray) -> np.ndarray:
    """Replace NaN and infinity, which JSON does not have, by None."""
    is_none = ~np.isfinite(numbers)
    if is_none.any():
        numbers = numbers.astype(object)
        numbers[is_none] = None
    return numbers
