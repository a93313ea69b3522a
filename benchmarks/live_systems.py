"""Systems that `live.py` runs through: how messages get into each, through its client, and out.

A benchmark's run NAME has places of its own. Each system is a context manager around its server.
"""

import asyncio
import csv
import json
import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import confluent_kafka
import nats
import streamlstm_connectors.brokers.kafka
from nats.js.api import AckPolicy, ConsumerConfig
from paho.mqtt.client import Client as MQTTClient
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from server_kafka import PARTITIONS, KafkaServer
from server_mqtt import MQTTServer
from server_nats import NATSServer
from server_redis import RedisServer
from servers import Server

from streamlstm.live.address import Address
from streamlstm.live.connector import Sink, Source, connector
from streamlstm.live.payload import Fields

AT_ONCE = 1000  # messages, where a client alone takes several
Message = dict[str, Any]
Exchange = Callable[[Message], None]


class System(ABC):
    """What a benchmark does with a system."""

    fields = Fields(key="key")
    server: Server

    def __init__(self, folder: Path):
        self.folder = folder

    def __enter__(self) -> "System":
        return self

    def __exit__(self, *error: object) -> None:
        self.server.__exit__(*error)

    @abstractmethod
    def places(self, name: str) -> tuple[str, str]:
        """Addresses of source and sink of a run."""

    def connectors(self, name: str) -> tuple[Source, Sink]:
        """Source and sink of a run."""
        source, sink = map(Address, self.places(name))
        return (
            connector("source", source).from_address(source, self.fields),
            connector("sink", sink).from_address(sink),
        )

    @abstractmethod
    def prepare(self, name: str) -> None:
        """Make what has to be there before the first message."""

    @abstractmethod
    def fill(self, name: str, messages: list[Message]) -> None:
        """Let messages wait for a run."""

    @abstractmethod
    def alone(self, name: str, count: int) -> None:
        """Read so many that wait, parse them, and write as many, as the client does it best."""

    @abstractmethod
    def exchange(self, to: str, back: str) -> Any:
        """A context manager of what sends a message to a place and waits for one from another.

        They are `NAME/ticks` and `NAME/out`, or a third for both.
        """


class Files(System):
    """CSV; there is nothing to exchange."""

    server = None

    def __exit__(self, *error: object) -> None:
        """Nothing runs."""

    def places(self, name: str) -> tuple[str, str]:
        ticks, out = self._paths(name)
        return f"csv:///{ticks}", f"csv:///{out}"

    def prepare(self, name: str) -> None:
        """Nothing: files are made as they are written."""

    def fill(self, name: str, messages: list[Message]) -> None:
        with self._paths(name)[0].open("w", newline="") as file:
            writer = csv.DictWriter(file, list(messages[0]))
            writer.writeheader()
            writer.writerows(messages)

    def alone(self, name: str, count: int) -> None:
        ticks, out = self._paths(name)
        with ticks.open(newline="") as source, out.open("w", newline="") as sink:
            rows = csv.DictReader(source)
            csv.writer(sink).writerows([row["key"], float(row["value"])] for row in rows)

    def exchange(self, to: str, back: str) -> Any:
        raise NotImplementedError

    def _paths(self, name: str) -> tuple[Path, Path]:
        return self.folder / f"{name}-ticks.csv", self.folder / f"{name}-out.csv"


class Redis(System):
    """Redis Streams."""

    server: RedisServer

    def __enter__(self) -> "Redis":
        self.server = RedisServer(self.folder)
        return self

    def places(self, name: str) -> tuple[str, str]:
        return self.server.address(f"{name}/ticks"), self.server.address(f"{name}/out")

    def prepare(self, name: str) -> None:
        """Nothing: streams are made as they are written."""

    def fill(self, name: str, messages: list[Message]) -> None:
        pipeline = self.server.client().pipeline(transaction=False)
        for message in messages:
            pipeline.xadd(f"{name}/ticks", message)
        pipeline.execute()

    def alone(self, name: str, count: int) -> None:
        client, last = self.server.client(), "0-0"
        while count:
            pipeline = client.pipeline(transaction=False)
            ((_, entries),) = client.xread({f"{name}/ticks": last}, AT_ONCE)
            last = entries[-1][0]
            for _, record in entries:
                made = {"key": record["key"], "forecast": json.dumps([float(record["value"])])}
                pipeline.xadd(f"{name}/out", made)
            pipeline.execute()
            count -= len(entries)

    @contextmanager
    def exchange(self, to: str, back: str) -> Iterator[Exchange]:
        client, last = self.server.client(), "0-0"

        def exchanged(message: Message) -> None:
            nonlocal last
            client.xadd(to, message)
            ((_, ((last, _),)),) = client.xread({back: last}, block=20_000)

        yield exchanged


class NATS(System):
    """NATS JetStream."""

    server: NATSServer

    def __enter__(self) -> "NATS":
        self.server = NATSServer(self.folder)
        self._client = self.server.client()
        self._client.add("echo", "echo")
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()
        super().__exit__(*error)

    def places(self, name: str) -> tuple[str, str]:
        sink = self.server.address(f"{name}-out?subject={name}.out")
        return self.server.address(f"{name}-ticks"), sink

    def prepare(self, name: str) -> None:
        for place in ("ticks", "out"):
            self._client.add(f"{name}-{place}", f"{name}.{place}")

    def fill(self, name: str, messages: list[Message]) -> None:
        self._client.send(f"{name}.ticks", [json.dumps(each).encode() for each in messages])

    def alone(self, name: str, count: int) -> None:
        async def copy() -> None:
            connection = await nats.connect(f"nats://127.0.0.1:{self.server.port}")
            streams, left = connection.jetstream(), count
            unacknowledged = ConsumerConfig(ack_policy=AckPolicy.NONE)
            reader = await streams.pull_subscribe(f"{name}.ticks", config=unacknowledged)
            while left:
                messages = await reader.fetch(AT_ONCE)
                for message in messages:
                    record = json.loads(message.data)
                    made = {"key": record["key"], "forecast": [record["value"]]}
                    await streams.publish_async(f"{name}.out", json.dumps(made).encode())
                await streams.publish_async_completed()
                left -= len(messages)
            await connection.close()

        asyncio.run(copy())

    @contextmanager
    def exchange(self, to: str, back: str) -> Iterator[Exchange]:
        client = self._client
        box = client(client.connection.subscribe(back.replace("/", ".")))

        async def send(message: Message) -> None:
            await client.connection.publish(to.replace("/", "."), json.dumps(message).encode())
            await box.next_msg(20)

        yield lambda message: client(send(message))
        client(box.unsubscribe())


