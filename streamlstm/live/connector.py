"""The contract of connectors: where ticks come from, and where forecasts go.

A connector is a class found by the scheme of an address, through the entry points
`streamlstm.sources` and `streamlstm.sinks`; see docs/connectors.md. It knows one system and
nothing of models. The runner calls it from one thread and owns reconnecting, back-pressure and
what is acknowledged when.
"""

from importlib.metadata import entry_points
from typing import Any, Protocol, Self

import numpy as np

from ..errors import ParameterError
from .address import Address
from .batch import Batch
from .payload import Fields


class Source(Protocol):
    """Ticks, those of a stream in an order that is the same whenever they are delivered.

    Some systems read again from any position, others deliver again what was not acknowledged, and
    others do neither; docs/connectors.md says what each means for a run. A position is of use where
    the system knows positions, and else only to acknowledge within one connection.

    A source of a system that delivers only so much before something is acknowledged may have an
    attribute `is_full`, true while that is near: the runner then makes a snapshot at once.

    Every method may raise a ConnectionError, upon which the runner calls `close`, waits, and calls
    `open` with the position of the last batch it has. Any other error ends the run.
    """

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        """Make one; does not connect. ParameterError for what the system does not know."""
        ...

    def open(self, position: Any) -> Any:
        """Connect, and stand behind a position.

        Without one, None, behind what was acknowledged last, else where the address says. Returns
        the position where it stands, of what a snapshot can hold: numbers, text, lists, dicts.
        """
        ...

    def read(self, ticks: int, seconds: float) -> Batch | None:
        """What has arrived, at most so many messages; waits for the first so long, then None.

        The batch has `ids`, `received` and `position`, and may be of rejected messages alone.
        EndOfStream once nothing will ever come.
        """
        ...

    def acknowledge(self, position: Any) -> None:
        """Tell the system that all up to a position, of a batch or of `open`, is not needed again.

        It is called once a snapshot holds the ticks, or without snapshots once their forecasts are
        written.
        """
        ...

    def close(self) -> None:
        """Let the connection go, in whatever state; raises nothing. `open` may follow."""
        ...


class Sink(Protocol):
    """Forecasts on their way out; errors as for a `Source`."""

    @classmethod
    def from_address(cls, address: Address) -> Self:
        """Make one; does not connect. ParameterError for what the system does not know."""
        ...

    def open(self) -> None:
        """Connect."""
        ...

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None) -> None:
        """Hand over a batch, and return when the system has it.

        forecasts: (T, K) of the values that follow each tick in its stream; bounds: (T, 2, K) ends
        of intervals around them, if there are any. The ids of the batch tell those apart that are
        handed over twice.
        """
        ...

    def close(self) -> None:
        """Let the connection go, in whatever state; raises nothing. `open` may follow."""
        ...


def connector(kind: str, address: Address) -> Any:
    """The class for an address, of "source" or "sink"."""
    known = entry_points(group=f"streamlstm.{kind}s")
    if address.scheme in known.names:
        return known[address.scheme].load()
    raise ParameterError(f"no {kind} is installed for {address.scheme}://, of {address}")
