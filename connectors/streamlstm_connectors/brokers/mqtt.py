"""MQTT: a message is a tick, or a forecast.

mqtt://user:${PASSWORD}@host:1883/sensors/#, or mqtts:// for TLS; see docs/connectors/mqtt.md.
"""

import json
import logging
import os
import secrets
import selectors
import socket
import ssl
import string
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Self
from urllib.parse import quote

import numpy as np

from streamlstm.errors import DataError, MissingPackageError, ParameterError
from streamlstm.live import Address, Batch, Fields, Parser

from ..rows import forecast_records
from .tls import tls_context

try:
    from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, Client, MQTTMessage
    from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    from paho.mqtt.subscribeoptions import SubscribeOptions
except ImportError as error:
    raise MissingPackageError("MQTT needs: pip install streamlstm[mqtt]") from error

SECONDS = 5.0  # for the broker to answer
LEAVING = 1.0  # seconds for it to take what it has been sent when a connection ends
KEEP_ALIVE = 30  # seconds after which a broker that is silent is asked whether it is there
MOST = 65_535  # messages without acknowledgement; their numbers have 16 bits
FEWEST = 10  # the least of them at which a broker in its usual settings sends no more
_VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
_FOR_EVER = 0xFFFFFFFF  # seconds for which a broker keeps a session
# Reasons that a broker gives: of who may not connect, publish or subscribe, or has been replaced
# by another client of its name; and of what passes, such as its being busy or shutting down.
_REFUSED = {0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x8E, 0x9C, 0x9D}
_PASSING = {0, 0x80, 0x83, 0x88, 0x89, 0x8B, 0x8D, 0x93, 0x96, 0x97, 0x98, 0x9F, 0xA0}
_PLAIN = "".join(set(string.printable[:95]) - set("%+#"))  # of a key, in a topic

_log = logging.getLogger(__name__)


