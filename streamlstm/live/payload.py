"""Messages to ticks: `Fields` names the fields of a message, `Parser` reads them.

A message is JSON in bytes, or a mapping of fields whose values may be JSON values, text or bytes.
docs/connectors.md lists which messages are rejected.
"""

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice, repeat
from typing import Any

import numpy as np

from ..errors import ParameterError
from .batch import Batch, Rejected, shortened, size_of

MAX_KEY_CHARACTERS = 500  # a key may become part of a topic's name
MAX_FIELDS_COMPARED = 50  # of a message, with a name that it lacks
MAX_FIELDS_NAMED = 5  # of a message, in an error
PAYLOAD = "@payload"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LATEST = 2**63 - 1  # nanoseconds

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fields:
    """Names of the fields of a message.

    Parameters
    ----------
    value
        Field of the value to forecast.
    key
        Field that names the tick's stream, if the source has several.
    time
        Field of the timestamp: ISO 8601, in UTC unless it has a zone, or a number of seconds,
        milliseconds, microseconds or nanoseconds since 1970, told apart by size.
    features
        Fields of further numbers.
    sequence
        Field of a whole number that grows from tick to tick of a stream, such as a counter. Ticks
        whose number is not above all earlier ones are skipped: they are duplicates or late. May be
        the same field as `time`.
    max_bytes
        Longer messages are rejected.

    Notes
    -----
    Names that begin with @ stand for what the system knows about a message, such as @topic.
    @payload is the whole message, if it is a bare number.

    Raises
    ------
    ParameterError
        If a name is empty or is used twice.

    """

    value: str = "value"
    key: str | None = None
    time: str | None = None
    features: tuple[str, ...] = ()
    sequence: str | None = None
    max_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        given = self._names()
        if "" in given or self.sequence == "":
            raise ParameterError("the name of a field is empty")
        if twice := [name for name in given if given.count(name) > 1]:
            raise ParameterError(
                f"the field {twice[0]!r} is used twice: value, key, time and features are "
                "different fields"
            )
        inside = [name for name in (*given, self.sequence or "@") if not name.startswith("@")]
        if self.value == PAYLOAD and inside:
            raise ParameterError(
                f"with value={PAYLOAD!r} a message is a bare number and has no field {inside[0]!r}"
            )

    def _names(self) -> list[str]:
        names = [self.value, self.key, self.time, *self.features]
        return [name for name in names if name is not None]

    def of_system(self) -> set[str]:
        """Names of what the system knows about a message, such as @topic."""
        names = {*self._names(), self.sequence or PAYLOAD}
        return {name for name in names if name.startswith("@")} - {PAYLOAD}


class _NotATickError(Exception):
    """Says what is wrong with a message."""


