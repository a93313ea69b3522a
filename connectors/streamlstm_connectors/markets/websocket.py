"""A WebSocket that a source reads; a lost or silent connection is an error."""

import ssl
from contextlib import ExitStack, suppress
from typing import Any

from streamlstm.errors import MissingPackageError, ParameterError

try:
    from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
    from websockets.sync.client import ClientConnection, connect
except ImportError as error:
    raise MissingPackageError(
        "Market data needs websockets: pip install 'streamlstm[websocket]'"
    ) from error

TIMEOUT_SECONDS = 10.0  # for the server to answer
MAX_MESSAGE_BYTES = 16 << 20  # a longer one ends the connection
MAX_WAITING_MESSAGES = 1 << 16  # before no more are taken from the network
_PASSING_STATUSES = (408, 418, 425, 429)  # of HTTP, besides those from 500 on


class WebSocket:
    """A connection to a URL of wss:// or ws://, made by `open`.

    name: how errors call the server. context: settings of TLS, for wss. silence: seconds after
    which a server that does not answer a ping is given up.

    Raises a ParameterError if the silence is not above 0. Methods raise a ConnectionError if the
    connection is lost or cannot be made; `open` a ParameterError if trying again would not help.
    """

    def __init__(self, name: str, url: str, context: ssl.SSLContext | None, silence: float):
        if not silence > 0:
            raise ParameterError(f"{name}: silence must be above 0 seconds, got {silence}")
        self._name = name
        self._url = url
        self._context = context
        self._silence = silence
        self._connection: ClientConnection | None = None
        self._stack = ExitStack()

    def open(self) -> None:
        """Connect."""
        self.close()
        try:
            self._connection = self._stack.enter_context(
                connect(
                    self._url,
                    ssl=self._context,
                    compression=None,  # it would take longer than the network
                    open_timeout=TIMEOUT_SECONDS,
                    ping_interval=self._silence / 2,
                    ping_timeout=self._silence / 2,
                    close_timeout=1.0,
                    max_size=MAX_MESSAGE_BYTES,
                    max_queue=MAX_WAITING_MESSAGES,
                )
            )
        except ssl.SSLCertVerificationError as error:
            raise ParameterError(
                f"{self._name} has no trusted certificate: {error.verify_message}"
            ) from error
        except InvalidStatus as error:
            status = error.response.status_code
            text = f"{self._name} answers with HTTP status {status}"
            if status in _PASSING_STATUSES or status >= 500:
                raise ConnectionError(text) from error
            raise ParameterError(text) from error
        except (OSError, EOFError, WebSocketException) as error:
            raise ConnectionError(f"{self._name}: {error}") from error

    def send(self, message: str) -> None:
        """Send a text."""
        try:
            self._open_connection().send(message)
        except (OSError, ConnectionClosed) as error:
            raise ConnectionError(f"{self._name}: {error}") from error

    def receive(self, seconds: float) -> bytes | None:
        """Return the next message, or None if there is none in time."""
        try:
            return self._open_connection().recv(max(seconds, 0), decode=False)
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            raise ConnectionError(f"{self._name}: {error}") from error

    def close(self) -> None:
        """Disconnect."""
        self._connection = None
        with suppress(OSError, WebSocketException):
            self._stack.close()

    def _open_connection(self) -> Any:
        if self._connection is None:
            raise ConnectionError(f"{self._name} is not connected")
        return self._connection
