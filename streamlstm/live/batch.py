"""Batches of ticks, as they flow from a source to a model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, Literal, NamedTuple, Self

import numpy as np

MAX_PAYLOAD_CHARACTERS = 2000  # of a rejected message that are kept


class EndOfStream(Exception):  # noqa: N818, as StopIteration it is no error
    """The source has ended: no more ticks will come."""


class Rejected(NamedTuple):
    """A message that is not a tick."""

    id: str
    reason: str
    payload: str  # the message, or its beginning if it is long
    size: int  # of the whole message, in bytes

    @classmethod
    def of(cls, id: str, reason: str, message: bytes | Mapping[str, Any]) -> Self:
        """Make one from a message, which is cut off if it is long."""
        most = MAX_PAYLOAD_CHARACTERS
        if isinstance(message, bytes):
            text = message[: 4 * most].decode(errors="replace")
        else:
            text = str({name: shortened(value, most) for name, value in message.items()})
        return cls(id, reason, text[:most], size_of(message))


@dataclass(frozen=True, slots=True)
class Batch:
    """T consecutive ticks of one stream or of several.

    Live sources and recorded files both yield batches. The fields from `ids` on are filled in by
    live sources.
    """

    values: np.ndarray  # (T,) float64, NaN where missing
    features: dict[str, np.ndarray]  # (T,) float64 each, known together with the values
    timestamps: np.ndarray | None  # (T,) int64, nanoseconds since 1970 UTC
    labels: list[str]  # timestamps as the source wrote them, or row numbers
    keys: list[str] | None = None  # the stream of each tick; None if there is only one
    ids: list[str] | None = None  # of the messages; a message delivered again has the same id
    received: int | None = None  # when the batch arrived, nanoseconds since 1970 UTC
    position: Any = None  # of the source after this batch; None in a part of a batch
    rejected: tuple[Rejected, ...] = ()  # messages that arrived with these but are not ticks
    sequence: np.ndarray | None = None  # (T,) int64, grows within a stream unless a tick is late
    missed: int = 0  # ticks that the source knows were lost before or within this batch

    def __len__(self) -> int:
        return self.values.size

    def part(self, start: int, stop: int) -> "Batch":
        """Ticks `start` to `stop - 1`, without a position and rejected messages."""
        ticks = slice(start, stop)
        return Batch(
            self.values[ticks],
            {name: column[ticks] for name, column in self.features.items()},
            None if self.timestamps is None else self.timestamps[ticks],
            self.labels[ticks],
            None if self.keys is None else self.keys[ticks],
            None if self.ids is None else self.ids[ticks],
            self.received,
            sequence=None if self.sequence is None else self.sequence[ticks],
        )

    def chosen(self, mask: np.ndarray) -> "Batch":
        """The ticks where a mask (T,) is true, with the position of the whole batch."""
        return replace(
            self,
            values=self.values[mask],
            features={name: column[mask] for name, column in self.features.items()},
            timestamps=None if self.timestamps is None else self.timestamps[mask],
            labels=list(compress(self.labels, mask)),
            keys=None if self.keys is None else list(compress(self.keys, mask)),
            ids=None if self.ids is None else list(compress(self.ids, mask)),
            sequence=None if self.sequence is None else self.sequence[mask],
        )


def iso(times: np.ndarray, fraction: bool | None = None) -> list[str]:
    """Format times (T,), nanoseconds since 1970, as ISO 8601 in UTC.

    fraction: whether to write nanoseconds; by default only if a time needs them.
    """
    moments = times.view("datetime64[ns]")
    if fraction is None:
        fraction = bool((times % 1_000_000_000).any())
    unit: Literal["ns", "s"] = "ns" if fraction else "s"
    return np.datetime_as_string(moments, unit=unit, timezone="UTC").tolist()


def size_of(message: bytes | Mapping[str, Any]) -> int:
    """Bytes of a message, or of the texts in its fields."""
    if isinstance(message, bytes):
        return len(message)
    return sum(len(value) for value in message.values() if isinstance(value, (str, bytes)))


def shortened(value: Any, most: int = 40) -> str:
    """The repr of a value, with at most so many characters of it."""
    if isinstance(value, bytes):
        value = value[:most].decode(errors="replace")
    if isinstance(value, str):
        return repr(value[:most])
    try:
        return repr(value)[:most]
    except ValueError:  # Python refuses to print an integer with too many digits
        return "a huge number"
