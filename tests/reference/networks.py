"""The same mathematics in plain NumPy float64, written to be read and to test the kernels against.

Nothing here is fast and nothing else in the package uses it. Letters: T time, I inputs, H hidden,
K outputs; gate order i, f, g, o; `d_x` is the gradient of the loss with respect to x.
"""

from dataclasses import dataclass, field
from typing import Any

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
    """SGD with momentum 0.9, RMSProp or Adam on a dict of arrays, after clipping.

    Then the matrices, not the biases, shrink by learning_rate x weight_decay.
    """

    kind: str
    learning_rate: float
    clip_norm: float
    weight_decay: float = 0.0
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
            if p.ndim == 2:
                p *= 1 - self.learning_rate * self.weight_decay


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


def scramble(n: int) -> int:
    """31 bits that look random: output n of splitmix64 seeded with 0, shifted right by 33."""
    low = 2**64 - 1
    z = n * 0x9E3779B97F4A7C15 & low
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & low
    z = (z ^ z >> 27) * 0x94D049BB133111EB & low
    return (z ^ z >> 31) >> 33


class ReplayNetwork(OnlineNetwork):
    """The same network learning from mini-batches of windows of its past, all kept in lists."""

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
        """First ticks of the next update's windows: the newest, then draws from the past."""
        ticks = len(self.inputs)
        newest, oldest = ticks - self.window, max(ticks - self.capacity, 0)
        first = self.seed + self.optimizer.updates * self.windows
        draws = [scramble(first + n) for n in range(1, self.windows)]
        return [newest, *(oldest + draw % (newest - oldest + 1) for draw in draws)]

    def _run(self, start: int) -> tuple[list[Step], Array, Array]:
        """A window from a zero state: steps, (T, K) errors, and what each counts in the loss.

        The first 30% of the ticks only build up the state. Horizons after the first count 0.03.
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
        """Mean loss of the ticks that count, missing targets counting as met."""
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
        """One update, once there are three windows' worth of ticks."""
        if len(self.inputs) >= 3 * self.window:
            self.optimizer.step(self.params, self.batch_gradient(self.starts()))


@dataclass
class Channel:
    """Running mean and mean absolute deviation, equal weights first, then 1/1000 for the newest."""

    centred: bool = True
    count: int = 0
    center: float = 0.0
    spread: float = 0.0
    beyond: int = 0

    def observe(self, value: float) -> float:
        """Learn from a value, NaN is none; its deviation from the mean as far as it counts.

        Two spikes in a row count as 100 spreads, not more.
        """
        if np.isnan(value):
            return 0.0
        self.count += 1
        rate = max(1 / self.count, 1 / 1000)
        deviation = value - self.center
        spike = self.count > 30 and abs(deviation) > 100 * self.spread
        self.beyond = self.beyond + 1 if spike else 0
        if 0 < self.beyond <= 2:
            deviation = float(np.clip(deviation, -100 * self.spread, 100 * self.spread))
        if self.centred:
            self.center += rate * deviation
        off = deviation - rate * deviation if self.centred else deviation
        self.spread += rate * (abs(off) - self.spread)
        return deviation

    def standardise(self, value: float) -> float:
        """Deviation from the mean in units of the spread, within +-10; 0 for NaN."""
        if self.spread == 0 or np.isnan(value):
            return 0.0
        return float(np.clip((value - self.center) / self.spread, -10, 10))


def clip_outputs(outputs: Any) -> Any:
    """Outputs within +-10; 0 for NaN."""
    return np.clip(np.where(np.isnan(outputs), 0.0, outputs), -10, 10)


class RecursiveLeastSquares:
    """Linear regression on the first of the regressors, that forgets and shrugs off outliers."""

    def __init__(self, size: int, forgetting: float, huber: float):
        self.forgetting, self.huber, self.usual_error = forgetting, huber, 1.0
        self.w = np.zeros(size)
        self.reopen()

    def reopen(self) -> None:
        """Take the coefficients for a first guess."""
        self.P = 10.0 * np.eye(self.w.size)

    def output(self, x: Array) -> float:
        """Forecast w' x, within +-10."""
        return float(clip_outputs(self.w @ x[: self.w.size]))

    def learn(self, x: Array, target: float) -> None:
        """One update, of weight q; regressors that are 0 forget nothing.

        g = q P x / (lambda + q x' P x), w += g (target - w' x), P = (P - g x' P) / lambda
        """
        x = x[: self.w.size]
        error = target - self.w @ x
        large = max(self.huber * self.usual_error, 1e-3)
        q = min(1.0, large / abs(error)) if error != 0 else 1.0
        q *= min(1.0, 100 / np.abs(x).max()) ** 2
        self.usual_error += 0.01 * (min(abs(error), 10.0) - self.usual_error)
        forgetting = self.forgetting if np.trace(self.P) <= 1e4 * x.size else 1.0
        Px = self.P @ x
        gain = q * Px / (forgetting + q * x @ Px)
        self.w = self.w + gain * error
        self.P = self.P - np.outer(gain, Px)
        excited = np.outer(x != 0, x != 0)
        self.P = np.where(excited, self.P / forgetting, self.P)


