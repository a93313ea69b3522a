"""Check for a device. Other modules import `cuda` from here."""

from importlib.util import find_spec

import numba
from numba import cuda as cuda

from ...errors import DeviceError, MissingPackageError


def check_device() -> None:
    """Raise MissingPackageError or DeviceError if kernels cannot run here."""
    simulated = numba.config.ENABLE_CUDASIM  # type: ignore[attr-defined]
    if not simulated and find_spec("numba_cuda") is None:
        raise MissingPackageError("CUDA needs numba-cuda: pip install 'streamlstm[cuda]'")
    if not cuda.is_available():
        raise DeviceError("no CUDA device was found, or no driver for it")
