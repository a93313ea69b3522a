"""The streams of a fleet that share the weights of one network."""

import copy
import heapq
from collections.abc import Iterable
from typing import Any

import numba
import numpy as np

from ..errors import ParameterError
from ..forecaster import LSTMForecaster
from ..kernels.fleets import shared as shared_kernels
from ..kernels.fleets.shared import SLOT_SIZE
from ..kernels.forecaster.layout import Committee
from ..kernels.layout import aligned_zeros, dense_size
from ..kernels.linear import ROW_BLOCK
from ..model.quantiles import NO_BOUNDS, NO_PLACES
from ..model.segments import Segment, segments
from . import rounds
from .streams import PrivateStreams

DONORS = 64  # longest-running streams whose mean committee a new one begins with
NEVER = 2**53  # a number of ticks that a float64 holds
GRADIENT_GROUPS = 64  # of streams whose gradients are summed first
MIN_GROUP_TICKS = 16


class SharedStreams(PrivateStreams):
    """Streams of one network: its weights are those of `model`, for all of them.

    Every stream has the rest to itself: state and tapes, committee, scales and intervals. The ticks
    of a call are taken in rounds, of a tick a stream: all judge theirs, then the weights move along
    the mean of the gradients, then all look out.
    """

    def __init__(self, model: LSTMForecaster):
        if model._network.settings.replay or model.stride != 1:
            raise ParameterError(
                'weights="shared" needs a model that learns every tick once: preset="fast", '
                "no replay and stride=1"
            )
        super().__init__(model)

    def _open(self) -> None:
        network = self.model._network
        self._sums = np.zeros((0, 0), np.float32)
        self._mean_trust: list[np.ndarray] | None = None
        # The streams' own updates never come due.
        self._settings = np.array(network.settings._replace(stride=NEVER), np.float64)
        self._shared_kernels = shared_kernels.entries(self.model.cell, self.model.learning)
        for model in self.models.values():
            model._network.share_weights(network)
        super()._open()

    def begin(self, rows: Iterable[int]) -> None:
        """Let streams begin with a committee that trusts its members as others do by now."""
        theirs = self._mean_committee()
        for row in rows:
            model = copy.deepcopy(self.model)
            if theirs is not None:
                ours = model._series.committee
                for learned, usual in zip(_trust(ours), theirs, strict=True):
                    learned[:] = usual
                ours.weights[:] *= ours.members
                ours.weights[:] /= ours.weights.sum(axis=1, keepdims=True)
            self.put(row, model)

    def _mean_committee(self) -> list[np.ndarray] | None:
        """The means over the streams that have seen most; None if there are none."""
        if self._mean_trust is None:
            old = heapq.nlargest(DONORS, self.models.values(), key=lambda model: model._ticks)
            each = [_trust(model._series.committee) for model in old if model._ticks]
            self._mean_trust = [np.mean(part, axis=0) for part in zip(*each, strict=True)] or None
        return self._mean_trust

    def put(self, row: int, model: LSTMForecaster) -> None:
        """Make a model that of a stream, but for its weights."""
        model._network.share_weights(self.model._network)
        super().put(row, model)

    def take(self, row: int) -> LSTMForecaster:
        """A copy of a stream's forecaster, with the weights as they are."""
        model = super().take(row)
        model._network.copy_weights(self.model._network)
        return model

    def add_features(self, names: list[Any]) -> None:
        """Give all streams these features, those of them that are new."""
        if self.model._columns.new_names(names):
            self._before_change(np.array([*self.models], np.int64))
            for model in [self.model, *self.models.values()]:
                model._add_features(names)
            self._share_anew()

    def _share_anew(self) -> None:
        """Let all streams use the weights of `model`, which have moved."""
        network = self.model._network
        self._settings = np.array(network.settings._replace(stride=NEVER), np.float64)
        for row, model in self.models.items():
            model._network.share_weights(network)
            self._locate(row)

    def _buffers_of(self, row: int) -> tuple[np.ndarray, ...]:
        return self._settings, *super()._buffers_of(row)[1:]

    def _split(self, rows: np.ndarray) -> Iterable[np.ndarray]:
        return rounds.rounds_of(rows)

    def _learn(
        self,
        forecasts: np.ndarray,
        bounds: np.ndarray,
        places: np.ndarray,
        rows: np.ndarray,
        ys: np.ndarray,
        features: np.ndarray,
        times: np.ndarray | None,
    ) -> None:
        """Learn from a tick each of some streams; ticks that never came are learned before."""
        no_review = self._needs_no_review(rows, np.arange(rows.size), times)
        if not no_review.all():
            self._note_times()
        self._mean_trust = None
        slow = []
        for g in np.flatnonzero(~no_review).tolist():
            row, when = int(rows[g]), None if times is None else times[g : g + 1]
            each = segments(self.models[row], ys[g : g + 1], features[g : g + 1], when)
            part = next(each)
            while part.rows is None:
                self._learn_missing(row, part)
                part = next(each)
            self._adopt_columns(row)
            slow.append((g, row, each, part.features[0]))
        table = np.full((rows.size, len(self.model._columns.index)), np.nan)
        table[:, : features.shape[1]] = features
        for g, _, _, own in slow:
            table[g, : own.size] = own
        self._run_round(forecasts, bounds, places, ys, table, rows)
        self._due[rows] -= 1
        self._note_ticks(rows[no_review], None if times is None else times[no_review])
        for _, row, each, _ in slow:
            next(each, None)  # it ends, having looked after the stream
            self._adopt_columns(row)
            self._locate(row)
            self._schedule_review(row)

    def _learn_missing(self, row: int, part: Segment) -> None:
        """Let ticks of a stream pass that never came: there is no target to learn from."""
        self._adopt_columns(row)
        self._locate(row)
        ticks = part.values.size
        parts = np.array([[row, 0, ticks]])
        self._run(np.empty((ticks, 1)), NO_BOUNDS, NO_PLACES, part.values, part.features, parts)

    def _adopt_columns(self, row: int) -> None:
        """Give all streams the features that one has found by itself."""
        theirs = list(self.models[row]._columns.index)
        if self.model._columns.new_names(theirs):
            self.add_features(theirs)

    def _run_round(
        self, forecasts: Any, bounds: Any, places: Any, ys: Any, features: Any, rows: np.ndarray
    ) -> None:
        """Judge, learn and look out: see `kernels.shared`."""
        network, known = self.model._network, self.model._known
        threads = min(self.threads or numba.get_num_threads(), rows.size)
        scratch, work = self._room(threads * ROW_BLOCK, forecasts.shape[1])
        slots = np.empty((threads, ROW_BLOCK, SLOT_SIZE), np.int64)
        groups = min(GRADIENT_GROUPS, -(-rows.size // MIN_GROUP_TICKS))
        size = dense_size(network.kind[0], network.settings)
        if self._sums.shape != (groups, size):
            self._sums = aligned_zeros(groups * size).reshape(groups, size)
        settings, weights, memory, _, clock = network.buffers
        prefetch = (
            self._shared_kernels.prefetch_round, threads,
            features, known, rows, self._table, self._sizes, scratch, work, slots,
        )  # fmt: skip
        if known.size:
            rounds.run(*prefetch)
        rounds.run(
            self._shared_kernels.learn_round, threads,
            forecasts, bounds, places, ys, features, rows, self._table, self._sizes,
            settings, weights, memory, clock, self._sums, np.empty(groups),
            scratch[:threads], work[:threads],
        )  # fmt: skip
        if not known.size:
            rounds.run(*prefetch)


def _trust(committee: Committee) -> list[np.ndarray]:
    """What a committee has learned of its members; none of it has a unit."""
    names = "weights", "gates", "products", "squares", "errors"
    return [getattr(committee, name) for name in names]
