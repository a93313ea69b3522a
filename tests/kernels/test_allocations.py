"""A tick allocates nothing; what a call allocates to wrap its arguments is freed at its end."""

import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys
from streams import seasonal

from streamlstm import LSTMForecaster, LSTMRegressor


@pytest.fixture(autouse=True)
def _counting():
    _nrt_python.memsys_enable_stats()
    yield
    _nrt_python.memsys_disable_stats()


def allocations(call) -> tuple[int, int]:
    """Allocations, and those not freed, of compiled code in the second of two calls."""
    call()
    before = rtsys.get_allocation_stats()
    call()
    after = rtsys.get_allocation_stats()
    allocated, freed = after.alloc - before.alloc, after.free - before.free
    return allocated, allocated - freed


def test_a_thousand_ticks_allocate_no_more_than_one():
    values, features = seasonal(1000), np.ones((1000, 3))
    forecaster, regressor = LSTMForecaster(season=24, drift=False), LSTMRegressor()

    def counts(n):
        return (
            allocations(lambda: forecaster.learn_many(values[:n], features[:n], horizon=3)),
            allocations(lambda: regressor.learn_many(features[:n], values[:n])),
        )

    assert counts(1) == counts(1000)


@pytest.mark.parametrize("calls", [1, 1000])
def test_nothing_stays_allocated(calls):
    forecaster, regressor = LSTMForecaster(season=24), LSTMRegressor()
    x = {0: 1.0, 1: 2.0, 2: 3.0}

    def work():
        for _ in range(calls):
            forecaster.learn_one(1.0, x)
            forecaster.forecast(3)
            regressor.learn_one(x, 1.0)
            regressor.predict_one(x)

    assert allocations(work)[1] == 0
