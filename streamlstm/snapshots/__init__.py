"""Snapshots: models saved to files and loaded again, equal to the last bit.

`save` and `load` are in `streamlstm` itself; `Snapshots` keeps the last snapshots of a run.
"""

from .directory import Snapshots
from .snapshot import Snapshot, load, save

__all__ = ["Snapshot", "Snapshots", "load", "save"]
