"""Forecasts in an asyncio service: ticks come and go on its event loop, learning is in a thread.

Run with `python examples/asyncio_service.py`; it prints a forecast for each tick of three pumps,
and how long the loop was kept from other work. Ctrl-C ends it, as does `--ticks N`.
"""

import argparse
import asyncio
import contextlib
import math
import random

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.live import Fields
from streamlstm.live.iterable import IterableSource
from streamlstm.live.run import LiveRun

SECONDS = 5.0  # for whoever takes the forecasts


async def readings(pause=0.01):
    """Stands for your source: a client's messages, a queue, a web socket."""
    n = 0
    while True:
        for pump, size in [("north", 1), ("south", 5), ("west", 20)]:
            yield {"pump": pump, "flow": size * (2 + math.sin(n / 5)) + random.gauss(0, 0.1)}
        n += 1
        await asyncio.sleep(pause)


class QueueSink:
    """Hands forecasts to an asyncio queue, a batch at a time; while it is full, learning waits."""

    def __init__(self, queue, loop):
        self._queue = queue
        self._loop = loop

    def open(self):
        """Nothing to connect."""

    def write(self, batch, forecasts, bounds):
        """Put a list of (id, key, forecasts)."""
        rows = [*zip(batch.ids, batch.keys, forecasts.tolist(), strict=True)]
        putting = asyncio.run_coroutine_threadsafe(self._queue.put(rows), self._loop)
        try:
            putting.result(SECONDS)
        except TimeoutError as error:
            putting.cancel()
            raise ConnectionError("nobody takes the forecasts") from error  # tried again

    def close(self):
        """Nothing to let go."""


async def forecasts_of(source, model, **options):
    """Forecasts as they are made, for `async for`; to leave it ends the run."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue(10)
    run = LiveRun(model, source, QueueSink(queue, loop), **options)

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
        while rows is not None:  # the sink may be waiting
            rows = await queue.get()
        await learning


async def watch(lags, pause=0.005):
    """Note how late the loop is in coming back, in seconds."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + pause
        await asyncio.sleep(pause)
        lags.append(loop.time() - due)


async def serve(ticks=None, state=None, pause=0.01):
    """Publish forecasts, until so many; returns how late the loop was, sorted."""
    source = IterableSource(readings(pause), Fields("flow", key="pump"), asyncio.get_running_loop())
    model = ForecasterFleet(LSTMForecaster(hidden_size=8, preset="fast", season=None))
    published, lags = 0, []
    watching = asyncio.create_task(watch(lags))
    forecasts = forecasts_of(source, model, state=state, horizon=3)
    async with contextlib.aclosing(forecasts):
        async for name, pump, values in forecasts:
            print(name, pump, [round(value, 2) for value in values])
            published += 1
            if published == ticks:
                break
    watching.cancel()
    return sorted(lags)


def main():
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, help="after which to end")
    parser.add_argument("--state", help="directory of snapshots, from which it goes on")
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        lags = asyncio.run(serve(given.ticks, given.state))
        middle, late = (1000 * lags[int(share * len(lags))] for share in (0.5, 0.99))
        print(f"the loop was late by {middle:.1f} ms, 1% of the time by {late:.1f} ms or more")


if __name__ == "__main__":
    main()
