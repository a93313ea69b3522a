"""A live run and its server, killed again and again while 10,000 ticks go through."""

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
AHEAD = 500  # ticks sent and not yet forecast, so that some are left for after the last kill
KILLS = 13  # the fourth, eighth and twelfth of the server
SECONDS = 60  # for all of it


def killed_and_counted(
    source, sink, folder, send, delivered, server=None, fields=(), seconds=SECONDS
):
    """Let a model count 10,000 ticks; kill its process ten times and the server three times.

    source, sink: addresses. send: gives the system tick n, `{"key": "a", "value": n}`, and returns
    True once it surely has it, perhaps twice. delivered: the ids of the forecasts so far, in order.
    server: what has `kill` and `start`, if it is to be killed. fields: arguments of
    live_counter.py. Returns the values in the model and the ids delivered once all are.
    """
    ended = threading.Event()
    seen = 0

    def arrived():
        nonlocal seen
        seen = len(set(delivered()))
        return seen

    def produce():
        for n in range(TICKS):
            while not ended.is_set() and (n > seen + AHEAD or not send(n)):
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
