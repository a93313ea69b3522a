"""The running error of a picture."""

import numpy as np
import pytest
from streams import random_walk

from streamlstm.replays import blocks
from streamlstm.replays.plot import running_mean
from streamlstm.replays.scores import Score


def looped(errors, window):
    """The mean of the finite errors among the newest `window` at each tick."""
    for end in range(1, errors.size + 1):
        newest = errors[max(end - window, 0) : end]
        known = newest[np.isfinite(newest)]
        yield known.mean() if known.size else np.nan


def test_the_running_error_is_that_of_the_newest_ticks():
    values = random_walk(500)
    values[[3, *range(100, 130), 499]] = np.nan
    score = Score()
    score.update(values, np.full(500, 2.0))
    curve = score.curve()
    means = running_mean(curve, curve.errors, 25)
    np.testing.assert_allclose(means, list(looped(np.abs(values - 2), 25)))
    assert np.isnan(means[128])


def test_that_of_a_long_stream_is_the_same_at_fewer_places(monkeypatch):
    monkeypatch.setattr(blocks, "KEPT", 1000)
    errors = 1 + np.random.default_rng(0).random(40_000)
    score = Score()
    score.update(np.zeros(errors.size), errors)
    curve = score.curve()
    assert curve.ticks.size < 20_000
    means = running_mean(curve, curve.errors, 2000)
    exact = np.array(list(looped(errors, 2000)))[curve.ticks[1:] - 1]
    assert means == pytest.approx(exact, rel=0.001)
