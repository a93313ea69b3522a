"""MQTT: mqtt://user:${PASSWORD}@host:1883/sensors/#, or mqtts:// with TLS.

A message of a topic is a tick or a forecast. See docs/connectors/mqtt.md.
"""

import json
import logging
import secrets
import string
import time
from collections import deque
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Self
from urllib.parse import quote

import numpy as np

from streamlstm.errors import MissingPackageError, ParameterError
from streamlstm.live import Address, Batch, Fields, Parser

from ..options import check_choice, check_path
from ..rows import forecast_records
from .mqtt_connection import MAX_UNACKNOWLEDGED, MQTTConnection

try:
    from paho.mqtt.client import Client, MQTTMessage
except ImportError as error:
    raise MissingPackageError("MQTT needs paho-mqtt: pip install 'streamlstm[mqtt]'") from error

# If an idle broker has sent this many unacknowledged messages, they may be all that it sends: in
# their usual settings brokers send 20 or more.
MIN_UNACKNOWLEDGED = 10
_PLAIN = "".join(
    set(string.printable[:95]) - set("%+#")
)  # characters of a key that stay in a topic

_log = logging.getLogger("streamlstm.connectors.mqtt")


class MQTTSource:
    """Ticks from the messages of one topic or of many, in the order in which the broker sends them.

    The broker keeps messages that were not acknowledged, and delivers them again on the next
    connection. Only a sequence number in the messages tells which of them were learned before.
    Messages that the broker had retained before it was asked for the topics are skipped. `fields`
    may also name `@topic`.

    Parameters
    ----------
    address, fields
        The broker and topics, with wildcards if you like, and what the fields of a message are.
    client
        Name of the session. Each run needs its own; by default it is made from the topics.
    qos
        1, or 0 for messages that may be lost.
    version
        Of the protocol: "5" or "3.1.1".
    ca, cert, key
        Files for TLS: the authority to trust, and our own certificate with its key.

    """

    def __init__(
        self,
        address: Address,
        fields: Fields,
        client: str = "",
        qos: int = 1,
        version: str = "5",
        ca: str = "",
        cert: str = "",
        key: str = "",
    ):
        _check_topics(address)
        if qos not in (0, 1):
            raise ParameterError(
                f"{address}: qos must be 0 or 1, got {qos}: with 2 the broker would forget messages"
                " before a snapshot holds them"
            )
        self.client = client or f"streamlstm-{_digest(address.path.encode())}"
        self.qos = qos
        self._topics = address.path
        self._address = address
        self._parser = Parser(fields, about=("@topic",))
        self._connection = MQTTConnection(address, version, ca, cert, key)
        self._connection_id = ""
        self._arrived: deque[MQTTMessage] = deque()
        self._unacknowledged: deque[int] = deque()  # numbers of messages read, 0 with QoS 0
        self._acknowledged = 0  # messages of this connection
        self._is_idle = False
        if fields.sequence is None:
            _log.warning(
                "%s: without a sequence number, messages that are delivered again are learned "
                "again; name a field with sequence",
                address,
            )

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make a source; does not connect."""
        return cls(address, fields, **address.options_for(cls))

    @property
    def is_full(self) -> bool:
        """Whether the broker sends no more until something is acknowledged, or soon will not.

        The broker does not say how many it sends, so silence counts as a sign.
        """
        waiting = len(self._unacknowledged)
        return waiting >= MAX_UNACKNOWLEDGED // 2 or (
            self._is_idle and waiting >= MIN_UNACKNOWLEDGED
        )

    def open(self, position: Any) -> list:
        """Connect, and continue the session; make it if there is none."""
        connection = self._connection
        self._connection_id = secrets.token_hex(8)
        self._arrived.clear()
        self._unacknowledged.clear()
        self._acknowledged = 0
        self._is_idle = False
        with connection.errors():
            connection.open(self.client, True, lambda *given: self._arrived.append(given[2]))
            granted = connection.subscribe(self._topics, self.qos)
        if granted < self.qos:
            _log.warning("%s grants only QoS 0: messages may be lost", self._address)
        if position is not None and not connection.is_resumed and self.qos:
            _log.warning(
                "%s no longer has the session %s: messages sent since then are lost",
                *(self._address, self.client),
            )
        if connection.max_sent < 1000:
            _log.warning(
                "%s probably sends only %d messages before one is acknowledged, so that a snapshot "
                "is needed for every %d: set max_inflight_messages of the broker to %d",
                *(self._address, connection.max_sent, connection.max_sent, MAX_UNACKNOWLEDGED),
            )
        return [self._connection_id, 0]

    def read(self, max_ticks: int, timeout: float) -> Batch | None:
        """Return at most `max_ticks` messages; wait up to `timeout` seconds for the first."""
        connection, arrived = self._connection, self._arrived
        end = time.monotonic() + timeout
        try:
            with connection.errors():
                while not arrived and (left := end - time.monotonic()) > 0:
                    connection.turn(left)
                while len(arrived) < max_ticks and connection.turn(0):
                    pass
        except ConnectionError:  # a broker that died may not deliver again what has arrived
            if not arrived:
                raise
        messages = [arrived.popleft() for _ in range(min(max_ticks, len(arrived)))]
        self._is_idle = not messages
        if not messages:
            return None
        received = time.time_ns()
        self._unacknowledged.extend(message.mid for message in messages)
        position = [self._connection_id, self._acknowledged + len(self._unacknowledged)]
        new = [message for message in messages if not message.retain]
        ids = [_id(message) for message in new]
        about = ({"@topic": message.topic} for message in new)
        batch = self._parser.batch(
            ids, [bytes(message.payload) for message in new], received, position, about
        )
        if batch.sequence is None:
            return batch
        keys = [""] * len(batch) if batch.keys is None else batch.keys
        names = [
            f"{key}:{number}" for key, number in zip(keys, batch.sequence.tolist(), strict=True)
        ]
        return replace(batch, ids=names, labels=names)

    def acknowledge(self, position: Any) -> None:
        """Acknowledge messages of this connection, which the broker then forgets."""
        connection_id, count = position
        connection, waiting = self._connection, self._unacknowledged
        if connection_id != self._connection_id:
            return
        with connection.errors():
            while self._acknowledged < count:
                self._acknowledged += 1
                if mid := waiting.popleft():
                    connection.check(connection.client.ack(mid, 1))
            connection.wait(lambda: not connection.client.want_write())

    def close(self) -> None:
        """Disconnect; the broker keeps the session."""
        self._connection.close()


class MQTTSink:
    """Forecasts as messages of a topic, or of a topic for each stream.

    A message is a JSON object with `id`, which is that of the tick, `key` if there are several
    streams, `time` if the ticks have timestamps, `forecast`, and with intervals `lower` and
    `upper`.

    Parameters
    ----------
    address
        The broker and the topic, in which `{key}` stands for the key of the stream.
    qos
        1, or 0 for forecasts that may be lost.
    retain
        1 if the broker should retain the last forecast of each topic.
    client
        Name of the client; by default the broker chooses one.
    version, ca, cert, key
        As in `MQTTSource`.

    """

    def __init__(
        self,
        address: Address,
        qos: int = 1,
        retain: int = 0,
        client: str = "",
        version: str = "5",
        ca: str = "",
        cert: str = "",
        key: str = "",
    ):
        _check_topics(address)
        if {"+", "#"} & set(address.path):
            raise ParameterError(
                f"{address}: forecasts need one topic, without the wildcards + and #"
            )
        check_choice(address, "qos", qos, 0, 1)
        check_choice(address, "retain", retain, 0, 1)
        self._address = address
        self._qos = qos
        self._retain = bool(retain)
        self._name = client
        self._unconfirmed = 0
        self._connection = MQTTConnection(address, version, ca, cert, key)

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make a sink; does not connect."""
        return cls(address, **address.options_for(cls))

    def open(self) -> None:
        """Connect."""
        with self._connection.errors():
            self._connection.open(self._name, False, on_publish=self._published)

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Publish a message for each tick, and wait until the broker has acknowledged them."""
        topics = self._topics(batch)
        connection = self._connection
        with connection.errors():
            self._unconfirmed = 0
            records = forecast_records(batch, forecasts, bounds)
            for topic, record in zip(topics, records, strict=True):
                connection.wait(lambda: self._unconfirmed < connection.max_sent)
                payload = json.dumps(record)
                self._unconfirmed += 1
                sent = connection.client.publish(topic, payload, self._qos, self._retain)
                connection.check(sent.rc)
            connection.wait(lambda: self._unconfirmed == 0)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def _topics(self, batch: Batch) -> list[str]:
        topic = self._address.path
        if "{key}" not in topic:
            return [topic] * len(batch)
        if batch.keys is None:
            raise ParameterError(
                f"{self._address}: the ticks have no keys to replace {{key}}: name the field "
                "of the key, or use a topic without {key}"
            )
        return [topic.replace("{key}", quote(key, _PLAIN)) for key in batch.keys]

    def _published(
        self, client: Client, userdata: Any, mid: int, reason: Any, properties: Any
    ) -> None:
        self._unconfirmed -= 1
        self._connection.published(reason)


def _check_topics(address: Address) -> None:
    """Raise a ParameterError if the path is not a topic, with or without wildcards."""
    check_path(address, "topic")
    levels = address.path.split("/")
    if levels[0] == "$share":
        raise ParameterError(f"{address}: a model needs all messages of a topic, not a share")
    for n, level in enumerate(levels):
        if ("+" in level and level != "+") or (
            "#" in level and (level, n) != ("#", len(levels) - 1)
        ):
            raise ParameterError(
                f"{address}: + must be a whole level of the topic, and # the whole last level"
            )


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()


def _id(message: MQTTMessage) -> str:
    """An id that a message keeps when it is delivered again.

    The content is a part of it, since the broker uses the numbers of messages again.
    """
    return f"{message.mid}-{_digest(message.topic.encode() + b' ' + message.payload)}"
