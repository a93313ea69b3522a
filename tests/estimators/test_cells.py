"""Networks of every cell, with one layer and several, by every learning rule."""

import numpy as np
import pytest
from kernel_calls import last_grads, outputs_of, random_network, relative_error
from reference.network import StackedNetwork
from reference.optimizer import Optimizer
from streams import inputs_and_targets

from streamlstm import LSTMClassifier, LSTMForecaster, LSTMRegressor
from streamlstm.errors import ParameterError
from streamlstm.kernels.cells import CELLS

FORWARD = [(name, file.FORWARD) for name, file in CELLS.items() if file.FORWARD]
T = 40


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_learning_follows_the_reference(cell, layers):
    I, H, K, window = 3, 5, 2, 6
    net = random_network(I, H, K, window, rate=0.003, layers=layers, cell=cell, decay=0.5)
    optimizer = Optimizer("adam", 0.003, 1.0, 0.5)
    ref = StackedNetwork(cell, net.params, window, "squared", optimizer)
    xs, targets = inputs_and_targets(I, K)
    targets[10:14] = np.nan
    expected = []
    for x, target in zip(xs, targets, strict=True):
        expected.append(ref.advance(x.astype(float)))
        ref.learn(target.astype(float))
    assert relative_error(outputs_of(net, xs, targets), expected) < 1e-4
    for name, array in net.params.items():
        assert relative_error(array, ref.params[name]) < 2e-4


@pytest.mark.parametrize(("cell", "learning"), FORWARD)
def test_learning_forward_gives_the_gradient_of_one_tick_exactly(cell, learning):
    """With a window of one tick there is no past to which the rules could differ."""
    forward = random_network(cell=cell, learning=learning, layers=2, rate=0.0)
    back = random_network(cell=cell, window=1, layers=2, rate=0.0)
    xs, targets = inputs_and_targets(3, 1)
    for net in (forward, back):
        outputs_of(net, xs[:1], targets[:1])
    expected = last_grads(back)
    for name, gradient in last_grads(forward).items():
        assert relative_error(gradient, expected[name]) < 1e-5


def test_real_time_recurrent_learning_equals_back_propagation_through_the_whole_stream():
    forward = random_network(H=16, cell="elstm", learning="rtrl", rate=0.0)
    back = random_network(H=16, cell="elstm", window=T, rate=0.0)
    xs, targets = inputs_and_targets(3, 1)
    assert np.array_equal(outputs_of(forward, xs, targets), outputs_of(back, xs, targets))
    expected = last_grads(back)
    for name, gradient in last_grads(forward).items():
        assert relative_error(gradient, expected[name]) < 1e-4


@pytest.mark.parametrize(("cell", "learning"), FORWARD)
def test_traces_stay_when_an_input_is_added(cell, learning):
    xs, targets = inputs_and_targets(3, 1)
    outputs = []
    for inputs in ([], ["silent"]):
        net = random_network(cell=cell, learning=learning, layers=2)
        outputs_of(net, xs[:20], targets[:20])
        net.add_inputs(inputs)
        later = np.pad(xs[20:], ((0, 0), (0, len(inputs))))
        outputs.append(outputs_of(net, later, targets[20:]))
    assert relative_error(*outputs) < 1e-5


@pytest.mark.parametrize(("cell", "rule"), [*FORWARD, *((cell, "tbptt") for cell in CELLS)])
def test_estimators_solve_a_task_that_needs_memory(cell, rule):
    x = np.random.default_rng(0).normal(size=(5000, 1))
    y = np.append([0.0, 0.0], x[:-2, 0]) * 5 + 100
    model = LSTMRegressor(16, num_layers=2, cell=cell, learning=rule, window=8, learning_rate=0.005)
    errors = np.abs(model.learn_many(x, y) - y)
    left = 0.8 if cell == "elstm" else 0.5  # its units are not connected: it learns more slowly
    assert errors[-500:].mean() < left * errors[:200].mean()


def test_a_dependency_longer_than_the_window_needs_a_forward_rule():
    """A cue of +1 or -1, then zeros; the target, 40 ticks later, is the cue."""
    rng = np.random.default_rng(0)
    distance, episodes = 40, 600
    cues = rng.choice([-1.0, 1.0], episodes)
    x = np.zeros((episodes * distance, 2))
    x[::distance, 0], x[distance - 1 :: distance, 1] = cues, 1.0
    y = np.full(len(x), np.nan)
    y[distance - 1 :: distance] = cues
    error = {}
    for learning in ("tbptt", "rtrl"):
        model = LSTMRegressor(16, cell="elstm", learning=learning, window=20, learning_rate=0.01)
        predictions = model.learn_many(x, y)
        error[learning] = np.nanmean(np.abs(predictions - y)[-100 * distance :])
    assert error["rtrl"] < 0.2
    assert error["tbptt"] > 0.5


@pytest.mark.parametrize("cell", CELLS)
def test_forecasters_of_every_cell_learn_a_season(cell):
    values = [10.0, 12.0, 11.0, 7.0] * 100
    model = LSTMForecaster(hidden_size=8, cell=cell, num_layers=2, season=4, horizon=4)
    model.learn_many(values)
    assert [round(y) for y in model.forecast(4)] == values[:4]


def test_summary_names_the_cells(capsys):
    model = LSTMRegressor(hidden_size=50, cell="gru", num_layers=2)
    model.learn_one({"price": 1.0}, 1.0)
    model.summary()
    shown = capsys.readouterr().out
    assert "gru (GRU)" in shown
    assert "gru_1 (GRU)" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "rnn"}, "cell must be one of lstm"),
        ({"learning": "evolution"}, "learning must be one of tbptt"),
        ({"learning": "rtrl"}, "'rtrl' needs cell='elstm'"),
        ({"learning": "snap1", "cell": "peephole"}, "'snap1' needs cell='lstm' or 'gru'"),
        ({"cell": "elstm", "learning": "rtrl", "stride": 4}, "stride=1"),
        ({"learning": "snap1", "stride": 4}, "stride=1"),
        ({"num_layers": 0}, "num_layers must be a whole number"),
    ],
)
def test_impossible_combinations_are_refused(arguments, message):
    for estimator in (LSTMRegressor, LSTMClassifier, LSTMForecaster):
        with pytest.raises(ParameterError, match=message):
            estimator(**arguments)


def test_replay_is_for_one_layer_of_lstm_cells():
    with pytest.raises(ParameterError, match="replay needs one layer"):
        LSTMForecaster(cell="gru", replay=16)


def test_no_gradient_reaches_back_beyond_a_reset():
    """Ten ticks after a reset, windows of twenty and of ten ticks give the same gradient."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    predictions = []
    for window, reset in [(10, True), (20, True), (20, False)]:
        model = LSTMRegressor(8, window=window, learning_rate=0.01)
        model.learn_many(x[:10], y[:10])
        if reset:
            model.reset_state()
        predictions.append(model.learn_many(x[10:], y[10:]))
    assert np.array_equal(predictions[0], predictions[1])
    assert not np.array_equal(predictions[1], predictions[2])


def test_a_reset_learns_the_ticks_that_wait_for_an_update():
    model = LSTMRegressor(8, stride=10, window=10)
    model.learn_many(np.ones((5, 1)), np.arange(5.0))
    before = model._network.weights.copy()
    model.reset_state()
    assert not np.array_equal(model._network.weights, before)
