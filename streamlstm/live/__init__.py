"""Live runs: ticks from a source, forecasts to a sink.

Connectors are built from the names below; `streamlstm.live.contract` holds the tests that each of
them has to pass. `LiveRun` and `replay`, which use connectors, are in `streamlstm` itself.
"""

from .address import Address
from .batch import Batch, EndOfStream, Rejected, iso
from .connector import Sink, SinkFactory, Source, SourceFactory
from .history import History
from .payload import PAYLOAD, Fields, Parser

__all__ = [
    "PAYLOAD",
    "Address",
    "Batch",
    "EndOfStream",
    "Fields",
    "History",
    "Parser",
    "Rejected",
    "Sink",
    "SinkFactory",
    "Source",
    "SourceFactory",
    "iso",
]
