"""The cells: twins against finite differences, kernels against twins."""

import numpy as np
import pytest
from finite_differences import finite_differences
from kernel_calls import relative_error
from reference import cells as twins

from streamlstm.kernels import cells
from streamlstm.kernels.jit import jit
from streamlstm.kernels.linear import copy

SHAPES = [(1, 1), (3, 5), (8, 32), (7, 17)]  # (I, H)
SNAP = [name for name, file in cells.CELLS.items() if file.FORWARD == "snap1"]


@jit
def forward(cell, hs, state, tape, weights, xs, start):
    """Advance by the rows of xs, the first of them in row `start` of a tape as long as hs."""
    T, H = hs.shape
    I = xs.shape[1]
    views = cells.tape_of(cell, tape, 0, I, H, T)
    for n in range(xs.shape[0]):
        t = (start + n) % T
        cells.step(cell, state, views, t, xs[n], cells.weights_of(cell, weights, 0, I, H))
        copy(hs[t], state[0])


@jit
def backward(cell, grads, d_xs, work, d_hs, tape, weights, I, newest, steps):
    T, H = d_hs.shape
    cells.backward(
        cell, cells.weights_of(cell, grads, 0, I, H), d_xs, cells.work_of(cell, work, 0, I, H, T),
        d_hs, cells.tape_of(cell, tape, 0, I, H, T), cells.weights_of(cell, weights, 0, I, H),
        newest, steps,
    )  # fmt: skip


@jit
def learn_forward(cell, grads, d_x, traces, state, tape, work, weights, xs, d_hs):
    """Advance by the rows of xs and add the gradient of each tick's loss to `grads`."""
    T, I = xs.shape
    H = state.shape[1]
    weights = cells.weights_of(cell, weights, 0, I, H)
    grads = cells.weights_of(cell, grads, 0, I, H)
    traces = cells.traces_of(cell, traces, 0, I, H)
    tape = cells.tape_of(cell, tape, 0, I, H, 1)
    work = cells.work_of(cell, work, 0, I, H, 1)
    for t in range(T):
        cells.step(cell, state, tape, 0, xs[t], weights)
        cells.trace_step(cell, traces, tape, weights)
        cells.trace_gradient(cell, grads, d_x, traces, work, d_hs[t], tape, weights)


class Layer:
    """A layer of random weights, its tape of T rows, its work space and its gradients."""

    def __init__(self, name, I, H, T, seed=0):
        rng = np.random.default_rng(seed)
        self.cell, self.I, self.H = cells.CELLS[name].CELL, I, H
        size = cells.weights_size(self.cell, I, H)
        self.weights = rng.normal(size=size).astype(np.float32) / np.float32(np.sqrt(H))
        self.grads = np.full(size, np.nan, np.float32)
        self.state = rng.normal(size=(self.cell.states, H)).astype(np.float32)
        self.tape = np.zeros(cells.tape_size(self.cell, I, H, T), np.float32)
        self.work = np.full(cells.work_size(self.cell, I, H, T), np.nan, np.float32)

    def forward(self, xs, rows, start=0):
        hs = np.zeros((rows, self.H), np.float32)
        forward(self.cell, hs, self.state, self.tape, self.weights, xs, start)
        return hs

    def backward(self, d_hs, newest, steps):
        d_xs = np.zeros((len(d_hs), self.I), np.float32)
        backward(
            self.cell, self.grads, d_xs, self.work, d_hs, self.tape, self.weights, self.I, newest,
            steps,
        )  # fmt: skip
        return d_xs

    def learn_forward(self, d_x, xs, d_hs):
        """Traces by name; the gradients are the sums of those of all ticks."""
        self.grads[:] = 0
        buffer = np.zeros(cells.traces_size(self.cell, self.I, self.H), np.float32)
        learn_forward(
            self.cell, self.grads, d_x, buffer, self.state, self.tape, self.work, self.weights, xs,
            d_hs,
        )  # fmt: skip
        return cells.traces_of(self.cell, buffer, 0, self.I, self.H)._asdict()

    def views(self, buffer):
        return cells.weights_of(self.cell, buffer, 0, self.I, self.H)._asdict()

    def double(self):
        """State and weights for the twin."""
        weights = {name: w.astype(np.float64) for name, w in self.views(self.weights).items()}
        return self.state.astype(np.float64), weights


