"""Networks in float64 that learn tick by tick, with plain lists for tapes and replay buffers."""

import numpy as np

from reference.cells import CELLS, Step, Weights, backward, sequence
from reference.lstm import Array, lstm_backward, lstm_sequence, lstm_step
from reference.lstm import Step as LSTMStep
from reference.optimizer import Optimizer, loss_gradient, loss_value


class OnlineNetwork:
    """LSTM and Dense head learning by BPTT(h; h'), with a plain list for a tape.

    params: w (H + I, 4H), b (4H,), w_head (K, H), b_head (K,).
    """

    def __init__(
        self, params: dict[str, Array], window: int, stride: int, loss: str, optimizer: Optimizer
    ):
        self.params = {name: p.astype(np.float64) for name, p in params.items()}
        self.window, self.stride, self.loss, self.optimizer = window, stride, loss, optimizer
        H, K = self.params["w_head"].shape[::-1]
        self.h, self.c, self.output = np.zeros(H), np.zeros(H), np.zeros(K)
        self.steps: list[LSTMStep] = []
        self.d_ys: list[Array] = []
        self.unlearned = self.labelled = 0

    def advance(self, x: Array) -> Array:
        """Take one tick's inputs and return the output."""
        p = self.params
        step = lstm_step(x, self.h, self.c, p["w"], p["b"])
        self.h, self.c = step.h, step.c
        self.steps = [*self.steps, step][-self.window :]
        self.d_ys = [*self.d_ys, np.zeros_like(self.output)][-self.window :]
        self.output = p["w_head"] @ step.h + p["b_head"]
        return self.output

    def gradient(self) -> dict[str, Array]:
        """Gradient of the mean loss of the ticks since the last update, through the window."""
        p = self.params
        d_ys = np.array(self.d_ys)
        d_ys[: -self.unlearned] = 0
        d_ys /= self.unlearned
        hs = np.array([step.h for step in self.steps])
        zero = np.zeros_like(self.h)
        d_w, d_b, *_ = lstm_backward(self.steps, d_ys @ p["w_head"], zero, zero, p["w"])
        return {"w": d_w, "b": d_b, "w_head": d_ys.T @ hs, "b_head": d_ys.sum(0)}

    def learn(self, targets: Array) -> None:
        """Score the newest output; every `stride` ticks, update. NaN is a missing target."""
        d_y = loss_gradient(self.loss, self.output - targets)
        self.d_ys[-1] = np.where(np.isnan(targets), 0.0, d_y)
        self.unlearned += 1
        self.labelled += not np.all(np.isnan(targets))
        if self.unlearned == self.stride:
            if self.labelled:
                self.optimizer.step(self.params, self.gradient())
            self.unlearned = self.labelled = 0


def scramble(n: int) -> int:
    """31 pseudo-random bits: output n of splitmix64 with seed 0, shifted right by 33."""
    low = 2**64 - 1
    z = n * 0x9E3779B97F4A7C15 & low
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & low
    z = (z ^ z >> 27) * 0x94D049BB133111EB & low
    return (z ^ z >> 31) >> 33


class ReplayNetwork(OnlineNetwork):
    """`OnlineNetwork` that learns from mini-batches of windows of its past, kept in lists."""

    def __init__(
        self,
        params: dict[str, Array],
        window: int,
        stride: int,
        loss: str,
        optimizer: Optimizer,
        windows: int,
        seed: int,
        capacity: int = 5000,
    ):
        super().__init__(params, window, stride, loss, optimizer)
        self.windows, self.seed, self.capacity = windows, seed, capacity
        self.inputs: list[Array] = []
        self.targets: list[Array] = []  # NaN until they arrive

    def advance(self, x: Array) -> Array:
        """Take one tick's inputs and return the output."""
        self.inputs.append(x)
        self.targets.append(np.full(self.output.size, np.nan))
        return super().advance(x)

    def starts(self) -> list[int]:
        """First ticks of the windows of the next update: the newest window, then random ones."""
        ticks = len(self.inputs)
        newest, oldest = ticks - self.window, max(ticks - self.capacity, 0)
        first = self.seed + self.optimizer.updates * self.windows
        draws = [scramble(first + n) for n in range(1, self.windows)]
        return [newest, *(oldest + draw % (newest - oldest + 1) for draw in draws)]

    def _run(self, start: int) -> tuple[list[LSTMStep], Array, Array]:
        """Run a window from a zero state: steps, (T, K) errors and their weights in the loss.

        The first 30% of the ticks are a burn-in. Horizons after the first have weight 0.03.
        """
        p, zero = self.params, np.zeros_like(self.h)
        part = slice(start, start + self.window)
        steps = lstm_sequence(np.array(self.inputs[part]), zero, zero, p["w"], p["b"])
        hs = np.array([step.h for step in steps])
        errors = hs @ p["w_head"].T + p["b_head"] - np.array(self.targets[part])
        counts = np.where(np.isnan(errors), 0.0, 0.03)
        counts[:, 0] /= 0.03
        first = int(0.3 * self.window)
        counts[:first] = 0
        return steps, np.nan_to_num(errors), counts / (self.windows * (self.window - first))

    def batch_loss(self, starts: list[int]) -> float:
        """Mean loss after the burn-in; a missing target has a loss of 0."""
        runs = [self._run(start) for start in starts]
        return sum(float(np.sum(w * loss_value(self.loss, e))) for _, e, w in runs)

    def batch_gradient(self, starts: list[int]) -> dict[str, Array]:
        """Gradient of `batch_loss`."""
        p, zero = self.params, np.zeros_like(self.h)
        grads = {name: np.zeros_like(value) for name, value in p.items()}
        for start in starts:
            steps, errors, counts = self._run(start)
            d_ys = counts * loss_gradient(self.loss, errors)
            d_w, d_b, *_ = lstm_backward(steps, d_ys @ p["w_head"], zero, zero, p["w"])
            d_w_head = d_ys.T @ np.array([step.h for step in steps])
            for name, d in zip(grads, (d_w, d_b, d_w_head, d_ys.sum(0)), strict=True):
                grads[name] += d
        return grads

    def replay(self) -> None:
        """One update, once there are ticks for three windows."""
        if len(self.inputs) >= 3 * self.window:
            self.optimizer.step(self.params, self.batch_gradient(self.starts()))


