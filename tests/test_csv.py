"""CSV files: guesses, policies for bad input, and errors that name file, line and column."""

import gzip

import numpy as np
import pytest
from streamlstm_connectors.csv import CSVSink, CSVSource

from streamlstm.errors import DataError
from streamlstm.stream import Batch

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
def test_reads_plain_and_gzip_in_chunks_of_any_size(write, batch_rows, packed):
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
def test_time_formats(write, first, second, step):
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
def test_guesses_time_and_target(write, header, row, time, target):
    source = CSVSource(write(f"{header}\n{row}\n"))
    assert (source.time, source.targets) == (time, [target])
    assert len(read(source)[0]) == 1


def test_a_column_that_counts_the_rows_is_no_target(write):
    rows = "".join(f"{n},{n % 3}\n" for n in range(9))
    assert CSVSource(write("row,temp\n" + rows)).targets == ["temp"]
    assert CSVSource(write("row\n1\n2\n3\n")).targets == ["row"]


def test_byte_order_mark_blank_lines_spaces_quotes_and_windows_line_ends(write):
    path = write('\ufeff"time", "y"\r\n2024-01-01, "5"\r\n\r\n2024-01-02, 6\r\n')
    assert read(CSVSource(path))[0] == [5.0, 6.0]


def test_missing_and_infinite_values_are_nan(write):
    values, _, _ = read(CSVSource(write("y,x\n1,\n,2\nNA,3\ninf,4\n-inf,5\n2,6\n")))
    assert np.array_equal(values, [1, *[np.nan] * 4, 2], equal_nan=True)


def test_repeated_timestamps_are_ticks_of_their_own_and_reported(write):
    source = CSVSource(write("time,y\n2024-01-01,1\n2024-01-01,2\n2024-01-02,3\n"))
    assert read(source)[0] == [1.0, 2.0, 3.0]
    assert source.warnings == ["1 timestamps repeat the one before; each is a tick"]


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 100])
def test_backward_timestamps_are_taken_in_file_order_and_reported(write, batch_rows):
    path = write("time,y\n2024-01-01,1\n\n2024-01-03,2\n2024-01-02,3\n2024-01-01,4\n")
    source = CSVSource(path, batch_rows=batch_rows)
    assert read(source)[0] == [1.0, 2.0, 3.0, 4.0]
    (warning,) = source.warnings
    assert "2 timestamps go backward" in warning
    assert "data.csv line 5, column 'time'" in warning


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_an_incomplete_last_line_is_left_out_and_reported(write, batch_rows):
    source = CSVSource(write("time,y\n2024-01-01,1\n2024-01-02,2\n2024-01"), batch_rows=batch_rows)
    assert read(source)[0] == [1.0, 2.0]
    assert source.warnings == ["the last line is incomplete and left out"]


def test_a_complete_last_line_needs_no_line_end(write):
    source = CSVSource(write("time,y\n2024-01-01,1\n2024-01-02,2"))
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
        ("time,y\n2024-01-01,1\n", {"target": "time"}, "is the time, not a number"),
        ("time,y\n2024-01-01,a\n", {}, "no column of numbers to forecast among time, y"),
        ("y\n1\ntwo\n", {"target": "y"}, "data.csv line 3, column 'y': 'two' is not a number"),
        ("y,a\n1,1\n\n2,x\n", {"features": ["a"]}, "line 4, column 'a': 'x' is not a number"),
        ('y,a\n1,"p\nq"\nbad,"r"\n', {"target": "y"}, "line 4, column 'y': 'bad'"),
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