class Kafka(System):
    """The server that librdkafka brings for tests.

    It does not wake a request that waits when something arrives, so nothing lets them wait.
    """

    server: KafkaServer

    def __enter__(self) -> "Kafka":
        streamlstm_connectors.brokers.kafka.MAX_FETCH_WAIT_MS = 1
        self.server = KafkaServer()
        self.server.client().make("echo")
        return self

    def places(self, name: str) -> tuple[str, str]:
        return tuple(f"kafka://{self.server.direct}/{name}-{place}" for place in ("ticks", "out"))

    def prepare(self, name: str) -> None:
        for place in ("ticks", "out"):
            self.server.client().make(f"{name}-{place}")

    def fill(self, name: str, messages: list[Message]) -> None:
        writer = confluent_kafka.Producer({"bootstrap.servers": self.server.direct})
        for message in messages:
            writer.produce(f"{name}-ticks", json.dumps(message), message["key"])
        assert writer.flush(10) == 0

    def alone(self, name: str, count: int) -> None:
        reader = self._reader(f"{name}-ticks")
        settings = {"bootstrap.servers": self.server.direct, "enable.idempotence": True}
        writer = confluent_kafka.Producer(settings)
        while count:
            messages = reader.consume(AT_ONCE, 1.0)
            for message in messages:
                record = json.loads(message.value())
                made = {"key": record["key"], "forecast": [record["value"]]}
                writer.produce(f"{name}-out", json.dumps(made), message.key())
            writer.flush()
            count -= len(messages)

    @contextmanager
    def exchange(self, to: str, back: str) -> Iterator[Exchange]:
        to, back = to.replace("/", "-"), back.replace("/", "-")
        reader = self._reader(back)
        writer = confluent_kafka.Producer({"bootstrap.servers": self.server.direct, "linger.ms": 0})

        def exchanged(message: Message) -> None:
            writer.produce(to, json.dumps(message), message["key"])
            writer.flush()
            assert reader.poll(30) is not None

        yield exchanged
        reader.close()

    def _reader(self, topic: str) -> confluent_kafka.Consumer:
        reader = confluent_kafka.Consumer(
            {
                "bootstrap.servers": self.server.direct,
                "group.id": "bench",
                "fetch.wait.max.ms": 1,
                "enable.auto.commit": False,
            }
        )
        places = [confluent_kafka.TopicPartition(topic, each, 0) for each in range(PARTITIONS)]
        reader.assign(places)
        return reader


class MQTT(System):
    """mosquitto; each message in a session that waits for it."""

    version = "3.1.1"
    fields = Fields(key="key", sequence="n")
    server: MQTTServer

    def __enter__(self) -> "MQTT":
        self.server = MQTTServer(self.folder)
        return self

    def places(self, name: str) -> tuple[str, str]:
        version = f"version={self.version}"
        source = self.server.address(f"{name}/ticks?client={name}&{version}")
        return source, self.server.address(f"{name}/out/{{key}}?{version}")

    def prepare(self, name: str) -> None:
        source = self.connectors(name)[0]
        source.open(None)
        source.close()

    def fill(self, name: str, messages: list[Message]) -> None:
        sender = self.server.client()
        sender.publish(f"{name}/ticks", *map(json.dumps, messages))
        sender.close()

    def alone(self, name: str, count: int) -> None:
        left = count

        def came(client: MQTTClient, userdata: Any, message: Any) -> None:
            record = json.loads(message.payload)
            made = {"key": record["key"], "forecast": [record["value"]]}
            client.publish(f"{name}/out/{record['key']}", json.dumps(made), 1)

        def published(client: MQTTClient, *others: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                client.disconnect()

        is_5 = self.version == "5"
        protocol = MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311
        session = {"protocol": protocol, "clean_session": None if is_5 else False}
        client = MQTTClient(CallbackAPIVersion.VERSION2, name, **session)
        client.max_inflight_messages_set(0)
        client.on_message, client.on_publish = came, published
        client.connect("127.0.0.1", self.server.port, **({"clean_start": False} if is_5 else {}))
        client.loop_forever()

    @contextmanager
    def exchange(self, to: str, back: str) -> Iterator[Exchange]:
        come: queue.SimpleQueue = queue.SimpleQueue()
        reader, sender = self.server.client(topic=f"{back}/#"), self.server.client()
        reader.tell(come.put)

        def exchanged(message: Message) -> None:
            sender.post(to, json.dumps(message))
            come.get(timeout=20)

        yield exchanged
        reader.close()
        sender.close()


class MQTT5(MQTT):
    """Likewise, with version 5 of the protocol."""

    version = "5"


SYSTEMS: dict[str, type[System]] = {
    "CSV files": Files,
    "Redis Streams": Redis,
    "NATS JetStream": NATS,
    "Kafka": Kafka,
    "MQTT 3.1.1": MQTT,
    "MQTT 5": MQTT5,
}
