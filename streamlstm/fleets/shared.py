"""The streams of a fleet with shared weights: one network for all."""

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

DONORS = 64  # a new stream gets the mean committee of this many longest-running streams
ENDLESS_STRIDE = 2**53  # ticks between updates: so many that none comes due
GRADIENT_GROUPS = 64  # at most; the gradients of each group of streams are summed first
MIN_GROUP_TICKS = 16


class SharedStreams(PrivateStreams):
    """Streams that share the weights of one network, that of `model`.

    Each stream has its own state, tapes, committee, scales and intervals. The ticks of a call are
    split into rounds with at most one tick of each stream. A round has three steps: all streams
    learn their values and compute gradients, the mean gradient updates the weights, and all streams
    advance and forecast.
    """

    def __init__(self, model: LSTMForecaster):
        if model._network.settings.replay or model.stride != 1:
            raise ParameterError(
                'weights="shared" needs a model that learns every tick once: preset="fast", '
                "no replay and stride=1"
            )
        super().__init__(model)

    def _build_work_state(self) -> None:
        network = self.model._network
        self._sums = np.zeros((0, 0), np.float32)
        self._mean_experience: list[np.ndarray] | None = None
        # No stream updates the shared weights by itself.
        self._settings = np.array(network.settings._replace(stride=ENDLESS_STRIDE), np.float64)
        self._shared_kernels = shared_kernels.entries(self.model.cell, self.model.learning)
        for model in self.models.values():
            model._network.share_weights(network)
        super()._build_work_state()

    def begin(self, rows: Iterable[int]) -> None:
        """Start streams whose committees have the mean experience of long-running streams."""
        experience = self._experience_of_donors()
        for row in rows:
            model = copy.deepcopy(self.model)
            if experience is not None:
                committee = model._series.committee
                for array, mean in zip(_experience_of(committee), experience, strict=True):
                    array[:] = mean
                committee.weights[:] *= committee.members
                committee.weights[:] /= committee.weights.sum(axis=1, keepdims=True)
            self.put(row, model)

    def _experience_of_donors(self) -> list[np.ndarray] | None:
        """Mean experience of the longest-running streams' committees; None without such streams."""
        if self._mean_experience is None:
            donors = heapq.nlargest(DONORS, self.models.values(), key=lambda model: model._ticks)
            each = [_experience_of(model._series.committee) for model in donors if model._ticks]
            means = [np.mean(arrays, axis=0) for arrays in zip(*each, strict=True)]
            self._mean_experience = means or None
        return self._mean_experience

    def put(self, row: int, model: LSTMForecaster) -> None:
        """Use a model for the stream of this row, with the shared weights instead of its own."""
        model._network.share_weights(self.model._network)
        super().put(row, model)

    def take(self, row: int) -> LSTMForecaster:
        """A copy of a stream's forecaster, with a copy of the shared weights."""
        model = super().take(row)
        model._network.copy_weights(self.model._network)
        return model

    def _update_all_addresses(self) -> None:
        network = self.model._network
        self._settings = np.array(network.settings._replace(stride=ENDLESS_STRIDE), np.float64)
        for model in self.models.values():
            model._network.share_weights(network)
        super()._update_all_addresses()

    def _buffers_of(self, row: int) -> tuple[np.ndarray, ...]:
        return self._settings, *super()._buffers_of(row)[1:]

    def _batches(self, rows: np.ndarray) -> Iterable[np.ndarray]:
        return rounds.rounds_of(rows)

    def _learn_batch(
        self,
        forecasts: np.ndarray,
        bounds: np.ndarray,
        places: np.ndarray,
        rows: np.ndarray,
        ys: np.ndarray,
        features: np.ndarray,
        times: np.ndarray | None,
    ) -> None:
        """Learn from a round, one tick of each of these streams, and from the gaps before it."""
        no_review = self._needs_no_review(rows, np.arange(rows.size), times)
        if not no_review.all():
            self._flush_times()
        self._mean_experience = None
        reviewed = []
        for g in np.flatnonzero(~no_review).tolist():
            row, own_time = int(rows[g]), None if times is None else times[g : g + 1]
            iterator = segments(self.models[row], ys[g : g + 1], features[g : g + 1], own_time)
            segment = next(iterator)
            while segment.rows is None:
                self._learn_gap(row, segment)
                segment = next(iterator)
            self._share_features_of(row)
            reviewed.append((g, row, iterator, segment.features[0]))
        table = np.full((rows.size, len(self.model._columns.index)), np.nan)
        table[:, : features.shape[1]] = features
        for g, _, _, own_features in reviewed:
            table[g, : own_features.size] = own_features
        self._learn_round(forecasts, bounds, places, ys, table, rows)
        self._due[rows] -= 1
        self._queue_times(rows[no_review], None if times is None else times[no_review])
        for _, row, iterator, _ in reviewed:
            next(iterator, None)  # reviews the stream, and ends
            self._share_features_of(row)
            self._update_addresses(row)
            self._schedule_review(row)

    def _learn_gap(self, row: int, segment: Segment) -> None:
        """Advance a stream over missing ticks, which have no targets and need no round."""
        self._share_features_of(row)
        self._update_addresses(row)
        ticks = segment.values.size
        self._learn_parts(
            np.empty((ticks, 1)),
            NO_BOUNDS,
            NO_PLACES,
            segment.values,
            segment.features,
            np.array([[row, 0, ticks]]),
        )

    def _share_features_of(self, row: int) -> None:
        """Add to all streams the features that a review has added to one of them."""
        self.add_features(list(self.models[row]._columns.index))

    def _learn_round(
        self, forecasts: Any, bounds: Any, places: Any, ys: Any, features: Any, rows: np.ndarray
    ) -> None:
        """Learn from one tick of each stream in `rows`: see `kernels.fleets.shared`."""
        network, known = self.model._network, self.model._known
        threads = min(self.threads or numba.get_num_threads(), rows.size)
        scratch, work = self._work_spaces(threads * ROW_BLOCK, forecasts.shape[1])
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
        if known.size:  # forecasts of this tick need its known features, which have come only now
            rounds.run(*prefetch)
        rounds.run(
            self._shared_kernels.learn_round, threads,
            forecasts, bounds, places, ys, features, rows, self._table, self._sizes,
            settings, weights, memory, clock, self._sums, np.empty(groups),
            scratch[:threads], work[:threads],
        )  # fmt: skip
        if not known.size:
            rounds.run(*prefetch)


def _experience_of(committee: Committee) -> list[np.ndarray]:
    """The arrays that a committee has learned about its members; all are free of units."""
    names = "weights", "gates", "products", "squares", "errors"
    return [getattr(committee, name) for name in names]
