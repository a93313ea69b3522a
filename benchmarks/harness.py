"""What the benchmarks share: timing in turns, the machine, tables and JSON."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ["numba", "numpy", "river", "torch", "jax", "keras", "onnxruntime", "deep-river"]


def one_thread() -> None:
    """Keep every library on one thread; call before any of them is imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    os.environ.setdefault("KERAS_BACKEND", "jax")


@dataclass(frozen=True)
class Figures:
    """Microseconds a call took, over several rounds."""

    rounds: list[float]

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.rounds)

    def __str__(self) -> str:
        return f"{self.median:.3g} ({min(self.rounds):.3g}-{max(self.rounds):.3g})"

    def ratio_to(self, other: "Figures") -> float:
        """Median over the rounds of how many times as long this takes."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)


def in_turns(
    sides: dict[str, Callable[[], Any]], rounds: int, seconds: float
) -> dict[str, Figures]:
    """Time each call, all sides in turn, so that a busy machine slows down all of them.

    A side gets about `seconds` in each round, after a tenth of that to warm up.
    """
    calls = {}
    for name, call in sides.items():
        call()
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds / 10:
            call()
            count += 1
        calls[name] = max(10 * count, 1)
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                call()
            taken[name].append((time.perf_counter() - start) / calls[name] * 1e6)
    return {name: Figures(figures) for name, figures in taken.items()}


def available(peers: dict[str, Callable[..., Any]], *arguments: Any) -> dict[str, Callable]:
    """Build the peers; those whose library is absent are named and left out."""
    built = {}
    for name, build in peers.items():
        try:
            built[name] = build(*arguments)
        except ImportError as error:
            print(f"skipped {name}: {error}", file=sys.stderr)
    return built


def compared(figures: dict[str, Figures], ours: str, peers: Sequence[str]) -> list[str]:
    """Cells of a table: our figures, then each peer's median and ratio to ours."""
    cells = [str(figures[ours])]
    for name in peers:
        there = figures.get(name)
        ratio = there.ratio_to(figures[ours]) if there else 0.0
        cells.append(f"{there.median:.3g}, {ratio:.3g}x" if there else "-")
    return cells


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        fields = [line.partition(":")[::2] for line in info.read_text().splitlines()]
        names = {key.strip(): value.strip() for key, value in fields}
        family = f"family {names.get('cpu family')} model {names.get('model')}"
        model = f"{names.get('model name', model)} ({family})"
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    cores = str(os.cpu_count())
    return {"processor": model, "cores": cores, "system": platform.system(), **versions}


def report(name: str, title: str, header: Sequence[str], rows: list[list[str]], data: Any) -> None:
    """Print a table and keep it, with the figures and the machine, under results/."""
    table = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    table += [f"| {' | '.join(row)} |" for row in rows]
    text = "\n".join(table)
    print(f"\n{title}\n\n{text}\n", flush=True)
    RESULTS.mkdir(exist_ok=True)
    content = {"title": title, "machine": machine(), "table": text, "figures": data}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
