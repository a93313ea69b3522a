"""Memory and speed of `streamlstm replay` over five million ticks of a CSV file, on one core.

One small LSTM (`--preset fast --hidden-size 8 --window 10`) in a process of its own, with and
without snapshots and an output; its memory as the system tells it, where it stands in the file.
Run with `python benchmarks/memory.py`, on Linux.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import numpy as np

OPTIONS = ["--preset", "fast", "--hidden-size", "8", "--window", "10", "--json"]
SIDES = {
    "no season": ["--season", "none"],
    "no season, --output": ["--season", "none", "--output", "out.csv"],
    "no season, --state": ["--season", "none", "--state", "state"],
    "seasons looked for": [],
}
PARTS = 10  # of the file, after which memory is told


def write_stream(path: Path, ticks: int) -> None:
    """A walk around a season, a tick a second."""
    rng, start = np.random.default_rng(0), np.datetime64("2024-01-01T00:00:00")
    level = 0.0
    with path.open("w") as file:
        file.write("time,value\n")
        for first in range(0, ticks, 100_000):
            n = np.arange(first, min(first + 100_000, ticks))
            walk = level + rng.normal(size=n.size).cumsum() / 10
            level = walk[-1]
            values, times = walk + 10 * np.sin(n / 100), np.datetime_as_string(start + n)
            file.writelines(
                f"{time},{value:.4f}\n" for time, value in zip(times, values, strict=True)
            )


def read_of(process: int, file: Path) -> int:
    """Bytes of a file that a process has read, 0 while it has not opened it."""
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            if descriptor.readlink() == file:
                info = Path(f"/proc/{process}/fdinfo/{descriptor.name}").read_text()
                return int(info.split()[1])
    return 0


def memory_of(process: int) -> float:
    """MB of a process."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def replay(file: Path, options: list[str]) -> tuple[list[float], dict]:
    """Most MB while each part of the file is read, and the result."""
    command = [sys.executable, "-m", "streamlstm", "replay", str(file), *OPTIONS, *options]
    core = {max(os.sched_getaffinity(0))}
    size, most = file.stat().st_size, [0.0] * PARTS
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=file.parent,
        preexec_fn=lambda: os.sched_setaffinity(0, core),
    ) as process:
        while process.poll() is None:
            with contextlib.suppress(OSError):  # it has just ended
                part = PARTS * read_of(process.pid, file) // (size + 1)
                most[part] = max(most[part], memory_of(process.pid))
            time.sleep(0.01)
        printed = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"the replay ended with {process.returncode}")
    return most, json.loads(printed)


def main() -> None:
    """Measure all sides in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=5_000_000)
    ticks = parser.parse_args().ticks
    rows, data = [], []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder).resolve() / "stream.csv"
        write_stream(file, ticks)
        for side, options in SIDES.items():
            megabytes, result = replay(file, options)
            speed = result["ticks_per_second"]
            shown = [f"{each:.0f}" for each in megabytes]
            rows.append([side, f"{speed:,.0f}", *shown])
            data.append({"side": side, "ticks_per_second": speed, "megabytes": megabytes})
    header = ["", "ticks a second", *(f"{100 * n // PARTS}%" for n in range(1, PARTS + 1))]
    title = f"streamlstm replay of {ticks:,} ticks on one core, and MB at most up to a part of them"
    harness.report("memory", title, header, rows, data)


if __name__ == "__main__":
    main()
