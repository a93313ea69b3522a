"""GRU kernels against PyTorch and against each other."""

from pathlib import Path

import numpy as np
import pytest
from kernel_calls import relative_error

from streamlstm.kernels import linear
from streamlstm.kernels.cells import gru
from streamlstm.kernels.vector import LANES

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "gru.npz")


class Tape:
    """Arrays of a forward pass and of the backward pass that follows."""

    def __init__(self, T, I, H):
        f = np.float32
        self.hs, self.h, self.sums = np.zeros((T, H), f), np.zeros(H, f), np.zeros(3 * H, f)
        self.h_prevs, self.inputs = np.zeros((T, H), f), np.zeros((T, I), f)
        self.gates = np.zeros((T, 4 * H), f)
        self.d_w, self.d_b = np.zeros((H + I, 3 * H), f), np.zeros(4 * H, f)
        self.d_zs = np.zeros((T, 4 * H), f)
        self.d_bh, self.d_h, self.d_u = np.zeros(3 * H, f), np.zeros(H, f), np.zeros(H, f)

    def forward(self, xs, w, b):
        gru.gru_sequence(
            self.hs, self.h, self.h_prevs, self.inputs, self.gates, self.sums, xs, w, b
        )

    def backward(self, d_hs, w, newest, steps):
        gru.gru_backward(
            self.d_w, self.d_b, self.d_zs, self.d_bh, self.d_h, self.d_u, d_hs,
            self.h_prevs, self.inputs, self.gates, w, newest, steps,
        )  # fmt: skip


def random_problem(T, I, H, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(T, I), (H,), (H + I, 3 * H), (4 * H,), (T, H), (H,)]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("shape", sorted({name.split("/")[0] for name in GOLDENS}))
def test_outputs_and_gradients_equal_pytorch(shape):
    T, I, H = map(int, shape.split("_"))
    g = {name.split("/")[1]: GOLDENS[name] for name in GOLDENS if name.startswith(f"{shape}/")}
    w = np.ascontiguousarray(np.hstack([g["weight_hh_l0"], g["weight_ih_l0"]]).T)
    b_x, b_h = g["bias_ih_l0"], g["bias_hh_l0"]
    b = np.concatenate([b_x[: 2 * H] + b_h[: 2 * H], b_x[2 * H :], b_h[2 * H :]])
    tape = Tape(T, I, H)
    tape.h[:], tape.d_h[:] = g["h0"], g["v_h"]
    tape.forward(g["x"], w, b)
    assert relative_error(tape.hs, g["out"]) < 1e-5
    tape.backward(g["v_out"], w, T - 1, T)
    assert relative_error(tape.d_w[:H].T, g["d_weight_hh_l0"]) < 1e-4
    assert relative_error(tape.d_w[H:].T, g["d_weight_ih_l0"]) < 1e-4
    assert relative_error(tape.d_b[: 3 * H], g["d_bias_ih_l0"]) < 1e-4
    assert relative_error(tape.d_b[3 * H :], g["d_bias_hh_l0"][2 * H :]) < 1e-4
    assert relative_error(tape.d_h, g["d_h0"]) < 1e-4


def test_single_steps_equal_one_sequence_call():
    T, I, H = 12, 3, 9
    xs, h, w, b, *_ = random_problem(T, I, H)
    whole, single = Tape(T, I, H), Tape(1, I, H)
    whole.h[:], single.h[:] = h, h
    whole.forward(xs, w, b)
    for t in range(T):
        single.forward(xs[t : t + 1], w, b)
        assert np.array_equal(single.h, whole.hs[t])


def test_a_wrapped_tape_gives_the_gradient_of_an_unrolled_one():
    T, I, H = 7, 2, 5
    xs, h, w, b, d_hs, _ = random_problem(T, I, H)
    tape, ring = Tape(T, I, H), Tape(T, I, H)
    tape.h[:] = h
    tape.forward(xs, w, b)
    for name in ("h_prevs", "inputs", "gates"):
        getattr(ring, name)[:] = np.roll(getattr(tape, name), 3, axis=0)
    tape.backward(d_hs, w, T - 1, T)
    ring.backward(np.roll(d_hs, 3, axis=0), w, 2, T)
    assert relative_error(ring.d_w, tape.d_w) < 1e-6
    assert np.array_equal(ring.d_h, tape.d_h)


@pytest.mark.parametrize("vectors", range(1, 17))
def test_affine_of_any_number_of_vectors_equals_numpy(vectors):
    rng = np.random.default_rng(0)
    M = 5
    for N in (vectors * LANES, vectors * LANES + 3):
        x, w, b = (rng.normal(size=s).astype(np.float32) for s in ((M,), (M, N), (N,)))
        out = np.empty(N, np.float32)
        linear.affine(out, x, w, b)
        assert relative_error(out, x @ w + b) < 1e-5
