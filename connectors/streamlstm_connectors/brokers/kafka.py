"""Kafka: a message is a tick, or a forecast.

kafka://user:${PASSWORD}@host:9092/topic, or kafkas:// for TLS; see docs/connectors/kafka.md.
"""

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import repeat
from typing import Any, Self

import numpy as np

from streamlstm.errors import DataError, MissingPackageError, ParameterError
from streamlstm.live import Address, Batch, Fields, Parser

from ..rows import forecast_records
from .tls import tls_context

try:
    from confluent_kafka import (
        Consumer,
        ConsumerGroupTopicPartitions,
        KafkaError,
        KafkaException,
        Message,
        Producer,
        TopicPartition,
    )
    from confluent_kafka.admin import AdminClient
except ImportError as error:
    raise MissingPackageError("Kafka needs: pip install streamlstm[kafka]") from error

SECONDS = 5.0  # for the servers to answer
WAIT = 100  # milliseconds that a server may hold a request until something arrives
AHEAD = 10_000, 16_384  # messages and KiB of a partition that the client fetches in advance, about

_REFUSED = {
    KafkaError._AUTHENTICATION,
    KafkaError._INVALID_ARG,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
}
_FOR_GOOD = {
    KafkaError.INVALID_GROUP_ID,
    KafkaError.INVALID_RECORD,
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.POLICY_VIOLATION,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.UNKNOWN_MEMBER_ID,  # what an acknowledgement gets if others subscribe as the group
}

_log = logging.getLogger("streamlstm.kafka")


