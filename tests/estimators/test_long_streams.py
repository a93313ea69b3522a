"""A million ticks of awkward streams: no exception, finite forecasts, no slowdown."""

import pickle
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
    chunks = np.array_split(STREAMS[kind][:ticks], 100)
    for n, chunk in enumerate(chunks):
        forecasts = model.learn_many(chunk, horizon=2)
        assert np.isfinite(forecasts[1:]).all()
        if n == 10:
            young = pickle.loads(pickle.dumps(model))
    assert np.isfinite(model.forecast(100)).all()
    # In turns, so that other work on the machine slows both.
    pairs = [(seconds(young, chunk), seconds(model, chunk)) for chunk in chunks[-20:]]
    assert min(old for _, old in pairs) <= 1.2 * min(new for new, _ in pairs)


def seconds(model, chunk):
    start = time.thread_time()
    model.learn_many(chunk, horizon=2)
    return time.thread_time() - start


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
