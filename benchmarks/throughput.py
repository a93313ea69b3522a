"""Replay throughput: `learn_many` over whole arrays, and how many 1 kHz sensors that follows.

Run with `python benchmarks/throughput.py`.
"""

import statistics
import time

import harness
import numpy as np

from streamlstm import LSTMForecaster

TICKS, ROUNDS, SENSOR = 20_000, 7, 1000


def main() -> None:
    """Default forecaster at several sizes and strides."""
    values = np.random.default_rng(0).normal(size=TICKS).cumsum()
    rows, data = [], []
    for H in (8, 16, 32, 64, 128):
        for stride in (1, 8):
            model = LSTMForecaster(hidden_size=H, stride=stride)
            model.learn_many(values[:1000])
            rates = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                model.learn_many(values)
                rates.append(TICKS / (time.perf_counter() - start))
            median = statistics.median(rates)
            spread = f"{min(rates):,.0f}-{max(rates):,.0f}"
            rows.append([str(H), str(stride), f"{median:,.0f}", spread, f"{median / SENSOR:.0f}x"])
            data.append({"H": H, "stride": stride, "ticks_per_second": rates})
    title = "LSTMForecaster, default but for H and stride: ticks per second on one core"
    header = ["H", "stride", "median", "min-max", "times real time at 1 kHz"]
    harness.report("throughput", title, header, rows, data)


if __name__ == "__main__":
    main()
