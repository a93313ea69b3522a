"""LSTMRegressor without scaling, and conversion from and to PyTorch, Keras, ONNX, safetensors."""

import os
import pickle
import sys

import numpy as np
import pytest
from streams import random_walk

from streamlstm import LSTMRegressor
from streamlstm.errors import DataError, ParameterError, StreamLSTMError

os.environ.setdefault("KERAS_BACKEND", "jax")

NETWORKS = [(cell, layers) for cell in ("lstm", "gru") for layers in (1, 2)]
TICKS = 1000
AGREEMENT = 1e-5


def noise(ticks, features=3, seed=0):
    return np.random.default_rng(seed).normal(size=(ticks, features))


def trained(cell="lstm", layers=1, scaling=False, ticks=300, **parameters):
    """A model with a head that is not zero."""
    model = LSTMRegressor(8, layers, cell, window=5, scaling=scaling, **parameters)
    x = noise(ticks) if not scaling else noise(ticks) * [1.0, 50.0, 0.1] + [0.0, 30.0, 1.0]
    y = x @ [1.0, -0.02, 1.0] + random_walk(ticks) * 0.1
    model.learn_many(x, y)
    return model


def predictions_of(model, x):
    """Predictions tick by tick: predict, then advance the state."""
    predictions = []
    for tick in map(dict, map(enumerate, x.tolist())):
        predictions.append(model.predict_one(tick))
        model.learn_one(tick, None)
    return np.array(predictions)


def torch_predictions(rnn, head, x, state=None):
    import torch

    with torch.no_grad():
        return head(rnn(torch.from_numpy(np.float32(x)), state)[0]).numpy()[:, 0]


def torch_state(model):
    """The recurrent state in PyTorch's form."""
    import torch

    states = torch.from_numpy(np.stack(model._network.states, axis=1))  # (states, layers, H)
    return tuple(states) if len(states) == 2 else states[0]


def random_torch(cell, layers, bias=True):
    import torch

    torch.manual_seed(0)
    rnn = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](3, 8, layers, bias=bias)
    return rnn, torch.nn.Linear(8, 1, bias=bias)


# Without scaling


def test_without_scaling_the_network_gets_raw_numbers():
    """A scaled model on raw ticks equals an unscaled model on ticks that are scaled by hand."""
    x, y = noise(300) * [1.0, 50.0, 0.1] + [0.0, 30.0, 1.0], random_walk(300)
    scaled, raw = (LSTMRegressor(8, window=5, scaling=scaling) for scaling in (True, False))
    center, spread = np.zeros(4), np.zeros(4)  # of the target and the features
    for n, (row, target) in enumerate(zip(x, y, strict=True), 1):
        tick = np.append(target, row)
        scale = np.where(spread > 0, spread, np.inf)
        inputs = np.clip((tick - center) / scale, -10, 10)
        learned = inputs[0] if spread[0] > 0 else np.nan
        expected = center[0] + spread[0] * raw.step(inputs[1:], learned)
        assert scaled.step(row, target) == pytest.approx(expected, rel=1e-12, abs=1e-12)
        deviation = tick - center
        center += deviation / n
        spread += (np.abs(deviation - deviation / n) - spread) / n


def test_without_scaling_chunks_equal_the_loop_and_calls_tick_for_tick():
    x, y = noise(200), random_walk(200)
    x[5, 1] = y[7] = np.nan
    models = [LSTMRegressor(8, window=5, stride=2, scaling=False) for _ in range(3)]
    chunked = np.append(models[0].learn_many(x[:50], y[:50]), models[0].learn_many(x[50:], y[50:]))
    looped, stepped = [], []
    for row, target in zip(x, y, strict=True):
        looped.append(models[1].predict_one(dict(enumerate(row))))
        models[1].learn_one(dict(enumerate(row)), target)
        stepped.append(models[2].step(row, target))
    assert np.array_equal(chunked, looped)
    assert np.array_equal(chunked, stepped)


def test_without_scaling_no_prediction_depends_on_the_future():
    x, y = noise(100), random_walk(100)
    predictions = []
    for factor in (1.0, -1e6):
        later_x, later_y = x.copy(), y.copy()
        later_x[61:] *= factor
        later_y[60:] *= factor
        predictions.append(LSTMRegressor(8, scaling=False).learn_many(later_x, later_y))
    assert np.array_equal(predictions[0][:61], predictions[1][:61])
    assert not np.array_equal(predictions[0][61:], predictions[1][61:])


def test_without_scaling_a_missing_feature_is_zero_and_a_missing_target_trains_nothing():
    missing, zero = trained(), trained()
    tick = {0: None, 1: np.nan, 2: 1.0}
    assert missing.predict_one(tick) == zero.predict_one({0: 0.0, 1: 0.0, 2: 1.0})
    before = missing.state_dict()
    missing.learn_one(tick, None)
    for name, weights in missing.state_dict().items():
        assert np.array_equal(weights, before[name])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e16, 1e300])
