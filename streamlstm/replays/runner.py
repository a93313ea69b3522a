"""Runs a model through recorded or live batches."""

from collections.abc import Iterable, Iterator

import numpy as np

from ..live.batch import Batch
from ..live.learning import Model, forecast_and_learn


def run(
    model: Model,
    batches: Iterable[Batch],
    horizon: int = 1,
    limit: int | None = None,
    interval: float | None = None,
) -> Iterator[tuple[Batch, np.ndarray, np.ndarray | None]]:
    """Let a model forecast and learn each tick of some batches, at most `limit` ticks.

    Yields each batch with the forecasts and bounds of `forecast_and_learn`.
    """
    left = limit
    for batch in batches:
        if left is not None:
            batch = batch.part(0, left)
            left -= len(batch)
        yield batch, *forecast_and_learn(model, batch, horizon, interval)
        if left == 0:
            return
