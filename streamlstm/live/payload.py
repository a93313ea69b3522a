"""Messages as ticks: which of their fields is what, and what is not a tick.

Fields come as JSON has them or as text, which numbers may be, too. docs/connectors.md lists what is
rejected.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any

import numpy as np

from ..errors import ParameterError
from .batch import Batch, Rejected

SHOWN = 2000  # characters of a rejected message that are kept
LONGEST_KEY = 500  # characters; it may become the name of a topic
PAYLOAD = "@payload"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LATEST = 2**63 - 1  # nanoseconds


@dataclass(frozen=True)
class Fields:
    """Names of a message's fields.

    value: of the value to forecast. key: of the name of the tick's stream. time: of its timestamp,
    ISO 8601, UTC if it says no zone, or seconds, milliseconds, microseconds or nanoseconds since
    1970, told apart by size. features: of further numbers. sequence: of a whole number that grows
    within a stream, which tells ticks that are new from those that come again or too late; may be
    the time. longest: bytes of a message.

    A name that begins with @ is what a system says of a message, such as @topic. @payload is the
    whole message, where it is nothing but a number.

    Raises ParameterError if a name is empty or stands twice.
    """

    value: str = "value"
    key: str | None = None
    time: str | None = None
    features: tuple[str, ...] = ()
    sequence: str | None = None
    longest: int = 1 << 20

    def __post_init__(self) -> None:
        given = self._names()
        if "" in given or self.sequence == "":
            raise ParameterError("a field's name is empty")
        if twice := [name for name in given if given.count(name) > 1]:
            raise ParameterError(f"the field {twice[0]!r} is to be two things")
        inside = [name for name in (*given, self.sequence or "@") if not name.startswith("@")]
        if self.value == PAYLOAD and inside:
            raise ParameterError(f"a message that is only a number has no field {inside[0]!r}")

    def _names(self) -> list[str]:
        names = [self.value, self.key, self.time, *self.features]
        return [name for name in names if name is not None]

    def of_system(self) -> set[str]:
        """Names of what the system says of a message."""
        names = {*self._names(), self.sequence or PAYLOAD}
        return {name for name in names if name.startswith("@")} - {PAYLOAD}


class _NoTickError(Exception):
    """Says what is wrong with a message."""


class Parser:
    """Makes batches of messages.

    about: what the system says of each, names with @. ParameterError if fields name other ones.

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
            raise ParameterError(f"there is no {unknown[0]} here, only {known}")
        self.fields = fields
        self._needs_about = bool(fields.of_system())

    def batch(
        self,
        ids: Sequence[str],
        messages: Sequence[bytes | Mapping[str, Any]],
        received: int,
        position: Any,
        about: Iterable[Mapping[str, Any]] = repeat({}),
    ) -> Batch:
        """The ticks of messages, JSON or fields that are apart already, and those rejected.

        about: what the system says of each message.
        """
        fields, taken, rejected = self.fields, [], []
        values: list[float] = []
        keys: list[str] = []
        times: list[int] = []
        numbers: list[int] = []
        rows: list[list[float]] = []
        for name, message, said in zip(ids, messages, about, strict=False):
            try:
                record = self._record(message)
                if self._needs_about:
                    record = {**record, **said}
                value = _number(record, fields.value)
                key = "" if fields.key is None else _key(record, fields.key)
                time = 0 if fields.time is None else _time(record, fields.time)
                number = time
                if fields.sequence != fields.time:
                    number = 0 if fields.sequence is None else _whole(record, fields.sequence)
                row = [_number(record, each, None) for each in fields.features]
            except _NoTickError as error:
                rejected.append(_rejected(name, str(error), message))
                continue
            taken.append(name)
            values.append(value)
            keys.append(key)
            times.append(time)
            numbers.append(number)
            rows.append(row)
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
        size = _size(message)
        if size > self.fields.longest:
            raise _NoTickError(f"{size} bytes, more than {self.fields.longest}")
        if not isinstance(message, bytes):
            return message
        try:
            record = json.loads(message)
        except (ValueError, RecursionError) as error:
            raise _NoTickError(f"no JSON: {error}") from error
        if self.fields.value == PAYLOAD:
            return {PAYLOAD: record}
        if type(record) is not dict:
            raise _NoTickError(f"{_kind(record)}, not an object with fields")
        return record


