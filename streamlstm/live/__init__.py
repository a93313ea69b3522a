"""Live runs: ticks from a source, forecasts to a sink.

Connectors are built from the names below; `streamlstm.live.contract` holds the tests that each of
them has to pass. `LiveRun` and `replay`, which use connectors, are in `streamlstm` itself.
"""

from .address import Address
from .batch import Batch, EndOfStream, Rejected, iso
from .connector import Sink, SinkFactory, Source, SourceFactory
from .history import History
from .iterable import IterableSource
from .pace import Pace, check_speed, paced, sleep_until
from .payload import PAYLOAD, Fields, Parser

__all__ = [
    "PAYLOAD",
    "Address",
    "Batch",
    "EndOfStream",
    "Fields",
    "History",
    "IterableSource",
    "Pace",
    "Parser",
    "Rejected",
    "Sink",
    "SinkFactory",
    "Source",
    "SourceFactory",
    "check_speed",
    "iso",
    "paced",
    "sleep_until",
]
