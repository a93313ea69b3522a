"""Outliers: a spike does no lasting harm; a lasting change of scale is learned."""

import numpy as np
import pytest
from streams import mase, seasonal

from streamlstm import LSTMForecaster


def one_step(values):
    return LSTMForecaster(preset="fast", season=24).learn_many(values)[:, 0]


@pytest.mark.parametrize("size", [1e3, 1e9, -1e15])
def test_a_spike_does_no_lasting_harm(size):
    values = seasonal(3000)
    spiked = values.copy()
    spiked[1500] += size
    clean, harmed = (np.abs(one_step(ys) - values) for ys in (values, spiked))
    assert harmed[1502:1600].mean() < 2 * clean[1502:1600].mean()
    assert harmed[2000:].mean() < 1.05 * clean[2000:].mean()


@pytest.mark.parametrize("factor", [0.01, 1e6])
def test_the_model_adapts_to_a_new_scale(factor):
    values = np.concatenate([seasonal(1500), factor * seasonal(3000)])
    forecasts = one_step(values)
    assert mase(values[2500:], forecasts[2500:]) < 1.0