class Mixture:
    """The committee k ticks ahead: what its M members forecast, shrunk and weighed."""

    def __init__(self, k: int, members: int):
        self.k, self.weights, self.usual_error = k, np.full(members, 1 / members), 1.0
        self.products, self.squares = np.zeros(members), np.zeros(members)

    def gates(self) -> Array:
        """Slope of each member's regression of target on output, through 0 and within 0 and 1."""
        known = self.squares > 0
        return np.clip(np.where(known, self.products / np.where(known, self.squares, 1), 0), 0, 1)

    def output(self, outputs: Array) -> float:
        """Of the committee, whose members give `outputs`, (M,)."""
        return float(self.weights @ (self.gates() * outputs))

    def learn(self, outputs: Array, target: float, age: int) -> None:
        """Learn from what came; `age` ticks ago the first forecast of this mixture came due."""
        gated, mixed = self.gates() * outputs, self.output(outputs)
        error = min(abs(target - mixed), 10.0)
        self.usual_error += max(1 / age, 1 / 500) * (error - self.usual_error)
        usual = max(self.usual_error, 1e-3)
        self._learn_weights(gated - mixed, mixed < target, usual)
        self._learn_gates(outputs, target, usual)

    def _learn_weights(self, pulls: Array, too_low: bool, usual: float) -> None:
        """Exponentiated gradient with fixed share.

        w *= exp(0.1 / sqrt(k) x pull towards the target), w = (1 - s) w / sum w + s / M
        """
        towards = clip_outputs((pulls if too_low else -pulls) / usual)
        weights = self.weights * np.exp(0.1 / np.sqrt(self.k) * towards)
        share = 0.0003 / np.sqrt(self.k)
        self.weights = (1 - share) * weights / weights.sum() + share / weights.size

    def _learn_gates(self, outputs: Array, target: float, usual: float) -> None:
        """Means of output x target and output^2; errors beyond 0.3 usual ones count less."""
        errors = np.abs(target - outputs)
        counts = np.minimum(1, 0.3 * usual / np.maximum(errors, 1e-300))
        self.products += (counts * outputs * target - self.products) / 500
        self.squares += (counts * outputs**2 - self.squares) / 500


def at(series: list[float], tick: int, period: int = 0) -> float:
    """Value at a tick, NaN if unknown; with a period, beyond its end the series repeats itself."""
    while period and tick >= len(series):
        tick -= period
    return series[tick] if 0 <= tick < len(series) else np.nan


@dataclass
class Issued:
    """A forecast as it was made, with what its interval rests on."""

    forecast: float
    scale: float
    features: Array  # (3,)
    quantiles: Array  # (L,)