class _Connection:
    """A client that is made by `open`, and works while it is called."""

    def __init__(self, address: Address, version: str, ca: str, cert: str, key: str):
        if version not in _VERSIONS:
            raise ParameterError(f"{address}: version must be 5 or 3.1.1, got {version!r}")
        self._address = address
        self._version = _VERSIONS[version]
        self._is_secure = address.scheme == "mqtts"
        self._context = tls_context(address, self._is_secure, ca, cert, key)
        self._made: Client | None = None
        self._selector = selectors.DefaultSelector()
        self._wrong = ""  # what the client says has gone wrong
        self._reasons: list[Any] = []  # that the broker gave
        self.is_resumed = False  # the broker still has the session
        self.most_sent = MOST  # messages that the broker takes without acknowledging one

    @property
    def client(self) -> Client:
        if self._made is None:
            raise ConnectionError("not connected")
        return self._made

    def open(
        self,
        name: str,
        lasts: bool,
        on_message: Callable[[Client, Any, MQTTMessage], None] | None = None,
        on_publish: Callable[..., None] | None = None,
    ) -> None:
        """Connect; a session that lasts is kept by the broker, under the name."""
        address, is_5 = self._address, self._version == MQTTProtocolVersion.MQTTv5
        self.close()
        self._wrong, self._reasons, self.most_sent = "", [], MOST
        made = Client(
            CallbackAPIVersion.VERSION2,
            name,
            clean_session=None if is_5 else not lasts,
            protocol=self._version,
            manual_ack=lasts,
        )
        made.connect_timeout = SECONDS
        made.max_inflight_messages = 0  # no limit but the broker's, which comes with its answer
        made.on_connect = self._connected
        made.on_disconnect = self._disconnected
        made.on_log = self._logged
        made.on_message = on_message
        made.on_publish = on_publish
        if address.user is not None:
            made.username_pw_set(address.user, address.password)
        if self._is_secure:
            made.tls_set_context(self._context)
        properties = None
        if is_5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = _FOR_EVER if lasts else 0
        self._made = made
        made.connect(
            address.host or "localhost",
            address.port or (8883 if self._is_secure else 1883),
            KEEP_ALIVE,
            clean_start=not lasts if is_5 else MQTT_CLEAN_START_FIRST_ONLY,
            properties=properties,
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket(), selectors.EVENT_READ)
        self.wait(lambda: made.is_connected())
        made.on_log = None  # it is told of each packet

    def subscribe(self, topics: str, qos: int) -> int:
        """Ask for messages, none of those that the broker has retained if it knows how to.

        Returns the QoS that it grants.
        """
        client, answers = self.client, []

        def answered(
            client: Client, userdata: Any, mid: int, reasons: Any, properties: Any
        ) -> None:
            answers.extend(reasons)
            self._reasons += [each for each in reasons if each.is_failure]

        client.on_subscribe = answered
        if self._version == MQTTProtocolVersion.MQTTv5:
            options = SubscribeOptions(qos, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
            client.subscribe(topics, options=options)
        else:
            client.subscribe(topics, qos)
        self.wait(lambda: bool(answers))
        return answers[0].value

    def turn(self, seconds: float) -> bool:
        """Send and take what there is; waits so long for it. Returns whether that did something."""
        client, sock = self.client, self._socket()
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.want_write() else 0)
        if self._selector.get_key(sock).events != wanted:
            self._selector.modify(sock, wanted)
        is_left = self._is_secure and sock.pending()  # deciphered, unseen by the selector
        ready = self._selector.select(0 if is_left else seconds)
        events = ready[0][1] if ready else 0
        if is_left or events & selectors.EVENT_READ:
            self.check(client.loop_read())
        if events & selectors.EVENT_WRITE:
            self.check(client.loop_write())
        self.check(client.loop_misc())
        return bool(is_left or events)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Go on until something holds, as long as the broker answers or takes what is sent."""
        end = time.monotonic() + SECONDS
        while not condition():
            if self.turn(max(0.0, end - time.monotonic())):
                end = time.monotonic() + SECONDS
            elif time.monotonic() >= end:
                raise TimeoutError(f"no answer within {SECONDS:g} s")

    def check(self, code: MQTTErrorCode) -> None:
        """Raise what the client or the broker says has gone wrong."""
        if self._reasons:
            reason = self._reasons[0]
            if reason.value in _REFUSED:
                raise ParameterError(f"{self._address} refuses the login or topic: {reason}")
            if reason.value not in _PASSING:
                raise DataError(f"{self._address}: {reason}")
            raise ConnectionError(str(reason))
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            if "certificate" in self._wrong.lower():  # the broker wants one
                raise ParameterError(f"{self._address}: {self._wrong}")
            raise ConnectionError(self._wrong or code.name)

    def published(self, reason: Any) -> None:
        """Note what the broker has said of a message."""
        if reason.is_failure:
            self._reasons.append(reason)

    def _socket(self) -> Any:
        sock = self.client.socket()
        if sock is None:
            self.check(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        return sock

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What goes wrong, as the runner knows it."""
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise ParameterError(f"{self._address} has no trusted certificate: {error}") from error
        except OSError as error:
            raise ConnectionError(f"{self._address}: {error}") from error

    def close(self) -> None:
        made, self._made = self._made, None
        self._selector.close()
        sock: Any = None if made is None else made.socket()
        if made is None or sock is None:
            return
        made.on_disconnect = None
        with suppress(OSError, ValueError), socket.socket(fileno=os.dup(sock.fileno())) as copy:
            made.disconnect()  # and lets the socket go, maybe before the broker has read all
            copy.settimeout(LEAVING)
            end = time.monotonic() + LEAVING
            while copy.recv(1 << 16) and time.monotonic() < end:
                pass
        sock.close()

    def _connected(
        self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        self.is_resumed = flags.session_present
        if reason.is_failure:
            self._reasons.append(reason)
        self.most_sent = getattr(properties, "ReceiveMaximum", MOST)

    def _disconnected(
        self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._reasons.append(reason)

    def _logged(self, client: Client, userdata: Any, level: Any, text: str) -> None:
        if "fail" in text:
            self._wrong = text


class MQTTSource:
    """Ticks from the messages of a topic, or of many, in the order in which the broker sends them.

    The address names the topics, with wildcards if it likes, and takes `client`, the name of the
    session, which serves one run; `qos`, 1, or 0 for what may be lost; `version` of MQTT, 5 or
    3.1.1; `ca`, a file of the authority to trust; `cert` and `key`, files of a certificate of the
    client. Fields may name `@topic`.

    The broker keeps what is not acknowledged, and delivers it again, in a connection that follows.
    What the state counts already is told by a sequence number in the messages, and by nothing else.
    Messages it had retained before it was asked for the topics are passed over.
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
        self._fields = fields
        self._parser = Parser(fields, about=("@topic",))
        self._connection = _Connection(address, version, ca, cert, key)
        self._opened = ""  # name of the connection
        self._arrived: deque[MQTTMessage] = deque()
        self._unacknowledged: deque[int] = deque()  # numbers of what was read, 0 for QoS 0
        self._acknowledged = 0  # messages of the connection
        self._is_idle = False
        if fields.sequence is None:
            _log.warning(
                "%s: without a sequence number messages that come again are learned again", address
            )

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make one; does not connect."""
        defaults = {"client": "", "qos": 1, "version": "5", "ca": "", "cert": "", "key": ""}
        return cls(address, fields, **address.options(**defaults))

    @property
    def is_full(self) -> bool:
        """Whether the broker sends no more until something is acknowledged, or soon will not.

        How much it sends nobody tells, so if nothing comes that may be why.
        """
        waiting = len(self._unacknowledged)
        return waiting >= MOST // 2 or (self._is_idle and waiting >= FEWEST)

    def open(self, position: Any) -> list:
        """Go on with the session; makes it if there is none."""
        connection = self._connection
        self._opened = secrets.token_hex(8)
        self._arrived.clear()
        self._unacknowledged.clear()
        self._acknowledged = 0
        self._is_idle = False
        with connection.errors():
            connection.open(self.client, True, lambda *given: self._arrived.append(given[2]))
            granted = connection.subscribe(self._topics, self.qos)
        if granted < self.qos:
            _log.warning("%s grants no QoS 1, so that messages may be lost", self._address)
        if position is not None and not connection.is_resumed and self.qos:
            _log.warning(
                "%s has no session %s any more; what came since is lost", self._address, self.client
            )
        if connection.most_sent < 1000:
            _log.warning(
                "%s probably sends no more than %d messages before one is acknowledged, so that "
                "snapshots will be made that often: set max_inflight_messages to %d",
                self._address,
                connection.most_sent,
                MOST,
            )
        return [self._opened, 0]

    def read(self, ticks: int, seconds: float) -> Batch | None:
        """At most so many messages; waits so long for the first."""
        connection, arrived = self._connection, self._arrived
        end = time.monotonic() + seconds
        try:
            with connection.errors():
                while not arrived and (left := end - time.monotonic()) > 0:
                    connection.turn(left)
                while len(arrived) < ticks and connection.turn(0):
                    pass
        except ConnectionError:  # what has come may not come again of a broker that died
            if not arrived:
                raise
        messages = [arrived.popleft() for _ in range(min(ticks, len(arrived)))]
        self._is_idle = not messages
        if not messages:
            return None
        received = time.time_ns()
        self._unacknowledged.extend(message.mid for message in messages)
        position = [self._opened, self._acknowledged + len(self._unacknowledged)]
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
        """Let the broker forget messages of this connection."""
        opened, count = position
        connection, waiting = self._connection, self._unacknowledged
        if opened != self._opened:
            return
        with connection.errors():
            while self._acknowledged < count:
                self._acknowledged += 1
                if mid := waiting.popleft():
                    connection.check(connection.client.ack(mid, 1))
            connection.wait(lambda: not connection.client.want_write())

    def close(self) -> None:
        """Let the connection go; the broker keeps the session."""
        self._connection.close()


class MQTTSink:
    """Forecasts as messages: JSON objects with an id, the tick it was made after, and numbers.

    The fields are `id`, which is that of the tick, `key` if there are several streams, `time` if
    the ticks have one, and `forecast`, with intervals also `lower` and `upper`: lists. The address
    names the topic, in which `{key}` stands for the key, and takes `qos`, 1, or 0 for what may be
    lost; `retain`, 1 for a broker that keeps the last of each topic; `client`, a name; `version`,
    `ca`, `cert` and `key` as a source.
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
            raise ParameterError(f"{address}: forecasts go to one topic, without + and #")
        if qos not in (0, 1) or retain not in (0, 1):
            raise ParameterError(f"{address}: qos and retain must be 0 or 1")
        self._address = address
        self._qos = qos
        self._retain = bool(retain)
        self._name = client
        self._unconfirmed = 0
        self._connection = _Connection(address, version, ca, cert, key)

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make one; does not connect."""
        defaults = {"client": "", "version": "5", "ca": "", "cert": "", "key": ""}
        return cls(address, **address.options(qos=1, retain=0, **defaults))

    def open(self) -> None:
        """Connect."""
        with self._connection.errors():
            self._connection.open(self._name, False, on_publish=self._published)

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None = None) -> None:
        """Publish a message a tick, and wait until the broker has acknowledged them."""
        topics = self._topics(batch)
        connection = self._connection
        with connection.errors():
            self._unconfirmed = 0
            for topic, record in zip(
                topics, forecast_records(batch, forecasts, bounds), strict=True
            ):
                connection.wait(lambda: self._unconfirmed < connection.most_sent)
                payload = json.dumps(record)
                self._unconfirmed += 1
                sent = connection.client.publish(topic, payload, self._qos, self._retain)
                connection.check(sent.rc)
            connection.wait(lambda: self._unconfirmed == 0)

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()

    def _topics(self, batch: Batch) -> list[str]:
        topic = self._address.path
        if "{key}" not in topic:
            return [topic] * len(batch)
        if batch.keys is None:
            raise ParameterError(f"{self._address}: there are no keys to stand for {{key}}")
        return [topic.replace("{key}", quote(key, _PLAIN)) for key in batch.keys]

    def _published(
        self, client: Client, userdata: Any, mid: int, reason: Any, properties: Any
    ) -> None:
        self._unconfirmed -= 1
        self._connection.published(reason)


def _check_topics(address: Address) -> None:
    """Raise a ParameterError for what is no topic, with or without wildcards."""
    levels = address.path.split("/")
    if not address.path:
        raise ParameterError(f"{address} names no topic: add /TOPIC")
    if levels[0] == "$share":
        raise ParameterError(f"{address}: a model needs all of a topic, not a share of it")
    for n, level in enumerate(levels):
        if ("+" in level and level != "+") or (
            "#" in level and (level, n) != ("#", len(levels) - 1)
        ):
            raise ParameterError(f"{address}: + stands for a level, # for all that follow")


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()


def _id(message: MQTTMessage) -> str:
    """The same when it is delivered again: the number, which may be used again, and the content."""
    return f"{message.mid}-{_digest(message.topic.encode() + b' ' + message.payload)}"
