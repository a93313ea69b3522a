"""`LSTMForecaster` in float64, with its whole history in lists."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from reference.intervals import at
from reference.lstm import Array
from reference.network import OnlineNetwork, ReplayNetwork


@dataclass
class Channel:
    """Running mean and mean absolute deviation; the newest value weighs 1/n, at least 1/1000."""

    centred: bool = True
    count: int = 0
    center: float = 0.0
    spread: float = 0.0
    beyond: int = 0

    def observe(self, value: float) -> float:
        """Learn from a value, unless it is NaN. Returns its deviation from the mean.

        Up to two spikes in a row are clipped at 100 spreads.
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
    """Linear regression on the first regressors, with forgetting, robust to outliers."""

    def __init__(self, size: int, forgetting: float, huber: float):
        self.forgetting, self.huber, self.usual_error = forgetting, huber, 1.0
        self.w = np.zeros(size)
        self.reset_covariance()

    def reset_covariance(self) -> None:
        """Treat the coefficients as a first guess."""
        self.P = 10.0 * np.eye(self.w.size)

    def output(self, x: Array) -> float:
        """Forecast w' x, within +-10."""
        return float(clip_outputs(self.w @ x[: self.w.size]))

    def learn(self, x: Array, target: float) -> None:
        """One update with weight q; regressors that are 0 forget nothing.

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
    """The committee k ticks ahead: a weighted sum of the gated outputs of its M members."""

    def __init__(self, k: int, members: int):
        self.k, self.weights, self.usual_error = k, np.full(members, 1 / members), 1.0
        self.products, self.squares = np.zeros(members), np.zeros(members)

    def gates(self) -> Array:
        """Slope of each member's regression of target on output, through 0 and within 0 and 1."""
        known = self.squares > 0
        return np.clip(np.where(known, self.products / np.where(known, self.squares, 1), 0), 0, 1)

    def output(self, outputs: Array) -> float:
        """Output of the committee. outputs: (M,) of the members."""
        return float(self.weights @ (self.gates() * outputs))

    def learn(self, outputs: Array, target: float, age: int) -> None:
        """Learn from outputs and their target. age: number of values that it has forecast."""
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
        """Means of output x target and output^2; larger errors than 0.3 usual ones count less."""
        errors = np.abs(target - outputs)
        counts = np.minimum(1, 0.3 * usual / np.maximum(errors, 1e-300))
        self.products += (counts * outputs * target - self.products) / 500
        self.squares += (counts * outputs**2 - self.squares) / 500