class ErrorTracker:
    """Errors of the forecasts k ticks ahead: their scale, and quantiles in units of it."""

    half = np.array([0.005, 0.01, 0.025, 0.05, 0.1, 0.25])
    levels = np.array([*half, 0.5, *(1 - half[::-1])])
    tails = 2 * np.minimum(levels, 1 - levels)

    def __init__(self, k: int):
        self.k, self.count, self.mean = k, 0, 0.0
        self.w, self.C = np.zeros(3), 0.01 * np.eye(3)
        laplace = np.sign(self.levels - 0.5) * -np.log(self.tails)
        self.q = np.arcsinh(laplace)

    def issue(self, forecast: float, features: Array) -> Issued:
        """s = m exp(w' x)."""
        exponent = float(np.clip(self.w @ features, -5, 5))
        return Issued(forecast, self.mean * np.exp(exponent), features, self.q.copy())

    def learn(self, issued: Issued, error: float) -> None:
        """Learn from the error of a forecast."""
        if error == 0 and self.mean == 0:
            return
        self.count += 1
        ratio = error / max(issued.scale or self.mean or abs(error), 1e-300)
        self._learn_scale(issued.features, min(abs(ratio), 6.0) - 1)
        self._learn_quantiles(issued.quantiles, np.arcsinh(np.clip(ratio, -1e9, 1e9)))
        self.mean += max(1 / self.count, 1 / 200) * (abs(error) - self.mean)

    def _learn_scale(self, x: Array, excess: float) -> None:
        """w += C x excess / n, C -= C x x' C / n, with n = 0.9995 sqrt(k) + x' C x."""
        grow = 1 / 0.9995 if np.trace(self.C) < 3 * 0.01 else 1.0
        Cx = self.C @ x
        n = 0.9995 * np.sqrt(self.k) + x @ Cx
        self.w = self.w + Cx * excess / n
        self.C = (self.C - np.outer(Cx, Cx) / n) * grow

    def _learn_quantiles(self, issued: Array, v: float) -> None:
        """q += eta (level - [v < issued]); steps inwards end at v."""
        eta = 0.02 / np.sqrt(self.k) * self.tails**-0.25
        below = self.levels < 0.5
        missed = np.where(below, v < issued, v > issued)
        step = eta * np.where(below, self.levels - missed, self.levels - 1 + missed)
        away = v - self.q
        inwards = (self.levels <= 0.5) & (step > 0)
        step = np.where(inwards, np.minimum(step, np.maximum(away, 0)), step)
        inwards = (self.levels >= 0.5) & (step < 0)
        step = np.where(inwards, np.maximum(step, np.minimum(away, 0)), step)
        self.q = self.q + step


