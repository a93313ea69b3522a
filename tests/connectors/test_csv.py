"""CSV files: guesses, policies for bad input, and errors that name file, line and column."""

import gzip

import numpy as np
import pytest
from pandas._libs.parsers import STR_NA_VALUES
from streamlstm_connectors.files.csv import CSVSink, CSVSource

from streamlstm.errors import DataError, ParameterError
from streamlstm.live.batch import Batch

SECOND = 1_000_000_000


@pytest.fixture
def write(tmp_path):
    def write(text, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def read(source):
    batches = list(source)
    times = [batch.timestamps for batch in batches]
    return (
        np.concatenate([batch.values for batch in batches]).tolist(),
        None if times[0] is None else np.concatenate(times).tolist(),
        batches,
    )


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 100])
@pytest.mark.parametrize("packed", [False, True])
def test_plain_and_gzip_files_are_read_in_chunks_of_any_size(write, batch_rows, packed):
    text = "time,y,a\n1,10,5\n2,11,\n3,12,7\n"
    path = write(gzip.compress(text.encode()) if packed else text)
    source = CSVSource(path, features=["a"], batch_rows=batch_rows)
    values, times, batches = read(source)
    assert values == [10.0, 11.0, 12.0]
    assert times == [SECOND, 2 * SECOND, 3 * SECOND]
    assert [label for batch in batches for label in batch.labels] == ["1", "2", "3"]
    feature = np.concatenate([batch.features["a"] for batch in batches])
    assert np.array_equal(feature, [5.0, np.nan, 7.0], equal_nan=True)
    assert source.fraction_read == 1.0
    assert read(source)[0] == values  # may be read again


