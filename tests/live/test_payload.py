"""Which messages are ticks, and what is said of the others."""

import json
import math
import random

import numpy as np
import pytest

from streamlstm.errors import ParameterError
from streamlstm.live.batch import MAX_PAYLOAD_CHARACTERS
from streamlstm.live.payload import Fields, Parser

ALL = Fields("value", key="key", time="time", features=("wind",), max_bytes=1000)
NOON = 1704110400 * 10**9  # 2024-01-01T12:00Z


def parsed(message, fields=ALL):
    """The batch of one message."""
    return Parser(fields).batch(["1"], [message], 5, "p")


def message(**changed):
    fields = {"value": 1.5, "key": "a", "time": 1704110400} | changed
    return json.dumps({name: each for name, each in fields.items() if each != "left out"}).encode()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"", "not JSON: Expecting value"),
        (b"{", "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
        (b"[" * 900, "not JSON"),
        (b"[1]", "a list, not an object with fields"),
        (b"3", "a number, not an object with fields"),
        (b"null", "null, not an object with fields"),
        (b"{" + b" " * 1000, "1001 bytes, more than 1000"),
        (message(value="left out"), "value: missing"),
        (message(value=math.nan), "value: nan is not a number"),
        (message(value=math.inf), "value: inf is not a number"),
        (message(value="NaN"), "value: 'NaN' is not a number"),
        (message(value=10**400), "value: 1000000000"),
        (message(value="high"), "value: 'high' is not a number"),
        (message(value=True), "value: true or false, not a number"),
        (message(value=[1]), "value: a list, not a number"),
        (message(value={"x": 1}), "value: an object, not a number"),
        (message(key="left out"), "key: missing"),
        (message(key=""), "key: empty"),
        (message(key=None), "key: null, not text"),
        (message(key=1.5), "key: a number, not text"),
        (message(key="a\ud800"), r"key: 'a\ud800' is not Unicode"),
        (message(key="a\0"), r"key: 'a\x00' has a zero byte"),
        (message(key="a" * 501), "key: 501 characters, more than 500"),
        (message(time="left out"), "time: missing"),
        (message(time="yesterday"), "time: 'yesterday' is not a time"),
        (message(time=math.nan), "time: nan is not a time"),
        (message(time=1e30), "time: 1e+30 is not a time from 1677 to 2262"),
        (message(time=None), "time: null, not a time"),
        (message(wind="strong"), "wind: 'strong' is not a number"),
    ],
)
def test_bad_messages_are_rejected_with_a_reason(bad, reason):
    batch = parsed(bad)
    assert len(batch) == 0
    ((name, said, payload, size),) = batch.rejected
    assert said.startswith(reason)
    assert (name, payload, size) == ("1", bad.decode(errors="replace"), len(bad))


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3.0), ("3.5", 3.5), (-1e300, -1e300), (None, math.nan), ("", math.nan)],
)
def test_numbers_can_be_text_or_missing(value, number):
    np.testing.assert_array_equal(parsed(message(value=value)).values, [number])


def test_features_can_be_missing():
    assert math.isnan(parsed(message()).features["wind"][0])
    assert parsed(message(wind=2)).features["wind"].tolist() == [2.0]


@pytest.mark.parametrize(
    "time",
    [
        "2024-01-01T12:00:00Z",
        "2024-01-01T12:00:00",
        "2024-01-01T13:00:00+01:00",
        1704110400,
        1704110400.0,
        1704110400000,
        1704110400000000,
        NOON,
        "1704110400",
    ],
)
def test_times_are_iso_8601_or_numbers_since_1970(time):
    assert parsed(message(time=time)).timestamps.tolist() == [NOON]


def test_keys_can_be_whole_numbers():
    assert parsed(message(key=7)).keys == ["7"]


def test_a_message_can_be_a_bare_number():
    batch = parsed(b" 21.5", Fields("@payload"))
    assert batch.values.tolist() == [21.5]
    assert batch.keys is batch.timestamps is None
    assert (
        parsed(b'"x"', Fields("@payload")).rejected[0].reason == "the message: 'x' is not a number"
    )


