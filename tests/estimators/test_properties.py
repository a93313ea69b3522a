"""Properties that hold for any input: messages, addresses, CSV files, snapshots, resumed runs."""

import csv
import json
import math
import re
import shutil
import tempfile
import traceback
from collections import deque
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from fuzz_parsers import ALL, FIELDS, check_csv, check_messages
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from jsonl_connector import LinesSource
from live_counter import Counter  # adds itself to the classes that snapshots may hold
from streamlstm_connectors.files.csv import CSVSource

from streamlstm import LSTMRegressor
from streamlstm.errors import DamagedSnapshotError, DataError, ParameterError
from streamlstm.live.address import Address
from streamlstm.live.batch import Batch
from streamlstm.live.payload import Fields, Parser
from streamlstm.replays.resume import ResumableRun
from streamlstm.snapshots import snapshot
from streamlstm.snapshots.encoding import Decoder, Encoder

some = settings(derandomize=True, max_examples=60, deadline=None)
many = settings(some, max_examples=250)

LATEST = 2**63 - 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("any")


# Messages

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text()
    | st.sampled_from(["1.5", "1e400", "2024-01-01T00:00Z", "nan", "\ud800", "9" * 5000])
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)
records = st.fixed_dictionaries(
    {},
    optional={name: json_values for name in ("value", "key", "time", "wind", "number")},
)
nested = st.builds(lambda depth: b'{"number":' + b"[" * depth + b"]" * depth, st.integers(0, 400))
messages = (
    st.binary(max_size=600)
    | nested
    | records.map(lambda record: json.dumps(record).encode())
    | records.map(lambda record: json.dumps(record, ensure_ascii=False).encode(errors="replace"))
    | st.dictionaries(st.sampled_from([*"xy", "value", "key", "time", "number"]), st.binary())
)


@many
@given(st.lists(messages, max_size=4), st.sampled_from(FIELDS))
def test_each_message_is_a_tick_or_is_rejected_with_a_reason(messages, fields):
    check_messages(messages, fields)


def test_a_lone_surrogate_is_not_a_key():
    message = b'{"value": 1, "key": "a\\ud800", "time": 0, "number": 0}'
    assert check_messages([message], ALL) == {"key: 'a\\ud800' is not Unicode"}
    assert check_messages([message.replace(b"d800", b"d83d\\ude00")], ALL) == set()


@many
@given(
    st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**300), 10**300),
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=50
    ),
    st.floats(allow_nan=False, allow_infinity=False) | st.none(),
    st.integers(-LATEST, LATEST),
    st.sampled_from([json.dumps, lambda record: json.dumps(record, ensure_ascii=False)]),
    st.booleans(),
)
def test_written_messages_are_read_back(value, key, wind, number, written, as_text):
    record = {"value": value, "key": key, "time": 0, "wind": wind, "number": number}
    if as_text:
        record |= {"value": str(value), "number": str(number), "wind": "" if wind is None else wind}
    message = written(record).encode()
    if len(message) > ALL.max_bytes:
        message = {name: str(each).encode() for name, each in record.items() if each is not None}
        assume(sum(map(len, message.values())) <= ALL.max_bytes)
    batch = Parser(ALL).batch(["1"], [message], 0, None)
    assert batch.rejected == ()
    assert batch.values.tolist() == [float(Fraction(value))]
    assert batch.keys == [key]
    assert batch.sequence.tolist() == [number]
    np.testing.assert_array_equal(batch.features["wind"], [math.nan if wind is None else wind])


def time_of(value):
    """A message's time in nanoseconds, as it is parsed."""
    record = {"value": 1, "time": value}
    batch = Parser(Fields(time="time")).batch(["1"], [json.dumps(record).encode()], 0, None)
    assert batch.rejected == ()
    return int(batch.timestamps[0])


offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@many
@given(
    st.datetimes(datetime(1678, 1, 2), datetime(2262, 1, 1), timezones=st.none() | offsets),
    st.sampled_from("T "),
    st.sampled_from(["auto", "seconds", "milliseconds", "microseconds"]),
)
def test_dates_are_those_of_the_calendar(moment, between, precision):
    text = moment.isoformat(between, precision)
    kept = {"seconds": 10**6, "milliseconds": 1000}.get(precision, 1)
    moment -= timedelta(microseconds=moment.microsecond % kept)
    days = moment.toordinal() - datetime(1970, 1, 1).toordinal()
    seconds = 86400 * days + 3600 * moment.hour + 60 * moment.minute + moment.second
    if moment.tzinfo is not None:
        seconds -= moment.utcoffset() // timedelta(seconds=1)
    assert time_of(text) == seconds * 10**9 + moment.microsecond * 1000


@many
@given(st.integers(10**8, 9 * 10**9), st.sampled_from([0, 3, 6, 9]), st.data())
def test_numbers_of_any_unit_are_times(seconds, digits, data):
    ticks = seconds * 10**digits + data.draw(st.integers(0, 10**digits - 1))
    assert time_of(ticks) == time_of(str(ticks)) == ticks * 10 ** (9 - digits)
    assert abs(time_of(float(ticks)) - ticks * 10 ** (9 - digits)) <= 1024  # a float's rounding


