"""A connection to a NATS server with JetStream, and what its errors mean for a run."""

import asyncio
import re
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, TypeVar

from streamlstm.errors import DataError, MissingPackageError, ParameterError
from streamlstm.live import Address

from ..tls import tls_context

try:
    from nats.aio.client import Client
    from nats.errors import ConnectionClosedError, Error, MaxPayloadError
    from nats.js.api import StreamInfo
    from nats.js.errors import APIError, NotFoundError
except ImportError as error:
    raise MissingPackageError("NATS needs nats-py: pip install 'streamlstm[nats]'") from error

NAME = re.compile(r"[-\w]+", re.ASCII)  # of a stream or bookmark
_PASSING_CODES = (429, 500, 503)  # too busy, full, or without a leader
# The account is full, or has too many consumers, some of them of connections that are lost.
_PASSING_ERROR_CODES = (10002, 10026)
_REFUSAL = re.compile("authori|authentication (?!timeout)", re.IGNORECASE)

_Result = TypeVar("_Result")


class _Client(Client):
    """A client that sends no login to a server without TLS if TLS is asked for."""

    is_secure = shows_certificate = False

    def _connect_command(self) -> bytes:
        if self.is_secure and not self._server_info.get("tls_required"):
            raise ParameterError("natss:// needs TLS, but the server does not use it")
        if self._server_info.get("tls_verify") and not self.shows_certificate:
            raise ParameterError("the server wants a certificate: add cert and key")
        return super()._connect_command()


class NATSConnection:
    """A client of one stream, made by `open`, and its event loop, which runs only within calls."""

    timeout_seconds: ClassVar[float] = 5.0  # for the server to answer

    def __init__(self, address: Address, ca: str, cert: str, key: str):
        if not NAME.fullmatch(address.path):
            raise ParameterError(
                f"{address} names no stream: add /STREAM, made of letters, digits, - and _"
            )
        self.stream = address.path
        self._address = address
        self._context = tls_context(address, address.scheme == "natss", ca, cert, key)
        self._shows_certificate = bool(cert)
        self._runner: asyncio.Runner | None = None
        self._reported: Exception | None = None  # the last error of the server or the client

    def open(self) -> None:
        """Connect."""
        self.close()
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._lost = self._runner.get_loop().create_future()
        self._reported = None
        self.do(self._connect())

    def close(self) -> None:
        """Disconnect."""
        runner, self._runner = self._runner, None
        if runner is not None:
            with suppress(Exception):
                runner.run(asyncio.wait_for(self.client.close(), 1))
            runner.close()

    def do(self, action: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine to its end, or until the connection is lost."""
        if self._runner is None:
            action.close()
            raise ConnectionError(f"{self} is not connected")
        with self._errors():
            return self._runner.run(self._unless_lost(action))

    async def info(self, subjects: Sequence[str] = ()) -> StreamInfo:
        """Return facts about the stream; with subjects, make the stream if there is none."""
        try:
            return await self.streams.stream_info(self.stream)
        except NotFoundError as error:
            if subjects:
                return await self.streams.add_stream(name=self.stream, subjects=[*subjects])
            raise DataError(
                f"{self} has no stream {self.stream}: nats stream add {self.stream}"
            ) from error

    async def _connect(self) -> None:
        async def reported(error: Exception) -> None:
            self._reported = error

        async def closed() -> None:
            if not self._lost.done():
                self._lost.set_result(None)

        self.client = _Client()
        self.client.is_secure = self._context is not None
        self.client.shows_certificate = self._shows_certificate
        address = self._address
        host = address.host or "localhost"
        login: dict[str, Any] = {}
        if address.user:
            login = {"token": address.user}
            if address.password is not None:
                login = {"user": address.user, "password": address.password}
        await asyncio.wait_for(
            self.client.connect(
                f"nats://{f'[{host}]' if ':' in host else host}:{address.port or 4222}",
                error_cb=reported,
                closed_cb=closed,
                tls=self._context,
                allow_reconnect=False,  # the run does that
                max_reconnect_attempts=1,  # 0 would mean forever
                reconnect_time_wait=0,
                name="streamlstm",
                **login,
            ),
            self.timeout_seconds,
        )
        self.streams = self.client.jetstream(timeout=self.timeout_seconds)

    async def _unless_lost(self, action: Coroutine[Any, Any, _Result]) -> _Result:
        task = asyncio.ensure_future(action)
        await asyncio.wait((task, self._lost), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            raise ConnectionClosedError
        return task.result()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of the client into those that a run knows."""
        try:
            yield
        except APIError as error:
            passes = error.code in _PASSING_CODES or error.err_code in _PASSING_ERROR_CODES
            kind = ConnectionError if passes else DataError
            raise kind(f"{self}: {error.description}") from error
        except MaxPayloadError as error:
            raise DataError(f"{self}: {error}") from error
        except ParameterError as error:
            raise ParameterError(f"{self}: {error}") from error
        except (Error, OSError) as error:
            text = str(self._reported or error) or f"no answer within {self.timeout_seconds:g} s"
            if _REFUSAL.search(text):
                raise ParameterError(f"{self} refuses the login: {text}") from error
            if "CERTIFICATE" in text:
                raise ParameterError(f"{self} has no trusted certificate: {text}") from error
            if "permissions" in text:
                raise ParameterError(f"{self}: {text}") from error
            raise ConnectionError(f"{self}: {text}") from error

    def __str__(self) -> str:
        return str(self._address)
