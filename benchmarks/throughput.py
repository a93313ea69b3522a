"""Replay throughput: `learn_many` over whole arrays, and how many 1 kHz sensors that follows.

Run with `python benchmarks/throughput.py`.
"""

import statistics
import time
from itertools import product

import harness
import numpy as np

from streamlstm import LSTMForecaster

TICKS, ROUNDS, SENSOR = 5_000, 5, 1000


def main() -> None:
    """Both presets at several sizes and strides."""
    values = np.random.default_rng(0).normal(size=TICKS).cumsum()
    rows, data = [], []
    for preset, H, stride in product(("accurate", "fast"), (16, 32, 64), (1, 8)):
        model = LSTMForecaster(preset=preset, hidden_size=H, stride=stride, season=(24, 168))
        model.learn_many(values[:1000])
        rates = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            model.learn_many(values)
            rates.append(TICKS / (time.perf_counter() - start))
        median = statistics.median(rates)
        spread = f"{min(rates):,.0f}-{max(rates):,.0f}"
        row = [
            preset,
            str(H),
            str(stride),
            f"{1e6 / median:.1f}",
            f"{median:,.0f}",
            spread,
            f"{median / SENSOR:.0f}x",
        ]
        rows.append(row)
        data.append({"preset": preset, "H": H, "stride": stride, "ticks_per_second": rates})
    title = "LSTMForecaster with two seasons, 24 horizons and intervals, on one core"
    header = [
        "preset",
        "H",
        "stride",
        "us a tick",
        "ticks per second",
        "min-max",
        "times real time at 1 kHz",
    ]
    harness.report("throughput", title, header, rows, data)


if __name__ == "__main__":
    main()
