"""A million ticks of awkward streams: no exception, finite forecasts, no slowdown."""

import time

import numpy as np
import pytest

from streamlstm import LSTMForecaster

TICKS = 1_000_000
NOISE = np.random.default_rng(0).normal(size=TICKS)

STREAMS = {
    "constant": np.full(TICKS, 3.7),
    "zero": np.zeros(TICKS),
    "huge": NOISE * 1e12,
    "tiny": NOISE * 1e-12,
    "alternating NaN": np.where(np.arange(TICKS) % 2 == 0, NOISE, np.nan),
}


@pytest.mark.parametrize(("preset", "ticks"), [("fast", TICKS), ("accurate", TICKS // 20)])
@pytest.mark.parametrize("kind", STREAMS)
def test_a_million_ticks(kind, preset, ticks):
    # Small, so that five million ticks take less than a minute; the arithmetic is the same.
    model = LSTMForecaster(preset=preset, hidden_size=4, window=4, season=7, horizon=2)
    seconds = []
    for chunk in np.array_split(STREAMS[kind][:ticks], 100):
        start = time.thread_time()
        forecasts = model.learn_many(chunk, horizon=2)
        seconds.append(time.thread_time() - start)
        assert np.isfinite(forecasts[1:]).all()
    assert min(seconds[-30:]) <= 1.2 * min(seconds[10:40])  # the first learn less
    assert np.isfinite(model.forecast(100)).all()


def test_forecasts_recover_from_a_jump_to_another_scale():
    values = np.concatenate([[0.0] * 500, NOISE[:500], 1e12 * NOISE[:500], 1e-12 * NOISE[:2000]])
    model = LSTMForecaster()
    assert np.isfinite(model.learn_many(values, horizon=5)[1:]).all()


def test_memory_does_not_grow():
    model = LSTMForecaster(season=24)
    model.learn_many(NOISE[:1000])
    before = model._raw_memory_usage
    model.learn_many(NOISE[:20_000])
    assert model._raw_memory_usage <= before + 1000
