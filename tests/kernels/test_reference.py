"""Gradients of the reference against central finite differences, in float64."""

import numpy as np
import pytest
from finite_differences import finite_differences
from kernel_calls import relative_error
from reference.lstm import lstm_backward, lstm_sequence
from reference.network import OnlineNetwork
from reference.optimizer import Optimizer, loss_gradient, loss_value

SHAPES = [(1, 1, 1), (6, 3, 4), (9, 1, 7), (4, 8, 1)]  # (T, I, H)


@pytest.mark.parametrize(("T", "I", "H"), SHAPES)
def test_lstm_gradients_equal_finite_differences(T, I, H):
    rng = np.random.default_rng(0)
    xs, h, c = rng.normal(size=(T, I)), rng.normal(size=H), rng.normal(size=H)
    w, b = rng.normal(size=(H + I, 4 * H)), rng.normal(size=4 * H)
    v_hs, v_h, v_c = rng.normal(size=(T, H)), rng.normal(size=H), rng.normal(size=H)

    def loss():
        steps = lstm_sequence(xs, h, c, w, b)
        hs = np.array([step.h for step in steps])
        return np.sum(hs * v_hs) + steps[-1].h @ v_h + steps[-1].c @ v_c

    steps = lstm_sequence(xs, h, c, w, b)
    gradients = lstm_backward(steps, v_hs, v_h, v_c, w)
    for x, d_x in zip((w, b, xs, h, c), gradients, strict=True):
        assert relative_error(d_x, finite_differences(loss, x)) < 1e-6


@pytest.mark.parametrize("kind", ["squared", "absolute", "huber"])
def test_loss_gradients_equal_finite_differences(kind):
    errors = np.array([-3.0, -1.2, -0.4, 0.3, 0.9, 1.5])
    expected = finite_differences(lambda: loss_value(kind, errors).sum(), errors)
    assert relative_error(loss_gradient(kind, errors), expected) < 1e-6


@pytest.mark.parametrize("stride", [1, 3])
def test_network_gradient_is_that_of_the_mean_loss_of_the_last_stride_ticks(stride):
    rng = np.random.default_rng(1)
    I, H, K, window = 2, 3, 2, 5
    params = {
        "w": rng.normal(size=(H + I, 4 * H)),
        "b": rng.normal(size=4 * H),
        "w_head": rng.normal(size=(K, H)),
        "b_head": rng.normal(size=K),
    }
    frozen = Optimizer("sgd", 0.0, 1.0)
    net = OnlineNetwork(params, window, 100, "squared", frozen)
    xs, ys = rng.normal(size=(12, I)), rng.normal(size=(12, K))
    for x, y in zip(xs, ys, strict=True):
        before = (net.h, net.c) if len(net.steps) < window else None
        net.advance(x)
        net.learn(y)
    assert before is None
    start = net.steps[0]
    net.unlearned = stride

    def loss():
        h, c = start.inputs[:H], start.c_prev
        steps = lstm_sequence(xs[-window:], h, c, net.params["w"], net.params["b"])
        outputs = np.array([step.h for step in steps]) @ net.params["w_head"].T
        errors = outputs + net.params["b_head"] - ys[-window:]
        return loss_value("squared", errors[-stride:]).sum() / stride

    for name, d_p in net.gradient().items():
        assert relative_error(d_p, finite_differences(loss, net.params[name])) < 1e-6
