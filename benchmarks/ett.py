"""The protocol of FSNet and OneNet on ETTh2 and ETTh1, without and with its leak.

Run with `python benchmarks/ett.py FOLDER`, the folder of ETTh1.csv and ETTh2.csv. 4 months of 30
days to train, 1 to validate, 15 online; each of the 7 channels scaled by mean and deviation of the
training months. Before each online tick it and the ticks after it are forecast; squared errors are
averaged over ticks, steps and channels.

Strict: a target is learned when it has come. Methods run over the stream once, from its beginning,
a tick at a time; the cold ones start 60 ticks, the published look-back, before the online months.
Instant: as in the published code, all targets of a path are learned as soon as it has been
forecast, though all but the first have yet to happen. With a horizon of 1 that is the same.
"""

import argparse
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import harness
import numpy as np
import pandas as pd

from streamlstm import LSTMForecaster

DAY = 24
MONTH = 30 * DAY
TRAIN, ONLINE, END = 4 * MONTH, 5 * MONTH, 20 * MONTH
COLD = ONLINE - 60
LAGS = 48
HORIZONS = [1, 24, 48]
STEPS = max(HORIZONS)
STREAMS = ["ETTh2", "ETTh1"]
FORMS = ["strict", "strict, cold", "instant", "instant, published"]
# Mean squared errors on ETTh2: Pham et al., Learning fast and slow for online time series
# forecasting (ICLR 2023); Wen et al., OneNet (NeurIPS 2023).
PUBLISHED = {
    "OnlineTCN": [0.502, 0.830, 1.183],
    "FSNet": [0.466, 0.687, 0.846],
    "OneNet": [0.380, 0.532, 0.609],
}


@dataclass
class Stream:
    """The hours that are forecast, and a path more, whose targets the instant form learns."""

    values: np.ndarray  # (END + STEPS, C), scaled
    times: np.ndarray  # (END + STEPS,) datetime64

    def no_paths(self) -> np.ndarray:
        """(END, STEPS, C) forecasts to fill in."""
        return np.full((END, STEPS, self.values.shape[1]), np.nan)

    def errors(self, paths: np.ndarray) -> list[float]:
        """Mean squared error for each horizon; row t of the paths holds t, t + 1, ..."""
        means = []
        for horizon in HORIZONS:
            made = np.arange(ONLINE, END - horizon + 1)
            targets = np.stack([self.values[made + k] for k in range(horizon)], axis=1)
            means.append(float(np.mean((paths[made, :horizon] - targets) ** 2)))
        return means


def load(path: Path) -> Stream:
    """Read a file whose columns are `date` and the channels."""
    table = pd.read_csv(path, parse_dates=["date"], nrows=END + STEPS)
    values = table.drop(columns="date").to_numpy(np.float64)
    scaled = (values - values[:TRAIN].mean(axis=0)) / values[:TRAIN].std(axis=0)
    return Stream(scaled, table["date"].to_numpy())


