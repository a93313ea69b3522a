"""Embed a forecaster in a service: forecast, act, wait for the next value, learn from it.

Run with `python examples/embed.py`.
"""

import csv
from pathlib import Path

from streamlstm import LSTMForecaster

DATA = Path(__file__).parent / "data" / "pedestrians_hourly.csv"


def readings():
    """Yield values from a file; replace it with your own source: a queue, a socket, a sensor."""
    with DATA.open() as file:
        for row in csv.DictReader(file):
            yield float(row["pedestrians"])


def main() -> None:
    """Forecast and learn each value, then print the last day."""
    model = LSTMForecaster(season=(24, 168))
    history = []
    for value in readings():
        (forecast,) = model.forecast(1)  # before the value is known
        history.append((forecast, value))
        model.learn_one(value)  # a few microseconds

    print("hour  forecast  actual")
    for hour, (forecast, value) in enumerate(history[-24:]):
        print(f"{hour:>4}  {forecast:>8.0f}  {value:>6.0f}")
    print("\nnext six hours:", [round(y) for y in model.forecast(6)])
    model.summary()


if __name__ == "__main__":
    main()
