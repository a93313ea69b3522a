"""`streamlstm warmup`."""

from time import perf_counter


def warmup() -> None:
    """Compile all kernels, so that later processes load them from the cache.

    Use it when you build an image, in CI, or before a service starts that must answer at once.
    """
    start = perf_counter()
    call_every_kernel()
    print(f"kernels are ready after {perf_counter() - start:.1f} s")


def call_every_kernel() -> None:
    """Call everything that runs a kernel once, so that it is compiled and cached on disk."""
    import numpy as np

    from ..fleets.fleet import STREAMS, ForecasterFleet
    from ..forecaster import LSTMForecaster
    from ..live.bars import Bars
    from ..live.batch import Batch
    from ..regressor import LSTMRegressor

    forecaster = LSTMForecaster(hidden_size=1, window=1, horizon=1, known_features=("a",))
    forecaster.learn_many([0.0, 1.0], {"a": [0.0, 1.0]}, interval=0.9)
    forecaster.learn_one(2.0, {"a": 0.0})
    forecaster.forecast(2)  # which looks ahead, since a feature is known in advance
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