class _Connection:
    """What clients of a topic are told, and what they report."""

    def __init__(self, address: Address, servers: str, sasl: str, ca: str, cert: str, key: str):
        if not address.path:
            raise ParameterError(f"{address} names no topic: add /TOPIC")
        is_secure = address.scheme == "kafkas"
        tls_context(address, is_secure, ca, cert, key)  # librdkafka makes one of its own
        self.topic = address.path
        self._address = address
        host = address.host or "localhost"
        first = f"{f'[{host}]' if ':' in host else host}:{address.port or 9092}"
        settings: dict[str, Any] = {
            "bootstrap.servers": f"{first},{servers}" if servers else first,
            "security.protocol": "SSL" if is_secure else "PLAINTEXT",
            "client.id": "streamlstm",
        }
        if address.user:
            settings["security.protocol"] = "SASL_SSL" if is_secure else "SASL_PLAINTEXT"
            settings["sasl.mechanism"] = sasl
            settings["sasl.username"] = address.user
            settings["sasl.password"] = address.password or ""
        files = {
            "ssl.ca.location": ca,
            "ssl.certificate.location": cert,
            "ssl.key.location": key,
        }
        self._settings = settings | {name: file for name, file in files.items() if file}
        self._heard: list[KafkaError] = []

    def settings(self) -> dict[str, Any]:
        """Those of any client."""
        return self._settings | {"socket.timeout.ms": round(1000 * SECONDS)}

    def reporting(self) -> dict[str, Any]:
        """Settings of a client whose reports `check` raises."""
        self._heard.clear()
        return self.settings() | {"error_cb": self._heard.append}

    def check(self) -> None:
        """Raise what the client has reported, if it cannot go on."""
        codes = {error.code() for error in self._heard}
        for error in self._heard:
            if _is_refused(error) or error.fatal() or _is_mistrust(error):
                raise self._translated(error)
        if KafkaError._ALL_BROKERS_DOWN in codes:
            told = [e for e in self._heard if e.code() != KafkaError._ALL_BROKERS_DOWN]
            raise self._translated((told or self._heard)[-1])
        self._heard.clear()

    def metadata(self, client: Consumer | Producer) -> Any:
        """What the servers say of the topic, once they can be reached."""
        end = time.monotonic() + SECONDS
        while True:
            try:
                return client.list_topics(self.topic, min(0.2, SECONDS)).topics[self.topic]
            except KafkaException as error:
                client.poll(0)
                self.check()
                if time.monotonic() > end:
                    raise self._translated(error.args[0]) from error

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What goes wrong, as the runner knows it."""
        try:
            yield
        except KafkaException as error:
            raise self._translated(error.args[0]) from error

    def raise_for(self, error: KafkaError | None) -> None:
        if error is not None:
            raise self._translated(error)

    def lost(self, what: str) -> ConnectionError:
        return ConnectionError(f"{self._address}: {what}")

    def _translated(self, error: KafkaError) -> Exception:
        if _is_mistrust(error):
            return ParameterError(f"{self._address} has no trusted certificate: {error.str()}")
        if _is_refused(error):
            return ParameterError(f"{self._address} is refused: {error.str()}")
        if error.code() in _FOR_GOOD:
            return DataError(f"{self._address}: {error.str()}")
        return self.lost(error.str())

    def __str__(self) -> str:
        return str(self._address)


class KafkaSource:
    """Ticks from the messages of a topic, JSON, in the order of each partition.

    The address takes `group`, whose committed offsets are the bookmark of what has been
    acknowledged; `start`, "first" or "new", where to begin if there is no such bookmark;
    `partitions`, such as 0,1, by default all; `servers`, further ones to begin with,
    HOST:PORT,HOST:PORT; `sasl`, the mechanism of the login; and for TLS `ca`, a file of the
    authority to trust, `cert` and `key`, files of a certificate of one's own. Fields may name
    `@key`, `@time`, `@partition`, `@offset` and `@topic`.

    The position holds the next offset of each partition. Messages deleted before they were read
    count as missed. Messages without a value are no ticks.
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
        if start not in ("first", "new"):
            raise ParameterError(f"{address}: start must be first or new, got {start!r}")
        if not group:
            raise ParameterError(f"{address}: group is empty")
        try:
            self._chosen = [int(each) for each in partitions.split(",") if partitions]
        except ValueError as error:
            raise ParameterError(f"{address}: partitions cannot be {partitions!r}") from error
        self.group = group
        self.start = start
        self._parser = Parser(fields, ("@key", "@time", "@partition", "@offset", "@topic"))
        self._needs_about = bool(fields.of_system())
        self._connection = _Connection(address, servers, sasl, ca, cert, key)
        self._made: tuple[Consumer, AdminClient] | None = None
        self._position: dict[str, int] = {}
        self._missed = 0

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make one; does not connect."""
        defaults = {"group": "streamlstm", "start": "first", "partitions": "", **_OPTIONS}
        return cls(address, fields, **address.options(**defaults))

    @property
    def _clients(self) -> tuple[Consumer, AdminClient]:
        if self._made is None:
            raise self._connection.lost("not connected")
        return self._made

    def open(self, position: Any) -> dict[str, int]:
        """Connect, and stand behind a position; without one behind the bookmark."""
        self.close()
        connection, topic = self._connection, self._connection.topic
        settings = connection.reporting() | {
            "group.id": self.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": WAIT,
            "fetch.queue.backoff.ms": 5,
            "queued.min.messages": AHEAD[0],
            "queued.max.messages.kbytes": AHEAD[1],
        }
        with connection.errors():
            consumer = Consumer(settings, logger=_log)
            # Offsets go through a client of their own: a consumer that has some under way to a
            # server that is gone takes 45 s to close.
            admin = AdminClient(connection.settings(), logger=_log)
            self._made = consumer, admin
            partitions = self._partitions(connection.metadata(consumer))
            self._position = self._starts(partitions, position)
            consumer.assign(
                [TopicPartition(topic, int(p), next_) for p, next_ in self._position.items()]
            )
        if position is None:
            self.acknowledge(self._position)
        return self._position

    def read(self, ticks: int, seconds: float) -> Batch | None:
        """At most so many messages; waits so long for the first."""
        consumer, _ = self._clients
        with self._connection.errors():
            first = consumer.poll(seconds)
            self._connection.check()
            if first is None:
                return None
            received = time.time_ns()
            messages = [first, *consumer.consume(ticks - 1, 0)] if ticks > 1 else [first]
        ids, values, behind = [], [], {}
        for message in messages:
            self._connection.raise_for(message.error())
            partition: Any = message.partition()
            offset: Any = message.offset()
            ids.append(f"{partition}-{offset}")
            values.append(message.value() or b"")
            behind[str(partition)] = offset + 1
        self._position = self._position | behind
        about: Iterable[Mapping[str, Any]] = repeat({})
        if self._needs_about:
            about = map(_about, messages)
        batch = self._parser.batch(ids, values, received, self._position, about)
        if self._missed:
            batch = replace(batch, missed=self._missed)
            self._missed = 0
        return batch

    def acknowledge(self, position: Any) -> None:
        """Commit offsets, which are the bookmark."""
        topic = self._connection.topic
        offsets = [TopicPartition(topic, int(p), next_) for p, next_ in position.items()]
        _, admin = self._clients
        with self._connection.errors():
            self._of_group(admin.alter_consumer_group_offsets, offsets)

    def close(self) -> None:
        """Let the connections go."""
        made, self._made = self._made, None
        if made is not None:
            made[0].close()

    def _partitions(self, metadata: Any) -> list[int]:
        """Those to read."""
        self._connection.raise_for(metadata.error)
        there = sorted(metadata.partitions)
        chosen = self._chosen or there
        if unknown := sorted(set(chosen).difference(there)):
            raise ParameterError(
                f"{self._connection} has {len(there)} partitions, no partition {unknown[0]}"
            )
        if len(chosen) > 1 and self._parser.fields.key is None:
            raise ParameterError(
                f"{self._connection} has {len(there)} partitions, which have no common order: "
                "name the field of a key, or choose one with partitions="
            )
        return chosen

    def _starts(self, partitions: list[int], position: dict[str, int] | None) -> dict[str, int]:
        """Offsets to begin with."""
        topic = self._connection.topic
        consumer, admin = self._clients
        known = {int(partition): next_ for partition, next_ in (position or {}).items()}
        if unknown := [TopicPartition(topic, each) for each in partitions if each not in known]:
            found = self._of_group(admin.list_consumer_group_offsets, unknown)
            known |= {each.partition: each.offset for each in found if each.offset >= 0}
        starts = {}
        self._missed = 0
        for each in partitions:
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, each), SECONDS)
            next_ = known.get(each)
            if next_ is None:
                # One that was added since is new as a whole.
                next_ = end if self.start == "new" and position is None else first
            if next_ > end:
                raise DataError(
                    f"{self._connection}: partition {each} ends at {end}, but has been read up to "
                    f"{next_}: it was made anew or has lost messages. Begin with another group "
                    "and another state directory"
                )
            if next_ < first:
                _log.warning(
                    "%s: partition %d begins at %d, those from %d on have been deleted unread",
                    *(self._connection, each, first, next_),
                )
                self._missed += first - next_
            starts[str(each)] = max(next_, first)
        return starts

    def _of_group(self, request: Any, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """What servers answer to a request on offsets of the group."""
        asked = [ConsumerGroupTopicPartitions(self.group, partitions)]
        answered = request(asked, request_timeout=SECONDS)[self.group].result().topic_partitions
        for each in answered:
            self._connection.raise_for(each.error)
        return answered


class KafkaSink:
    """Forecasts as messages of a topic: JSON, with the key of the stream.

    A message has `id`, which is that of the tick, `key` if there are several streams, `time` if the
    ticks have one, and `forecast`, with intervals also `lower` and `upper`. The address takes
    `servers`, `sasl`, `ca`, `cert` and `key`, as a source.
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
        self._connection = _Connection(address, servers, sasl, ca, cert, key)
        self._producer: Producer | None = None
        self._failures: list[KafkaError] = []

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make one; does not connect."""
        return cls(address, **address.options(**_OPTIONS))

    def open(self) -> None:
        """Connect."""
        self.close()
        self._failures.clear()
        settings = self._connection.reporting() | {
            "enable.idempotence": True,
            "batch.size": 100_000,  # bytes, which a slow network passes in the time for an answer
            "partitioner": "murmur2",  # that of Java's clients; without keys all go to one
            "delivery.report.only.error": True,
            "on_delivery": self._note,
        }
        with self._connection.errors():
            self._producer = Producer(settings, logger=_log)
            self._connection.metadata(self._producer)

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Send a message a tick, and wait until the servers have them."""
        if self._producer is None:
            raise self._connection.lost("not connected")
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
        """Let the connection go, with what has not been sent."""
        made, self._producer = self._producer, None
        if made is not None:
            made.purge()

    def _flush(self, producer: Producer) -> None:
        """Wait until the servers have all, as long as they take some."""
        least, end = len(producer), time.monotonic() + SECONDS
        while left := producer.flush(min(0.2, SECONDS)):
            self._connection.check()
            if left < least:
                least, end = left, time.monotonic() + SECONDS
            elif time.monotonic() > end:
                raise self._connection.lost(f"{left} forecasts not taken within {SECONDS:g} s")
        for error in self._failures:
            self._connection.raise_for(error)

    def _note(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(error)


_OPTIONS = {"servers": "", "sasl": "PLAIN", "ca": "", "cert": "", "key": ""}


def _is_refused(error: KafkaError) -> bool:
    # A server that is lost while one logs in is reported by the same code as a wrong password.
    is_lost = error.code() == KafkaError._AUTHENTICATION and "Local: " in error.str()
    return error.code() in _REFUSED and not is_lost


def _is_mistrust(error: KafkaError) -> bool:
    return error.code() == KafkaError._SSL and "certificate" in error.str()


def _about(message: Message) -> dict[str, Any]:
    """What Kafka says of a message."""
    kind, milliseconds = message.timestamp()
    return {
        "@key": message.key() or b"",
        "@partition": message.partition(),
        "@offset": message.offset(),
        "@topic": message.topic(),
    } | ({"@time": milliseconds} if kind else {})
