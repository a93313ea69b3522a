"""Kernels are cached on disk, and the cache notices a change in any kernel file."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import streamlstm

SCRIPT = """
from streamlstm.kernels.regressor import entries
from streamlstm import LSTMRegressor
predict_one = entries("lstm", "tbptt").predict_one
model = LSTMRegressor(hidden_size=2)
model.predict_one({})
print(model.predict_one({}), sum(predict_one.stats.cache_hits.values()))
"""


def run(package: Path, **environment: str) -> list[str]:
    """Prediction of a fresh model and number of cache hits, from a copy of the package."""
    environment = {**os.environ, "PYTHONPATH": str(package.parent), **environment}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=package.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.fixture
def package(tmp_path):
    source = Path(streamlstm.__file__).parent
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(source, tmp_path / "streamlstm", ignore=ignore))


def test_a_change_in_a_callee_recompiles_its_callers(package):
    assert run(package) == ["0.0", "0"]
    assert run(package) == ["0.0", "1"]
    stack = package / "kernels" / "stack.py"
    stack.write_text(stack.read_text().replace("y[k] += b_head[k]", "y[k] += b_head[k] + 1e300"))
    regressor = package / "kernels" / "regressor.py"
    assert "1e300" not in regressor.read_text()
    assert run(package)[1] == "0"


def test_a_read_only_install_works_without_a_cache(package, tmp_path):
    for path in [package, *package.rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    environment = {"HOME": str(nowhere / "home"), "XDG_CACHE_HOME": str(nowhere / "cache")}
    if os.geteuid() == 0:  # root can write everywhere, so keep numba from trying
        environment["NUMBA_CACHE_LOCATOR_CLASSES"] = "UserWideCacheLocator"
    assert run(package, **environment) == ["0.0", "0"]
    assert run(package, **environment) == ["0.0", "0"]


KEYS = """
from numba import types
from numba.core.registry import cpu_target
from streamlstm.kernels.fleets import private as fleet, shared
codegen = cpu_target.target_context.codegen()
for kernels in [fleet.entries("lstm", "tbptt"), shared.entries("lstm", "tbptt")]:
    for kernel in kernels:
        print(kernel._cache._index_key((types.float64,), codegen)[2])
"""


def test_kernels_that_refer_to_others_are_found_again_in_another_process():
    seeds = {
        subprocess.run(
            [sys.executable, "-c", KEYS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    (keys,) = seeds
    assert len(set(keys.splitlines())) == 3
