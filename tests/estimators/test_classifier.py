"""LSTMClassifier: classes that appear over time, ticks without a label, sequences."""

import math
import pickle

import numpy as np
import pytest

from streamlstm import LSTMClassifier
from streamlstm.errors import InputError


def remembered(ticks, distance=2, seed=0):
    """Noise and, as the class, whether it was positive `distance` ticks ago."""
    x = np.random.default_rng(seed).normal(size=(ticks, 1))
    return x, ["yes" if v > 0 else "no" for v in np.append(np.zeros(distance), x[:-distance, 0])]


def test_learns_a_task_that_needs_memory():
    x, y = remembered(4000)
    model = LSTMClassifier(hidden_size=16, window=6, learning_rate=0.01)
    probabilities = model.learn_many(x, y)
    right = [model.classes_[p.argmax()] == label for p, label in zip(probabilities, y, strict=True)]
    assert np.mean(right[-500:]) > 0.93
    assert np.allclose(probabilities[2:].sum(axis=1), 1)


def test_chunks_equal_the_loop_tick_for_tick():
    x, y = remembered(120)
    y[7] = y[30] = None
    y[60], y[90] = "maybe", 3
    loop, chunks = LSTMClassifier(hidden_size=8), LSTMClassifier(hidden_size=8)
    looped = []
    for (value,), label in zip(x.tolist(), y, strict=True):
        looped.append(loop.predict_proba_one({0: value}))
        loop.learn_one({0: value}, label)
    chunked = [*chunks.learn_many(x[:50], y[:50]), *chunks.learn_many(x[50:], y[50:])]
    assert loop.classes_ == chunks.classes_ == ["no", "yes", "maybe", 3]
    for by_label, row in zip(looped, chunked, strict=True):
        assert list(by_label.values()) == row[: len(by_label)].tolist()
        assert not row[len(by_label) :].any()


def test_a_class_is_unknown_until_it_is_learned():
    model = LSTMClassifier()
    assert model.predict_proba_one({"a": 1.0}) == {}
    assert model.predict_one({"a": 1.0}) is None
    model.learn_one({"a": 1.0}, True)
    assert model.predict_proba_one({"a": 1.0}) == {True: 1.0}
    model.learn_one({"a": 1.0}, False)
    assert set(model.predict_proba_one({"a": 1.0})) == {True, False}


@pytest.mark.parametrize("missing", [None, math.nan])
def test_ticks_without_a_label_only_advance_the_state(missing):
    model = LSTMClassifier(hidden_size=4)
    model.learn_many(np.random.default_rng(0).normal(size=(20, 1)), [0, 1] * 10)
    weights, before = model._network.weights.copy(), model.predict_proba_one({0: 1.0})
    model.learn_one({0: 5.0}, missing)
    assert np.array_equal(model._network.weights, weights)
    assert model.predict_proba_one({0: 1.0}) != before
    assert model.classes_ == [0, 1]


def test_a_sequence_is_learned_from_its_last_tick():
    """The class of a sequence is the sign of its first value; only the last tick is labelled."""
    rng = np.random.default_rng(1)
    model = LSTMClassifier(hidden_size=16, window=8, learning_rate=0.01)
    right = []
    for _ in range(900):
        x = rng.normal(size=(8, 1))
        label = bool(x[0, 0] > 0)
        probabilities = model.learn_many(x, [None] * 7 + [label])
        right.append(bool(probabilities[-1].argmax() == model.classes_.index(label)))
        model.reset_state()
    assert np.mean(right[-200:]) > 0.9


def test_the_gradient_is_that_of_the_cross_entropy():
    model = LSTMClassifier(hidden_size=4, learning_rate=0.0)
    rng = np.random.default_rng(0)
    model.learn_many(rng.normal(size=(30, 1)), [0, 1, 2] * 10)
    network = model._network
    network.head.w[:] = rng.normal(size=network.head.w.shape)
    state = pickle.dumps(model)
    model.learn_one({0: 0.3}, 1)
    grads = network.params_in(network.scratch[: network.weights.size // 3])
    for name, index in [("w_head", (0, 2)), ("w_head", (1, 3)), ("b_head", (2,))]:
        losses = []
        for step in (-1e-2, 1e-2):
            other = pickle.loads(state)
            other._network.params[name][index] += step
            losses.append(-math.log(other.predict_proba_one({0: 0.3})[1]))
        expected = (losses[1] - losses[0]) / 2e-2
        assert grads[name][index] == pytest.approx(expected, rel=1e-2)


def test_no_prediction_depends_on_the_future():
    x, y = remembered(100)
    kept = []
    for later in ("yes", "other"):
        labels = [*y[:60], *([later] * 40)]
        rows = LSTMClassifier(hidden_size=8).learn_many(x, labels)
        kept.append(rows[:61, :2])
    assert np.array_equal(kept[0], kept[1])


def test_bad_input_does_not_change_the_model():
    model = LSTMClassifier()
    model.learn_one({"a": 1.0}, "x")
    before = pickle.dumps(model)
    for x, y in [({"a": "red"}, "x"), ({"a": 1.0}, ["x"])]:
        with pytest.raises(InputError):
            model.learn_one(x, y)
    with pytest.raises(InputError, match="expected 1"):
        model.learn_many(np.ones((2, 1)), ["x"])
    assert pickle.dumps(model) == before