# Addresses

secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=12, max_size=30)
parts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def quoted(text):
    return quote(text, safe="")


@many
@given(parts, secrets, parts, st.dictionaries(st.sampled_from("abc"), parts))
@example("${A}", "sec\tret/?#@:", "%41${A}", {"a": "%41 +&=${A}"})
def test_quoted_parts_of_an_address_are_restored(user, password, path, options):
    query = "&".join(f"{name}={quoted(text)}" for name, text in options.items())
    text = f"redis://{quoted(user)}:{quoted(password)}@host:1/{quoted(path)}?{query}"
    address = Address(text, {})
    assert (address.user, address.password, address.path) == (user, password, path)
    assert address.options(a="", b="", c="") == {"a": "", "b": "", "c": ""} | options
    assert str(address) == text.replace(f":{quoted(password)}@", ":***@", 1)


@some
@given(parts, secrets, parts)
def test_variables_hold_anything(user, password, option):
    variables = {"Me": user, "PASS": password, "HOST": "here", "Option": option}
    text = "redis://${Me}:${PASS}@${HOST}:1/a${PASS}?a=x${Option}"
    address = Address(text, variables)
    assert (address.user, address.password, address.host) == (user, password, "here")
    assert address.path == f"a{password}"
    assert address.options(a="") == {"a": f"x{option}"}
    assert str(address) == text
    with pytest.raises(ParameterError) as error:
        Address(text, {"HOST": "here", "PASS": password})
    assert password not in str(error.value)


@many
@given(
    st.text("me${}", max_size=5),
    st.text(st.characters(exclude_characters="/?#@", exclude_categories=["Cs"]), min_size=12),
    st.sampled_from(
        [
            "redis://{}:{}@host/a",
            "redis:{}:{}@host/a",
            "{}:{}@host",
            "redis://{}:{}@host:x/a",
            "redis://{}:{}@host:99999/a",
            "redis://{}:/{}@host/a",
            "redis://{}:x/{}@host/a",
            "redis://{}:x?{}@host/a",
            "redis://{}:x#{}@host/a",
            "redis://{}:{}@ho\u2100st/a",
            "redis://{}:{}@[host/a",
            "redis://{}:{}@${{NOT_SET}}/a",
        ]
    ),
)
def test_no_password_is_shown_even_if_it_is_not_quoted(user, password, form):
    try:
        shown = str(Address(form.format(user, password), {}))
    except ParameterError as error:
        shown = "".join(traceback.format_exception(error))
    assert password not in shown
    assert repr(password)[1:-1] not in shown


def test_an_address_without_a_password_is_shown_as_it_is():
    for text in ("mqtt://host:1883/a@b", "mqtt://host/a:b@c?d=e:f@g", "csv:////a:b@c"):
        assert str(Address(text)) == text


def test_a_user_without_a_password_may_be_a_token():
    assert str(Address("nats://s3cret@host/a@b?c=d@e")) == "nats://***@host/a@b?c=d@e"
    assert str(Address("nats://s3cret${A}@host/a", {"A": "x"})) == "nats://***@host/a"
    assert str(Address("nats://${TOKEN}@host/a", {"TOKEN": "s3cret"})) == "nats://${TOKEN}@host/a"


# CSV files

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
names = st.lists(
    st.text("abcdefgh", min_size=1, max_size=4).map("column {}".format), unique=True, max_size=3
)
floats = st.none() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)


@some
@given(
    names,
    st.lists(st.tuples(floats, floats, cells, cells, cells), min_size=1, max_size=30),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["utf-8", "utf-8-sig"]),
    st.integers(1, 40),
)
def test_written_tables_are_read_back(
    folder, more, rows, delimiter, end, quoting, encoding, batch_rows
):
    path = folder / "table.csv"
    header = ["y", "x", *more]
    if quoting == csv.QUOTE_MINIMAL:  # it does not quote other line ends than its own
        rows = [
            [re.sub(r"[\r\n]", " ", cell) if isinstance(cell, str) else cell for cell in row]
            for row in rows
        ]
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting)
        writer.writerow(header)
        writer.writerows([row[: len(header)] for row in rows])
    source = CSVSource(path, time=None, target="y", features=["x"], batch_rows=batch_rows)
    batches = list(source)
    expected = np.array([row[:2] for row in rows], np.float64)
    for found, column in (
        (np.concatenate([batch.values for batch in batches]), expected[:, 0]),
        (np.concatenate([batch.features["x"] for batch in batches]), expected[:, 1]),
    ):
        np.testing.assert_array_max_ulp(found, column, 1)
    assert not source.warnings


lines = st.lists(
    st.lists(st.sampled_from(["1", "2.5", "", "x", '"', "\x00", "2024-01-01", "nan"]), max_size=4),
    max_size=8,
).map(lambda rows: "\n".join(",".join(row) for row in rows).encode())


@some
@given(st.binary(max_size=200) | lines, st.sampled_from([b"", b"time,y,key\n", b"y;x\n1;2\n"]))
def test_any_bytes_are_a_file_or_a_data_error(folder, data, before):
    path = folder / "bytes.csv"
    path.write_bytes(before + data)
    check_csv(path)


