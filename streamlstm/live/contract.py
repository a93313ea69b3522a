"""Tests that every connector has to pass: derive a test class, and pytest runs them.

Derive from `ReplayableContract` if the source can be read again from any position, from
`RedeliveringContract` if its system delivers again what was not acknowledged, from `SourceContract`
if neither holds, and from `SinkContract` for a sink. Give the class a name that begins with Test,
and methods that make a connector and that talk to its system directly:

    class TestLinesSource(ReplayableContract):
        def make(self):
            return LinesSource(self.path, FIELDS)

        def send(self, messages):
            with self.path.open("a") as file:
                file.writelines(json.dumps(message) + "\\n" for message in messages)
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..snapshots.encoding import Decoder, Encoder
from .batch import Batch
from .connector import Sink, Source
from .payload import Fields

FIELDS = Fields(value="load", key="site", features=("wind",))


class SourceContract:
    """Tests for every source."""

    def make(self) -> Source:
        """Make a source with `FIELDS`.

        In one test it is always of the same stream, which is empty at first.
        """
        raise NotImplementedError

    def send(self, messages: Sequence[dict[str, Any]]) -> None:
        """Send messages to the system, in this order."""
        raise NotImplementedError

    def _ticks(self, count: int) -> Source:
        """Make a source that is open at the beginning of a stream, and send it ticks."""
        source = self.make()
        source.open(None)
        self.send([{"site": "ab"[n % 2], "load": n, "wind": 10 * n} for n in range(count)])
        return source

    def _read(self, source: Source, count: int, max_ticks: int = 100) -> list[Batch]:
        """Read until `count` messages have arrived."""
        batches: list[Batch] = []
        tries = 0
        while (found := sum(len(each) + len(each.rejected) for each in batches)) < count:
            batch = source.read(min(max_ticks, count - found), 1.0)
            tries += batch is None
            assert tries < 10, f"{found} of {count} messages arrived"
            batches += [] if batch is None else [batch]
        return batches

    def _values(self, batches: list[Batch]) -> list[float]:
        return [value for batch in batches for value in batch.values.tolist()]

    def test_ticks_arrive_in_order_with_keys_features_and_unique_ids(self) -> None:
        source = self._ticks(50)
        batches = self._read(source, 50)
        source.close()
        assert self._values(batches) == [*range(50)]
        keys = [key for batch in batches for key in batch.keys or []]
        assert keys == ["a", "b"] * 25
        assert np.concatenate([batch.features["wind"] for batch in batches])[7] == 70
        ids = [name for batch in batches for name in batch.ids or []]
        assert len(set(ids)) == 50
        assert all((batch.received or 0) > 1.6e18 for batch in batches)

    def test_read_returns_at_most_max_ticks(self) -> None:
        source = self._ticks(10)
        batches = self._read(source, 10, max_ticks=3)
        source.close()
        assert max(map(len, batches)) <= 3
        assert self._values(batches) == [*range(10)]

    def test_read_returns_none_if_nothing_arrives(self) -> None:
        source = self._ticks(0)
        assert source.read(10, 0.05) is None
        source.close()

    def test_messages_that_are_not_ticks_are_rejected_with_a_reason(self) -> None:
        source = self._ticks(1)
        self.send([{"site": "a", "load": "high"}, {"site": "a"}, {"site": "a", "load": 1}])
        batches = self._read(source, 4)
        source.close()
        assert self._values(batches) == [0, 1]
        reasons = [each.reason for batch in batches for each in batch.rejected]
        assert reasons[0] == "load: 'high' is not a number"
        assert reasons[1].startswith("load: missing")
        assert len(reasons) == 2

    def test_can_be_closed_at_any_time(self) -> None:
        source = self.make()
        source.close()
        source.open(None)
        source.close()
        source.close()


class ReplayableContract(SourceContract):
    """Tests for a source that can be read again from any position."""

    def test_reads_again_from_any_position(self) -> None:
        source = self._ticks(20)
        position = self._stored(self._read(source, 5)[-1].position)
        rest = self._read(source, 15)
        source.close()
        again = self.make()
        again.open(position)
        repeated = self._read(again, 15)
        again.close()
        assert self._values(repeated) == [*range(5, 20)]
        ids = [[name for batch in read for name in batch.ids or []] for read in (rest, repeated)]
        assert ids[0] == ids[1]

    def test_reads_again_from_the_position_that_open_returned(self) -> None:
        source = self.make()
        position = self._stored(source.open(None))
        self.send([{"site": "a", "load": n} for n in range(3)])
        self._read(source, 3)
        source.close()
        source.open(position)
        assert self._values(self._read(source, 3)) == [0, 1, 2]
        source.close()

    def test_continues_after_what_was_acknowledged(self) -> None:
        source = self._ticks(10)
        source.acknowledge(self._read(source, 4)[-1].position)
        self._read(source, 6)
        source.close()
        again = self.make()
        again.open(None)
        assert self._values(self._read(again, 6)) == [*range(4, 10)]
        again.close()

    def _stored(self, position: Any) -> Any:
        """Return a position as a snapshot gives it back."""
        encoder = Encoder()
        node = json.loads(json.dumps(encoder.value(position)))
        return Decoder(memoryview(b"".join(encoder.arrays))).value(node)


class RedeliveringContract(SourceContract):
    """Tests for a source that delivers again what was not acknowledged."""

    def test_unacknowledged_ticks_are_delivered_again(self) -> None:
        source = self._ticks(10)
        source.acknowledge(self._read(source, 4)[-1].position)
        self._read(source, 6, max_ticks=2)
        source.close()
        again = self.make()
        again.open(None)
        assert self._values(self._read(again, 6)) == [*range(4, 10)]
        again.close()

    def test_a_position_of_an_earlier_connection_acknowledges_nothing(self) -> None:
        source = self._ticks(10)
        position = self._read(source, 4)[-1].position
        source.close()
        source.open(position)
        source.acknowledge(position)
        assert self._values(self._read(source, 10)) == [*range(10)]
        source.close()


class SinkContract:
    """Tests for every sink."""

    def make(self) -> Sink:
        """Make a sink; in one test always of the same stream, which is empty at first."""
        raise NotImplementedError

    def delivered(self) -> list[tuple[str, list[float]]]:
        """Return ids and forecasts that the system has by now, in the order of arrival."""
        raise NotImplementedError

    def _batch(self, first: int, count: int) -> Batch:
        ids = [f"{n}-0" for n in range(first, first + count)]
        return Batch(np.zeros(count), {}, np.arange(count), ids, ["a"] * count, ids, 0, None)

    def test_the_system_has_the_forecasts_once_write_returns(self) -> None:
        sink = self.make()
        sink.open()
        forecasts = np.arange(12.0).reshape(4, 3)
        sink.write(self._batch(0, 3), forecasts[:3], None)
        sink.write(self._batch(3, 1), forecasts[3:], np.zeros((1, 2, 3)))
        expected = [(f"{n}-0", row) for n, row in enumerate(forecasts.tolist())]
        assert self.delivered() == expected
        sink.close()

    def test_can_be_closed_and_opened_again(self) -> None:
        sink = self.make()
        sink.close()
        for n in range(2):
            sink.open()
            sink.write(self._batch(n, 1), np.zeros((1, 1)), None)
            sink.close()
        sink.close()
        assert [name for name, _ in self.delivered()] == ["0-0", "1-0"]