def naive(stream: Stream, period: int) -> np.ndarray:
    """The values a period ago or the smallest multiple of it that is known."""
    paths = stream.no_paths()
    for k in range(STEPS):
        back = period * (k // period + 1)
        paths[ONLINE:, k] = stream.values[ONLINE + k - back : END + k - back]
    return paths


def lstm(stream: Stream, start: int) -> np.ndarray:
    """A default forecaster for each channel."""
    paths = stream.no_paths()
    times = stream.times[start:END]
    for c, channel in enumerate(stream.values[start:END].T):
        paths[start:, :, c] = LSTMForecaster().learn_many(channel, None, times, horizon=STEPS)
    return paths


class LastTarget:
    """For each step and channel a regressor that predicts the target it learned last."""

    def __init__(self, channels: int):
        self.state = np.zeros((STEPS, channels))

    def predict_one(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        """(STEPS, C) predictions in a state, which may be a past one."""
        return state

    def learn_one(self, x: np.ndarray, y: np.ndarray) -> None:
        """Learn (STEPS, C) targets."""
        self.state = y


class LeastSquares:
    """For each step and channel recursive least squares on (C, LAGS + 1) inputs.

    The steps of a channel learn from the same inputs and so have one covariance.
    """

    def __init__(self, channels: int, forgetting: float):
        self.forgetting = forgetting
        self.covariance = np.stack([np.eye(LAGS + 1)] * channels)
        self.state = np.zeros((STEPS, channels, LAGS + 1))  # weights

    def predict_one(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        """(STEPS, C) predictions in a state, which may be a past one."""
        return np.einsum("kci,ci->kc", state, x)

    def learn_one(self, x: np.ndarray, y: np.ndarray) -> None:
        """Learn (STEPS, C) targets."""
        P = self.covariance
        Px = np.einsum("cij,cj->ci", P, x)
        gain = Px / (self.forgetting + np.sum(x * Px, axis=1))[:, None]
        P = P - gain[:, :, None] * Px[:, None, :]
        self.covariance = (P + P.transpose(0, 2, 1)) / (2 * self.forgetting)  # stays symmetric
        error = y - self.predict_one(x, self.state)
        self.state = self.state + error[:, :, None] * gain


def direct(
    model: LastTarget | LeastSquares, stream: Stream, start: int
) -> tuple[np.ndarray, np.ndarray]:
    """Paths forecast by a regressor for each step from the last LAGS values: strict, instant.

    Instant, every regressor has learned its targets of all paths before. Strict, that of step k,
    counted from 0, has learned all but the newest k of these, which have yet to happen.
    """
    strict, instant = stream.no_paths(), stream.no_paths()
    past = deque([model.state] * STEPS, maxlen=STEPS)  # the newest first
    for t in range(start + LAGS, END):
        lags = stream.values[t - LAGS : t].T
        x = np.hstack([lags, np.ones((len(lags), 1))])
        instant[t] = model.predict_one(x, model.state)
        strict[t] = model.predict_one(x, np.stack([past[k][k] for k in range(STEPS)]))
        model.learn_one(x, stream.values[t : t + STEPS])
        past.appendleft(model.state)
    return strict, instant


def all_errors(stream: Stream) -> dict[tuple[str, str], list[float]]:
    """Mean squared errors by method and form."""
    channels = stream.values.shape[1]
    errors = {
        ("last value", "strict"): stream.errors(naive(stream, 1)),
        ("a day ago", "strict"): stream.errors(naive(stream, DAY)),
        ("LSTMForecaster", "strict"): stream.errors(lstm(stream, 0)),
        ("LSTMForecaster", "strict, cold"): stream.errors(lstm(stream, COLD)),
        ("last target", "instant"): stream.errors(direct(LastTarget(channels), stream, 0)[1]),
    }
    for forgetting in (0.9995, 0.998):
        name = f"least squares, forgetting {forgetting}"
        strict, instant = direct(LeastSquares(channels, forgetting), stream, 0)
        cold, _ = direct(LeastSquares(channels, forgetting), stream, COLD)
        errors[name, "strict"] = stream.errors(strict)
        errors[name, "strict, cold"] = stream.errors(cold)
        errors[name, "instant"] = stream.errors(instant)
    return errors


def main() -> None:
    """Both streams, and the published figures beside."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    figures = {name: all_errors(load(folder / f"{name}.csv")) for name in STREAMS}
    figures["ETTh2"] |= {(name, "instant, published"): mse for name, mse in PUBLISHED.items()}
    found = sorted(figures["ETTh2"], key=lambda row: FORMS.index(row[1]))
    rows, data = [], []
    for method, form in found:
        cells = []
        for name in STREAMS:
            errors = figures[name].get((method, form))
            cells += [f"{mse:.3f}" for mse in errors] if errors else ["-"] * len(HORIZONS)
            if errors:
                data.append({"stream": name, "method": method, "form": form, "mse": errors})
        rows.append([method, form, *cells])
    columns = [f"{name} H={horizon}" for name in STREAMS for horizon in HORIZONS]
    header = ["method", "form", *columns]
    title = "ETT, protocol of FSNet and OneNet: mean squared error over 15 online months"
    harness.report("ett", title, header, rows, data)


if __name__ == "__main__":
    main()
