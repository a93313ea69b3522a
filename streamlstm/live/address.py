"""Addresses of connectors: URLs whose secrets stand in the environment."""

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import ParameterError

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_PASSWORD = re.compile(r"(://(?:[^:/?@]*:)?)[^/?]*@")  # or a user without one, who may be a token
_SECRET = re.compile(r"([?&][^=&]*password=)(?!\$\{)[^&]*")


class Address:
    """A URL such as `redis://user:${PASSWORD}@host:6379/stream?group=lab`.

    `${NAME}` stands for a variable of the environment. As text it is the URL as it was given,
    without a password, or a user that has none and may be a token, that stands in it, or the value
    of an option whose name ends in `password`.

    Raises
    ------
    ParameterError
        If it has no scheme or a port that is none, or a variable is not set.

    Examples
    --------
    >>> address = Address("redis://me:${SECRET}@here/a%20b?group=lab", {"SECRET": "p/@:"})
    >>> address.host, address.port, address.password, address.path
    ('here', None, 'p/@:', 'a b')
    >>> address.options(group="", most=1)
    {'group': 'lab', 'most': 1}
    >>> str(Address("redis://me:secret@here/a"))
    'redis://me:***@here/a'
    >>> str(Address("nats://token@here/a"))
    'nats://***@here/a'
    >>> str(Address("opc.tcp://here/?key_password=secret&period=1"))
    'opc.tcp://here/?key_password=***&period=1'
    >>> every = Address("mqtt://me:#1@here/sensors/#?qos=0")
    >>> every.password, every.path, str(every)
    ('#1', 'sensors/#', 'mqtt://me:***@here/sensors/#?qos=0')

    """

    def __init__(self, text: str, environment: Mapping[str, str] = os.environ):
        def filled(part: str) -> str:
            literal = _VARIABLE.split(part)
            literal[::2] = map(unquote, literal[::2])
            literal[1::2] = map(value, literal[1::2])
            return "".join(literal)

        def value(name: str) -> str:
            if name not in environment:
                raise ParameterError(f"{self} needs the environment variable {name}")
            return environment[name]

        try:
            whole = text.replace("#", "%23")  # which ends a URL, but not a topic of MQTT
            parts = urlsplit(whole)
            self.port = parts.port
            if parts.netloc.endswith(":"):  # more likely the beginning of a password than no port
                raise ValueError
        except ValueError:
            raise ParameterError(
                f"{_guarded(text)!r} is no address: a port is a number up to 65535, and a user or "
                "password has %2F, %3F, %40 and %3A for / ? @ and :"
            ) from None  # the cause says all of it
        if not parts.scheme or "://" not in text:
            raise ParameterError(
                f"expected an address such as redis://host/stream, got {_guarded(text)!r}"
            )
        self._shown = text
        secret = parts.username if parts.password is None else parts.password
        if secret and not _VARIABLE.fullmatch(secret):
            self._shown = _PASSWORD.sub(r"\1***@", text, count=1)
        self._shown = _SECRET.sub(r"\1***", self._shown)
        self.scheme = parts.scheme
        # Not that of parts, which is in small letters, as no variable may be.
        host = re.match(r"\[(.*)\]|[^:]*", parts.netloc.rpartition("@")[2])
        self.host = None if not host else filled(host[1] or host[0]) or None
        self.user = None if parts.username is None else filled(parts.username)
        self.password = None if parts.password is None else filled(parts.password)
        self.path = filled(parts.path.removeprefix("/"))
        pairs = [pair.partition("=") for pair in parts.query.split("&") if pair]
        self._query = {
            filled(name.replace("+", " ")): filled(each.replace("+", " "))
            for name, _, each in pairs
        }

    def options(self, **defaults: Any) -> dict[str, Any]:
        """What stands behind the `?`, in the types of the defaults; ParameterError for others."""
        options = dict(defaults)
        for name, text in self._query.items():
            if name not in defaults:
                known = ", ".join(defaults) or "none"
                raise ParameterError(f"{self} has the option {name!r}; known are {known}")
            try:
                options[name] = type(defaults[name])(text)
            except ValueError as error:
                raise ParameterError(f"{self}: {name} cannot be {text!r}") from error
        return options

    def __str__(self) -> str:
        return self._shown


def _guarded(text: str) -> str:
    """Something that is no address, without what may be a password in it."""
    return re.sub(":.*@", ":***@", text, flags=re.DOTALL)
