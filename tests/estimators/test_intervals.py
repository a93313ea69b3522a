"""Prediction intervals: reference, coverage, and guarantees for any stream."""

import itertools
import pickle

import numpy as np
import pytest
from kernel_calls import relative_error
from reference import intervals as reference
from streams import random_walk, seasonal

from streamlstm import LSTMForecaster
from streamlstm.errors import InputError, ParameterError
from streamlstm.kernels.forecaster.intervals import LEVELS, STEP, quantiles_learn

TICKS = 4000
SMALL = {"preset": "fast", "hidden_size": 4, "window": 4}


def noise(seed=0):
    return np.random.default_rng(seed).normal(size=TICKS)


def noisy_season(seed=0):
    """A daily pattern whose noise is small by night and large by day."""
    phase = 2 * np.pi * np.arange(TICKS) / 24
    return 50 + 10 * np.sin(phase + 1) + (1 + 0.9 * np.sin(phase)) * noise(seed)


def with_holes(values, share=0.3):
    return np.where(np.random.default_rng(5).random(values.size) < share, np.nan, values)


t = np.arange(TICKS)
STREAMS = {
    "season": noisy_season(),
    "walk": 100 + noise().cumsum(),
    "heavy tails": np.random.default_rng(0).standard_t(2, size=TICKS),
    "level shifts": noise() + np.repeat(20 * noise(1)[: TICKS // 160], 160),
    "variance x100 and back": noise() * np.where((t >= 1500) & (t < 2500), 10.0, 1.0),
    "constant stretches": np.where(t // 100 % 2 == 0, noise(), 3.0),
    "tiny": 1e-9 * noisy_season(1),
    "huge": 1e12 * noise(2).cumsum(),
    "missing": with_holes(noisy_season(2)),
}


def small(name="", **arguments):
    season = 24 if name in ("season", "tiny", "missing") else None
    chosen = {"season": season, "experts": ("last", "season", "rls"), "horizon": 12, **SMALL}
    return LSTMForecaster(**{**chosen, **arguments})


def coverage(values, bounds, ahead, start=300):
    """Share of the values within the bounds made `ahead` ticks before."""
    came = values[ahead - 1 :]
    lower, upper = bounds[: came.size, :, ahead - 1].T
    scored = np.isfinite(came) & (np.arange(came.size) >= start)
    return np.mean((came >= lower)[scored] & (came <= upper)[scored])


@pytest.mark.parametrize("season", [None, 7, 24])
def test_intervals_follow_the_reference(season):
    values = with_holes(noisy_season(), 0.1)[:700]
    values[[0, 300]] = np.nan, 1e4
    model = small(season=season, horizon=10)
    twin = reference.Intervals(10, season or 0)
    for tick, y in enumerate(values):
        model.learn_one(y)
        if tick > 0:
            twin.learn(y)
            twin.store(model.forecast(10))
            interval = (0.99, 0.9, 0.63, 0.2)[tick % 4]
            bounds = model.forecast_interval(10, interval)
            assert relative_error(bounds, twin.bounds(1 - interval)) < 1e-9
    intervals = model._series.intervals
    for k, tracker in enumerate(twin.trackers):
        assert relative_error(intervals.quantiles[k], tracker.q) < 1e-9
        assert relative_error(intervals.weights[k], tracker.w) < 1e-8
    assert np.array_equal(LEVELS, reference.ErrorTracker.levels)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize(
    ("interval", "one_step", "twelve_steps"),
    [(0.5, 0.02, 0.06), (0.8, 0.02, 0.05), (0.9, 0.015, 0.03), (0.99, 0.01, 0.025)],
)
def test_intervals_hold_the_promised_share_of_values(name, interval, one_step, twelve_steps):
    values = STREAMS[name]
    _, bounds = small(name).learn_many(values, horizon=12, interval=interval)
    for ahead, room in [(1, one_step), (12, twelve_steps)]:
        share = coverage(values, bounds, ahead)
        assert share > interval - room
        if name != "constant stretches":  # errors of 0 lie within any interval
            assert share < interval + room


def test_intervals_are_wide_where_errors_are_large():
    values = noisy_season()
    _, bounds = small("season").learn_many(values, interval=0.9)
    width = np.diff(bounds[1000:, :, 0], axis=1)[: 24 * 120].reshape(-1, 24).mean(0)
    deviation = 1 + 0.9 * np.sin(2 * np.pi * np.arange(1000, 1024) / 24)
    assert np.corrcoef(width, deviation)[0, 1] > 0.95
    assert width.max() > 4 * width.min()


def adversaries(rng):
    """Functions that choose the next error v, knowing the quantiles (L,) issued for it."""
    largest = 8.0
    return {
        "just outside": lambda n, issued: min(issued[-1] + 1e-9, largest),
        "just below": lambda n, issued: max(issued[0] - 1e-9, -largest),
        "largest": lambda n, issued: largest,
        "calm and storms": lambda n, issued: largest if n // 700 % 2 else 0.0,
        "misses one level": lambda n, issued: min(issued[9] + 1e-9, largest),
        "both sides": lambda n, issued: (-1) ** n * min(max(abs(issued)) + 0.5, largest),
        "heavy": lambda n, issued: float(np.arcsinh(rng.standard_cauchy())),
        "growing": lambda n, issued: largest * n / 3000,
        "only waits": lambda n, issued: issued[-1] + 0.01 if n % 200 == 199 else 0.0,
    }


@pytest.mark.parametrize("ahead", [1, 12])
@pytest.mark.parametrize("name", adversaries(np.random.default_rng(0)))
def test_no_stream_exceeds_the_bound_on_misses(name, ahead):
    """docs/maths.md derives the bound. The kernel runs as plain Python."""
    choose, T = adversaries(np.random.default_rng(0))[name], 3000
    tails = 2 * np.minimum(LEVELS, 1 - LEVELS)
    q = np.arcsinh(np.sign(LEVELS - 0.5) * -np.log(tails))
    first, issued = q.copy(), [q.copy()] * ahead
    step = STEP / np.sqrt(ahead)
    size = step * tails**-0.25
    misses, held = np.zeros(q.size), np.zeros(q.size)
    highest, lowest = -np.inf, np.inf
    low = LEVELS < 0.5
    for n in range(T):
        v = choose(n, issued[0])
        missed = np.where(low, v < issued[0], v > issued[0])
        before = q.copy()
        quantiles_learn(q, issued[0], v, step)
        misses += missed
        held += ~missed & (np.abs(q - before) < size * tails / 2 * (1 - 1e-9))
        highest, lowest = max(highest, v), min(lowest, v)
        issued = [*issued[1:], q.copy()]
    outer = np.where(low, np.maximum(first - lowest, 0), np.maximum(highest - first, 0))
    inner = np.where(low, np.maximum(highest - first, 0), np.maximum(first - lowest, 0))
    share, sides = tails / 2, LEVELS != 0.5
    most = share * T + outer / size + ahead * (1 - share)
    least = share * (T - held) - inner / size
    assert np.all((misses <= most + 1e-6)[sides])
    assert np.all((misses >= least - 1e-6)[sides])
    assert np.all(q <= np.maximum(first, highest) + ahead * size + 1e-9)


def test_an_adversary_comes_close_to_the_bound():
    """The errors exceed the quantile until it reaches the largest error."""
    q, T, largest, missed = np.arcsinh(-np.log(2 * 0.05)) * np.ones(LEVELS.size), 3000, 8.0, 0
    level = list(LEVELS).index(0.95)
    first, size = q[level], STEP * 0.1**-0.25
    for _ in range(T):
        v = q[level] + 1e-9 if q[level] < largest else -largest
        missed += v > q[level]
        quantiles_learn(q, q.copy(), v, STEP)
    most = 0.05 * T + (largest - first) / size + 0.95
    assert 0.9 * most < missed <= most


def test_ends_are_ordered_and_intervals_nested():
    values = with_holes(noisy_season(), 0.1)[:1500]
    shares = (0.99, 0.987, 0.95, 0.9, 0.7, 0.5, 0.0)
    bounds = [small("season").learn_many(values, horizon=20, interval=s)[1][2:] for s in shares]
    room = 1e-12 * np.nanmax(np.abs(values))
    for outer, inner in itertools.pairwise(bounds):
        assert np.all(outer[:, 0] <= inner[:, 0] + room)
        assert np.all(outer[:, 1] >= inner[:, 1] - room)
    assert np.all(bounds[-2][:, 0] <= bounds[-2][:, 1])
    assert np.array_equal(bounds[-1][:, 0], bounds[-1][:, 1])  # the median


def test_a_constant_stream_has_intervals_of_width_zero():
    _, bounds = small().learn_many(np.full(300, 5.0), horizon=12, interval=0.99)
    assert np.all(bounds[1:] == 5.0)


def test_intervals_shrink_to_zero_when_a_stream_becomes_constant():
    values = np.concatenate([noise()[:1000], np.full(5000, 3.0)])
    model = small(experts=("last",))
    _, bounds = model.learn_many(values, horizon=12, interval=0.9)
    width = bounds[:, 1] - bounds[:, 0]
    assert width[500:1000].min() > 1
    assert np.all(width[-1] == 0)


@pytest.mark.parametrize("interval", [1.0, 0.991, -0.01, 1.1, np.nan, "0.9", None])
def test_a_share_out_of_range_is_named(interval):
    model = small()
    with pytest.raises(ParameterError, match="interval"):
        model.forecast_interval(2, interval)
    if interval is not None:
        with pytest.raises(ParameterError, match="interval"):
            model.learn_many([1.0], interval=interval)


def test_before_the_first_value_everything_is_nan():
    model = small()
    for _ in range(2):
        assert np.isnan(model.forecast(3)).all()
        assert np.isnan(model.forecast(3 * model.horizon)).all()
        assert np.isnan(model.forecast_interval(3)).all()
        assert np.isnan(model.forecast_quantiles(2, [0.5])).all()
        model.learn_one(np.nan)
    assert np.isnan(small().step(np.nan))
    _, bounds = small().learn_many([np.nan, 7.0, 7.0], interval=0.9)
    assert np.isnan(bounds[:2]).all()
    assert np.array_equal(bounds[2], [[7.0], [7.0]])


@pytest.mark.parametrize("horizon", [3, 12, 15])
def test_learn_many_and_forecast_interval_give_the_same_intervals(horizon):
    values, feature = with_holes(noisy_season())[:400], random_walk(400)
    chunks, loop = small("season"), small("season")
    forecasts, bounds = chunks.learn_many(values, {"f": feature}, None, horizon, interval=0.93)
    for tick, y in enumerate(values):
        if np.isfinite(forecasts[tick, 0]):
            assert loop.forecast(horizon) == forecasts[tick].tolist()
            assert np.array_equal(loop.forecast_interval(horizon, 0.93), bounds[tick].T)
        loop.learn_one(y, {"f": feature[tick]})
    assert loop.forecast_interval(horizon) == chunks.forecast_interval(horizon)


def test_intervals_do_not_change_forecasts():
    values = seasonal(500)
    alone = small("season").learn_many(values, horizon=4)
    forecasts, _ = small("season").learn_many(values, horizon=4, interval=0.8)
    assert np.array_equal(alone, forecasts, equal_nan=True)


def test_asking_for_intervals_does_not_change_the_model():
    model = small("season", known_features=("g",))
    model.learn_many(seasonal(300), {"f": noise()[:300], "g": noise(1)[:300]})
    before = pickle.dumps(model)
    model.forecast_interval(5)
    model.forecast_interval(40, 0.5)
    model.forecast_interval(3, 0.99, [{"f": 1.0}] * 3)
    assert pickle.dumps(model) == before
    copy = pickle.loads(before)
    assert copy.forecast_interval(20) == model.forecast_interval(20)


def test_beyond_the_models_own_horizon_intervals_widen_with_the_root_of_the_horizon():
    model = small(experts=("last",), horizon=6)
    model.learn_many(random_walk(2000))
    bounds, path = model.forecast_interval(24, 0.9), model.forecast(24)
    away = np.array(bounds) - np.array(path)[:, None]
    steps = np.arange(6, 25)
    assert np.allclose(away[5:], away[5] * np.sqrt(steps / 6)[:, None], rtol=1e-9, atol=0)
    assert model.forecast_interval(6, 0.9) == bounds[:6]


def test_quantiles_are_ordered_and_hold_the_ends_of_intervals():
    model = LSTMForecaster(preset="fast", season=24)
    model.learn_many(seasonal(500))
    levels = (0.005, 0.05, 0.3, 0.5, 0.95, 0.995)
    quantiles = model.forecast_quantiles(30, levels)
    assert len(quantiles) == 30
    assert all(list(row) == sorted(row) for row in quantiles)
    ends = [(row[1], row[4]) for row in quantiles]
    assert ends == model.forecast_interval(30, 0.9)


@pytest.mark.parametrize("levels", [(), (0.0,), (0.5, 1.0), (np.nan,), 0.5, ("half",)])
def test_levels_out_of_range_are_named(levels):
    with pytest.raises((ParameterError, InputError), match="levels"):
        LSTMForecaster().forecast_quantiles(1, levels)
