"""LSTMForecaster: forecasts, order of learning, and bad input."""

import datetime
import pickle

import numpy as np
import pandas as pd
import pytest
from streams import mase, random_walk, seasonal
from twins import ROUNDING, disagreement

from streamlstm import LSTMForecaster
from streamlstm.errors import InputError, ParameterError
from streamlstm.forecaster import PRESETS

HOUR = 3_600_000_000_000


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("season", "horizon"), [(None, 7), (5, 3), ((4, 12), 7), ((30, 60), 3)])
def test_forecasts_follow_the_reference(season, horizon, preset):
    values = seasonal(250, period=12)
    values[[0, 40, 41, 100]] = np.nan
    values[130] += 300
    model = LSTMForecaster(
        hidden_size=6, window=5, season=season, horizon=horizon, preset=preset, drift=False
    )
    assert disagreement(model, values) < ROUNDING[preset]


@pytest.mark.parametrize("preset", PRESETS)
def test_forecasts_with_features_follow_the_reference(preset):
    values, features = seasonal(250, period=12), np.random.default_rng(0).normal(size=(250, 2))
    values[1:] += 3 * features[:-1, 0]
    features[[20, 21, 150], [0, 0, 1]] = np.nan
    model = LSTMForecaster(hidden_size=6, window=5, season=12, horizon=4, preset=preset, stride=3)
    assert disagreement(model, values, features) < ROUNDING[preset]


def test_averages_forget_as_those_of_the_reference():
    model = LSTMForecaster(hidden_size=2, window=2, season=5, horizon=2, preset="fast")
    assert disagreement(model, seasonal(1200, period=10), ahead=3) < ROUNDING["fast"]


def test_starts_as_the_last_value_forecast():
    model = LSTMForecaster()
    assert np.isnan(model.forecast(2)).all()
    model.learn_one(7.0)
    assert model.forecast(3) == [7.0, 7.0, 7.0]


def test_beats_the_last_value_on_a_season_and_equals_it_on_a_random_walk():
    periodic, walk = seasonal(4000), random_walk(4000)
    assert mase(periodic, LSTMForecaster(season=24).learn_many(periodic)[:, 0]) < 0.7
    assert mase(walk, LSTMForecaster().learn_many(walk)[:, 0]) < 1.01


@pytest.mark.parametrize("change", ["values", "features", "missing"])
@pytest.mark.parametrize("season", [12, "auto"])
def test_no_forecast_depends_on_the_future(change, season):
    ticks, turn = 400, 250
    values, feature = seasonal(ticks), random_walk(ticks)
    times = np.arange(ticks) * HOUR
    altered, altered_feature = values.copy(), feature.copy()
    if change == "values":
        altered[turn:] = -1000 * altered[turn:]
    elif change == "missing":
        altered[turn:] = np.nan
    else:
        altered_feature[turn:] = 1e6
    forecasts = []
    for ys, xs in [(values, feature), (altered, altered_feature)]:
        model = LSTMForecaster(hidden_size=8, season=season)
        forecasts.append(model.learn_many(ys, {"f": xs}, times, horizon=3))
    # Row `turn` holds the forecasts made before tick `turn` was learned.
    assert np.array_equal(forecasts[0][: turn + 1], forecasts[1][: turn + 1], equal_nan=True)
    assert not np.array_equal(forecasts[0][turn + 1 :], forecasts[1][turn + 1 :])


def test_a_feature_helps_from_the_tick_after_its_arrival():
    """The feature is the next change: it must help after its arrival and not before."""
    walk = random_walk(6000)
    hint = np.append(np.diff(walk), 0.0)
    informed = LSTMForecaster().learn_many(walk, {"hint": hint})[:, 0]
    known_anyway = LSTMForecaster().learn_many(walk, {"hint": np.append(0.0, np.diff(walk))})[:, 0]
    assert mase(walk, informed) < 0.5
    assert mase(walk, known_anyway) > 0.98


def test_chunks_equal_the_loop_tick_for_tick():
    values, feature = seasonal(300), random_walk(300)
    values[[0, 50, 51]] = np.nan
    feature[60] = np.nan
    times = pd.date_range("2024-01-01", periods=300, freq="h")
    loop, chunks = LSTMForecaster(hidden_size=8), LSTMForecaster(hidden_size=8)
    looped = []
    for y, f, time in zip(values, feature, times, strict=True):
        looped.append(loop.forecast(4))
        loop.learn_one(y, {"f": f, "at": time.to_pydatetime()})
    chunked = np.vstack(
        [
            chunks.learn_many(values[part], {"f": feature[part]}, times[part], horizon=4)
            for part in (slice(0, 1), slice(1, 70), slice(70, 300))
        ]
    )
    seen = np.isfinite(chunked[:, 0])
    assert seen.sum() == 298  # the first value comes at tick 1
    assert np.array_equal(chunked[seen], np.array(looped)[seen])
    assert loop.seasons_ == chunks.seasons_ == (24, 168)
    assert loop.forecast(5) == chunks.forecast(5)


