"""What tests of several folders share."""

import pytest


@pytest.fixture(scope="session")
def kernels():
    """Kernels that a command loads: compiled here, so that a test need not wait for a compiler."""
    from streamlstm import ForecasterFleet, LSTMForecaster

    model = LSTMForecaster(hidden_size=1, window=1, horizon=1, preset="fast")
    fleet = ForecasterFleet(model)
    for interval in (None, 0.9):
        model.learn_many([0.0, 1.0], interval=interval)
        fleet.learn_many(["a", "b"], [0.0, 1.0], interval=interval)
    model.forecast(2), model.forecast_interval(2)
    fleet.forecast(2), fleet.forecast_interval(2)
