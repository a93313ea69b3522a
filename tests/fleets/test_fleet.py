"""ForecasterFleet: each stream learns like a single forecaster, to the last bit."""

import copy
import functools
import gc
import itertools
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import deque

import numba
import numpy as np
import pytest
from same import same
from streams import S, T, values_of

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.errors import InputError, ParameterError, SnapshotError
from streamlstm.kernels.layout import CLOCK
from streamlstm.snapshots import Snapshots, directory, file, snapshot


def small(**parameters):
    return LSTMForecaster(hidden_size=4, window=5, horizon=3, **parameters)


def round_of(rng):
    """Streams of a ragged round, some of them repeated."""
    return rng.integers(0, S, rng.integers(0, 2 * S))


def rounds(values, seed=1):
    """Yield keys and values of ragged rounds until a stream ends."""
    rng, came = np.random.default_rng(seed), np.zeros(S, int)
    while came.max() < T - 2 * S:
        keys = round_of(rng)
        ticks = [came[s] + np.sum(keys[:n] == s) for n, s in enumerate(keys)]
        yield keys, np.array(ticks, int), values[ticks, keys]
        came += np.bincount(keys, minlength=S)


@pytest.mark.parametrize(
    "parameters",
    [
        {"preset": "fast", "season": 12},
        {"preset": "accurate", "season": 12},
        {"season": "auto", "preset": "fast"},
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_equals_single_forecasters_to_the_last_bit(parameters, threads):
    model, values = small(**parameters), values_of()
    fleet, singles = (
        ForecasterFleet(model, threads=threads),
        [copy.deepcopy(model) for _ in range(S)],
    )
    for keys, _, ys in rounds(values):
        forecasts, bounds = fleet.learn_many(keys, ys, horizon=2, interval=0.9)
        for n, (key, y) in enumerate(zip(keys, ys, strict=True)):
            row, around = singles[key].learn_many([y], horizon=2, interval=0.9)
            assert np.array_equal(forecasts[n], row[0], equal_nan=True)
            assert np.array_equal(bounds[n], around[0], equal_nan=True)
    for horizon in (3, 5):
        expected = [singles[key].forecast(horizon) for key in fleet.keys]
        assert np.array_equal(fleet.forecast(horizon), expected)
    expected = [np.transpose(singles[key].forecast_interval(4)) for key in fleet.keys]
    assert np.array_equal(fleet.forecast_interval(4), expected)
    for key in fleet.keys:
        assert pickle.dumps(fleet[key]) == pickle.dumps(singles[key])


def test_timestamps_gaps_and_features_work_as_in_single_forecasters():
    """Hourly ticks, some lost after the season has been found; a feature that comes late."""
    model = small(preset="fast")
    rng = np.random.default_rng(2)
    ticks = np.delete(np.arange(700), [600, 601, 640])
    times = ticks * 3_600_000_000_000
    values = np.sin(ticks / 12 * np.pi)[:, None] + 0.1 * rng.normal(size=(ticks.size, 3))
    warm = rng.normal(size=(ticks.size, 3))
    fleet, singles = ForecasterFleet(model), [copy.deepcopy(model) for _ in range(3)]
    for start in range(0, ticks.size, 50):
        part = slice(start, start + 50)
        keys, count = np.tile([0, 1, 2], len(times[part])), 3
        features = {"warm": warm[part].ravel()} if start else None
        forecasts = fleet.learn_many(
            keys, values[part].ravel(), features, np.repeat(times[part], count)
        )
        for s, single in enumerate(singles):
            features = {"warm": warm[part, s]} if start else None
            expected = single.learn_many(values[part, s], features, times[part])
            assert np.array_equal(forecasts[s::3], expected, equal_nan=True)
    assert singles[0].seasons_ == (24, 168)
    assert fleet[0].seasons_ == (24, 168)


def fleet_of(values, threads=None):
    fleet = ForecasterFleet(small(preset="fast", season=12), threads=threads)
    for row in values:
        fleet.learn_many(range(S), row)
    return fleet


def test_missing_values_of_one_stream_do_not_affect_the_others():
    values = values_of()[:30]
    spoilt = values.copy()
    spoilt[10:, 4] = [np.nan, np.inf, -np.inf, 1e308] * 5
    clean, other = fleet_of(values), fleet_of(spoilt)
    rows = [s for s in range(S) if s != 4]
    assert np.array_equal(clean.forecast(3, rows), other.forecast(3, rows))
    assert np.isfinite(other.forecast(3)).all()


def test_an_empty_round_changes_nothing():
    fleet = fleet_of(values_of()[:20])
    before = pickle.dumps(fleet)
    assert fleet.learn_many([], []).shape == (0, 1)
    assert pickle.dumps(fleet) == before


def test_streams_come_and_go():
    fleet = ForecasterFleet(small(preset="fast", season=None))
    assert fleet.forecast(2).shape == (0, 2)
    for n in range(40):
        fleet.learn_many([f"stream {n}"], [float(n)])
    assert len(fleet) == 40
    assert fleet.keys[:2] == ["stream 0", "stream 1"]
    assert fleet.forecast(1, ["stream 7"]) == [[7.0]]
    del fleet["stream 7"]
    assert "stream 7" not in fleet
    fleet.learn_many(["new"], [100.0])
    assert fleet.forecast(1, ["new", "stream 8"]).tolist() == [[100.0], [8.0]]
    fleet.reset("new")
    assert np.isnan(fleet.forecast(1, ["new"])).all()


@pytest.mark.parametrize("call", ["forecast", "forecast_interval", "__getitem__", "__delitem__"])
def test_a_key_that_never_came_is_refused(call):
    fleet = fleet_of(values_of()[:5])
    argument = {"forecast": (1, ["x"]), "forecast_interval": (1, 0.1, ["x"])}.get(call, ("x",))
    with pytest.raises(InputError, match="there is no stream 'x'"):
        getattr(fleet, call)(*argument)


def test_a_stream_can_be_taken_out_as_a_forecaster_and_put_back():
    values = values_of()
    fleet, whole = fleet_of(values[:100]), fleet_of(values)
    single = fleet[3]
    del fleet[3]
    single.learn_many(values[100:, 3])
    fleet[3] = single
    assert np.array_equal(fleet.forecast(3, [3]), whole.forecast(3, [3]))
    single.learn_one(0.0)
    assert np.array_equal(fleet.forecast(3, [3]), whole.forecast(3, [3])), "they share nothing"
    with pytest.raises(ParameterError, match="horizon must be 3"):
        fleet[3] = LSTMForecaster(hidden_size=4, horizon=5)


def test_a_fleet_pickles():
    values = values_of()
    whole = fleet_of(values)
    fleet = pickle.loads(pickle.dumps(fleet_of(values[:100])))
    for row in values[100:]:
        fleet.learn_many(range(S), row)
    assert np.array_equal(fleet.forecast(3), whole.forecast(3))


def test_bad_input_does_not_change_the_fleet():
    fleet = fleet_of(values_of()[:20])
    before = pickle.dumps(fleet)
    for arguments in [
        ([1, 2], [1.0]),
        ([[1]], [1.0]),
        ([1], ["high"]),
        ([1], [1.0], {"new": ["warm"]}),
        ([1], [1.0], None, ["today"]),
    ]:
        with pytest.raises(InputError):
            fleet.learn_many(*arguments)
    assert pickle.dumps(fleet) == before


@pytest.mark.parametrize("threads", [0, 1.5, 10_000])
def test_threads_are_checked(threads):
    with pytest.raises(ParameterError, match="threads must be"):
        ForecasterFleet(threads=threads)


def test_the_number_of_threads_is_restored():
    numba.set_num_threads(1)
    fleet_of(values_of()[:5], threads=2)
    assert numba.get_num_threads() == 1
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)


def test_python_threads_may_share_a_fleet_and_have_their_own():
    """Each thread learns its own streams; the result is the same as with one thread."""
    values = values_of()
    shared = ForecasterFleet(small(preset="fast", season=12))
    own = [ForecasterFleet(small(preset="fast", season=12)) for _ in range(S)]

    def work(s):
        for y in values[:, s]:
            shared.learn_many([s], [y])
            own[s].learn_many([s], [y])

    workers = [threading.Thread(target=work, args=(s,)) for s in range(S)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    expected = fleet_of(values).forecast(3)
    assert np.array_equal(shared.forecast(3, range(S)), expected)
    assert np.array_equal(np.vstack([fleet.forecast(3) for fleet in own]), expected)


def test_a_fleet_continues_from_a_snapshot(tmp_path):
    whole = ForecasterFleet(small(preset="fast"), threads=1)
    rng, resumed = np.random.default_rng(0), None
    for n in range(90):
        if n == 50:
            del whole["b"]
            snapshot.save(whole, tmp_path / "fleet.snapshot")
            resumed = snapshot.load(tmp_path / "fleet.snapshot").model
            assert same(whole, resumed)
        keys = [["a", "b", ("c", 1), 4][k] for k in rng.integers(0, 4 if n > 20 else 2, 5)]
        values, features = rng.normal(size=5), {"x": rng.normal(size=5)} if n > 30 else None
        for fleet in (whole, *([resumed] if resumed else [])):
            made = fleet.learn_many(keys, values, features)
            assert made.shape == (5, 1)
    assert same(whole, resumed)
    assert same(whole.forecast(3), resumed.forecast(3))


def learn(fleet, keys, seed):
    fleet.learn_many(keys, np.random.default_rng(seed).normal(size=len(keys)))


def sizes(directory):
    """Sizes of the files, by name without leading zeros."""
    files = sorted(directory.glob("*.*"))
    return {path.name.lstrip("0"): path.stat().st_size for path in files}


def test_only_streams_that_have_changed_are_written(tmp_path):
    fleet = ForecasterFleet(small(preset="fast", season=12))
    learn(fleet, range(40), 0)
    with Snapshots(tmp_path) as snapshots:
        snapshots.save(fleet)
        learn(fleet, [3, 4], 1)
        snapshots.save(fleet)
        learn(fleet, [4, "new"], 2)
        del fleet[7]
        snapshots.save(fleet)
        learn(fleet, ["in the row of 7"], 3)
        fleet.reset(8)
        snapshots.save(fleet, "here")
        found = sizes(tmp_path)
        assert list(found) == ["1.snapshot", "2.changes", "3.changes", "4.changes"]
        assert (
            max(size for name, size in found.items() if "changes" in name)
            < 0.1 * found["1.snapshot"]
        )
    with Snapshots(tmp_path) as snapshots:
        resumed, position = snapshots.load()
        assert position == "here"
        assert same(fleet, resumed)
        for each in (fleet, resumed):
            learn(each, [3, 9, "new"], 4)
        snapshots.save(resumed)
        assert list(sizes(tmp_path))[-1] == "5.changes"
        assert same(snapshots.load().model, fleet)
        other = copy.deepcopy(resumed)
        snapshots.save(other)
        assert list(sizes(tmp_path))[-1] == "6.snapshot", "another fleet is written as a whole"
        assert same(snapshots.load().model, fleet)


def test_a_new_feature_changes_all_streams(tmp_path):
    fleet = fleet_of(values_of()[:20])
    with Snapshots(tmp_path) as snapshots:
        snapshots.save(fleet)
        fleet.learn_many([1], [1.0], {"warm": [20.0]})
        snapshots.save(fleet)
        assert same(snapshots.load().model, fleet)


def test_a_whole_snapshot_follows_when_changes_add_up(tmp_path):
    fleet, names = ForecasterFleet(small(preset="fast", season=12)), set()
    learn(fleet, range(40), 0)
    with Snapshots(tmp_path, keep=2) as snapshots:
        for n in range(40):
            learn(fleet, range(n % 4, n % 4 + 5), n)
            names.add(snapshots.save(fleet).name.lstrip("0"))
            files = list(sizes(tmp_path))
            assert files[0].endswith(".snapshot")
            wholes = [name for name in files if name.endswith(".snapshot")]
            assert len(wholes) == 1 or files.index(wholes[1]) == len(files) - 1, (
                "no more than needed"
            )
        assert 3 <= sum(name.endswith(".snapshot") for name in names) <= 8
        assert same(snapshots.load().model, fleet)


@pytest.mark.parametrize(
    ("damaged", "loaded", "left"),
    [("4.changes", 3, 1), ("3.changes", 2, 2), ("1.snapshot", None, 4)],
)
def test_changes_that_depend_on_a_damaged_file_are_not_used(
    tmp_path, caplog, damaged, loaded, left
):
    fleet, copies = ForecasterFleet(small(preset="fast", season=12)), {}
    learn(fleet, range(9), 0)
    with Snapshots(tmp_path) as snapshots:
        for n in range(1, 5):
            snapshots.save(fleet, n)
            copies[n] = copy.deepcopy(fleet)
            learn(fleet, [n], n)
        path = tmp_path / damaged.rjust(len("00000001") + len(damaged) - 1, "0")
        path.write_bytes(path.read_bytes()[:-40] + bytes(40))
        with caplog.at_level(logging.WARNING, "streamlstm"):
            if loaded is None:
                with pytest.raises(SnapshotError, match="all snapshots"):
                    snapshots.load()
            else:
                model, position = snapshots.load()
                assert position == loaded
                assert same(model, copies[loaded])
        assert len(caplog.records) == left
        assert path.name in caplog.text
        if loaded is not None:
            snapshots.save(model, 9)
            assert snapshots.load().position == 9


def test_a_snapshot_is_of_one_moment_while_the_stream_goes_on(tmp_path):
    fleet = ForecasterFleet(small(preset="fast", season=12))
    learn(fleet, range(9), 0)
    with Snapshots(tmp_path) as snapshots:
        for n in range(3):
            before = copy.deepcopy(fleet)
            snapshots.save(fleet, n, wait=False)
            learn(fleet, [n, n + 1], n)
        model, position = snapshots.load()
        assert position == 2
        assert same(model, before)


HOUR = 3_600_000_000_000


@pytest.mark.parametrize("weights", ["private", "shared"])
@pytest.mark.parametrize("season", [12, "auto"])
def test_a_snapshot_is_of_one_moment_whatever_happens_while_it_is_copied(tmp_path, weights, season):
    fleet = ForecasterFleet(small(preset="fast", season=season), weights)
    rng = np.random.default_rng(0)

    def learn_hour(keys, hour, features=None):
        fleet.learn_many(keys, rng.normal(size=len(keys)), features, [hour * HOUR] * len(keys))

    for hour in range(60):
        learn_hour(range(9), hour)
    before, copied = copy.deepcopy(fleet), snapshot.ModelCopy(fleet, "here")
    fleet_copy = copied._streams_copy

    def copy_one():
        with fleet._lock:
            fleet_copy.copy_for(0)

    learn_hour([3, 3, 4], 61)
    assert sorted(fleet_copy.pending) == [0, 1, 2, 5, 6, 7, 8]
    copy_one()
    assert len(fleet_copy.pending) == 6
    fleet.reset(0)
    del fleet[1]
    fleet[2] = fleet[5]
    learn_hour(["new", 0, 2], 62)
    copy_one()
    learn_hour([6], 63, {"wind": [1.0]})
    assert not fleet_copy.pending, "a feature changes all streams"
    for hour in range(64, 70):
        learn_hour([0, *range(2, 9)], hour)
    file.write_file(tmp_path / "fleet.snapshot", copied.pieces(at_once=False))
    found, position = snapshot.load(tmp_path / "fleet.snapshot")
    assert position == "here"
    assert same(found, before)


@pytest.mark.parametrize("weights", ["private", "shared"])
def test_a_snapshot_is_of_one_moment_while_another_thread_learns(tmp_path, weights):
    def endless_rounds():
        """Yield rounds without end; stream 0 is in each of them."""
        rng = np.random.default_rng(0)
        while True:
            keys = [0, *rng.integers(1, 40, rng.integers(0, 60))]
            yield keys, rng.normal(size=len(keys))

    def new_fleet():
        return ForecasterFleet(small(preset="fast", season=12), weights, threads=1)

    fleet, stop = new_fleet(), threading.Event()

    def work():
        for keys, values in endless_rounds():
            fleet.learn_many(keys, values)
            if stop.is_set():
                return

    worker = threading.Thread(target=work)
    worker.start()
    try:
        learned = []
        with Snapshots(tmp_path) as snapshots:
            for _ in range(6):
                snapshots.save(fleet, wait=False)
                found = snapshots.load().model
                learned.append(int(found[0]._network.clock[CLOCK.values]) if len(found) else 0)
                alone = new_fleet()
                for keys, values in itertools.islice(endless_rounds(), learned[-1]):
                    alone.learn_many(keys, values)
                assert same(found, alone), learned
        assert learned[0] < learned[-1], "the other thread keeps learning"
    finally:
        stop.set()
        worker.join()


def test_a_failed_copy_blocks_nobody(tmp_path, monkeypatch):
    fleet = ForecasterFleet(small(preset="fast", season=12))
    learn(fleet, range(9), 0)
    with Snapshots(tmp_path) as snapshots:
        with monkeypatch.context() as patched:
            fails = [json.dumps, lambda node: 1 / 0]
            patched.setattr(snapshot, "_json", lambda node: fails[type(node) is list](node))
            snapshots.save(fleet, wait=False)
            with pytest.raises(ZeroDivisionError):
                snapshots.finish()
        assert not any(each.pending for each in fleet._streams._copies)
        learn(fleet, [1], 1)
        assert snapshots.save(fleet).name == "00000001.snapshot"
        assert same(snapshots.load().model, fleet)


def test_a_snapshot_waits_for_a_stream_that_another_thread_copies(tmp_path):
    fleet = ForecasterFleet(small(preset="fast", season=12))
    learn(fleet, range(2), 0)
    before, copied = copy.deepcopy(fleet), snapshot.ModelCopy(fleet, None)
    copied._streams_copy.copy_for(0)
    started, resume, path = threading.Event(), threading.Event(), tmp_path / "fleet.snapshot"

    def copy_on_signal(model):
        started.set()
        resume.wait(20)
        return copied._encoder.value(model)

    copied._streams_copy._copy = copy_on_signal
    (last,) = copied._streams_copy.pending
    learner = threading.Thread(target=learn, args=(fleet, [last], 1))
    writer = threading.Thread(target=lambda: file.write_file(path, copied.pieces(at_once=False)))
    learner.start()
    assert started.wait(20)
    assert not copied._streams_copy.pending
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()
    resume.set()
    writer.join()
    learner.join()
    assert same(snapshot.load(path).model, before)


def test_a_process_may_fork_while_a_snapshot_is_copied(tmp_path, monkeypatch):
    """The child has no thread that could release the fleet's lock."""
    fleet = ForecasterFleet(small(preset="fast", season=12))
    learn(fleet, range(40), 0)
    expected = fleet.forecast(1)
    monkeypatch.setattr(snapshot, "COPY_SECONDS", 0.2)
    copied = []

    def slowly(encoder, model):
        copied.append(model)
        time.sleep(0.01)
        return value(encoder, model)

    value = snapshot.Encoder.value
    with Snapshots(tmp_path) as snapshots:
        copy_of = snapshot.ModelCopy(fleet, None)
        copy_of._streams_copy._copy = functools.partial(slowly, copy_of._encoder)
        monkeypatch.setattr(directory, "ModelCopy", lambda *_: copy_of)
        snapshots.save(fleet, wait=False)
        while len(copied) < 3:
            time.sleep(0.001)
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # ends the child
            alike = np.array_equal(fleet.forecast(1), expected)
            os._exit(0 if alike and gc.isenabled() and not copy_of._streams_copy.pending else 1)
        assert len(copied) < 40, "the copy is not finished"
        assert os.waitpid(child, 0)[1] == 0
    assert len(copied) == 40


def test_no_process_forks_while_a_thread_holds_the_lock_of_the_fleet():
    """Not even in the last step of a copy: the child would wait for the lock for ever."""

    class Watched(dict):
        def clear(self):
            held.append((fleet._lock.locked(), snapshot.copying.locked()))

    fleet, held = ForecasterFleet(small(preset="fast", season=12)), []
    learn(fleet, range(3), 0)
    copy_of = snapshot.ModelCopy(fleet, None)
    copy_of._streams_copy.pending = Watched(copy_of._streams_copy.pending)
    deque(copy_of.pieces(at_once=False), maxlen=0)
    assert held == [(True, True)]


def test_an_error_in_background_writing_is_raised_by_the_next_call(tmp_path, monkeypatch):
    fleet = ForecasterFleet(small(preset="fast", season=12))
    learn(fleet, range(9), 0)
    with Snapshots(tmp_path) as snapshots:
        snapshots.save(fleet)
        learn(fleet, [1], 1)
        with monkeypatch.context() as patched:
            patched.setattr(file.os, "fsync", lambda file: 1 / 0)
            snapshots.save(fleet, wait=False)
            with pytest.raises(ZeroDivisionError):
                snapshots.load()
        learn(fleet, [2], 2)
        assert snapshots.save(fleet).name == "00000002.changes"
        assert same(snapshots.load().model, fleet)


SCRIPT = """
import os, sys, threading
import numpy as np
from streamlstm import ForecasterFleet, LSTMForecaster

values = np.random.default_rng(0).normal(size=(40, 7)).cumsum(axis=0)

def learn(kind):
    model = LSTMForecaster(hidden_size=4, window=5, horizon=3, season=None, preset="fast")
    fleet = ForecasterFleet(model, weights=kind)
    for row in values:
        fleet.learn_many(range(7), row)
    made[threading.get_ident(), kind] = fleet.forecast(3)

made = {}
kinds = ["private", "shared", "private", "shared"]
threads = [threading.Thread(target=learn, args=(kind,)) for kind in kinds]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(made) == 4
if sys.argv[1:] == ["fork"]:
    child = os.fork()
    if child == 0:
        before = dict(made)
        learn("private")
        in_child = made[threading.get_ident(), "private"]
        in_parent = [path for (_, kind), path in before.items() if kind == "private"]
        os._exit(0 if np.array_equal(in_child, in_parent[0]) else 3)
    assert os.waitpid(child, 0)[1] == 0
print("done")
"""


@pytest.mark.parametrize(("layer", "fork"), [("workqueue", ""), ("omp", ""), ("omp", "fork")])
def test_threads_and_forks_are_safe_under_every_threading_layer(layer, fork):
    environment = {**os.environ, "NUMBA_THREADING_LAYER": layer}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *fork.split()],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_fleet_forecasts_by_key_and_displays_its_state():
    fleet = ForecasterFleet(small(preset="fast", season=None))
    fleet.learn_many(["north", ("a", 1), 7], [1.0, 2.0, np.nan], {"wind": [0.0, 1.0, 2.0]})
    assert list(fleet) == fleet.keys == ["north", ("a", 1), 7]
    assert np.array_equal(fleet.forecast(2, "north"), fleet.forecast(2, ["north"])[0])
    assert np.array_equal(fleet.forecast(2, ("a", 1)), fleet.forecast(2, [("a", 1)])[0])
    assert fleet.forecast(np.int64(2), ("north", 7)).shape == (2, 2)
    assert fleet.forecast_interval(2, 0.9, "north").shape == (2, 2)
    assert fleet.forecast_interval(2, 0.9, ["north"]).shape == (1, 2, 2)
    assert np.isnan(fleet.forecast(1, 7)).all()  # it has no value yet
    with pytest.raises(InputError, match=r"'nort'.*did you mean 'north'"):
        fleet.forecast(1, "nort")
    with pytest.raises(InputError, match="single key"):
        fleet.learn_many("north", [1.0] * 5)
    for shown in (repr(fleet), fleet._repr_html_()):
        assert "streams" in shown
        assert "north" in shown
        assert "wind" in shown


def test_a_fleet_takes_over_the_state_of_another():
    one, other = (ForecasterFleet(small(preset="fast", season=None)) for _ in range(2))
    other.learn_many(["a"], [1.0])
    lock = one._lock
    one._restore(other)
    assert one._lock is lock
    assert one.forecast(1, "a") == [1.0]
    assert one._parameters() == other._parameters()
