"""Kafka: kafka://user:${PASSWORD}@host:9092/topic, or kafkas:// with TLS.

A message of a topic is a tick or a forecast. See docs/connectors/kafka.md.
"""

import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import repeat
from typing import Any, Self

import numpy as np

from streamlstm.errors import DataError, MissingPackageError, ParameterError
from streamlstm.live import Address, Batch, Fields, Parser

from ..options import check_choice
from ..rows import forecast_records
from .kafka_connection import KafkaConnection

try:
    from confluent_kafka import (
        Consumer,
        ConsumerGroupTopicPartitions,
        KafkaError,
        Message,
        Producer,
        TopicPartition,
    )
    from confluent_kafka.admin import AdminClient
except ImportError as error:
    raise MissingPackageError(
        "Kafka needs confluent-kafka: pip install 'streamlstm[kafka]'"
    ) from error

MAX_FETCH_WAIT_MS = 100  # that a server may hold a request until messages arrive
PREFETCH_MESSAGES, PREFETCH_KIB = 10_000, 16_384  # of a partition, about

_log = logging.getLogger("streamlstm.connectors.kafka")


class KafkaSource:
    """Ticks from the messages of a topic, in the order of each partition.

    A message is a JSON object; one without a value is rejected. The position holds the next offset
    of each partition. Messages that were deleted before they were read are counted as missed.
    `fields` may also name `@key`, `@time`, `@partition`, `@offset` and `@topic`.

    Parameters
    ----------
    address, fields
        A server and the topic, and what the fields of a message are.
    group
        Consumer group whose committed offsets serve as the bookmark. Each run needs its own.
    start
        Where to begin if there is no bookmark yet: "first" message, or "new" messages only.
    partitions
        Numbers of the partitions to read, such as "0,1"; by default all.
    servers
        Further servers to connect to at first, HOST:PORT,HOST:PORT.
    sasl
        Mechanism of the login.
    ca, cert, key
        Files for TLS: the authority to trust, and our own certificate with its key.

    """

    def __init__(
        self,
        address: Address,
        fields: Fields,
        group: str = "streamlstm",
        start: str = "first",
        partitions: str = "",
        servers: str = "",
        sasl: str = "PLAIN",
        ca: str = "",
        cert: str = "",
        key: str = "",
    ):
        check_choice(address, "start", start, "first", "new")
        if not group:
            raise ParameterError(f"{address}: group is empty; name one, or leave it out")
        try:
            self._chosen = [int(each) for each in partitions.split(",") if partitions]
        except ValueError as error:
            raise ParameterError(
                f"{address}: partitions must be numbers such as 0,1, got {partitions!r}"
            ) from error
        self.group = group
        self.start = start
        self._parser = Parser(fields, ("@key", "@time", "@partition", "@offset", "@topic"))
        self._needs_about = bool(fields.of_system())
        self._connection = KafkaConnection(address, servers, sasl, ca, cert, key)
        self._clients: tuple[Consumer, AdminClient] | None = None
        self._position: dict[str, int] = {}
        self._missed = 0

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make a source; does not connect."""
        return cls(address, fields, **address.options_for(cls))

    def open(self, position: Any) -> dict[str, int]:
        """Connect, and go to a position; without one, to the bookmark."""
        self.close()
        connection, topic = self._connection, self._connection.topic
        settings = connection.reporting() | {
            "group.id": self.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": MAX_FETCH_WAIT_MS,
            "fetch.queue.backoff.ms": 5,
            "queued.min.messages": PREFETCH_MESSAGES,
            "queued.max.messages.kbytes": PREFETCH_KIB,
        }
        with connection.errors():
            consumer = Consumer(settings, logger=_log)
            # Offsets are committed by another client: a consumer that is committing to a server
            # that has died takes 45 s to close.
            admin = AdminClient(connection.settings(), logger=_log)
            self._clients = consumer, admin
            partitions = self._partitions(connection.metadata(consumer))
            self._position = self._starts(partitions, position)
            consumer.assign(
                [TopicPartition(topic, int(p), next_) for p, next_ in self._position.items()]
            )
        if position is None:
            self.acknowledge(self._position)
        return self._position

    def read(self, max_ticks: int, timeout: float) -> Batch | None:
        """Return at most `max_ticks` messages; wait up to `timeout` seconds for the first."""
        consumer, _ = self._open_clients()
        with self._connection.errors():
            first = consumer.poll(timeout)
            self._connection.check()
            if first is None:
                return None
            received = time.time_ns()
            messages = [first, *consumer.consume(max_ticks - 1, 0)] if max_ticks > 1 else [first]
        ids, values, next_offsets = [], [], {}
        for message in messages:
            self._connection.raise_for(message.error())
            partition: Any = message.partition()
            offset: Any = message.offset()
            ids.append(f"{partition}-{offset}")
            values.append(message.value() or b"")
            next_offsets[str(partition)] = offset + 1
        self._position = self._position | next_offsets
        about: Iterable[Mapping[str, Any]] = repeat({})
        if self._needs_about:
            about = map(_about, messages)
        batch = self._parser.batch(ids, values, received, self._position, about)
        if self._missed:
            batch = replace(batch, missed=self._missed)
            self._missed = 0
        return batch

    def acknowledge(self, position: Any) -> None:
        """Commit the offsets, which serve as the bookmark."""
        topic = self._connection.topic
        offsets = [TopicPartition(topic, int(p), next_) for p, next_ in position.items()]
        _, admin = self._open_clients()
        with self._connection.errors():
            self._of_group(admin.alter_consumer_group_offsets, offsets)

    def close(self) -> None:
        """Disconnect."""
        clients, self._clients = self._clients, None
        if clients is not None:
            clients[0].close()

    def _open_clients(self) -> tuple[Consumer, AdminClient]:
        if self._clients is None:
            raise ConnectionError(f"{self._connection} is not connected")
        return self._clients

    def _partitions(self, metadata: Any) -> list[int]:
        """The partitions to read."""
        self._connection.raise_for(metadata.error)
        existing = sorted(metadata.partitions)
        chosen = self._chosen or existing
        if unknown := sorted(set(chosen).difference(existing)):
            raise ParameterError(
                f"{self._connection} has no partition {unknown[0]}, only "
                f"{', '.join(map(str, existing))}"
            )
        if len(chosen) > 1 and self._parser.fields.key is None:
            raise ParameterError(
                f"{self._connection}: messages of the {len(chosen)} partitions have no common "
                "order: name the field of a key, or choose one partition with partitions="
            )
        return chosen

    def _starts(self, partitions: list[int], position: dict[str, int] | None) -> dict[str, int]:
        """The offset of each partition to begin with."""
        topic = self._connection.topic
        consumer, admin = self._open_clients()
        known = {int(partition): next_ for partition, next_ in (position or {}).items()}
        if unknown := [TopicPartition(topic, each) for each in partitions if each not in known]:
            found = self._of_group(admin.list_consumer_group_offsets, unknown)
            known |= {each.partition: each.offset for each in found if each.offset >= 0}
        starts = {}
        self._missed = 0
        for each in partitions:
            first, end = consumer.get_watermark_offsets(
                TopicPartition(topic, each), self._connection.timeout_seconds
            )
            next_ = known.get(each)
            if next_ is None:
                # A partition that was added since the last run is read from its beginning.
                next_ = end if self.start == "new" and position is None else first
            if next_ > end:
                raise DataError(
                    f"{self._connection}: partition {each} ends at {end}, before the position "
                    f"{next_}: the topic was recreated or has lost messages. Use another group "
                    "and another state directory to begin again"
                )
            if next_ < first:
                _log.warning(
                    "%s: partition %d begins at %d; messages from %d on were deleted before they "
                    "were read",
                    *(self._connection, each, first, next_),
                )
                self._missed += first - next_
            starts[str(each)] = max(next_, first)
        return starts

    def _of_group(self, request: Any, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Ask the servers for offsets of the group, or to change them."""
        asked = [ConsumerGroupTopicPartitions(self.group, partitions)]
        answers = request(asked, request_timeout=self._connection.timeout_seconds)
        answered = answers[self.group].result().topic_partitions
        for each in answered:
            self._connection.raise_for(each.error)
        return answered


