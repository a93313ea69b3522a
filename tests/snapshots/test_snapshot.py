"""Snapshots: a loaded model continues as if never stopped; bad files are refused."""

import copy
import errno
import gc
import json
import logging
import os
import resource
import struct
import subprocess
import sys
import tracemalloc
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from same import same
from streams import random_walk, seasonal

from streamlstm import (
    ForecasterFleet,
    LSTMClassifier,
    LSTMForecaster,
    LSTMMultiTargetRegressor,
    LSTMRegressor,
)
from streamlstm.errors import DamagedSnapshotError, ParameterError, SnapshotError
from streamlstm.snapshots import Snapshots, directory, file, snapshot

HOUR = 3_600_000_000_000


def again(model, tmp_path):
    """The model after saving and loading."""
    path = tmp_path / "model.snapshot"
    snapshot.save(model, path)
    return snapshot.load(path).model


def forecaster(tmp_path, ticks=700, stop=500, **parameters):
    """A forecaster, its copy resumed from a snapshot at tick `stop`, and forecasts of both.

    The ticks are hourly. A feature appears at tick 300, rows are lost at 550, and the stream
    changes at 400.
    """
    t = np.delete(np.arange(ticks + 2), [550, 551])
    values = seasonal(ticks)
    values[400:] += 40 * random_walk(ticks - 400, 1)
    values[[3, 420]] = np.nan
    chosen = {"hidden_size": 4, "window": 5, "horizon": 3} | parameters
    whole, forecasts = LSTMForecaster(**chosen), []
    for part in (slice(0, 300), slice(300, stop)):
        whole.learn_many(
            values[part], {"warm": values[part] ** 2} if part.start else None, t[part] * HOUR
        )
    resumed = again(whole, tmp_path)
    assert same(whole, resumed)
    part = slice(stop, ticks)
    for model in (whole, resumed):
        made = model.learn_many(values[part], {"warm": values[part] ** 2}, t[part] * HOUR, 4, 0.2)
        forecasts.append((*made, model.forecast(5), model.forecast_interval(3)))
    return whole, resumed, forecasts


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"preset": "fast"},
        {"preset": "fast", "known_features": ("warm",), "season": (24, 7)},
        {"preset": "fast", "drift": False, "season": None, "experts": ("lstm", "last")},
    ],
)
def test_a_forecaster_continues_as_if_never_stopped(tmp_path, parameters):
    whole, resumed, forecasts = forecaster(tmp_path, **parameters)
    assert same(*forecasts)
    assert same(whole, resumed)
    assert bool(whole.drift_events_) == parameters.get("drift", True)
    assert whole.drift_events_ == resumed.drift_events_


@pytest.mark.parametrize("stop", [301, 333, 511, 512, 513, 549, 552])
def test_a_forecaster_may_stop_anywhere(tmp_path, stop):
    """Stops around reviews of the seasons, tests for drift and a gap."""
    whole, resumed, forecasts = forecaster(tmp_path, 560, stop, preset="fast")
    assert whole.seasons_ == (24, 168)
    assert same(*forecasts)
    assert same(whole, resumed)


def ticks_of_text(n):
    """Features, one of text and one that comes late; a target, two targets and a class."""
    rng = np.random.default_rng(n)
    x = {"a": rng.normal(), "word": str(rng.choice(["up", "down", "new" if n > 30 else "up"]))}
    if n > 20:
        x[("late", 1)] = rng.normal()
    y = x["a"] if n % 7 else None
    several = {"p": x["a"], 2: -x["a"]} if n > 10 else {"p": x["a"]}
    return x, y, several, [None, "cold", "warm", ("very", 1.5), 7, True][rng.integers(6)]


@pytest.mark.parametrize("parameters", [{}, {"lookahead": 3}, {"num_layers": 2, "stride": 3}])
@pytest.mark.parametrize("kind", [LSTMRegressor, LSTMMultiTargetRegressor, LSTMClassifier])
def test_a_model_of_features_continues_as_if_never_stopped(tmp_path, kind, parameters):
    whole = kind(hidden_size=4, window=5, embedding_size=3, **parameters)
    of = {LSTMRegressor: 1, LSTMMultiTargetRegressor: 2, LSTMClassifier: 3}[kind]
    resumed = None
    for n in range(80):
        if n == 40:
            resumed = again(whole, tmp_path)
            assert same(whole, resumed)
        tick = ticks_of_text(n)
        for model in (whole, *([resumed] if resumed else [])):
            model.learn_one(tick[0], tick[of])
    assert same(whole, resumed)
    assert same(whole.predict_one(tick[0]), resumed.predict_one(tick[0]))


