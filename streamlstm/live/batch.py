"""What flows from a source to a forecaster: ticks, as many as have arrived."""

from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, Literal, NamedTuple

import numpy as np


class EndOfStream(Exception):  # noqa: N818, as StopIteration it is no error
    """Nothing more will come of a source."""


class Rejected(NamedTuple):
    """A message that is no tick."""

    id: str
    reason: str
    payload: str  # as it came, or its beginning
    size: int  # bytes of all of it


@dataclass(frozen=True, slots=True)
class Batch:
    """T consecutive ticks of one stream, or of several.

    A source is anything that yields batches; live and replayed streams look the same. What stands
    last comes from live sources.
    """

    values: np.ndarray  # (T,) float64, NaN where missing
    features: dict[str, np.ndarray]  # (T,) float64 each, as they arrived with the values
    timestamps: np.ndarray | None  # (T,) int64 nanoseconds since 1970 UTC
    labels: list[str]  # the timestamps as the source wrote them, or the numbers of the rows
    keys: list[str] | None = None  # the stream of each tick, where a source has several
    ids: list[str] | None = None  # of the ticks' messages, the same whenever they are delivered
    received: int | None = None  # when they arrived here, nanoseconds since 1970 UTC
    position: Any = None  # of the source behind them; a part of a batch has none
    rejected: tuple[Rejected, ...] = ()  # messages among them that are no ticks
    sequence: np.ndarray | None = None  # (T,) int64, grow within each stream; what does not is late
    missed: int = 0  # ticks before or among them that the source knows to be lost

    def __len__(self) -> int:
        return self.values.size

    def part(self, start: int, stop: int) -> "Batch":
        """Those from one on, up to before another."""
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
        """Those where a mask (T,) is true; the position is behind all of them."""

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
    """Nanoseconds since 1970, (T,), as text in UTC, by default with a fraction if one has one."""
    moments = times.view("datetime64[ns]")
    if fraction is None:
        fraction = bool((times % 1_000_000_000).any())
    unit: Literal["ns", "s"] = "ns" if fraction else "s"
    return np.datetime_as_string(moments, unit=unit, timezone="UTC").tolist()