@pytest.mark.parametrize(
    ("first", "second", "step"),
    [
        ("2024-01-01", "2024-01-02", 86400 * SECOND),
        ("2024-01-01T00:00:00", "2024-01-01T01:00:00", 3600 * SECOND),
        ("2024-01-01 00:00:00.5", "2024-01-01 00:00:01", SECOND // 2),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:01+00:00", SECOND),
        ("2024-01-01T00:00:00+01:00", "2024-01-01T00:00:00+00:00", 3600 * SECOND),
        ("1704067200", "1704067201", SECOND),
        ("1704067200.25", "1704067200.5", SECOND // 4),
        ("1704067200000", "1704067200001", SECOND // 1000),
        ("1704067200000000", "1704067200000001", SECOND // 1_000_000),
        ("1704067200000000000", "1704067200000000001", 1),
    ],
)
def test_times_are_iso_8601_or_numbers_since_1970(write, first, second, step):
    path = write(f"time,y\n{first},1\n{second},2\n")
    _, times, _ = read(CSVSource(path))
    assert times[1] - times[0] == step
    assert np.datetime64(times[0], "ns").astype("datetime64[Y]").astype(int) + 1970 in (2023, 2024)


@pytest.mark.parametrize(
    ("header", "row", "time", "target"),
    [
        ("timestamp,value", "2024-01-01,5", "timestamp", "value"),
        ("when,load", "2024-01-01T05:00:00,5", "when", "load"),
        ("load", "5", None, "load"),
        ("Date;Open;Close", "2024-01-01;5;6", "Date", "Close"),
        ("ts\tid\ttemp", "1704067200\t1\t5", "ts", "temp"),
        ("site,y,date", "north,5,2024-01-01", "date", "y"),
        ("month,passengers", "1949-01,112", "month", "passengers"),
    ],
)
def test_time_and_target_are_guessed(write, header, row, time, target):
    source = CSVSource(write(f"{header}\n{row}\n"))
    assert (source.time, source.targets) == (time, [target])
    assert len(read(source)[0]) == 1


def test_a_column_that_counts_rows_is_not_guessed_as_target(write):
    rows = "".join(f"{n},{n % 3}\n" for n in range(9))
    assert CSVSource(write("row,temp\n" + rows)).targets == ["temp"]
    assert CSVSource(write("row\n1\n2\n3\n")).targets == ["row"]


def test_byte_order_marks_blank_lines_spaces_quotes_and_windows_line_ends_are_read(write):
    path = write('\ufeff"time", "y"\r\n2024-01-01, "5"\r\n\r\n2024-01-02, 6\r\n')
    assert read(CSVSource(path))[0] == [5.0, 6.0]


def test_missing_and_infinite_values_are_nan(write):
    values, _, _ = read(CSVSource(write("y,x\n1,\n,2\nNA,3\ninf,4\n-inf,5\n2,6\n")))
    assert np.array_equal(values, [1, *[np.nan] * 4, 2], equal_nan=True)


def test_repeated_timestamps_are_separate_ticks_with_a_warning(write):
    source = CSVSource(write("time,y\n2024-01-01,1\n2024-01-01,2\n2024-01-02,3\n"))
    assert read(source)[0] == [1.0, 2.0, 3.0]
    assert source.warnings == ["1 timestamp equals the one before it; each row is a tick"]


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 100])
def test_backward_timestamps_stay_in_file_order_with_a_warning(write, batch_rows):
    path = write("time,y\n2024-01-01,1\n\n2024-01-03,2\n2024-01-02,3\n2024-01-01,4\n")
    source = CSVSource(path, batch_rows=batch_rows)
    assert read(source)[0] == [1.0, 2.0, 3.0, 4.0]
    (warning,) = source.warnings
    assert "2 timestamps are earlier than the one before it" in warning
    assert "data.csv line 5, column 'time'" in warning


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_an_incomplete_last_line_is_skipped_with_a_warning(write, batch_rows):
    source = CSVSource(write("time,y\n2024-01-01,1\n2024-01-02,2\n2024-01"), batch_rows=batch_rows)
    assert read(source)[0] == [1.0, 2.0]
    assert source.warnings == ["the last line is incomplete and was skipped"]


@pytest.mark.parametrize("rest", ["", "\n  ", 100_000 * "x"])
def test_a_complete_last_line_needs_no_line_end(write, rest):
    source = CSVSource(write(f"time,y,text\n2024-01-01,1,a\n2024-01-02,2,b{rest}"))
    assert read(source)[0] == [1.0, 2.0]
    assert source.warnings == []


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "data.csv is empty"),
        ("\n\n", {}, "data.csv is empty"),
        ("time,y\n", {}, "has a header but no rows"),
        ("time,y,y\n1,2,3\n", {}, "line 1 names a column twice"),
        ("1,2\n3,4\n", {}, "line 1 looks like data"),
        ("time,y\n2024-01-01,1\n", {"target": "z"}, "no column 'z'; its columns are time, y"),
        ("time,y\n2024-01-01,1\n", {"time": "t"}, "no column 't'"),
        ("time,y\n2024-01-01,1\n", {"features": ["f"]}, "no column 'f'"),
        ("time,y\n2024-01-01,1\n", {"target": "time"}, "is the time; it cannot also be"),
        ("time,y\n2024-01-01,a\n", {}, "no column of numbers to forecast among time, y"),
        ("y\n1\ntwo\n", {"target": "y"}, "data.csv line 3, column 'y': 'two' is not a number"),
        ("y,a\n1,1\n\n2,x\n", {"features": ["a"]}, "line 4, column 'a': 'x' is not a number"),
        ('y,a\n1,"p\nq"\nbad,"r"\n', {"target": "y"}, "line 4, column 'y': 'bad'"),
        ("y,a\n1,p\n \nbad,r\n", {"target": "y"}, "line 4, column 'y': 'bad'"),
        ("y,a\n1," + 200_000 * "x" + "\n", {}, "cannot be read: field larger than"),
        ('time,y\n2024-01-01,"1,5"\n', {"target": "y"}, "column 'y': '1,5' is not a number"),
        (
            "time,y\n2024-01-01,1\nsoon,2\n",
            {"time": "time"},
            "line 3, column 'time': 'soon' is not",
        ),
        ("time,y\n2024-01-01,1\n,2\n", {"time": "time"}, "line 3, column 'time': an empty cell"),
        ("time,y\n1,1\nx,2\n", {"time": "time"}, "line 3, column 'time': 'x' is not a timestamp"),
        ("time,y\n2024-01-01,1,9\n", {}, "line 2 has 3 fields, expected 2"),
        ("time,y\n2024-01-01,1\n2024-01-02,1,5\n", {}, "line 3, saw 3"),
        (b"\xff\xfe\x00y\n", {}, "cannot be read"),
        (gzip.compress(b"y\n" + b"1\n" * 99999)[:-20], {}, "cannot be read"),
    ],
)
def test_errors_say_what_is_wrong_and_where(write, text, options, message):
    with pytest.raises(DataError) as caught:
        list(CSVSource(write(text), **options))
    assert message in str(caught.value)
    assert "data.csv" in str(caught.value)


