"""Lookahead: predictions that wait for later ticks, with one stack of layers or two."""

import pickle

import numpy as np
import pytest
from finite_differences import finite_differences
from kernel_calls import last_grads, outputs_of, random_network, relative_error
from reference.network import BidirectionalNetwork
from reference.optimizer import Optimizer
from streams import inputs_and_targets

from streamlstm import LSTMClassifier, LSTMForecaster, LSTMRegressor
from streamlstm.errors import ParameterError
from streamlstm.kernels.cells import CELLS

BOTH = pytest.mark.parametrize("bidirectional", [False, True])


def twin(network, cell, window, optimizer):
    lookahead = network.settings.lookahead
    return BidirectionalNetwork(cell, network.params, window, lookahead, "squared", optimizer)


def delayed(targets, lookahead):
    return np.vstack([np.full((lookahead, targets.shape[1]), np.nan), targets[:-lookahead]])


@pytest.mark.parametrize(("layers", "lookahead"), [(1, 1), (2, 3)])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_the_twin_equal_finite_differences(cell, layers, lookahead):
    net = random_network(I=2, H=3, K=2, cell=cell, layers=layers, lookahead=lookahead)
    ref = twin(net, cell, 50, Optimizer("sgd", 0.0, 1.0))
    xs, targets = (rows[:8].astype(float) for rows in inputs_and_targets(2, 2))

    def loss():
        fresh = BidirectionalNetwork(cell, ref.params, 50, lookahead, "squared", ref.optimizer)
        outputs = [fresh.advance(x) for x in xs]
        return 0.5 * np.sum((outputs[-1] - targets[-1]) ** 2)

    for x in xs:
        ref.advance(x)
    gradient = ref.gradient(ref.output - targets[-1])
    assert gradient.keys() == ref.params.keys()
    for name, param in ref.params.items():
        assert relative_error(gradient[name], finite_differences(loss, param)) < 1e-5


@pytest.mark.parametrize(("layers", "lookahead", "window"), [(1, 1, 1), (1, 2, 6), (2, 3, 6)])
@pytest.mark.parametrize("cell", CELLS)
def test_learning_follows_the_reference(cell, layers, lookahead, window):
    I, K = 3, 2
    net = random_network(
        I, 5, K, window, rate=0.003, layers=layers, cell=cell, decay=0.5, lookahead=lookahead
    )
    ref = twin(net, cell, window, Optimizer("adam", 0.003, 1.0, 0.5))
    xs, targets = inputs_and_targets(I, K)
    targets[10:14] = np.nan
    targets = delayed(targets, lookahead)
    expected = []
    for x, target in zip(xs, targets, strict=True):
        expected.append(ref.advance(x.astype(float)))
        ref.learn(target.astype(float))
    outputs = outputs_of(net, xs, targets)
    assert relative_error(outputs[lookahead:], expected[lookahead:]) < 1e-4
    for name, array in net.params.items():
        assert relative_error(array, ref.params[name]) < 2e-4


def test_the_gradient_reaches_back_exactly_through_the_window():
    """It reaches `window` ticks back from the predicted tick, whatever the lookahead."""
    I, lookahead = 3, 4
    xs, targets = inputs_and_targets(I, 1)
    for window, same in [(3, True), (4, False)]:
        net = random_network(I, window=window, lookahead=lookahead, rate=0.0, clip=1e9)
        outputs_of(net, xs, targets)
        ref = twin(net, "lstm", 3, Optimizer("sgd", 0.0, 1e9))
        for x in xs:
            output = ref.advance(x.astype(float))
        error = relative_error(last_grads(net)["w"], ref.gradient(output - targets[-1])["w_l0"])
        assert (error < 1e-4) == same


def noise(ticks, features=2, seed=0):
    return np.random.default_rng(seed).normal(size=(ticks, features))


def as_dicts(x):
    return [dict(enumerate(row)) for row in x.tolist()]


def regressor(**parameters):
    return LSTMRegressor(**{"hidden_size": 4, "window": 6, "lookahead": 2} | parameters)


def classifier(**parameters):
    return LSTMClassifier(**{"hidden_size": 4, "window": 6, "lookahead": 2} | parameters)


@BOTH
@pytest.mark.parametrize("layers", [1, 2])
def test_chunks_equal_the_loop_and_predictions_equal_its_answers(bidirectional, layers):
    x, y = noise(60), np.cumsum(noise(60)[:, 0])
    x[5, 1] = y[7] = np.nan
    loop, chunks, steps = (
        regressor(bidirectional=bidirectional, num_layers=layers) for _ in range(3)
    )
    looped, stepped = [], []
    for row, tick, target in zip(x, as_dicts(x), y, strict=True):
        looped.append(loop.predict_one(tick))
        loop.learn_one(tick, target)
        stepped.append(steps.step(row, target))
    chunked = [chunks.learn_many(x[a:b], y[a:b]) for a, b in [(0, 1), (1, 30), (30, 60)]]
    assert np.array_equal(np.concatenate(chunked), looped)
    assert stepped == looped


