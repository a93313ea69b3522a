"""A live run and its server, killed again and again while the run learns 10,000 ticks."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from servers import wait_until

from streamlstm.snapshots import Snapshots

TICKS = 10_000
MAX_UNANSWERED = 500  # ticks sent without a forecast, so that some are left for the last run
KILLS = 13  # the 4th, 8th and 12th kill the server
TIMEOUT_SECONDS = 60


def killed_and_counted(
    source, sink, folder, send, delivered, server=None, fields=(), seconds=TIMEOUT_SECONDS
):
    """Let a model learn 10,000 ticks; kill its process ten times and the server three times.

    source, sink: addresses. send: sends tick n, `{"key": "a", "value": n}`, to the system, and
    returns True once that has it for sure, perhaps twice. delivered: returns the ids of the
    forecasts so far, in order. server: has `kill` and `start`; None if it is not to be killed.
    fields: arguments of live_counter.py. Returns the values that the model learned and the ids of
    all forecasts.
    """
    ended = threading.Event()
    seen = 0

    def arrived():
        nonlocal seen
        seen = len(set(delivered()))
        return seen

    def produce():
        for n in range(TICKS):
            while not ended.is_set() and (n > seen + MAX_UNANSWERED or not send(n)):
                time.sleep(0.01)

    def start():
        program = Path(__file__).with_name("live_counter.py")
        return subprocess.Popen(
            [sys.executable, program, source, sink, folder / "state", *fields],
            stderr=log,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )

    producer = threading.Thread(target=produce)
    with (folder / "log").open("w") as log, ExitStack() as stack:
        run = start()
        stack.callback(lambda: run.poll() is None and run.kill())
        stack.callback(ended.set)
        producer.start()
        for kill in range(1, KILLS + 1):
            share = kill * TICKS // (KILLS + 2)
            wait_until(lambda share=share: arrived() >= share, seconds)
            time.sleep(random.uniform(0, 0.05))
            if kill % 4 == 0 and server is not None:
                server.kill()
                time.sleep(0.1)
                server.start()
            else:
                run.kill()
                run.wait()
                run = start()
        wait_until(lambda: arrived() == TICKS, seconds)
        producer.join()
        run.send_signal(signal.SIGTERM)
        assert run.wait(10) == 0
    with Snapshots(folder / "state") as snapshots:
        return snapshots.load().model.values, delivered()