def test_a_bad_cell_deep_in_a_large_file_is_found(write):
    lines = [f"{n},{n % 7}" for n in range(30_000)]
    lines[25_000] = "25000,?"
    path = write("time,y\n" + "\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"line 25002, column 'y': '\?'"):
        list(CSVSource(path))


def test_the_sink_puts_intervals_after_their_forecasts(tmp_path):
    path, labels = tmp_path / "out.csv", ["a", "b", "c"]
    forecasts = np.array([[np.nan] * 2, [2.0, 3.0], [4.0, 5.0]])
    bounds = np.stack([forecasts - 1, forecasts + 0.5], axis=1)
    with CSVSink(path, horizon=2, intervals=True) as sink:
        for part in (slice(0, 2), slice(2, 3)):
            batch = Batch(np.ones(3)[part], {}, None, labels[part])
            sink.write(batch, forecasts[part], bounds[part])
    assert path.read_text().splitlines() == [
        "timestamp,value,forecast,lower,upper,forecast_2,lower_2,upper_2",
        "a,1.0,,,,,,",
        "b,1.0,2.0,1.0,2.5,,,",
        "c,1.0,4.0,3.0,4.5,3.0,2.0,3.5",
    ]


def test_the_sink_puts_each_forecast_beside_the_tick_it_is_for(tmp_path):
    path = tmp_path / "out.csv"
    forecasts = np.array([[np.nan] * 3, [1.1, 1.2, 1.3], [2.1, 2.2, 2.3], [3.1, 3.2, 3.3]])
    values, labels = np.array([5.0, np.nan, 7.5, 8.0]), ["a", "b", "c", "d"]
    with CSVSink(path, horizon=3) as sink:
        for part in (slice(0, 1), slice(1, 4)):
            sink.write(Batch(values[part], {}, None, labels[part]), forecasts[part])
    assert path.read_text().splitlines() == [
        "timestamp,value,forecast,forecast_2,forecast_3",
        "a,5.0,,,",
        "b,,1.1,,",
        "c,7.5,2.1,1.2,",
        "d,8.0,3.1,2.2,1.3",
    ]


def ticks_of(source):
    """(label, key, value, time, features ...) of each tick."""
    for batch in source:
        times = [None] * len(batch) if batch.timestamps is None else batch.timestamps.tolist()
        columns = batch.labels, batch.keys, batch.values.tolist(), times, *batch.features.values()
        yield from zip(*columns, strict=True)


@pytest.mark.parametrize("batch_rows", [None, 1, 2, 3, 5, 100])
def test_a_row_of_a_wide_file_is_a_tick_of_each_column(write, batch_rows):
    path = write("time,north,warm,south\n1,10,5,\n2,,6,21\n2,12,7,22\n")
    source = CSVSource(path, features=["warm"], wide=True, batch_rows=batch_rows)
    assert source.targets == ["north", "south"]
    assert [tick[:2] for tick in ticks_of(source)] == [
        (label, key) for label in ["1", "2", "2"] for key in ["north", "south"]
    ]
    values, times, batches = read(source)
    assert np.array_equal(values, [10, np.nan, np.nan, 21, 12, 22], equal_nan=True)
    assert times == [SECOND, SECOND, 2 * SECOND, 2 * SECOND, 2 * SECOND, 2 * SECOND]
    assert [tick[4] for tick in ticks_of(source)] == [5, 5, 6, 6, 7, 7]
    assert source.warnings == ["1 timestamp equals the one before it; each row is a tick"]
    sizes = {None: 6, 1: 2, 2: 2, 3: 2, 5: 4, 100: 6}
    assert len(batches[0]) == sizes[batch_rows]


def test_a_wide_file_of_many_columns_is_read_many_rows_at_a_time(write):
    names = ",".join(f"s{n}" for n in range(1000))
    path = write(names + "\n" + 100 * (",".join(["5"] * 1000) + "\n"))
    assert [len(batch) for batch in CSVSource(path, wide=True)] == [64_000, 36_000]


@pytest.mark.parametrize(
    ("text", "options", "targets"),
    [
        ("date,a,b\n2024-01-01,1,2\n", {}, ["a", "b"]),
        ("a\n5\n", {}, ["a"]),
        ("a,b,c\n1,x,3\n", {}, ["a", "c"]),
        ("id,a,year\n7,1,2024\n", {}, ["a"]),
        ("row,a,b\n0,4,1\n1,4,7\n2,5,0\n", {}, ["a", "b"]),
        ("row,b\n0,x\n1,y\n2,z\n", {}, ["row"]),
        ("time,late,a\n2024-01-01,,1\n", {}, ["late", "a"]),
        ("a,b,c\n1,2,3\n", {"features": ["b"]}, ["a", "c"]),
        ("a,b,c\n1,2,3\n", {"target": ["c", "a", "c"]}, ["c", "a"]),
        ("a,b,c\n1,2,3\n", {"target": "b"}, ["b"]),
    ],
)
def test_columns_of_numbers_are_guessed_as_streams_of_a_wide_file(write, text, options, targets):
    source = CSVSource(write(text), wide=True, **options)
    assert source.targets == targets
    assert next(iter(source)).keys[: len(targets)] == targets


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 100])
def test_a_key_column_names_the_stream_of_each_row(write, batch_rows):
    text = "time,site,y,a\n1,01,10,5\n1,NA,20,\n2,NA,21,6\n1, 01 ,11,7\n3,late,1,8\n2,NA,22,9\n"
    source = CSVSource(write(text), features=["a"], key="site", batch_rows=batch_rows)
    assert source.targets == ["y"]
    ticks = list(ticks_of(source))
    assert [tick[1] for tick in ticks] == ["01", "NA", "NA", "01", "late", "NA"]
    assert [tick[2] for tick in ticks] == [10, 20, 21, 11, 1, 22]
    assert [tick[3] // SECOND for tick in ticks] == [1, 1, 2, 1, 3, 2]
    assert np.array_equal([tick[4] for tick in ticks], [5, np.nan, 6, 7, 8, 9], equal_nan=True)
    assert source.warnings == [
        "2 timestamps equal the one before it of the same stream; each row is a tick"
    ]


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 100])
def test_backward_timestamps_are_counted_stream_by_stream(write, batch_rows):
    path = write("time,y,key\n5,1,a\n1,2,b\n\n6,3,a\n2,4,b\n4,5,a\n1,6,b\n")
    source = CSVSource(path, key="key", batch_rows=batch_rows)
    assert len(list(ticks_of(source))) == 6
    (warning,) = source.warnings
    assert "2 timestamps are earlier than the one before it" in warning
    assert "data.csv line 7, column 'time'" in warning


