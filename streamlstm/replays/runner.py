"""Drives a forecaster or a fleet through a source, live or replayed: batches are the same."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..errors import InputError
from ..fleets.fleet import ForecasterFleet
from ..forecaster import LSTMForecaster
from ..live.batch import Batch


def run(
    model: LSTMForecaster | ForecasterFleet,
    source: Iterable[Batch],
    horizon: int = 1,
    limit: int | None = None,
    interval: float | None = None,
) -> Iterator[tuple[Batch, np.ndarray, np.ndarray | None]]:
    """Let the model forecast and learn each tick of a source, at most `limit` of them.

    Yields each batch with its forecasts, (T, horizon), each row made before its tick was seen, and
    the lower and upper ends of intervals that hold a share `interval` of the values, (T, 2,
    horizon), or None without `interval`. A source of several streams needs a fleet, and a fleet
    such a source; anything else raises an InputError.
    """
    left = limit
    for batch in source:
        if left is not None:
            batch = batch.part(0, left)
            left -= len(batch)
        made: Any
        given = batch.values, batch.features, batch.timestamps, horizon, interval
        if isinstance(model, ForecasterFleet) and batch.keys is not None:
            made = model.learn_many(batch.keys, *given)
        elif isinstance(model, LSTMForecaster) and batch.keys is None:
            made = model.learn_many(*given)
        else:
            raise InputError("several streams need a ForecasterFleet, and one an LSTMForecaster")
        forecasts, bounds = (made, None) if interval is None else made
        yield batch, forecasts, bounds
        if left == 0:
            return
