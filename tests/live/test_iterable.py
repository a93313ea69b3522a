"""Python iterables as live sources, and the counters of runs for Prometheus."""

import asyncio
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from live_counter import Counter
from servers import wait_until

from streamlstm.errors import DataError, ParameterError
from streamlstm.live import run as live
from streamlstm.live.batch import Batch, EndOfStream
from streamlstm.live.contract import FIELDS, SourceContract
from streamlstm.live.iterable import IterableSource
from streamlstm.live.payload import Fields, Parser
from streamlstm.live.run import LiveRun


class _OfFunction(SourceContract):
    """A function that makes what follows a position of a list that grows."""

    @pytest.fixture(autouse=True)
    def _list(self):
        self.messages = []
        self.ended = False
        yield
        self.ended = True

    def send(self, messages):
        self.messages += messages

    def test_continues_after_what_was_acknowledged(self):
        """There is nobody who would know."""
        source = self._ticks(3)
        source.acknowledge(2)
        source.close()
        source.open(None)
        assert self._values(self._read(source, 3)) == [0, 1, 2]
        source.close()


class TestOfFunction(_OfFunction):
    def make(self):
        def following(position):
            while not self.ended:
                while position < len(self.messages):
                    yield self.messages[position]
                    position += 1
                time.sleep(0.001)

        return IterableSource(following, FIELDS)


class TestOfAsyncFunction(_OfFunction):
    def make(self):
        async def following(position):
            while True:
                while position < len(self.messages):
                    yield self.messages[position]
                    position += 1
                await asyncio.sleep(0.001)

        return IterableSource(following, FIELDS)


def all_of(source, most=100):
    """What a source has until its end."""
    source.open(None)
    batches = []
    with suppress(EndOfStream):
        while (batch := source.read(most, 5)) is not None:
            batches.append(batch)
    assert source._buffer._ended
    source.close()
    return batches


def test_items_can_be_numbers_pairs_mappings_and_messages():
    fields = Fields(key="pump", time="at", features=("flow",))
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    items = [
        {"pump": "a", "value": np.float64(1), "at": moment, "flow": Decimal("0.1")},
        {"pump": "a", "value": np.int64(2), "at": np.datetime64("2024-01-01T00:00:00.5", "ns")},
        b'{"pump": "a", "value": 3, "at": 1704067201}',
        {"pump": "a", "value": None, "at": 1704067202},
    ]
    (batch,) = all_of(IterableSource(items, fields))
    assert batch.values[:3].tolist() == [1, 2, 3]
    assert np.isnan(batch.values[3])
    assert batch.features["flow"][0] == 0.1
    seconds = (batch.timestamps - batch.timestamps[0]) / 1e9
    assert seconds.tolist() == [0, 0.5, 1, 2]
    (batch,) = all_of(IterableSource([("a", 1), ("b", "2.5")], Fields(key="pump")))
    assert (batch.keys, batch.values.tolist()) == (["a", "b"], [1, 2.5])
    for fields in (None, Fields("load"), Fields("@payload")):
        (batch,) = all_of(IterableSource(iter([1, 2.5, np.float32(3)]), fields))
        assert (batch.values.tolist(), batch.ids) == ([1, 2.5, 3], ["0", "1", "2"])


def test_items_that_are_not_ticks_are_rejected_with_reasons():
    loop = []
    loop.append(loop)
    items = ["high", True, float("nan"), [1], ("a", 1), loop, {(1, 2): 3}, {}, object(), b"{", 5]
    (batch,) = all_of(IterableSource(items))
    assert batch.values.tolist() == [5]
    assert batch.position == len(items)
    reasons = [each.reason for each in batch.rejected]
    assert reasons[:5] == [
        "value: 'high' is not a number",
        "value: true or false, not a number",
        "value: nan is not a number",
        "value: a list, not a number",
        "value: a list, not a number",
    ]
    assert [reason[:7] for reason in reasons[5:7]] == ["not JSO", "not JSO"]
    assert reasons[7] == "value: missing; the message has no fields"
    assert reasons[8].endswith("is not a number")
    assert [each.id for each in batch.rejected] == [str(n) for n in range(10)]


