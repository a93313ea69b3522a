"""The runner of live sources, with systems that fail when they are told to."""

import asyncio
import itertools
import json
import logging
import sys
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from live_counter import Counter
from servers import wait_until

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.errors import InputError, ParameterError
from streamlstm.live import run as live
from streamlstm.live.bars import Bars
from streamlstm.live.batch import Batch, EndOfStream, Rejected
from streamlstm.live.dead_letters import DeadLetters
from streamlstm.live.payload import Fields, Parser
from streamlstm.live.run import LiveRun
from streamlstm.replays.resume import ResumableRun
from streamlstm.snapshots import Snapshots, directory


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(live, "SHORTEST", 0.001)
    monkeypatch.setattr(live, "LONGEST", 0.004)


class Lines:
    """A source of the numbers from 0 on; `failures` says which of its calls lose the connection."""

    def __init__(self, count, failures=()):
        self.count = count
        self.failures = set(failures)
        self.calls = 0
        self.opened = []
        self.on_call = {}  # what to do before one
        self.acknowledged = []
        self._parser = Parser(Fields(key="key"))
        self._at = None

    def _call(self):
        self.calls += 1
        self.on_call.get(self.calls, list)()
        if self.calls in self.failures:
            self._at = None
            raise ConnectionError("the line is dead")

    def open(self, position):
        self._call()
        self.opened.append(position)
        self._at = position or 0
        return self._at

    def read(self, ticks, seconds):
        self._call()
        numbers = range(self._at, min(self._at + ticks, self.count))
        if not numbers:
            raise EndOfStream
        self._at = numbers.stop
        messages = [f'{{"key": "a", "value": {n}}}'.encode() for n in numbers]
        return self._parser.batch([str(n) for n in numbers], messages, 1, self._at)

    def acknowledge(self, position):
        self._call()
        self.acknowledged.append(position)

    def close(self):
        self._at = None


class Box:
    """A sink that keeps what it is given; `failures` of its calls lose the connection."""

    def __init__(self, failures=()):
        self.failures = set(failures)
        self.calls = 0
        self.opened = 0
        self.on_call = {}  # what to do before one
        self.ids = []
        self.rows = []

    def _call(self):
        self.calls += 1
        self.on_call.get(self.calls, list)()
        if self.calls in self.failures:
            raise ConnectionError("the box is shut")

    def open(self):
        self._call()
        self.opened += 1

    def write(self, batch, forecasts, bounds):
        self._call()
        self.ids += batch.ids
        self.rows += forecasts.tolist()

    def close(self):
        pass


def test_lost_connections_lose_and_repeat_nothing(tmp_path):
    source, sink = Lines(100, range(2, 40, 3)), Box(range(2, 30, 2))
    run = LiveRun(Counter(), source, sink, tmp_path, batch_ticks=5, snapshot_seconds=0)
    run.run(100)
    assert run.model.values == [*range(100)]
    assert list(map(int, sink.ids)) == [*range(100)]
    assert source.acknowledged == sorted(set(source.acknowledged))
    assert source.acknowledged[-1] == 100
    assert run.metrics.source_errors == len(source.failures)
    assert run.metrics.sink_errors == len(sink.failures)
    assert (run.metrics.ticks, run.metrics.forecasts, run.metrics.batches) == (100, 100, 20)


def test_what_is_connected_late_is_connected_once():
    source, sink = Lines(10, {1, 2}), Box({1})
    LiveRun(Counter(), source, sink).run()
    assert (source.opened, sink.opened) == ([None], 1)


def test_stopped_before_it_connects_a_run_begins_where_its_source_does_next_time(tmp_path):
    class Newest(Lines):
        """Begins with what comes from now on."""

        def open(self, position):
            return super().open(self.count if position is None else position)

    source = Newest(10, range(1, 10**6))
    run = LiveRun(Counter(), source, None, tmp_path)
    source.on_call[3] = run.stop
    run.run()
    source = Newest(20)
    source.on_call[2] = lambda: 1 / 0  # before it has read
    with pytest.raises(ZeroDivisionError):
        LiveRun(Counter(), source, None, tmp_path).run()
    run = LiveRun(Counter(), Newest(30), None, tmp_path)
    run.run()
    assert run.model.values == [*range(20, 30)]


