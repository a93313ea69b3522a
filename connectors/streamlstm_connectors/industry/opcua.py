"""OPC UA: values of the nodes of an industrial server, polled.

opc.tcp://user:${PASSWORD}@host:4840/PATH?nodes=ns=2;s=Pump1,ns=2;s=Pump2&period=1; see
docs/connectors/opcua.md.
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

try:
    from asyncua import ua
    from asyncua.client.client import Client
    from asyncua.crypto import security_policies
    from asyncua.ua.attribute_ids import AttributeIds
    from asyncua.ua.uaerrors import UaError, UaStatusCodeError
    from cryptography import x509
except ImportError as error:
    raise MissingPackageError("OPC UA needs: pip install streamlstm[opcua]") from error

SECONDS = 5.0  # for the server to answer
RECORD = ("node", "name", "value", "time", "status")  # fields of a reading
POLICIES = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
MODES = ("SignAndEncrypt", "Sign")
OPTIONS: dict[str, Any] = {
    "nodes": "",
    "period": 1.0,
    "unchanged": "skip",
    "policy": "",
    "mode": MODES[0],
    "certificate": "",
    "key": "",
    "key_password": "",
    "server_certificate": "",
}
_BETWEEN = re.compile(r",(?=(?:nsu?|[isgb])=)")  # node ids
_REFUSALS = ("BadCertificate", "BadIdentity", "BadNoValidCert", "BadSecurity", "BadUser")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TIME = datetime(1601, 1, 1, tzinfo=UTC)  # zero, as a server without a clock may send it


class _Reading(NamedTuple):
    """What a node said at a poll."""

    node: str
    id: str
    time: int | None  # nanoseconds since 1970; None if the node is not there
    message: bytes


class OPCUASource:
    """Readings of the nodes of an OPC UA server, all of them polled at once.

    The address takes `nodes`, their ids with commas between them; `period`, seconds between polls;
    `unchanged`, "skip" or "repeat", what becomes of a value whose source timestamp is that of the
    poll before; `policy`, `mode`, `certificate`, `key`, `key_password` and `server_certificate`,
    see docs/connectors/opcua.md.

    A message has the fields of `RECORD`: the node's id as it was given, its display name, value,
    source timestamp (the server's, else that of the poll, where there is none), and status code.
    A bad value is a missing one. With `unchanged="repeat"` the time is that of the poll.

    The server gives nothing twice: what it held while nobody asked is gone. The position is the
    time of each node's last reading, in nanoseconds since 1970, by which one that is still there
    is not counted again. Polls that were not made in time count as missed.
    """

    def __init__(self, address: Address, fields: Fields, **options: Any):
        given = OPTIONS | options
        self.period: float = given["period"]
        self.unchanged: str = given["unchanged"]
        self._missed = 0  # polls, since the last batch
        self._nodes = [text for text in _BETWEEN.split(given["nodes"]) if text]
        self._given = given
        self._address = address
        self._parser = Parser(fields)
        self._runner: asyncio.Runner | None = None
        self._beat: float | None = None  # when the next poll is due, of time.monotonic
        self._pending: deque[_Reading] = deque()
        self._polled = 0  # when, nanoseconds since 1970
        self._times: dict[str, int] = {}  # of the nodes' last readings
        self._absent: dict[str, str] = {}  # status of nodes that are not there
        self._check(fields)

    def _check(self, fields: Fields) -> None:
        address, given = self._address, self._given
        if not self._nodes:
            raise ParameterError(f"{address} names no nodes: add ?nodes=ns=2;s=NAME,...")
        for node in self._nodes:
            try:
                ua.NodeId.from_string(node)
            except (UaError, ValueError) as error:
                raise ParameterError(f"{address}: {node!r} is no node id") from error
            if self._nodes.count(node) > 1:
                raise ParameterError(f"{address}: the node {node!r} stands twice")
        if not 0 < self.period < float("inf"):
            raise ParameterError(f"{address}: period must be above 0, got {self.period}")
        for name, choices in [("unchanged", ("skip", "repeat")), ("mode", MODES)]:
            if given[name] not in choices:
                expected = " or ".join(choices)
                raise ParameterError(f"{address}: {name} must be {expected}, got {given[name]!r}")
        if given["policy"] not in ("", *POLICIES):
            expected = ", ".join(POLICIES)
            raise ParameterError(
                f"{address}: policy must be of {expected}, not {given['policy']!r}"
            )
        if bool(given["policy"]) != bool(given["certificate"] and given["key"]):
            raise ParameterError(f"{address}: policy, certificate and key go together")
        for name in ("certificate", "key", "server_certificate"):
            if given[name] and not Path(given[name]).is_file():
                raise ParameterError(f"{address}: {name} is not there: {given[name]}")
        for field in [fields.value, fields.key, fields.time, *fields.features, fields.sequence]:
            if field is not None and field not in RECORD:
                known = ", ".join(RECORD)
                raise ParameterError(f"{address}: readings have no field {field!r}, only {known}")

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make one; does not connect."""
        return cls(address, fields, **address.options(**OPTIONS))

    def open(self, position: Any) -> dict[str, int]:
        """Connect; a position says which readings have been had.

        Without one every node has to be there, DataError if not.
        """
        self.close()
        self._runner = asyncio.Runner()
        try:
            with self._errors(refusals=_REFUSALS):
                self._runner.run(self._connect())
            absent = [node for node, name in self._names.items() if not name]
            if position is None and absent:
                raise DataError(f"{self._address}: the server has no node {absent[0]}")
        except BaseException:
            self.close()
            raise
        self._times = dict(position or {})
        if self._beat is None:
            self._beat = time.monotonic()
        return dict(self._times)

    def read(self, ticks: int, seconds: float) -> Batch | None:
        """At most so many readings of a poll; waits so long for the next."""
        if self._runner is None:
            raise ConnectionError(f"{self._address} is not connected")
        if not self._pending:
            with self._errors():
                self._pending.extend(self._runner.run(self._due(seconds)))
        count = min(ticks, len(self._pending))
        if not count:
            return None
        readings = [self._pending.popleft() for _ in range(count)]
        self._times |= {each.node: each.time for each in readings if each.time is not None}
        ids, messages = [each.id for each in readings], [each.message for each in readings]
        batch = self._parser.batch(ids, messages, self._polled, dict(self._times))
        missed, self._missed = self._missed, 0
        return replace(batch, missed=missed)

    def acknowledge(self, position: Any) -> None:
        """The server keeps nothing for us."""

    def close(self) -> None:
        """Let the connection go."""
        runner, self._runner = self._runner, None
        self._pending.clear()
        self._absent.clear()
        if runner is not None:
            with suppress(Exception):
                runner.run(asyncio.wait_for(self._client.disconnect(), 1))
            with suppress(Exception):
                runner.close()

    @contextmanager
    def _errors(self, refusals: tuple[str, ...] = ()) -> Iterator[None]:
        """What goes wrong, as the runner knows it."""
        try:
            yield
        except OSError as error:
            reason = str(error) or f"no answer within {SECONDS} s"
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
        self._client = client = Client(url, timeout=SECONDS, watchdog_intervall=SECONDS)
        if address.user:
            client.set_user(address.user)
            client.set_password(address.password or "")
        await self._secure(client)
        await client.connect()
        self._ids = [await self._id(node) for node in self._nodes]
        await self._read_names()

    async def _secure(self, client: Client) -> None:
        """Sign and encrypt, in the name that the certificate gives to this application."""
        given = self._given
        if not given["policy"]:
            return
        found = Path(given["certificate"]).read_bytes()
        pem = b"-----BEGIN" in found
        try:
            load = x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate
            names = load(found).extensions.get_extension_for_class(x509.SubjectAlternativeName)
            names_of_uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
        except (ValueError, x509.ExtensionNotFound) as error:
            raise ParameterError(f"{self._address}: the certificate: {error}") from error
        if names_of_uris:
            client.application_uri = names_of_uris[0]
        try:
            await client.set_security(
                getattr(security_policies, f"SecurityPolicy{given['policy']}"),
                given["certificate"],
                given["key"],
                given["key_password"] or None,
                given["server_certificate"] or None,
                getattr(ua.MessageSecurityMode, given["mode"]),
            )
        except (ValueError, TypeError) as error:  # of the key, its password or a certificate
            raise ParameterError(f"{self._address}: key or certificate: {error}") from error
        except UaStatusCodeError:
            raise
        except UaError as error:  # no such endpoint
            raise ParameterError(f"{self._address}: {error}") from error

    async def _id(self, node: str) -> ua.NodeId:
        """The id by which the server knows a node now; the numbers of namespaces may change."""
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

    async def _due(self, seconds: float) -> list[_Reading]:
        """The readings of the next poll that has some, if one is due within so many seconds."""
        end = time.monotonic() + seconds
        assert self._beat is not None
        while self._beat <= end:
            await asyncio.sleep(max(0.0, self._beat - time.monotonic()))
            if readings := await self._poll():
                return readings
        await asyncio.sleep(max(0.0, end - time.monotonic()))
        return []

    async def _poll(self) -> list[_Reading]:
        assert self._beat is not None
        late = int((time.monotonic() - self._beat) / self.period)
        self._missed += late
        self._beat += (late + 1) * self.period
        found = await self._values(AttributeIds.Value)
        self._polled = time.time_ns()
        there = [node for node, each in zip(self._nodes, found, strict=True) if _time(each)]
        if not all(self._names[node] for node in there):
            await self._read_names()
        readings = map(self._reading, self._nodes, found)
        return [each for each in readings if each is not None]

    def _reading(self, node: str, found: ua.DataValue) -> _Reading | None:
        """A reading; None if it has been had."""
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
