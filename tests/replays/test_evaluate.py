"""Scores of whole paths of forecasts, and river's own figures."""

import pickle
import subprocess
import sys
from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest
from river import datasets, evaluate, linear_model, metrics, preprocessing, time_series
from same import same
from streams import random_walk, seasonal

from streamlstm import LSTMForecaster
from streamlstm.errors import InputError, ParameterError
from streamlstm.replays import blocks
from streamlstm.replays.evaluate import evaluate as score
from streamlstm.replays.scores import FleetResult, FleetScore, Result, Score, fleet_result
from streamlstm.snapshots import snapshot

HORIZON = 5
SCALED = preprocessing.StandardScaler() | linear_model.LinearRegression()


class Ramp(time_series.base.Forecaster):
    """Knows that each value is one more than the one before."""

    def learn_one(self, y, x=None):
        self.last = y

    def forecast(self, horizon, xs=None):
        return [self.last + k for k in range(1, horizon + 1)]


class LastValue(Ramp):
    def learn_one(self, y, x=None):
        if np.isfinite(y):
            self.last = y

    def forecast(self, horizon, xs=None):
        return [self.last] * horizon


class Recorder(LastValue):
    """Keeps what it is given."""

    def __init__(self):
        self.learned, self.asked = [], []

    def learn_one(self, y, x=None):
        super().learn_one(y)
        self.learned.append((y, x))

    def forecast(self, horizon, xs=None):
        self.asked.append((len(self.learned), xs))
        return super().forecast(horizon)


class Silent(LastValue):
    def __init__(self, forecast):
        self.says = forecast

    def forecast(self, horizon, xs=None):
        return [self.says] * horizon


def by_hand(values, model, horizon):
    """MAE, RMSE and MASE of each step, strict, a loop at a time."""
    errors = [[] for _ in range(horizon)]
    naive = [[] for _ in range(horizon)]
    last = np.nan
    for t, y in enumerate(values):
        if values.size // 10 <= t <= values.size - horizon:
            for k, forecast in enumerate(model.forecast(horizon)):
                if np.isfinite(values[t + k]):
                    errors[k].append(abs(forecast - values[t + k]))
                    naive[k].append(abs(last - values[t + k]))
        model.learn_one(y)
        last = y if np.isfinite(y) else last
    for mine, theirs in zip(errors, naive, strict=True):
        yield np.mean(mine), np.sqrt(np.mean(np.square(mine))), np.mean(mine) / np.mean(theirs)


def test_a_perfect_ramp_is_perfect_only_when_strict():
    ramp = range(200)
    assert [result.mae for result in score(Ramp(), ramp, horizon=4)] == [0.0] * 4
    assert [result.rmse for result in score(Ramp(), ramp, horizon=4)] == [0.0] * 4
    assert [result.mae for result in score(Ramp(), ramp, horizon=4, protocol="river")] == [1.0] * 4
    theirs = evaluate.evaluate(((None, float(y)) for y in ramp), Ramp(), metrics.MAE(), horizon=4)
    assert theirs.get() == [1.0] * 4


@pytest.mark.parametrize(
    ("model", "horizon"),
    [
        (time_series.HoltWinters(0.3, 0.1, 0.6, seasonality=12, multiplicative=True), 12),
        (time_series.SNARIMAX(p=12, d=1, q=0, regressor=SCALED), 1),
        (time_series.SNARIMAX(p=12, d=1, q=0, regressor=SCALED), 7),
        (LSTMForecaster(season=12), 1),
        (LSTMForecaster(season=12), 12),
    ],
)
def test_figures_of_river_are_those_of_river(model, horizon):
    xs = [{"month": float(n % 12)} for n in range(144)]
    ys = [y for _, y in datasets.AirlinePassengers()]
    ours = score(model.clone(), ys, xs, horizon, protocol="river")
    for name, metric in [("mae", metrics.MAE()), ("rmse", metrics.RMSE())]:
        stream = zip(xs, ys, strict=True)
        theirs = evaluate.evaluate(stream, model.clone(), metric, horizon).get()
        assert [getattr(result, name) for result in ours] == pytest.approx(theirs)


def test_river_makes_a_good_forecaster_look_worse():
    xs, ys = zip(*datasets.AirlinePassengers(), strict=True)
    model = time_series.HoltWinters(0.3, 0.1, 0.6, seasonality=12, multiplicative=True)
    mae = {
        protocol: np.mean([r.mae for r in score(model.clone(), ys, xs, 12, protocol)])
        for protocol in ("strict", "river")
    }
    assert mae["strict"] < 0.6 * mae["river"]


