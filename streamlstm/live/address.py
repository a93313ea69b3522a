"""Addresses of connectors: URLs such as redis://:${PASSWORD}@host/readings?group=lab."""

import inspect
import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import ParameterError

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_LOGIN = re.compile(r"(://(?:[^:/?@]*:)?)[^/?]*@")  # a password, or a user without one
_SECRET_OPTION = re.compile(r"([?&][^=&]*password=)(?!\$\{)[^&]*")


class Address:
    """A URL such as `redis://user:${PASSWORD}@host:6379/stream?group=lab`.

    `${NAME}` stands for an environment variable, so that secrets need not be written down. As text
    an address is shown without secrets: passwords, users without a password, which may be tokens,
    and options whose names end in `password` are replaced by `***`.

    Attributes
    ----------
    scheme, host, port, user, password, path
        The parts of the URL, decoded; None, or for the path empty text, if absent.

    Raises
    ------
    ParameterError
        If the text is not a URL, or an environment variable is not set.

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
                raise ParameterError(f"{self}: the environment variable {name} is not set")
            return environment[name]

        try:
            whole = text.replace("#", "%23")  # it would end a URL, but not a topic of MQTT
            parts = urlsplit(whole)
            self.port = parts.port
            if parts.netloc.endswith(":"):  # rather the beginning of a password than an empty port
                raise ValueError
        except ValueError:
            raise ParameterError(
                f"{_guarded(text)!r} is not an address: the port must be a number up to 65535; in "
                "a user or password write / ? @ : as %2F %3F %40 %3A"
            ) from None  # the cause would show the password
        if not parts.scheme or "://" not in text:
            raise ParameterError(
                f"expected an address such as redis://host/stream or csv:///file.csv, got "
                f"{_guarded(text)!r}"
            )
        self._shown = text
        secret = parts.username if parts.password is None else parts.password
        if secret and not _VARIABLE.fullmatch(secret):
            self._shown = _LOGIN.sub(r"\1***@", text, count=1)
        self._shown = _SECRET_OPTION.sub(r"\1***", self._shown)
        self.scheme = parts.scheme
        # urlsplit would put the host in lower case, and with it the names of variables.
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
        """Return the options after the `?`, converted to the types of the defaults.

        Raises
        ------
        ParameterError
            If the address has an option that is not among the defaults, or of another type.

        """
        options = dict(defaults)
        for name, text in self._query.items():
            if name not in defaults:
                known = ", ".join(defaults) or "none"
                raise ParameterError(f"{self} has the unknown option {name!r}; known are {known}")
            try:
                options[name] = type(defaults[name])(text)
            except ValueError as error:
                expected = "a whole number" if type(defaults[name]) is int else "a number"
                raise ParameterError(f"{self}: {name} must be {expected}, got {text!r}") from error
        return options

    def options_for(self, connector: Callable[..., Any]) -> dict[str, Any]:
        """Return the options for a class whose parameters with defaults are its options.

        Examples
        --------
        >>> class Sink:
        ...     def __init__(self, address, table="forecasts", db=0): ...
        >>> Address("x://here/?db=3").options_for(Sink)
        {'table': 'forecasts', 'db': 3}

        """
        parameters = inspect.signature(connector).parameters.values()
        return self.options(
            **{each.name: each.default for each in parameters if each.default is not each.empty}
        )

    def __str__(self) -> str:
        return self._shown


def _guarded(text: str) -> str:
    """Text that is not an address, without what may be a password in it."""
    return re.sub(":.*@", ":***@", text, flags=re.DOTALL)