def test_without_scaling_absurd_values_keep_predictions_finite(value):
    model = trained()
    model.learn_many(np.full((20, 3), value), np.full(20, value))
    model.learn_many(np.full((20, 3), 9e14), np.full(20, -9e14))
    assert np.isfinite(model.learn_many(noise(50), random_walk(50))).all()
    assert all(np.isfinite(weights).all() for weights in model.state_dict().values())


def test_without_scaling_models_grow_pickle_and_clone():
    model = trained()
    model.learn_one({0: 1.0, "new": 20.0}, 1.0)
    assert model.predict_one({"new": 20.0}) != model.predict_one({"new": 30.0})
    assert pickle.loads(pickle.dumps(model)).predict_one({0: 1.0}) == model.predict_one({0: 1.0})
    assert model.clone().scaling is False


# Weights by name


@pytest.mark.parametrize(("cell", "layers"), NETWORKS)
@pytest.mark.parametrize("scaling", [True, False])
def test_weights_survive_the_round_trip_bit_for_bit(cell, layers, scaling):
    model = trained(cell, layers, scaling)
    fresh = LSTMRegressor(8, layers, cell, scaling=scaling, seed=7)
    fresh.load_state_dict(model.state_dict())
    for name, weights in model.state_dict().items():
        assert weights.dtype == np.float32
        assert np.array_equal(weights, fresh.state_dict()[name])
    assert fresh._network.inputs == [0, 1, 2]
    model.reset_state()
    if not scaling:
        assert np.array_equal(predictions_of(model, noise(50)), predictions_of(fresh, noise(50)))


def test_loading_resets_the_state_and_the_optimiser():
    weights, models = trained(seed=5).state_dict(), (trained(), trained(ticks=17))
    for model in models:
        model.load_state_dict(weights)
    x, y = noise(50, seed=3), random_walk(50)
    assert np.array_equal(models[0].learn_many(x, y), models[1].learn_many(x, y))


def without(weights, name):
    return {key: value for key, value in weights.items() if key != name}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: without(w, "rnn.bias_hh_l0"), "missing: rnn.bias_hh_l0"),
        (lambda w: without(w, "rnn.weight_ih_l0"), "missing: rnn.weight_ih_l0"),
        (lambda w: w | {"rnn.weight_ih_l1": 1.0}, "has no weights named rnn.weight_ih_l1"),
        (lambda w: w | {"head.weight": np.zeros((2, 8))}, r"shape \(1, 8\), got \(2, 8\)"),
        (lambda w: w | {"rnn.weight_ih_l0": np.zeros((32, 4))}, r"\(32, 3\), got \(32, 4\)"),
        (lambda w: w | {"head.bias": [np.nan]}, "head.bias holds values that are not finite"),
        (lambda w: w | {"head.bias": "no"}, "head.bias is not an array of numbers"),
    ],
)
def test_wrong_weights_are_refused_and_change_nothing(spoil, message):
    model = trained()
    weights, before = spoil(model.state_dict()), pickle.dumps(model)
    with pytest.raises(ParameterError, match=message):
        model.load_state_dict(weights)
    assert pickle.dumps(model) == before


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'streamlstm\[torch\]'") as raised:
        trained().to_torch()
    assert isinstance(raised.value, StreamLSTMError)


# PyTorch