def test_missing_cells_are_the_same_with_and_without_a_key(write):
    missing = sorted(STR_NA_VALUES)
    text = "key,y\n" + "".join(f"{cell or 5},{cell}\n" for cell in missing)
    assert np.isnan(read(CSVSource(write(text), target="y"))[0]).all()
    source = CSVSource(write(text), key="key", target="y")
    assert np.isnan(read(source)[0]).all()
    assert [tick[1] for tick in ticks_of(source)] == [cell or "5" for cell in missing]


def test_the_key_is_not_guessed_as_time_or_target(write):
    source = CSVSource(write("2nd,y,when\n2024-01-01,5,2023-01-01\n"), key="2nd")
    assert (source.time, source.targets) == ("when", ["y"])
    assert CSVSource(write("value,load\n1,2\n"), key="value").targets == ["load"]


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("a,b\n1,2\n", {"wide": True, "key": "a"}, ParameterError, "only one of the two"),
        ("a,b\n1,2\n", {"target": ["a", "b"]}, ParameterError, "several targets need wide=True"),
        ("a,b\n1,2\n", {"target": [], "wide": True}, ParameterError, "must name a column"),
        ("a,b\n1,2\n", {"target": ["a", "z"], "wide": True}, DataError, "no column 'z'"),
        ("a,b\n1,2\n", {"key": "z"}, DataError, "no column 'z'"),
        ("a,b\n1,2\n", {"key": "a", "target": "a"}, DataError, "'a' is the key; it cannot"),
        ("a,b\n1,2\n", {"key": "a", "features": ["a"]}, DataError, "'a' is the key; it cannot"),
        ("a,b\n1,2\n", {"key": "a", "time": "a"}, DataError, "both the time and the key"),
        ("a,b\n1,2\n", {"wide": True, "time": "a", "target": ["a"]}, DataError, "'a' is the time"),
        ("a,b\nx,2\n,3\n", {"key": "a"}, DataError, "column 'a': an empty cell is not a key"),
        ("b,a\n2,x\n3\n", {"key": "a"}, DataError, "column 'a': an empty cell is not a key"),
        ("t,a,b\nx,y,z\n", {"wide": True}, DataError, "no column of numbers to forecast among t"),
        ("time,a\n2024-01-01,\n", {"wide": True}, DataError, "no column of numbers"),
        ("time,a\n", {"wide": True}, DataError, "has a header but no rows"),
        ("time,a\n", {"key": "a"}, DataError, "has a header but no rows"),
        (
            "a,b\n1,2\n3,x\n",
            {"wide": True, "target": ["a", "b"]},
            DataError,
            "line 3, column 'b': 'x' is not a number",
        ),
    ],
)
def test_contradictory_options_for_several_streams_are_errors(write, text, options, error, message):
    with pytest.raises(error, match=message):
        list(CSVSource(write(text), **options))


