"""Compile every kernel ahead of time: for images, for CI, for services that must answer at once."""

import numpy as np

from ..fleets.fleet import STREAMS, ForecasterFleet
from ..forecaster import LSTMForecaster
from ..live.bars import Bars
from ..live.batch import Batch
from ..regressor import LSTMRegressor


def warm_up() -> None:
    """Call everything that runs a kernel once, so that it is compiled and cached on disk."""
    forecaster = LSTMForecaster(hidden_size=1, window=1, horizon=1, known_features=("a",))
    forecaster.learn_many([0.0, 1.0], {"a": [0.0, 1.0]}, interval=0.9)
    forecaster.learn_one(2.0, {"a": 0.0})
    forecaster.forecast(2)  # and, since a feature is known in advance, a look ahead
    forecaster.forecast_interval(2)
    for weights in STREAMS:
        fleet = ForecasterFleet(LSTMForecaster(1, window=1, horizon=1, preset="fast"), weights)
        fleet.learn_many(["a", "a"], [0.0, 1.0], interval=0.9)
        fleet.forecast(1)
    regressor = LSTMRegressor(hidden_size=1, window=1)
    regressor.learn_many([[0.0], [1.0]], [0.0, 1.0])
    regressor.learn_one({0: 2.0}, 2.0)
    regressor.predict_one({0: 3.0})
    Bars(2).update(Batch(np.zeros(2), {}, None, ["", ""]))
