"""LSTM kernels against the reference, against PyTorch and against each other."""

from pathlib import Path

import numpy as np
import pytest
from kernel_calls import relative_error
from reference import lstm as reference

from streamlstm.kernels import linear, scalar
from streamlstm.kernels.cells import lstm

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "lstm.npz")
SHAPES = [(1, 1, 1), (1, 8, 32), (20, 8, 32), (3, 1, 5), (8, 7, 1), (13, 3, 17), (5, 2, 64)]


class Tape:
    """Arrays of a forward pass and of the backward pass that follows."""

    def __init__(self, T, I, H):
        f = np.float32
        self.hs, self.h, self.c = np.zeros((T, H), f), np.zeros(H, f), np.zeros(H, f)
        self.inputs, self.gates = np.zeros((T, H + I), f), np.zeros((T, 4 * H), f)
        self.c_prevs, self.tanh_cs = np.zeros((T, H), f), np.zeros((T, H), f)
        self.d_w, self.d_b = np.zeros((H + I, 4 * H), f), np.zeros(4 * H, f)
        self.d_zs, self.d_h, self.d_c = np.zeros((T, 4 * H), f), np.zeros(H, f), np.zeros(H, f)

    def forward(self, xs, w, b):
        lstm.lstm_sequence(
            self.hs, self.h, self.c, self.inputs, self.gates, self.c_prevs, self.tanh_cs, xs, w, b
        )

    def backward(self, d_hs, w, newest, steps):
        lstm.lstm_backward(
            self.d_w, self.d_b, self.d_zs, self.d_h, self.d_c, d_hs,
            self.inputs, self.gates, self.c_prevs, self.tanh_cs, w, newest, steps,
        )  # fmt: skip


def random_problem(T, I, H, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(T, I), (H,), (H,), (H + I, 4 * H), (4 * H,), (T, H), (H,), (H,)]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize(("T", "I", "H"), SHAPES)
def test_sequence_and_gradients_equal_the_reference(T, I, H):
    xs, h, c, w, b, d_hs, d_h, d_c = random_problem(T, I, H)
    tape = Tape(T, I, H)
    tape.h[:], tape.c[:], tape.d_h[:], tape.d_c[:] = h, c, d_h, d_c
    tape.forward(xs, w, b)
    tape.backward(d_hs, w, T - 1, T)

    double = [a.astype(np.float64) for a in (xs, h, c, w, b)]
    steps = reference.lstm_sequence(*double)
    d_w, d_b, _, d_h0, d_c0 = reference.lstm_backward(steps, d_hs, d_h, d_c, double[3])
    assert relative_error(tape.hs, [step.h for step in steps]) < 1e-5
    assert relative_error(tape.c, steps[-1].c) < 1e-5
    assert relative_error(tape.d_w, d_w) < 1e-4
    assert relative_error(tape.d_b, d_b) < 1e-4
    assert relative_error(tape.d_h, d_h0) < 1e-4
    assert relative_error(tape.d_c, d_c0) < 1e-4


@pytest.mark.parametrize("shape", sorted({name.split("/")[0] for name in GOLDENS}))
def test_outputs_and_gradients_equal_pytorch(shape):
    T, I, H = map(int, shape.split("_"))
    g = {name.split("/")[1]: GOLDENS[name] for name in GOLDENS if name.startswith(f"{shape}/")}
    w = np.ascontiguousarray(np.hstack([g["weight_hh_l0"], g["weight_ih_l0"]]).T)
    tape = Tape(T, I, H)
    tape.h[:], tape.c[:], tape.d_h[:], tape.d_c[:] = g["h0"], g["c0"], g["v_h"], g["v_c"]
    tape.forward(g["x"], w, g["bias_ih_l0"] + g["bias_hh_l0"])
    assert relative_error(tape.hs, g["out"]) < 1e-5
    assert relative_error(tape.c, g["c_n"]) < 1e-5
    tape.backward(g["v_out"], w, T - 1, T)
    assert relative_error(tape.d_w[:H].T, g["d_weight_hh_l0"]) < 1e-4
    assert relative_error(tape.d_w[H:].T, g["d_weight_ih_l0"]) < 1e-4
    assert relative_error(tape.d_b, g["d_bias_ih_l0"]) < 1e-4
    assert relative_error(tape.d_h, g["d_h0"]) < 1e-4
    assert relative_error(tape.d_c, g["d_c0"]) < 1e-4


