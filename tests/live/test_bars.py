"""Ticks to bars, against a twin that takes one tick at a time and keeps all of an open bar's."""

import copy
import json
import math
from dataclasses import replace
from itertools import accumulate, pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlstm.errors import InputError, ParameterError
from streamlstm.live.bars import KINDS, Bars
from streamlstm.live.batch import Batch, Rejected
from streamlstm.snapshots.encoding import Decoder, Encoder

SECOND = 10**9
LATEST = 2**63 - 1
FEATURES = (*(kind for kind in KINDS if kind != "close"), *(f"size:{kind}" for kind in KINDS))


def ticks(values, times=None, keys=None, **features):
    """A batch of ticks whose ids are "#0", "#1" and so on."""
    values = np.array(values, np.float64)
    names = [f"#{n}" for n in range(len(values))]
    return Batch(
        values,
        {name: np.array(column, np.float64) for name, column in features.items()},
        None if times is None else np.array(times, np.int64),
        [name.replace("#", "at ") for name in names],
        None if keys is None else list(keys),
        names,
        5,
        "behind",
    )


def rows(batches):
    """Bars as tuples that compare equal where they are, NaN included."""
    return [
        (
            batch.ids[n],
            batch.labels[n],
            None if batch.keys is None else batch.keys[n],
            None if batch.timestamps is None else int(batch.timestamps[n]),
            repr(batch.values[n].item()),
            {name: repr(column[n].item()) for name, column in batch.features.items()},
        )
        for batch in batches
        for n in range(len(batch))
    ]


def late(batches):
    return [message.id for batch in batches for message in batch.rejected]


def twin(batch, every):
    """Closed bars and late ticks, of a whole stream."""
    nanoseconds = {"1ms": 10**6, "7ms": 7 * 10**6, "1s": SECOND}.get(every)
    open_bars, closed, too_late = {}, [], []
    for n, label in enumerate(batch.labels):
        key = None if batch.keys is None else batch.keys[n]
        time = int(batch.timestamps[n])
        number = time // nanoseconds if nanoseconds else 0
        begun, members = open_bars.get(key, (number, []))
        if number < begun:
            too_late.append(batch.ids[n])
            continue
        if number > begun:
            end = min((begun + 1) * nanoseconds, LATEST)
            begins = np.datetime64(end, "ns")
            shown = np.datetime_as_string(begins, "ns" if every.endswith("ms") else "s") + "Z"
            closed.append((batch.ids[n], shown, key, end, *described(members)))
            members = []
        members = [*members, (batch.values[n].item(), batch.features["size"][n].item())]
        open_bars[key] = number, members
        if not nanoseconds and len(members) == int(every):
            closed.append((batch.ids[n], label, key, time, *described(members)))
            del open_bars[key]
    return closed, too_late


def described(members):
    """The value and features of a bar, written out."""
    found = {}
    for name in ("close", *FEATURES):
        column, kind = (1, name.removeprefix("size:")) if ":" in name else (0, name)
        numbers = [tick[column] for tick in members if math.isfinite(tick[column])]
        found[name] = repr(summary(numbers, kind))
    return found.pop("close"), found


def summary(numbers, kind):
    if kind == "count":
        return float(len(numbers))
    if not numbers:
        return math.nan
    total = 0.0
    for number in numbers:
        total += number
    chosen = {
        "open": numbers[0],
        "high": max(numbers),
        "low": min(numbers),
        "close": numbers[-1],
        "sum": total,
        "mean": total / len(numbers),
    }[kind]
    return chosen if math.isfinite(chosen) else math.nan


numbers = st.floats(-1e308, 1e308).map(lambda x: x + 0.0) | st.sampled_from([math.nan, math.inf])
keys = st.none() | st.text("abc", min_size=1, max_size=1)
steps = st.integers(-3, 6) | st.integers(-(10**4), 10**4)  # of 0.3 ms
STARTS = [0, -100, 1_700_000_000 * SECOND, LATEST, -LATEST]


