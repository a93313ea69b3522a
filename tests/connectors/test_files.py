"""Files as live sources and sinks: when ticks come, what a crash or a full disk leaves."""

import json
import os
import resource
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from killed_live import TICKS, killed_and_counted
from live_counter import Counter
from server_redis import RedisServer
from servers import wait_until
from streamlstm_connectors.files.appended_file import AppendedFile
from streamlstm_connectors.files.csv import CSVSink, CSVSource
from streamlstm_connectors.files.live_file import FileSource
from streamlstm_connectors.files.parquet import ParquetSource, _complete_batches

from streamlstm import LSTMForecaster
from streamlstm.errors import DataError, ParameterError
from streamlstm.live import paced
from streamlstm.live.address import Address
from streamlstm.live.batch import Batch, EndOfStream
from streamlstm.live.connector import connector
from streamlstm.live.contract import FIELDS, ReplayableContract, SinkContract
from streamlstm.live.payload import Fields
from streamlstm.live.run import LiveRun


class _OfFiles(ReplayableContract):
    """Files are complete before they are opened, and keep no bookmark."""

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = tmp_path / "ticks"
        self.messages = []
        self.send([])

    def make(self):
        scheme = self.kind.__name__.removesuffix("Source").lower()
        address = Address(f"{scheme}:///{self.path}")
        return connector("source", address).from_address(address, FIELDS)

    def send(self, messages):
        self.messages += messages
        self.save(pd.DataFrame(self.messages, columns=["site", "load", "wind"]))

    def _ticks(self, count):
        self.send([{"site": "ab"[n % 2], "load": n, "wind": 10 * n} for n in range(count)])
        source = self.make()
        source.open(None)
        return source

    def test_read_returns_none_if_nothing_arrives(self):
        with pytest.raises(DataError, match="no rows"):
            self._ticks(0)

    def test_messages_that_are_not_ticks_are_rejected_with_a_reason(self):
        self._ticks(1).close()
        self.send([{"site": "a", "load": "high"}])
        source = self.make()
        source.open(None)
        with pytest.raises(DataError, match="column 'load': 'high' is not a number"):
            source.read(10, 1.0)

    def test_reads_again_from_the_position_that_open_returned(self):
        source = self._ticks(3)
        source.close()
        position = self._stored(source.open(None))
        self._read(source, 3)
        source.close()
        source.open(position)
        assert self._values(self._read(source, 3)) == [0, 1, 2]
        source.close()

    def test_continues_after_what_was_acknowledged(self):
        source = self._ticks(10)
        source.acknowledge(self._read(source, 4)[-1].position)
        source.close()
        again = self.make()
        assert again.open(None) == 0
        assert self._values(self._read(again, 10)) == [*range(10)]
        again.close()

    def test_can_be_closed_at_any_time(self):
        self._ticks(1).close()
        super().test_can_be_closed_at_any_time()

    def test_the_end_of_the_file_is_the_end_of_the_stream(self):
        source = self._ticks(3)
        self._read(source, 3)
        for _ in range(2):
            with pytest.raises(EndOfStream):
                source.read(1, 1.0)
        source.close()

    def test_a_file_that_has_become_shorter_is_an_error(self):
        source = self._ticks(3)
        source.open(4)
        with pytest.raises(DataError, match="has 3 ticks, but 4 of them were learned"):
            source.read(1, 1.0)

    def test_skipping_what_was_learned_returns_in_time(self, monkeypatch):
        monkeypatch.setattr("streamlstm_connectors.files.table_source.BATCH_TICKS", 64)
        source = self._ticks(1000)
        source.open(900)
        reads = [source.read(10, 0.0) for _ in range(16)]
        assert reads[0] is None
        assert next(read for read in reads if read).values[0] == 900
        source.close()


class TestCSVFile(_OfFiles):
    kind = CSVSource

    def save(self, frame):
        frame.to_csv(self.path, index=False)


class TestParquetFile(_OfFiles):
    kind = ParquetSource

    def save(self, frame):
        if any(isinstance(value, str) for value in frame["load"]):
            frame["load"] = frame["load"].astype(str)
        frame.to_parquet(self.path)


