"""Parquet files: the same ticks as of CSV files, typed columns, and folders of forecasts."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from streamlstm_connectors.files.csv import CSVSource
from streamlstm_connectors.files.parquet import ParquetSink, ParquetSource

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.errors import DataError, ParameterError
from streamlstm.live.address import Address
from streamlstm.live.batch import Batch
from streamlstm.live.contract import SinkContract
from streamlstm.replays.runner import run

SECOND = 1_000_000_000


@pytest.fixture
def write(tmp_path):
    def write(columns, name="data.parquet", **options):
        path = tmp_path / name
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        pq.write_table(table, path, **options)
        return path

    return write


def ticks_of(source):
    """(key, value, time, features ...) of each tick."""
    for batch in source:
        times = [None] * len(batch) if batch.timestamps is None else batch.timestamps.tolist()
        keys = batch.keys or [None] * len(batch)
        columns = keys, batch.values.tolist(), times, *batch.features.values()
        yield from zip(*columns, strict=True)


def both(tmp_path, frame):
    frame.to_csv(tmp_path / "same.csv", index=False)
    frame.to_parquet(tmp_path / "same.parquet", row_group_size=37)
    return tmp_path / "same.csv", tmp_path / "same.parquet"


def table_of_many_kinds():
    rng, n = np.random.default_rng(0), 300
    return pd.DataFrame(
        {
            "id": np.arange(n),
            "when": pd.date_range("2024-01-01", periods=n, freq="37min", tz="Europe/Berlin"),
            "site": [["north", "NA", "01"][k % 3] for k in range(n)],
            "load": np.where(rng.random(n) < 0.1, np.nan, np.round(rng.normal(size=n), 6)),
            "count": pd.array([None if k % 50 == 3 else k % 7 for k in range(n)], "Int64"),
            "on": rng.random(n) < 0.5,
        }
    )


@pytest.mark.parametrize("batch_rows", [None, 1, 7, 100])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"features": ["count", "on"]},
        {"key": "site", "features": ["count"]},
        {"wide": True},
        {"time": None, "target": "count"},
    ],
)
def test_the_ticks_are_those_of_the_same_csv(tmp_path, options, batch_rows):
    paths = both(tmp_path, table_of_many_kinds())
    csv, parquet = (
        kind(path, batch_rows=batch_rows, **options)
        for kind, path in zip((CSVSource, ParquetSource), paths, strict=True)
    )
    assert (csv.time, csv.targets, csv.columns) == (parquet.time, parquet.targets, parquet.columns)
    np.testing.assert_equal([*ticks_of(parquet)], [*ticks_of(csv)])
    assert csv.warnings == parquet.warnings
    assert parquet.fraction_read == 1.0


def test_the_forecasts_are_those_of_the_same_csv(tmp_path):
    made = []
    for kind, path in zip(
        (CSVSource, ParquetSource), both(tmp_path, table_of_many_kinds()), strict=True
    ):
        model = LSTMForecaster(hidden_size=4, window=5, preset="fast", horizon=3)
        source = kind(path, features=["count"], key="site")
        made.append([rows for _, rows, _ in run(ForecasterFleet(model), source, 3)])
    np.testing.assert_array_equal(*map(np.concatenate, made))


@pytest.mark.parametrize(
    ("column", "step"),
    [
        (pa.array([0, 5], pa.timestamp("s")), 5 * SECOND),
        (pa.array([0, 5], pa.timestamp("ms", "UTC")), 5_000_000),
        (pa.array([0, 5], pa.timestamp("us", "America/New_York")), 5000),
        (pa.array([0, 5], pa.timestamp("ns", "+02:00")), 5),
        (pa.array([datetime.date(2024, 1, 1), datetime.date(2024, 1, 3)]), 2 * 86400 * SECOND),
        (pa.array([0, 86_400_000], pa.date64()), 86400 * SECOND),
        (pa.array([1704067200, 1704067203]), 3 * SECOND),
        (pa.array([1704067200.25, 1704067200.5]), SECOND // 4),
        (pa.array([1704067200000000000, 1704067200000000001]), 1),
        (
            pa.array([decimal.Decimal("1704067200.0"), decimal.Decimal("1704067201.5")]),
            1.5 * SECOND,
        ),
        (pa.array(["2024-01-01T00:00:00Z", "2024-01-01T02:00:00+01:00"]), 3600 * SECOND),
        (pa.array(["2024-01-01", "2024-01-02"]).dictionary_encode(), 86400 * SECOND),
    ],
)
def test_columns_of_any_type_of_time_are_read(write, column, step):
    path = write({"time": column, "y": [1, 2]})
    source = ParquetSource(path)
    assert source.time == "time"
    (first, second) = [tick[2] for tick in ticks_of(source)]
    assert second - first == step
    labels = next(iter(ParquetSource(path))).labels
    assert pd.to_numeric(labels[0], errors="coerce") > 0 or pd.Timestamp(labels[0])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, None, 3], pa.int8()), [1, np.nan, 3]),
        (pa.array([1, None, 2**63], pa.uint64()), [1, np.nan, 2**63]),
        (pa.array([1.5, None, np.inf], pa.float32()), [1.5, np.nan, np.nan]),
        (pa.array([1, 2, 3]).cast(pa.float16()), [1, 2, 3]),
        (pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("3.00")]), [1.25, np.nan, 3]),
        (pa.array([True, None, False]), [1, np.nan, 0]),
        (pa.array(["1", "NA", "2e3"]), [1, np.nan, 2000]),
        (pa.array(["1", None, "1"], pa.large_string()), [1, np.nan, 1]),
        (pa.array(["5", "", "5"]).dictionary_encode(), [5, np.nan, 5]),
        (pa.array([5, 6, 5]).dictionary_encode(), [5, 6, 5]),
    ],
)
def test_columns_of_any_type_of_number_are_read(write, column, expected):
    path = write({"y": column, "a": column, "other": [[1], [2], [3]]})
    source = ParquetSource(path, target="y", features=["a"])
    np.testing.assert_equal([tick[1] for tick in ticks_of(source)], expected)
    np.testing.assert_equal([tick[3] for tick in ticks_of(source)], expected)


@pytest.mark.parametrize(
    ("column", "keys"),
    [
        (["a", " b ", "NA"], ["a", "b", "NA"]),
        ([1, 2, 1], ["1", "2", "1"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        ([True, False, True], ["true", "false", "true"]),
        ([b"a", b"b", b"a"], ["a", "b", "a"]),
        ([datetime.date(2024, 1, 1)] * 3, ["2024-01-01"] * 3),
    ],
)
def test_columns_of_any_type_of_key_are_read(write, column, keys):
    source = ParquetSource(write({"who": column, "y": [1, 2, 3]}), key="who")
    assert [tick[0] for tick in ticks_of(source)] == keys
    assert source.targets == ["y"]


def test_repeated_and_backward_timestamps_give_warnings(write):
    times = pa.array([1, 2, 2, 1, 0], pa.timestamp("s"))
    source = ParquetSource(write({"t": times, "y": [1, 2, 3, 4, 5]}), batch_rows=2)
    assert len([*ticks_of(source)]) == 5
    repeated, backward = source.warnings
    assert repeated.startswith("1 timestamp equals the one before it")
    assert "2 timestamps are earlier" in backward
    assert "data.parquet row 4, column 't'" in backward


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"y": pa.array([], pa.int64())}, {}, "has a header but no rows"),
        ({"y": [1]}, {"target": "z"}, "no column 'z'; its columns are y"),
        ({"y": [[1]]}, {"target": "y"}, "'y' holds list<.*>, not numbers"),
        ({"y": [1], "f": [{"a": 1}]}, {"features": ["f"]}, "'f' holds struct<a: int64>, not numb"),
        ({"y": [1], "k": [[1]]}, {"key": "k"}, "'k' holds list<.*>, not text"),
        ({"y": [[1]]}, {}, "no column of numbers to forecast among y"),
        (
            {"y": pa.array([1], pa.timestamp("s"))},
            {"target": "y", "time": None},
            r"'y' holds timestamp\[.*\], not numbers",
        ),
        ({"y": pa.array([1], pa.time32("s"))}, {"target": "y"}, "'y' holds time32.*, not numbers"),
        ({"y": ["5", "x"]}, {"target": "y"}, "parquet row 2, column 'y': 'x' is not a number"),
        (
            {"y": [1, 2], "k": ["a", None]},
            {"key": "k"},
            "row 2, column 'k': an empty cell is not a key",
        ),
        ({"y": [1, 2], "k": ["a", " "]}, {"key": "k"}, "row 2, column 'k': an empty cell"),
        (
            {"y": [1, 2], "t": pa.array([5, None], pa.timestamp("s"))},
            {"time": "t"},
            "row 2, column 't': an empty cell is not a timestamp",
        ),
        (
            {"y": [1], "t": pa.array([32503680000], pa.timestamp("s"))},
            {"time": "t"},
            "row 1, column 't': .*3000-01-01.* is not a timestamp from 1677 to 2262",
        ),
        (
            {"y": [1], "t": pa.array([2**62], pa.timestamp("ms"))},
            {"time": "t"},
            "row 1, column 't': '146140482-.*' is not a timestamp from 1677 to 2262",
        ),
        ({"y": [1], "t": ["soon"]}, {"time": "t"}, "row 1, column 't': 'soon' is not a timestamp"),
        ({"y": [1], "k": [b"\xff"]}, {"key": "k"}, "data.parquet cannot be read: .*UTF"),
    ],
)
def test_errors_say_what_is_wrong_and_where(write, columns, options, message):
    path = write(columns)
    with pytest.raises(DataError, match=message):
        list(ParquetSource(path, **options))


def test_two_columns_of_one_name_are_an_error(write):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["y", "y"])
    with pytest.raises(DataError, match="names a column twice: y, y"):
        ParquetSource(write(table))


def test_damaged_files_are_errors(write, tmp_path):
    path = write({"y": np.arange(10_000.0)}, compression="none", use_dictionary=False)
    whole = path.read_bytes()
    zeros = whole[:100] + bytes(200) + whole[300:]
    for damaged in (b"", b"PAR1", b"y\n1\n2\n", whole[:-1], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"data\.parquet cannot be read"):
            ParquetSource(path)
    path = write({"y": np.arange(10_000.0)}, compression="zstd")
    whole = bytearray(path.read_bytes())
    whole[10:60] = zeros[100:150]
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"data\.parquet cannot be read"):
        list(ParquetSource(path))
    with pytest.raises(DataError, match=r"none\.parquet cannot be read"):
        ParquetSource(tmp_path / "none.parquet")


class TestParquetSink(SinkContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path / "forecasts"

    def make(self):
        self.sink = ParquetSink.from_address(Address(f"parquet:///{self.folder}"))
        return self.sink

    def delivered(self):
        """What a reader finds once a run has ended, or was killed and has gone on."""
        again = ParquetSink(self.folder)
        again.open()
        again.close()
        return rows_of(self.folder)


def rows_of(folder):
    found = []
    for path in sorted(folder.glob("*.parquet")):
        table = pd.read_parquet(path)
        numbers = table[[name for name in table if name.startswith("forecast")]]
        found += zip(table["id"], numbers.to_numpy().tolist(), strict=True)
    return found


def batch_of(first, count, **more):
    ids = [str(n) for n in range(first, first + count)]
    return Batch(np.zeros(count), {}, None, ids, None, ids, **more)


def written(sink, first, count):
    sink.write(batch_of(first, count), np.full((count, 1), 1.5), None)


def test_files_have_limited_rows_and_appear_complete(tmp_path):
    sink = ParquetSink(tmp_path, rows=10)
    sink.open()
    for n in range(9):
        written(sink, 4 * n, 4)
        assert [name for name, _ in rows_of(tmp_path)] == [str(k) for k in range(n // 3 * 12)]
    sink.close()
    assert [name for name, _ in rows_of(tmp_path)] == [str(n) for n in range(36)]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"forecasts-0000000{n}.parquet" for n in (1, 2, 3)]
    assert len(pd.read_parquet(tmp_path)) == 36


def test_files_of_other_names_are_left_alone(tmp_path):
    others = [tmp_path / name for name in ("forecasts-old.parquet", "_notes.journal")]
    for path in others:
        path.write_text("mine")
    sink = ParquetSink(tmp_path)
    sink.open()
    written(sink, 0, 1)
    sink.close()
    assert [path.read_text() for path in others] == ["mine", "mine"]
    assert (tmp_path / "forecasts-00000001.parquet").exists()


def test_files_have_a_limited_age(tmp_path):
    sink = ParquetSink(tmp_path, seconds=0)
    sink.open()
    written(sink, 0, 1)
    written(sink, 1, 1)
    assert len(rows_of(tmp_path)) == 1
    sink.close()


def test_times_and_intervals_have_types(tmp_path):
    sink = ParquetSink(tmp_path)
    sink.open()
    times = np.array([5, 1_704_067_200_000_000_001])
    batch = Batch(np.zeros(2), {}, times, ["", ""], ["a", "b"], ["x", "y"])
    sink.write(batch, np.ones((2, 1)), np.zeros((2, 2, 1)))
    sink.close()
    (path,) = tmp_path.iterdir()
    schema = pq.read_schema(path)
    assert schema.names == ["id", "key", "time", "forecast_1", "lower_1", "upper_1"]
    assert schema.field("time").type == pa.timestamp("ns", "UTC")
    source = ParquetSource(path, time="time", target="forecast_1", key="key")
    assert [tick[:3] for tick in ticks_of(source)] == [("a", 1, 5), ("b", 1, times[1])]


@pytest.mark.parametrize("lost", [0, 1, 100, 300, 10**6])
def test_a_torn_journal_becomes_a_file_of_its_complete_batches(tmp_path, lost):
    sink = ParquetSink(tmp_path)
    sink.open()
    written(sink, 0, 3)
    journal = tmp_path / "_00000001.journal"
    first = journal.stat().st_size
    written(sink, 3, 3)
    left = max(journal.stat().st_size - lost, 0)
    with journal.open("rb+") as file:
        file.truncate(left)
    again = ParquetSink(tmp_path)
    again.open()
    kept = 6 if lost == 0 else 3 if left >= first else 0
    assert [name for name, _ in rows_of(tmp_path)] == [str(n) for n in range(kept)]
    assert not journal.exists()
    written(again, kept, 1)
    again.close()
    assert [name for name, _ in rows_of(tmp_path)] == [str(n) for n in range(kept + 1)]


def test_a_crash_before_the_journal_is_deleted_repeats_nothing(tmp_path):
    sink = ParquetSink(tmp_path)
    sink.open()
    written(sink, 0, 3)
    journal = tmp_path / "_00000001.journal"
    kept = journal.read_bytes()
    sink.close()
    journal.write_bytes(kept)
    (tmp_path / "_00000001.unfinished").write_bytes(b"PAR1")
    sink.open()
    written(sink, 3, 1)
    sink.close()
    assert [name for name, _ in rows_of(tmp_path)] == ["0", "1", "2", "3"]
    assert len([*tmp_path.iterdir()]) == 2


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("parquet:///out?rows=0", "rows must be at least 1, got 0"),
        ("parquet:///out?rows=x", "rows must be a whole number, got 'x'"),
        ("parquet://out", "write parquet:///FILE"),
    ],
)
def test_addresses_are_checked_before_opening(address, message):
    with pytest.raises(ParameterError, match=message):
        ParquetSink.from_address(Address(address))
