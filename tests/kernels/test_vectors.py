"""Tests of the kernels again, with vectors of eight lanes."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
HELPERS = TESTS.parent / "helpers"


def test_kernels_on_vectors_of_eight_lanes(tmp_path):
    script = "from streamlstm.kernels.vector import LANES; assert LANES == 8"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(HELPERS)}
    names = ("test_lstm_kernels.py", "test_batch_kernels.py", "test_tbptt.py")
    files = [str(TESTS / name) for name in names]
    for command in (
        ["-c", f"import narrow_vectors; {script}"],
        ["-m", "pytest", "-q", "-p", "narrow_vectors", *files],
    ):
        done = subprocess.run(
            [sys.executable, *command], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
