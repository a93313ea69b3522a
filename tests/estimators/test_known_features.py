"""Known features are used at their own tick, ordinary ones with a lag."""

import itertools
import pickle

import numpy as np
import pytest
from streams import mase, random_walk, seasonal

from streamlstm import LSTMForecaster
from streamlstm.errors import InputError, ParameterError
from streamlstm.forecaster import PRESETS

TICKS, TURN = 260, 200
SMALL = {"hidden_size": 6, "window": 5, "horizon": 4, "season": 12}


def model_of(known=("plan",), preset="fast", **arguments):
    return LSTMForecaster(known_features=known, preset=preset, **{**SMALL, **arguments})


def stream(seed=0):
    """The plan of a tick raises it; the sensor of a tick raises the next."""
    rng = np.random.default_rng(seed)
    plan, sensor = rng.normal(size=(2, TICKS))
    values = seasonal(TICKS, seed) + 3 * plan
    values[1:] += 3 * sensor[:-1]
    return values, {"plan": plan, "sensor": sensor}


def rows(features):
    """One dict a tick."""
    return [dict(zip(features, row, strict=True)) for row in zip(*features.values(), strict=True)]


def altered(features, name, tick=TURN):
    return {key: np.where((np.arange(TICKS) == tick) & (key == name), 7.0, f)
            for key, f in features.items()}  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("name", "first"), [("sensor", TURN + 1), ("plan", TURN)])
@pytest.mark.parametrize("known", [("plan",), None])
def test_known_features_count_from_their_tick_and_others_from_the_next(preset, name, first, known):
    """Row t of learn_many was made before tick t was learned."""
    values, features = stream()
    paths = [
        model_of(known, preset).learn_many(values, table, horizon=3)
        for table in (features, altered(features, name))
    ]
    first = first if known == ("plan",) else TURN + 1
    changed = np.any(paths[0] != paths[1], axis=1) & np.isfinite(paths[0][:, 0])
    assert np.flatnonzero(changed)[0] == first
    assert np.all(paths[0][first] != paths[1][first])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_forecast_does_not_use_the_value_of_its_tick(preset):
    values, features = stream()
    other = values.copy()
    other[TURN:] += 100
    paths = [model_of(preset=preset).learn_many(ys, features, horizon=3) for ys in (values, other)]
    assert np.array_equal(paths[0][: TURN + 1], paths[1][: TURN + 1], equal_nan=True)
    assert np.all(paths[0][TURN + 1] != paths[1][TURN + 1])


@pytest.mark.parametrize("preset", PRESETS)
def test_chunks_equal_a_loop_that_passes_known_features(preset):
    values, features = stream()
    values[[0, 1, 90]] = np.nan
    features["plan"][[50, 120]] = np.nan
    chunks, loop = model_of(preset=preset, season="auto"), model_of(preset=preset, season="auto")
    cuts = [0, 1, 40, 64, 65, TICKS]
    chunked = np.vstack(
        [
            chunks.learn_many(values[a:b], {name: f[a:b] for name, f in features.items()})
            for a, b in itertools.pairwise(cuts)
        ]
    )
    for tick, (y, x) in enumerate(zip(values, rows(features), strict=True)):
        forecast = loop.forecast(1, [x])
        assert np.array_equal(forecast, [chunked[tick, 0]], equal_nan=True)
        if tick % 7 == 0:  # an ordinary feature of the tick itself has no effect
            again = loop.forecast(1, [{**x, "sensor": 1e3}])
            assert np.array_equal(again, forecast, equal_nan=True)
        loop.learn_one(y, x)
    assert np.isfinite(chunked[3:]).all()
    assert loop.forecast(6) == chunks.forecast(6)
    assert loop.experts_ == chunks.experts_


def test_known_features_reduce_the_error():
    rng = np.random.default_rng(0)
    steps = rng.normal(size=4000)
    walk = 100 + steps.cumsum() + 0.3 * rng.normal(size=4000)
    errors = {
        known: mase(walk, model_of(known, season=None).learn_many(walk, {"step": steps})[:, 0])
        for known in (("step",), None)
    }
    assert errors[("step",)] < 0.5
    assert errors[None] > 0.85