@pytest.mark.parametrize(("cell", "layers"), NETWORKS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_model_from_torch_predicts_like_torch(cell, layers, bias):
    rnn, head = random_torch(cell, layers, bias)
    model, x = LSTMRegressor.from_torch(rnn, head), noise(TICKS)
    assert np.abs(predictions_of(model, x) - torch_predictions(rnn, head, x)).max() < AGREEMENT
    assert np.abs(model.state_dict()["head.weight"] - head.weight.detach().numpy()).max() == 0


@pytest.mark.parametrize(("cell", "layers"), NETWORKS)
def test_a_model_converted_to_torch_predicts_the_same(cell, layers):
    model, x = trained(cell, layers), noise(TICKS)
    model.reset_state()
    expected = torch_predictions(*model.to_torch(), x)
    assert np.abs(predictions_of(model, x) - expected).max() < AGREEMENT


@pytest.mark.parametrize(("cell", "layers"), NETWORKS)
def test_scaling_is_folded_into_the_weights_for_torch(cell, layers):
    model = trained(cell, layers, scaling=True)
    rnn, head = model.to_torch()
    for row in noise(TICKS) * [1.0, 50.0, 0.1] + [0.0, 30.0, 1.0]:
        expected = torch_predictions(rnn, head, row[None], torch_state(model))
        assert model.predict_one(dict(enumerate(row))) == pytest.approx(expected[0], abs=AGREEMENT)


def test_a_constant_feature_has_no_effect_in_torch_either():
    model = LSTMRegressor(8)
    model.learn_many(np.column_stack([noise(100, 1), np.full(100, 5.0)]), random_walk(100))
    weights = model.to_torch()[0].weight_ih_l0.detach().numpy()
    assert not weights[:, 1].any()
    assert weights[:, 0].any()


def test_a_model_from_torch_keeps_learning():
    model = LSTMRegressor.from_torch(*random_torch("lstm", 1), learning_rate=0.01, window=5)
    x = noise(3000)
    errors = np.abs(model.learn_many(x, x.sum(1)) - x.sum(1))
    assert errors[-300:].mean() < 0.3 * errors[:300].mean()


@pytest.mark.parametrize(
    ("make", "parameters", "message"),
    [
        (lambda nn: (nn.RNN(3, 8), nn.Linear(8, 1)), {}, "rnn must be"),
        (lambda nn: (nn.LSTM(3, 8, bidirectional=True), nn.Linear(16, 1)), {}, "bidirectional"),
        (lambda nn: (nn.LSTM(3, 8, proj_size=4), nn.Linear(4, 1)), {}, "proj_size=4"),
        (lambda nn: (nn.GRU(3, 8, 2, dropout=0.5), nn.Linear(8, 1)), {}, "dropout=0.5"),
        (lambda nn: (nn.GRU(3, 8), nn.Linear(8, 2)), {}, "one output"),
        (lambda nn: (nn.GRU(3, 8), nn.Linear(7, 1)), {}, r"\(1, 8\), got \(1, 7\)"),
        (lambda nn: (nn.GRU(3, 8), nn.Linear(8, 1)), {"scaling": True}, "scaling cannot be given"),
    ],
)
def test_other_modules_are_refused(make, parameters, message):
    import torch

    with pytest.raises(ParameterError, match=message):
        LSTMRegressor.from_torch(*make(torch.nn), **parameters)


def test_a_model_without_features_cannot_be_converted():
    with pytest.raises(ParameterError, match="has no features"):
        LSTMRegressor().to_torch()


# Keras


def random_keras(cell, layers, bias=True, units=8, **options):
    import keras

    keras.utils.set_random_seed(0)
    kind = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell]
    recurrent = [
        kind(
            units,
            return_sequences=True,
            use_bias=bias,
            bias_initializer="random_normal",
            **options,
        )
        for _ in range(layers)
    ]
    dense = keras.layers.Dense(1, use_bias=bias, bias_initializer="random_normal")
    return keras.Sequential([keras.Input((None, 3)), *recurrent, dense])


@pytest.mark.parametrize(("cell", "layers"), NETWORKS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_model_from_keras_predicts_like_keras(cell, layers, bias):
    sequential, x = random_keras(cell, layers, bias), noise(TICKS)
    expected = np.asarray(sequential(np.float32(x[None])))[0, :, 0]
    predictions = predictions_of(LSTMRegressor.from_keras(sequential), x)
    assert np.abs(predictions - expected).max() < AGREEMENT


@pytest.mark.parametrize(("cell", "layers"), NETWORKS)
def test_a_model_converted_to_keras_predicts_the_same(cell, layers):
    model, x = trained(cell, layers), noise(TICKS)
    model.reset_state()
    expected = np.asarray(model.to_keras()(np.float32(x[None])))[0, :, 0]
    assert np.abs(predictions_of(model, x) - expected).max() < AGREEMENT


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_keras_and_torch_get_the_same_weights_from_a_scaled_model(cell):
    model = trained(cell, 2, scaling=True)
    there_and_back = LSTMRegressor.from_keras(model.to_keras()).state_dict()
    for name, weights in LSTMRegressor.from_torch(*model.to_torch()).state_dict().items():
        assert np.array_equal(weights, there_and_back[name])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda keras: random_keras("lstm", 1, activation="relu"), "activation='tanh', got 'relu'"),
        (lambda keras: random_keras("gru", 1, reset_after=False), "reset_after=True, got False"),
        (lambda keras: random_keras("gru", 2, dropout=0.1), "dropout=0.0, got 0.1"),
        (lambda keras: random_keras("lstm", 1, go_backwards=True), "go_backwards=False, got True"),
        (lambda keras: keras.Sequential([keras.layers.LSTM(8), keras.layers.Dense(1)]), "built"),
        (lambda keras: keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(8)]), "several"),
        (lambda keras: stacked(keras, keras.layers.LSTM(8), keras.layers.Dense(2)), "one unit"),
        (
            lambda keras: stacked(keras, keras.layers.SimpleRNN(8), keras.layers.Dense(1)),
            "LSTM, or",
        ),
        (
            lambda keras: stacked(
                keras,
                keras.layers.GRU(8, return_sequences=True),
                keras.layers.GRU(4),
                keras.layers.Dense(1),
            ),
            "same number of units",
        ),
        (
            lambda keras: stacked(keras, keras.layers.LSTM(8), keras.layers.Dense(1, "relu")),
            "activation='linear', got 'relu'",
        ),
    ],
)
def test_other_keras_models_are_refused(make, message):
    import keras

    with pytest.raises(ParameterError, match=message):
        LSTMRegressor.from_keras(make(keras))


