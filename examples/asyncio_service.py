"""Forecasts in an asyncio service: the event loop handles ticks and forecasts, a thread learns.

Run with `python examples/asyncio_service.py`. It prints a forecast for each tick of three pumps
and, at the end, how long the loop was kept from other work. Stop it with Ctrl-C or `--ticks N`.
With `--metrics-port 9000`, which needs `pip install 'streamlstm[prometheus]'`, Prometheus finds the
counters of the run at http://localhost:9000/metrics.
"""

import argparse
import asyncio
import contextlib
import math
import random

from streamlstm import ForecasterFleet, LiveRun, LSTMForecaster
from streamlstm.live import Fields
from streamlstm.live.iterable import IterableSource
from streamlstm.live.metrics import collector

TIMEOUT = 5.0  # seconds that the sink waits for somebody to take forecasts


async def readings(pause=0.01):
    """Yield ticks, as your source would: a client's messages, a queue, a web socket."""
    n = 0
    while True:
        for pump, size in [("north", 1), ("south", 5), ("west", 20)]:
            yield {"pump": pump, "flow": size * (2 + math.sin(n / 5)) + random.gauss(0, 0.1)}
        n += 1
        await asyncio.sleep(pause)


class QueueSink:
    """Puts forecasts into an asyncio queue, a batch at a time; while it is full, learning waits."""

    def __init__(self, queue, loop):
        self._queue = queue
        self._loop = loop

    def open(self):
        """There is nothing to connect."""

    def write(self, batch, forecasts, bounds):
        """Put a list of (id, key, forecasts)."""
        rows = [*zip(batch.ids, batch.keys, forecasts.tolist(), strict=True)]
        putting = asyncio.run_coroutine_threadsafe(self._queue.put(rows), self._loop)
        try:
            putting.result(TIMEOUT)
        except TimeoutError as error:
            putting.cancel()
            raise ConnectionError("nobody takes the forecasts") from error  # LiveRun tries again

    def close(self):
        """There is nothing to disconnect."""


async def forecasts_of(run, queue):
    """Yield forecasts as they are made; leaving the `async for` stops the run."""

    async def learn():
        try:
            await asyncio.to_thread(run.run)
        finally:
            await queue.put(None)

    learning, rows = asyncio.create_task(learn()), []
    try:
        while (rows := await queue.get()) is not None:
            for row in rows:
                yield row
    finally:
        run.stop()
        while rows is not None:  # the sink may be waiting for room in the queue
            rows = await queue.get()
        await learning


def serve_metrics(run, port):
    """Answer GET /metrics, in a thread."""
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(collector(run))
    return start_http_server(port, registry=registry)[0]


async def watch(lags, pause=0.005):
    """Note how late the loop wakes up, in seconds."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + pause
        await asyncio.sleep(pause)
        lags.append(loop.time() - due)


async def serve(ticks=None, state=None, pause=0.01, metrics_port=None):
    """Print forecasts of so many ticks, or until stopped; return how late the loop was, sorted."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue(10)
    source = IterableSource(readings(pause), Fields("flow", key="pump"), loop)
    model = ForecasterFleet(LSTMForecaster(hidden_size=8, preset="fast", season=None))
    run = LiveRun(model, source, QueueSink(queue, loop), state, horizon=3)
    server = None if metrics_port is None else serve_metrics(run, metrics_port)
    printed, lags = 0, []
    watching = asyncio.create_task(watch(lags))
    async with contextlib.aclosing(forecasts_of(run, queue)) as forecasts:
        async for name, pump, values in forecasts:
            print(name, pump, [round(value, 2) for value in values])
            printed += 1
            if printed == ticks:
                break
    watching.cancel()
    if server is not None:
        server.shutdown()
        server.server_close()
    return sorted(lags)


def main():
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, help="stop after this many")
    parser.add_argument("--state", help="directory of snapshots to continue from")
    parser.add_argument("--metrics-port", type=int, help="port to serve /metrics on")
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        lags = asyncio.run(serve(given.ticks, given.state, metrics_port=given.metrics_port))
        middle, late = (1000 * lags[int(share * len(lags))] for share in (0.5, 0.99))
        print(f"the loop was late by {middle:.1f} ms, 1% of the time by {late:.1f} ms or more")


if __name__ == "__main__":
    main()
