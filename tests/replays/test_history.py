"""What each of many streams brought before."""

import numpy as np
import pytest

from streamlstm.live.history import History


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_looks_back_in_each_stream_as_a_list_of_its_own_would(depth):
    rng, history, brought = np.random.default_rng(0), History(depth, [-1, -1]), {}
    for size in [4, 0, 1, 30, 2, 50]:
        keys = rng.integers(0, 2 + 4 * len(brought), size).tolist()
        came = rng.integers(0, 100, (size, 2))
        entries, at = history.push(keys, came)
        assert np.array_equal(entries[at], came)
        for n, key in enumerate(keys):
            earlier = brought.setdefault(key, [(-1, -1)] * depth)
            for h in range(1, depth + 1):
                assert tuple(entries[at[n] - h]) == earlier[-h]
            earlier.append(tuple(came[n]))
    for key, earlier in brought.items():
        newest = np.reshape(earlier[len(earlier) - depth :], (depth, 2))
        assert np.array_equal(history.last(key), newest)
    assert len(brought) > 20


def test_without_keys_there_is_one_stream():
    history = History(2, np.nan)
    history.push(None, np.array([1.0]))
    entries, at = history.push(None, np.array([2.0, 3.0]))
    assert np.array_equal(entries[at - 1], [1, 2])
    assert np.array_equal(entries[at - 2], [np.nan, 1], equal_nan=True)