class TestLiveCSVSink(SinkContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = tmp_path / "forecasts.csv"

    def make(self):
        return CSVSink.from_address(Address(f"csv:///{self.path}"))

    def delivered(self):
        table = pd.read_csv(self.path)
        numbers = table[[name for name in table if name.startswith("forecast")]]
        return list(zip(table["id"], numbers.to_numpy().tolist(), strict=True))

    def test_the_system_has_the_forecasts_once_write_returns(self):
        """As the contract has it, of batches that are alike."""
        sink = self.make()
        sink.open()
        forecasts = np.arange(12.0).reshape(4, 3)
        sink.write(self._batch(0, 3), forecasts[:3], None)
        sink.write(self._batch(3, 1), forecasts[3:], None)
        expected = [(f"{n}-0", row) for n, row in enumerate(forecasts.tolist())]
        assert self.delivered() == expected
        with pytest.raises(DataError, match="has the columns id,key,time,forecast_1,"):
            sink.write(self._batch(4, 1), forecasts[3:], np.zeros((1, 2, 3)))
        assert self.delivered() == expected
        sink.close()


def lines_of(path):
    return path.read_text().splitlines()


def batch_of(values, times=None):
    ids = [str(n) for n in range(len(values))]
    return Batch(np.array(values, float), {}, times, ids, None, ids)


@pytest.fixture
def minutes(tmp_path):
    """A file of 20 ticks, a minute apart but for two."""
    path = tmp_path / "minutes.csv"
    times = pd.date_range("2024-01-01", periods=20, freq="min").to_series()
    times.iloc[5] = times.iloc[3]
    pd.DataFrame({"at": times, "key": "a", "value": range(20)}).to_csv(path, index=False)
    return path


def live(path, speed=0, **fields):
    options = f"?speed={speed}" if speed else ""
    address = Address(f"csv:///{path}{options}")
    given = {"time": "at", "key": "key"} | fields
    return CSVSource.from_address(address, Fields(**given))


def test_ticks_are_read_when_they_are_due(minutes):
    source = live(minutes, speed=60 * 50)  # every 20 ms
    source.open(None)
    began, came = time.monotonic(), []
    while len(came) < 20:
        asked = time.monotonic()
        batch = source.read(100, 0.005)
        assert time.monotonic() - asked < 1
        came += [] if batch is None else [time.monotonic() - began] * len(batch)
    source.close()
    due = 0.02 * np.maximum.accumulate([n if n != 5 else 3 for n in range(20)])
    assert (np.array(came) >= due - 0.001).all()
    assert np.median(np.array(came) - due) < 0.05


def test_a_continued_run_starts_its_clock_again(minutes):
    source = live(minutes, speed=1)
    source.open(15)
    began = time.monotonic()
    assert source.read(100, 1.0).values.tolist() == [15]
    assert source.read(100, 0.01) is None
    assert time.monotonic() - began < 10
    source.close()


def test_a_replay_can_be_paced(minutes):
    began = time.monotonic()
    came = [
        (time.monotonic() - began, value)
        for part in paced(CSVSource(minutes), 60 * 50)  # every 20 ms
        for value in part.values
    ]
    assert [value for _, value in came] == [*range(20)]
    due = 0.02 * np.maximum.accumulate([n if n != 5 else 3 for n in range(20)])
    late = [when for when, _ in came] - due
    assert (late >= 0).all()
    assert np.median(late) < 0.05


def test_a_paced_replay_does_not_wait_for_ticks_learned_before(minutes):
    began = time.monotonic()
    parts = [part.values.tolist() for part in paced(CSVSource(minutes), 1, start=19)]
    assert parts == [[*range(19)], [19]]
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("address", "fields", "message"),
    [
        ("csv:///x.csv?speed=fast", {}, "speed must be a number, got 'fast'"),
        ("csv:///x.csv?speed=-1", {"time": "t"}, "speed must be above 0, got -1"),
        ("csv:///x.csv?speed=nan", {"time": "t"}, "speed must be above 0"),
        ("csv:///x.csv?speed=1", {}, "speed needs timestamps"),
        ("csv:///x.csv?sped=1", {}, "has the unknown option 'sped'"),
        ("csv://x.csv", {}, "write csv:///FILE"),
        ("parquet:///", {}, "write parquet:///FILE"),
        ("csv:///x.csv", {"sequence": "n"}, "leave out sequence"),
    ],
)
def test_addresses_are_checked_before_a_file_is_opened(address, fields, message):
    address = Address(address)
    with pytest.raises(ParameterError, match=message):
        connector("source", address).from_address(address, Fields(**fields))


def test_speed_needs_timestamps(minutes):
    with pytest.raises(ParameterError, match="above 0"):
        next(paced(CSVSource(minutes), 0))
    with pytest.raises(ParameterError, match="name their column"):
        next(paced(CSVSource(minutes, time=None), 1))
    with pytest.raises(ParameterError, match="above 0"):
        FileSource(lambda: CSVSource(minutes), float("inf"))


def test_warnings_about_a_file_are_logged(minutes, caplog):
    LiveRun(Counter(), live(minutes)).run()
    (record,) = [each for each in caplog.records if "earlier" in each.getMessage()]
    assert "minutes.csv line 7" in record.getMessage()


