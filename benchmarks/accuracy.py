"""MASE of the default forecaster on every CSV file of a folder, replayed tick by tick.

Run with `python benchmarks/accuracy.py [FOLDER] [--limit 10000]`.
"""

import argparse
import math
import time
from pathlib import Path

from streamlstm_connectors.csv import CSVSource

from streamlstm import LSTMForecaster
from streamlstm.evaluate import Score
from streamlstm.runner import run

EXAMPLES = Path(__file__).parents[1] / "examples" / "data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=EXAMPLES)
    parser.add_argument("--limit", type=int, help="ticks of each file")
    arguments = parser.parse_args()
    LSTMForecaster().learn_many([0.0, 1.0])  # compiles
    print(f"{'stream':<28}{'ticks':>8}{'MASE':>8}{'us/tick':>9}  seasons")
    logarithms = []
    for path in sorted(arguments.folder.glob("*.csv")):
        model, score = LSTMForecaster(), Score()
        start = time.perf_counter()
        for batch, forecasts in run(model, CSVSource(path), limit=arguments.limit):
            score.update(batch.values, forecasts[:, 0])
        seconds = time.perf_counter() - start
        result = score.result()
        if result.mase is None:
            continue
        logarithms.append(math.log(result.mase))
        rate = seconds / result.ticks * 1e6
        seasons = ", ".join(map(str, model.seasons_))
        print(f"{path.stem:<28}{result.ticks:>8,}{result.mase:>8.3f}{rate:>9.1f}  {seasons}")
    mean = math.exp(sum(logarithms) / len(logarithms))
    print(f"\ngeometric mean of {len(logarithms)} streams: {mean:.3f}")


if __name__ == "__main__":
    main()
