"""A connection to an MQTT broker, and what its errors mean for a run."""

import os
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from streamlstm.errors import DataError, MissingPackageError, ParameterError
from streamlstm.live import Address

from ..options import check_choice
from ..tls import tls_context

try:
    from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, Client, MQTTMessage
    from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    from paho.mqtt.subscribeoptions import SubscribeOptions
except ImportError as error:
    raise MissingPackageError("MQTT needs paho-mqtt: pip install 'streamlstm[mqtt]'") from error

MAX_UNACKNOWLEDGED = 65_535  # messages: their numbers have 16 bits
DISCONNECT_SECONDS = 1.0  # for the broker to read what it was sent
_VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
_FOREVER = 0xFFFFFFFF  # seconds for which a broker keeps a session
# Reason codes of the broker. Refused: who may not connect, publish or subscribe, or was replaced by
# another client of the same name. Passing: the broker is busy, shutting down and so on.
_REFUSED = {0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x8E, 0x9C, 0x9D}
_PASSING = {0, 0x80, 0x83, 0x88, 0x89, 0x8B, 0x8D, 0x93, 0x96, 0x97, 0x98, 0x9F, 0xA0}


class MQTTConnection:
    """A client that is made by `open`, and sends and receives only while it is called."""

    timeout_seconds: ClassVar[float] = 5.0  # for the broker to answer
    keep_alive_seconds: ClassVar[int] = 30  # of silence, after which the broker is pinged

    def __init__(self, address: Address, version: str, ca: str, cert: str, key: str):
        check_choice(address, "version", version, *_VERSIONS)
        self._address = address
        self._version = _VERSIONS[version]
        self._is_secure = address.scheme == "mqtts"
        self._context = tls_context(address, self._is_secure, ca, cert, key)
        self._client: Client | None = None
        self._selector = selectors.DefaultSelector()
        self._client_error = ""  # that the client has logged
        self._reasons: list[Any] = []  # errors that the broker has reported
        self.is_resumed = False  # whether the broker still has the session
        self.max_sent = MAX_UNACKNOWLEDGED  # messages that the broker takes unacknowledged

    @property
    def client(self) -> Client:
        """The open client."""
        if self._client is None:
            raise ConnectionError("not connected")
        return self._client

    def open(
        self,
        name: str,
        lasts: bool,
        on_message: Callable[[Client, Any, MQTTMessage], None] | None = None,
        on_publish: Callable[..., None] | None = None,
    ) -> None:
        """Connect; the broker keeps a session that lasts, under the name of the client."""
        address, is_5 = self._address, self._version == MQTTProtocolVersion.MQTTv5
        self.close()
        self._client_error, self._reasons, self.max_sent = "", [], MAX_UNACKNOWLEDGED
        client = Client(
            CallbackAPIVersion.VERSION2,
            name,
            clean_session=None if is_5 else not lasts,
            protocol=self._version,
            manual_ack=lasts,
        )
        client.connect_timeout = self.timeout_seconds
        client.max_inflight_messages = 0  # no limit but that of the broker, see `_connected`
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_log = self._logged
        client.on_message = on_message
        client.on_publish = on_publish
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        if self._is_secure:
            client.tls_set_context(self._context)
        properties = None
        if is_5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = _FOREVER if lasts else 0
        self._client = client
        client.connect(
            address.host or "localhost",
            address.port or (8883 if self._is_secure else 1883),
            self.keep_alive_seconds,
            clean_start=not lasts if is_5 else MQTT_CLEAN_START_FIRST_ONLY,
            properties=properties,
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket(), selectors.EVENT_READ)
        self.wait(lambda: client.is_connected())
        client.on_log = None  # it would be called for every packet

    def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        self._selector.close()
        sock: Any = None if client is None else client.socket()
        if client is None or sock is None:
            return
        client.on_disconnect = None
        with suppress(OSError, ValueError), socket.socket(fileno=os.dup(sock.fileno())) as copy:
            client.disconnect()  # it closes the socket, maybe before the broker has read everything
            copy.settimeout(DISCONNECT_SECONDS)
            end = time.monotonic() + DISCONNECT_SECONDS
            while copy.recv(1 << 16) and time.monotonic() < end:
                pass
        sock.close()

    def subscribe(self, topics: str, qos: int) -> int:
        """Ask for messages, without retained ones if the version has that option.

        Returns the QoS that the broker grants.
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
        """Send and receive what is ready, after waiting for it; return whether there was any."""
        client, sock = self.client, self._socket()
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.want_write() else 0)
        if self._selector.get_key(sock).events != wanted:
            self._selector.modify(sock, wanted)
        is_buffered = self._is_secure and sock.pending()  # by TLS, where the selector sees nothing
        ready = self._selector.select(0 if is_buffered else seconds)
        events = ready[0][1] if ready else 0
        if is_buffered or events & selectors.EVENT_READ:
            self.check(client.loop_read())
        if events & selectors.EVENT_WRITE:
            self.check(client.loop_write())
        self.check(client.loop_misc())
        return bool(is_buffered or events)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Send and receive until a condition holds, as long as the broker makes progress."""
        end = time.monotonic() + self.timeout_seconds
        while not condition():
            if self.turn(max(0.0, end - time.monotonic())):
                end = time.monotonic() + self.timeout_seconds
            elif time.monotonic() >= end:
                raise TimeoutError(f"no answer within {self.timeout_seconds:g} s")

    def check(self, code: MQTTErrorCode) -> None:
        """Raise an error that the broker or the client has reported."""
        if self._reasons:
            reason = self._reasons[0]
            if reason.value in _REFUSED:
                raise ParameterError(f"{self._address} refuses the login or topic: {reason}")
            if reason.value not in _PASSING:
                raise DataError(f"{self._address}: {reason}")
            raise ConnectionError(str(reason))
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            if "certificate" in self._client_error.lower():  # the broker asks for one
                raise ParameterError(f"{self._address}: {self._client_error}")
            raise ConnectionError(self._client_error or code.name)

    def published(self, reason: Any) -> None:
        """Note what the broker answered to a message."""
        if reason.is_failure:
            self._reasons.append(reason)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn errors of the client into those that a run knows."""
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise ParameterError(f"{self._address} has no trusted certificate: {error}") from error
        except OSError as error:
            raise ConnectionError(f"{self._address}: {error}") from error

    def _socket(self) -> Any:
        sock = self.client.socket()
        if sock is None:
            self.check(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        return sock

    def _connected(
        self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        self.is_resumed = flags.session_present
        if reason.is_failure:
            self._reasons.append(reason)
        self.max_sent = getattr(properties, "ReceiveMaximum", MAX_UNACKNOWLEDGED)

    def _disconnected(
        self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._reasons.append(reason)

    def _logged(self, client: Client, userdata: Any, level: Any, text: str) -> None:
        if "fail" in text:
            self._client_error = text
