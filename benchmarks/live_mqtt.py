"""A live run from a topic of MQTT to others, with snapshots: ticks a second, and latency.

As `live.py`: ten streams with weights of their own (8 units, window 10, `preset="fast"`), learned
in a process of its own that is kept to one core. Beside the throughput stands what the client alone
manages on that core, in turns: it takes the same messages, publishes as many, and acknowledges.
Beside the latency stands what a message takes that is sent and comes back, the part of the server
and of the clients that measure. Run with `PYTHONPATH=tests python benchmarks/live_mqtt.py`; needs
mosquitto.
"""

import json
import multiprocessing
import os
import queue
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import harness
import numpy as np
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from server_mqtt import MQTTServer
from streamlstm_connectors.mqtt import MQTTSink, MQTTSource

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.address import Address
from streamlstm.live import LiveRun
from streamlstm.payload import Fields

TICKS, KEYS, SENT, ROUNDS = 20_000, 10, 2000, 3
VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


def fleet() -> ForecasterFleet:
    """A new one, its kernels loaded."""
    model = LSTMForecaster(hidden_size=8, window=10, season=None, preset="fast")
    warm = ForecasterFleet(model, threads=1)
    warm.learn_many([0, 0], [0.0, 1.0])
    warm.forecast(1)
    return ForecasterFleet(model, threads=1)


def keep_to_one_core() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def source_of(server: MQTTServer, name: str, version: str) -> MQTTSource:
    address = Address(server.address(f"{name}/ticks?client={name}&version={version}"))
    return MQTTSource.from_address(address, Fields(key="key", sequence="n"))


def live(server: MQTTServer, name: str, version: str) -> LiveRun:
    sink = MQTTSink.from_address(Address(server.address(f"{name}/out/{{key}}?version={version}")))
    return LiveRun(fleet(), source_of(server, name, version), sink, Path(server.folder, name))


def timed_live(server: MQTTServer, name: str, version: str, answer) -> None:
    """Seconds that a run takes for all ticks, and those of its processor."""
    keep_to_one_core()
    run = live(server, name, version)
    began, busy = time.perf_counter(), time.process_time()
    run.run(TICKS)
    answer.put((time.perf_counter() - began, time.process_time() - busy))


def timed_client(server: MQTTServer, name: str, version: str, answer) -> None:
    """As `timed_live`, of a client that publishes a message for each that comes."""

    def came(client, userdata, message):
        client.publish(f"{name}/out/{message.mid % KEYS}", message.payload, 1)

    def published(client, userdata, mid, *others):
        nonlocal left
        left -= 1
        if left == 0:
            client.disconnect()

    keep_to_one_core()
    left = TICKS
    is_5 = version == "5"
    session = {"protocol": VERSIONS[version], "clean_session": None if is_5 else False}
    client = Client(CallbackAPIVersion.VERSION2, name, **session)
    client.max_inflight_messages_set(0)
    client.on_message, client.on_publish = came, published
    began, busy = time.perf_counter(), time.process_time()
    client.connect("127.0.0.1", server.port, **({"clean_start": False} if is_5 else {}))
    client.loop_forever()
    answer.put((time.perf_counter() - began, time.process_time() - busy))


def speed(server: MQTTServer, timed: Callable, name: str, version: str) -> tuple[float, float]:
    """Ticks a second that a process takes from a session, in which they wait; microseconds of CPU.

    The latter say more on a machine that others use, too.
    """
    source = source_of(server, name, version)
    source.open(None)
    source.close()
    sender = server.client()
    values = np.random.default_rng(0).normal(size=TICKS).tolist()
    sender.publish(f"{name}/ticks", *map(message, range(TICKS), values))
    sender.close()
    answer: multiprocessing.Queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=timed, args=(server, name, version, answer))
    process.start()
    seconds, busy = answer.get(timeout=100)
    process.join()
    return TICKS / seconds, 1e6 * busy / TICKS


def until_told(server: MQTTServer, name: str, version: str) -> None:
    """A run on one core, until SIGTERM."""
    keep_to_one_core()
    run = live(server, name, version)
    signal.signal(signal.SIGTERM, lambda *_: run.stop())
    run.run()


def message(n: int, value: float) -> str:
    return json.dumps({"key": n % KEYS, "value": value, "n": n})


def latency(server: MQTTServer, to: str, back: str) -> np.ndarray:
    """Milliseconds from before ticks are sent until something comes in turn, once warm."""
    come: queue.SimpleQueue = queue.SimpleQueue()
    reader, sender = server.client(topic=back), server.client()
    reader.tell(come.put)
    seconds = []
    for n, value in enumerate(np.random.default_rng(0).normal(size=SENT).tolist()):
        began = time.perf_counter()
        sender.post(to, message(n, value))
        come.get(timeout=20)
        seconds.append(time.perf_counter() - began)
        time.sleep(0.004)
    reader.close()
    sender.close()
    return 1000 * np.array(seconds[SENT // 10 :])


def main() -> None:
    """Measure and print."""
    rows, data = [], {}
    with tempfile.TemporaryDirectory() as folder, MQTTServer(Path(folder)) as server:
        for version in VERSIONS:
            sides: dict[str, Callable] = {"run": timed_live, "client": timed_client}
            speeds: dict[str, list[tuple[float, float]]] = {"run": [], "client": []}
            for n in range(ROUNDS):
                for side, timed in sides.items():
                    speeds[side].append(speed(server, timed, f"{side}-{version}-{n}", version))
            name = f"late-{version}"
            source = source_of(server, name, version)
            source.open(None)
            source.close()
            process = multiprocessing.Process(target=until_told, args=(server, name, version))
            process.start()
            made = latency(server, f"{name}/ticks", f"{name}/out/#")
            process.terminate()
            process.join()
            assert process.exitcode == 0
            bare = latency(server, "echo", "echo")
            shown = [
                f"{middle:,.0f} ({low:,.0f}-{high:,.0f})"
                for each in speeds.values()
                for column in zip(*each, strict=True)
                for low, middle, high in [np.percentile(column, [0, 50, 100]).tolist()]
            ]
            points = [np.percentile(each, [50, 99]).tolist() for each in (made, bare)]
            shown += [f"{middle:.2f} / {high:.2f}" for middle, high in points]
            rows.append([version, *shown])
            data[version] = {**speeds, "latency_ms": points[0], "server_alone_ms": points[1]}
    speed_of = ["ticks a second", "us of CPU a tick"]
    of_client = [f"client alone: {each}" for each in speed_of]
    header = ["MQTT", *speed_of, *of_client, "latency, ms, median / 99%", "server alone"]
    harness.report("live_mqtt", "MQTT, in and out", header, rows, data)


if __name__ == "__main__":
    main()
