"""The committee of LSTMForecaster: its members, their gates, and the mixture."""

import numpy as np
import pytest
from streams import mase, random_walk, seasonal

from streamlstm import LSTMForecaster
from streamlstm.forecaster import EXPERTS, PRESETS
from streamlstm.kernels.forecaster.layout import LAGS, RLS, LeastSquares
from streamlstm.kernels.forecaster.least_squares import rls_learn, rls_reset_covariance


def autoregression(ticks, seed=0):
    """y(t) = 1.6 y(t-1) - 0.8 y(t-2) + noise of deviation 1."""
    noise = np.random.default_rng(seed).normal(size=ticks)
    values = np.zeros(ticks)
    for t in range(2, ticks):
        values[t] = 1.6 * values[t - 1] - 0.8 * values[t - 2] + noise[t]
    return values, noise


def fast(**arguments):
    return LSTMForecaster(preset="fast", **arguments)


def one_step(values, **arguments):
    return fast(**arguments).learn_many(values)[:, 0]


def test_recursive_least_squares_finds_an_autoregression():
    values, noise = autoregression(4000)
    forecasts = one_step(values, season=None, experts=("rls",))
    assert np.abs(values - forecasts)[400:].mean() < 1.05 * np.abs(noise[400:]).mean()


def test_outliers_mislead_the_robust_least_squares_less():
    """A tenth of the targets are outliers, no regressor is. The kernels run as plain Python."""
    rng, N = np.random.default_rng(0), LAGS + 2
    truth, deviations, covariance = rng.normal(size=N), np.ones(RLS), np.zeros((RLS * N, N))
    coefficients = np.zeros((RLS, N))
    rls = LeastSquares(np.zeros(N), np.zeros(N), deviations, np.ones(RLS), coefficients, covariance)
    for r in range(RLS):
        rls_reset_covariance(rls, r)
    for _ in range(500):
        rls.regressors[:] = rng.normal(size=N)
        target = rls.regressors @ truth + 0.3 * rng.normal() + 9 * (rng.random() < 0.1)
        for r in range(RLS):
            rls_learn(rls, r, target)
    robust, usual, _, lags = np.linalg.norm(rls.coefficients - truth, axis=1)
    assert robust < usual < 0.5 * lags


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "values",
    [seasonal(4000), random_walk(4000), autoregression(4000)[0], np.abs(seasonal(4000)) ** 3],
    ids=["season", "walk", "autoregression", "skewed"],
)
def test_the_committee_is_hardly_worse_than_its_best_member_and_the_last_value(values, preset):
    """At every horizon; forecasts further ahead overlap, so they give less to learn from."""
    paths = [
        LSTMForecaster(season=24, experts=kinds, preset=preset).learn_many(values, horizon=24)
        for kinds in [*((kind,) for kind in EXPERTS), EXPERTS]
    ]
    for ahead, of_best, of_last in [(1, 1.01, 1.005), (6, 1.02, 1.02), (24, 1.02, 1.02)]:
        *alone, together = (mase(values, path[:, ahead - 1], ahead) for path in paths)
        assert together <= of_best * min(alone)
        assert together <= of_last


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
        "last", "season_1", "season_2",
        "season_1_profile_1", "season_1_profile_2", "season_2_profile_1", "season_2_profile_2",
        "rls", "rls_long", "rls_short", "rls_lags", "lstm",
    ]  # fmt: skip
    assert sum(member["weight"] for member in members.values()) == pytest.approx(1.0)
    assert all(0 <= member["gate"] <= 1 for member in members.values())
    change = sum(member["weight"] * member["change"] for member in members.values())
    assert model.forecast(1)[0] == pytest.approx(values[-1] + change)


@pytest.mark.parametrize("kind", EXPERTS)
def test_members_can_be_switched_off(kind):
    values = seasonal(600)
    with_all, without = fast(season=24), fast(season=24, experts=(kind,))
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
        model = fast(season=(24, 168), horizon=3)
        forecasts = model.learn_many(values)[:, 0]
        error = np.abs(values - forecasts)[3000:]
        assert np.isfinite(forecasts[1:]).all()
        assert np.isfinite(model._stats).all()
        assert error.mean() <= 1.01 * np.abs(np.diff(values))[2999:].mean()
