"""Addresses of connectors: URLs whose secrets stand in the environment."""

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .errors import ParameterError

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Address:
    """A URL such as `redis://user:${PASSWORD}@host:6379/stream?group=lab`.

    `${NAME}` stands for a variable of the environment. As text it is the URL as it was given,
    without a password that stands in it.

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
    >>> every = Address("mqtt://me:#1@here/sensors/#?qos=0")
    >>> every.password, every.path, str(every)
    ('#1', 'sensors/#', 'mqtt://me:***@here/sensors/#?qos=0')

    """

    def __init__(self, text: str, environment: Mapping[str, str] = os.environ):
        def filled(part: str | None) -> str | None:
            return None if part is None else _VARIABLE.sub(value, unquote(part))

        def value(name: re.Match[str]) -> str:
            if name[1] not in environment:
                raise ParameterError(f"{text} needs the environment variable {name[1]}")
            return environment[name[1]]

        try:
            whole = text.replace("#", "%23")  # which ends a URL, but not a topic of MQTT
            parts = urlsplit(whole)
            self.port = parts.port
        except ValueError as error:
            raise ParameterError(f"{text!r} is no address: {error}") from error
        if not parts.scheme or "://" not in text:
            raise ParameterError(f"expected an address such as redis://host/stream, got {text!r}")
        self.scheme = parts.scheme
        self.host = filled(parts.hostname)
        self.user = filled(parts.username)
        self.password = filled(parts.password)
        self.path = filled(parts.path.removeprefix("/")) or ""
        self._query = {name: filled(each) or "" for name, each in parse_qsl(parts.query, True)}
        self._shown = text
        if parts.password and not _VARIABLE.fullmatch(parts.password):
            self._shown = whole.replace(f":{parts.password}@", ":***@", 1).replace("%23", "#")

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