@dataclass
class Prefetched:
    """Forecasts made after a tick, kept until the values arrive."""

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
        self.prefetched: list[Prefetched] = []

    def learn_one(self, y: float, x: Any = ()) -> None:
        """Learn from the next value and its features; NaN is a missing one."""
        missing = not abs(y) <= 1e300
        if missing and not self.values:
            return
        last, clipped = self.values[-1] if self.values else y, y
        if self.values:
            target = np.nan
            if not missing:
                target = self._learn_members(y)
                counted = self.change.observe(y - self.clipped)
                clipped = y if counted == y - self.clipped else self.clipped + counted
            self._learn_network(target, missing)
        self._append_history(last if missing else y, missing, clipped)
        self._note_features(np.array(x, np.float64))
        self.network.advance(self._inputs(0.0 if missing else y - last))
        regressors = self._regressors(self.values, self.x)
        outputs = self._outputs(self.horizon, [])
        self.prefetched.append(Prefetched(self.values[-1], self.change.spread, regressors, outputs))

    def forecast(self, horizon: int, xs: Any = ()) -> list[float]:
        """Forecast the next values, given the features that will arrive with them."""
        path, value, scale = [], self.values[-1], self.change.spread
        for k, outputs in enumerate(self._outputs(horizon, list(xs)), start=1):
            mixture = self.mixtures[min(k, self.horizon) - 1]
            path.append(value + scale * np.sqrt(k) * mixture.output(outputs))
        return path

    def _learn_members(self, y: float) -> float:
        """Learn from the forecasts of y, made 1, ..., K ticks before. Returns the newest target.

        A target is (y_{t+k} - y_t) / (scale_t sqrt k), within +-10.
        """
        newest = np.nan
        for k, mixture in enumerate(self.mixtures, start=1):
            origin = len(self.values) - k
            if origin < 0 or self.prefetched[origin].scale == 0:
                continue
            prefetched = self.prefetched[origin]
            target = clip_outputs((y - prefetched.value) / (prefetched.scale * np.sqrt(k)))
            mixture.learn(prefetched.outputs[k - 1], target, origin + 1)
            if isinstance(self.network, ReplayNetwork):
                self.network.targets[origin][k - 1] = target
            if k == 1:
                newest = target
                for rls in self.rls:
                    rls.learn(prefetched.regressors, target)
        return newest

    def _learn_network(self, target: float, missing: bool) -> None:
        """Learn by BPTT(h; h'), or by replay every `stride` ticks unless the value is missing."""
        if not isinstance(self.network, ReplayNetwork):
            self.network.learn(np.array([target]))
        elif not missing and len(self.values) % self.network.stride == 0:
            self.network.replay()

    def _append_history(self, value: float, missing: bool, clipped: float) -> None:
        """Observe level and seasons; then append to values and, with spikes clipped, to profiles.

        s_t = s_{t-m} + rate (y_t - s_{t-m}): the mean so far until the rate is at its slowest;
        s_t = s_{t-m} where the value is missing.
        """
        t = len(self.values)
        if not missing:
            self.clipped = clipped
            self.seen.append(clipped)
            self.level.observe(clipped)
            for ahead, channel in zip(self._season_ahead(t + 1), self.seasonal, strict=True):
                channel.observe(ahead - value)
        self.values.append(value)
        for m, slowest, profile in self.profiles:
            before, rate = at(profile, t - m), max(1 / (t // m + 1), slowest)
            if missing:
                profile.append(before)
                continue
            profile.append(clipped if np.isnan(before) else before + rate * (clipped - before))
        if t in self.seasons:  # all its lags are known now
            for rls in self.rls[:3]:
                rls.reset_covariance()

    def _note_features(self, x: Array) -> None:
        self.x = x
        for value, channel in zip(x, self.of_features, strict=True):
            channel.observe(value)

    def _season_ahead(self, tick: int) -> list[float]:
        """Values of each season, then of each profile, for a tick after the newest."""
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
        """Regressors of the value after `path`, values and then forecasts, given the features x."""
        value, tick, scale = path[-1], len(path) - 1, self.change.spread
        if scale == 0:
            return np.zeros(self.rls[0].w.size)
        changes = [at(path, tick - lag) - value for lag in range(1, 24)]
        for n, m in enumerate(self.seasons):
            for lag in (m - 2, m - 1, m):  # lags up to 23 are above
                changes.append(at(path, tick - lag) - value if lag > 23 else np.nan)
            for _, _, profile in self.profiles[2 * n : 2 * n + 2]:
                changes += [at(profile, tick + 1 - m, m) - value, at(profile, tick - m, m) - value]
        level = (value - self.level.center) / scale
        regressors = [1.0, level, *(np.array(changes) / scale), *self._standardised(x)]
        return np.clip(np.nan_to_num(regressors), -1e6, 1e6)

    def _outputs(self, horizon: int, xs: list[Array]) -> Array:
        """Outputs of each member 1, ..., h ticks ahead, (h, M): change / (scale sqrt k)."""
        value, scale = self.values[-1], self.change.spread
        outputs = np.zeros((horizon, self.mixtures[0].weights.size))
        if scale == 0:
            return outputs
        paths = [self._roll_out(rls, horizon, xs) for rls in self.rls]
        for k in range(1, horizon + 1):
            seasons = self._season_ahead(len(self.values) + k - 1)
            known = min(k, self.network.output.size)  # a later forecast keeps the last change
            network = self.network.output[known - 1] * np.sqrt(known / k)
            forecasts = np.array([value, *seasons, *(path[k - 1] for path in paths)])
            changes = (forecasts - value) / (scale * np.sqrt(k))
            outputs[k - 1] = clip_outputs([*changes, network])
        return outputs

    def _roll_out(self, rls: RecursiveLeastSquares, horizon: int, xs: list[Array]) -> list[float]:
        """Forecasts, each from those before; clipped to three times the range of the values."""
        low, high = min(self.seen), max(self.seen)
        path = list(self.values)
        for x in [self.x, *xs, *[self.x] * horizon][:horizon]:
            value = path[-1] + self.change.spread * rls.output(self._regressors(path, x))
            path.append(float(np.clip(value, low - (high - low), high + (high - low))))
        return path[len(self.values) :]
