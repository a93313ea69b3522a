"""Snapshots: save models to files and load them again, equal to the last bit.

`save` and `load` are also in `streamlstm`; `Snapshots` keeps the newest snapshots of a run.
"""

from .directory import Snapshots
from .snapshot import Snapshot, load, save

__all__ = ["Snapshot", "Snapshots", "load", "save"]