def test_a_run_ends_with_its_file_and_continues_if_that_grows(minutes, tmp_path):
    for limit in (3, 4, None, None):
        run = LiveRun(Counter(), live(minutes), None, tmp_path / "state")
        run.run(limit)
    assert run.model.values == [*range(20)]
    with minutes.open("a") as file:
        file.write("2024-01-02,a,20\n")
    run = LiveRun(Counter(), live(minutes), None, tmp_path / "state")
    run.run()
    assert run.model.values == [*range(21)]


def test_the_command_reads_and_writes_files(minutes, kernels, tmp_path):
    output = tmp_path / "out.csv"
    command = [
        sys.executable, "-m", "streamlstm", "run", "--source", f"csv:///{minutes}",
        "--sink", f"csv:///{output}", "--time", "at", "--preset", "fast", "--season", "none",
        "--hidden-size", "4", "--window", "5", "--horizon", "2", "--interval", "0.8",
        "--state", tmp_path / "state",
    ]  # fmt: skip
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ticks"] == 20
    table = pd.read_csv(output)
    numbers = [f"{kind}_{h}" for kind in ("forecast", "lower", "upper") for h in (1, 2)]
    assert [*table] == ["id", "time", *numbers]
    assert table["id"].tolist() == [*range(20)]
    assert table["time"][1] == "2024-01-01T00:01:00Z"
    one = LSTMForecaster(hidden_size=4, window=5, preset="fast", season=None, horizon=24)
    times = pd.to_datetime(table["time"]).dt.as_unit("ns").astype(np.int64).to_numpy()
    for value in range(20):
        one.learn_many([value], timestamps=times[value : value + 1])
    assert table[["forecast_1", "forecast_2"]].iloc[-1].tolist() == one.forecast(2)


@pytest.mark.parametrize("cut", [1, 3, 40, 45, 10**6])
def test_a_torn_last_line_is_removed(tmp_path, cut):
    path = tmp_path / "out.csv"
    sink = CSVSink.from_address(Address(f"csv:///{path}"))
    sink.open()
    sink.write(batch_of([1, 2]), np.ones((2, 1)), None)
    sink.close()
    whole = path.read_bytes()
    left = whole[: max(len(whole) - cut, 0)]
    path.write_bytes(left)
    sink.open()
    sink.write(batch_of([3]), np.ones((1, 1)), None)
    sink.close()
    kept = left[: left.rfind(b"\n") + 1] or b"id,forecast_1\n"
    assert path.read_bytes() == kept + b"0,1.0\n"


def test_a_long_torn_line_is_removed(tmp_path):
    path = tmp_path / "out.csv"
    path.write_bytes(b"id,forecast_1\n" + 200_000 * b"1")
    sink = CSVSink.from_address(Address(f"csv:///{path}"))
    sink.open()
    sink.write(batch_of([3]), np.ones((1, 1)), None)
    sink.close()
    assert path.read_bytes() == b"id,forecast_1\n0,1.0\n"


@pytest.mark.parametrize("foreign", [b"at,value\n1,2\n3,4", b"id,value\n1,2", b"\xff\0" * 10**6])
def test_a_file_with_other_columns_is_left_unchanged(tmp_path, foreign):
    path = tmp_path / "readings.csv"
    path.write_bytes(foreign)
    sink = CSVSink.from_address(Address(f"csv:///{path}"))
    sink.open()
    with pytest.raises(DataError, match=r"readings.csv has the columns") as caught:
        sink.write(batch_of([1]), np.ones((1, 1)), None)
    assert len(str(caught.value)) < 3000
    sink.close()
    assert path.read_bytes() == foreign


def test_a_key_with_line_ends_stays_on_one_line(tmp_path):
    path = tmp_path / "out.csv"
    keys = ["a\nb", "a\rb", 'q"x', "a,b", " a"]
    sink = CSVSink.from_address(Address(f"csv:///{path}"))
    sink.open()
    sink.write(replace(batch_of(range(5)), keys=keys), np.ones((5, 1)), None)
    sink.close()
    assert pd.read_csv(path)["key"].tolist() == ["a b", "a b", *keys[2:]]
    assert len(path.read_bytes().splitlines()) == 6


def test_a_failed_append_leaves_the_file_unchanged(tmp_path):
    file = AppendedFile(tmp_path / "file")
    file.append(b"one\n")

    class Full:
        def __init__(self, raw):
            self._raw = raw

        def write(self, piece):
            if len(piece) < 3:
                raise OSError(28, "No space left on device")
            return self._raw.write(piece[:2])

        def __getattr__(self, name):
            return getattr(self._raw, name)

    raw = file._file
    file._file = Full(raw)
    with pytest.raises(OSError, match="No space"):
        file.append(b"seven\n")
    assert (tmp_path / "file").read_bytes() == b"one\n"
    file._file = raw
    file.append(b"two\n")
    file.close()
    assert (tmp_path / "file").read_bytes() == b"one\ntwo\n"