def test_later_ticks_of_a_path_use_their_own_features():
    """A known feature counts at its own tick, an ordinary one a tick later."""
    values, features = stream()
    model = model_of(experts=("rls",))
    model.learn_many(values, features)
    xs = [{"plan": 0.0, "sensor": 0.0} for _ in range(5)]
    path = model.forecast(5, xs)
    for name, lag in [("plan", 0), ("sensor", 1)]:
        for tick in range(5):
            other = [dict(x) for x in xs]
            other[tick][name] = 1.0
            change = np.subtract(model.forecast(5, other), path)
            first = tick + lag
            assert np.all(change[:first] == 0)
            if first < 5:
                assert 0.5 < change[first] < 5  # the true effect is 3
    up, down = ([{"plan": p, "sensor": 0.0}] * 40 for p in (1.0, -1.0))
    assert np.mean(np.subtract(model.forecast(40, up), model.forecast(40, down))) > 1


def test_without_future_features_the_last_ones_stay():
    values, features = stream()
    model = model_of()
    model.learn_many(values, features)
    last = rows(features)[-1]
    assert model.forecast(3) == model.forecast(3, [last] * 3)


def test_features_may_appear_late():
    values, features = stream()
    model, twin = model_of(), model_of()
    xs = [
        {**({"sensor": x["sensor"]} if tick >= 30 else {}),
         **({"plan": x["plan"] if tick >= 60 else np.nan} if tick >= 30 else {})}
        for tick, x in enumerate(rows(features))
    ]  # fmt: skip
    for tick, (y, x) in enumerate(zip(values, xs, strict=True)):
        path = model.forecast(3, [x] * 3 if tick > 30 else None)
        assert np.isfinite(path).all() or tick == 0
        model.learn_one(y, x)
        if tick == 100:
            twin = pickle.loads(pickle.dumps(model))
        elif tick > 100:
            assert path == twin.forecast(3, [x] * 3)
            twin.learn_one(y, x)
    assert model.forecast(1, [{"plan": 1.0}])[0] > model.forecast(1, [{"plan": -1.0}])[0] + 2


@pytest.mark.parametrize("preset", PRESETS)
def test_forecasts_do_not_change_the_model(preset):
    values, features = stream()
    model = model_of(preset=preset)
    model.learn_many(values[:150], {name: f[:150] for name, f in features.items()})
    before = pickle.dumps(model)
    model.forecast(3)
    model.forecast(9, [{"plan": 1.0}] * 9)
    model.forecast(1, [{"sensor": 5.0}])
    _ = model.experts_
    assert pickle.dumps(model) == before
    copy = pickle.loads(before)
    rest = [
        one.learn_many(values[150:], {name: f[150:] for name, f in features.items()}, None, 5)
        for one in (model, copy)
    ]
    assert np.array_equal(*rest)


def test_a_step_takes_known_columns():
    values = random_walk(200)
    plan = np.append(0.0, np.diff(values))
    stepped, called = model_of((0,)), model_of((0,))
    for y, p in zip(values, plan, strict=True):
        forecast = stepped.step(y, [p])
        called.learn_one(y, {0: p})
        assert [forecast] == called.forecast(1)


def test_a_known_feature_that_is_absent_from_the_first_features_is_an_error():
    model = model_of(("holiday",))
    model.learn_one(1.0)
    with pytest.raises(InputError, match=r"'holiday'.*did you mean 'hoilday'"):
        model.learn_one(2.0, {"hoilday": 1.0})
    with pytest.raises(InputError, match="'holiday'"):
        model.learn_many([2.0, 3.0], {"sensor": [1.0, 2.0]})
    model.learn_one(2.0, {"holiday": None, "sensor": 1.0})
    with pytest.raises(InputError, match=r"'holliday' is new.*did you mean 'holliday'"):
        model.learn_one(3.0, {"holliday": 1.0})
    model.learn_one(3.0, {"holiday": 1.0, "another": 1.0})
    model.learn_one(4.0, {"another": 1.0})


def test_names_must_come_in_a_list_or_tuple():
    assert LSTMForecaster(known_features=["plan"]).known_features == ("plan",)
    with pytest.raises(ParameterError, match="known_features"):
        LSTMForecaster(known_features="plan")