def test_strict_figures_are_those_worked_out_by_hand():
    values = random_walk(307)
    values[[0, 50, 51, 200, 306]] = np.nan
    values[120] = np.inf
    expected = list(by_hand(values, LSTMForecaster(), HORIZON))
    results = score(LSTMForecaster(), values, horizon=HORIZON)
    np.testing.assert_allclose([(r.mae, r.rmse, r.mase) for r in results], expected)


def test_one_step_is_what_score_says():
    values = seasonal(500)
    values[::17] = np.nan
    total = Score()
    total.update(values, LSTMForecaster().learn_many(values)[:, 0])
    (result,) = score(LSTMForecaster(), values)
    assert (result.ticks, result.scored) == (500, total.result().scored)
    assert result.mae == pytest.approx(total.result().mae)
    assert result.rmse == pytest.approx(total.result().rmse)
    assert result.mase == pytest.approx(total.result().mase)


def test_coverage_counts_the_scored_ticks_whose_intervals_hold_them():
    values = np.array([9.0, 9.0, *range(18)])
    forecasts = np.full(20, 8.0)
    bounds = np.column_stack([forecasts - 3, forecasts + 1])  # 5 to 9, ends included
    values[8], forecasts[9] = np.nan, np.nan  # would be 6 and 7
    total = Score()
    for part in (slice(0, 7), slice(7, 20)):
        total.update(values[part], forecasts[part], bounds[part])
    result = total.result()
    assert result.scored == 16
    assert result.coverage == pytest.approx(3 / 16)
    assert result.interval_width == 4.0


def test_coverage_of_normal_noise():
    values = np.random.default_rng(0).normal(size=20_000)
    total = Score()
    total.update(values, np.zeros_like(values), np.tile([-1.6449, 1.6449], (values.size, 1)))
    assert total.result().coverage == pytest.approx(0.9, abs=0.01)


def test_an_interval_of_width_zero_holds_its_value():
    total = Score()
    forecasts, bounds = LSTMForecaster().learn_many(np.ones(50), interval=0.9)
    total.update(np.ones(50), forecasts[:, 0], bounds[:, :, 0])
    assert (total.result().coverage, total.result().interval_width) == (1.0, 0.0)


@pytest.mark.parametrize("bounds", [None, np.full((4, 2), np.nan)])
def test_no_coverage_without_intervals(bounds):
    total = Score()
    assert total.result() == Result(0, 0, None, None, None)
    total.update(np.arange(4.0), np.array([np.nan, 1.0, 2.0, 3.0]), bounds)
    assert total.result() == Result(4, 3, 0.0, 0.0, 0.0)
    assert total.result().coverage is None
    assert total.result().interval_width is None


def test_a_path_is_that_of_learn_many():
    values = seasonal(400)
    paths = LSTMForecaster().learn_many(values, horizon=3)
    results = score(LSTMForecaster(), values, horizon=3)
    made = np.arange(40, 398)
    for k, result in enumerate(results):
        assert result.scored == made.size
        assert result.mae == pytest.approx(np.abs(paths[made, k] - values[made + k]).mean())


@pytest.mark.parametrize("protocol", ["strict", "river"])
def test_the_last_value_is_the_measure(protocol):
    values = random_walk(300)
    values[90:95] = np.nan
    results = score(LastValue(), values, horizon=HORIZON, protocol=protocol)
    assert [result.mase for result in results] == pytest.approx([1.0] * HORIZON)


@pytest.mark.parametrize("protocol", ["strict", "river"])
def test_features_are_those_of_the_ticks_compared_with(protocol):
    xs = [{"tick": float(t)} for t in range(40)]
    model = Recorder()
    score(model, np.arange(40.0), xs, 3, protocol)
    assert model.learned == [(float(t), xs[t]) for t in range(40)]
    skipped = protocol == "river"
    assert model.asked == [
        (t, xs[t + skipped : t + skipped + 3]) for t in range(3 if skipped else 4, 38 - skipped)
    ]


def test_features_known_ahead_help():
    rng = np.random.default_rng(0)
    xs = [{"x": float(x)} for x in rng.normal(size=600)]
    ys = [2 * x["x"] for x in xs]
    model = time_series.SNARIMAX(p=0, d=0, q=0, regressor=linear_model.LinearRegression())
    assert all(result.mase < 0.1 for result in score(model, ys, xs, 3))


