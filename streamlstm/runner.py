"""Drives a forecaster through a source, live or replayed: the same batches either way."""

from collections.abc import Iterable, Iterator

import numpy as np

from .forecaster import LSTMForecaster
from .stream import Batch


def run(
    model: LSTMForecaster,
    source: Iterable[Batch],
    horizon: int = 1,
    limit: int | None = None,
    alpha: float | None = None,
) -> Iterator[tuple[Batch, np.ndarray, np.ndarray | None]]:
    """Let the model forecast and learn each tick of a source, at most `limit` of them.

    Yields each batch with its forecasts, (T, horizon), each row made before its tick was seen, and
    the lower and upper ends of intervals around them that miss a share `alpha`, (T, 2, horizon), or
    None without `alpha`.
    """
    left = limit
    for batch in source:
        if left is not None:
            batch = batch.head(left)
            left -= len(batch)
        made = model.learn_many(batch.values, batch.features, batch.timestamps, horizon, alpha)
        forecasts, bounds = (made, None) if alpha is None else made
        yield batch, forecasts, bounds
        if left == 0:
            return
