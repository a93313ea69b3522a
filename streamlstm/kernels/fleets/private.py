"""Fleets with private weights: ticks of many forecasters, learned on all cores.

Each forecaster has its own buffers, and kernels find them by a table of their addresses. The holder
of the table must keep the buffers alive and in place.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numba
import numpy as np

from ..cells import CELLS
from ..forecaster.layout import intervals_views, series_views, shape_of, work_size, work_views
from ..forecaster.learn import learn_ticks
from ..jit import jit, jit_apart, jit_parallel, jit_part
from ..layout import CLOCK, network_views, replay_buffer_views
from ..rules import RULES
from ..views import array_at, row

# Columns of the table: a row has the addresses of the buffers of a forecaster.
BUFFERS = ("settings", "weights", "memory", "clock", "stats", "errors", "history", "past")
SETTINGS, WEIGHTS, MEMORY, COUNTERS, STATS, ERRORS, HISTORY, PAST = range(len(BUFFERS))

# Arrays that tell `array_at` the type.
FLOAT64, FLOAT32, INT64 = np.zeros(1), np.zeros(1, np.float32), np.zeros(1, np.int64)


@jit_part
def network_at(kind, addresses, sizes, scratch):
    """The network of the forecaster with buffers at `addresses`, a row of the table."""
    return network_views(
        kind,
        array_at(FLOAT64, addresses[SETTINGS], sizes[SETTINGS]),
        array_at(FLOAT32, addresses[WEIGHTS], sizes[WEIGHTS]),
        array_at(FLOAT32, addresses[MEMORY], sizes[MEMORY]),
        scratch,
        array_at(INT64, addresses[COUNTERS], sizes[COUNTERS]),
    )


@jit_part
def series_at(addresses, sizes, clock, shape):
    """The series of a forecaster."""
    return series_views(
        array_at(FLOAT64, addresses[STATS], sizes[STATS]),
        array_at(FLOAT64, addresses[ERRORS], sizes[ERRORS]),
        array_at(FLOAT64, addresses[HISTORY], sizes[HISTORY]),
        clock,
        shape,
    )


@jit_part
def replay_buffer_at(addresses, sizes, settings):
    """The replay buffer of a forecaster."""
    return replay_buffer_views(array_at(FLOAT32, addresses[PAST], sizes[PAST]), settings)


class Entries(NamedTuple):
    """Entry points compiled for one cell and one learning rule."""

    learn_round: Callable[..., None]


@cache
def entries(cell: str, learning: str) -> Entries:
    """The entry points for the cell and the learning rule of these names."""
    kind = CELLS[cell].CELL, RULES[learning].RULE

    @jit_apart
    def learn_stream(
        forecasts, bounds, places, ys, features, known, addresses, sizes, scratch, work
    ):
        """`learn_ticks` of the forecaster with buffers at `addresses`."""
        net = network_at(kind, addresses, sizes, scratch)
        shape = shape_of(net.clock, features.shape[1])
        series = series_at(addresses, sizes, net.clock, shape)
        past = replay_buffer_at(addresses, sizes, net.settings)
        horizon = max(shape.horizon, forecasts.shape[1])
        workspace = work_views(row(work, 0, work_size(shape, horizon)), shape)
        learn_ticks(forecasts, bounds, places, ys, features, known, workspace, net, series, past)

    @jit_parallel
    def learn_round(
        forecasts, bounds, places, ys, features, known, parts, table, sizes, scratch, work
    ):
        """Forecast and learn from ticks of G forecasters.

        parts: (G, 3) a forecaster's row in the table, its first tick and the one after its last;
        no forecaster twice. table, sizes: (S, 8) addresses and sizes of BUFFERS. scratch: (C, ...)
        float32 and work: (C, ...) float64 for C threads; the others as in `learn_ticks`.
        """
        C = scratch.shape[0]
        for c in numba.prange(C):
            for g in range(c, parts.shape[0], C):
                s, start, stop = parts[g, 0], parts[g, 1], parts[g, 2]
                learn_stream(
                    forecasts[start:stop], bounds[start:stop], places, ys[start:stop],
                    features[start:stop], known, table[s], sizes[s], scratch[c], work[c],
                )  # fmt: skip

    return Entries(learn_round)


@jit
def read_forecasts(forecasts, rows, table, sizes):
    """Read the prefetched forecasts, (G, h) with h <= K, of the forecasters in these rows.

    Forecasts stay as they are where a forecaster has no value yet.
    """
    for g in range(rows.size):
        s = rows[g]
        clock = array_at(INT64, table[s, COUNTERS], sizes[s, COUNTERS])
        K, ticks = clock[CLOCK.horizon], clock[CLOCK.values]
        ready = intervals_views(array_at(FLOAT64, table[s, ERRORS], sizes[s, ERRORS]), K).forecasts
        for k in range(forecasts.shape[1] if ticks > 0 else 0):
            forecasts[g, k] = ready[ticks % K * K + k]
