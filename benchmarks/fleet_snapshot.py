"""How long a fleet of 10,000 streams is held up while a whole snapshot of it is made.

Rounds of ticks, of 1, 100 or all streams, go on in one thread as fast as they can; the snapshot is
copied, and written, in another: the longest round of these, beside the longest when there is no
snapshot, and how long the fleet waits if the snapshot is copied in one go. `preset="fast"`, 32
units, two seasons, 24 horizons. Takes 7 GB of memory and 10 GB on the disk. Run with
`python benchmarks/fleet_snapshot.py`.
"""

import argparse
import itertools
import tempfile
import time

import harness
import numpy as np

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.snapshots import snapshot
from streamlstm.snapshots.directory import Snapshots

SIZES = (1, 100, None)  # streams in a round
SECONDS = 5.0  # of rounds without a snapshot


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=10_000)
    streams = parser.parse_args().streams
    fleet = ForecasterFleet(LSTMForecaster(preset="fast", season=(24, 168)))
    rng = np.random.default_rng(0)
    for _ in range(50):
        fleet.learn_many(range(streams), rng.normal(size=streams))
    rows, data = [], []
    for each in SIZES:
        size = each or streams
        keys = itertools.cycle(rng.permutation(streams).reshape(-1, size).tolist())

        def round_of(size=size, keys=keys) -> float:
            """Milliseconds of a round."""
            values = rng.normal(size=size)
            start = time.perf_counter()
            fleet.learn_many(next(keys), values)
            return 1000 * (time.perf_counter() - start)

        start, alone = time.perf_counter(), []
        while time.perf_counter() < start + SECONDS:
            alone.append(round_of())
        with tempfile.TemporaryDirectory() as folder, Snapshots(folder) as snapshots:
            start, during = time.perf_counter(), []
            snapshots.save(fleet, wait=False)
            begun = 1000 * (time.perf_counter() - start)
            while snapshots.writing:
                during.append(round_of())
            seconds = time.perf_counter() - start
        figures = {
            "alone": np.percentile(alone, [50, 99, 100]).tolist(),
            "during": np.percentile(during, [50, 99, 100]).tolist(),
        }
        spans = [" / ".join(f"{ms:.3g}" for ms in figures[name]) for name in figures]
        rows.append([str(size), *spans, f"{begun:.1f}", f"{seconds:.1f}"])
        data.append({"round": size, **figures, "begun_ms": begun, "seconds": seconds})
    start = time.perf_counter()
    next(snapshot.ModelCopy(fleet, None).pieces(at_once=True))
    at_once = time.perf_counter() - start
    data.append({"at_once_seconds": at_once})
    title = (
        f"Rounds of a fleet of {streams:,}, milliseconds, median / 99% / longest; copied in one go "
        f"it waits {1000 * at_once:,.0f}"
    )
    header = ["streams in a round", "alone", "during", "`save` returns after", "on the disk, s"]
    harness.report("fleet_snapshot", title, header, rows, data)


if __name__ == "__main__":
    main()
