"""The same mathematics in plain NumPy float64, written to be read and to test the kernels against.

Nothing here is fast and nothing else in the package uses it. Letters: T time, I inputs, H hidden,
K outputs; gate order i, f, g, o; `d_x` is the gradient of the loss with respect to x.
"""

from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), in the form that cannot overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


@dataclass
class Step:
    """What one forward step leaves for its backward step."""

    inputs: Array  # (H + I,) = [h_prev, x]
    gates: Array  # (4H,)
    c_prev: Array  # (H,)
    c: Array  # (H,)
    h: Array  # (H,)


def lstm_step(x: Array, h_prev: Array, c_prev: Array, w: Array, b: Array) -> Step:
    """One step of the LSTM with forget gate. x: (I,); w: (H + I, 4H); b: (4H,)."""
    inputs = np.concatenate([h_prev, x])
    i, f, g, o = np.split(inputs @ w + b, 4)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c_prev + i * g
    return Step(inputs, np.concatenate([i, f, g, o]), c_prev, c, o * np.tanh(c))


def lstm_step_backward(
    step: Step, d_h: Array, d_c: Array, w: Array
) -> tuple[Array, Array, Array, Array]:
    """Gradients of one step: (d_h_prev, d_c_prev, d_x, d_z)."""
    H = step.h.size
    i, f, g, o = np.split(step.gates, 4)
    d_c = d_c + d_h * o * (1 - np.tanh(step.c) ** 2)
    d_z = np.concatenate(
        [
            d_c * g * i * (1 - i),
            d_c * step.c_prev * f * (1 - f),
            d_c * i * (1 - g**2),
            d_h * np.tanh(step.c) * o * (1 - o),
        ]
    )
    d_inputs = w @ d_z
    return d_inputs[:H], d_c * f, d_inputs[H:], d_z


def lstm_sequence(xs: Array, h: Array, c: Array, w: Array, b: Array) -> list[Step]:
    """T steps from the state (h, c). xs: (T, I)."""
    steps: list[Step] = []
    for x in xs:
        steps.append(lstm_step(x, h, c, w, b))
        h, c = steps[-1].h, steps[-1].c
    return steps


