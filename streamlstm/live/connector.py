"""The contract of connectors: `Source`, where ticks come from, and `Sink`, where forecasts go.

Write a class with the methods of one of them, hand it to `LiveRun`, and test it with
`streamlstm.live.contract`; examples/jsonl_connector.py is a template. Methods may name their
parameters as they like.

A connector that also has an address is found by the scheme of the address, through the entry points
`streamlstm.sources` and `streamlstm.sinks`; see docs/connectors.md.

A connector knows one system and nothing about models. A live run calls it from one thread, and
takes care of reconnecting, of back-pressure and of when to acknowledge.
"""

from importlib.metadata import entry_points
from typing import Any, Literal, Protocol, overload

import numpy as np

from ..errors import ParameterError
from .address import Address
from .batch import Batch
from .payload import Fields


class Source(Protocol):
    """A stream of ticks, which come in the same order whenever they are delivered.

    Some systems can be read again from any position. Others deliver again what was not
    acknowledged. Others do neither. docs/connectors.md says what this means for a run. If the
    system knows no positions, a position only says what to acknowledge on the same connection.

    A source whose system delivers only a limited number of ticks before one is acknowledged may
    have an attribute `is_full`. While it is true, a run makes a snapshot at once.

    Every method may raise a `ConnectionError`. The run then calls `close`, waits, and calls `open`
    with the position of the last batch that it has. Any other error ends the run.
    """

    def open(self, position: Any, /) -> Any:
        """Connect, and go to a position.

        If the position is None, go to the first tick that was not acknowledged, or, if none was
        ever acknowledged, to where the address says. Return the position, made of what a snapshot
        can hold: numbers, text, lists and dicts.
        """
        ...

    def read(self, max_ticks: int, timeout: float, /) -> Batch | None:
        """Return what has arrived, at most `max_ticks` messages.

        Wait for the first message for up to `timeout` seconds, then return None. The batch has
        `ids`, `received` and `position`, and may consist of rejected messages only. Raise
        `EndOfStream` once nothing will ever come again.
        """
        ...

    def acknowledge(self, position: Any, /) -> None:
        """Tell the system that nothing up to a position, of a batch or of `open`, is needed again.

        A run calls this once a snapshot holds the ticks, or, if it makes no snapshots, once the
        sink has their forecasts.
        """
        ...

    def close(self) -> None:
        """Disconnect, in whatever state; raise nothing. `open` may follow."""
        ...


class Sink(Protocol):
    """A destination of forecasts; errors are handled as those of a `Source`."""

    def open(self) -> None:
        """Connect."""
        ...

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None, /) -> None:
        """Deliver forecasts, and return when the system has them.

        forecasts: (T, K) values predicted to follow each tick in its stream. bounds: (T, 2, K)
        lower and upper ends of their intervals, or None. The ids of the batch tell the system which
        forecasts it is given twice.
        """
        ...

    def close(self) -> None:
        """Disconnect, in whatever state; raise nothing. `open` may follow."""
        ...


class SourceFactory(Protocol):
    """What an entry point of `streamlstm.sources` names: usually a class that is a `Source`."""

    def from_address(self, address: Address, fields: Fields, /) -> Source:
        """Make a source without connecting; ParameterError if the system has no such thing."""
        ...


class SinkFactory(Protocol):
    """What an entry point of `streamlstm.sinks` names: usually a class that is a `Sink`."""

    def from_address(self, address: Address, /) -> Sink:
        """Make a sink without connecting; ParameterError if the system has no such thing."""
        ...


@overload
def connector(kind: Literal["source"], address: Address) -> SourceFactory: ...
@overload
def connector(kind: Literal["sink"], address: Address) -> SinkFactory: ...
def connector(kind: str, address: Address) -> Any:
    """Return the class of the "source" or "sink" for an address."""
    known = entry_points(group=f"streamlstm.{kind}s")
    if address.scheme in known.names:
        return known[address.scheme].load()
    raise ParameterError(
        f"no {kind} is installed for {address.scheme}://, the scheme of {address}; "
        f"installed are {', '.join(sorted(known.names))}"
    )
