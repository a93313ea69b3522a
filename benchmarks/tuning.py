"""What one parameter of the forecaster changes: errors on the streams of `examples/data`, and time.

Run with `python benchmarks/tuning.py`. Each row changes one parameter of the default forecaster.
Only time stamps and values are given; the first tenth is not scored. The time of a tick is that of
the newest 1,000 pedestrians, learned with forecasts of the horizon that the model is made for.
"""

import harness

harness.one_thread()

from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from streamlstm import LSTMForecaster  # noqa: E402

DATA = Path(__file__).parents[1] / "examples" / "data"
STREAMS = {"pedestrians_hourly": "pedestrians", "wti_oil_daily": "price"}
CHANGES: dict[str, dict[str, Any]] = {
    "default": {},
    'preset="fast"': {"preset": "fast"},
    "season=None": {"season": None},
    "season=(24, 168)": {"season": (24, 168)},
    "hidden_size=8": {"hidden_size": 8},
    "hidden_size=16": {"hidden_size": 16},
    "hidden_size=64": {"hidden_size": 64},
    "window=10": {"window": 10},
    "window=40": {"window": 40},
    "stride=4": {"stride": 4},
    "stride=8": {"stride": 8},
    "learning_rate=0.0005": {"learning_rate": 0.0005},
    "learning_rate=0.01": {"learning_rate": 0.01},
    "horizon=1": {"horizon": 1},
    "horizon=72": {"horizon": 72},
}
AHEAD, LEFT_OUT, TIMED = 24, 0.1, 1000


def mase(values: np.ndarray, forecasts: np.ndarray, ahead: int) -> float:
    """Of the first `ahead` steps of paths, (T, K), made before each tick."""
    last = pd.Series(values).ffill().shift().to_numpy()
    origins = np.arange(int(LEFT_OUT * values.size), values.size - ahead + 1)
    targets = np.lib.stride_tricks.sliding_window_view(values, ahead)[origins]
    errors = np.abs(forecasts[origins, :ahead] - targets)
    naive = np.abs(last[origins, None] - targets)
    return float(np.nanmean(errors) / np.nanmean(naive))


def main() -> None:
    """Replay each stream with each change, then time them in turns."""
    figures: dict[str, list[float]] = {change: [] for change in CHANGES}
    calls = {}
    for name, target in STREAMS.items():
        frame = pd.read_csv(DATA / f"{name}.csv")
        times = pd.to_datetime(frame.iloc[:, 0], utc=True).dt.tz_localize(None).to_numpy()
        values = frame[target].to_numpy(float)
        for change, parameters in CHANGES.items():
            model = LSTMForecaster(**parameters)
            forecasts = model.learn_many(values, timestamps=times, horizon=AHEAD)
            figures[change] += [mase(values, forecasts, ahead) for ahead in (1, AHEAD)]
            calls.setdefault(
                change, partial(model.learn_many, values[-TIMED:], horizon=model.horizon)
            )
    taken = harness.in_turns(calls, rounds=9, seconds=0.3)
    rows = []
    for change, scores in figures.items():
        scores.append(taken[change].ratio_to(taken["default"]))
        rows.append([change, *(f"{score:.3f}" for score in scores[:-1]), f"{scores[-1]:.2f}x"])
    header = ["changed", *(f"{name}, {ahead}" for name in STREAMS for ahead in (1, AHEAD)), "time"]
    title = "One parameter changed: MASE 1 tick ahead and of paths of 24, and time of a tick"
    harness.report("tuning", title, header, rows, figures)


if __name__ == "__main__":
    main()