def test_a_signal_may_stop_a_run_at_any_moment():
    """Between any two lines of Python, which is where handlers are called, as it waits to retry."""

    def stopped(after):
        run = LiveRun(Counter(), Lines(1, range(1, 1000)))
        lines = itertools.count()

        def trace(frame, *_):
            if frame.f_code.co_filename not in (live.__file__, threading.__file__):
                return None
            if next(lines) == after:
                run.stop()
            return trace

        sys.settrace(trace)
        try:
            run.run()
        finally:
            sys.settrace(None)  # or other threads are slow from then on

    for after in range(100):
        thread = threading.Thread(target=stopped, args=(after,), daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive(), f"hangs when stopped after {after} lines"


class Few(Lines):
    """Delivers 10 ticks, and none until they are acknowledged."""

    @property
    def is_full(self):
        return self._at - (self.acknowledged or [0])[-1] >= 10

    def read(self, ticks, seconds):
        if self.is_full:
            time.sleep(0.001)
            return None
        return super().read(min(ticks, 5), seconds)


def test_a_source_that_is_full_need_not_wait_for_the_next_snapshot(tmp_path):
    source = Few(50)
    run = LiveRun(Counter(), source, None, tmp_path, snapshot_seconds=1000)
    run.run()
    assert run.model.values == [*range(50)]
    assert source.acknowledged == [0, 10, 20, 30, 40, 50]
    again = LiveRun(Counter(), Few(70), None, tmp_path, snapshot_seconds=1000)
    again.source.acknowledged = [50]
    again.run()
    assert again.model.values == [*range(70)]


def test_a_full_source_and_a_full_disk_wait_for_the_next_snapshot(tmp_path, monkeypatch):
    def full(path, pieces):
        if int(path.name[:8]) > 2:
            tried.append(time.monotonic())
            if len(tried) == 4:
                run.stop()
            raise OSError(28, "No space left on device")
        return whole(path, pieces)

    tried, whole = [], directory.write_file
    monkeypatch.setattr(directory, "write_file", full)
    run = LiveRun(Counter(), Few(50), None, tmp_path, snapshot_seconds=0.1)
    with pytest.raises(OSError, match="No space"):
        run.run()
    assert run.metrics.disk_errors == 4
    assert len(tried) == 5, "once more at the end"
    assert tried[3] - tried[0] >= 0.25
    assert run.source.acknowledged[-1] == 10


def test_waits_grow_to_a_limit(caplog):
    with caplog.at_level(logging.WARNING):
        LiveRun(Counter(), Lines(1, range(1, 30)), batch_ticks=1).run(1)
    waits = [float(record.args[1]) for record in caplog.records]
    assert len(waits) == 29
    for wait, most in zip(waits, [0.001, 0.002] + 27 * [0.004], strict=True):
        assert most / 2 <= wait <= most
    assert len(set(waits)) > 20  # so that runs do not come all at once


def test_ends_while_a_sink_is_gone_and_its_ticks_come_again(tmp_path):
    sink = Box(range(3, 10**6))
    run = LiveRun(Counter(), Lines(30), sink, tmp_path, batch_ticks=10)
    sink.on_call[9] = run.stop
    run.run()
    assert (sink.calls, run.metrics.sink_errors) == (9, 7)
    assert len(sink.ids) == 10
    source, sink = Lines(30), Box()
    again = LiveRun(Counter(), source, sink, tmp_path)
    again.run(30)
    assert again.model.values == [*range(30)]
    assert len(sink.ids) == 30


def test_ends_while_a_source_is_gone_and_keeps_what_it_has(tmp_path):
    source = Lines(30, range(3, 10**6))
    run = LiveRun(Counter(), source, None, tmp_path, batch_ticks=10)
    source.on_call[9] = run.stop
    run.run()
    assert run.metrics.acknowledgements == 0
    source = Lines(30)
    again = LiveRun(Counter(), source, None, tmp_path)
    assert again.model.values == [*range(10)]
    again.run(20)
    assert again.model.values == [*range(30)]
    assert source.acknowledged[-1] == 30


def test_other_errors_end_the_run_and_nothing_counts_twice(tmp_path, monkeypatch):
    def stumbling(model, batch, *rest):
        if batch.values[0] == 20:
            raise ZeroDivisionError
        return learn(model, batch, *rest)

    learn = live.learn
    monkeypatch.setattr(live, "learn", stumbling)
    source = Lines(30)
    with pytest.raises(ZeroDivisionError):
        LiveRun(Counter(), source, None, tmp_path, batch_ticks=10, snapshot_seconds=0).run()
    monkeypatch.undo()
    again = LiveRun(Counter(), source, None, tmp_path)
    again.run(30 - len(again.model.values))
    assert again.model.values == [*range(30)]


def test_a_snapshot_that_fails_is_tried_again_and_not_acknowledged(tmp_path, monkeypatch):
    source = Lines(30)
    run = LiveRun(Counter(), source, None, tmp_path, batch_ticks=10, snapshot_seconds=0)

    def full(path, pieces):
        if path.name.startswith("00000002"):
            raise OSError("no space left")
        return write(path, pieces)

    write = directory.write_file
    monkeypatch.setattr(directory, "write_file", full)
    with pytest.raises(OSError, match="no space"):
        run.run(30)
    assert set(source.acknowledged) <= {0}
    assert run.metrics.ticks == 30
    assert 1 <= run.metrics.disk_errors <= 3
    assert run.metrics.snapshots == 1
    monkeypatch.setattr(directory, "write_file", write)
    again = LiveRun(Counter(), Lines(30), None, tmp_path)
    again.run(30)
    assert again.model.values == [*range(30)]


def test_a_disk_that_has_room_again_is_used_again(tmp_path, monkeypatch):
    def full(path, pieces):
        if path.name.startswith("00000002") and source.at < 80:
            raise OSError("no space left")
        return write(path, pieces)

    class Watched(Lines):
        at = property(lambda self: self._at or 0)

        def read(self, ticks, seconds):
            time.sleep(0.02)  # longer than the disk takes
            return super().read(ticks, seconds)

    write = directory.write_file
    monkeypatch.setattr(directory, "write_file", full)
    source = Watched(100)
    run = LiveRun(Counter(), source, None, tmp_path, batch_ticks=10, snapshot_seconds=0)
    run.run()
    assert run.metrics.disk_errors > 3
    assert source.acknowledged[0] == 0
    assert source.acknowledged[1] >= 80
    assert source.acknowledged[-1] == 100
    assert LiveRun(Counter(), Lines(0), None, tmp_path).model.values == [*range(100)]


class Poison(Lines):
    """Lines with a message in each batch that is no tick."""

    def read(self, ticks, seconds):
        batch = super().read(ticks, seconds)
        return replace(batch, rejected=(Rejected(f"r{self._at}", "is bad", "x" * 10, 10),))


def test_dead_letters_wait_for_room(tmp_path):
    limit = tmp_path / "limit"
    run = LiveRun(Counter(), Poison(30), None, dead_letters="/dev/full", batch_ticks=10)
    threading.Thread(
        target=lambda: (wait_until(lambda: run.metrics.disk_errors > 3), run.stop())
    ).start()
    run.run()
    assert (run.metrics.ticks, run.metrics.acknowledgements) == (10, 0)
    limit.write_text('{"id": "torn')
    LiveRun(Counter(), Poison(30), None, dead_letters=limit, batch_ticks=10).run()
    ids = [json.loads(line)["id"] for line in limit.read_text().splitlines()]
    assert ids == ["r10", "r20", "r30"]


def test_dead_letters_are_on_the_disk_before_anything_is_acknowledged(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("os.fsync", lambda number: done.append("synced"))

    source = Poison(30)
    source.acknowledge = lambda position: done.append("acknowledged")
    LiveRun(Counter(), source, None, dead_letters=tmp_path / "dead.jsonl").run(30)
    assert done[:2] == ["synced", "acknowledged"]
    LiveRun(Counter(), Poison(30), None, dead_letters="/dev/null").run(30)


@pytest.mark.parametrize(
    ("before", "after"),
    [("a = 1\nb = 2", "a = 1\nb = 2\n"), ("{", ""), ('{}\n{"id": "torn', "{}\n"), ("{}\n", "{}\n")],
)
def test_of_a_file_only_a_torn_dead_letter_is_cut_off(tmp_path, before, after):
    path = tmp_path / "dead.jsonl"
    path.write_text(before)
    DeadLetters(path).close()
    assert path.read_text() == after


def test_ticks_that_are_not_new_are_passed_over(tmp_path):
    class Repeating(Lines):
        """Begins from 0 again whenever it is opened; forgets where it was."""

        def open(self, position):
            return super().open(0)

        def read(self, ticks, seconds):
            batch = super().read(ticks, seconds)
            return replace(batch, sequence=batch.values.astype(int))

    source, sink = Repeating(100, {12}), Box()
    run = LiveRun(Counter(), source, sink, tmp_path, batch_ticks=5)
    run.run()
    assert run.model.values == [*range(100)]
    assert list(map(int, sink.ids)) == [*range(100)]
    assert run.metrics.late > 0
    again = LiveRun(Counter(), Repeating(120), sink, tmp_path, batch_ticks=5)
    again.run()
    assert again.model.values == [*range(120)]
    assert (again.metrics.ticks, again.metrics.late) == (20, 100)


def test_bars_go_on_as_if_the_run_had_not_ended(tmp_path):
    class Timed(Lines):
        def read(self, ticks, seconds):
            batch = super().read(ticks, seconds)
            return replace(batch, timestamps=batch.values.astype(np.int64) * 10**9)

    rng = np.random.default_rng(0)
    sink = Box()
    source = Timed(100)
    learned = []
    while len(learned) < 14:
        bars = Bars("7s", "sum", ("count",))
        run = LiveRun(Counter(), source, sink, tmp_path, bars=bars, batch_ticks=rng.integers(1, 20))
        run.run(rng.integers(1, 4))
        learned = run.model.values
    assert learned == [sum(range(n, n + 7)) for n in range(0, 98, 7)]
    assert list(map(int, sink.ids)) == [*range(7, 99, 7)]
    with pytest.raises(ParameterError, match="every 7s, not 8s"):
        LiveRun(Counter(), source, None, tmp_path, bars=Bars("8s", "sum", ("count",)))


def other_position(directory):
    with Snapshots(directory) as snapshots:
        snapshots.save(Counter(), 5)


def state_of_a_replay(directory):
    with ResumableRun(directory, {}) as run:
        run.ticks = 5
        run.save(Counter(), dict)


def run_of_bars(directory):
    LiveRun(Counter(), Lines(10), None, directory, bars=Bars(3)).run()


def run_of_ticks(directory):
    LiveRun(Counter(), Lines(10), None, directory).run()


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (other_position, LiveRun, "snapshots of something else"),
        (other_position, ResumableRun, "snapshots of something else"),
        (state_of_a_replay, LiveRun, "snapshots of something else"),
        (run_of_ticks, ResumableRun, "snapshots of something else"),
        (run_of_bars, LiveRun, "a run with bars"),
        (run_of_ticks, partial(LiveRun, bars=Bars(3)), "a run without bars"),
    ],
)
def test_a_directory_of_something_else_is_refused(tmp_path, before, now, said):
    before(tmp_path)
    given = [tmp_path, {}] if now is ResumableRun else [Counter(), Lines(10), None, tmp_path]
    with pytest.raises(ParameterError, match=f"holds {said}: use another directory"):
        now(*given)
    Snapshots(tmp_path).close()  # which nobody uses any more


