"""Forecast 500 stocks with one fleet, and list those with the worst forecasts.

The fleet holds a forecaster for each stock and learns a day's prices in one call, on all cores. The
data are river's `SP500Stocks`, with prices rebuilt from daily returns.

Run with `python examples/fleet.py`.
"""

import time

import numpy as np

from streamlstm import ForecasterFleet, LSTMForecaster

try:
    from river.datasets import SP500Stocks
except ImportError as error:
    raise SystemExit("needs river 0.26: pip install 'streamlstm[examples]'") from error


def universe(stocks, days):
    """Names of the stocks, and (T, S) prices."""
    rows = [x for x, _ in SP500Stocks().take(days)]
    names = [name for name, change in rows[0].items() if isinstance(change, float)][:stocks]
    changes = np.array([[row[name] for name in names] for row in rows])
    return names, 100 * np.cumprod(1 + changes / 100, axis=0)


def main(stocks=500, days=1257):
    """Learn day by day, then print the stocks with the worst error relative to the last price."""
    names, prices = universe(stocks, days)
    fleet = ForecasterFleet(LSTMForecaster(season=None, preset="fast"))
    forecasts, bounds = np.empty_like(prices), np.empty((*prices.shape, 2))
    start = time.perf_counter()
    for t, row in enumerate(prices):
        next_prices, intervals = fleet.learn_many(names, row, interval=0.9)
        forecasts[t], bounds[t] = next_prices[:, 0], intervals[:, :, 0]
    seconds = time.perf_counter() - start

    scored = slice(days // 10, None)
    errors = np.abs(forecasts - prices)[scored].mean(axis=0)
    naive = np.abs(np.diff(prices, axis=0))[scored.start - 1 :].mean(axis=0)
    held = ((bounds[..., 0] <= prices) & (prices <= bounds[..., 1]))[scored].mean(axis=0)
    ratios = errors / naive
    print(f"{len(names)} stocks, {days:,} days, {prices.size / seconds:,.0f} ticks a second")
    print(f"error over that of the last price: median {np.median(ratios):.4f}")
    print("\nworst   error  last price's  ratio  in 90% interval")
    for s in np.argsort(ratios)[::-1][:5]:
        print(f"{names[s]:<6}{errors[s]:>7.3f}{naive[s]:>14.3f}{ratios[s]:>7.3f}{held[s]:>17.1%}")


if __name__ == "__main__":
    main()