_REQUIRED: Any = object()


def _number(record: Mapping[str, Any], name: str, absent: Any = _REQUIRED) -> float:
    """A number, NaN for one that is missing: null or empty text."""
    value = record.get(name, absent)
    if type(value) is float and math.isfinite(value):
        return value
    label = "the message" if name == PAYLOAD else name
    if value is _REQUIRED:
        raise _NoTickError(f"{label}: missing")
    if value is None or value == "" or value == b"":
        return math.nan
    if type(value) not in (float, int, str, bytes):
        raise _NoTickError(f"{label}: {_kind(value)}, not a number")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise _NoTickError(f"{label}: {_short(value)} is not a number") from error
    if not math.isfinite(number):
        raise _NoTickError(f"{label}: {_short(value)} is not a number")
    return number


def _key(record: Mapping[Any, Any], name: str) -> str:
    value = record.get(name, _REQUIRED)
    if type(value) is bytes:
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise _NoTickError(f"{name}: {_short(value)} is not UTF-8") from error
    elif type(value) is int:
        value = str(value)
    if value is _REQUIRED or value == "":
        raise _NoTickError(f"{name}: missing")
    if type(value) is not str:
        raise _NoTickError(f"{name}: {_kind(value)}, not text")
    if len(value) > LONGEST_KEY:
        raise _NoTickError(f"{name}: {len(value)} characters, more than {LONGEST_KEY}")
    if "\0" in value:
        raise _NoTickError(f"{name}: {_short(value)} has a zero byte")  # no database's text has one
    try:
        value.encode()
    except UnicodeEncodeError as error:  # half a pair, which JSON may have
        raise _NoTickError(f"{name}: {_short(value)} is not Unicode") from error
    return value


def _whole(record: Mapping[str, Any], name: str) -> int:
    """A whole number of 64 bits."""
    value = record.get(name, _REQUIRED)
    if value is _REQUIRED:
        raise _NoTickError(f"{name}: missing")
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or type(value) in (bool, float) or abs(number) > _LATEST:
        raise _NoTickError(f"{name}: {_short(value)} is not a whole number")
    return number


def _time(record: Mapping[Any, Any], name: str) -> int:
    """Nanoseconds since 1970."""
    value = record.get(name, _REQUIRED)
    if value is _REQUIRED:
        raise _NoTickError(f"{name}: missing")
    if type(value) is bytes:
        value = value.decode(errors="replace")
    if type(value) not in (int, float, str):
        raise _NoTickError(f"{name}: {_kind(value)}, not a time")
    try:
        time = _since_1970(value)
    except (ValueError, OverflowError) as error:
        raise _NoTickError(f"{name}: {_short(value)} is not a time") from error
    if abs(time) > _LATEST:
        raise _NoTickError(f"{name}: {_short(value)} is not a time from 1677 to 2262")
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


def _size(message: bytes | Mapping[str, Any]) -> int:
    if isinstance(message, bytes):
        return len(message)
    return sum(len(value) for value in message.values() if isinstance(value, (str, bytes)))


def _rejected(name: str, reason: str, message: bytes | Mapping[str, Any]) -> Rejected:
    if isinstance(message, bytes):
        text = message[: 4 * SHOWN].decode(errors="replace")
    else:
        text = str({field: _short(value, SHOWN) for field, value in message.items()})
    return Rejected(name, reason, text[:SHOWN], _size(message))


def _short(value: Any, longest: int = 40) -> str:
    """As Python writes it, of text its beginning."""
    if isinstance(value, bytes):
        value = value[:longest].decode(errors="replace")
    if isinstance(value, str):
        return repr(value[:longest])
    try:
        return repr(value)[:longest]
    except ValueError:  # too many digits
        return "a huge number"


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", bool: "true or false", str: "text"}
    return "null" if value is None else names.get(type(value), "a number")
