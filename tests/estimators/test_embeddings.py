"""Text features: embeddings are looked up, learned and added."""

import math
import pickle

import numpy as np
import pandas as pd
import pytest

from streamlstm import LSTMClassifier, LSTMForecaster, LSTMMultiTargetRegressor, LSTMRegressor
from streamlstm.errors import InputError, ParameterError
from streamlstm.kernels.layout import weights_views

WORDS = np.array(["red", "green", "blue", "grey"], object)
LEVELS = np.array([-10.0, 0.0, 10.0, 40.0])


def stream(ticks, seed=0):
    """Words, and targets: the level of the word before."""
    numbers = np.random.default_rng(seed).integers(0, 4, ticks)
    return WORDS[numbers], np.append(0.0, LEVELS[numbers[:-1]])


@pytest.mark.parametrize(("cell", "learning"), [("lstm", "tbptt"), ("elstm", "rtrl")])
def test_learns_the_meaning_of_words(cell, learning):
    words, y = stream(4000)
    model = LSTMRegressor(16, cell=cell, learning=learning, learning_rate=0.01)
    errors = np.abs(model.learn_many({"word": words}, y) - y)
    assert errors[-300:].mean() < 0.4 * np.abs(y - y.mean()).mean()


@pytest.mark.parametrize(
    "parameters", [{}, {"num_layers": 2}, {"lookahead": 2, "bidirectional": True}]
)
def test_gradients_of_embeddings_equal_finite_differences(parameters):
    """Gradients of the last tick's loss; one word is in the window twice, another is not."""
    words, n = ["red", "green", "red"], [0.5, -1.0, 2.0]
    fixed = {"window": 5, "learning_rate": 0.0, "clip_norm": 1e9, "scaling": False}
    model = LSTMRegressor(4, embedding_size=3, **fixed, **parameters)
    model.learn_many({"word": ["grey", "red", "green", "blue"], "n": [1.0] * 4}, [0.0] * 4)
    head = model._network.head.w
    head[:] = np.resize([0.5, -1.0, 0.3, 0.8, -0.7], head.shape)
    model.reset_state()
    state = pickle.dumps(model)

    def loss(row, column, step):
        other = pickle.loads(state)
        other._network.embeddings[row, column] += step
        other.learn_many({"word": words, "n": n}, [0.0] * 3)
        return (other.predict_one({"word": "blue", "n": 0.3}) - 2.0) ** 2 / 2

    y = [2.0 if t == 3 - model.lookahead else 0.0 for t in range(3)]
    model.learn_many({"word": words, "n": n}, y)
    model.learn_one({"word": "blue", "n": 0.3}, 2.0)
    network = model._network
    grads = network._embeddings_in(network.scratch[: network.weights.size // 3])
    numbers = model._columns.vocabularies["word"]
    for word in ("red", "green", "blue", "grey"):
        for column in range(3):
            h, row = 1e-2, numbers[word]
            expected = (loss(row, column, h) - loss(row, column, -h)) / (2 * h)
            assert grads[row, column] == pytest.approx(expected, rel=2e-2, abs=1e-5)


def test_an_update_changes_only_the_embeddings_in_the_window():
    model = LSTMRegressor(4, window=2, embedding_size=3)
    model.learn_many({"word": [*"abcdabcd"]}, [1.0, 5.0, 2.0, 8.0] * 2)
    before = model._network.embeddings.copy()
    model.learn_one({"word": "b"}, -20.0)
    moved = (model._network.embeddings != before).any(axis=1)
    assert moved.tolist() == [False, True, False, True]


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_a_repeated_word_is_updated_once(optimizer):
    """The update and the running averages use the sum of the gradients of all occurrences."""
    model = LSTMRegressor(4, window=4, embedding_size=3, optimizer=optimizer)
    model.learn_many({"word": [*"aaaaaa"]}, [1.0, 5.0, 2.0, 8.0, 4.0, 2.0])
    network = model._network
    tables = [network._embeddings_in(flat) for flat in weights_views(network.weights)]
    before = [table[0].copy() for table in tables]
    model.learn_one({"word": "a"}, -20.0)
    d = network._embeddings_in(network.scratch[: network.weights.size // 3])[0]
    grads = network.scratch[: network.weights.size // 3]
    d = d * min(1.0, 1.0 / np.linalg.norm(grads.astype(np.float64)))
    first, second = {
        "adam": (0.9 * before[1] + 0.1 * d, 0.999 * before[2] + 0.001 * d * d),
        "rmsprop": (before[1], 0.99 * before[2] + 0.01 * d * d),
        "sgd": (0.9 * before[1] + d, before[2]),
    }[optimizer]
    assert np.allclose(tables[1][0], first, rtol=1e-4, atol=1e-9)
    assert np.allclose(tables[2][0], second, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("estimator", [LSTMRegressor, LSTMClassifier, LSTMMultiTargetRegressor])
def test_chunks_equal_the_loop_tick_for_tick(estimator):
    words, y = stream(120)
    table = pd.DataFrame({"word": words, "other": [None, "x", "y"] * 40, "n": np.arange(120.0)})
    table.loc[50:, "late"] = "seen"
    targets = y if estimator is LSTMRegressor else y.astype(int)
    if estimator is LSTMMultiTargetRegressor:
        targets = pd.DataFrame({"a": y, "b": -y})
    loop, chunks = estimator(8), estimator(8)
    looped = []
    for t, x in enumerate(table.to_dict("records")):
        known = {name: value for name, value in x.items() if value == value}
        row = targets.iloc[t].to_dict() if hasattr(targets, "iloc") else targets[t]
        predict = loop.predict_proba_one if estimator is LSTMClassifier else loop.predict_one
        looped.append(predict(known))
        loop.learn_one(known, row)
    chunked = [
        row
        for part in (slice(0, 50), slice(50, 120))
        for row in chunks.learn_many(table[part], targets[part])
    ]
    for one, row in zip(looped, chunked, strict=True):
        values = list(one.values()) if isinstance(one, dict) else [one]
        assert np.allclose(values, np.atleast_1d(row)[: len(values)], rtol=1e-5, atol=1e-4)


def test_embeddings_depend_on_seed_and_text_alone():
    first, second = LSTMRegressor(4), LSTMRegressor(4)
    for word in ("a", "b", "c"):
        first.learn_one({"word": word}, None)
    for word in ("c", "a", "b"):
        second.learn_one({"word": word}, None)
    for word in ("a", "b", "c"):
        rows = [
            m._network.embeddings[m._columns.vocabularies["word"][word]] for m in (first, second)
        ]
        assert np.array_equal(*rows)
    other = LSTMRegressor(4, seed=1)
    other.learn_one({"word": "a"}, None)
    assert not np.array_equal(other._network.embeddings[0], first._network.embeddings[0])


def test_learned_embeddings_stay_when_the_table_grows():
    words, y = stream(60)
    model = LSTMRegressor(8)
    model.learn_many({"word": words}, y)
    other = pickle.loads(pickle.dumps(model))
    predictions = []
    for each, text in [(model, "red"), (other, "black")]:
        each._network.embeddings[each._columns.vocabularies["word"]["red"]] = 0.0
        each.learn_one({"word": text}, None)  # an unknown text counts as zeros
        predictions.append([each.predict_one({"word": word}) for word in WORDS])
    assert predictions[0] == predictions[1]


@pytest.mark.parametrize("missing", [{}, {"word": None}, {"word": math.nan}, {"word": "unheard"}])
def test_a_missing_or_unknown_text_counts_as_zeros(missing):
    words, y = stream(60)
    model = LSTMRegressor(8)
    model.learn_many({"word": words}, y)
    model._network.embeddings[0] = 0.0
    assert model.predict_one(missing) == model.predict_one({"word": words[0]})


def test_the_empty_text_is_a_text():
    model, chunk = LSTMRegressor(4), LSTMRegressor(4)
    model.learn_one({"word": ""}, 1.0)
    chunk.learn_many({"word": [""]}, [1.0])
    assert model._columns.vocabularies == chunk._columns.vocabularies == {"word": {"": 0}}


@pytest.mark.parametrize("kind", ["category", "string", object])
def test_pandas_columns_of_every_kind_of_text(kind):
    column = pd.Series(["a", "b", None, "a"], dtype=kind)
    model = LSTMRegressor(4)
    model.learn_many(pd.DataFrame({"word": column}), [1.0, 2.0, 3.0, 4.0])
    assert model._columns.vocabularies == {"word": {"a": 0, "b": 1}}


def test_text_and_numbers_in_one_feature_are_refused():
    model = LSTMRegressor(4)
    model.learn_many({"word": ["a", "b"], "n": [1.0, 2.0]}, [1.0, 2.0])
    before = pickle.dumps(model)
    for x, message in [
        ({"word": 3.0, "n": 1.0}, "'word' has been text so far, got 3.0"),
        ({"word": "a", "n": "b"}, "'n' has been a number so far, got 'b'"),
        ({"word": "a", "n": [1]}, "'n' must be a number"),
    ]:
        for call in (lambda x: model.learn_one(x, 1.0), model.predict_one):
            with pytest.raises(InputError, match=message):
                call(x)
        with pytest.raises(InputError):
            model.learn_many({name: [value] for name, value in x.items()}, [1.0])
    with pytest.raises(InputError, match="text or numbers, not both"):
        model.learn_many({"word": ["a", 1]}, [1.0, 2.0])
    with pytest.raises(InputError, match="expected 2"):
        model.learn_many({"word": ["a", "new", "c"]}, [1.0, 2.0])
    with pytest.raises(InputError, match="array of 2 features"):
        model.step([1.0, 2.0], 1.0)
    assert pickle.dumps(model) == before


def test_a_forecaster_takes_numbers_only():
    with pytest.raises(InputError, match="'word' must be a number"):
        LSTMForecaster().learn_one(1.0, {"word": "a"})


def test_a_model_with_text_cannot_be_exchanged():
    model = LSTMRegressor(4)
    model.learn_one({"word": "a"}, 1.0)
    with pytest.raises(ParameterError, match=r"text features \(word\)"):
        model.state_dict()


@pytest.mark.parametrize("size", [0, 1.5])
def test_embedding_size_is_checked(size):
    with pytest.raises(ParameterError, match="embedding_size must be a whole number"):
        LSTMRegressor(embedding_size=size)


def test_summary_shows_the_embeddings(capsys):
    model = LSTMRegressor(8, embedding_size=5)
    model.learn_many({"word": ["a", "b", "c"]}, [1.0, 2.0, 3.0])
    model.summary()
    shown = capsys.readouterr().out
    assert "embedding (Embedding)     (5,)                        15" in shown
    assert "Inputs (1): word" in shown


def test_the_classifier_learns_the_next_character():
    text = "the quick brown fox jumps over the lazy dog. " * 120
    model = LSTMClassifier(32, learning_rate=0.01)
    probabilities = model.learn_many({"char": list(text[:-1])}, list(text[1:]))
    truth = [model.classes_.index(c) for c in text[1:]]
    right = probabilities.argmax(axis=1) == truth
    assert right[-200:].mean() > 0.9
