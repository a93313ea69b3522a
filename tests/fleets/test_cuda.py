"""Streams on a GPU, without one: simulated, compiled and refused."""

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
# Registers of a thread, with some room for other versions of the compilers.
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
    """The simulator is chosen before Numba is imported, so in a process of its own."""
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
def test_what_cannot_learn_there_is_refused(parameters, remedy):
    with pytest.raises(ParameterError, match=remedy):
        CudaStreams(small(**parameters))


def test_other_weights_are_refused():
    with pytest.raises(ParameterError, match="private, shared"):
        CudaStreams(small(), "mine")


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(device, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'streamlstm\[cuda\]'"):
        CudaStreams(small())


def test_without_a_device_it_says_so(monkeypatch):
    monkeypatch.setattr(device, "find_spec", lambda name: name)
    monkeypatch.setattr(device.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="no CUDA device"):
        CudaStreams(small())


@pytest.mark.parametrize("parameters", [{"hidden_size": 200}, {"window": 500}])
def test_what_does_not_fit_shared_memory_is_refused(monkeypatch, parameters):
    monkeypatch.setattr(device, "check_device", lambda: None)
    with pytest.raises(ParameterError, match="choose a smaller window or hidden_size"):
        CudaStreams(small(**{"hidden_size": 32, **parameters}))
