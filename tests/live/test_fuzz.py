"""A short fuzz run of what reads other people's bytes; see fuzz_parsers.py for long ones."""

from collections import deque
from itertools import islice

import pytest
from fuzz_parsers import fuzz, fuzz_csv, fuzz_messages


def test_mutated_messages_are_ticks_or_rejected():
    deque(islice(fuzz_messages(seed=1), 5000), maxlen=0)


def test_mutated_csv_files_are_read_or_data_errors(tmp_path):
    deque(islice(fuzz_csv(1, tmp_path), 200), maxlen=0)


def test_an_input_that_fails_is_shown():
    def check(data):
        assert b"x" not in data
        return {"fine"}

    with pytest.raises(AssertionError) as error:
        deque(islice(fuzz(1, [b"ab", b"x"], check), 100), maxlen=0)
    assert "x" in error.value.__notes__[0]
