"""Errors and intervals of the default forecaster and of its members on every CSV file of a folder.

Run with `python benchmarks/accuracy.py [FOLDER] [--limit 10000] [--models default fast]`. Only
time stamps and values are given, one tick at a time; the first tenth is not scored. `--baselines
FILE` compares with other methods: a JSON object with, by the name of the file, the objects
`all_one_step` and `all_path` of their MASE over as many ticks, of which the best is chosen for each
stream with hindsight. Results and a picture go to results/accuracy.json and docs/accuracy.png
where all models ran.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import report
from streamlstm_connectors.files.csv import CSVSource

from streamlstm import LSTMForecaster

FOLDER = Path(__file__).parents[1]
EXAMPLES, PICTURE = FOLDER / "examples" / "data", FOLDER / "docs" / "accuracy.png"
MODELS: dict[str, dict[str, Any]] = {
    "default": {},
    "without LSTM": {"experts": ("last", "season", "rls")},
    "LSTM": {"experts": ("lstm",)},
    "least squares": {"experts": ("rls",)},
    "season": {"experts": ("season",)},
    "fast": {"preset": "fast"},
    "fast LSTM": {"preset": "fast", "experts": ("lstm",)},
}
LEFT_OUT, INTERVAL = 0.1, 0.9


def read(path: Path, limit: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    """(T,) values and timestamps of a file; gaps between rows stay gaps."""
    batches = list(CSVSource(path))
    values = np.concatenate([batch.values for batch in batches])[:limit]
    if any(batch.timestamps is None for batch in batches):
        return values, None
    return values, np.concatenate([batch.timestamps for batch in batches])[:limit]


def scores(values: np.ndarray, forecasts: np.ndarray, bounds: np.ndarray) -> dict[str, float]:
    """MASE one tick ahead and of whole paths, and coverage, of (T, K) forecasts made tick by tick.

    Of each origin after the first tenth; a path counts where all its K ticks have come.
    """
    T, K = forecasts.shape
    last = np.full(T, np.nan)  # observed before each tick
    for t in range(1, T):
        last[t] = values[t - 1] if math.isfinite(values[t - 1]) else last[t - 1]
    first = int(LEFT_OUT * T)
    result = {}
    for name, ahead in (("one_step", 1), ("path", K)):
        origins = np.arange(first, T - ahead + 1)
        targets = np.lib.stride_tricks.sliding_window_view(values, ahead)[origins]
        error = np.abs(forecasts[origins, :ahead] - targets)
        naive = np.abs(last[origins, None] - targets)
        known = np.isfinite(error) & np.isfinite(naive)
        result[name] = float(error[known].mean() / naive[known].mean())
        lower, upper = bounds[origins, 0, ahead - 1], bounds[origins, 1, ahead - 1]
        target = targets[:, -1]
        inside = ((lower <= target) & (target <= upper))[np.isfinite(target)]
        result[f"coverage_{name}"] = float(inside.mean())
    return result


def geometric_mean(ratios: list[float]) -> float:
    """Of positive numbers."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def main() -> None:
    """Score every model on every file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=EXAMPLES)
    parser.add_argument("--limit", type=int, help="ticks of each file")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--baselines", type=Path)
    arguments = parser.parse_args()
    others = json.loads(arguments.baselines.read_text()) if arguments.baselines else {}
    LSTMForecaster().learn_many([0.0, 1.0])  # compiles
    figures: dict[str, dict[str, Any]] = {}
    for path in sorted(arguments.folder.glob("*.csv")):
        values, times = read(path, arguments.limit)
        horizon = 24 if values.size >= 2000 else 12
        figures[path.stem] = {}
        for name in arguments.models:
            model = LSTMForecaster(**MODELS[name])
            start = time.perf_counter()
            forecasts, bounds = model.learn_many(
                values, timestamps=times, horizon=horizon, interval=INTERVAL
            )
            seconds = time.perf_counter() - start
            figures[path.stem][name] = scores(values, forecasts, bounds) | {
                "us": seconds / values.size * 1e6,
                "seasons": model.seasons_,
                "drifts": len(model.drift_events_),
            }
            shown = " ".join(f"{x:.3f}" for x in list(figures[path.stem][name].values())[:4])
            print(f"{path.stem:<28}{name:<14}{shown}", flush=True)
        if path.stem in others:
            figures[path.stem]["baselines"] = {
                "one_step": others[path.stem]["all_one_step"],
                "path": others[path.stem]["all_path"],
            }
    summarise(figures, arguments.models)


def summarise(figures: dict[str, dict[str, Any]], models: list[str]) -> None:
    """Print tables, keep them, and draw them where all models and baselines are there."""
    header = ["stream", "best baseline", *models, "coverage 1, K", "best baseline, path", *models]
    rows, ratios = [], {}
    for stream, results in figures.items():
        row = [stream]
        for measure in ("one_step", "path"):
            best = 1.0
            if "baselines" in results:
                scored = results["baselines"][measure].values()
                best = min(score for score in scored if score is not None)
            row.append(f"{best:.3f}")
            for name in models:
                ratios.setdefault((measure, name), []).append(results[name][measure] / best)
                row.append(f"{results[name][measure]:.3f}")
            if measure == "one_step":
                covered = [results[models[0]][f"coverage_{m}"] for m in ("one_step", "path")]
                row.append(", ".join(f"{share:.1%}" for share in covered))
        rows.append(row)
    for label, summary in (("geometric mean of ratios", geometric_mean), ("worst ratio", max)):
        row = [label]
        for measure in ("one_step", "path"):
            row += ["", *(f"{summary(ratios[measure, name]):.3f}" for name in models)]
            row += [""] if measure == "one_step" else []
        rows.append(row)
    cost = [
        f"{np.median([results[name]['us'] for results in figures.values()]):.0f}" for name in models
    ]
    rows.append(["median us a tick", "", *cost, "", "", *[""] * len(models)])
    title = "MASE one tick ahead, coverage of 90% intervals, MASE of whole paths"
    if models == list(MODELS) and all("baselines" in results for results in figures.values()):
        report("accuracy", title, header, rows, figures)
        draw(ratios, list(figures))
    else:
        print("\n".join(" | ".join(row) for row in [header, *rows]))


def draw(ratios: dict[tuple[str, str], list[float]], streams: list[str]) -> None:
    """Ratios to the best baseline by stream, one tick ahead and for paths."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    colours = {"default": "#e4572e", "without LSTM": "#4c78a8", "fast": "#f2a65a"}
    for axes, measure, title in zip(
        figure.subplots(1, 2, sharey=True),
        ("one_step", "path"),
        ("one tick ahead", "paths of 24 ticks"),
        strict=True,
    ):
        order = np.argsort(ratios["one_step", "default"])[::-1]
        for name, colour in colours.items():
            axes.plot(
                np.array(ratios[measure, name])[order], np.arange(order.size), "o",
                color=colour, markersize=6 if name == "default" else 4, label=name,
            )  # fmt: skip
        axes.axvline(1.0, color="#9ca3af", linewidth=1)
        axes.set_yticks(np.arange(order.size), [streams[n] for n in order])
        axes.set_title(f"MAE over that of the best of 13 baselines, {title}", fontsize=9)
        axes.grid(axis="x", color="#e5e7eb")
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