@pytest.mark.parametrize(
    "parameters",
    [
        {"cell": "lstm1997"},
        {"cell": "peephole", "optimizer": "rmsprop"},
        {"cell": "gru", "learning": "snap1", "num_layers": 2},
        {"cell": "elstm", "learning": "rtrl"},
        {"bidirectional": True, "lookahead": 2},
    ],
)
def test_every_cell_and_rule_can_be_saved(tmp_path, parameters):
    """The buffers are filled with random numbers, as compiling all kernels would take long."""
    model = LSTMRegressor(hidden_size=4, window=5, seed=None, **parameters)
    model._add_features(["a", "b"])
    rng = np.random.default_rng(0)
    for buffer in (model._network.weights, model._network.memory, model._stats):
        buffer[:] = rng.normal(size=buffer.size)
    resumed = again(model, tmp_path)
    assert same(model, resumed)
    for own, view in zip(resumed._network.buffers, model._network.buffers, strict=True):
        assert own.dtype == view.dtype
        assert own.size == view.size


NAMES = [
    "a",
    "ä \ud800",
    1,
    -(10**30),
    0.1,
    -0.0,
    True,
    None,
    ("a", ("b", 2)),
    np.int64(3),
    b"\xff",
]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_names_keep_their_types(tmp_path, name):
    model = LSTMRegressor(hidden_size=2)
    model._add_features([name])
    assert same(again(model, tmp_path)._columns.index, {name: 0})


@pytest.mark.parametrize("name", [frozenset("a"), np.datetime64("2024"), 1j, print], ids=repr)
def test_other_names_are_refused(tmp_path, name):
    model = LSTMRegressor(hidden_size=2)
    model._add_features([name])
    with pytest.raises(SnapshotError, match=r"cannot hold .* may be text"):
        snapshot.save(model, tmp_path / "model.snapshot")
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_class_is_refused(tmp_path):
    class Network(LSTMRegressor):  # has the name of a class that snapshots may hold
        pass

    with pytest.raises(SnapshotError, match="a Network"):
        snapshot.save(Network(hidden_size=2), tmp_path / "model.snapshot")


def test_positions_are_restored(tmp_path):
    position = {
        "row": 5, "offset": 1 << 70, "nothing": None, "topics": [("a", 1, -0.0), ()],
        "errors": np.array([[1.0, np.nan]]), "inside": np.array([True]), "empty": np.empty((0, 3)),
        "scalar": np.float32(0.1), "text": np.str_("ö"),
        "objects": np.array([["a", None], [1.5, "b"]], object),
        "tuples": np.fromiter([(1, 2), (3, 4)], object),
        "infinite": [float("inf"), float("nan")],
        "newest": deque([1, 2], maxlen=2), "many": list(range(100)), "large": [1 << 70] * 50,
    }  # fmt: skip
    path = tmp_path / "model.snapshot"
    snapshot.save(LSTMRegressor(hidden_size=2), path, position)
    assert same(snapshot.load(path).position, position)
    with pytest.raises(SnapshotError, match="an array of complex"):
        snapshot.save(LSTMRegressor(hidden_size=2), path, np.array([1j]))
    assert same(snapshot.load(path).position, position)


@pytest.fixture
def saved(tmp_path):
    """A file with a model."""
    path = tmp_path / "model.snapshot"
    snapshot.save(LSTMForecaster(hidden_size=2, horizon=1, preset="fast"), path)
    return path


def rewritten(path, change=lambda header: None, form=file.FORMAT, find=b"", replace=b""):
    """Write a file with another header or format, complete and with the right checksum."""
    data = path.read_bytes()[:-32]
    magic, _, size, arrays = struct.unpack_from("<12sIQQ", data)
    header = json.loads(data[32 : 32 + size])
    change(header)
    text = json.dumps(header).encode().replace(find, replace)
    file.write_file(
        path, [struct.pack("<12sIQQ", magic, form, len(text), arrays), text, data[32 + size :]]
    )