def test_a_step_learns_and_forecasts_as_the_two_calls_do():
    values, features = seasonal(150), np.random.default_rng(0).normal(size=(150, 12))
    values[:2] = values[90] = np.nan
    stepped, called = LSTMForecaster(season=12), LSTMForecaster(season=12)
    for y, x in zip(values, features, strict=True):
        forecast = stepped.step(y, x)
        called.learn_one(y, dict(enumerate(x.tolist())))
        assert np.array_equal([forecast], called.forecast(1), equal_nan=True)
    assert LSTMForecaster().step(5.0) == 5.0


@pytest.mark.parametrize("x", [[1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]], 1.0])
def test_a_step_with_other_features_is_refused(x):
    model = LSTMForecaster()
    model.step(1.0, [1.0, 2.0])
    with pytest.raises(InputError, match=r"shape|known are 0, 1"):
        model.step(2.0, x)


def test_forecasting_does_not_change_the_model():
    model = LSTMForecaster(season=6)
    model.learn_many(seasonal(200), {"f": np.arange(200.0)})
    before = pickle.dumps(model)
    model.forecast(20)
    model.forecast(3, [{"f": 1.0}, {"f": 2.0}, {"f": None}])
    assert pickle.dumps(model) == before


def test_a_pickled_model_continues_like_the_original():
    values = seasonal(400)
    model = LSTMForecaster(season=24)
    model.learn_many(values[:300])
    copy = pickle.loads(pickle.dumps(model))
    assert np.array_equal(copy.learn_many(values[300:]), model.learn_many(values[300:]))


def test_equal_seeds_give_equal_forecasts():
    values = seasonal(500)
    runs = [LSTMForecaster(seed=seed).learn_many(values) for seed in (1, 1, 2, None, None)]
    assert np.array_equal(runs[0], runs[1], equal_nan=True)
    assert not np.array_equal(runs[0], runs[2], equal_nan=True)
    assert not np.array_equal(runs[3], runs[4], equal_nan=True)


def test_future_features_change_the_iterated_forecast():
    walk = random_walk(4000)
    hint = np.append(np.diff(walk), 0.0)
    model = LSTMForecaster()
    model.learn_many(walk, {"hint": hint})
    up, down = ([{"hint": sign * 2.0}] * 3 for sign in (1, -1))
    assert model.forecast(3, up)[0] == model.forecast(3, down)[0]
    assert model.forecast(3, up)[2] > model.forecast(3, down)[2]
    assert model.forecast(3) == model.forecast(3, [{"hint": 0.0}] * 3)


@pytest.mark.parametrize("missing", [None, np.nan, np.inf, -np.inf, 1e301])
def test_a_missing_value_trains_nothing_and_forecasts_stay_finite(missing):
    model = LSTMForecaster()
    model.learn_many(seasonal(100))
    weights = model._network.weights.copy()
    model.learn_one(missing)
    assert np.array_equal(model._network.weights, weights)
    assert np.isfinite(model.forecast(3)).all()


def test_a_feature_that_was_never_learned_is_an_error_in_xs():
    model = LSTMForecaster(preset="fast", season=6)
    model.learn_many(seasonal(50), {"temperature": np.arange(50.0)})
    with pytest.raises(InputError, match=r"'temprature'.*did you mean 'temperature'"):
        model.forecast(1, [{"temprature": 3.0}])
    with pytest.raises(InputError, match="'temprature'"):
        model.forecast_interval(2, 0.9, pd.DataFrame({"temprature": [1.0, 2.0]}))