def test_clocks_that_jump_change_nothing(tmp_path, monkeypatch):
    jumps = itertools.cycle([10**6, -(10**6)])
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + next(jumps))
    monkeypatch.setattr(time, "time_ns", lambda: int(1.7e18) + 10**9 * next(jumps))
    source = Lines(100, {20})
    run = LiveRun(Counter(), source, None, tmp_path, batch_ticks=5, snapshot_seconds=0)
    began = time.monotonic()
    run.run()
    assert run.model.values == [*range(100)]
    assert time.monotonic() - began < 5


def test_a_slow_sink_holds_the_source_back():
    class Slow(Box):
        def write(self, batch, forecasts, bounds):
            time.sleep(0.01)
            super().write(batch, forecasts, bounds)
            ahead.append(source._at - len(self.ids))

    ahead = []
    source = Lines(100)
    LiveRun(Counter(), source, Slow(), batch_ticks=5).run()
    assert set(ahead) == {0}


def test_a_coroutine_may_drive_it():
    async def drive():
        run = LiveRun(Counter(), Lines(30))
        done = asyncio.create_task(asyncio.to_thread(run.run))
        while run.metrics.ticks < 30:
            await asyncio.sleep(0.01)
        run.stop()
        await done
        return run.model.values

    assert asyncio.run(drive()) == [*range(30)]