def test_the_file_is_what_the_documentation_says(saved):
    rewritten(saved)
    assert snapshot.load(saved).model.hidden_size == 2
    header = json.loads(saved.read_bytes()[32:].split(b"\x00")[0].rsplit(b"}", 1)[0] + b"}")
    assert header["model"]["class"] == "LSTMForecaster"
    assert header["model"]["state"]["horizon"] == 1


@pytest.mark.parametrize("place", [0, 11, 12, 20, 28, 40, -40, -1])
def test_a_flipped_bit_is_found(saved, place):
    data = bytearray(saved.read_bytes())
    data[place] ^= 4
    saved.write_bytes(data)
    with pytest.raises(DamagedSnapshotError, match=r"model\.snapshot"):
        snapshot.load(saved)


@pytest.mark.parametrize("size", [0, 5, 31, 32, 500, -33, -1])
def test_a_file_cut_off_is_found(saved, size):
    data = saved.read_bytes()
    saved.write_bytes(data[:size])
    with pytest.raises(
        DamagedSnapshotError, match="is not a snapshot" if 0 <= size < 32 else "is cut off"
    ):
        snapshot.load(saved)


def test_extra_bytes_at_the_end_are_found(saved):
    saved.write_bytes(saved.read_bytes() + b"\n")
    with pytest.raises(DamagedSnapshotError, match="damaged"):
        snapshot.load(saved)


def test_a_newer_format_says_what_to_install(saved):
    rewritten(saved, lambda header: header.update(streamlstm="9.1"), form=file.FORMAT + 1)
    with pytest.raises(
        SnapshotError, match=r"was written by streamlstm 9\.1 .*: install"
    ) as caught:
        snapshot.load(saved)
    assert not isinstance(caught.value, DamagedSnapshotError)


@pytest.mark.parametrize(
    ("find", "replace"),
    [
        (b'"class": "SeasonFinder"', b'"class": "SeasonSeeker"'),
        (b'"class": "SeasonFinder"', b'"class": "Path"'),
        (b'"weights": {', b'"weighty": {'),
        (b'"detector": {"tuple": [{"bytes": "', b'"detector": {"tuple": [{"bytes": "AAAA'),
        (b'{"dict": [', b'{"set": ['),
        (b'"horizon": 1', b'"horizon": 9'),
        (b'"input_size"', b'"inputs_size"'),
    ],
)
def test_an_unknown_class_says_what_to_install(saved, find, replace):
    if find == b'"input_size"':
        find, replace = b'"fields": [', b'"fields": [0, '
    assert find in json.dumps(file.open_file(saved).header).encode()
    rewritten(saved, find=find, replace=replace)
    with pytest.raises(SnapshotError, match="was written by streamlstm"):
        snapshot.load(saved)


def names_in(node):
    """Names of all attributes in the header of a file, each with its class."""
    if isinstance(node, list):
        return set().union(*map(names_in, node))
    if not isinstance(node, dict):
        return set()
    names = {(node["class"], name) for name in node.get("state", ())} if "class" in node else set()
    return names.union(*map(names_in, node.values()))


@pytest.mark.parametrize("name", ["forecaster", "regressor"])
def test_the_first_format_is_read(tmp_path, name):
    """If this fails, increase FORMAT and say how to continue from the old format."""
    path = Path(__file__).parents[1] / "goldens" / f"{name}.snapshot"
    model, position = snapshot.load(path)
    if name == "forecaster":
        assert position == {"row": 100}
        assert model.forecast(5) == pytest.approx([1, 4, 2, 8, 5], abs=0.01)
        model.learn_one(1.0, {"a": 1, "b": 2})
        assert model.forecast(1) == pytest.approx([4], abs=0.01)
    else:
        assert position == {"row": 300}
        expected = [model.predict_one({"word": word, 7: 1.0}) for word in ("up", "down")]
        assert expected == pytest.approx([0, 1], abs=0.2)
        model.learn_one({"word": "new"}, 0.5)
    later = tmp_path / "again.snapshot"
    snapshot.save(snapshot.load(path).model, later)
    old, new = (file.open_file(each).header["model"] for each in (path, later))
    assert names_in(new) == names_in(old)


GOLDENS = Path(__file__).parents[1] / "goldens"


