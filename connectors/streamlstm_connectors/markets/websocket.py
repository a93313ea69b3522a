"""A WebSocket that a source reads: what is lost on it, or silent for too long, is an error."""

import ssl
from contextlib import ExitStack, suppress
from typing import Any

from streamlstm.errors import MissingPackageError, ParameterError

try:
    from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
    from websockets.sync.client import ClientConnection, connect
except ImportError as error:
    raise MissingPackageError("WebSockets need: pip install streamlstm[websocket]") from error

SECONDS = 10.0  # for the server to answer
LONGEST = 16 << 20  # bytes of a message; the connection is closed upon a longer one
WAITING = 1 << 16  # messages that may wait here before no more are taken from the network
_PASSING = (408, 418, 425, 429)  # statuses of HTTP, beside those from 500 on, that go by


class WebSocket:
    """A connection that is made by `open`, to a URL of wss:// or ws://.

    name: stands in errors. authority: file with certificates to trust instead of the system's.
    silence: seconds after which a server that does not answer a ping is taken for gone.

    Raises ParameterError if the file cannot be used or the silence is no time. Once it is lost, or
    cannot be made, methods raise ConnectionError; `open` raises ParameterError where waiting would
    not help.
    """

    def __init__(self, name: str, url: str, authority: str = "", silence: float = 30.0):
        if not silence > 0:
            raise ParameterError(f"{name}: silence must be above 0 seconds, got {silence}")
        self._name = name
        self._url = url
        self._silence = silence
        self._made: ClientConnection | None = None
        self._stack = ExitStack()
        self._context = None
        if url.startswith("wss:"):
            try:
                self._context = ssl.create_default_context(cafile=authority or None)
            except OSError as error:
                raise ParameterError(f"{name}: no certificates in {authority}: {error}") from error

    def open(self) -> None:
        """Connect."""
        self.close()
        try:
            self._made = self._stack.enter_context(
                connect(
                    self._url,
                    ssl=self._context,
                    compression=None,  # it would take longer than the network
                    open_timeout=SECONDS,
                    ping_interval=self._silence / 2,
                    ping_timeout=self._silence / 2,
                    close_timeout=1.0,
                    max_size=LONGEST,
                    max_queue=WAITING,
                )
            )
        except ssl.SSLCertVerificationError as error:
            raise ParameterError(f"{self._name} is not trusted: {error.verify_message}") from error
        except InvalidStatus as error:
            status = error.response.status_code
            text = f"{self._name} answers with HTTP status {status}"
            if status in _PASSING or status >= 500:
                raise ConnectionError(text) from error
            raise ParameterError(text) from error
        except (OSError, EOFError, WebSocketException) as error:
            raise ConnectionError(f"{self._name}: {error}") from error

    def send(self, message: str) -> None:
        """Send a text."""
        try:
            self._connection().send(message)
        except (OSError, ConnectionClosed) as error:
            raise ConnectionError(f"{self._name}: {error}") from error

    def receive(self, seconds: float) -> bytes | None:
        """The next message; None if there is none for so long."""
        try:
            return self._connection().recv(max(seconds, 0), decode=False)
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            raise ConnectionError(f"{self._name}: {error}") from error

    def close(self) -> None:
        """Let the connection go."""
        self._made = None
        with suppress(OSError, WebSocketException):
            self._stack.close()

    def _connection(self) -> Any:
        if self._made is None:
            raise ConnectionError(f"{self._name} is not connected")
        return self._made