class Parser:
    """Turns messages into batches of ticks.

    A feature that the first messages lack is logged once, since its name may be misspelt.

    Parameters
    ----------
    fields
        Names of the fields.
    about
        Names, beginning with @, of what the system tells about each message.

    Raises
    ------
    ParameterError
        If `fields` has other names with @.

    Examples
    --------
    >>> parser = Parser(Fields(key="pump"))
    >>> messages = [b'{"pump": "north", "value": 3}', b'{"pump": "south", "value": "high"}']
    >>> batch = parser.batch(["1", "2"], messages, received=0, position=2)
    >>> batch.keys, batch.values.tolist()
    (['north'], [3.0])
    >>> batch.rejected[0].reason
    "value: 'high' is not a number"

    """

    def __init__(self, fields: Fields, about: Sequence[str] = ()):
        if unknown := sorted(fields.of_system().difference(about)):
            known = ", ".join([*about, PAYLOAD])
            raise ParameterError(f"this source has no field {unknown[0]}, only {known}")
        self.fields = fields
        self._needs_about = bool(fields.of_system())
        self._unseen = set(fields.features)  # until a message has them, or that was logged

    def batch(
        self,
        ids: Sequence[str],
        messages: Sequence[bytes | Mapping[str, Any]],
        received: int,
        position: Any,
        about: Iterable[Mapping[str, Any]] = repeat({}),
    ) -> Batch:
        """Make a batch of messages; those that are not ticks are in its `rejected`.

        ids, about: of each message, its id and what the system tells about it.
        """
        fields, taken, rejected = self.fields, [], []
        values: list[float] = []
        keys: list[str] = []
        times: list[int] = []
        numbers: list[int] = []
        rows: list[list[float]] = []
        record: Mapping[str, Any] = {}
        for name, message, known in zip(ids, messages, about, strict=False):
            try:
                record = self._record(message)
                if self._needs_about:
                    record = {**record, **known}
                if self._unseen:
                    self._unseen.difference_update(record)
                value = _number(record, fields.value)
                key = "" if fields.key is None else _key(record, fields.key)
                time = 0 if fields.time is None else _time(record, fields.time)
                number = time
                if fields.sequence != fields.time:
                    number = 0 if fields.sequence is None else _whole(record, fields.sequence)
                row = [_number(record, each, None) for each in fields.features]
            except _NotATickError as error:
                rejected.append(Rejected.of(name, str(error), message))
                continue
            taken.append(name)
            values.append(value)
            keys.append(key)
            times.append(time)
            numbers.append(number)
            rows.append(row)
        if self._unseen and record:
            self._warn_of_unseen(record)
        columns = np.array(rows, np.float64).reshape(len(taken), len(fields.features)).T
        return Batch(
            np.array(values, np.float64),
            {name: column.copy() for name, column in zip(fields.features, columns, strict=True)},
            None if fields.time is None else np.array(times, np.int64),
            taken,
            None if fields.key is None else keys,
            taken,
            received,
            position,
            tuple(rejected),
            None if fields.sequence is None else np.array(numbers, np.int64),
        )

    def _record(self, message: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
        size = size_of(message)
        if size > self.fields.max_bytes:
            raise _NotATickError(f"{size} bytes, more than {self.fields.max_bytes}")
        if not isinstance(message, bytes):
            return message
        try:
            record = json.loads(message)
        except (ValueError, RecursionError) as error:
            raise _NotATickError(f"not JSON: {error}") from error
        if self.fields.value == PAYLOAD:
            return {PAYLOAD: record}
        if type(record) is not dict:
            raise _NotATickError(f"{_kind(record)}, not an object with fields")
        return record

    def _warn_of_unseen(self, record: Mapping[str, Any]) -> None:
        """Log features that no message has had; record: the fields of one of the messages."""
        names = [str(name) for name in islice(record, MAX_FIELDS_COMPARED)]
        for name in sorted(self._unseen):
            close = get_close_matches(name, names, 1)
            hint = f"; did you mean {shortened(close[0])}?" if close else ""
            _log.warning("no message so far has the field %r%s", name, hint)
        self._unseen.clear()


_REQUIRED: Any = object()


def _number(record: Mapping[str, Any], name: str, absent: Any = _REQUIRED) -> float:
    """A number; NaN for null and empty text, which stand for a missing one."""
    value = record.get(name, absent)
    if type(value) is float and math.isfinite(value):
        return value
    if value is _REQUIRED:
        raise _missing(record, name)
    if value is None or value == "" or value == b"":
        return math.nan
    label = "the message" if name == PAYLOAD else name
    if type(value) not in (float, int, str, bytes):
        raise _NotATickError(f"{label}: {_kind(value)}, not a number")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise _NotATickError(f"{label}: {shortened(value)} is not a number") from error
    if not math.isfinite(number):
        raise _NotATickError(f"{label}: {shortened(value)} is not a number")
    return number


def _key(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name, _REQUIRED)
    if value is _REQUIRED:
        raise _missing(record, name)
    if type(value) is bytes:
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise _NotATickError(f"{name}: {shortened(value)} is not UTF-8") from error
    elif type(value) is int:
        value = str(value)
    if value == "":
        raise _NotATickError(f"{name}: empty")
    if type(value) is not str:
        raise _NotATickError(f"{name}: {_kind(value)}, not text")
    if len(value) > MAX_KEY_CHARACTERS:
        raise _NotATickError(f"{name}: {len(value)} characters, more than {MAX_KEY_CHARACTERS}")
    if "\0" in value:  # databases cannot store it
        raise _NotATickError(f"{name}: {shortened(value)} has a zero byte")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON allows
        raise _NotATickError(f"{name}: {shortened(value)} is not Unicode") from error
    return value


def _whole(record: Mapping[str, Any], name: str) -> int:
    """A whole number of 64 bits."""
    value = record.get(name, _REQUIRED)
    if value is _REQUIRED:
        raise _missing(record, name)
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or type(value) in (bool, float) or abs(number) > _LATEST:
        raise _NotATickError(f"{name}: {shortened(value)} is not a whole number")
    return number


def _time(record: Mapping[str, Any], name: str) -> int:
    """Nanoseconds since 1970."""
    value = record.get(name, _REQUIRED)
    if value is _REQUIRED:
        raise _missing(record, name)
    if type(value) is bytes:
        value = value.decode(errors="replace")
    if type(value) not in (int, float, str):
        raise _NotATickError(f"{name}: {_kind(value)}, not a time")
    try:
        time = _since_1970(value)
    except (ValueError, OverflowError) as error:
        raise _NotATickError(f"{name}: {shortened(value)} is not a time") from error
    if abs(time) > _LATEST:
        raise _NotATickError(f"{name}: {shortened(value)} is not a time from 1677 to 2262")
    return time


def _since_1970(value: float | str) -> int:
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                moment = datetime.fromisoformat(str(value))
                moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
                return (moment - _EPOCH) // _MICROSECOND * 1000
    size = abs(value)
    unit = 10**9 if size < 1e11 else 10**6 if size < 1e14 else 1000 if size < 1e17 else 1
    return round(value * unit)


def _missing(record: Mapping[str, Any], name: str) -> _NotATickError:
    """The error for a field that a message lacks, with the fields that it has."""
    names = tuple(str(each)[:100] for each in islice(record, MAX_FIELDS_COMPARED))
    return _NotATickError(f"{name}: missing; {_described(name, names)}")


@lru_cache(maxsize=64)  # messages of a stream mostly have the same fields
def _described(name: str, names: tuple[str, ...]) -> str:
    """The first fields of a message, those that resemble a name before the others."""
    if not names:
        return "the message has no fields"
    close = get_close_matches(name, names, MAX_FIELDS_NAMED)
    first = [*dict.fromkeys([*close, *names])][:MAX_FIELDS_NAMED]
    more = ", ..." if len(names) > len(first) else ""
    return f"the message has {', '.join(map(shortened, first))}{more}"


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", bool: "true or false", str: "text"}
    return "null" if value is None else names.get(type(value), "a number")