@pytest.mark.parametrize(
    ("weights", "rows"),
    [
        (
            "private",
            [[1.0292799209738366, 4.010585493811924], [10.3036650661213, 40.0986493047146]],
        ),
        ("shared", [[1.0292791564465777, 4.010584318646011], [10.3036373392178, 40.0986352928718]]),
    ],
)
def test_a_fleet_of_version_0_1_is_read(weights, rows):
    fleet, position = snapshot.load(GOLDENS / f"fleet_{weights}.snapshot", ForecasterFleet)
    assert position == {"row": 60}
    assert fleet.forecast(2, ["a", "b"]) == pytest.approx(np.array(rows), rel=1e-7)
    fleet.learn_many(["a", "c"], [1.0, 2.0], {"f": [0, 1]})
    assert fleet.keys == ["a", "b", "c"]


def test_classifiers_and_regressors_of_version_0_1_are_read():
    classifier, _ = snapshot.load(GOLDENS / "classifier.snapshot", LSTMClassifier)
    assert classifier.predict_proba_one({"x": 0})["up"] == pytest.approx(0.99656700, abs=1e-5)
    several, _ = snapshot.load(GOLDENS / "multi_target.snapshot", LSTMMultiTargetRegressor)
    assert several.predict_one({"x": 1})["up"] == pytest.approx(0.66438794, abs=1e-5)


def test_a_snapshot_of_another_class_is_refused():
    with pytest.raises(SnapshotError, match="holds LSTMClassifier, not LSTMForecaster"):
        snapshot.load(GOLDENS / "classifier.snapshot", LSTMForecaster)


def test_a_model_takes_the_state_of_a_snapshot(tmp_path):
    with Snapshots(tmp_path) as snapshots:
        snapshots.save(model_of(5), 5)
        model, found = model_of(0), snapshots.load()
        snapshots.restore(model, found)
        assert same(model, found.model)
        with pytest.raises(ParameterError, match="hidden_size=2, not 3"):
            snapshots.restore(LSTMRegressor(hidden_size=3), found)
        with pytest.raises(ParameterError, match="holds LSTMRegressor, not LSTMForecaster"):
            snapshots.restore(LSTMForecaster(), found)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        snapshot.load(tmp_path / "none.snapshot")


def model_of(ticks):
    model = LSTMRegressor(hidden_size=2)
    for n in range(ticks):
        model.learn_one({"x": n}, n)
    return model


def test_the_newest_snapshots_are_kept(tmp_path):
    with Snapshots(tmp_path / "a" / "b", keep=2) as snapshots:
        assert snapshots.load() is None
        for n in range(5):
            snapshots.save(model_of(n), n)
        names = sorted(path.name for path in snapshots.directory.glob("*.snapshot"))
        assert names == ["00000004.snapshot", "00000005.snapshot"]
        model, position = snapshots.load()
    assert position == 4
    assert same(model, model_of(4))


@pytest.mark.parametrize("damage", ["cut off", "overwritten", "empty"])
def test_a_damaged_snapshot_is_reported_and_the_one_before_is_loaded(tmp_path, caplog, damage):
    with Snapshots(tmp_path, keep=2) as snapshots:
        first, second = snapshots.save(model_of(1), 1), snapshots.save(model_of(2), 2)
        data = second.read_bytes()
        changed = {"cut off": data[:-1], "overwritten": data[:90] + b"?" + data[91:], "empty": b""}
        second.write_bytes(changed[damage])
        with caplog.at_level(logging.WARNING, "streamlstm"):
            assert snapshots.load().position == 1
        (record,) = caplog.records
        assert str(second) in record.getMessage()
        assert record.levelno == logging.WARNING
        snapshots.save(model_of(3), 3)
        snapshots.save(model_of(4), 4)
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == ["00000002.damaged", "00000003.snapshot", "00000004.snapshot", "lock"]
        assert first.name not in names


def test_a_run_does_not_start_afresh_if_all_snapshots_are_damaged(tmp_path):
    with Snapshots(tmp_path) as snapshots:
        for n in range(2):
            snapshots.save(model_of(n)).write_bytes(b"?")
        for _ in range(2):
            with pytest.raises(SnapshotError, match=r"all snapshots in .* are damaged"):
                snapshots.load()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EACCES, errno.EIO])
