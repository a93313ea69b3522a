"""A live run of a model that only records what it learns, until it is stopped or killed.

Usage: live_counter.py SOURCE SINK STATE [NAME=FIELD ...], where NAME is one of `Fields`; by default
the key is the field "key".
"""

import logging
import signal
import sys
import threading

import numpy as np

from streamlstm.live.address import Address
from streamlstm.live.connector import connector
from streamlstm.live.payload import Fields
from streamlstm.live.run import LiveRun
from streamlstm.snapshots import encoding


class Counter:
    """A model that records the values of its ticks in the order of learning."""

    def __init__(self):
        self.values = []
        self._lock = threading.Lock()

    def learn_many(self, keys, values, features, timestamps, horizon, interval):
        self.values += map(int, values)
        return np.column_stack([values] * horizon)

    def forecast(self, horizon, keys):
        return np.zeros((len(keys), horizon))

    def _state(self):
        return {"values": self.values}

    def __setstate__(self, state):
        self.__init__()
        self.values = state["values"]

    def _parameters(self):
        return {}

    def _restore(self, other):
        self.values = other.values


encoding._MODULES["Counter"] = "live_counter"  # so that a snapshot can hold one


def learn(run, ticks):
    """Let a run learn a number of ticks; fail if they do not arrive."""
    late = threading.Timer(20, run.stop)
    late.start()
    run.run(ticks)
    late.cancel()
    assert run.metrics.ticks == ticks


def main(source, sink, state, *fields):
    logging.basicConfig()
    source, sink = Address(source), Address(sink)
    named = {"key": "key"} | dict(each.split("=") for each in fields)
    run = LiveRun(
        Counter(),
        connector("source", source).from_address(source, Fields(**named)),
        connector("sink", sink).from_address(sink),
        state,
        batch_ticks=100,
        snapshot_seconds=0.05,
    )
    signal.signal(signal.SIGTERM, lambda *_: run.stop())
    run.run()


if __name__ == "__main__":
    sys.modules["live_counter"] = sys.modules["__main__"]
    main(*sys.argv[1:])
