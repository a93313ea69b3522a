"""A connection to Redis, and what its errors mean for a run."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from streamlstm.errors import DataError, MissingPackageError, ParameterError
from streamlstm.live import Address

from ..options import check_path
from ..tls import tls_context

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise MissingPackageError("Redis needs redis-py: pip install 'streamlstm[redis]'") from error

# Errors that pass: the server is out of memory or disk, busy with a script, or has become a replica
# or lacks some.
_PASSING = (
    redis.exceptions.ClusterDownError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
)
_PASSING_CODE = re.compile(r"(^|caused error: )(BUSY|MISCONF|NOREPLICAS|UNBLOCKED) ")


class RedisConnection:
    """A client of one stream, made by `open`."""

    timeout_seconds: ClassVar[float] = 5.0  # for the server to answer

    def __init__(self, address: Address, database: int, ca: str, cert: str, key: str):
        check_path(address, "stream")
        is_secure = address.scheme == "rediss"
        tls_context(address, is_secure, ca, cert, key)  # a check: redis-py makes its own
        self.stream = address.path
        self._address = address
        self._database = database
        self._tls: dict[str, Any] = {}
        if is_secure:
            self._tls = {
                "ssl": True,
                "ssl_ca_certs": ca or None,
                "ssl_certfile": cert or None,
                "ssl_keyfile": key or None,
                "ssl_check_hostname": True,  # the default only from version 6 on
            }
        self._client: redis.Redis | None = None

    @property
    def client(self) -> "redis.Redis":
        """The open client."""
        if self._client is None:
            raise ConnectionError(f"{self._address} is not connected")
        return self._client

    def open(self) -> None:
        """Connect."""
        address = self._address
        self.close()
        self._client = redis.Redis(
            host=address.host or "localhost",
            port=address.port or 6379,
            db=self._database,
            username=address.user or None,
            password=address.password or None,
            **self._tls,
            socket_timeout=self.timeout_seconds,
            socket_connect_timeout=self.timeout_seconds,
            retry=Retry(NoBackoff(), 0),  # the run does that
            protocol=2,
        )
        self._client.ping()

    def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(redis.RedisError, OSError):
                client.close()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn errors of the client into those that a run knows."""
        try:
            yield
        except (redis.AuthenticationError, redis.exceptions.AuthorizationError) as error:
            raise ParameterError(f"{self._address} refuses the login: {error}") from error
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ParameterError(
                    f"{self._address} has no trusted certificate: {error}"
                ) from error
            raise ConnectionError(f"{self._address}: {error}") from error
        except redis.RedisError as error:
            if isinstance(error, _PASSING) or _PASSING_CODE.search(str(error)):
                raise ConnectionError(f"{self._address}: {error}") from error
            raise DataError(f"{self._address}: {error}") from error

    def __str__(self) -> str:
        return str(self._address)