def test_items_can_be_batches():
    made = Parser(Fields()).batch(["x", "y", "z"], [b"{", b'{"value": 1}', b'{"value": 2}'], 7, 9)
    plain = Batch(np.arange(5.0), {}, None, [""] * 5, missed=3)
    batches = all_of(IterableSource([plain, 7, made, 8]), most=2)
    assert [batch.values.tolist() for batch in batches] == [[0, 1], [2, 3], [4], [7], [1, 2], [8]]
    assert [batch.position for batch in batches] == [2, 4, 5, 6, 9, 10]
    assert [name for batch in batches for name in batch.ids] == [*"012345", "y", "z", "9"]
    assert [batch.received for batch in batches][4] == 7
    assert [each.id for each in batches[4].rejected] == ["x"]
    assert [batch.missed for batch in batches] == [3, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("kind", ["function", "iterable", "async function", "async iterable"])
def test_an_error_is_raised_after_all_items_before_it(kind):
    def items(position=0):
        yield from [1, 2]
        raise ZeroDivisionError("of the iterable")

    async def async_items(position=0):
        for each in [1, 2]:
            yield each
        raise ZeroDivisionError("of the iterable")

    made = async_items if "async" in kind else items
    source = IterableSource(made if "function" in kind else made())
    source.open(None)
    assert sum(len(source.read(1, 5)) for _ in range(2)) == 2
    with pytest.raises(ZeroDivisionError, match="of the iterable"):
        source.read(1, 5)
    source.close()


def test_a_lost_connection_calls_the_function_again_and_ends_an_iterable(monkeypatch):
    monkeypatch.setattr(live, "SHORTEST", 0.001)
    calls = []

    def items(position):
        calls.append(position)
        for n in range(position, 10):
            yield "a", n
            if n % 4 == 3:
                raise ConnectionError("the line is dead")

    run = LiveRun(Counter(), IterableSource(items, Fields(key="key")))
    run.run(10)
    assert run.model.values == [*range(10)]
    assert calls == [0, 4, 8]
    run = LiveRun(Counter(), IterableSource(items(0), Fields(key="key")))
    with pytest.raises(DataError, match="the line is dead"):
        run.run()
    assert run.model.values == [*range(4)]


def test_a_run_continues_with_a_function_or_a_new_iterable(tmp_path):
    def items(position):
        return (("a", n) for n in range(position, 100))

    for name, again in [("function", items), ("iterable", items(30))]:
        first = LiveRun(
            Counter(), IterableSource(items, Fields(key="k")), state=tmp_path / name, batch_ticks=10
        )
        first.run(30)
        source = IterableSource(again, Fields(key="k"))
        run = LiveRun(Counter(), source, state=tmp_path / name)
        run.run(70)
        assert run.model.values == [*range(100)]


def test_a_read_returns_in_time_although_the_iterable_blocks():
    def items():
        yield 1
        go_on.wait(20)
        yield 2

    go_on = threading.Event()
    source = IterableSource(items())
    source.open(None)
    assert source.read(10, 5).values.tolist() == [1]
    start = time.monotonic()
    assert source.read(10, 0.05) is None
    assert 0.04 < time.monotonic() - start < 1
    go_on.set()
    assert source.read(10, 5).values.tolist() == [2]
    source.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_at_most_max_ahead_items_are_read_ahead(kind):
    made = []

    def items(position):
        for n in range(1000):
            made.append(n)
            yield n

    async def async_items(position):
        for n in items(position):
            yield n

    source = IterableSource(items if kind == "sync" else async_items, max_ahead=10)
    source.open(None)
    wait_until(lambda: len(made) >= 11)
    time.sleep(0.05)
    assert len(made) == 11
    values = []
    while len(values) < 1000:
        values += source.read(7, 5).values.tolist()
    assert values == [*range(1000)]
    source.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_iterables_are_closed_with_the_source(kind):
    def items():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    async def async_items():
        try:
            yield 1
            await asyncio.sleep(1000)
        finally:
            closed.set()

    closed = threading.Event()
    source = IterableSource(items() if kind == "sync" else async_items(), max_ahead=3)
    source.open(None)
    source.read(1, 5)
    source.close()
    assert closed.wait(5)
    with pytest.raises(ParameterError, match="read only once"):
        source.open(None)


def test_an_async_iterable_is_read_on_the_given_loop():
    async def service():
        queue = asyncio.Queue(10)
        where = set()

        async def items():
            while True:
                where.add(asyncio.get_running_loop())
                yield "a", await queue.get()

        loop = asyncio.get_running_loop()
        run = LiveRun(Counter(), IterableSource(items(), Fields(key="key"), loop))
        learning = asyncio.create_task(asyncio.to_thread(run.run, 500))
        for n in range(500):
            await queue.put(n)
        await learning
        assert where == {loop}
        await asyncio.sleep(0.05)  # the iterable is let go
        assert len(asyncio.all_tasks()) == 1
        return run.model.values

    assert asyncio.run(service()) == [*range(500)]


def test_the_end_of_the_loop_is_the_end_of_the_stream():
    sources = []

    async def service():
        async def items():
            yield 1
            await asyncio.sleep(1000)

        source = IterableSource(items(), loop=asyncio.get_running_loop())
        source.open(None)
        sources.append(source)
        assert len(await asyncio.to_thread(source.read, 10, 5)) == 1

    asyncio.run(service())
    with pytest.raises(EndOfStream):
        sources[0].read(10, 5)
    sources[0].close()


def test_objects_that_cannot_be_iterated_are_errors():
    with pytest.raises(ParameterError, match="must be an iterable"):
        IterableSource(5)
    with pytest.raises(ParameterError, match="must return an iterable, got 5"):
        IterableSource(lambda position: 5).open(None)


def test_a_run_learns_all_items_before_the_end():
    run = LiveRun(Counter(), IterableSource([("a", n) for n in range(50)], Fields(key="key")))
    run.run()
    assert run.model.values == [*range(50)]
