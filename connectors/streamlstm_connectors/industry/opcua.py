"""OPC UA: opc.tcp://user:${PASSWORD}@host:4840/PATH?nodes=ns=2;s=Pump1,ns=2;s=Pump2&period=1.

The nodes of an industrial server are polled; a reading is a tick. See docs/connectors/opcua.md.
"""

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

from streamlstm.errors import DataError, MissingPackageError, ParameterError
from streamlstm.live import Address, Batch, Fields, Parser

from ..options import check_choice

try:
    from asyncua import ua
    from asyncua.client.client import Client
    from asyncua.crypto import security_policies
    from asyncua.ua.attribute_ids import AttributeIds
    from asyncua.ua.uaerrors import UaError, UaStatusCodeError
    from cryptography import x509
except ImportError as error:
    raise MissingPackageError("OPC UA needs asyncua: pip install 'streamlstm[opcua]'") from error

TIMEOUT_SECONDS = 5.0  # for the server to answer
READING_FIELDS = ("node", "name", "value", "time", "status")
POLICIES = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
MODES = ("SignAndEncrypt", "Sign")
_NODE_SEPARATOR = re.compile(r",(?=(?:nsu?|[isgb])=)")
_REFUSALS = ("BadCertificate", "BadIdentity", "BadNoValidCert", "BadSecurity", "BadUser")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TIME = datetime(1601, 1, 1, tzinfo=UTC)  # zero, which a server without a clock may send


class _Reading(NamedTuple):
    """What a poll read from a node."""

    node: str
    id: str
    time: int | None  # nanoseconds since 1970; None if the node does not exist
    message: bytes


