"""LSTMMultiTargetRegressor: targets with different scales, late targets, missing targets."""

import math
import pickle

import numpy as np
import pandas as pd
import pytest

from streamlstm import LSTMMultiTargetRegressor, LSTMRegressor
from streamlstm.errors import InputError


def stream(ticks, seed=0):
    """A walk, and as targets its values one and two ticks ago, the latter in other units."""
    x = np.random.default_rng(seed).normal(size=ticks)
    targets = {"one": np.append(0.0, x[:-1]), "two": 1e6 + 1e3 * np.append([0.0, 0.0], x[:-2])}
    return pd.DataFrame({"x": x}), pd.DataFrame(targets)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_learns_targets_of_different_scales(cell):
    X, y = stream(4000)
    model = LSTMMultiTargetRegressor(16, cell=cell, learning_rate=0.01)
    predictions = pd.DataFrame(model.learn_many(X, y), columns=model.targets_)
    errors = (predictions - y).abs()[-500:].mean()
    assert (errors < 0.25 * (y - y.mean()).abs().mean()).all()


def test_one_target_is_the_regressor_to_the_last_bit():
    X, y = stream(300)
    one, several = LSTMRegressor(8), LSTMMultiTargetRegressor(8)
    assert np.array_equal(one.learn_many(X, y["two"]), several.learn_many(X, y[["two"]])[:, 0])
    assert one.predict_one({"x": 0.3}) == several.predict_one({"x": 0.3})["two"]


def test_chunks_equal_the_loop_tick_for_tick():
    X, y = stream(120)
    y.loc[40:50, "one"] = np.nan
    y["late"] = [None] * 60 + [1.0, 2.0] * 30
    loop, chunks = LSTMMultiTargetRegressor(8), LSTMMultiTargetRegressor(8)
    looped = []
    for x, targets in zip(X.to_dict("records"), y.to_dict("records"), strict=True):
        looped.append(loop.predict_one(x))
        loop.learn_one(x, targets)
    chunked = [*chunks.learn_many(X[:50], y[:50]), *chunks.learn_many(X[50:], y[50:])]
    assert loop.targets_ == chunks.targets_ == ["late", "one", "two"]
    for by_name, row in zip(looped[1:], chunked[1:], strict=True):
        assert list(by_name.values()) == row.tolist()


def test_targets_may_appear_and_vanish():
    model = LSTMMultiTargetRegressor(4)
    assert model.predict_one({"x": 1.0}) == {}
    model.learn_one({"x": 1.0}, {})
    model.learn_one({"x": 1.0}, {"b": 5.0})
    assert model.predict_one({"x": 1.0}) == {"b": 5.0}
    model.learn_one({"x": 1.0, "z": 2.0}, {"a": -3.0})
    assert model.predict_one({"x": 1.0}) == {"b": 5.0, "a": -3.0}
    model.learn_one({"x": 1.0}, {"b": 7.0, "a": math.nan})
    prediction = model.predict_one({"x": 1.0})
    assert prediction["a"] == -3.0
    assert prediction["b"] == pytest.approx(6.0, abs=0.5)


def test_a_new_target_does_not_change_the_scaling_of_others():
    X, y = stream(200)
    kept = []
    for late in ({}, {"late": math.nan}):
        model = LSTMMultiTargetRegressor(8)
        model.learn_many(X[:150], y[:150])
        model.learn_one({"x": 0.0}, {"one": 0.0, **late})
        kept.append([model.predict_one(x)["two"] for x in X[150:].to_dict("records")])
    assert kept[0] == kept[1]


def test_no_prediction_depends_on_the_future():
    X, y = stream(100)
    changed_X, changed_y = X.copy(), y.copy()
    changed_X[61:], changed_y[60:] = 99.0, -5.0
    kept = [
        LSTMMultiTargetRegressor(8).learn_many(*each)[:61]
        for each in [(X, y), (changed_X, changed_y)]
    ]
    assert np.array_equal(*kept)


def test_arrays_and_mappings_name_targets_as_they_name_features():
    X, y = stream(30)
    array, mapping = LSTMMultiTargetRegressor(4), LSTMMultiTargetRegressor(4)
    rows = array.learn_many(X.to_numpy(), y.to_numpy())
    assert array.targets_ == [0, 1]
    same = mapping.learn_many({0: X["x"]}, {0: y["one"], 1: y["two"]})
    assert np.array_equal(rows, same)


def test_bad_input_does_not_change_the_model():
    model = LSTMMultiTargetRegressor(4)
    model.learn_one({"x": 1.0}, {"a": 1.0})
    before = pickle.dumps(model)
    for x, y in [({"x": [1]}, {"a": 1.0}), ({"x": 1.0}, {"a": "high"}), ({"new": 1.0}, {"b": "b"})]:
        with pytest.raises(InputError):
            model.learn_one(x, y)
    with pytest.raises(InputError, match="feature 'x' has 2 ticks, expected 3"):
        model.learn_many({"x": [1.0, 2.0]}, {"a": [1.0, 2.0, 3.0]})
    with pytest.raises(InputError, match="targets must have two dimensions"):
        model.learn_many({"x": [1.0, 2.0]}, [1.0, 2.0])
    assert pickle.dumps(model) == before


@pytest.mark.parametrize("bidirectional", [False, True])
def test_targets_may_be_predicted_with_a_lookahead(bidirectional):
    """Targets depend on the next tick; a target that is added late waits like the others."""
    x = np.random.default_rng(0).normal(size=4000)
    y = {"next": np.append(x[1:], 0.0), "again": np.append(x[1:], 0.0)}
    y["again"][:100] = np.nan
    parameters = {"lookahead": 1, "bidirectional": bidirectional, "learning_rate": 0.01}
    loop, chunks = (LSTMMultiTargetRegressor(8, **parameters) for _ in range(2))
    looped = []
    for t in range(120):
        targets = {name: column[t] for name, column in y.items() if t >= 100 or name == "next"}
        looped.append(loop.predict_one({"x": x[t]}))
        loop.learn_one({"x": x[t]}, targets)
    rows = chunks.learn_many({"x": x}, y)
    expected = [(row.get("again", 0.0), row.get("next", 0.0)) for row in looped]
    assert np.allclose(expected, rows[:120], rtol=1e-4, atol=1e-6)
    assert np.abs(rows[-500:] - np.column_stack([x, x])[-500:]).mean() < 0.3
