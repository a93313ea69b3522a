"""LSTMRegressor: memory, features that come and go, chunks and bad input."""

import pickle

import numpy as np
import pandas as pd
import pytest
from streams import random_walk

from streamlstm import LSTMRegressor
from streamlstm.errors import InputError, ParameterError


def noise(ticks, features=3, seed=0):
    return np.random.default_rng(seed).normal(size=(ticks, features))


def test_learns_a_task_that_needs_memory():
    x = noise(6000, 1)
    y = np.append([0.0, 0.0], x[:-2, 0]) * 5 + 100
    model = LSTMRegressor(learning_rate=0.005)
    errors = np.abs(model.learn_many(x, y) - y)
    assert errors[-1000:].mean() < 0.15 * errors[:200].mean()


def test_starts_as_the_running_mean():
    model = LSTMRegressor()
    assert model.predict_one({"a": 1.0}) == 0.0
    model.learn_one({"a": 1.0}, 4.0)
    assert model.predict_one({"a": 2.0}) == 4.0


def test_chunks_equal_the_loop_tick_for_tick():
    x, y = noise(200), random_walk(200)
    x[5, 1] = y[7] = np.nan
    names = ["a", "b", "c"]
    loop, chunks = LSTMRegressor(hidden_size=8), LSTMRegressor(hidden_size=8)
    looped = []
    for row, target in zip(x, y, strict=True):
        tick = dict(zip(names, row.tolist(), strict=True))
        looped.append(loop.predict_one(tick))
        loop.learn_one(tick, target)
    frame = pd.DataFrame(x, columns=names)
    chunked = np.append(chunks.learn_many(frame[:1], y[:1]), chunks.learn_many(frame[1:], y[1:]))
    assert np.array_equal(chunked, looped)


def test_a_step_predicts_and_learns_as_the_two_calls_do():
    x, y = noise(100, 12), random_walk(100)
    stepped, called = LSTMRegressor(hidden_size=8), LSTMRegressor(hidden_size=8)
    for row, target in zip(x, y, strict=True):
        tick = dict(enumerate(row.tolist()))
        expected = called.predict_one(tick)
        called.learn_one(tick, target)
        assert stepped.step(row, target) == expected


def test_read_only_arrays_of_any_kind_need_no_new_kernels(capfd):
    x, y = noise(50), random_walk(50)
    model = LSTMRegressor(hidden_size=8)
    expected = model.learn_many(x, y)
    model.step(x[0], 1.0)
    capfd.readouterr()
    x.flags.writeable = y.flags.writeable = False
    for given in (x, np.asfortranarray(x), pd.DataFrame(x)):
        assert np.array_equal(LSTMRegressor(hidden_size=8).learn_many(given, y), expected)
    model.step(x[0], 1.0)
    model.step(x[::2, 0][:3].astype(np.float32), 1.0)
    assert "compiling" not in capfd.readouterr().err


def test_an_array_is_refused_if_the_features_have_names():
    model = LSTMRegressor()
    model.learn_one({"a": 1.0, "b": 2.0}, 1.0)
    with pytest.raises(InputError, match="known are 'a', 'b'"):
        model.step([1.0, 2.0], 1.0)


def test_no_prediction_depends_on_the_future():
    x, y = noise(100), random_walk(100)
    predictions = []
    for factor in (1.0, -1e6):
        later_x, later_y = x.copy(), y.copy()
        later_x[61:] *= factor
        later_y[60:] *= factor
        predictions.append(LSTMRegressor(hidden_size=8).learn_many(later_x, later_y))
    assert np.array_equal(predictions[0][:61], predictions[1][:61])
    assert not np.array_equal(predictions[0][61:], predictions[1][61:])


def test_features_may_appear_vanish_and_return_in_any_order():
    model, reordered = LSTMRegressor(hidden_size=8), LSTMRegressor(hidden_size=8)
    rng = np.random.default_rng(0)
    for n in range(100):
        tick = {name: float(rng.normal()) for name in "abcdef"[: 1 + n // 10] if rng.random() > 0.3}
        model.learn_one(tick, n % 7)
        reordered.learn_one(dict(reversed(tick.items())), n % 7)
    assert model.predict_one({"a": 1.0, "d": 2.0}) == reordered.predict_one({"d": 2.0, "a": 1.0})


def test_a_new_feature_changes_no_prediction_until_it_is_learned():
    model = LSTMRegressor(hidden_size=8)
    x, y = noise(50, 2), random_walk(50)
    for row, target in zip(x, y, strict=True):
        model.learn_one({"a": row[0], "b": row[1]}, target)
    before = model.predict_one({"a": 0.3, "b": 0.1})
    assert model.predict_one({"a": 0.3, "b": 0.1, "new": 9.0}) == before
    model._add_features(["new"])
    assert model.predict_one({"a": 0.3, "b": 0.1}) == pytest.approx(before, rel=1e-6)


def test_initial_weights_depend_on_the_name_not_on_the_order_of_arrival():
    first, second = LSTMRegressor(), LSTMRegressor()
    for model, names in [(first, ["a", "b"]), (second, ["b", "a"])]:
        for name in names:
            model._add_features([name])
    rows = {
        model: dict(zip(model._network.inputs, model._network.params["w_l0"][32:], strict=True))
        for model in (first, second)
    }
    for name in "ab":
        assert np.array_equal(rows[first][name], rows[second][name])


def test_predicting_does_not_change_the_model():
    model = LSTMRegressor()
    model.learn_many(noise(50), random_walk(50))
    before = pickle.dumps(model)
    model.predict_one({0: 1.0, "unknown": 2.0})
    assert pickle.dumps(model) == before


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ({"a": "red"}, 1.0),
        ({"a": 1.0}, "high"),
        ({"a": 10**400}, 1.0),
        ({"a": 1.0, "new": object()}, 1.0),
    ],
)
def test_bad_input_does_not_change_the_model(x, y):
    model = LSTMRegressor()
    model.learn_one({"a": 1.0}, 2.0)
    before = pickle.dumps(model)
    with pytest.raises(InputError):
        model.learn_one(x, y)
    assert pickle.dumps(model) == before


def test_arrays_of_unequal_length_are_refused():
    with pytest.raises(InputError, match="has 3 ticks, expected 2"):
        LSTMRegressor().learn_many(noise(3), [1.0, 2.0])


def test_lstm_50_on_one_input_counts_10451(capsys):
    model = LSTMRegressor(hidden_size=50)
    model.learn_one({"price": 1.0}, 1.0)
    model.summary()
    assert "Total params: 10,451" in capsys.readouterr().out


def test_the_learning_rate_may_follow_a_schedule():
    x, y = np.ones((50, 1)), np.arange(50.0)
    model = LSTMRegressor(4, learning_rate=0.01)
    model.learn_many(x, y)
    before = model._network.weights.copy()
    model.learning_rate = 0.0
    model = pickle.loads(pickle.dumps(model))
    model.learn_many(x, y)
    params = before.size // 3
    assert np.array_equal(model._network.weights[:params], before[:params])
    assert model.clone().learning_rate == 0.0
    with pytest.raises(ParameterError, match="learning_rate must be positive"):
        model.learning_rate = -1.0
    assert model.learning_rate == 0.0