def test_single_steps_equal_one_sequence_call():
    T, I, H = 12, 3, 9
    xs, h, c, w, b, *_ = random_problem(T, I, H)
    whole, single = Tape(T, I, H), Tape(1, I, H)
    whole.h[:], whole.c[:], single.h[:], single.c[:] = h, c, h, c
    whole.forward(xs, w, b)
    for t in range(T):
        single.forward(xs[t : t + 1], w, b)
        assert np.array_equal(single.h, whole.hs[t])
    assert np.array_equal(single.c, whole.c)


def test_a_wrapped_tape_gives_the_gradient_of_an_unrolled_one():
    T, I, H = 7, 2, 5
    xs, h, c, w, b, d_hs, *_ = random_problem(T, I, H)
    tape, ring = Tape(T, I, H), Tape(T, I, H)
    tape.h[:], tape.c[:] = h, c
    tape.forward(xs, w, b)
    for name in ("inputs", "gates", "c_prevs", "tanh_cs"):
        getattr(ring, name)[:] = np.roll(getattr(tape, name), 3, axis=0)
    tape.backward(d_hs, w, T - 1, T)
    ring.backward(np.roll(d_hs, 3, axis=0), w, 2, T)
    assert relative_error(ring.d_w, tape.d_w) < 1e-6
    assert np.array_equal(ring.d_h, tape.d_h)


def test_activations_are_accurate_over_the_whole_range():
    x = np.concatenate([np.linspace(-12, 12, 20001), [0.0, 1e-30, -100.0, 1e30]]).astype(np.float32)
    tanh = np.array([scalar.tanh(v) for v in x])
    sigmoid = np.array([scalar.sigmoid(v) for v in x])
    assert np.abs(tanh - np.tanh(x.astype(np.float64))).max() < 3e-7
    assert np.abs(sigmoid - reference.sigmoid(x.astype(np.float64))).max() < 3e-7
    assert np.isnan(scalar.tanh(np.float32(np.nan)))


@pytest.mark.parametrize(("M", "N"), [(1, 1), (3, 5), (4, 4), (9, 2), (8, 33)])
def test_products_equal_numpy(M, N):
    rng = np.random.default_rng(0)
    x, w, b, z = (rng.normal(size=s).astype(np.float32) for s in ((M,), (M, N), (N,), (N,)))
    out = np.empty(N, np.float32)
    linear.affine(out, x, w, b)
    assert relative_error(out, x @ w + b) < 1e-5
    rows = np.empty(M, np.float32)
    linear.rows_dot(rows, w, z)
    assert relative_error(rows, w @ z) < 1e-5
    for T in (1, 4, 6):
        xs, d_zs = (rng.normal(size=(T, n)).astype(np.float32) for n in (M, N))
        d_w, d_b = np.empty((M, N), np.float32), np.empty(N, np.float32)
        linear.outer_sum(d_w, d_b, xs, d_zs)
        assert relative_error(d_w, xs.T @ d_zs) < 1e-5
        assert relative_error(d_b, d_zs.sum(0)) < 1e-5


@pytest.mark.parametrize(("M", "N"), [(1, 1), (3, 5), (5, 20), (9, 40), (4, 64), (7, 139)])
def test_a_product_of_several_rows_gives_the_bits_of_one(M, N):
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(M, N)).astype(np.float32), rng.normal(size=N).astype(np.float32)
    xs = rng.normal(size=(linear.ROW_BLOCK, M)).astype(np.float32)
    together, expected = np.empty((2, linear.ROW_BLOCK, N), np.float32)
    linear.affine_rows(tuple(together), tuple(xs), w, b)
    for out, x in zip(expected, xs, strict=True):
        linear.affine(out, x, w, b)
    assert np.array_equal(together, expected)