@pytest.mark.parametrize("several", [False, True])
def test_forecasts_are_those_of_a_model_that_has_learned_the_tick(several):
    def model():
        one = LSTMForecaster(hidden_size=4, window=5, preset="fast", season=None, horizon=2)
        return ForecasterFleet(one) if several else one

    values = np.sin(np.arange(60.0))
    keys = [["a", "b", "c", "a"][n % 4] for n in range(60)] if several else None
    batch = Batch(values, {}, None, [""] * 60, keys)
    forecasts, bounds = live.learn(model(), batch, 2, 0.1)
    one = model()
    for n in range(60):
        if several:
            one.learn_many([keys[n]], values[n : n + 1])
            expected = one.forecast(2, [keys[n]])[0], one.forecast_interval(2, 0.1, [keys[n]])[0]
        else:
            one.learn_one(values[n])
            expected = one.forecast(2), np.array(one.forecast_interval(2, 0.1)).T
        np.testing.assert_array_equal(forecasts[n], expected[0])
        np.testing.assert_array_equal(bounds[n], expected[1])


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_forecasts_do_not_depend_on_where_a_batch_ends(several, size):
    one = LSTMForecaster(hidden_size=4, window=5, preset="fast", season=None, horizon=2)
    values = np.array([np.nan, np.nan, np.nan, 1, np.nan, 2, 4, np.nan, 3, 5, 7, 6])
    keys = [*"abababababab"] if several else None
    whole = Batch(values, {}, None, [""] * 12, keys)
    expected, around = live.learn(ForecasterFleet(one) if several else one.clone(), whole, 2, 0.1)
    model, made = ForecasterFleet(one) if several else one.clone(), []
    for start in range(0, 12, size):
        made.append(live.learn(model, whole.part(start, start + size), 2, 0.1))
    assert np.isnan(expected[:3]).any()
    np.testing.assert_array_equal(np.concatenate([forecasts for forecasts, _ in made]), expected)
    np.testing.assert_array_equal(np.concatenate([bounds for _, bounds in made]), around)


