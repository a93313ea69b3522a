"""Truncated back-propagation through time, against the reference."""

import numpy as np
import pytest
from kernel_calls import grads_of, outputs_of, params_of, random_network, relative_error, twin
from reference import optimizer as reference
from reference.lstm import lstm_backward, lstm_sequence

from streamlstm.kernels import loss, optimizer

T = 60


def stream(I, K, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(T, I)).astype(np.float32), rng.normal(size=(T, K)).astype(np.float32)


@pytest.mark.parametrize("kind", ["squared", "absolute", "huber"])
@pytest.mark.parametrize("method", ["sgd", "rmsprop", "adam"])
@pytest.mark.parametrize(("window", "stride"), [(1, 1), (6, 1), (6, 4), (5, 5)])
def test_learning_follows_the_reference(kind, method, window, stride):
    I, H, K = 3, 5, 2
    net = random_network(I, H, K, window, stride, kind, method, rate=0.003)
    ref = twin(net, kind, method)
    xs, targets = stream(I, K)
    targets[10:14] = np.nan
    targets[30, 0] = np.nan
    expected = []
    for x, target in zip(xs, targets, strict=True):
        expected.append(ref.advance(x.astype(float)))
        ref.learn(target.astype(float))
    assert relative_error(outputs_of(net, xs, targets), expected) < 1e-4
    for name, array in params_of(net).items():
        assert relative_error(array, ref.params[name]) < 1e-4


@pytest.mark.parametrize(("I", "H", "window"), [(1, 1, 1), (3, 5, 4), (8, 32, 20), (2, 13, 7)])
@pytest.mark.parametrize("stride", [1, 3])
def test_frozen_weights_make_the_ring_gradient_that_of_the_full_window(I, H, window, stride):
    stride = min(stride, window)
    net = random_network(I, H, 1, window, stride, rate=0.0)
    xs, targets = stream(I, 1)
    state = random_network(I, H, 1, window, stride, rate=0.0)
    outputs_of(state, xs[: T - window], targets[: T - window])
    h, c = state.states[0].astype(float)
    outputs_of(net, xs, targets)

    w, b, w_head, b_head = (p.astype(float) for p in net.params.values())
    steps = lstm_sequence(xs[-window:].astype(float), h, c, w, b)
    hs = np.array([step.h for step in steps])
    d_ys = (hs @ w_head.T + b_head - targets[-window:]) / stride
    d_ys[:-stride] = 0
    zero = np.zeros(H)
    d_w, d_b, *_ = lstm_backward(steps, d_ys @ w_head, zero, zero, w)
    grads = grads_of(net)
    assert relative_error(grads["w"], d_w) < 1e-4
    assert relative_error(grads["b"], d_b) < 1e-4
    assert relative_error(grads["w_head"], d_ys.T @ hs) < 1e-4
    assert relative_error(grads["b_head"], d_ys.sum(0)) < 1e-4


@pytest.mark.parametrize("window", [1, 4, 9])
def test_the_gradient_reaches_window_ticks_back_and_no_further(window):
    """Input n is 1 at tick n only, so the gradient of its weights is what reached tick n."""
    ticks, H = 15, 4
    net = random_network(ticks, H, 1, window, rate=0.0)
    outputs_of(net, np.eye(ticks), np.ones((ticks, 1)))
    reached = np.abs(grads_of(net)["w"][H:]).max(axis=1) > 0
    assert reached.tolist() == [n >= ticks - window for n in range(ticks)]


def test_an_update_comes_every_stride_ticks():
    net = random_network(window=6, stride=4)
    xs, targets = stream(3, 1)
    before = net.weights.copy()
    outputs_of(net, xs[:3], targets[:3])
    assert np.array_equal(net.weights, before)
    outputs_of(net, xs[3:4], targets[3:4])
    assert not np.array_equal(net.weights, before)


def test_missing_targets_train_nothing():
    net = random_network()
    xs, targets = stream(3, 1)
    before = net.weights.copy()
    outputs_of(net, xs, np.full_like(targets, np.nan))
    assert np.array_equal(net.weights, before)


@pytest.mark.parametrize("kind", list(loss.LOSSES))
def test_loss_gradients_equal_the_reference(kind):
    code = loss.LOSSES[kind]
    errors = np.array([-2.5, -1.0, -0.3, 0.0, 0.7, 1.0, 4.0], np.float32)
    gradients = [loss.loss_gradient(code, e) for e in errors]
    assert np.allclose(gradients, reference.loss_gradient(kind, errors))


def test_clipping_limits_the_global_norm():
    grads = np.array([3.0, 4.0], np.float32)
    assert optimizer.clip_factor(optimizer.squared_norm(grads), 10.0) == 1.0
    assert optimizer.clip_factor(optimizer.squared_norm(grads), 1.0) == pytest.approx(0.2)


def test_an_overflowing_gradient_changes_nothing():
    params = np.ones(3, np.float32)
    first, second = np.zeros(3, np.float32), np.zeros(3, np.float32)
    grads = np.array([1.0, np.inf, np.nan], np.float32)
    factor = optimizer.clip_factor(optimizer.squared_norm(grads), 1.0)
    for kind in optimizer.OPTIMIZERS.values():
        optimizer.optimizer_step(params, first, second, grads, kind, 0.1, factor, 1)
    assert np.array_equal(params, np.ones(3))
    assert np.isfinite(first).all()
    assert np.isfinite(second).all()