def stacked(keras, *layers):
    return keras.Sequential([keras.Input((None, 3)), *layers])


# ONNX


def onnx_session(model, path):
    import onnxruntime

    model.to_onnx(path)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("cell", "layers"), NETWORKS)
def test_onnx_runtime_predicts_like_the_model_tick_by_tick(cell, layers, tmp_path):
    model, x = trained(cell, layers), noise(TICKS)
    model.reset_state()
    session = onnx_session(model, tmp_path / "model.onnx")
    states = {name: np.zeros((layers, 1, 8), np.float32) for name in "hc"[: 1 + (cell == "lstm")]}
    zeros, outputs = dict(states), []
    for tick in np.float32(x)[:, None, None]:
        y, *after = session.run(None, {"x": tick, **states})
        states = dict(zip(states, after, strict=True))
        outputs.append(y[0, 0, 0])
    assert np.abs(predictions_of(model, x) - outputs).max() < AGREEMENT
    y, *after = session.run(None, {"x": np.float32(x)[:, None], **zeros})
    assert np.abs(y[:, 0, 0] - outputs).max() < AGREEMENT
    for state, expected in zip(after, zip(*model._network.states, strict=True), strict=True):
        np.testing.assert_allclose(state[:, 0], expected, rtol=AGREEMENT, atol=AGREEMENT)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_scaling_is_folded_into_the_weights_for_onnx(cell, tmp_path):
    model, x = trained(cell, 2, scaling=True), noise(50) * [1.0, 50.0, 0.1] + [0.0, 30.0, 1.0]
    session = onnx_session(model, tmp_path / "model.onnx")
    states = {name: np.zeros((2, 1, 8), np.float32) for name in "hc"[: 1 + (cell == "lstm")]}
    y = session.run(["y"], {"x": np.float32(x)[:, None], **states})[0][:, 0, 0]
    assert np.abs(torch_predictions(*model.to_torch(), x) - y).max() < AGREEMENT


# safetensors


@pytest.mark.parametrize(("cell", "layers"), NETWORKS)
def test_a_file_of_weights_is_restored(cell, layers, tmp_path):
    model = trained(cell, layers)
    model.save_weights(tmp_path / "weights.safetensors")
    fresh = LSTMRegressor(8, layers, cell, scaling=False)
    fresh.load_weights(tmp_path / "weights.safetensors")
    for name, weights in model.state_dict().items():
        assert np.array_equal(weights, fresh.state_dict()[name])


def test_features_in_a_file_of_weights_are_matched_by_name(tmp_path):
    path = tmp_path / "weights.safetensors"
    first, second = (LSTMRegressor(8, scaling=False) for _ in range(2))
    for name in ("b", "a", 3):
        first.learn_one({name: 1.0}, 2.0)
    second.learn_one({"a": 1.0}, 2.0)
    first.save_weights(path)
    second.load_weights(path)
    first.reset_state()
    tick = {"a": 0.5, "b": -1.0, 3: 2.0}
    assert second.predict_one(tick) == pytest.approx(first.predict_one(tick), abs=1e-6)
    second.learn_one({"other": 1.0}, 2.0)
    with pytest.raises(ParameterError, match="no weights for the features other"):
        second.load_weights(path)


def test_a_file_from_torch_without_names_of_features_can_be_read(tmp_path):
    import torch
    from safetensors.torch import save_file

    rnn, head = random_torch("gru", 2)
    save_file(torch.nn.ModuleDict({"rnn": rnn, "head": head}).state_dict(), tmp_path / "weights")
    model = LSTMRegressor(8, 2, "gru", scaling=False)
    model.load_weights(tmp_path / "weights")
    expected = LSTMRegressor.from_torch(rnn, head).state_dict()
    for name, weights in model.state_dict().items():
        assert np.array_equal(weights, expected[name])


def test_other_files_and_names_are_refused(tmp_path):
    (tmp_path / "text").write_text("not weights")
    with pytest.raises(DataError, match="text: "):
        LSTMRegressor().load_weights(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        LSTMRegressor().load_weights(tmp_path / "nowhere")
    model = LSTMRegressor()
    model.learn_one({("a", "tuple"): 1.0}, 1.0)
    with pytest.raises(ParameterError, match=r"got \('a', 'tuple'\)"):
        model.save_weights(tmp_path / "weights")