def test_only_a_file_that_the_disk_cannot_read_is_renamed(tmp_path, monkeypatch, code):
    def unreadable(path):
        if path == second:
            raise OSError(code, os.strerror(code), str(path))
        return whole(path)

    whole = Path.read_bytes
    with Snapshots(tmp_path) as snapshots:
        snapshots.save(model_of(1), 1)
        second = snapshots.save(model_of(2), 2)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_bytes", unreadable)
            if code == errno.EIO:
                assert snapshots.load().position == 1
            else:
                with pytest.raises(OSError, match=os.strerror(code)):
                    snapshots.load()
        assert snapshots.load().position == (1 if code == errno.EIO else 2)


def test_the_directory_outlasts_a_power_failure(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(directory, "sync_directory", synced.append)
    monkeypatch.chdir(tmp_path)
    Snapshots("a/b").close()
    assert sorted(synced) == [Path("."), Path("a")]
    Snapshots("a/b").close()
    assert len(synced) == 2


def test_a_snapshot_of_a_newer_version_is_not_skipped(tmp_path):
    with Snapshots(tmp_path) as snapshots:
        snapshots.save(model_of(0))
        rewritten(snapshots.save(model_of(1)), form=file.FORMAT + 1)
        with pytest.raises(SnapshotError, match="install"):
            snapshots.load()
    assert len(list(tmp_path.glob("*.snapshot"))) == 2


def test_unfinished_files_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / ".00000002.snapshot.unfinished").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    with Snapshots(tmp_path) as snapshots:
        assert snapshots.load() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "notes.txt"]


def test_a_full_disk_leaves_earlier_snapshots_unchanged(tmp_path):
    with Snapshots(tmp_path, keep=1) as snapshots:
        kept = snapshots.save(model_of(1), 1)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (kept.stat().st_size // 2, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large") as caught:
                snapshots.save(model_of(2), 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert caught.value.errno == errno.EFBIG
        assert sorted(path.name for path in tmp_path.iterdir()) == [kept.name, "lock"]
        assert snapshots.load().position == 1
        assert snapshots.save(model_of(2), 2).name == "00000002.snapshot"


def test_only_one_run_at_a_time_may_use_a_directory(tmp_path):
    command = f"from streamlstm.snapshots import Snapshots; Snapshots({str(tmp_path)!r})"
    with Snapshots(tmp_path):
        with pytest.raises(SnapshotError, match="in use by another run"):
            Snapshots(tmp_path)
        other = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
        assert "in use by another run" in other.stderr
    Snapshots(tmp_path).close()


@pytest.mark.parametrize("keep", [0, -1, 1.5, True, None])
def test_keep_is_checked(tmp_path, keep):
    with pytest.raises(ParameterError, match="keep must be"):
        Snapshots(tmp_path / "state", keep)
    assert not (tmp_path / "state").exists()


def test_a_model_may_learn_on_while_it_is_written(tmp_path):
    model = model_of(3)
    before, copied = copy.deepcopy(model), snapshot.ModelCopy(model, None)
    model.learn_one({"x": 9.0}, 9.0)
    file.write_file(tmp_path / "model.snapshot", copied.pieces(at_once=True))
    assert same(snapshot.load(tmp_path / "model.snapshot").model, before)
    assert not same(model, before)


def test_files_are_closed(tmp_path):
    descriptors = len(os.listdir("/proc/self/fd"))
    with Snapshots(tmp_path) as snapshots:
        snapshots.save(model_of(1))
        snapshots.load()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_copy_is_freed_at_once(tmp_path):
    """It does not wait for garbage collection: the copy of a large fleet has gigabytes."""
    gc.disable()
    tracemalloc.start()
    try:
        position = np.zeros(1_000_000)
        path = tmp_path / "model.snapshot"
        for _ in range(2):
            snapshot.save(model_of(1), path, position)
            snapshot.load(path)
        assert tracemalloc.get_traced_memory()[0] < 1.5 * position.nbytes
    finally:
        tracemalloc.stop()
        gc.enable()


def test_a_subclass_is_refused_and_nobody_waits_for_its_lock(tmp_path):
    class Ours(LSTMForecaster):
        pass

    with pytest.raises(SnapshotError, match="cannot hold a Ours"):
        snapshot.save(Ours(hidden_size=4, preset="fast"), tmp_path / "model.snapshot")
