"""Forecast market prices a day ahead, and see how little can be forecast.

Past prices say hardly more about tomorrow's price than the last price does. A forecaster that seems
much better has usually seen the future. A realistic result is an error ratio of 1.00, and intervals
that hold the price as often as they should.

The oil price, USD a barrel, is `wti_oil_daily.csv` (public domain, see `examples/data`); the stocks
are from river's `SP500Stocks`, with prices rebuilt from daily returns.

Run with `python examples/stock_price.py`.
"""

import csv
from pathlib import Path

import numpy as np

from streamlstm import LSTMForecaster

try:
    from river.datasets import SP500Stocks
except ImportError as error:
    raise SystemExit("needs river 0.26: pip install 'streamlstm[examples]'") from error

DATA = Path(__file__).parent / "data" / "wti_oil_daily.csv"
STOCKS = ("AAPL", "AMZN", "IBM", "JPM", "XOM")


def prices():
    """Yield the name and the prices, in order of time, of each market."""
    with DATA.open() as file:
        oil = [float(row["price"] or "nan") for row in csv.DictReader(file)]  # nan on holidays
    yield "oil", np.array(oil)
    days = [x for x, _ in SP500Stocks()]
    for stock in STOCKS:
        yield stock, 100 * np.cumprod([1 + x[stock] / 100 for x in days])


def main():
    """Forecast each market day by day, and print errors and coverage."""
    print("market    days  MAE  last value's  ratio  in 90% interval")
    for name, values in prices():
        model = LSTMForecaster(season=None)
        forecasts, intervals = model.learn_many(values, interval=0.9)
        last = np.array([np.nan, *values[:-1]])
        for t in range(1, len(last)):
            last[t] = last[t - 1] if np.isnan(last[t]) else last[t]
        scored = np.arange(len(values)) >= len(values) // 10
        scored &= ~np.isnan(values)
        error = np.abs(forecasts[:, 0] - values)[scored].mean()
        naive = np.abs(last - values)[scored].mean()
        held = (intervals[:, 0, 0] <= values) & (values <= intervals[:, 1, 0])
        print(
            f"{name:<6}{len(values):>8,}{error:>8.4f}{naive:>8.4f}{error / naive:>8.4f}"
            f"{held[scored].mean():>8.1%}"
        )


if __name__ == "__main__":
    main()
