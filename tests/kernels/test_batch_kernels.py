"""LSTM and head on a batch of windows, against the reference window by window."""

import math

import numpy as np
import pytest
from kernel_calls import relative_error
from reference import lstm as reference

from streamlstm.kernels import batch
from streamlstm.kernels.layout import aligned_zeros

B = batch.BATCH
SHAPES = [
    *[(1, 1, 1), (2, 6, 1), (3, 1, 2), (4, 3, 3), (1, 8, 32), (5, 3, 5), (8, 7, 13)],
    *[(9, 2, 8), (6, 1, 16), (12, 6, 32), (5, 5, 35), (4, 6, 64)],
]
HEADS = [
    *[(20, 6, 24, 32), (20, 6, 1, 32), (20, 19, 24, 32), (20, 0, 12, 32), (5, 0, 1, 1)],
    *[(1, 0, 1, 1), (7, 6, 7, 5), (9, 2, 7, 20), (4, 1, 2, 8), (6, 1, 3, 8), (5, 2, 25, 35)],
    *[(6, 0, 24, 5), (3, 0, 4, 1), (8, 3, 13, 13), (3, 1, 48, 64)],
]


class Tape:
    """Arrays of a forward pass and of the backward pass that follows."""

    def __init__(self, T, I, H):
        f = np.float32
        self.inputs, self.cs = np.zeros((T + 1, H + I, B), f), np.zeros((T + 1, H, B), f)
        self.gates, self.tanh_cs = np.zeros((T, 4 * H, B), f), np.zeros((T, H, B), f)
        self.d_w, self.d_b = np.ones((H + I, 4 * H), f), np.ones(4 * H, f)
        self.d_zs = np.zeros((T, 4 * H, B), f)
        self.d_h, self.d_c = np.zeros((H, B), f), np.zeros((H, B), f)

    def forward(self, w, b):
        batch.lstm_batch(self.inputs, self.cs, self.gates, self.tanh_cs, w, b)

    def backward(self, d_hs, w):
        batch.lstm_batch_backward(
            self.d_w, self.d_b, self.d_zs, self.d_h, self.d_c, d_hs,
            self.inputs, self.cs, self.gates, self.tanh_cs, w,
        )  # fmt: skip


@pytest.mark.parametrize(("T", "I", "H"), SHAPES)
def test_outputs_and_gradients_equal_the_reference(T, I, H):
    rng = np.random.default_rng(0)
    shapes = [(T, I, B), (H, B), (H, B), (H + I, 4 * H), (4 * H,), (T, H, B), (H, B), (H, B)]
    xs, h, c, w, b, d_hs, d_h, d_c = (rng.normal(size=s).astype(np.float32) for s in shapes)
    tape = Tape(T, I, H)
    tape.inputs[:-1, H:], tape.inputs[0, :H], tape.cs[0] = xs, h, c
    tape.d_h[:], tape.d_c[:] = d_h, d_c
    tape.forward(w, b)
    tape.backward(d_hs, w)

    double = w.astype(np.float64)
    d_w, d_b = np.zeros(w.shape), np.zeros(b.shape)
    for n in range(B):
        steps = reference.lstm_sequence(xs[:, :, n], h[:, n], c[:, n], double, b)
        hs, cs = [step.h for step in steps], [step.c for step in steps]
        assert relative_error(tape.inputs[1:, :H, n], hs) < 1e-5
        assert relative_error(tape.cs[1:, :, n], cs) < 1e-5
        d_w_n, d_b_n, _, d_h0, d_c0 = reference.lstm_backward(
            steps, d_hs[:, :, n], d_h[:, n], d_c[:, n], double
        )
        assert relative_error(tape.d_h[:, n], d_h0) < 1e-4
        assert relative_error(tape.d_c[:, n], d_c0) < 1e-4
        d_w += d_w_n
        d_b += d_b_n
    assert relative_error(tape.d_w, d_w) < 1e-4
    assert relative_error(tape.d_b, d_b) < 1e-4
    assert np.array_equal(tape.inputs[:-1, H:], xs)


def aligned(rng, *shape):
    """Random numbers on cache lines, as `batch` recommends."""
    array = aligned_zeros(math.prod(shape)).reshape(shape)
    array[:] = rng.normal(size=shape)
    return array


@pytest.mark.parametrize(("T", "first", "K", "H"), HEADS)
@pytest.mark.parametrize("windows", [B, 2 * B])
def test_head_equals_plain_sums(T, first, K, H, windows):
    rng = np.random.default_rng(0)
    shapes = [(T, K, windows), (T + 1, H + 3, windows), (K, H), (K,), (T, K, windows)]
    outputs, inputs, w, b, d_outputs = (aligned(rng, *shape) for shape in shapes)
    before = outputs.copy()
    d_outputs[:first] = inputs[: first + 1] = inputs[:, H:] = np.nan  # not to be read
    batch.head_batch(outputs, inputs, w, b, first)
    hs, ds = inputs[first + 1 :, :H].astype(np.float64), d_outputs[first:].astype(np.float64)
    assert np.array_equal(outputs[:first], before[:first])
    assert relative_error(outputs[first:], w @ hs + b[:, None]) < 1e-5

    d_w, d_b, d_hs = (np.full(s, np.nan, np.float32) for s in [(K, H), (K,), (T, H, windows)])
    batch.head_batch_backward(d_w, d_b, d_hs, d_outputs, inputs, w, first)
    assert relative_error(d_w, np.einsum("tkn,tjn->kj", ds, hs)) < 1e-4  # terms cancel
    assert relative_error(d_b, ds.sum((0, 2))) < 1e-4
    assert not d_hs[:first].any()
    assert relative_error(d_hs[first:], w.T @ ds) < 1e-5