def test_fields_can_name_what_the_system_knows_about_a_message():
    fields = Fields("@payload", key="@topic", sequence="@number")
    parser = Parser(fields, about=("@topic", "@number"))
    about = [{"@topic": "a/b", "@number": 7}, {"@topic": "c", "@number": None}]
    batch = parser.batch(["1", "2"], [b"3", b"4"], 5, None, about)
    assert (batch.values.tolist(), batch.keys, batch.sequence.tolist()) == ([3.0], ["a/b"], [7])
    assert batch.rejected[0].reason == "@number: None is not a whole number"
    parser = Parser(Fields(key="@topic"), about=("@topic",))
    batch = parser.batch(["1"], [b'{"value": 3, "@topic": "forged"}'], 5, None, about)
    assert batch.keys == ["a/b"]
    with pytest.raises(
        ParameterError, match="this source has no field @topic, only @id, @number, @payload"
    ):
        Parser(fields, about=("@id", "@number"))


@pytest.mark.parametrize(
    ("number", "result"),
    [(7, 7), ("7", 7), (-(2**62), -(2**62)), (2**63, None), (7.0, None), (True, None), ([], None)],
)
def test_sequence_numbers_are_whole_numbers_of_64_bits(number, result):
    fields = Fields(sequence="n")
    batch = parsed(json.dumps({"value": 1, "n": number}).encode(), fields)
    if result is None:
        assert "n: " in batch.rejected[0].reason
        assert "is not a whole number" in batch.rejected[0].reason
    else:
        assert batch.sequence.tolist() == [result]


def test_the_sequence_can_be_the_time():
    batch = parsed(message(), Fields(time="time", sequence="time"))
    assert batch.sequence.tolist() == batch.timestamps.tolist() == [NOON]


def test_an_error_names_the_fields_that_a_message_has_the_closest_first():
    found = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "vlaue": 6, "": 7}
    (rejected,) = parsed(json.dumps(found).encode(), Fields()).rejected
    assert rejected.reason == ("value: missing; the message has 'vlaue', 'a', 'b', 'c', 'd', ...")
    (rejected,) = parsed(b"{}", Fields()).rejected
    assert rejected.reason == "value: missing; the message has no fields"
    (rejected,) = parsed(message(key="left out", pump="a"), ALL).rejected
    assert rejected.reason == "key: missing; the message has 'value', 'time', 'pump'"


def test_a_feature_that_the_first_messages_lack_is_logged_once(caplog):
    parser = Parser(Fields(features=("wind", "tmep", "rain", "@payload")))
    good, other = b'{"value": 1, "temp": 3, "wind": 2}', b'{"value": 1, "rain": 2}'
    parser.batch(["1"], [b"poison"], 5, None)
    assert caplog.messages == []
    parser.batch(["2", "3"], [good, other], 5, None)
    assert caplog.messages == [
        "no message so far has the field '@payload'",
        "no message so far has the field 'tmep'",
    ]
    caplog.clear()
    for each in (good, other):
        parser.batch(["4"], [each], 5, None)
    assert caplog.messages == []
    Parser(Fields(features=("tmep",))).batch(["1"], [good], 5, None)
    assert caplog.messages == ["no message so far has the field 'tmep'; did you mean 'temp'?"]


def test_a_batch_has_the_ids_and_the_position_of_its_messages():
    batch = Parser(ALL).batch(["1", "2", "3"], [message(), b"", message()], 5, {"at": 3})
    assert batch.ids == ["1", "3"]
    assert (batch.received, batch.position) == (5, {"at": 3})
    assert batch.part(1, 2).ids == ["3"]


def test_the_beginning_of_a_long_message_is_kept():
    batch = parsed(b"x" * 10_000_000, Fields())
    assert (len(batch.rejected[0].payload), batch.rejected[0].size) == (
        MAX_PAYLOAD_CHARACTERS,
        10_000_000,
    )


def test_random_bytes_are_ticks_or_rejected():
    rng = random.Random(0)
    good = message(wind=3)
    for _ in range(5000):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        batch = parsed(bytes(bad))
        assert len(batch) + len(batch.rejected) == 1
        assert not np.isinf(batch.values).any()


@pytest.mark.parametrize(
    "fields",
    [
        {"key": "value"},
        {"key": ""},
        {"features": ("a", "a")},
        {"value": "@payload", "key": "a"},
        {"sequence": ""},
    ],
)
def test_empty_and_repeated_names_of_fields_are_errors(fields):
    with pytest.raises(ParameterError):
        Fields(**fields)
