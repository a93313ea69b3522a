"""What this machine can do, and how much of it learning from a tick uses.

Measures the multiply-add rate of the vector unit and the rate at which caches deliver, then each
part of a tick. The bound of a part is the larger of its multiply-adds over the one and its bytes
over the other; bytes that fit the nearest cache and were there a step before count at its rate.
Run with `python benchmarks/roofline.py`.
"""

import time
from pathlib import Path

import harness
import numpy as np

from streamlstm.kernels import linear, optimizer
from streamlstm.kernels.cells import lstm
from streamlstm.kernels.jit import jit
from streamlstm.kernels.layout import aligned_zeros
from streamlstm.kernels.regressor import entries
from streamlstm.kernels.vector import LANES, load, splat, store, total
from streamlstm.regressor import LSTMRegressor

INPUTS, WINDOW, ROUNDS = 8, 20, 15


@jit
def multiply_adds(calls, x, out):
    """Twelve independent chains, 64 links long."""
    a = b = c = d = e = f = g = h = i = j = k = m = load(x, 0)
    s, t = splat(x[0]), splat(x[1])
    for _ in range(64 * calls):
        a, b, c, d = a * s + t, b * s + t, c * s + t, d * s + t
        e, f, g, h = e * s + t, f * s + t, g * s + t, h * s + t
        i, j, k, m = i * s + t, j * s + t, k * s + t, m * s + t
    store(out, 0, (a + b + c + d) + (e + f + g + h) + (i + j + k + m))


@jit
def read(calls, x, out):
    """Sum of a whole array."""
    for _ in range(calls):
        a = b = c = d = e = f = g = h = splat(out[0])
        for n in range(0, x.size, 8 * LANES):
            a += load(x, n)
            b += load(x, n + LANES)
            c += load(x, n + 2 * LANES)
            d += load(x, n + 3 * LANES)
            e += load(x, n + 4 * LANES)
            f += load(x, n + 5 * LANES)
            g += load(x, n + 6 * LANES)
            h += load(x, n + 7 * LANES)
        out[0] = total((a + b + c + d) + (e + f + g + h))


@jit
def steps(calls, h, c, gates, tanh_c, inputs, w, b):
    """Forward steps."""
    for _ in range(calls):
        lstm.lstm_step(h, c, gates, tanh_c, inputs, c, w, b)


@jit
def sweep(calls, d_h, w, d_zs):
    """The products of a backward sweep."""
    for _ in range(calls):
        for t in range(d_zs.shape[0]):
            linear.rows_dot(d_h, w, d_zs[t], t % 2 == 1)


@jit
def weight_gradient(calls, d_w, d_b, xs, d_zs):
    """The matrix product after the sweep."""
    for _ in range(calls):
        linear.outer_sum(d_w, d_b, xs, d_zs)


@jit
def adam(calls, params, first, second, grads):
    """Clipping and optimiser."""
    for n in range(calls):
        factor = optimizer.clip_factor(optimizer.squared_norm(grads), 1.0)
        optimizer.optimizer_step(params, first, second, grads, optimizer.ADAM, 0.001, factor, n + 1)


def microseconds(kernel, *arguments) -> float:
    """Of one call, the best of several rounds of about 10 ms."""
    kernel(1, *arguments)
    start = time.perf_counter()
    kernel(10, *arguments)
    calls = max(int(0.1 / (time.perf_counter() - start)), 1)
    best = np.inf
    for _ in range(ROUNDS):
        start = time.perf_counter()
        kernel(calls, *arguments)
        best = min(best, (time.perf_counter() - start) / calls * 1e6)
    return best


def filled(*shape: int) -> np.ndarray:
    """Aligned random numbers."""
    array = aligned_zeros(int(np.prod(shape))).reshape(shape)
    array[:] = np.random.default_rng(0).normal(size=shape) * 0.1
    return array


