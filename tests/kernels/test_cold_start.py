"""A new process imports what it needs and no more, and announces compilations."""

import json
import os
import subprocess
import sys

import pytest


def in_a_new_process(script: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize(
    ("script", "absent"),
    [
        ("import streamlstm", ["numba", "numpy", "pandas", "river", "rich", "matplotlib"]),
        ("from streamlstm import LSTMRegressor", ["pandas", "scipy.stats", "rich", "matplotlib"]),
        ("from streamlstm import LSTMForecaster", ["pandas", "scipy.stats", "rich", "matplotlib"]),
        ("import streamlstm.cli.app", ["numba", "pandas", "river", "matplotlib"]),
    ],
)
def test_nothing_is_imported_before_it_is_needed(script, absent):
    done = in_a_new_process(f"import sys, json; {script}; print(json.dumps(list(sys.modules)))")
    assert not set(absent) & set(json.loads(done.stdout))


@pytest.mark.parametrize("first", ["streamlstm", "river.time_series"])
def test_our_forecaster_is_river_s_whichever_comes_first(first):
    in_a_new_process(
        f"import {first}; import streamlstm; model = streamlstm.LSTMForecaster()\n"
        "from river import checks, time_series\n"
        "assert isinstance(model, time_series.base.Forecaster)\n"
        "assert issubclass(time_series.SNARIMAX, time_series.base.Forecaster)\n"
        "assert 'check_forecast' in {check.__name__ for check in checks.yield_checks(model)}"
    )


def test_a_compilation_is_announced_with_its_time_and_a_cached_kernel_is_not(tmp_path):
    script = "from streamlstm import LSTMRegressor; LSTMRegressor().predict_one({})"
    first, second = (in_a_new_process(script, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first.stderr.startswith("streamlstm: compiling regressor.predict_one ... ")
    assert first.stderr.rstrip().endswith(" s")
    assert second.stderr == ""


KERNELS = """
import gc
from numba.core.registry import CPUDispatcher

def kernels():
    every = [each for each in gc.get_objects() if isinstance(each, CPUDispatcher)]
    return sum(len(k.overloads) for k in every if k.py_func.__module__.startswith("streamlstm."))
"""


def test_warmup_compiles_everything_a_model_calls():
    """After it, every kernel that a model calls is compiled already, or loaded from the cache."""
    script = """
import sys
sys.argv = ["streamlstm", "warmup"]
from streamlstm.cli.app import main
try:
    main()
except SystemExit:
    pass
before = kernels()
from streamlstm import ForecasterFleet, LSTMForecaster, LSTMRegressor
forecaster, regressor = LSTMForecaster(season=3), LSTMRegressor(optimizer="sgd")
forecaster.learn_many([1.0, 2.0], {"a": [1, 2]}, horizon=4)
forecaster.learn_one(1, {"a": 2, "b": True})
forecaster.forecast(5, [{"a": 1.0}] * 5)
forecaster.forecast_interval(5, 0.2)
forecaster = LSTMForecaster(preset="fast", known_features=("a",))
forecaster.learn_many([1.0, 2.0, 4.0], {"a": [1, 2, 3]}, horizon=2, interval=0.8)
forecaster.learn_one(1.0, {"a": 2.0})
forecaster.forecast(2, [{"a": 1.0}] * 2)
forecaster.experts_
regressor.learn_many([[1, 2]], [3])
regressor.learn_one({0: 1, 1: None}, 2)
regressor.step([1.0, 2.0], 3.0)
regressor.predict_one({})
for weights in ("private", "shared"):
    fleet = ForecasterFleet(LSTMForecaster(preset="fast", season=4), weights)
    fleet.learn_many(["a", "b", "a"], [1, 2, 3], {"x": [1, 2, 3]}, horizon=2)
    fleet.learn_many(["a"], [1.0], interval=0.8)
    fleet.forecast(3)
print(before, kernels())
"""
    lines = in_a_new_process(KERNELS + script).stdout.splitlines()
    assert lines[0].startswith("kernels are ready")
    before, after = lines[1].split()
    assert before == after
