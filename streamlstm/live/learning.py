"""How a model learns a batch of ticks."""

from typing import Any, TypeAlias

import numpy as np

from ..errors import InputError
from ..fleets.fleet import ForecasterFleet
from ..forecaster import LSTMForecaster
from .batch import Batch

Model: TypeAlias = LSTMForecaster | ForecasterFleet
Forecasts: TypeAlias = tuple[np.ndarray, np.ndarray | None]  # and bounds, if there are any


def forecast_and_learn(
    model: Model, batch: Batch, horizon: int = 1, interval: float | None = None
) -> Forecasts:
    """Forecast each tick of a batch, then learn it.

    Returns forecasts (T, K), row t made before tick t was learned, for that tick and those that
    follow it in its stream, and the lower and upper ends of intervals (T, 2, K), which hold a share
    `interval` of the values; None without `interval`.

    Raises
    ------
    InputError
        If a forecaster is given several streams, or a fleet is given one without a key; or as
        `learn_many` of the model.

    """
    forecaster: Any = model
    ticks = batch.values, batch.features, batch.timestamps, horizon, interval
    if batch.keys is None:
        if isinstance(model, ForecasterFleet):
            raise InputError("a ForecasterFleet needs ticks with keys: use an LSTMForecaster")
        made = forecaster.learn_many(*ticks)
    else:
        if isinstance(model, LSTMForecaster):
            raise InputError("ticks with keys are of several streams: use a ForecasterFleet")
        made = forecaster.learn_many(batch.keys, *ticks)
    return (made, None) if interval is None else made


def learn(model: Model, batch: Batch, horizon: int = 1, interval: float | None = None) -> Forecasts:
    """Learn each tick of a batch, then forecast what follows it.

    Returns forecasts (T, K), row t made after tick t was learned, for the ticks that follow it in
    its stream, and intervals and errors as `forecast_and_learn`. Rows are NaN while the stream has
    no value.
    """
    before, bounds_before = forecast_and_learn(model, batch, horizon, interval)
    forecaster: Any = model
    last_tick: dict[str, int] = {}  # of each stream
    pairs = []  # of consecutive ticks of a stream
    for tick, key in enumerate(batch.keys or [""] * len(batch)):
        if key in last_tick:
            pairs.append((last_tick[key], tick))
        last_tick[key] = tick
    earlier, later = np.array(pairs, np.int64).reshape(-1, 2).T
    newest = [*last_tick.values()]

    def shifted(made_before: np.ndarray, made_now: Any) -> np.ndarray:
        """Forecasts made after each tick: those made before the next tick of its stream."""
        rows = np.empty_like(made_before)
        rows[earlier] = made_before[later]
        rows[newest] = made_now
        return rows

    keys = {} if batch.keys is None else {"keys": [*last_tick]}
    forecasts = shifted(before, forecaster.forecast(horizon, **keys))
    if bounds_before is None:
        return forecasts, None
    ends = np.array(forecaster.forecast_interval(horizon, interval, **keys))
    return forecasts, shifted(bounds_before, ends.T if batch.keys is None else ends)
