"""Replay a CSV file that holds a stream in each column, and look at those that fare worst.

Run with `python examples/replay_wide.py FILE.csv`. A file that does not exist is written first,
with the prices of stocks from river's `SP500Stocks`; without a name it goes away afterwards.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from fleet import universe
from streamlstm_connectors.files.csv import CSVSource

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.replays.evaluate import FleetScore, fleet_result
from streamlstm.replays.runner import run


def write_stocks(path):
    """A column a stock, a row a trading day."""
    names, prices = universe(stocks=500, days=1257)
    np.savetxt(path, prices, fmt="%.4f", delimiter=",", header=",".join(names), comments="")


def main(path):
    """Score one-step forecasts of all columns, then show those with the worst ratios."""
    if not path.exists():
        write_stocks(path)
    fleet, score = ForecasterFleet(LSTMForecaster(preset="fast")), FleetScore()
    for batch, forecasts, bounds in run(fleet, CSVSource(path, wide=True), interval=0.9):
        score.update(batch.keys, batch.values, forecasts[:, 0], bounds[:, :, 0])
    results = score.results()
    print(fleet_result(results.values()))
    worst = sorted(results, key=lambda key: results[key].mase or 0.0, reverse=True)
    for key in worst[:5]:
        print(f"{key}: {results[key]}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder) / "stocks.csv")