FAST = {"hidden_size": 4, "window": 5, "preset": "fast", "season": None}


@pytest.fixture
def readings(tmp_path, monkeypatch):
    """A file of two pumps' readings, in the folder that the test runs in."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{'ab'[n % 3 > 0]},{n % 7},{n % 5},{n}\n" for n in range(60))
    (tmp_path / "readings.csv").write_text("pump,flow,heat,n\n" + rows)
    return "csv:///readings.csv"


def test_source_and_sink_may_be_addresses(readings, tmp_path):
    model = ForecasterFleet(LSTMForecaster(**FAST))
    run = LiveRun(
        model, readings, "csv:///made.csv", "state", value="flow", key="pump", features=["heat"]
    )
    run.run()
    lines = (tmp_path / "made.csv").read_text().splitlines()
    assert lines[0] == "id,key,forecast_1"
    assert len(lines) == 61
    assert model.keys == ["a", "b"]
    assert [*model["a"]._columns.index] == ["heat"]


def test_bars_may_be_text_and_the_features_are_theirs(readings):
    model = LSTMForecaster(**FAST)
    features = ["high", "heat:sum"]
    LiveRun(model, readings, value="flow", bars="6:mean", features=features).run()
    alone, bars = LSTMForecaster(**FAST), Bars(6, "mean", features)
    values, heat = (np.arange(60.0) % size for size in (7, 5))
    batch = bars.update(Batch(values, {"heat": heat}, None, [""] * 60))
    alone.learn_many(batch.values, batch.features)
    assert model.forecast(3) == alone.forecast(3)


@pytest.mark.parametrize(
    ("model", "source", "given", "said"),
    [
        (LSTMForecaster, "csv:///a", {"key": "pump"}, "makes several streams"),
        (ForecasterFleet, "csv:///a", {}, "needs key"),
        (LSTMForecaster, "csv:///a", {"bars": "5min"}, "bars of 5min need time"),
        (LSTMForecaster, "csv:///a", {"bars": "5:median"}, "median"),
        (LSTMForecaster, "csv:///a", {"bars": Bars(5), "features": ["high"]}, "have their own"),
        (LSTMForecaster, "a.csv", {}, "expected an address"),
        (LSTMForecaster, "nosuch://a", {}, "no source is installed for nosuch"),
        (LSTMForecaster, "csv:///a", {"sink": "nosuch://a"}, "no sink is installed for nosuch"),
        (LSTMForecaster, Lines(1), {"value": "flow"}, "this Lines has its own"),
        (ForecasterFleet, Lines(1), {"key": "pump"}, "this Lines has its own"),
        (LSTMForecaster, Lines(1), {"features": ["a"]}, "this Lines has its own"),
        (LSTMForecaster, Lines(1), {"snapshot_seconds": -1}, "snapshot_seconds must be at least 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(model, source, given, said):
    with pytest.raises(ParameterError, match=said):
        LiveRun(model(), source, **given)


@pytest.mark.parametrize("kind", [LSTMForecaster, ForecasterFleet])
def test_the_model_that_is_given_goes_on(readings, kind):
    """A service holds it, and asks it for forecasts."""

    def learned(limit):
        model = LSTMForecaster(**FAST)
        model = model if kind is LSTMForecaster else ForecasterFleet(model)
        key = None if kind is LSTMForecaster else "pump"
        run = LiveRun(model, readings, state=f"state{kind.__name__}", value="flow", key=key)
        assert run.model is model
        run.run(limit)
        return model

    first = learned(40)
    both = learned(20)
    alone = learned_at_once = LSTMForecaster(**FAST)
    values = np.arange(60.0) % 7
    if kind is LSTMForecaster:
        alone.learn_many(values)
        assert both.forecast(3) == alone.forecast(3) != first.forecast(3)
    else:
        alone = ForecasterFleet(learned_at_once)
        alone.learn_many(["ab"[n % 3 > 0] for n in range(60)], values)
        assert np.array_equal(both.forecast(3), alone.forecast(3))
        assert not np.array_equal(both.forecast(3), first.forecast(3))


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        (LSTMForecaster(**FAST | {"hidden_size": 5}), {}, "hidden_size"),
        (LSTMForecaster(**FAST, seed=1), {}, "seed"),
        (ForecasterFleet(LSTMForecaster(**FAST)), {"key": "pump"}, "key"),
        (LSTMForecaster(**FAST), {"value": "heat"}, "a run with value flow, not heat"),
        (LSTMForecaster(**FAST), {"features": ["heat"]}, "a run with features none, not heat"),
    ],
)
def test_a_directory_of_another_model_or_other_fields_is_refused(readings, model, given, said):
    LiveRun(LSTMForecaster(**FAST), readings, state="state", value="flow").run()
    before = model.forecast(1)
    with pytest.raises(ParameterError, match=said):
        LiveRun(model, readings, state="state", **{"value": "flow"} | given)
    assert np.array_equal(model.forecast(1), before, equal_nan=True)
    Snapshots("state").close()  # which nobody uses any more


def test_another_class_of_model_is_refused(tmp_path):
    LiveRun(Counter(), Lines(10), None, tmp_path).run()
    with pytest.raises(ParameterError, match="Counter, not ForecasterFleet"):
        LiveRun(ForecasterFleet(), Lines(10), None, tmp_path)


@pytest.mark.parametrize(
    ("model", "keys"), [(LSTMForecaster(), ["a"]), (ForecasterFleet(LSTMForecaster()), None)]
)
def test_several_streams_need_a_fleet_and_one_a_forecaster(model, keys):
    with pytest.raises(InputError, match="use a"):
        live.learn(model, Batch(np.ones(1), {}, None, ["0"], keys))


def test_a_run_shows_itself_and_runs_once(tmp_path):
    run = LiveRun(Counter(), Lines(20))
    assert "ticks 0" in repr(run)
    run.run()
    assert repr(run) == str(run)
    for shown in (repr(run), run._repr_html_()):
        assert "ticks" in shown
        assert "20" in shown
    with pytest.raises(RuntimeError, match="another LiveRun"):
        run.run()


def test_arguments_are_checked_when_a_run_is_made():
    for wrong, message in [
        ({"interval": 90}, "interval"),
        ({"horizon": 0}, "horizon"),
        ({"batch_ticks": 0}, "batch_ticks"),
    ]:
        with pytest.raises(ParameterError, match=message):
            LiveRun(Counter(), Lines(20), **wrong)
    with pytest.raises(ParameterError, match="the class Counter"):
        LiveRun(Counter, Lines(20))