class OPCUASource:
    """Readings of the nodes of an OPC UA server, which are polled together.

    A message has the fields of `READING_FIELDS`: the id of the node as it was given, its display
    name, its value, a timestamp and the status code. The timestamp is that of the source, or else
    that of the server, or else that of the poll. A value with a bad status is missing.

    The server delivers no reading twice, and what nobody polled is lost. The position is the time
    of each node's last reading, in nanoseconds since 1970, by which a reading that was learned
    already is recognised. Polls that could not be made in time are counted as missed.

    Parameters
    ----------
    address, fields
        The server, and which fields of a reading to use.
    nodes
        Ids of the nodes, separated by commas.
    period
        Seconds between polls.
    unchanged
        What to do with a reading whose timestamp is that of the last one: "skip" it, or "repeat"
        it with the time of the poll.
    policy, mode
        How to secure the connection: one of `POLICIES`, or nothing, and one of `MODES`.
    certificate, key, key_password
        Files of our own certificate and its key, which a policy needs, and a password of the key.
    server_certificate
        File of the certificate that the server must have.

    """

    def __init__(
        self,
        address: Address,
        fields: Fields,
        nodes: str = "",
        period: float = 1.0,
        unchanged: str = "skip",
        policy: str = "",
        mode: str = MODES[0],
        certificate: str = "",
        key: str = "",
        key_password: str = "",
        server_certificate: str = "",
    ):
        self.period = period
        self.unchanged = unchanged
        self._policy = policy
        self._mode = mode
        self._key_password = key_password
        self._files = {
            "certificate": certificate, "key": key, "server_certificate": server_certificate
        }  # fmt: skip
        self._missed = 0  # polls, since the last batch
        self._nodes = [text for text in _NODE_SEPARATOR.split(nodes) if text]
        self._address = address
        self._parser = Parser(fields)
        self._runner: asyncio.Runner | None = None
        self._next_poll: float | None = None  # on the monotonic clock
        self._arrived: deque[_Reading] = deque()
        self._polled = 0  # when, nanoseconds since 1970
        self._times: dict[str, int] = {}  # of each node's last reading
        self._absent: dict[str, str] = {}  # status of nodes that do not exist
        self._check(fields)

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make a source; does not connect."""
        return cls(address, fields, **address.options_for(cls))

    def open(self, position: Any) -> dict[str, int]:
        """Connect; a position says which readings were learned already.

        Without a position every node must exist, or there is a DataError.
        """
        self.close()
        self._runner = asyncio.Runner()
        try:
            with self._errors(refusals=_REFUSALS):
                self._runner.run(self._connect())
            absent = [node for node, name in self._names.items() if not name]
            if position is None and absent:
                raise DataError(
                    f"{self._address}: the server has no node {absent[0]}; check nodes="
                )
        except BaseException:
            self.close()
            raise
        self._times = dict(position or {})
        if self._next_poll is None:
            self._next_poll = time.monotonic()
        return dict(self._times)

    def read(self, max_ticks: int, timeout: float) -> Batch | None:
        """Return at most `max_ticks` readings of a poll; wait up to `timeout` seconds for one."""
        if self._runner is None:
            raise ConnectionError(f"{self._address} is not connected")
        if not self._arrived:
            with self._errors():
                self._arrived.extend(self._runner.run(self._poll_when_due(timeout)))
        count = min(max_ticks, len(self._arrived))
        if not count:
            return None
        readings = [self._arrived.popleft() for _ in range(count)]
        self._times |= {each.node: each.time for each in readings if each.time is not None}
        ids, messages = [each.id for each in readings], [each.message for each in readings]
        batch = self._parser.batch(ids, messages, self._polled, dict(self._times))
        missed, self._missed = self._missed, 0
        return replace(batch, missed=missed)

    def acknowledge(self, position: Any) -> None:
        """Do nothing: the server does not keep readings."""

    def close(self) -> None:
        """Disconnect."""
        runner, self._runner = self._runner, None
        self._arrived.clear()
        self._absent.clear()
        if runner is not None:
            with suppress(Exception):
                runner.run(asyncio.wait_for(self._client.disconnect(), 1))
            with suppress(Exception):
                runner.close()

    def _check(self, fields: Fields) -> None:
        address = self._address
        if not self._nodes:
            raise ParameterError(f"{address} names no nodes: add ?nodes=ns=2;s=NAME,...")
        for node in self._nodes:
            try:
                ua.NodeId.from_string(node)
            except (UaError, ValueError) as error:
                raise ParameterError(
                    f"{address}: {node!r} is not a node id such as ns=2;s=NAME"
                ) from error
            if self._nodes.count(node) > 1:
                raise ParameterError(f"{address}: the node {node!r} is given twice")
        if not 0 < self.period < float("inf"):
            raise ParameterError(f"{address}: period must be above 0, got {self.period}")
        check_choice(address, "unchanged", self.unchanged, "skip", "repeat")
        check_choice(address, "mode", self._mode, *MODES)
        if self._policy:
            check_choice(address, "policy", self._policy, *POLICIES)
        if bool(self._policy) != bool(self._files["certificate"] and self._files["key"]):
            raise ParameterError(f"{address}: give policy, certificate and key, or none of them")
        for name, file in self._files.items():
            if file and not Path(file).is_file():
                raise ParameterError(f"{address}: the file of {name} does not exist: {file}")
        for field in [fields.value, fields.key, fields.time, *fields.features, fields.sequence]:
            if field is not None and field not in READING_FIELDS:
                known = ", ".join(READING_FIELDS)
                raise ParameterError(f"{address}: a reading has no field {field!r}, only {known}")

    @contextmanager
    def _errors(self, refusals: tuple[str, ...] = ()) -> Iterator[None]:
        """Turn errors of the client into those that a run knows."""
        try:
            yield
        except OSError as error:
            reason = str(error) or f"no answer within {TIMEOUT_SECONDS:g} s"
            raise ConnectionError(f"{self._address}: {reason}") from error
        except UaStatusCodeError as error:
            if type(error).__name__.startswith(refusals):
                raise ParameterError(f"{self._address} refuses the login: {error}") from error
            raise ConnectionError(f"{self._address}: {error}") from error
        except UaError as error:
            raise ConnectionError(f"{self._address}: {error}") from error

    async def _connect(self) -> None:
        address = self._address
        host = f"[{address.host}]" if ":" in (address.host or "") else address.host or "localhost"
        url = f"opc.tcp://{host}:{address.port or 4840}/{address.path}"
        self._client = client = Client(
            url, timeout=TIMEOUT_SECONDS, watchdog_intervall=TIMEOUT_SECONDS
        )
        if address.user:
            client.set_user(address.user)
            client.set_password(address.password or "")
        await self._secure(client)
        await client.connect()
        self._ids = [await self._node_id(node) for node in self._nodes]
        await self._read_names()

    async def _secure(self, client: Client) -> None:
        """Sign and encrypt, as the application that the certificate names."""
        if not self._policy:
            return
        found = Path(self._files["certificate"]).read_bytes()
        pem = b"-----BEGIN" in found
        try:
            load = x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate
            names = load(found).extensions.get_extension_for_class(x509.SubjectAlternativeName)
            names_of_uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
        except (ValueError, x509.ExtensionNotFound) as error:
            raise ParameterError(
                f"{self._address}: cannot use the certificate {self._files['certificate']}: {error}"
            ) from error
        if names_of_uris:
            client.application_uri = names_of_uris[0]
        try:
            await client.set_security(
                getattr(security_policies, f"SecurityPolicy{self._policy}"),
                self._files["certificate"],
                self._files["key"],
                self._key_password or None,
                self._files["server_certificate"] or None,
                getattr(ua.MessageSecurityMode, self._mode),
            )
        except (ValueError, TypeError) as error:  # of the key, its password or a certificate
            raise ParameterError(
                f"{self._address}: cannot use the key or a certificate: {error}"
            ) from error
        except UaStatusCodeError:
            raise
        except UaError as error:  # no such endpoint
            raise ParameterError(f"{self._address}: {error}") from error

    async def _node_id(self, node: str) -> ua.NodeId:
        """The id that the node has now; a namespace may get another number."""
        found = ua.NodeId.from_string(node)
        uri = getattr(found, "NamespaceUri", None)
        if not uri:
            return found
        known = await self._client.get_namespace_array()
        if uri not in known:
            raise DataError(f"{self._address}: the server has no namespace {uri}")
        return ua.NodeId(found.Identifier, ua.Int16(known.index(uri)), found.NodeIdType)

    async def _read_names(self) -> None:
        found = await self._values(AttributeIds.DisplayName)
        texts = [each.Value.Value if each.Value else None for each in found]
        self._names = {
            node: "" if text is None else text.Text or node
            for node, text in zip(self._nodes, texts, strict=True)
        }

    async def _values(self, attribute: AttributeIds) -> list[ua.DataValue]:
        return await self._client.uaclient.read_attributes(self._ids, attribute)

    async def _poll_when_due(self, seconds: float) -> list[_Reading]:
        """The readings of the next poll with new ones, if that is due within so many seconds."""
        end = time.monotonic() + seconds
        assert self._next_poll is not None
        while self._next_poll <= end:
            await asyncio.sleep(max(0.0, self._next_poll - time.monotonic()))
            if readings := await self._poll():
                return readings
        await asyncio.sleep(max(0.0, end - time.monotonic()))
        return []

    async def _poll(self) -> list[_Reading]:
        assert self._next_poll is not None
        late = int((time.monotonic() - self._next_poll) / self.period)
        self._missed += late
        self._next_poll += (late + 1) * self.period
        found = await self._values(AttributeIds.Value)
        self._polled = time.time_ns()
        there = [node for node, each in zip(self._nodes, found, strict=True) if _time(each)]
        if not all(self._names[node] for node in there):
            await self._read_names()
        readings = map(self._reading, self._nodes, found)
        return [each for each in readings if each is not None]

    def _reading(self, node: str, found: ua.DataValue) -> _Reading | None:
        """A reading, or None if it was read before."""
        status = found.StatusCode or ua.StatusCode()
        bad, moment = status.is_bad(), _time(found)
        record = {"node": node, "name": self._names[node], "status": status.value}
        if bad and moment is None:
            if self._absent.get(node) == status.name:
                return None
            self._absent[node] = status.name
            message = json.dumps(record | {"value": status.name}).encode()
            return _Reading(node, f"{node}@{self._polled}", None, message)
        self._absent.pop(node, None)
        if moment is None or self.unchanged == "repeat":
            moment = _EPOCH + timedelta(microseconds=self._polled // 1000)
        since = (moment - _EPOCH) // timedelta(microseconds=1) * 1000
        if self.unchanged == "skip" and self._times.get(node) == since:
            return None
        value = None if bad or found.Value is None else found.Value.Value
        record |= {"value": value, "time": moment.isoformat()}
        return _Reading(node, f"{node}@{since}", since, json.dumps(record, default=str).encode())


def _time(value: ua.DataValue) -> datetime | None:
    given = (value.SourceTimestamp, value.ServerTimestamp)
    return next((each for each in given if each and each > _NO_TIME), None)