@pytest.mark.parametrize("protocol", ["strict", "river"])
@pytest.mark.parametrize("ys", [[], [1.0], [1.0, 2.0, 3.0], [np.nan] * 50])
def test_nothing_to_score(ys, protocol):
    results = score(Silent(0.0), ys, horizon=4, protocol=protocol)
    assert results == [Result(len(ys), 0, None, None, None)] * 4


def test_nothing_is_scored_before_the_first_value():
    values = np.concatenate([np.full(30, np.nan), np.arange(70.0)])
    assert score(Silent(0.0), values)[0].scored == 69


@pytest.mark.parametrize("forecast", [np.nan, np.inf])
def test_a_forecast_that_is_no_number_is_not_passed_over(forecast):
    (result,) = score(Silent(forecast), random_walk(50))
    assert result.scored == 45
    assert np.isnan([result.mae, result.rmse, result.mase]).all()


def test_a_constant_stream_has_no_mase():
    (result,) = score(LastValue(), np.ones(50))
    assert result == Result(50, 45, 0.0, 0.0, None)


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (ParameterError, {"protocol": "rivers"}),
        (ParameterError, {"horizon": 0}),
        (InputError, {"xs": [{}] * 19}),
        (InputError, {"ys": ["one", "two"]}),
        (InputError, {"ys": np.ones((4, 4))}),
    ],
)
def test_wrong_arguments_leave_the_model_alone(error, arguments):
    model = Recorder()
    with pytest.raises(error):
        score(model, **{"ys": np.ones(20), **arguments})
    assert model.learned == []


def test_a_path_of_another_length_is_refused():
    class Short(LastValue):
        def forecast(self, horizon, xs=None):
            return [self.last]

    with pytest.raises(ValueError, match="reshape"):
        score(Short(), range(20), horizon=3)


def test_import_leaves_river_out():
    code = "import sys, streamlstm.replays.evaluate; print('river' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert output.strip() == "False"


def test_scores_of_many_streams_are_those_of_each_alone():
    """Ragged batches, streams that come late, missing values, with and without intervals."""
    rng = np.random.default_rng(0)
    together, alone = FleetScore(), {}
    for size in [1, 0, 40, 3, 200, 1]:
        keys = [f"s{n}" for n in rng.integers(0, 1 + 2 * len(alone), size)]
        values, forecasts = rng.normal(size=(2, size))
        values[rng.random(size) < 0.2], forecasts[rng.random(size) < 0.1] = np.nan, np.nan
        bounds = None if size == 40 else np.column_stack([forecasts - 1, forecasts + 0.5])
        together.update(keys, values, forecasts, bounds)
        for key in dict.fromkeys(keys):
            of_key = np.array([name == key for name in keys])
            around = None if bounds is None else bounds[of_key]
            alone.setdefault(key, Score()).update(values[of_key], forecasts[of_key], around)
    assert list(together.results()) == list(alone)
    assert len(alone) > 10
    for key, result in together.results().items():
        assert result == alone[key].result()
        assert same(together.curve(key), alone[key].curve())


def test_no_stream_has_no_result():
    assert FleetScore().results() == {}
    assert fleet_result([]) == FleetResult(0, 0, 0, None, None, None, None)


def test_the_sum_of_many_streams():
    ratios = [0.5, 2.0, 4.0, None]
    results = [Result(20, 10 + n, 1.0, 1.0, ratio, n / 4) for n, ratio in enumerate(ratios)]
    total = fleet_result([*results, Result(5, 0, None, None, None)])
    assert (total.streams, total.ticks, total.scored) == (5, 85, 46)
    assert total.mase_median == 2.0
    assert total.mase_mean == pytest.approx(4 ** (1 / 3))
    assert total.above_last_value == 2 / 3
    assert total.coverage == pytest.approx((11 * 0.25 + 12 * 0.5 + 13 * 0.75) / 46)
    assert fleet_result([Result(20, 10, 0.0, 0.0, 0.0), results[0]]).mase_mean == 0.0


def ticks_to_score(ticks):
    """Values, forecasts and bounds, some of them missing, others very large."""
    rng = np.random.default_rng(0)
    values, forecasts = rng.normal(size=(2, ticks)) * 10.0 ** rng.integers(0, 160, (1, ticks))
    values[rng.random(ticks) < 0.2], forecasts[rng.random(ticks) < 0.1] = np.nan, np.nan
    bounds = np.column_stack([forecasts - 1, forecasts + 1e150])
    bounds[rng.random(ticks) < 0.3] = np.nan
    return values, forecasts, bounds