def test_a_missing_folder_ends_the_run(tmp_path, minutes):
    sink = CSVSink.from_address(Address(f"csv:///{tmp_path}/none/out.csv"))
    with pytest.raises(DataError, match=r"none/out.csv cannot be written"):
        LiveRun(Counter(), live(minutes), sink).run()
    with pytest.raises(DataError, match="cannot be read"):
        LiveRun(Counter(), live(tmp_path / "none.csv")).run()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_path_that_is_not_a_file_ends_the_run(tmp_path, make):
    make(tmp_path / "out")
    sink = CSVSink.from_address(Address(f"csv:///{tmp_path}/out"))
    with pytest.raises(DataError, match="out cannot be written"):
        sink.open()


def rows_in(path):
    with closing(sqlite3.connect(path)) as client:
        return client.execute("SELECT count(*) FROM forecasts").fetchone()[0]


FULL = """
import resource, signal, sys
from live_counter import Counter
from streamlstm.live import Address, Fields
from streamlstm.live import run as live
from streamlstm.live.connector import connector
from streamlstm.live.run import LiveRun
live.SHORTEST = live.LONGEST = 0.02
source, sink = map(Address, sys.argv[1:3])
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), most))
run = LiveRun(
    Counter(),
    connector("source", source).from_address(source, Fields(key="key")),
    connector("sink", sink).from_address(sink),
    batch_ticks=100,
)
run.run()
print(run.metrics.sink_errors > 0)
"""


@pytest.mark.parametrize(
    ("address", "size", "count"),
    [
        (
            "csv:///{}/out.csv",
            20_000,
            lambda folder: sum(1 for _ in (folder / "out.csv").open()) - 1,
        ),
        ("sqlite:///{}/out.db", 60_000, lambda folder: rows_in(folder / "out.db")),
        ("parquet:///{}/out", 2_000, lambda folder: len(pd.read_parquet(folder / "out"))),
    ],
)
def test_a_run_waits_while_the_disk_is_full(tmp_path, address, size, count):
    """A file may grow to a size, and then, once the run waits, as it likes."""
    rows = "".join(f"a,{n}\n" for n in range(3000))
    (tmp_path / "ticks.csv").write_text("key,value\n" + rows)
    errors = tmp_path / "errors"
    with errors.open("wb") as log:
        run = subprocess.Popen(
            [
                sys.executable, "-c", FULL, f"csv:///{tmp_path}/ticks.csv",
                address.format(tmp_path), str(size),
            ],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=log,
        )  # fmt: skip
        try:
            wait_until(lambda: run.poll() is not None or errors.read_text().count("trying") > 3, 60)
            assert run.poll() is None, errors.read_text()
            out = [path for path in tmp_path.rglob("*") if "out" in str(path.relative_to(tmp_path))]
            assert max(path.stat().st_size for path in out if path.is_file()) <= size
            most = resource.prlimit(run.pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (most, most))
            assert run.communicate(timeout=60)[0] == b"True\n"
        finally:
            run.kill()
    assert count(tmp_path) == 3000


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_forecasts_survive_kills(tmp_path, form):
    path = tmp_path / "out"

    def delivered():
        if form == "csv":
            whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
            return [line.partition(b",")[0].decode() for line in whole.split(b"\n")[1:]]
        files = [pd.read_parquet(file)["id"].tolist() for file in sorted(path.glob("f*"))]
        for journal in path.glob("_*.journal"):
            with suppress(FileNotFoundError):  # it has become a file
                files += [
                    rows["id"].to_pylist() for rows in _complete_batches(journal.read_bytes())
                ]
        return [name for ids in files for name in ids]

    with RedisServer(tmp_path) as server:
        client = server.client()

        def send(n):
            client.xadd("ticks", {"key": "a", "value": n}, f"{n + 1}-0")
            return True

        options = "?rows=200" if form == "parquet" else ""
        sink = f"{form}:///{path}{options}"
        values, ids = killed_and_counted(server.address("ticks"), sink, tmp_path, send, delivered)
    assert values == [*range(TICKS)]
    assert list(dict.fromkeys(ids)) == [f"{n + 1}-0" for n in range(TICKS)]


def test_nothing_is_read_while_a_sink_is_slow(minutes):
    reads, writes = [], []

    class Slow:
        def open(self):
            pass

        def write(self, *given):
            before = len(reads)
            time.sleep(0.05)
            writes.append(len(reads) - before)

        close = open

    source = live(minutes)
    read = source.read
    source.read = lambda *given: reads.append(given) or read(*given)
    LiveRun(Counter(), source, Slow(), batch_ticks=5).run()
    assert writes == [0, 0, 0, 0]
    assert len(reads) == 5