@st.composite
def streams(draw):
    """A stream of several keys, or one without, with times that mostly go forward."""
    drawn = draw(st.lists(st.tuples(numbers, numbers, steps, st.sampled_from("abc")), max_size=40))
    start, several = draw(st.sampled_from(STARTS)), draw(st.booleans())
    times = accumulate((300_000 * step for *_, step, _ in drawn), initial=start)
    return ticks(
        [value for value, *_ in drawn],
        [min(max(time, -LATEST), LATEST) for time in times][1:],
        [key for *_, key in drawn] if several else None,
        size=[size for _, size, *_ in drawn],
    )


def stored(bars):
    """Bars restored from a snapshot."""
    encoder = Encoder()
    node = json.loads(json.dumps(encoder.value(bars.state())))
    return restored(bars, Decoder(memoryview(b"".join(encoder.arrays))).value(node))


def restored(bars, state=None):
    again = Bars(bars.every, bars.value, bars.features)
    again.restore(state or bars.state())
    return again


@settings(derandomize=True, max_examples=500, deadline=None)
@given(
    streams(),
    st.sampled_from(["1ms", "7ms", "1s", 1, 2, "7"]),
    st.lists(st.integers(0, 40)),
    st.sampled_from([None, stored, restored, copy.deepcopy]),
)
def test_any_batches_give_the_bars_of_the_reference(stream, every, cuts, resumed):
    bars, made = Bars(every, "close", FEATURES), []
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, stop in pairwise(edges):
        if resumed is not None:
            bars, before = resumed(bars), bars
            before.update(stream)  # must not change the restored one
        made.append(bars.update(stream.part(start, stop)))
    expected, too_late = twin(stream, every)
    assert rows(made) == expected
    assert late(made) == too_late
    assert bars.late == len(too_late)


def test_a_bar_by_time_has_its_end_as_timestamp_and_the_id_of_the_next_tick():
    times = SECOND * np.array([60, 80, 119, 120, 400])
    batch = Bars("1min", "open", ("high", "low", "close", "mean", "count")).update(
        ticks([5, 9, 4, 1, 2], times)
    )
    assert batch.values.tolist() == [5.0, 1.0]
    assert [column.tolist() for column in batch.features.values()] == [
        [9.0, 1.0],
        [4.0, 1.0],
        [4.0, 1.0],
        [6.0, 1.0],
        [3.0, 1.0],
    ]
    assert batch.timestamps.tolist() == [120 * SECOND, 180 * SECOND]  # none of those between
    assert batch.ids == ["#3", "#4"]
    assert batch.labels == ["1970-01-01T00:02:00Z", "1970-01-01T00:03:00Z"]


def test_a_bar_by_count_is_closed_by_its_last_tick():
    bars = Bars(3, "mean")
    assert len(bars.update(ticks([1, 2], [10, 20]))) == 0
    batch = bars.update(ticks([3, 4, 5, math.nan, 7], [25, 24, 23, 22, 21]))
    assert batch.values.tolist() == [2.0, 4.5]
    assert batch.timestamps.tolist() == [25, 22]
    assert batch.ids == ["#0", "#3"]


def test_bars_by_count_need_no_timestamps():
    batch = Bars(2, "sum").update(ticks([1, 2, 3, 4]))
    assert batch.values.tolist() == [3.0, 7.0]
    assert batch.timestamps is None


def test_streams_have_separate_bars():
    batch = Bars("1s").update(ticks([1, 2, 3], [0, 5 * SECOND, SECOND], "aba"))
    assert (batch.keys, batch.values.tolist()) == (["a"], [1.0])


def test_late_ticks_are_rejected_and_change_no_bar():
    bars = Bars("1s", "sum", ["size:sum"])
    times = SECOND * np.array([5, 4, 5, 6])
    poison = Rejected("0-0", "not JSON", "{", 1)
    made = ticks([1, 2, 4, 8], times, "aaaa", size=[1, math.nan, 1, 1])
    batch = bars.update(replace(made, rejected=(poison,)))
    assert batch.values.tolist() == [5.0]
    assert batch.rejected[0] is poison
    ((name, reason, payload, size),) = batch.rejected[1:]
    assert (name, reason, size) == ("#1", "late: its bar was already closed", len(payload))
    assert json.loads(payload) == {"value": 2.0, "size": None, "time": 4 * SECOND, "key": "a"}
    assert bars.late == 1