def test_the_sink_matches_earlier_forecasts_by_stream(tmp_path):
    """Ragged batches, streams that come late, against one sink a stream."""
    rng = np.random.default_rng(0)
    keys = [f"s{n}" for n in rng.integers(0, 1 + np.arange(60) // 10)]
    forecasts, labels = rng.normal(size=(60, 4)), [str(n) for n in range(60)]
    bounds = rng.normal(size=(60, 2, 4))
    with CSVSink(tmp_path / "all.csv", horizon=4, intervals=True, keyed=True) as sink:
        for start, stop in [(0, 1), (1, 5), (5, 5), (5, 33), (33, 60)]:
            part = slice(start, stop)
            batch = Batch(np.arange(60.0)[part], {}, None, labels[part], keys[part])
            sink.write(batch, forecasts[part], bounds[part])
    header, *lines = (tmp_path / "all.csv").read_text().splitlines()
    assert header.startswith("timestamp,key,value,forecast,lower,upper,forecast_2,")
    assert [line.split(",")[0] for line in lines] == labels
    for key in set(keys):
        mine = np.array([name == key for name in keys])
        path = tmp_path / f"{key}.csv"
        with CSVSink(path, horizon=4, intervals=True) as sink:
            of_key = np.arange(60.0)[mine], {}, None, np.array(labels)[mine].tolist()
            sink.write(Batch(*of_key), forecasts[mine], bounds[mine])
        alone = [line.replace(f",{key},", ",") for line in lines if f",{key}," in line]
        assert alone == path.read_text().splitlines()[1:]


@pytest.mark.parametrize("time", ["3000-01-01", "1600-01-01T00:00:00Z", "64060588800000"])
def test_a_year_that_nanoseconds_cannot_hold_is_an_error(write, time):
    with pytest.raises(DataError, match=rf"line 2, column 'time': '{time}' is not a timestamp"):
        list(CSVSource(write(f"time,y\n{time},1\n"), time="time"))
