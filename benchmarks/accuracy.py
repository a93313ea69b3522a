"""MASE of the default forecaster on every CSV file of a folder, replayed tick by tick.

Run with `python benchmarks/accuracy.py [FOLDER] [--limit 10000] [--experts lstm]`. `--hindsight
FILE` compares with the best of other methods chosen with hindsight: a JSON object with, by the name
of the file, an object whose `one_step` is that method's MASE over as many ticks.
"""

import argparse
import json
import math
import time
from pathlib import Path

from streamlstm_connectors.csv import CSVSource

from streamlstm import LSTMForecaster
from streamlstm.evaluate import Score
from streamlstm.forecaster import EXPERTS
from streamlstm.runner import run

EXAMPLES = Path(__file__).parents[1] / "examples" / "data"


def geometric_mean(values: list[float]) -> float:
    """Of positive numbers."""
    return math.exp(sum(map(math.log, values)) / len(values))


def main() -> None:
    """Replay every file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=EXAMPLES)
    parser.add_argument("--limit", type=int, help="ticks of each file")
    parser.add_argument("--experts", nargs="+", choices=EXPERTS, default=EXPERTS)
    parser.add_argument("--hindsight", type=Path)
    arguments = parser.parse_args()
    best = json.loads(arguments.hindsight.read_text()) if arguments.hindsight else {}
    LSTMForecaster().learn_many([0.0, 1.0])  # compiles
    print(f"{'stream':<28}{'ticks':>8}{'MASE':>8}{'best':>8}{'ratio':>8}{'us/tick':>9}  seasons")
    scores, ratios = [], []
    for path in sorted(arguments.folder.glob("*.csv")):
        model, score = LSTMForecaster(experts=tuple(arguments.experts)), Score()
        start = time.perf_counter()
        for batch, forecasts in run(model, CSVSource(path), limit=arguments.limit):
            score.update(batch.values, forecasts[:, 0])
        seconds = time.perf_counter() - start
        result = score.result()
        if result.mase is None:
            continue
        scores.append(result.mase)
        compared = f"{'-':>8}{'-':>8}"
        if path.stem in best:
            ratios.append(result.mase / best[path.stem]["one_step"])
            compared = f"{best[path.stem]['one_step']:>8.3f}{ratios[-1]:>8.3f}"
        rate = seconds / result.ticks * 1e6
        seasons = ", ".join(map(str, model.seasons_))
        print(
            f"{path.stem:<28}{result.ticks:>8,}{result.mase:>8.3f}{compared}{rate:>9.1f}  {seasons}"
        )
    print(f"\ngeometric mean of {len(scores)} streams: MASE {geometric_mean(scores):.3f}", end="")
    if ratios:
        print(f"; ratio to the best {geometric_mean(ratios):.3f}, worst {max(ratios):.3f}", end="")
    print()


if __name__ == "__main__":
    main()