def test_future_features_may_be_a_data_frame():
    model = LSTMForecaster(preset="fast", season=6)
    model.learn_many(seasonal(50), pd.DataFrame({"a": np.arange(50.0), "b": np.ones(50)}))
    rows = [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": np.nan}]
    frame = pd.DataFrame(rows, index=[7, 8])
    assert model.forecast(2, frame) == model.forecast(2, rows)
    assert model.forecast_quantiles(2, [0.1], frame) == model.forecast_quantiles(2, [0.1], rows)
    with pytest.raises(InputError, match="3 steps"):
        model.forecast(3, frame)
    for wrong in ({"a": 1.0}, [1.0], pd.Series([1.0]), 1.0):
        with pytest.raises(InputError, match="xs must be"):
            model.forecast(1, wrong)


def test_parameters_may_be_lists_and_numpy_numbers():
    model = LSTMForecaster(
        hidden_size=np.int64(4), season=[np.int32(4), 8], experts=["last", "rls"],
        learning_rate=np.float32(0.5), horizon=np.int64(3), drift=np.False_, preset="fast",
    )  # fmt: skip
    given = model.hidden_size, model.season, model.experts, model.learning_rate, model.drift
    assert given == (4, (4, 8), ("last", "rls"), 0.5, False)
    assert all(type(each) in (int, tuple, float, bool) for each in given)
    assert len(model.forecast(np.int64(2))) == 2
    for wrong in ({"hidden_size": 4.0}, {"hidden_size": np.True_}, {"season": [24.0]}):
        with pytest.raises(ParameterError):
            LSTMForecaster(**wrong)


def test_a_model_displays_its_state():
    model = LSTMForecaster(hidden_size=4, season=4, preset="fast")
    model.learn_many(seasonal(300, period=4), {"wind": np.ones(300)})
    text, table = repr(model), model._repr_html_()
    assert str(model) == text
    for part in ("hidden_size=4", "ticks 300", "seasons 4", "wind", "experts "):
        assert part in text
    assert "window" not in text  # defaults are not shown
    for part in ("<table>", "window", "300", "wind", "drift events"):
        assert part in table


@pytest.mark.parametrize("run", [1, 12])
def test_missing_values_do_not_spoil_the_profile_of_a_season(run):
    """A fifth of the values is missing; the error on the others hardly grows."""
    values, there = seasonal(4000), np.ones(4000, bool)
    for start in np.random.default_rng(0).integers(100, 4000 - run, 960 // run):
        there[start : start + run] = False
    errors = [
        np.abs(values - LSTMForecaster(preset="fast", season=24).learn_many(ys)[:, 0])[there][800:]
        for ys in (values, np.where(there, values, np.nan))
    ]
    assert errors[1].mean() < 1.05 * errors[0].mean()


@pytest.mark.parametrize(
    ("y", "x"), [("12", None), (1.0, {"colour": "red"}), (1.0, {"a": [1.0]}), ({}, None)]
)
def test_bad_input_is_named_and_does_not_change_the_model(y, x):
    model = LSTMForecaster()
    model.learn_many(seasonal(50))
    before = pickle.dumps(model)
    with pytest.raises(InputError, match=r"y|colour|'a'"):
        model.learn_one(y, x)
    assert pickle.dumps(model) == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"ys": [[1.0, 2.0]]},
        {"ys": ["a"]},
        {"ys": [1.0, 2.0], "features": {"f": [1.0]}},
        {"ys": [1.0], "features": [1.0]},
        {"ys": [1.0, 2.0], "timestamps": [1]},
        {"ys": [1.0], "timestamps": ["yesterday"]},
        {"ys": [1.0], "horizon": 0},
    ],
)
def test_bad_arrays_do_not_change_the_model(arguments):
    model = LSTMForecaster()
    before = pickle.dumps(model)
    with pytest.raises((InputError, ParameterError)):
        model.learn_many(**arguments)
    assert pickle.dumps(model) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", 0),
        ("hidden_size", 2.5),
        ("num_layers", 0),
        ("window", -1),
        ("stride", 21),
        ("learning_rate", -0.1),
        ("learning_rate", float("nan")),
        ("clip_norm", 0.0),
        ("optimizer", "lbfgs"),
        ("loss", "mse"),
        ("preset", "slow"),
        ("replay", 8),
        ("replay", -16),
        ("weight_decay", -0.1),
        ("horizon", 0),
        ("season", 1),
        ("season", "weekly"),
        ("season", (24, 7.5)),
        ("season", ()),
        ("experts", ()),
        ("experts", ("lstm", "arima")),
        ("experts", "lstm"),
    ],
)
def test_bad_parameters_are_named(name, value):
    with pytest.raises(ParameterError, match=name):
        LSTMForecaster(**{name: value})


def test_bad_forecast_arguments_are_named():
    model = LSTMForecaster()
    with pytest.raises(ParameterError, match="horizon"):
        model.forecast(0)
    with pytest.raises(InputError, match="2 entries, expected one for each of 3"):
        model.forecast(3, [{}, {}])


def test_seasons_are_found_from_datetimes_among_the_features():
    model = LSTMForecaster()
    start = datetime.datetime(2024, 1, 1)
    for n, y in enumerate(seasonal(66)):
        model.learn_one(y, {"at": start + datetime.timedelta(minutes=30 * n)})
        assert model.seasons_ == ((48, 336) if n > 62 else ())


def test_summary_lists_layers_and_counts(capsys):
    LSTMForecaster(hidden_size=50, season=None).summary()
    shown = capsys.readouterr().out
    assert "lstm (LSTM)" in shown
    assert "12,624" in shown  # 4 (50 (50 + 6) + 50) + 24 (50 + 1)
    assert "level, change, rls_1" in shown
