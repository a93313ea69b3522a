"""Cold start: import, first call with an empty and with a filled kernel cache; memory of a model.

Run with `python benchmarks/cold_start.py`.
"""

import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile

import harness

SCRIPT = """
import json, time
start = time.perf_counter()
import streamlstm
imported = time.perf_counter()
model = streamlstm.{model}()
built = time.perf_counter()
model.learn_one({tick})
print(json.dumps([imported - start, built - imported, time.perf_counter() - built]))
"""
MODELS = {"LSTMForecaster": "1.0", "LSTMRegressor": "{'a': 1.0}, 1.0"}
ROUNDS = 5


def seconds(model: str, cache: str) -> list[float]:
    """Import, first model, first learn in a new process."""
    script = SCRIPT.format(model=model, tick=MODELS[model])
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Measure new processes."""
    import streamlstm

    rows, data = [], {}
    for model in MODELS:
        with tempfile.TemporaryDirectory() as cache:
            cold = seconds(model, cache)
            cached = [seconds(model, cache) for _ in range(ROUNDS)]
        imported, built, learned = (
            statistics.median(column) for column in zip(*cached, strict=True)
        )
        size = len(pickle.dumps(getattr(streamlstm, model)())) / 1024
        in_memory = getattr(streamlstm, model)()._raw_memory_usage / 1024
        figures = [f"{s:.2f}" for s in (imported, built, learned, cold[2])]
        rows.append([model, *figures, f"{in_memory:.0f}", f"{size:.0f}"])
        data[model] = {"cold": cold, "cached": cached, "memory_kib": in_memory, "pickle_kib": size}
    header = [
        "model",
        "import streamlstm",
        "first model",
        "first learn",
        "first learn, empty cache",
    ]
    title = f"Cold start, seconds, medians of {ROUNDS} processes; memory of a new model, KiB"
    harness.report("cold_start", title, [*header, "memory", "pickle"], rows, data)


if __name__ == "__main__":
    main()
