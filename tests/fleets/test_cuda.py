"""Streams on a GPU, tested without one: simulation, compilation and errors."""

import os
import subprocess
import sys
from pathlib import Path

import cuda_kernels
import pytest

from streamlstm import LSTMForecaster
from streamlstm.errors import DeviceError, MissingPackageError, ParameterError
from streamlstm.fleets.cuda import CudaStreams
from streamlstm.kernels.cuda import device

HELPERS = Path(__file__).parents[1] / "helpers"
# Limits on the registers of a thread; other compiler versions may need a few more than ours.
REGISTERS = {
    "learn_private, staged": 96,
    "learn_private": 96,
    "learn_shared": 160,
    "update_shared": 64,
    "step_shared": 128,
    "read_forecasts": 40,
    "fill": 40,
}


def small(**parameters):
    right = {"season": None, "drift": False, "horizon": 1, "experts": ("last", "lstm")}
    return LSTMForecaster(**{"hidden_size": 2, "preset": "fast", **right, **parameters})


def test_kernels_are_right_under_the_simulator():
    """In a separate process, as the simulator must be chosen before Numba is imported."""
    path = os.pathsep.join(sys.path)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--numprocesses=0", "cuda_simulated.py"],
        cwd=HELPERS,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("name", REGISTERS)
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)])
def test_kernels_compile_without_float64_and_without_spills(name, capability):
    ptx = cuda_kernels.compiled(name, capability)
    assert ".f32" in ptx
    assert ".f64" not in ptx
    use = cuda_kernels.usage(ptx, capability)
    assert use.spills == 0
    assert use.registers <= REGISTERS[name]


def test_every_kernel_has_a_limit():
    assert cuda_kernels.signatures().keys() == REGISTERS.keys()


@pytest.mark.parametrize(
    ("parameters", "remedy"),
    [
        ({"cell": "gru"}, "cell='lstm'"),
        ({"learning": "snap1"}, "learning='tbptt'"),
        ({"num_layers": 2}, "num_layers=1"),
        ({"stride": 2}, "stride=1"),
        ({"preset": "accurate"}, "replay=0"),
        ({"season": 12}, "season=None"),
        ({"experts": ("last", "rls")}, "experts="),
        ({"drift": True}, "drift=False"),
        ({"horizon": 2}, "horizon=1"),
        ({"known_features": ("holiday",)}, "no known_features"),
    ],
)
def test_models_that_a_gpu_cannot_learn_are_refused(parameters, remedy):
    with pytest.raises(ParameterError, match=remedy):
        CudaStreams(small(**parameters))


def test_other_weights_are_refused():
    with pytest.raises(ParameterError, match="private, shared"):
        CudaStreams(small(), "mine")


def test_without_numba_cuda_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(device, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'streamlstm\[cuda\]'"):
        CudaStreams(small())


def test_without_a_gpu_the_error_says_so(monkeypatch):
    monkeypatch.setattr(device, "find_spec", lambda name: name)
    monkeypatch.setattr(device.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="no CUDA device"):
        CudaStreams(small())


@pytest.mark.parametrize("parameters", [{"hidden_size": 200}, {"window": 500}])
def test_a_model_too_large_for_shared_memory_is_refused(monkeypatch, parameters):
    monkeypatch.setattr(device, "check_device", lambda: None)
    with pytest.raises(ParameterError, match="choose a smaller window or hidden_size"):
        CudaStreams(small(**{"hidden_size": 32, **parameters}))
