"""Fuzz the parsers: a mutated message or CSV file is parsed, rejected or a DataError.

An input with a new outcome is kept and mutated further. To fuzz for longer, run in `tests/helpers`
`python fuzz_parsers.py SECONDS [SEED]`; a failure prints the input.
"""

import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from streamlstm_connectors.files.csv import CSVSource

from streamlstm.errors import DataError
from streamlstm.live.payload import PAYLOAD, Fields, Parser

ALL = Fields("value", "key", "time", ("wind",), "number", max_bytes=500)
FIELDS = [ALL, Fields(), Fields(PAYLOAD), Fields(time="time", sequence="time")]
CSV_OPTIONS = [{}, {"key": "key"}, {"wide": True}, {"target": "y", "time": None}]

MESSAGES = [
    b'{"value": 1.5, "key": "a", "time": 1704110400, "wind": "3", "number": 7}',
    b'{"value": "-1e3", "key": 5, "time": "2024-01-01T12:00:00+01:00", "wind": null, "number": 8}',
    b'{"value": null, "key": "\xc3\xbc\\ud83d\\ude00", "time": 1.5, "wind": [1], "number": "1"}',
    b"21.5",
    b"[[[]]]",
]
FILES = [
    b"time,y,key\n2024-01-01,5,a\n2024-01-02,,b\n2024-01-03,7.5,a\n",
    b"\xef\xbb\xbfDate;Open;Close\r\n2024-01-01T00:00:00Z;1e3;-0\r\n2024-01-01T00:00:01Z;nan;2\r\n",
    b'ts\ty\tkey\n1704067200\t1\t"a ""b"""\n1704067201\t2\t"c\nd"\n',
    b"y\n1\n2\n3\n",
    b"\x1f\x8b",
]
TOKENS = [
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b"\0"),
    *(b"value", b"key", b"time", b"wind", b"number", b"y", b"null", b"true", b"NaN", b"-Infinity"),
    *(b"-", b"+", b".", b"e308", b"e-400", b"0x1", b"1_0", b"9" * 20, b"9" * 310, b"9" * 4400),
    *(
        b"\\ud800",
        b"\\u0000",
        b"\\",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\x1f\x8b",
    ),
    *(
        b"2024-01-01",
        b"T00:00:00Z",
        b"+23:59",
        b"0001-01-01",
        b"9999-12-31",
        b"2024-W01",
        b"[" * 300,
    ),
]


def mutated(rng: random.Random, inputs: list[bytes]) -> bytes:
    """Draw one of the inputs and change it in a few places."""
    data = bytearray(rng.choice(inputs))
    for _ in range(rng.choice([1, 1, 2, 4, 8])):
        at = rng.randint(0, len(data))
        end = min(at + rng.choice([1, 1, 2, 8, 40]), len(data))
        mutation = rng.randrange(6)
        if mutation == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif mutation == 1:
            del data[at:end]
        elif mutation == 2:
            data[at:at] = data[at:end] * rng.choice([1, 2, 30])
        elif mutation == 3:
            data[at:at] = rng.choice(TOKENS)
        elif mutation == 4:
            data[at:end] = rng.choice(TOKENS)
        else:
            other = rng.choice(inputs)
            data[at:] = other[rng.randint(0, len(other)) :]
    return bytes(data[:20_000])


def check_messages(messages: list, fields: Fields) -> set[str]:
    """Parse messages, and return the reasons of rejections."""
    ids = [str(n) for n in range(len(messages))]
    batch = Parser(fields).batch(ids, messages, 0, None)
    assert sorted([*batch.ids, *(each.id for each in batch.rejected)], key=int) == ids
    assert batch.ids == sorted(batch.ids, key=int)
    assert not np.isinf([batch.values, *batch.features.values()]).any()
    for each in batch.rejected:
        assert each.reason
        json.dumps(each._asdict()).encode()
    for key in batch.keys or []:
        assert key.encode()
    return {each.reason for each in batch.rejected}


def check_csv(path: Path) -> set[str]:
    """Read a file in several ways, and return errors, warnings and time columns."""
    outcomes = set()
    for options in CSV_OPTIONS:
        try:
            source = CSVSource(path, **options, batch_rows=3)
            for batch in source:
                assert not np.isinf(batch.values).any()
                assert len(batch.labels) == len(batch)
            outcomes |= {str(source.time), *source.warnings}
        except DataError as error:
            outcomes.add(str(error))
    return outcomes


def fuzz(seed: int, inputs: list[bytes], check: Callable[[bytes], set[str]]) -> Iterator[bytes]:
    """Check inputs without end, and yield each after its check; errors have the input as a note."""
    rng, kept, known = random.Random(seed), list(inputs), set()
    while True:
        data = mutated(rng, kept)
        try:
            messages = check(data)
        except Exception as error:
            error.add_note(f"input: {data!r}")
            raise
        # Outcomes that differ only in names and numbers count as the same.
        outcomes = {re.sub(r"'.*'|\"[^\"]*\"|\d+", "", each, flags=re.DOTALL) for each in messages}
        if outcomes - known:
            known |= outcomes
            kept.append(data)
        yield data


def fuzz_messages(seed: int) -> Iterator[bytes]:
    """Fuzz the parser of messages."""

    def check(data: bytes) -> set[str]:
        entry = {"value": data, "key": data[:9], "time": data, "number": data}
        return set().union(*(check_messages([data, entry], fields) for fields in FIELDS))

    return fuzz(seed, MESSAGES, check)


def fuzz_csv(seed: int, folder: Path) -> Iterator[bytes]:
    """Fuzz the reader of CSV files."""
    path = folder / "fuzzed.csv"

    def check(data: bytes) -> set[str]:
        path.write_bytes(data)
        return check_csv(path)

    return fuzz(seed, FILES, check)


def main(seconds: float, seed: int = 0) -> None:
    """Fuzz each parser for half of the time, and print how many inputs were tried."""
    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        runs = {"messages": fuzz_messages(seed), "CSV files": fuzz_csv(seed, Path(folder))}
        for name, run in runs.items():
            end, count = time.monotonic() + seconds / 2, 0
            for _ in run:
                count += 1
                if time.monotonic() > end:
                    break
            print(f"{count:,} {name}, seed {seed}: nothing found", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
