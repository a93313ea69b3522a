"""A live run from a Kafka topic to another, with snapshots: ticks a second, and latency.

As `live.py`, against the server that librdkafka brings for tests. That one does not wake a request
that waits when something arrives, so for the latency nothing here lets requests wait for more than
1 ms. Beside both stands what the client alone manages: a process on the same core that writes what
it reads to another topic, a batch at a time. Run with
`PYTHONPATH=tests python benchmarks/live_kafka.py`.
"""

import json
import multiprocessing
import os
import signal
import tempfile
import time
from pathlib import Path

import harness
import live
import numpy as np
import streamlstm_connectors.kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from server_kafka import PARTITIONS, KafkaServer
from servers import wait_until
from streamlstm_connectors.kafka import KafkaSink, KafkaSource

from streamlstm.address import Address
from streamlstm.live import LiveRun
from streamlstm.payload import Fields

TICKS = 50_000  # more than about that many and the server deletes some
READER = {"group.id": "bench", "fetch.wait.max.ms": 1, "enable.auto.commit": False}


def one_core() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def live_run(source: str, sink: str, state: str, wait: int) -> None:
    """A run on one core, until SIGTERM."""
    one_core()
    streamlstm_connectors.kafka.WAIT = wait
    run = LiveRun(
        live.fleet(),
        KafkaSource(Address(source), Fields(key="key")),
        KafkaSink(Address(sink)),
        state,
    )
    signal.signal(signal.SIGTERM, lambda *_: run.stop())
    run.run()


def client_alone(servers: str, to: str, back: str) -> None:
    """Write what comes to another topic, on one core, until SIGTERM."""
    one_core()
    reader = reading(servers, to)
    writer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
    while True:
        first = reader.poll(1.0)
        if first is not None:
            for message in [first, *reader.consume(1023, 0)]:
                writer.produce(back, message.value(), message.key())
            writer.flush()


def reading(servers: str, topic: str) -> Consumer:
    reader = Consumer(READER | {"bootstrap.servers": servers})
    reader.assign([TopicPartition(topic, each, 0) for each in range(PARTITIONS)])
    return reader


def tick(n: int, value: float) -> bytes:
    return json.dumps({"key": str(n % live.KEYS), "value": value}).encode()


def latency(servers: str, rng: np.random.Generator, to: str, back: str) -> np.ndarray:
    """Milliseconds from before ticks are sent until something is read in turn, once warm."""
    reader = reading(servers, back)
    writer = Producer({"bootstrap.servers": servers, "linger.ms": 0})
    seconds = []
    for n, value in enumerate(rng.normal(size=live.SENT).tolist()):
        began = time.perf_counter()
        writer.produce(to, tick(n, value), str(n % live.KEYS))
        writer.flush()
        assert reader.poll(30) is not None
        seconds.append(time.perf_counter() - began)
        time.sleep(0.004)
    reader.close()
    return 1000 * np.array(seconds[live.SENT // 10 :])


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder, KafkaServer() as server:
        client, servers = server.client(), server.direct
        writer = Producer({"bootstrap.servers": servers})
        watching = reading(servers, "fast-out")

        def count(topic: str) -> int:
            places = [TopicPartition(topic, each) for each in range(PARTITIONS)]
            return sum(watching.get_watermark_offsets(place, 5)[1] for place in places)

        def start(work, *arguments) -> multiprocessing.Process:
            process = multiprocessing.Process(target=work, args=arguments)
            process.start()
            return process

        def run(name: str, wait: int) -> multiprocessing.Process:
            places = [f"kafka://{servers}/{name}-{topic}" for topic in ("ticks", "out")]
            return start(live_run, *places, str(Path(folder, name)), wait)

        def speed(topic: str) -> float:
            wait_until(lambda: count(topic) > 0, 60)
            first, began = count(topic), time.perf_counter()
            wait_until(lambda: count(topic) == TICKS, 60)
            return (TICKS - first) / (time.perf_counter() - began)

        def stop(process: multiprocessing.Process) -> None:
            process.terminate()
            process.join()

        for topic in ("fast-ticks", "fast-out", "alone", "slow-ticks", "slow-out", "to", "back"):
            client.make(topic)
        for n, value in enumerate(rng.normal(size=TICKS).tolist()):
            writer.produce("fast-ticks", tick(n, value), str(n % live.KEYS))
        assert writer.flush(10) == 0
        process = run("fast", 100)
        ticks_per_second = speed("fast-out")
        stop(process)
        process = start(client_alone, servers, "fast-ticks", "alone")
        bare_speed = speed("alone")
        stop(process)

        process = run("slow", 1)
        added = latency(servers, rng, "slow-ticks", "slow-out")
        stop(process)
        process = start(client_alone, servers, "to", "back")
        without = latency(servers, rng, "to", "back")
        stop(process)
        watching.close()
    middle, high = np.percentile(added, [50, 99]).tolist()
    bare, bare_high = np.percentile(without, [50, 99]).tolist()
    data = {"ticks_per_second": ticks_per_second, "client_alone_per_second": bare_speed}
    data |= {"latency_ms_p50": middle, "latency_ms_p99": high}
    data |= {"client_alone_ms_p50": bare, "client_alone_ms_p99": bare_high}
    cells = [f"{ticks_per_second:,.0f}", f"{bare_speed:,.0f}"]
    cells += [f"{each:.2f}" for each in (middle, high, bare, bare_high)]
    header = ["ticks a second", "client alone", "latency, ms", "99%", "client alone", "99%"]
    harness.report("live_kafka", "Kafka, in and out", header, [cells], data)


if __name__ == "__main__":
    main()