class StackedNetwork:
    """Layers of one cell and a Dense head, learning by BPTT(h; 1) on plain lists of steps.

    params: the cell's weights with the number of their layer, w_l0 and so on; w_head (K, H),
    b_head (K,).
    """

    def __init__(self, cell: str, params: Weights, window: int, loss: str, optimizer: Optimizer):
        self.cell = CELLS[cell]
        self.params = {name: p.astype(np.float64) for name, p in params.items()}
        self.window, self.loss, self.optimizer = window, loss, optimizer
        layers = sum(n.startswith("w_l") and not n.endswith("_reverse") for n in params)
        H = self.params["w_head"].shape[1] // (2 if "w_l0_reverse" in params else 1)
        self.states = [np.zeros((self.cell.states, H)) for _ in range(layers)]
        self.tapes: list[list[Step]] = [[] for _ in range(layers)]
        self.output = self.params["b_head"]

    def layer(self, number: int, reverse: str = "") -> Weights:
        """Weights of a layer under the names of its cell."""
        end = f"_l{number}{reverse}"
        return {n.removesuffix(end): p for n, p in self.params.items() if n.endswith(end)}

    def stack_step(self, x: Array) -> Array:
        """Take one tick's inputs and return the output of the last layer."""
        for number, tape in enumerate(self.tapes):
            tape.append(self.cell.step(x, self.states[number], self.layer(number)))
            del tape[: -self.window]
            self.states[number] = tape[-1].state
            x = tape[-1].state[0]
        return x

    def advance(self, x: Array) -> Array:
        """Take one tick's inputs and return the output."""
        self.output = self.params["w_head"] @ self.stack_step(x) + self.params["b_head"]
        return self.output

    def gradient(self, d_y: Array) -> Weights:
        """Gradient of the newest tick's loss, from d_y with respect to the output."""
        grads = {"w_head": np.outer(d_y, self.states[-1][0]), "b_head": d_y}
        return grads | self.stack_gradient(d_y @ self.params["w_head"], self.tapes)

    def stack_gradient(self, d_h: Array, tapes: list[list[Step]], reverse: str = "") -> Weights:
        """Gradient of the weights of a stack, from d_h with respect to its newest output."""
        grads: Weights = {}
        d_hs = np.zeros((len(tapes[0]), d_h.size))
        d_hs[-1] = d_h
        for number in reversed(range(len(tapes))):
            zero = np.zeros_like(self.states[number])
            weights = self.layer(number, reverse)
            _, d_hs, d_weights = backward(
                self.cell.step_backward, tapes[number], d_hs, zero, weights
            )
            grads |= {f"{name}_l{number}{reverse}": d for name, d in d_weights.items()}
        return grads

    def learn(self, targets: Array) -> None:
        """Score the newest output and update. NaN is a missing target."""
        d_y = loss_gradient(self.loss, self.output - targets)
        if not np.all(np.isnan(targets)):
            self.optimizer.step(self.params, self.gradient(np.nan_to_num(d_y)))


class BidirectionalNetwork(StackedNetwork):
    """A forward stack, and a reverse stack from the newest tick back to the tick that is answered.

    params: also those of the reverse stack, w_l0_reverse and so on; w_head (K, 2H). The answer at a
    tick is for the tick `lookahead` ticks before; it means nothing before there is one.
    """

    def __init__(
        self, cell: str, params: Weights, window: int, lookahead: int, loss: str,
        optimizer: Optimizer,
    ):  # fmt: skip
        super().__init__(cell, params, window + lookahead, loss, optimizer)
        self.lookahead = lookahead
        self.xs: list[Array] = []
        self.reverse: list[list[Step]] = []

    def advance(self, x: Array) -> Array:
        """Take one tick's inputs and return the answer."""
        d = self.lookahead
        self.xs = [*self.xs[-d:], x]
        xs = np.array(self.xs[::-1])
        self.stack_step(x)
        self.reverse = []
        for number, state in enumerate(self.states):
            weights = self.layer(number, "_reverse")
            steps = sequence(self.cell.step, xs, np.zeros_like(state), weights)
            self.reverse.append(steps)
            xs = np.array([step.state[0] for step in steps])
        if len(self.xs) > d:
            self.h = np.append(self.tapes[-1][-1 - d].state[0], xs[-1])
            self.output = self.params["w_head"] @ self.h + self.params["b_head"]
        return self.output

    def gradient(self, d_y: Array) -> Weights:
        """Gradient of the newest answer's loss, from d_y with respect to the answer."""
        grads = {"w_head": np.outer(d_y, self.h), "b_head": d_y}
        d_h, d_h_reverse = np.split(d_y @ self.params["w_head"], 2)
        known = [tape[: -self.lookahead] for tape in self.tapes]
        grads |= self.stack_gradient(d_h, known)
        return grads | self.stack_gradient(d_h_reverse, self.reverse, "_reverse")