def test_a_batch_that_closes_no_bar_keeps_its_position():
    batch = Bars("1s").update(ticks([1], [0]))
    assert len(batch) == 0
    assert (batch.position, batch.received) == ("behind", 5)
    assert len(batch.ids) == len(batch.labels) == len(batch.timestamps) == 0
    assert len(Bars("1s").update(ticks([], []))) == 0


def test_bars_equal_those_of_pandas():
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 1000 * SECOND, 2000))
    values = rng.integers(0, 100, times.size).astype(float)
    batch = Bars("7s", "close", ("open", "high", "low", "mean", "count")).update(
        ticks(values, times)
    )
    series = pd.Series(values, pd.to_datetime(times))
    expected = series.resample("7s", label="right").agg(["last", "first", "max", "min", "mean"])
    expected["count"] = series.resample("7s", label="right").count()
    expected = expected[expected["count"] > 0][:-1]  # the last is still open
    made = np.column_stack([batch.values, *batch.features.values()])
    np.testing.assert_allclose(made, expected.to_numpy(), rtol=1e-15)
    assert batch.timestamps.tolist() == expected.index.as_unit("ns").astype(np.int64).tolist()


def test_a_batch_that_cannot_be_used_changes_nothing():
    bars = Bars("1s", features=["size:sum"])
    bars.update(ticks([1], [0], size=[1]))
    before = rows([restored(bars).update(ticks([2], [SECOND], size=[2]))])
    with pytest.raises(InputError, match="need the feature 'size', but the ticks have volume"):
        bars.update(ticks([5], [0], "b", volume=[5]))
    with pytest.raises(InputError, match="bars of 1s need ticks with timestamps"):
        bars.update(ticks([5], None, "b", size=[5]))
    assert rows([bars.update(ticks([2], [SECOND], size=[2]))]) == before


@pytest.mark.parametrize(
    "every", [0, -1, 1.5, True, None, "", "m", "1m", "1.5s", "10000000d", "9" * 5000]
)
def test_a_bad_length_of_bars_is_an_error(every):
    with pytest.raises(ParameterError, match=r"must be a number of ticks, .* or a time in ms, s"):
        Bars(every)


@pytest.mark.parametrize("name", ["", "last", "volume", "volume:", ":sum", "volume:last"])
def test_an_unknown_summary_is_an_error(name):
    for wanted in ({"value": name}, {"features": [name]}):
        with pytest.raises(ParameterError, match=f"such as volume:sum; got '{name}'"):
            Bars("1s", **wanted)


def test_a_number_of_ticks_can_be_text():
    bars = Bars("3")
    bars.restore(Bars(3).state())
    assert bars.every == "3"


def test_a_state_of_other_bars_is_an_error():
    state = Bars("1s", "high", ["low"]).state()
    for other in (Bars("2s", "high", ["low"]), Bars("1s", "high"), Bars("1s", "low", ["low"])):
        with pytest.raises(ParameterError, match=r"have (every|value|features)"):
            other.restore(state)


def test_a_bar_has_the_sequence_number_of_the_tick_that_closes_it():
    numbers = np.array([7, 8, 9, 11])
    made = replace(ticks([1, 2, 3, 4], SECOND * np.arange(4)), sequence=numbers, missed=1)
    batch = Bars("2s").update(made)
    assert (batch.sequence.tolist(), batch.missed) == ([9], 1)


def test_a_feature_given_twice_is_an_error():
    with pytest.raises(ParameterError, match="'high' is given twice"):
        Bars("1s", features=["high", "high"])


def test_names_of_features_can_have_colons():
    batch = Bars(1, "a:b:sum").update(ticks([1], **{"a:b": [3]}))
    assert batch.values.tolist() == [3.0]