def from_tick(start, values, forecasts, bounds):
    """Figures of the ticks from one on, all at once."""
    errors = np.abs(forecasts - values)
    naive = np.abs(pd.Series(values).ffill().shift().to_numpy() - values)
    scored = np.isfinite(errors) & (np.arange(values.size) >= start)
    (lower, upper), largest = bounds[scored].T, errors[scored].max()
    inside = ((lower <= values[scored]) & (values[scored] <= upper))[~np.isnan(lower)]
    return Result(
        values.size,
        int(scored.sum()),
        errors[scored].mean(),
        largest * np.sqrt(np.mean((errors[scored] / largest) ** 2)),
        errors[scored].mean() / naive[scored].mean(),
        inside.mean(),
        np.nanmean(upper - lower),
    )


@pytest.mark.parametrize(
    ("ticks", "start"),
    [
        (blocks.KEPT, blocks.KEPT // 10),
        (blocks.KEPT + 1, 13_106),  # 13,107 is amidst a block of 2, such as begin after 8192
        (700_000, 70_000),
        (1_234_567, 123_456 - 123_456 % 16),
    ],
)
def test_figures_of_long_streams_are_those_of_all_ticks_from_a_block_on(ticks, start):
    given = ticks_to_score(ticks)
    score = Score()
    for part in np.array_split(np.arange(ticks), 30):
        score.update(*(each[part] for each in given))
    expected = from_tick(start, *given)
    if ticks <= blocks.KEPT:
        assert score.result() == expected
    else:
        assert astuple(score.result()) == pytest.approx(astuple(expected), rel=1e-12, abs=0)
        assert score.result().scored == expected.scored


def test_figures_do_not_depend_on_how_ticks_are_batched(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "KEPT", 5000)
    monkeypatch.setattr(blocks, "WAITING", 300)
    rng, given = np.random.default_rng(1), ticks_to_score(20_000)
    keys = [f"s{n}" for n in (20 * rng.random(20_000) ** 2).astype(int)]
    one, many = [Score(), Score()], [FleetScore(), FleetScore()]
    for n, most in enumerate([8192, 700]):
        start = 0
        while start < 20_000:
            part = slice(start, start := start + 1 + rng.integers(most))
            one[n].update(*(each[part] for each in given))
            many[n].update(keys[part], *(each[part] for each in given))
            if n:
                snapshot.save(LSTMForecaster(), tmp_path / "a.snapshot", (one[1], many[1]))
                one[1], many[1] = snapshot.load(tmp_path / "a.snapshot").position
    assert same(*one)
    assert same(*many)
    assert one[0].result() == one[1].result()
    assert many[0].results() == many[1].results()
    for key, result in many[0].results().items():
        of_key = np.array([name == key for name in keys])
        alone = [each[of_key] for each in given]
        tenth = int(0.1 * result.ticks)
        size = 1 << max(tenth // 64, 1).bit_length() - 1
        expected = astuple(from_tick(tenth - tenth % size, *alone))
        assert astuple(result) == pytest.approx(expected, rel=1e-12, abs=0)


def held(score):
    """Bytes of what a score keeps."""
    return len(pickle.dumps(score))


def test_scores_of_one_stream_and_of_many_do_not_grow_with_the_ticks():
    one, many, sizes = Score(), FleetScore(), []
    values, keys = np.zeros(50_000), [f"s{n % 100}" for n in range(50_000)]
    for n in range(1, 81):
        one.update(values, values + n)
        many.update(keys, values, values + n)
        if n in (10, 20, 40, 80):
            sizes.append((held(one), held(many)))
    assert (np.diff(sizes, axis=0) < 600_000).all(), "while the ticks double"
    assert (np.array(sizes) < 5e6).all()


def test_values_and_features_may_be_data_frames():
    table = pd.DataFrame({"y": random_walk(60), "hour": np.arange(60.0) % 24})
    rows = [{"hour": hour} for hour in table["hour"]]
    model = time_series.SNARIMAX(p=2, d=0, q=0, regressor=SCALED)
    expected = score(model.clone(), table["y"].tolist(), rows, 2)
    for ys in (table["y"], table[["y"]]):
        for xs in (table["hour"], table[["hour"]]):
            assert score(model.clone(), ys, xs, 2) == expected
    with pytest.raises(InputError, match="one dimension"):
        score(model.clone(), table)
