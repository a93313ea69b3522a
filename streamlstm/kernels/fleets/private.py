"""Many forecasters at once: a round of ticks, over all cores.

Each forecaster keeps its buffers; a kernel finds them by their addresses. The holder of a table of
addresses has to keep what they point at alive and where it is.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numba
import numpy as np

from ..cells import CELLS
from ..forecaster.entries import learn_ticks
from ..jit import jit, jit_apart, jit_parallel, jit_part
from ..layout import (
    CLOCK,
    intervals_views,
    network_views,
    past_views,
    series_views,
    shape_of,
    work_size,
    work_views,
)
from ..rules import RULES
from ..views import at, row

# The columns of a table: addresses and sizes of the buffers of one forecaster.
BUFFERS = ("settings", "weights", "memory", "clock", "stats", "errors", "history", "past")
SETTINGS, WEIGHTS, MEMORY, COUNTERS, STATS, ERRORS, HISTORY, PAST = range(len(BUFFERS))

DOUBLE, SINGLE, WHOLE = np.zeros(1), np.zeros(1, np.float32), np.zeros(1, np.int64)


@jit_part
def network_at(kind, place, sizes, scratch):
    """The network of the forecaster whose buffers are at `place`: a row of a table."""
    return network_views(
        kind,
        at(DOUBLE, place[SETTINGS], sizes[SETTINGS]),
        at(SINGLE, place[WEIGHTS], sizes[WEIGHTS]),
        at(SINGLE, place[MEMORY], sizes[MEMORY]),
        scratch,
        at(WHOLE, place[COUNTERS], sizes[COUNTERS]),
    )


@jit_part
def series_at(place, sizes, clock, shape):
    """Its series."""
    return series_views(
        at(DOUBLE, place[STATS], sizes[STATS]),
        at(DOUBLE, place[ERRORS], sizes[ERRORS]),
        at(DOUBLE, place[HISTORY], sizes[HISTORY]),
        clock,
        shape,
    )


@jit_part
def past_at(place, sizes, settings):
    """Its past."""
    return past_views(at(SINGLE, place[PAST], sizes[PAST]), settings)


class Entries(NamedTuple):
    """Compiled for one cell and one learning rule."""

    learn_round: Callable[..., None]


@cache
def entries(cell: str, learning: str) -> Entries:
    """What `ForecasterFleet` calls for the cell and the learning rule of these names."""
    kind = CELLS[cell].CELL, RULES[learning].RULE

    @jit_apart
    def learn_part(forecasts, bounds, places, ys, features, known, place, sizes, scratch, work):
        """`learn_many` of the forecaster whose buffers are at `place`."""
        net = network_at(kind, place, sizes, scratch)
        shape = shape_of(net.clock, features.shape[1])
        series = series_at(place, sizes, net.clock, shape)
        past = past_at(place, sizes, net.settings)
        horizon = max(shape.horizon, forecasts.shape[1])
        room = work_views(row(work, 0, work_size(shape, horizon)), shape)
        learn_ticks(forecasts, bounds, places, ys, features, known, room, net, series, past)

    @jit_parallel
    def learn_round(
        forecasts, bounds, places, ys, features, known, parts, table, sizes, scratch, work
    ):
        """Let forecasters learn from a part each.

        parts: (G, 3) the row of a forecaster in the table, the first of its ticks and the one after
        the last; no forecaster twice. table, sizes: (S, 8) see BUFFERS. scratch: (C, ...) float32
        and work: (C, ...) float64 for C threads; the rest as for `learn_many` of `forecaster`.
        """
        C = scratch.shape[0]
        for c in numba.prange(C):
            for g in range(c, parts.shape[0], C):
                s, start, stop = parts[g, 0], parts[g, 1], parts[g, 2]
                learn_part(
                    forecasts[start:stop], bounds[start:stop], places, ys[start:stop],
                    features[start:stop], known, table[s], sizes[s], scratch[c], work[c],
                )  # fmt: skip

    return Entries(learn_round)


@jit
def issued(forecasts, rows, table, sizes):
    """The forecasts that are ready, (G, h), h at most K, of the forecasters in these rows.

    Those of one that has no value yet are left as they are.
    """
    for g in range(rows.size):
        s = rows[g]
        clock = at(WHOLE, table[s, COUNTERS], sizes[s, COUNTERS])
        K, ticks = clock[CLOCK.horizon], clock[CLOCK.values]
        ready = intervals_views(at(DOUBLE, table[s, ERRORS], sizes[s, ERRORS]), K).forecasts
        for k in range(forecasts.shape[1] if ticks > 0 else 0):
            forecasts[g, k] = ready[ticks % K * K + k]