def random_rows(T, I, H, seed=1):
    """Inputs and gradients of outputs."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(T, I)).astype(np.float32), rng.normal(size=(T, H)).astype(np.float32)


@pytest.mark.parametrize(("T", "I", "H"), [(1, 1, 1), (6, 3, 4), (4, 8, 1)])
@pytest.mark.parametrize("name", twins.CELLS)
def test_gradients_of_the_twin_equal_finite_differences(name, T, I, H):
    step, step_backward, _ = twins.CELLS[name]
    state, weights = Layer(name, I, H, T).double()
    xs, d_hs = (rows.astype(np.float64) for rows in random_rows(T, I, H))
    d_state = np.random.default_rng(2).normal(size=state.shape)

    def loss():
        steps = twins.sequence(step, xs, state, weights)
        return np.sum([s.state[0] for s in steps] * d_hs) + np.sum(steps[-1].state * d_state)

    steps = twins.sequence(step, xs, state, weights)
    before, d_xs, d_weights = twins.backward(step_backward, steps, d_hs, d_state, weights)
    assert relative_error(before, finite_differences(loss, state)) < 1e-6
    assert relative_error(d_xs, finite_differences(loss, xs)) < 1e-6
    assert d_weights.keys() == weights.keys()
    for key, weight in weights.items():
        assert relative_error(d_weights[key], finite_differences(loss, weight)) < 1e-6


@pytest.mark.parametrize("T", [1, 9])
@pytest.mark.parametrize(("I", "H"), SHAPES)
@pytest.mark.parametrize("name", twins.CELLS)
def test_outputs_and_gradients_equal_the_twin(name, I, H, T):
    step, step_backward, _ = twins.CELLS[name]
    layer = Layer(name, I, H, T)
    state, weights = layer.double()
    xs, d_hs = random_rows(T, I, H)
    hs = layer.forward(xs, T)
    steps = twins.sequence(step, xs.astype(np.float64), state, weights)
    assert relative_error(hs, [s.state[0] for s in steps]) < 1e-5
    assert relative_error(layer.state, steps[-1].state) < 1e-5

    d_xs = layer.backward(d_hs, T - 1, T)
    _, expected, d_weights = twins.backward(
        step_backward, steps, d_hs, np.zeros_like(state), weights
    )
    assert relative_error(d_xs, expected) < 1e-4
    for key, d in layer.views(layer.grads).items():
        assert relative_error(d, d_weights[key]) < 1e-4


@pytest.mark.parametrize("name", twins.CELLS)
def test_a_wrapped_tape_gives_the_gradient_of_the_last_ticks(name):
    T, I, H = 7, 3, 17
    step, step_backward, _ = twins.CELLS[name]
    layer = Layer(name, I, H, T)
    xs, d_hs = random_rows(T + 3, I, H)
    layer.forward(xs[:3], T)
    state, weights = layer.double()
    layer.forward(xs[3:], T, start=3)
    ring = np.roll(d_hs[3:], 3, axis=0)
    d_xs = layer.backward(ring, 2, T)
    steps = twins.sequence(step, xs[3:].astype(np.float64), state, weights)
    _, expected, d_weights = twins.backward(
        step_backward, steps, d_hs[3:], np.zeros_like(state), weights
    )
    assert relative_error(np.roll(d_xs, -3, axis=0), expected) < 1e-4
    for key, d in layer.views(layer.grads).items():
        assert relative_error(d, d_weights[key]) < 1e-4


@pytest.mark.parametrize("name", twins.CELLS)
def test_a_tape_that_is_not_full_gives_the_gradient_of_its_ticks(name):
    T, I, H, steps = 6, 2, 5, 4
    layer, short = Layer(name, I, H, T), Layer(name, I, H, steps)
    short.weights, short.state = layer.weights, layer.state.copy()
    xs, d_hs = random_rows(steps, I, H)
    layer.forward(xs, T)
    short.forward(xs, steps)
    layer.backward(np.vstack([d_hs, np.full((T - steps, H), np.nan, np.float32)]), steps - 1, steps)
    short.backward(d_hs, steps - 1, steps)
    for key, d in layer.views(layer.grads).items():
        assert np.array_equal(d, short.views(short.grads)[key])


@pytest.mark.parametrize("name", twins.CELLS)
def test_matrices_come_first_among_the_weights(name):
    I, H = 3, 17
    layer = Layer(name, I, H, 1)
    views = layer.views(np.arange(layer.weights.size))
    decays = cells.matrices_size(layer.cell, I, H)
    for view in views.values():
        assert (view.max() < decays) == (view.ndim == 2)
        assert (view.min() >= decays) == (view.ndim == 1)


def forward_gradient(name, xs, d_hs, state, weights):
    """Traces of the twin, gradient of the last inputs, and sum of the gradients of all ticks."""
    traces_of, trace_step, trace_gradient = twins.FORWARD[name]
    traces = traces_of(xs.shape[1], state.shape[1])
    sums = {key: np.zeros_like(weight) for key, weight in weights.items()}
    steps = twins.sequence(twins.CELLS[name].step, xs, state, weights)
    for step, d_h in zip(steps, d_hs, strict=True):
        traces = trace_step(traces, step, weights)
        d_x, d_weights = trace_gradient(traces, step, d_h, weights)
        for key, d in d_weights.items():
            sums[key] += d
    return traces, d_x, sums


def double_rows(T, I, H):
    """`random_rows` in float64."""
    return tuple(rows.astype(np.float64) for rows in random_rows(T, I, H))


def full_gradient(name, xs, d_hs, state, weights):
    """Gradients of inputs and weights by back-propagation through the whole stream."""
    step, step_backward, _ = twins.CELLS[name]
    steps = twins.sequence(step, xs, state, weights)
    _, d_xs, d_weights = twins.backward(step_backward, steps, d_hs, np.zeros_like(state), weights)
    return d_xs, d_weights


@pytest.mark.parametrize(("I", "H"), SHAPES)
def test_learning_in_real_time_equals_back_propagation_through_the_whole_stream(I, H):
    state, weights = Layer("elstm", I, H, 1).double()
    xs, d_hs = double_rows(300, I, H)
    _, d_x, actual = forward_gradient("elstm", xs, d_hs, state, weights)
    d_xs, expected = full_gradient("elstm", xs, d_hs, state, weights)
    assert relative_error(d_x, d_xs[-1]) < 1e-10
    for key, d in expected.items():
        assert relative_error(actual[key], d) < 1e-10


def jacobians(step_backward, step, weights):
    """Derivatives of a step's state with respect to the state before and to all weights, flat."""
    by_state, by_weights = [], []
    for unit in np.eye(step.state.size):
        d_prev, _, d_weights = step_backward(step, unit.reshape(step.state.shape), weights)
        by_state.append(d_prev.ravel())
        by_weights.append(np.concatenate([d_weights[key].ravel() for key in weights]))
    return np.array(by_state), np.array(by_weights)