class Machine:
    """Attainable rates, measured."""

    def __init__(self) -> None:
        x = filled(2 * LANES)
        x[:2] = 0.5
        out = aligned_zeros(LANES)
        self.macs = 64 * 12 * LANES / microseconds(multiply_adds, x, out)  # a microsecond
        path = Path("/sys/devices/system/cpu/cpu0/cache/index0/size")
        self.nearest = int(path.read_text().rstrip("K\n")) * 1024 if path.exists() else 32768
        sizes = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
        self.bytes = {
            size * 1024: size * 1024 / microseconds(read, filled(size * 256), out) for size in sizes
        }

    def bound(self, macs: float, size: int, passes: int = 1, again: bool = False) -> float:
        """Microseconds at least: `passes` over `size` bytes, `again` if they come back to it."""
        far = self.bytes[max((s for s in self.bytes if s <= size), default=min(self.bytes))]
        near = self.bytes[16384]
        kept = min(self.nearest, size) if again or size <= self.nearest else 0
        return max(macs / self.macs, passes * (kept / near + (size - kept) / far))


def main() -> None:
    """Bounds and figures at several sizes."""
    machine = Machine()
    shown = ", ".join(f"{s // 1024} KiB {r / 1e3:.0f}" for s, r in machine.bytes.items())
    print(f"{machine.macs / 1e3:.1f} G multiply-adds/s; read GB/s at {shown}")
    rows, data = [], {"macs_per_us": machine.macs, "bytes_per_us": machine.bytes}
    rng = np.random.default_rng(0)
    for H in (32, 64, 128):
        M, N = H + INPUTS, 4 * H
        P = M * N + N + H + 16
        w, d_zs = filled(M, N), filled(WINDOW, N)
        vectors = [filled(n) for n in (H, H, N, H, M)]
        second = np.abs(filled(P))
        parts = {
            "step": (
                microseconds(steps, *vectors, w, filled(N)),
                machine.bound(M * N, 4 * M * N),
            ),
            "backward sweep": (
                microseconds(sweep, filled(H), w[:H], d_zs),
                machine.bound(WINDOW * H * N, 4 * H * N, WINDOW, again=True),
            ),
            "weight gradient": (
                microseconds(weight_gradient, filled(M, N), filled(N), filled(WINDOW, M), d_zs),
                machine.bound(WINDOW * M * N, 4 * M * N),
            ),
            "clipping and Adam": (
                microseconds(adam, filled(P), filled(P), second, filled(P)),
                # reads the gradient, then it and three more; writes go on beside the reads
                machine.bound(8 * P, 5 * 4 * P),
            ),
        }
        model = LSTMRegressor(hidden_size=H, window=WINDOW)
        xs, ys = rng.normal(size=(500, INPUTS)), rng.normal(size=500)
        model.learn_many(xs, ys)
        arguments = (np.empty(500), xs, ys, *model._network.buffers, model._stats)
        best = np.inf
        for _ in range(ROUNDS):
            start = time.perf_counter()
            entries("lstm", "tbptt").learn_many(*arguments)
            best = min(best, (time.perf_counter() - start) / 500 * 1e6)
        parts["learn, whole tick"] = (best, sum(bound for _, bound in parts.values()))
        for name, (measured, bound) in parts.items():
            share = f"{100 * bound / measured:.0f}%"
            rows.append([str(H), name, f"{measured:.2f}", f"{bound:.2f}", share])
        data[H] = parts
        sweep_and_gradient = H * N + M * N  # multiply-adds for each tick of the window
        fma = (M * N + WINDOW * sweep_and_gradient) / machine.macs
        rows.append(
            [str(H), "its multiply-adds alone", "", f"{fma:.2f}", f"{100 * fma / best:.0f}%"]
        )
    title = (
        f"Roofline: {machine.macs / 1e3:.0f} G multiply-adds/s; microseconds measured and at least "
        f"needed, window {WINDOW}, {INPUTS} features"
    )
    harness.report("roofline", title, ["H", "part", "measured", "bound", "share"], rows, data)


if __name__ == "__main__":
    main()