def lstm_backward(
    steps: list[Step], d_hs: Array, d_h: Array, d_c: Array, w: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Back-propagation through `steps`: (d_w, d_b, d_xs, d_h before them, d_c before them).

    d_hs: (T, H) gradient of the loss with respect to each output; d_h, d_c: (H,) with respect to
    the state after the last step, beyond that.
    """
    d_w, d_b, d_xs = np.zeros_like(w), np.zeros(w.shape[1]), []
    for step, d_out in zip(reversed(steps), d_hs[::-1], strict=True):
        d_h, d_c, d_x, d_z = lstm_step_backward(step, d_h + d_out, d_c, w)
        d_w += np.outer(step.inputs, d_z)
        d_b += d_z
        d_xs.append(d_x)
    return d_w, d_b, np.array(d_xs[::-1]), d_h, d_c


def loss_value(kind: str, error: Array) -> Array:
    """Elementwise loss of error = prediction - target; the Huber threshold is 1."""
    if kind == "squared":
        return 0.5 * error**2
    if kind == "absolute":
        return np.abs(error)
    return np.where(np.abs(error) <= 1, 0.5 * error**2, np.abs(error) - 0.5)


def loss_gradient(kind: str, error: Array) -> Array:
    """Derivative of `loss_value`."""
    if kind == "squared":
        return error
    if kind == "absolute":
        return np.sign(error)
    return np.clip(error, -1, 1)


@dataclass
class Optimizer:
    """SGD with momentum 0.9, RMSProp or Adam on a dict of arrays, after clipping."""

    kind: str
    learning_rate: float
    clip_norm: float
    updates: int = 0
    first: dict[str, Array] = field(default_factory=dict)
    second: dict[str, Array] = field(default_factory=dict)

    def step(self, params: dict[str, Array], grads: dict[str, Array]) -> None:
        """Change `params` in place."""
        self.updates += 1
        norm = np.sqrt(sum(np.sum(d**2) for d in grads.values()))
        for name, p in params.items():
            d = grads[name] * min(1.0, self.clip_norm / norm if norm > 0 else 1.0)
            m = self.first.get(name, np.zeros_like(p))
            v = self.second.get(name, np.zeros_like(p))
            if self.kind == "sgd":
                m = 0.9 * m + d
                change = m
            elif self.kind == "rmsprop":
                v = 0.99 * v + 0.01 * d**2
                change = d / (np.sqrt(v) + 1e-8)
            else:
                m = 0.9 * m + 0.1 * d
                v = 0.999 * v + 0.001 * d**2
                m_hat, v_hat = m / (1 - 0.9**self.updates), v / (1 - 0.999**self.updates)
                change = m_hat / (np.sqrt(v_hat) + 1e-8)
            self.first[name], self.second[name] = m, v
            p -= self.learning_rate * change


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
        self.steps: list[Step] = []
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
        """Of the mean loss of the ticks since the last update, through the window."""
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


@dataclass
class Channel:
    """Running mean and mean absolute deviation, equal weights first, then 1/1000 for the newest."""

    centred: bool = True
    count: int = 0
    center: float = 0.0
    spread: float = 0.0

    def observe(self, value: float) -> None:
        """Learn from a value."""
        self.count += 1
        rate = max(1 / self.count, 1 / 1000)
        if self.centred:
            self.center += rate * (value - self.center)
        self.spread += rate * (abs(value - self.center) - self.spread)

    def standardise(self, value: float) -> float:
        """Deviation from the mean in units of the spread, within +-10; 0 for NaN."""
        if self.spread == 0 or np.isnan(value):
            return 0.0
        return float(np.clip((value - self.center) / self.spread, -10, 10))


class RecursiveLeastSquares:
    """Linear regression with exponential forgetting of the regressors that are not 0."""

    def __init__(self, size: int, forgetting: float):
        self.w, self.P, self.forgetting = np.zeros(size), 10.0 * np.eye(size), forgetting

    def learn(self, x: Array, target: float) -> None:
        """One update."""
        forgetting = self.forgetting if np.trace(self.P) <= 1e4 * x.size else 1.0
        Px = self.P @ x
        gain = Px / (forgetting + x @ Px)
        self.w = self.w + gain * (target - self.w @ x)
        self.P = self.P - np.outer(gain, Px)
        excited = np.outer(x != 0, x != 0)
        self.P = np.where(excited, self.P / forgetting, self.P)


class Forecaster:
    """`LSTMForecaster` on values alone, with its whole history in a list."""

    def __init__(self, network: OnlineNetwork, seasons: tuple[int, ...]):
        self.network, self.seasons = network, seasons
        self.level, self.change = Channel(), Channel(centred=False)
        self.seasonal = [Channel(centred=False) for _ in seasons]
        self.values: list[float] = []
        self.sizes = [25 + 3 * len(seasons)] * 2 + [25]
        self.rls = [
            RecursiveLeastSquares(size, forgetting)
            for size, forgetting in zip(self.sizes, (1.0, 0.999, 1.0), strict=True)
        ]
        members = 1 + len(seasons) + 3 + 1
        self.weights = np.full(members, 1 / members)
        self.products, self.squares = np.zeros(members), np.zeros(members)

    def _inputs(self, values: list[float]) -> Array:
        change = values[-1] - values[-2] if len(values) > 1 else 0.0
        x = [self.level.standardise(values[-1]), self.change.standardise(change)]
        for m, channel in zip(self.seasons, self.seasonal, strict=True):
            known = len(values) >= m
            x.append(channel.standardise(values[-m] - values[-1] if known else np.nan))
        return np.array(x)

    def _regressors(self, values: list[float]) -> Array:
        scale = self.change.spread
        seasonal = [m + d for m in self.seasons for d in (-2, -1, 0)]
        x = [scale, values[-1] - self.level.center]
        for lag in [*range(1, 24), *(lag if lag > 23 else 10**9 for lag in seasonal)]:
            x.append(values[-1 - lag] - values[-1] if lag < len(values) else 0.0)
        return np.array(x) / scale

    def _outputs(self, values: list[float], network_output: float) -> Array:
        if self.change.spread == 0:
            return np.zeros(self.weights.size)
        x = self._regressors(values)
        naive = [
            (values[-m] - values[-1]) / self.change.spread if len(values) >= m else 0.0
            for m in self.seasons
        ]
        regressions = [rls.w @ x[:size] for rls, size in zip(self.rls, self.sizes, strict=True)]
        return np.clip([0.0, *naive, *regressions, network_output], -10, 10)

    def _gates(self) -> Array:
        known = self.squares > 0
        return np.clip(np.where(known, self.products / np.where(known, self.squares, 1), 0), 0, 1)

    def forecast(self, horizon: int) -> list[float]:
        """Iterated forecasts; the network is rolled on by hand."""
        net, p = self.network, self.network.params
        h, c, output = net.h, net.c, net.output[0]
        path: list[float] = []
        for _ in range(horizon):
            values = self.values + path
            if path:
                step = lstm_step(self._inputs(values), h, c, p["w"], p["b"])
                h, c = step.h, step.c
                output = (p["w_head"] @ h + p["b_head"])[0]
            mixed = self.weights @ (self._gates() * self._outputs(values, output))
            path.append(values[-1] + self.change.spread * mixed)
        return path

    def _learn_committee(self, target: float) -> None:
        outputs = self._outputs(self.values, self.network.output[0])
        gated = self._gates() * outputs
        mixed = self.weights @ gated
        towards = 1.0 if mixed < target else -1.0
        weights = self.weights * np.exp(0.1 * np.clip(towards * (gated - mixed), -10, 10))
        self.weights = (1 - 0.0003) * weights / weights.sum() + 0.0003 / weights.size
        self.products += (outputs * target - self.products) / 500
        self.squares += (outputs**2 - self.squares) / 500
        x = self._regressors(self.values)
        for rls, size in zip(self.rls, self.sizes, strict=True):
            rls.learn(x[:size], target)

    def learn_one(self, y: float) -> None:
        """Learn from the next value; NaN is a missing one."""
        missing = np.isnan(y)
        if missing and not self.values:
            return
        if self.values:
            target = np.nan
            if not missing:
                change = y - self.values[-1]
                if self.change.spread > 0:
                    target = self.change.standardise(change)
                    self._learn_committee(target)
                self.change.observe(change)
            self.network.learn(np.array([target]))
        self.values.append(self.values[-1] if missing else y)
        for m in self.seasons:
            if len(self.values) == m + 1:  # its lags begin: the coefficients are a first guess
                for rls in self.rls[:2]:
                    rls.P = 10.0 * np.eye(rls.w.size)
        if not missing:
            self.level.observe(y)
            for m, channel in zip(self.seasons, self.seasonal, strict=True):
                if len(self.values) >= m:
                    channel.observe(self.values[-m] - y)
        self.network.advance(self._inputs(self.values))