@pytest.mark.parametrize(("I", "H"), [(1, 1), (3, 5)])
@pytest.mark.parametrize("name", SNAP)
def test_snap1_keeps_what_a_weight_reaches_within_one_tick(name, I, H):
    """The definition: all derivatives of the state with respect to weights, most set to zero."""
    step, step_backward, _ = twins.CELLS[name]
    state, weights = Layer(name, I, H, 1).double()
    xs, d_hs = double_rows(50, I, H)
    influence, expected = 0.0, 0.0
    for tick, d_h in zip(twins.sequence(step, xs, state, weights), d_hs, strict=True):
        by_state, direct = jacobians(step_backward, tick, weights)
        past = by_state @ influence if np.ndim(influence) else 0.0 * direct
        influence = (direct != 0) * (past + direct)
        expected = expected + d_h @ influence[:H]
    traces, d_x, actual = forward_gradient(name, xs, d_hs, state, weights)
    assert (
        relative_error(np.concatenate([actual[key].ravel() for key in weights]), expected) < 1e-10
    )
    kept = np.concatenate([trace.ravel() for trace in traces.values()])
    assert relative_error(np.sort(kept), np.sort(influence[influence != 0])) < 1e-10
    d_xs, _ = full_gradient(name, xs[-1:], d_hs[-1:], tick.state_prev, weights)
    assert relative_error(d_x, d_xs[0]) < 1e-10


@pytest.mark.parametrize(("I", "H"), SHAPES)
@pytest.mark.parametrize("name", SNAP)
def test_snap1_is_exact_if_units_do_not_read_each_other(name, I, H):
    """Except for the weights of the LSTM's output gate, which reach c after two ticks."""
    state, weights = Layer(name, I, H, 1).double()
    gates = weights["w"].shape[1] // H
    weights["w"][:H] *= np.tile(np.eye(H), gates)
    xs, d_hs = double_rows(300, I, H)
    _, _, actual = forward_gradient(name, xs, d_hs, state, weights)
    _, expected = full_gradient(name, xs, d_hs, state, weights)
    for key, d in expected.items():
        exact = slice(3 * H if name == "lstm" else None)
        assert relative_error(actual[key][..., exact], d[..., exact]) < 1e-10


@pytest.mark.parametrize("spatial", [True, False])
@pytest.mark.parametrize(("I", "H"), SHAPES)
@pytest.mark.parametrize("name", twins.FORWARD)
def test_traces_and_their_gradients_equal_the_twin(name, I, H, spatial):
    layer = Layer(name, I, H, 1)
    state, weights = layer.double()
    xs, d_hs = random_rows(50, I, H)
    d_x = np.zeros(I if spatial else 0, np.float32)
    views = layer.learn_forward(d_x, xs, d_hs)
    double = xs.astype(np.float64), d_hs.astype(np.float64)
    traces, expected, sums = forward_gradient(name, *double, state, weights)
    if spatial:
        assert relative_error(d_x, expected) < 1e-4
    for key, trace in traces.items():
        assert relative_error(views[key], trace) < 1e-4
    for key, d in layer.views(layer.grads).items():
        assert relative_error(d, sums[key]) < 1e-4


@pytest.mark.parametrize("name", twins.FORWARD)
def test_traces_of_silent_inputs_end_above_denormals(name):
    I, H = 3, 17
    layer = Layer(name, I, H, 1)
    xs, d_hs = random_rows(3000, I, H)
    xs[10:] = 0.0
    traces = layer.learn_forward(np.zeros(0, np.float32), xs, d_hs)
    for key in twins.FORWARD[name].traces(I, H):
        assert np.abs(traces[key]).min() >= np.finfo(np.float32).tiny
