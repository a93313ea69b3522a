"""A live run from a Redis Stream to another, with snapshots: ticks a second, and latency.

Ten streams with weights of their own (8 units, window 10, `preset="fast"`), learned in a process
of its own that is kept to one core. The latency is that from before a tick is sent until its
forecast has been read, at about 200 ticks a second; beside it stands what an entry takes that
is sent and read back, the server's part in it. Run with
`PYTHONPATH=tests python benchmarks/live.py`; needs redis-server.
"""

import multiprocessing
import os
import signal
import tempfile
import time
from pathlib import Path

import harness
import numpy as np
from server_redis import RedisServer
from servers import wait_until
from streamlstm_connectors.redis import RedisSink, RedisSource

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.address import Address
from streamlstm.live import LiveRun
from streamlstm.payload import Fields

TICKS, KEYS, SENT = 100_000, 10, 2000


def fleet() -> ForecasterFleet:
    """A new one, its kernels loaded."""
    model = LSTMForecaster(hidden_size=8, window=10, season=None, preset="fast")
    warm = ForecasterFleet(model, threads=1)
    warm.learn_many([0, 0], [0.0, 1.0])
    warm.forecast(1)
    return ForecasterFleet(model, threads=1)


def live(source: str, sink: str, state: str) -> None:
    """A run on one core, until SIGTERM."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    run = LiveRun(
        fleet(), RedisSource(Address(source), Fields(key="key")), RedisSink(Address(sink)), state
    )
    signal.signal(signal.SIGTERM, lambda *_: run.stop())
    run.run()


def latency(client, rng: np.random.Generator, to: str, back: str) -> np.ndarray:
    """Milliseconds from before ticks are sent until something is read in turn, once warm."""
    seconds, last = [], "0-0"
    for n, value in enumerate(rng.normal(size=SENT).tolist()):
        began = time.perf_counter()
        client.xadd(to, {"key": n % KEYS, "value": value})
        ((_, ((last, _),)),) = client.xread({back: last}, block=20_000)
        seconds.append(time.perf_counter() - began)
        time.sleep(0.004)
    return 1000 * np.array(seconds[SENT // 10 :])


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder, RedisServer(folder) as server:
        client = server.client()

        def start(name: str) -> multiprocessing.Process:
            places = [server.address(f"{name} {stream}") for stream in ("ticks", "out")]
            process = multiprocessing.Process(target=live, args=(*places, str(Path(folder, name))))
            process.start()
            return process

        def stop(process: multiprocessing.Process) -> None:
            process.terminate()
            process.join()
            assert process.exitcode == 0

        pipeline = client.pipeline(transaction=False)
        for n, value in enumerate(rng.normal(size=TICKS).tolist()):
            pipeline.xadd("fast ticks", {"key": n % KEYS, "value": value})
        pipeline.execute()
        process = start("fast")
        wait_until(lambda: client.xlen("fast out") > 0)
        first, began = client.xlen("fast out"), time.perf_counter()
        wait_until(lambda: client.xlen("fast out") == TICKS, 60)
        speed = (TICKS - first) / (time.perf_counter() - began)
        stop(process)

        process = start("slow")
        added = latency(client, rng, "slow ticks", "slow out")
        stop(process)
        server_alone = latency(client, rng, "echo", "echo")
    middle, high = np.percentile(added, [50, 99]).tolist()
    bare = float(np.median(server_alone))
    data = {"ticks_per_second": speed, "latency_ms_p50": middle, "latency_ms_p99": high}
    data["server_alone_ms_p50"] = bare
    cells = [f"{speed:,.0f}", f"{middle:.2f}", f"{high:.2f}", f"{bare:.2f}"]
    header = ["ticks a second", "latency, ms, median", "99%", "server alone"]
    harness.report("live", "Redis Streams, in and out", header, [cells], data)


if __name__ == "__main__":
    main()
