"""The settings of Kafka clients, and what their errors mean for a run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from streamlstm.errors import DataError, MissingPackageError, ParameterError
from streamlstm.live import Address

from ..options import check_path
from ..tls import tls_context

try:
    from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
except ImportError as error:
    raise MissingPackageError(
        "Kafka needs confluent-kafka: pip install 'streamlstm[kafka]'"
    ) from error

_REFUSED = {
    KafkaError._AUTHENTICATION,
    KafkaError._INVALID_ARG,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
}
_PERMANENT = {
    KafkaError.INVALID_GROUP_ID,
    KafkaError.INVALID_RECORD,
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.POLICY_VIOLATION,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.UNKNOWN_MEMBER_ID,  # of acknowledgements if other consumers subscribe as the group
}


class KafkaConnection:
    """Settings for clients of one topic, and the errors that the clients report."""

    timeout_seconds: ClassVar[float] = 5.0  # for the servers to answer

    def __init__(self, address: Address, servers: str, sasl: str, ca: str, cert: str, key: str):
        check_path(address, "topic")
        is_secure = address.scheme == "kafkas"
        tls_context(address, is_secure, ca, cert, key)  # a check: librdkafka makes its own
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
        self._reported: list[KafkaError] = []

    def settings(self) -> dict[str, Any]:
        """Settings of any client."""
        return self._settings | {"socket.timeout.ms": round(1000 * self.timeout_seconds)}

    def reporting(self) -> dict[str, Any]:
        """Settings of a client whose errors `check` raises."""
        self._reported.clear()
        return self.settings() | {"error_cb": self._reported.append}

    def check(self) -> None:
        """Raise an error that the client has reported, if it cannot continue."""
        codes = {error.code() for error in self._reported}
        for error in self._reported:
            if _is_refusal(error) or error.fatal() or _is_distrust(error):
                raise self._translated(error)
        if KafkaError._ALL_BROKERS_DOWN in codes:
            causes = [e for e in self._reported if e.code() != KafkaError._ALL_BROKERS_DOWN]
            raise self._translated((causes or self._reported)[-1])
        self._reported.clear()

    def metadata(self, client: Consumer | Producer) -> Any:
        """Return what the servers know about the topic, once one can be reached."""
        end = time.monotonic() + self.timeout_seconds
        while True:
            try:
                topics = client.list_topics(self.topic, min(0.2, self.timeout_seconds)).topics
                return topics[self.topic]
            except KafkaException as error:
                client.poll(0)
                self.check()
                if time.monotonic() > end:
                    raise self._translated(error.args[0]) from error

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn errors of the client into those that a run knows."""
        try:
            yield
        except KafkaException as error:
            raise self._translated(error.args[0]) from error

    def raise_for(self, error: KafkaError | None) -> None:
        """Raise an error of the client as one that a run knows."""
        if error is not None:
            raise self._translated(error)

    def _translated(self, error: KafkaError) -> Exception:
        if _is_distrust(error):
            return ParameterError(f"{self} has no trusted certificate: {error.str()}")
        if _is_refusal(error):
            return ParameterError(f"{self} refuses the login or the request: {error.str()}")
        if error.code() in _PERMANENT:
            return DataError(f"{self}: {error.str()}")
        return ConnectionError(f"{self}: {error.str()}")

    def __str__(self) -> str:
        return str(self._address)


def _is_refusal(error: KafkaError) -> bool:
    # A server that is lost during the login is reported by the same code as a wrong password.
    is_lost = error.code() == KafkaError._AUTHENTICATION and "Local: " in error.str()
    return error.code() in _REFUSED and not is_lost


def _is_distrust(error: KafkaError) -> bool:
    return error.code() == KafkaError._SSL and "certificate" in error.str()
