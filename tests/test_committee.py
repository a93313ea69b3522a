"""The committee of LSTMForecaster: its members, their gates, and the mixture."""

import numpy as np
import pytest
from streams import mase, random_walk, seasonal

from streamlstm import LSTMForecaster
from streamlstm.forecaster import EXPERTS


def autoregression(ticks, seed=0):
    """y(t) = 1.6 y(t-1) - 0.8 y(t-2) + noise of deviation 1."""
    noise = np.random.default_rng(seed).normal(size=ticks)
    values = np.zeros(ticks)
    for t in range(2, ticks):
        values[t] = 1.6 * values[t - 1] - 0.8 * values[t - 2] + noise[t]
    return values, noise


def one_step(values, **arguments):
    return LSTMForecaster(**arguments).learn_many(values)[:, 0]


def test_recursive_least_squares_finds_an_autoregression():
    values, noise = autoregression(4000)
    forecasts = one_step(values, season=None, experts=("rls",))
    assert np.abs(values - forecasts)[400:].mean() < 1.05 * np.abs(noise[400:]).mean()


@pytest.mark.parametrize(
    "values",
    [seasonal(4000), random_walk(4000), autoregression(4000)[0], np.abs(seasonal(4000)) ** 3],
    ids=["season", "walk", "autoregression", "skewed"],
)
def test_the_committee_is_hardly_worse_than_its_best_member_and_the_last_value(values):
    alone = [mase(values, one_step(values, season=24, experts=(kind,))) for kind in EXPERTS]
    together = mase(values, one_step(values, season=24))
    assert together <= 1.01 * min(alone)
    assert together <= 1.005


def test_the_mixture_follows_a_change_of_regime():
    values = np.concatenate([seasonal(3000), 50 + random_walk(3000), seasonal(3000)])
    forecasts = one_step(values, season=24)
    for part in (slice(2000, 3000), slice(5000, 6000), slice(8000, 9000)):
        naive = np.abs(np.diff(values))[part.start - 1 : part.stop - 1].mean()
        error = np.abs(values - forecasts)[part].mean()
        assert error < (1.03 if part.start == 5000 else 0.75) * naive


def test_the_members_explain_the_forecast():
    model = LSTMForecaster(season=(6, 24))
    values = seasonal(500)
    model.learn_many(values)
    members = model.experts_
    assert list(members) == [
        "last", "season_1", "season_2", "rls", "rls_forgetting", "rls_lags", "lstm",
    ]  # fmt: skip
    assert sum(member["weight"] for member in members.values()) == pytest.approx(1.0)
    assert all(0 <= member["gate"] <= 1 for member in members.values())
    change = sum(member["weight"] * member["change"] for member in members.values())
    assert model.forecast(1)[0] == pytest.approx(values[-1] + change)


@pytest.mark.parametrize("kind", EXPERTS)
def test_members_can_be_switched_off(kind):
    values = seasonal(600)
    with_all, without = LSTMForecaster(season=24), LSTMForecaster(season=24, experts=(kind,))
    with_all.learn_many(values)
    without.learn_many(values)
    others = {name for name in with_all.experts_ if not name.startswith(kind)}
    assert set(without.experts_) == set(with_all.experts_) - others
    assert sum(m["weight"] for m in without.experts_.values()) == pytest.approx(1.0)


def test_last_alone_is_the_last_value():
    values = seasonal(300)
    assert np.array_equal(one_step(values, season=24, experts=("last",))[1:], values[:-1])


def test_collinear_and_constant_streams_keep_the_regressions_finite():
    t = np.arange(30_000)
    for values in (np.sin(t / 50), 1e6 + 0.001 * t, np.where(t % 2000 < 1990, 5.0, -5.0)):
        model = LSTMForecaster(season=(24, 168))
        forecasts = model.learn_many(values)[:, 0]
        error = np.abs(values - forecasts)[3000:]
        assert np.isfinite(forecasts[1:]).all()
        assert np.isfinite(model._stats).all()
        assert error.mean() <= 1.01 * np.abs(np.diff(values))[2999:].mean()
