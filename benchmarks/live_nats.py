"""A live run from a JetStream stream to another, with snapshots: ticks a second, and latency.

As `live.py`: ten streams with weights of their own (8 units, window 10, `preset="fast"`), learned
in a process of its own that is kept to one core. Beside the speed stands that of nats-py alone, on
that core too: it fetches as many messages, a thousand at a time, and publishes a forecast for each.
The latency is that from before a tick is published until its forecast has come, at about 200 ticks
a second; what server and client alone take is a message that is published to a stream, and has
come, twice. Run with `PYTHONPATH=tests python benchmarks/live_nats.py`; needs nats-server.
"""

import asyncio
import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import harness
import nats
import numpy as np
from live import KEYS, SENT, fleet
from nats.js.api import AckPolicy, ConsumerConfig
from server_nats import Client, NATSServer
from servers import wait_until
from streamlstm_connectors.nats import NATSSink, NATSSource

from streamlstm.address import Address
from streamlstm.live import LiveRun
from streamlstm.payload import Fields

TICKS, AT_ONCE = 50_000, 1000


def live(source: str, sink: str, state: str) -> None:
    """A run on one core, until SIGTERM."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    to = NATSSink.from_address(Address(sink))
    run = LiveRun(fleet(), NATSSource(Address(source), Fields(key="key")), to, state)
    signal.signal(signal.SIGTERM, lambda *_: run.stop())
    run.run()


def client_alone(port: int) -> None:
    """Fetch and publish as many messages with what the client offers, on one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    async def copy() -> None:
        connection = await nats.connect(f"nats://127.0.0.1:{port}")
        streams = connection.jetstream()
        unacknowledged = ConsumerConfig(ack_policy=AckPolicy.NONE)
        reader = await streams.pull_subscribe("fast.ticks", config=unacknowledged)
        for _ in range(TICKS // AT_ONCE):
            for message in await reader.fetch(AT_ONCE):
                record = json.loads(message.data)
                payload = json.dumps({"key": record["key"], "forecast": [record["value"]]})
                await streams.publish_async("alone.out", payload.encode())
            await streams.publish_async_completed()
        await connection.close()

    asyncio.run(copy())


def ticks_per_second(
    client: Client, out: str, target: Callable[..., None], arguments: tuple[str | int, ...]
) -> float:
    """How fast a process fills a stream, from when it has begun."""

    def count() -> int:
        return client(client.streams.stream_info(out)).state.messages

    process = multiprocessing.Process(target=target, args=arguments, daemon=True)
    process.start()
    wait_until(lambda: count() > 0)
    first, began = count(), time.perf_counter()
    wait_until(lambda: count() == TICKS, 60)
    speed = (TICKS - first) / (time.perf_counter() - began)
    stop(process)
    return speed


def stop(process: multiprocessing.Process) -> None:
    """Tell it to end, unless it has, and see that it does."""
    process.terminate()
    process.join()
    assert process.exitcode in (0, -signal.SIGTERM)


def latency(client: Client, values: list[float], to: str, back: str) -> np.ndarray:
    """Milliseconds from before ticks are published until something has come, once warm."""

    async def measure() -> list[float]:
        seconds = []
        box = await client.connection.subscribe(back)
        for n, value in enumerate(values):
            payload = json.dumps({"key": str(n % KEYS), "value": value}).encode()
            began = time.perf_counter()
            await client.connection.publish(to, payload)
            await box.next_msg(20)
            seconds.append(time.perf_counter() - began)
            await asyncio.sleep(0.004)
        await box.unsubscribe()
        return seconds

    future = asyncio.run_coroutine_threadsafe(measure(), client.loop)
    return 1000 * np.array(future.result()[len(values) // 10 :])


def main() -> None:
    """Measure and print."""
    fleet()  # compiles its kernels, if they have not been
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder, NATSServer(Path(folder)) as server:
        client = server.client()
        for name in ("fast.ticks", "fast.out", "alone.out", "slow.ticks", "slow.out", "echo"):
            client.add(name.replace(".", "_"), name)

        def places(name: str) -> tuple[str, str, str]:
            source = server.address(f"{name}_ticks")
            return source, server.address(f"{name}_out?subject={name}.out"), f"{folder}/{name}"

        numbers = enumerate(rng.normal(size=TICKS).tolist())
        payloads = [json.dumps({"key": str(n % KEYS), "value": x}).encode() for n, x in numbers]
        client.send("fast.ticks", payloads)
        alone = ticks_per_second(client, "alone_out", client_alone, (server.port,))
        speed = ticks_per_second(client, "fast_out", live, places("fast"))

        process = multiprocessing.Process(target=live, args=places("slow"), daemon=True)
        process.start()
        values = rng.normal(size=SENT).tolist()
        client.send("slow.ticks", payloads[:1])
        wait_until(lambda: client(client.streams.stream_info("slow_out")).state.messages > 0)
        through = np.percentile(latency(client, values, "slow.ticks", "slow.out"), [50, 99])
        stop(process)
        bare = np.percentile(latency(client, values, "echo", "echo"), [50, 99])
        client.close()
    (middle, high), (bare_middle, bare_high) = through.tolist(), bare.tolist()
    data = {"ticks_per_second": speed, "client_alone_ticks_per_second": alone}
    data |= {"latency_ms_p50": middle, "latency_ms_p99": high}
    data |= {"server_alone_ms_p50": bare_middle, "server_alone_ms_p99": bare_high}
    cells = [f"{speed:,.0f}", f"{alone:,.0f}", f"{middle:.2f}", f"{high:.2f}"]
    cells += [f"{bare_middle:.2f}", f"{bare_high:.2f}"]
    header = ["ticks a second", "client alone", "latency, ms, median", "99%"]
    header += ["server alone", "99%"]
    harness.report("live_nats", "NATS JetStream, in and out", header, [cells], data)


if __name__ == "__main__":
    main()