class KafkaSink:
    """Forecasts as messages of a topic; the key of a message is that of the stream.

    A message is a JSON object with `id`, which is that of the tick, `key` if there are several
    streams, `time` if the ticks have timestamps, `forecast`, and with intervals `lower` and
    `upper`.

    Parameters
    ----------
    address
        A server and the topic.
    servers, sasl, ca, cert, key
        As in `KafkaSource`.

    """

    def __init__(
        self,
        address: Address,
        servers: str = "",
        sasl: str = "PLAIN",
        ca: str = "",
        cert: str = "",
        key: str = "",
    ):
        self._connection = KafkaConnection(address, servers, sasl, ca, cert, key)
        self._producer: Producer | None = None
        self._failures: list[KafkaError] = []

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make a sink; does not connect."""
        return cls(address, **address.options_for(cls))

    def open(self) -> None:
        """Connect."""
        self.close()
        self._failures.clear()
        settings = self._connection.reporting() | {
            "enable.idempotence": True,
            "batch.size": 100_000,  # bytes, which a slow network sends before an answer is due
            "partitioner": "murmur2",  # as Java's clients; without keys all go to one partition
            "delivery.report.only.error": True,
            "on_delivery": self._note_failure,
        }
        with self._connection.errors():
            self._producer = Producer(settings, logger=_log)
            self._connection.metadata(self._producer)

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Send a message for each tick, and wait until the servers have them."""
        if self._producer is None:
            raise ConnectionError(f"{self._connection} is not connected")
        topic = self._connection.topic
        with self._connection.errors():
            for record in forecast_records(batch, forecasts, bounds):
                key, value = record.get("key"), json.dumps(record)
                try:
                    self._producer.produce(topic, value, key)
                except BufferError:  # the client's queue is full
                    self._flush(self._producer)
                    self._producer.produce(topic, value, key)
            self._flush(self._producer)

    def close(self) -> None:
        """Disconnect, and drop what was not sent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()

    def _flush(self, producer: Producer) -> None:
        """Wait until the servers have everything, as long as they make progress."""
        timeout = self._connection.timeout_seconds
        least, end = len(producer), time.monotonic() + timeout
        while left := producer.flush(min(0.2, timeout)):
            self._connection.check()
            if left < least:
                least, end = left, time.monotonic() + timeout
            elif time.monotonic() > end:
                raise ConnectionError(
                    f"{self._connection} has not taken {left} forecast{'s' * (left != 1)} "
                    f"within {timeout:g} s"
                )
        for error in self._failures:
            self._connection.raise_for(error)

    def _note_failure(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(error)


def _about(message: Message) -> dict[str, Any]:
    """What Kafka knows about a message."""
    kind, milliseconds = message.timestamp()
    return {
        "@key": message.key() or b"",
        "@partition": message.partition(),
        "@offset": message.offset(),
        "@topic": message.topic(),
    } | ({"@time": milliseconds} if kind else {})
