"""What the constants of the committee owe to the streams that they were chosen on.

Run with `python benchmarks/leave_one_out.py FOLDER [--limit 10000]`, about a minute a setting: the
kernels are compiled anew for each. For every stream the setting that is best on all others is taken
and scored on the one left out. If that comes close to the setting that is best on all, the choice
does not rest on single streams.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np
from harness import report

# By name: constants of modules under streamlstm.kernels.forecaster.
SETTINGS: dict[str, dict[str, dict[str, object]]] = {
    "as shipped": {},
    "mixture rate 0.05": {"committee": {"LEARNING_RATE": 0.05}},
    "mixture rate 0.2": {"committee": {"LEARNING_RATE": 0.2}},
    "share 0.001": {"committee": {"SHARE": 0.001}},
    "gate memory 250": {"committee": {"GATE_MEMORY": 250.0}},
    "gate memory 1000": {"committee": {"GATE_MEMORY": 1000.0}},
    "gate threshold 0.1": {"committee": {"GATE_HUBER": 0.1}},
    "gate threshold 1": {"committee": {"GATE_HUBER": 1.0}},
    "squared errors": {"least_squares": {"HUBER": (np.inf,) * 5}, "committee": {"GATE_HUBER": 1e9}},
    "thresholds 0.3": {"least_squares": {"HUBER": (0.3, 0.3, 0.3, 0.3, 0.3)}},
    "thresholds 1": {"least_squares": {"HUBER": (1.0, 1.0, 1.0, 1.0, 1.0)}},
    "profiles 0.5, 0.1": {"history": {"PROFILE_RATES": (0.5, 0.1)}},
    "profiles 0.2, 0.02": {"history": {"PROFILE_RATES": (0.2, 0.02)}},
}


def score(setting: str, folder: Path, limit: int) -> dict[str, list[float]]:
    """MASE of every stream with a setting, in this process: its constants stay changed."""
    for module, constants in SETTINGS[setting].items():
        for name, value in constants.items():
            setattr(import_module(f"streamlstm.kernels.forecaster.{module}"), name, value)
    from accuracy import read, scores

    from streamlstm import LSTMForecaster

    results = {}
    for path in sorted(folder.glob("*.csv")):
        values, times = read(path, limit)
        forecasts, bounds = LSTMForecaster(preset="fast").learn_many(
            values, timestamps=times, horizon=24, interval=0.9
        )
        figures = scores(values, forecasts, bounds)
        results[path.stem] = [figures["one_step"], figures["path"]]
    return results


def main() -> None:
    """Score every setting in a process of its own, then leave out one stream after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--setting", choices=SETTINGS, help="score this one only, as JSON")
    arguments = parser.parse_args()
    if arguments.setting:
        print(json.dumps(score(arguments.setting, arguments.folder, arguments.limit)))
        return
    results = {}
    for setting in SETTINGS:
        with tempfile.TemporaryDirectory() as cache:
            command = [sys.executable, __file__, str(arguments.folder), "--setting", setting]
            command += ["--limit", str(arguments.limit)]
            environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
            output = subprocess.run(
                command, env=environment, check=True, stdout=subprocess.PIPE, text=True
            ).stdout
        results[setting] = json.loads(output)
        print(setting, np.exp(np.log(list(results[setting].values())).mean(axis=0)), flush=True)

    names, streams = list(results), list(results["as shipped"])
    logs = np.log([[results[name][stream] for stream in streams] for name in names])
    logs -= logs[0]  # ratios to the setting as shipped
    rows = [
        [name, *(f"{x:.4f}" for x in np.exp(logs[n].mean(axis=0)))] for n, name in enumerate(names)
    ]
    chosen = []
    for measure in range(2):
        total = logs[:, :, measure].sum(axis=1)
        best = [int((total - logs[:, s, measure]).argmin()) for s in range(len(streams))]
        chosen.append(np.exp(np.mean([logs[n, s, measure] for s, n in enumerate(best)])))
    rows.append(["best on the other streams", *(f"{x:.4f}" for x in chosen)])
    title = "MASE over that of the constants as shipped, geometric mean over streams, preset fast"
    report("leave_one_out", title, ["setting", "one tick ahead", "paths of 24"], rows, results)


if __name__ == "__main__":
    main()
