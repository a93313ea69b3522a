"""Tests that every connector has to pass; a connector's own tests inherit them.

A class derives from `ReplayableContract`, `RedeliveringContract`, or `SourceContract` if neither
holds, or from `SinkContract`; says how to make a connector and how to reach its system past it; and
is found by pytest if its name begins with Test. See docs/connectors.md and
examples/jsonl_connector.py.
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
    """What every source does."""

    def make(self) -> Source:
        """Make a source with `FIELDS`; of the same stream each time in a test, empty at first."""
        raise NotImplementedError

    def send(self, messages: Sequence[dict[str, Any]]) -> None:
        """Give the system messages, in this order."""
        raise NotImplementedError

    def _ticks(self, count: int) -> Source:
        """A source that is open at the beginning, with so many ticks waiting."""
        source = self.make()
        source.open(None)
        self.send([{"site": "ab"[n % 2], "load": n, "wind": 10 * n} for n in range(count)])
        return source

    def _read(self, source: Source, count: int, most: int = 100) -> list[Batch]:
        """Batches of so many messages."""
        batches: list[Batch] = []
        tries = 0
        while (found := sum(len(each) + len(each.rejected) for each in batches)) < count:
            batch = source.read(min(most, count - found), 1.0)
            tries += batch is None
            assert tries < 10, f"{found} of {count} messages have come"
            batches += [] if batch is None else [batch]
        return batches

    def _values(self, batches: list[Batch]) -> list[float]:
        return [value for batch in batches for value in batch.values.tolist()]

    def test_ticks_come_in_order_with_all_there_is_of_them(self) -> None:
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

    def test_no_more_than_asked_for(self) -> None:
        source = self._ticks(10)
        batches = self._read(source, 10, most=3)
        source.close()
        assert max(map(len, batches)) <= 3
        assert self._values(batches) == [*range(10)]

    def test_nothing_comes_of_nothing(self) -> None:
        source = self._ticks(0)
        assert source.read(10, 0.05) is None
        source.close()

    def test_messages_that_are_no_ticks_are_handed_over_as_such(self) -> None:
        source = self._ticks(1)
        self.send([{"site": "a", "load": "high"}, {"site": "a"}, {"site": "a", "load": 1}])
        batches = self._read(source, 4)
        source.close()
        assert self._values(batches) == [0, 1]
        reasons = [each.reason for batch in batches for each in batch.rejected]
        assert reasons == ["load: 'high' is not a number", "load: missing"]

    def test_may_be_closed_at_any_time(self) -> None:
        source = self.make()
        source.close()
        source.open(None)
        source.close()
        source.close()


class ReplayableContract(SourceContract):
    """What a source does besides that can read again from any position."""

    def test_goes_on_from_a_position_whatever_was_read_or_acknowledged_since(self) -> None:
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

    def test_goes_on_from_where_it_was_opened(self) -> None:
        source = self.make()
        position = self._stored(source.open(None))
        self.send([{"site": "a", "load": n} for n in range(3)])
        self._read(source, 3)
        source.close()
        source.open(position)
        assert self._values(self._read(source, 3)) == [0, 1, 2]
        source.close()

    def test_goes_on_behind_what_was_acknowledged(self) -> None:
        source = self._ticks(10)
        source.acknowledge(self._read(source, 4)[-1].position)
        self._read(source, 6)
        source.close()
        again = self.make()
        again.open(None)
        assert self._values(self._read(again, 6)) == [*range(4, 10)]
        again.close()

    def _stored(self, position: Any) -> Any:
        """A position as a snapshot gives it back."""
        encoder = Encoder()
        node = json.loads(json.dumps(encoder.value(position)))
        return Decoder(memoryview(b"".join(encoder.arrays))).value(node)


class RedeliveringContract(SourceContract):
    """What a source does besides that delivers again what has not been acknowledged."""

    def test_what_is_not_acknowledged_comes_again(self) -> None:
        source = self._ticks(10)
        source.acknowledge(self._read(source, 4)[-1].position)
        self._read(source, 6, most=2)
        source.close()
        again = self.make()
        again.open(None)
        assert self._values(self._read(again, 6)) == [*range(4, 10)]
        again.close()

    def test_a_position_of_before_a_connection_was_lost_acknowledges_nothing(self) -> None:
        source = self._ticks(10)
        position = self._read(source, 4)[-1].position
        source.close()
        source.open(position)
        source.acknowledge(position)
        assert self._values(self._read(source, 10)) == [*range(10)]
        source.close()


class SinkContract:
    """What a sink does."""

    def make(self) -> Sink:
        """Make a sink; of the same stream each time in a test, empty at first."""
        raise NotImplementedError

    def delivered(self) -> list[tuple[str, list[float]]]:
        """Ids and forecasts that the system has by now, in the order in which they came."""
        raise NotImplementedError

    def _batch(self, first: int, count: int) -> Batch:
        ids = [f"{n}-0" for n in range(first, first + count)]
        return Batch(np.zeros(count), {}, np.arange(count), ids, ["a"] * count, ids, 0, None)

    def test_the_system_has_what_was_written(self) -> None:
        sink = self.make()
        sink.open()
        forecasts = np.arange(12.0).reshape(4, 3)
        sink.write(self._batch(0, 3), forecasts[:3], None)
        sink.write(self._batch(3, 1), forecasts[3:], np.zeros((1, 2, 3)))
        expected = [(f"{n}-0", row) for n, row in enumerate(forecasts.tolist())]
        assert self.delivered() == expected
        sink.close()

    def test_may_be_closed_and_opened_again(self) -> None:
        sink = self.make()
        sink.close()
        for n in range(2):
            sink.open()
            sink.write(self._batch(n, 1), np.zeros((1, 1)), None)
            sink.close()
        sink.close()
        assert [name for name, _ in self.delivered()] == ["0-0", "1-0"]