@BOTH
def test_chunks_of_classes_equal_the_loop(bidirectional):
    x = noise(60)
    y = [*("no" if v < 0 else "yes" for v in x[:40, 0]), None, ("odd", 1), *["maybe"] * 18]
    loop, chunks = (classifier(bidirectional=bidirectional) for _ in range(2))
    looped = []
    for tick, label in zip(as_dicts(x), y, strict=True):
        looped.append(loop.predict_proba_one(tick))
        loop.learn_one(tick, label)
    chunked = [*chunks.learn_many(x[:43], y[:43])]
    assert ("odd", 1) not in chunks.classes_
    chunked += [*chunks.learn_many(x[43:], y[43:])]
    assert loop.classes_ == chunks.classes_
    for by_label, row in zip(looped, chunked, strict=True):
        assert list(by_label.values()) == row[: len(by_label)].tolist()
        assert not row[len(by_label) :].any()


@BOTH
def test_a_class_is_known_once_it_has_been_learned(bidirectional):
    model = classifier(bidirectional=bidirectional)
    for label, known in [("a", []), ("b", []), ("c", ["a"]), (None, ["a", "b"])]:
        model.learn_one({0: 1.0}, label)
        assert model.classes_ == known
        assert list(model.predict_proba_one({0: 1.0})) == known


@BOTH
def test_a_prediction_uses_later_features_but_no_later_target(bidirectional):
    """Row t is for tick t - 2: it uses features up to t, and targets up to t - 3."""
    x, y = noise(60), noise(60)[:, 0]
    answers = regressor(bidirectional=bidirectional).learn_many(x, y)
    later_x, later_y = x.copy(), y.copy()
    later_x[40:] *= -3.0
    later_y[40:] += 5.0
    features = regressor(bidirectional=bidirectional).learn_many(later_x, y)
    targets = regressor(bidirectional=bidirectional).learn_many(x, later_y)
    assert np.array_equal(answers[:40], features[:40])
    assert answers[40] != features[40]
    assert np.array_equal(answers[:43], targets[:43])
    assert answers[43] != targets[43]


@BOTH
def test_a_prediction_uses_no_later_class(bidirectional):
    x, y = noise(60), [0, 1, 2] * 20
    answers = classifier(bidirectional=bidirectional).learn_many(x, y)
    later = classifier(bidirectional=bidirectional).learn_many(x, [*y[:40], *[2, 0] * 10])
    assert np.array_equal(answers[:43], later[:43])
    assert not np.array_equal(answers[43], later[43])


@BOTH
def test_waiting_targets_are_pickled(bidirectional):
    x, y = noise(60), noise(60)[:, 0]
    model = regressor(bidirectional=bidirectional)
    model.learn_many(x[:30], y[:30])
    before = pickle.dumps(model)
    copy = pickle.loads(before)
    model.predict_one({0: 1.0})
    assert pickle.dumps(model) == before
    assert np.array_equal(copy.learn_many(x[30:], y[30:]), model.learn_many(x[30:], y[30:]))


@BOTH
def test_a_new_feature_does_not_change_the_prediction(bidirectional):
    model = regressor(bidirectional=bidirectional)
    model.learn_many(noise(50), noise(50)[:, 0])
    before = model.predict_one({0: 0.3, 1: 0.1})
    model._add_features(["new"])
    assert model.predict_one({0: 0.3, 1: 0.1}) == pytest.approx(before, rel=1e-6)


def test_a_new_feature_gets_weights_in_both_directions():
    model = regressor(bidirectional=True, num_layers=2)
    model.learn_many(noise(50), noise(50)[:, 0])
    old = {name: array.copy() for name, array in model._network.params.items()}
    model._add_features(["new"])
    for name, array in model._network.params.items():
        rows = old[name].shape[0]
        assert np.array_equal(array[:rows], old[name])
        assert len(array) - rows == (1 if name in ("w_l0", "w_l0_reverse") else 0)
        assert array[rows:].all()


@BOTH
def test_a_reset_drops_waiting_targets_unless_ticks_without_a_target_follow(bidirectional):
    x, y = noise(22), noise(22)[:, 0]
    y[20:] = np.nan
    weights = {}
    for name, ticks, last in [("all", 22, 1.0), ("changed", 22, 9.0), ("dropped", 20, 9.0)]:
        model = regressor(bidirectional=bidirectional, scaling=False)
        targets = y[:ticks].copy()
        targets[18:20] *= last
        model.learn_many(x[:ticks], targets)
        model.reset_state()
        weights[name] = model._network.weights.copy()
    model = regressor(bidirectional=bidirectional, scaling=False)
    model.learn_many(x[:20], y[:20])
    model.reset_state()
    assert np.array_equal(model._network.weights, weights["dropped"])
    assert not np.array_equal(weights["all"], weights["changed"])
    model.learn_many(x[:2], [1.0, 1.0])
    assert np.array_equal(model._network.weights, weights["dropped"])
    model.learn_one({0: 1.0, 1: 1.0}, 1.0)
    assert not np.array_equal(model._network.weights, weights["dropped"])


