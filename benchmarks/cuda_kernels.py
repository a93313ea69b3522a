"""What the CUDA kernels of fleets take: registers, spills, shared memory, occupancy.

Compiles them as numba-cuda would, without a GPU; needs `ptxas` (`pip install nvidia-cuda-nvcc`) and
libNVVM (`pip install nvidia-nvvm`). Run with `python benchmarks/cuda_kernels.py`.
"""

import re
import shutil
import site
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numba
import numpy as np

from streamlstm.fleets import cuda as cuda_streams
from streamlstm.fleets.cuda_packing import empty_streams, empty_weights
from streamlstm.kernels.cuda.device import cuda
from streamlstm.kernels.cuda.layout import Rules
from streamlstm.kernels.cuda.private import learn_private, learning_size
from streamlstm.kernels.cuda.rows import fill, read_forecasts
from streamlstm.kernels.cuda.shared import learn_shared, step_shared, update_shared

SIZES, TICKS, FEATURES, BLOCK = (32, 64), 20, 0, 128
CAPABILITIES = {(8, 0): 164 * 1024, (9, 0): 228 * 1024}  # shared memory of a multiprocessor, bytes


class Usage(NamedTuple):
    """Of one kernel on one device."""

    registers: int  # of a thread
    spills: int  # bytes that a thread stores and loads
    static: int  # shared memory, bytes


def signatures() -> dict[str, tuple]:
    """Every kernel with arguments of the types that it is called with."""
    streams, weights = empty_streams(1, 1, 6, 1), empty_weights(1, 1, 6)
    single = np.float32(0.0)
    rules = Rules(0, 0, single, single, single, single)
    matrix, row = np.zeros((1, 1), np.float32), np.zeros(1, np.float32)
    rows, counts = np.zeros(1, np.int64), np.zeros(1, np.int32)
    learn = streams, weights, rows, matrix, rules
    return {
        "learn_private, staged": (learn_private(True), (matrix, *learn)),
        "learn_private": (learn_private(False), (matrix, *learn)),
        "learn_shared": (learn_shared, (matrix, matrix, counts, *learn)),
        "update_shared": (
            update_shared,
            (weights, counts, matrix, counts, row, counts, rules),
        ),
        "step_shared": (step_shared(cuda_streams.TILE), (streams, weights, rows)),
        "read_forecasts": (read_forecasts, (matrix, streams, rows)),
        "fill": (fill, (matrix, row, rows)),
    }


def compiled(name: str, capability: tuple[int, int]) -> str:
    """PTX of a kernel. Parts of it are compiled for the current device: there need not be one."""
    kernel, arguments = signatures()[name]
    signature = numba.void(*map(numba.typeof, arguments))
    device = mock.Mock(compute_capability=capability)
    with mock.patch("numba.cuda.dispatcher.get_current_device", return_value=device):
        return cuda.compile_ptx(kernel.py_func, signature, cc=capability)[0]


def ptxas() -> str:
    """Where the assembler is."""
    found = [Path(place).glob("nvidia/*/bin/ptxas") for place in site.getsitepackages()]
    wheels = [str(path) for paths in found for path in paths]
    return next(iter(wheels), None) or shutil.which("ptxas") or "ptxas"


def usage(ptx: str, capability: tuple[int, int]) -> Usage:
    """What the assembler says."""
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        target = f"sm_{capability[0]}{capability[1]}"
        command = [ptxas(), "-v", "--gpu-name", target, "-o", "/dev/null", file.name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    registers = re.findall(r"Used (\d+) registers", said)
    spills = re.findall(r"(\d+) bytes spill", said)
    static = re.findall(r"(\d+) bytes smem", said)
    return Usage(max(map(int, registers)), sum(map(int, spills)), max(map(int, static), default=0))


def occupancy(use: Usage, threads: int, shared: int, room: int) -> float:
    """Share of a multiprocessor's 64 warps that are busy, from the limits of compute 8.0 and 9.0.

    65,536 registers, dealt out by 256 to a warp; 32 blocks; 1 KB of shared memory beside a block's.
    """
    warps = -(-threads // 32)
    by_registers = 65536 // (-(-use.registers * 32 // 256) * 256) // warps
    return min(32, 64 // warps, by_registers, room // (shared + 1024)) * warps / 64


def dynamic(name: str, H: int) -> tuple[int, int]:
    """Threads and bytes of dynamic shared memory that `CudaStreams` launches a kernel with."""
    if name.startswith("learn"):
        staged = name.endswith("staged")
        return BLOCK, learning_size(H, 6 + FEATURES, TICKS, BLOCK, staged)
    if name == "update_shared":
        return 4 * BLOCK, 16 * BLOCK
    return (cuda_streams.TILE.threads if name == "step_shared" else BLOCK), 0


def main() -> None:
    """Print a table."""
    print("| kernel | cc | registers | spills | H | threads | shared, bytes | occupancy |")
    print("|---|---|---|---|---|---|---|---|")
    for name in signatures():
        for capability, room in CAPABILITIES.items():
            use = usage(compiled(name, capability), capability)
            for H in SIZES:
                threads, shared = dynamic(name, H)
                shared += use.static
                if shared <= cuda_streams.SHARED_MEMORY:
                    share = occupancy(use, threads, shared, room)
                    cc = ".".join(map(str, capability))
                    print(
                        f"| `{name}` | {cc} | {use.registers} | {use.spills} | {H} | {threads} | "
                        f"{shared:,} | {share:.0%} |"
                    )


if __name__ == "__main__":
    main()