class Intervals:
    """Prediction intervals around forecasts that others make, with the whole history in lists.

    Every tick: `learn` from its value, then `issue` the next forecasts.
    """

    def __init__(self, horizon: int, season: int = 0):
        self.trackers = [ErrorTracker(k) for k in range(1, horizon + 1)]
        self.season = season
        self.issued: list[list[Issued]] = []  # after each tick
        self.usual: list[float] = []  # |e| one tick ahead, smoothed from season to season
        self.count, self.fast, self.slow, self.mean, self.variance = 0, 0.0, 0.0, 0.0, 0.0

    def learn(self, y: float) -> None:
        """Learn from the value of a tick, NaN if it is missing."""
        t, newest = len(self.issued), np.nan
        if t > 0 and not np.isnan(y):
            for tracker in self.trackers[:t]:
                issued = self.issued[t - tracker.k][tracker.k - 1]
                tracker.learn(issued, y - issued.forecast)
            newest = abs(y - self.issued[-1][0].forecast)
            self._learn_common(y, newest)
        before = at(self.usual, t - self.season) if self.season else np.nan
        rate = max(1 / (t // self.season + 1), 1 / 20) if self.season else 1.0
        smoothed = newest if np.isnan(before) else before + rate * (newest - before)
        self.usual.append(before if np.isnan(newest) else smoothed)

    def _learn_common(self, y: float, error: float) -> None:
        """Running means of |e|, of the value and of its squared distance from there."""
        self.count += 1
        rate = max(1 / self.count, 1 / 200)
        self.fast += max(rate, 1 / 4) * (error - self.fast)
        self.slow += rate * (error - self.slow)
        away = y - self.mean
        self.mean += rate * away
        self.variance += rate * (away * (y - self.mean) - self.variance)

    def issue(self, forecasts: Any) -> None:
        """Note forecasts of the next K values, made after the newest tick."""
        self.issued.append(
            [
                tracker.issue(forecast, self._features(tracker.k, forecast))
                for tracker, forecast in zip(self.trackers, forecasts, strict=True)
            ]
        )

    def _features(self, k: int, forecast: float) -> Array:
        """Log of how large errors are in this phase and of late; height of the forecast."""

        def log_ratio(a: float, b: float) -> float:
            return float(np.log((a + 0.05 * b + 1e-300) / (1.05 * b + 1e-300)))

        phase, height, t = 0.0, 0.0, len(self.issued) + 1  # values so far
        usual = at(self.usual, t + k - 1 - self.season, self.season) if self.season else np.nan
        if not np.isnan(usual):
            n = t // self.season
            phase = log_ratio((n * usual + self.slow) / (n + 1), self.slow)
        if self.variance > 0:
            height = np.clip((forecast - self.mean) / np.sqrt(self.variance), -3, 3)
        return np.array([phase, log_ratio(self.fast, self.slow), height])

    def bounds(self, alpha: float) -> Array:
        """(K, 2) ends of intervals around the newest forecasts."""
        levels = np.array([alpha / 2, 1 - alpha / 2])
        known = ErrorTracker.levels
        ends = []
        for issued in self.issued[-1]:
            q = np.sort(issued.quantiles)
            v = np.interp(np.log(levels / (1 - levels)), np.log(known / (1 - known)), q)
            ends.append(issued.forecast + issued.scale * np.sinh(v))
        return np.array(ends)


@dataclass
class Outlook:
    """What was forecast after a tick, for when the values come."""

    value: float
    scale: float
    regressors: Array
    outputs: Array  # (K, M)


class Forecaster:
    """`LSTMForecaster` with its whole history in lists.

    The network forecasts one tick if it learns by BPTT, and K if it learns by replay.
    """

    def __init__(
        self, network: OnlineNetwork, seasons: tuple[int, ...], horizon: int, features: int = 0
    ):
        S = len(seasons)
        self.network, self.seasons, self.horizon = network, seasons, horizon
        self.values: list[float] = []  # missing ones filled in
        self.seen: list[float] = []  # without missing ones
        self.profiles: list[tuple[int, float, list[float]]] = [  # season, slowest rate, smoothed
            (m, rate, []) for m in seasons for rate in (0.3, 0.05)
        ]
        self.x = np.full(features, np.nan)
        self.level, self.change = Channel(), Channel(centred=False)
        self.seasonal = [Channel(centred=False) for _ in range(3 * S)]
        self.of_features = [Channel() for _ in range(features)]
        size = 25 + 7 * S + features
        self.rls = [
            RecursiveLeastSquares(size, 0.999, 0.5),
            RecursiveLeastSquares(size, 1.0, 1.0),
            RecursiveLeastSquares(size, 0.998, 1.0),
            RecursiveLeastSquares(25, 1.0, np.inf),
        ]
        self.mixtures = [Mixture(k, 1 + 3 * S + 4 + 1) for k in range(1, horizon + 1)]
        self.outlooks: list[Outlook] = []

    def learn_one(self, y: float, x: Any = ()) -> None:
        """Learn from the next value and its features; NaN is a missing one."""
        missing = not abs(y) <= 1e300
        if missing and not self.values:
            return
        last, sane = self.values[-1] if self.values else y, y
        if self.values:
            target = np.nan
            if not missing:
                target = self._learn_outlooks(y)
                counted = self.change.observe(y - self.sane)
                sane = y if counted == y - self.sane else self.sane + counted
            self._learn_network(target, missing)
        self._remember(last if missing else y, missing, sane)
        self._note_features(np.array(x, np.float64))
        self.network.advance(self._inputs(0.0 if missing else y - last))
        regressors = self._regressors(self.values, self.x)
        outputs = self._outputs(self.horizon, [])
        self.outlooks.append(Outlook(self.values[-1], self.change.spread, regressors, outputs))

    def forecast(self, horizon: int, xs: Any = ()) -> list[float]:
        """Of the next values, given the features that will arrive with them."""
        path, value, scale = [], self.values[-1], self.change.spread
        for k, outputs in enumerate(self._outputs(horizon, list(xs)), start=1):
            mixture = self.mixtures[min(k, self.horizon) - 1]
            path.append(value + scale * np.sqrt(k) * mixture.output(outputs))
        return path

    def _learn_outlooks(self, y: float) -> float:
        """Compare y with what was forecast 1, ..., K ticks before; the target one tick before.

        A target is (y_{t+k} - y_t) / (scale_t sqrt k), within +-10.
        """
        newest = np.nan
        for k, mixture in enumerate(self.mixtures, start=1):
            origin = len(self.values) - k
            if origin < 0 or self.outlooks[origin].scale == 0:
                continue
            outlook = self.outlooks[origin]
            target = clip_outputs((y - outlook.value) / (outlook.scale * np.sqrt(k)))
            mixture.learn(outlook.outputs[k - 1], target, origin + 1)
            if isinstance(self.network, ReplayNetwork):
                self.network.targets[origin][k - 1] = target
            if k == 1:
                newest = target
                for rls in self.rls:
                    rls.learn(outlook.regressors, target)
        return newest

    def _learn_network(self, target: float, missing: bool) -> None:
        """By replay every `stride` ticks, unless the value is missing, or by BPTT(h; h')."""
        if not isinstance(self.network, ReplayNetwork):
            self.network.learn(np.array([target]))
        elif not missing and len(self.values) % self.network.stride == 0:
            self.network.replay()

    def _remember(self, value: float, missing: bool, sane: float) -> None:
        """Observe how the season before went on; then append to values and, sanely, profiles.

        s_t = s_{t-m} + rate (y_t - s_{t-m}): the mean so far until the rate is at its slowest;
        s_t = s_{t-m} where the value is missing.
        """
        t = len(self.values)
        if not missing:
            self.sane = sane
            self.seen.append(sane)
            self.level.observe(sane)
            for ahead, channel in zip(self._season_ahead(t + 1), self.seasonal, strict=True):
                channel.observe(ahead - value)
        self.values.append(value)
        for m, slowest, profile in self.profiles:
            before, rate = at(profile, t - m), max(1 / (t // m + 1), slowest)
            if missing:
                profile.append(before)
                continue
            profile.append(sane if np.isnan(before) else before + rate * (sane - before))
        if t in self.seasons:  # its lags begin: the coefficients are a first guess
            for rls in self.rls[:3]:
                rls.reopen()

    def _note_features(self, x: Array) -> None:
        self.x = x
        for value, channel in zip(x, self.of_features, strict=True):
            channel.observe(value)

    def _season_ahead(self, tick: int) -> list[float]:
        """What each season, then each profile, has for a tick after the newest."""
        naive = [at(self.values, tick - m, m) for m in self.seasons]
        return naive + [at(profile, tick - m, m) for m, _, profile in self.profiles]

    def _inputs(self, change: float) -> Array:
        """Inputs of the network after the newest tick."""
        value, tick = self.values[-1], len(self.values)
        x = [self.level.standardise(value), self.change.standardise(change)]
        for ahead, channel in zip(self._season_ahead(tick), self.seasonal, strict=True):
            x.append(channel.standardise(ahead - value))
        x += [rls.output(self._regressors(self.values, self.x)) for rls in self.rls]
        for m in self.seasons:
            x += [np.sin(2 * np.pi * tick / m), np.cos(2 * np.pi * tick / m)]
        return np.array(x + self._standardised(self.x))

    def _standardised(self, x: Array) -> list[float]:
        return [channel.standardise(f) for f, channel in zip(x, self.of_features, strict=True)]

    def _regressors(self, path: list[float], x: Array) -> Array:
        """Of the value after the last of `path`, values and forecasts, given the features x."""
        value, tick, scale = path[-1], len(path) - 1, self.change.spread
        if scale == 0:
            return np.zeros(self.rls[0].w.size)
        changes = [at(path, tick - lag) - value for lag in range(1, 24)]
        for n, m in enumerate(self.seasons):
            for lag in (m - 2, m - 1, m):  # up to 23 it is above
                changes.append(at(path, tick - lag) - value if lag > 23 else np.nan)
            for _, _, profile in self.profiles[2 * n : 2 * n + 2]:
                changes += [at(profile, tick + 1 - m, m) - value, at(profile, tick - m, m) - value]
        level = (value - self.level.center) / scale
        regressors = [1.0, level, *(np.array(changes) / scale), *self._standardised(x)]
        return np.clip(np.nan_to_num(regressors), -1e6, 1e6)

    def _outputs(self, horizon: int, xs: list[Array]) -> Array:
        """What each member forecasts 1, ..., h ticks ahead, (h, M): change / (scale sqrt k)."""
        value, scale = self.values[-1], self.change.spread
        outputs = np.zeros((horizon, self.mixtures[0].weights.size))
        if scale == 0:
            return outputs
        paths = [self._follow(rls, horizon, xs) for rls in self.rls]
        for k in range(1, horizon + 1):
            seasons = self._season_ahead(len(self.values) + k - 1)
            known = min(k, self.network.output.size)  # what comes after it stays as it is
            network = self.network.output[known - 1] * np.sqrt(known / k)
            forecasts = np.array([value, *seasons, *(path[k - 1] for path in paths)])
            changes = (forecasts - value) / (scale * np.sqrt(k))
            outputs[k - 1] = clip_outputs([*changes, network])
        return outputs

    def _follow(self, rls: RecursiveLeastSquares, horizon: int, xs: list[Array]) -> list[float]:
        """Iterated forecasts, within the range of the values seen and as much again around it."""
        low, high = min(self.seen), max(self.seen)
        path = list(self.values)
        for x in [self.x, *xs, *[self.x] * horizon][:horizon]:
            value = path[-1] + self.change.spread * rls.output(self._regressors(path, x))
            path.append(float(np.clip(value, low - (high - low), high + (high - low))))
        return path[len(self.values) :]
