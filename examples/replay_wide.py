"""Replay a CSV file with a stream in each column, and list the streams with the worst forecasts.

Run with `python examples/replay_wide.py FILE.csv`. If the file does not exist, it is written first,
with the stock prices of river's `SP500Stocks`. Without a name a temporary file is used.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from fleet import universe

from streamlstm import replay


def write_stocks(path):
    """Write a column for each stock and a row for each trading day."""
    names, prices = universe(stocks=500, days=1257)
    np.savetxt(path, prices, fmt="%.4f", delimiter=",", header=",".join(names), comments="")


def main(path):
    """Score one-step forecasts of all columns, with intervals."""
    if not path.exists():
        write_stocks(path)
    result = replay(path, wide=True, preset="fast", interval=0.9)
    print(result)
    for key, scores in [*result.results.items()][:5]:  # the worst come first
        print(f"{key}: {scores}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder) / "stocks.csv")