@pytest.mark.parametrize("late", ["9704067201", "1600-01-01", "3000-01-01T00:00:00Z"])
def test_a_time_outside_int64_is_not_a_timestamp(folder, late):
    path = folder / "late.csv"
    first = "1704067200" if late.isdecimal() else "2024-01-01"
    path.write_text(f"time,y\n{first},1\n{late},2\n")
    with pytest.raises(DataError, match=rf"line 3, column 'time': '{late}' is not a timestamp"):
        list(CSVSource(path))


# Snapshots

keys = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
arrays = st.builds(
    lambda numbers, dtype, shape: np.array(numbers * shape[0], dtype).reshape(*shape, -1),
    st.lists(st.integers(0, 100), max_size=4),
    st.sampled_from(["f8", "f4", "i8", "u1", "?", ">f8", "O"]),
    st.sampled_from([(1,), (2,), (3, 1)]),
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | arrays
    | st.lists(st.integers(-(2**64), 2**64), min_size=33, max_size=35)
    | st.builds(np.float64, st.floats())
    | st.builds(np.int32, st.integers(-(2**31), 2**31 - 1)),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(keys | st.tuples(keys, keys), inner)
        | st.builds(deque, st.lists(inner, max_size=3), st.sampled_from([None, 3]))
    ),
    max_leaves=10,
)


def same(one, other):
    """Whether two values are equal, including types, NaN and the sign of zero."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        kinds = one.dtype.newbyteorder("=") == other.dtype and one.shape == other.shape
        return kinds and same(one.tolist(), other.tolist())
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (list, tuple, deque)):
        lengths = len(one) == len(other) and getattr(one, "maxlen", 0) == getattr(
            other, "maxlen", 0
        )
        return lengths and all(map(same, one, other))
    return repr(one) == repr(other)


@many
@given(values)
def test_encoded_values_are_restored(value):
    encoder = Encoder()
    text = json.dumps(encoder.value(value)).encode()
    arrays = b"".join(encoder.arrays)
    assert len(arrays) == encoder.size
    assert same(value, Decoder(memoryview(arrays)).value(json.loads(text)))


@pytest.fixture(scope="module")
def saved(folder):
    """The bytes of a snapshot, and a path for changed ones."""
    path = folder / "model.snapshot"
    snapshot.save(LSTMRegressor(hidden_size=2, window=2), path, {"at": [1, 2.5, "x"]})
    return path.read_bytes(), folder / "damaged.snapshot"


@many
@given(st.data())
def test_any_flipped_bit_is_detected(saved, data):
    whole, path = saved
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)
    with pytest.raises(DamagedSnapshotError):
        snapshot.load(path)


@some
@given(st.data())
def test_any_cut_is_detected(saved, data):
    whole, path = saved
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DamagedSnapshotError):
        snapshot.load(path)


# Resumed runs


@some
@given(
    st.integers(0, 30),
    st.integers(1, 9) | st.none(),
    st.lists(st.tuples(st.integers(0, 30), st.lists(st.integers(0, 30)))),
)
def test_a_replay_interrupted_anywhere_learns_each_tick_once(count, every, attempts):
    whole = Batch(np.arange(count, dtype=float), {}, None, [str(n) for n in range(count)])
    directory = Path(tempfile.mkdtemp())

    def attempt(cuts, ends_after):
        edges = [0, *sorted(min(cut, count) for cut in cuts), count]
        batches = [whole.part(start, stop) for start, stop in pairwise(edges)]
        with ResumableRun(directory, {}, every) as run:
            model, learned = run.model or Counter(), 0
            for batch in run.rest(batches):
                if learned >= ends_after:
                    return None
                model.learn_many(None, batch.values, {}, None, 1, None)
                learned += len(batch)
                run.save_if_due(model, dict)
            run.save(model, dict)
        return model

    try:
        for ends_after, cuts in attempts:
            attempt(cuts, ends_after)
        assert attempt([], math.inf).values == [*range(count)]
    finally:
        shutil.rmtree(directory)


@some
@given(
    st.lists(st.sampled_from(['{"value": 1}', '{"value": "x"}', "", "[", '{"value": 2}'])),
    st.lists(st.integers(1, 5), min_size=1),
    st.lists(st.booleans(), min_size=1),
)
def test_lines_are_read_from_any_position(folder, lines, sizes, closed):
    path = folder / "lines.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines) + '{"value": 3')  # an unfinished line
    source = LinesSource(path, Fields())
    position, found = source.open(None), []
    for n in range(len(lines)):
        batch = source.read(sizes[n % len(sizes)], 0)
        if batch is None:
            break
        position = batch.position
        found += [*batch.ids, *(each.id for each in batch.rejected)]
        if closed[n % len(closed)]:
            source.close()
            assert source.open(position) == position
    assert source.read(1, 0) is None
    source.close()
    starts = np.cumsum([0, *(len(line) + 1 for line in lines)])[:-1].tolist()
    assert sorted(map(int, found)) == starts