@pytest.mark.parametrize(
    ("parameters", "solves"),
    [
        ({}, False),
        ({"lookahead": 1}, False),
        ({"lookahead": 2}, True),
        ({"lookahead": 2, "bidirectional": True}, True),
        ({"lookahead": 2, "bidirectional": True, "cell": "gru", "num_layers": 2}, True),
    ],
)
def test_a_target_with_a_later_cause_needs_a_lookahead(parameters, solves):
    """y(t) = x(t-2) + x(t+2): without a lookahead only half of it is known."""
    x = noise(6000, 1)[:, 0]
    y = np.zeros(x.size)
    y[2:-2] = x[:-4] + x[4:]
    model = LSTMRegressor(16, window=8, learning_rate=0.005, **parameters)
    answers = model.learn_many(x[:, None], y)
    d = model.lookahead
    error = np.mean((answers[d:] - y[: y.size - d])[-1000:] ** 2) / y.var()
    assert (error < 0.15) if solves else (error > 0.4)


@pytest.mark.parametrize(
    ("parameters", "solves"),
    [
        ({}, False),
        ({"lookahead": 2}, True),
        ({"lookahead": 2, "bidirectional": True}, True),
    ],
)
def test_a_class_decided_by_later_ticks_needs_a_lookahead(parameters, solves):
    x = noise(5000, 1, seed=1)[:, 0]
    y = np.where(np.append(x[1:], 0.0) > 0, "up", "down")
    model = LSTMClassifier(16, window=6, learning_rate=0.005, **parameters)
    probabilities = model.learn_many(x[:, None], y)
    d = model.lookahead
    guesses = np.array(model.classes_)[probabilities.argmax(axis=1)]
    right = np.mean((guesses[d:] == y[: y.size - d])[-1000:])
    assert (right > 0.9) if solves else (right < 0.6)


def test_summary_and_weights_name_the_direction(capsys):
    model = regressor(bidirectional=True, num_layers=2)
    model.learn_one({"a": 1.0}, 1.0)
    model.summary()
    shown = capsys.readouterr().out
    for name in ("lstm (LSTM)", "lstm_1 (LSTM)", "lstm_reverse (LSTM)", "lstm_1_reverse (LSTM)"):
        assert name in shown
    assert sum(p.size for p in model._network.params.values()) == 2 * (6 + 9) * 16 + 9


def test_bidirectional_models_are_not_exchanged():
    model = regressor(bidirectional=True)
    model.learn_one({"a": 1.0}, 1.0)
    with pytest.raises(ParameterError, match="bidirectional"):
        model.state_dict()
    with pytest.raises(ParameterError, match="bidirectional"):
        model.to_torch()


def test_loading_weights_begins_a_new_sequence():
    model = regressor()
    model.learn_many(noise(20), noise(20)[:, 0])
    model.load_state_dict(model.state_dict())
    weights = model._network.weights.copy()
    model.learn_many(noise(2), [1.0, 1.0])
    assert np.array_equal(model._network.weights, weights)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lookahead": -1}, "got -1"),
        ({"lookahead": 1.5}, "got 1.5"),
        ({"lookahead": True}, "got True"),
        ({"bidirectional": True}, "needs a lookahead"),
        ({"bidirectional": True, "lookahead": 2, "stride": 2}, "stride=1, got 'tbptt' and 2"),
        (
            {"bidirectional": True, "lookahead": 2, "cell": "elstm", "learning": "rtrl"},
            "learning='tbptt' and stride=1, got 'rtrl'",
        ),
        ({"learning": "bidirectional"}, "learning must be one of tbptt, rtrl, snap1, got"),
    ],
)
def test_impossible_combinations_are_refused(parameters, message):
    for estimator in (LSTMRegressor, LSTMClassifier):
        with pytest.raises(ParameterError, match=message):
            estimator(**parameters)


@pytest.mark.parametrize(("learning", "stride"), [("rtrl", 1), ("tbptt", 4)])
def test_every_learning_rule_works_with_a_lookahead(learning, stride):
    x = noise(4000, 1)
    y = np.append(x[1:, 0], 0.0)
    model = LSTMRegressor(
        16, cell="elstm", learning=learning, stride=stride, lookahead=1, learning_rate=0.005
    )
    answers = model.learn_many(x, y)
    assert np.abs(answers[1:] - y[:-1])[-500:].mean() < 0.3


def test_forecasters_do_not_look_ahead():
    with pytest.raises(TypeError):
        LSTMForecaster(lookahead=1)
