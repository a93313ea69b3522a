"""Many forecasters with one network: a round of ticks, of at most one a stream.

Every stream has a state, tapes and a committee of its own. All of them judge their ticks first;
then the network learns from the mean of the streams' gradients; then the streams look out, and
advance several at a time, so that the product of their inputs with the weights is one of matrices.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numba
import numpy as np

from .. import rules
from ..cells import CELLS
from ..cells.lstm import lstm_activate
from ..forecaster.entries import has_network, issue, judge, learn_ahead, look_around
from ..jit import jit_apart, jit_parallel, jit_part
from ..layout import (
    CLOCK,
    inputs_of,
    layer_state,
    layer_tape,
    layer_weights,
    network_views,
    shape_of,
    work_size,
    work_views,
)
from ..linear import TOGETHER, affine_rows, clear, copy
from ..network import ALERT, advance, update
from ..rules import RULES
from ..stack import head, top
from ..views import at, row
from .private import COUNTERS, MEMORY, SINGLE, WHOLE, network_at, past_at, series_at

# Columns of a work space, a row for each stream that moves on: which tick it is, where the memory
# lies and the row of the tape, and where that row of inputs and of gates begins.
TICK, SHIFT, ROW, INPUTS, GATES = range(5)
SPOTS = 5
ITEM = 4  # bytes of a float32


class Entries(NamedTuple):
    """Compiled for one cell and one learning rule."""

    judge_round: Callable[..., None]
    look_round: Callable[..., None]


@jit_part
def move_alone(net, rows, table, sizes, scratch, spots, count):
    """Nothing: `finish_alone` does it all."""


@jit_part
def finish_alone(net):
    """Advance a network whose inputs are in `scratch.x`."""
    advance(net, net.scratch.x)


@jit_part
def move_together(net, rows, table, sizes, scratch, spots, count):
    """Advance the LSTM cells of `count` streams, to the bits that each alone would have.

    Their inputs are in `scratch.x`. All memories are laid out like that of `net`, the first of
    them; opening each would take longer than the step. Streams that there are too few of are the
    last once more in the product.
    """
    s, memory, T, H = net.settings, net.memory, net.settings.window, net.settings.hidden_size
    for n in range(count):
        k = rows[spots[n, TICK]]
        clock = at(WHOLE, table[k, COUNTERS], sizes[k, COUNTERS])
        spots[n, SHIFT] = table[k, MEMORY] - table[rows[spots[0, TICK]], MEMORY]
        spots[n, ROW] = clock[CLOCK.ticks] % T
        clock[CLOCK.ticks] += 1
    for layer in range(s.num_layers):
        I, N = inputs_of(s, layer), 4 * H
        tape = layer_tape(net.cell, memory.tapes, s, layer, T)
        state = layer_state(net.cell, memory.states, s, layer).ctypes.data
        below = layer_state(net.cell, memory.states, s, max(layer - 1, 0)).ctypes.data
        for n in range(count):
            shift, t = spots[n, SHIFT], spots[n, ROW]
            spots[n, INPUTS] = tape.inputs.ctypes.data + shift + t * (H + I) * ITEM
            spots[n, GATES] = tape.gates.ctypes.data + shift + t * N * ITEM
            x = at(SINGLE, below + shift, I)
            if layer == 0:
                x = at(SINGLE, net.scratch.x.ctypes.data + n * scratch.shape[1] * ITEM, I)
            copy(at(SINGLE, spots[n, INPUTS], H), at(SINGLE, state + shift, H))
            copy(at(SINGLE, spots[n, INPUTS] + H * ITEM, I), x)
            c_prev = at(SINGLE, tape.c_prevs.ctypes.data + shift + t * H * ITEM, H)
            copy(c_prev, at(SINGLE, state + shift + H * ITEM, H))
        for n in range(count, TOGETHER):
            spots[n, INPUTS] = spots[count - 1, INPUTS]
            spots[n, GATES] = spots[count - 1, GATES]
        weights = layer_weights(net.cell, net.weights.params, s, layer)
        affine_rows(
            (
                at(SINGLE, spots[0, GATES], N), at(SINGLE, spots[1, GATES], N),
                at(SINGLE, spots[2, GATES], N), at(SINGLE, spots[3, GATES], N),
                at(SINGLE, spots[4, GATES], N), at(SINGLE, spots[5, GATES], N),
            ),
            (
                at(SINGLE, spots[0, INPUTS], H + I), at(SINGLE, spots[1, INPUTS], H + I),
                at(SINGLE, spots[2, INPUTS], H + I), at(SINGLE, spots[3, INPUTS], H + I),
                at(SINGLE, spots[4, INPUTS], H + I), at(SINGLE, spots[5, INPUTS], H + I),
            ),
            weights.w,
            weights.b,
        )  # fmt: skip
        for n in range(count):
            shift, t = spots[n, SHIFT], spots[n, ROW]
            lstm_activate(
                at(SINGLE, state + shift, H),
                at(SINGLE, state + shift + H * ITEM, H),
                at(SINGLE, spots[n, GATES], N),
                at(SINGLE, tape.tanh_cs.ctypes.data + shift + t * H * ITEM, H),
                at(SINGLE, tape.c_prevs.ctypes.data + shift + t * H * ITEM, H),
            )
    K = s.output_size
    for n in range(count):
        shift, t = spots[n, SHIFT], spots[n, ROW]
        h = at(SINGLE, top(net, memory.states).ctypes.data + shift, H)
        copy(at(SINGLE, memory.hs.ctypes.data + shift + t * H * ITEM, H), h)
        head(at(SINGLE, memory.output.ctypes.data + shift, K), h, net.head.w, net.head.b)
        clear(at(SINGLE, memory.d_ys.ctypes.data + shift + t * K * ITEM, K))


@jit_part
def finish_together(net):
    """Nothing: `move_together` has done it all."""


@cache
def entries(cell: str, learning: str) -> Entries:
    """What a fleet with shared weights calls for the cell and the rule of these names."""
    kind = CELLS[cell].CELL, RULES[learning].RULE
    move, finish = move_alone, finish_alone
    if (cell, learning) == ("lstm", "tbptt"):
        move, finish = move_together, finish_together

    @jit_apart
    def judge_tick(forecasts, bounds, places, y, features, place, sizes, scratch, work, total):
        """Judge the tick of a stream and add its gradient to total, (P,).

        Returns how much it counts: 0 without a target, more for a while after a drift.
        """
        net = network_at(kind, place, sizes, scratch)
        clock, shape = net.clock, shape_of(net.clock, features.size)
        series = series_at(place, sizes, clock, shape)
        past = past_at(place, sizes, net.settings)
        counts = ALERT if clock[CLOCK.alert] > 0 else 1.0
        horizon = max(shape.horizon, forecasts.size)
        room = work_views(row(work, 0, work_size(shape, horizon)), shape)
        judge(forecasts, bounds, places, y, features, room, net, series, past)
        if clock[CLOCK.labelled] == 0:
            counts = 0.0
        else:
            rules.gradient(net.rule, net, 1)
            share = np.float32(counts)
            for p in range(total.size):
                total[p] += share * net.scratch.grads[p]
        clock[CLOCK.labelled] = 0
        clock[CLOCK.unlearned] = 0
        return counts

    @jit_apart
    def update_weights(settings, weights, memory, clock, sums, counts, scratch):
        """One update along the mean of the gradients, whose sums are in groups."""
        counted = 0.0
        for group in range(counts.size):
            counted += counts[group]
        if counted == 0.0:
            return
        net = network_views(kind, settings, weights, memory, scratch, clock)
        share = np.float32(1.0 / counted)
        for p in range(sums.shape[1]):
            total = sums[0, p]
            for group in range(1, counts.size):
                total += sums[group, p]
            net.scratch.grads[p] = share * total
        update(net)

    @jit_apart
    def look_out(first, last, features, known, rows, table, sizes, scratch, work, spots):
        """Let the streams of the ticks from `first` to `last` look out, unless they have no value.

        scratch, work: a row for each of them.
        """
        count = 0
        for g in range(first, last):
            clock = at(WHOLE, table[rows[g], COUNTERS], sizes[rows[g], COUNTERS])
            if clock[CLOCK.values] > 0:
                spots[count, TICK] = g
                count += 1
        together = False
        for n in range(2 * count):  # opened at one place alone, all that is not used costs nothing
            spot = n % count
            g = spots[spot, TICK]
            place, size = table[rows[g]], sizes[rows[g]]
            net = network_at(kind, place, size, scratch[spot])
            shape = shape_of(net.clock, features.shape[1])
            series, room = series_at(place, size, net.clock, shape), work_views(work[spot], shape)
            if n < count:
                if known.size > 0:
                    learn_ahead(series, known, features[g])
                look_around(room, net, series, past_at(place, size, net.settings))
                together = has_network(series)
            else:
                if together and spot == 0:
                    move(net, rows, table, sizes, scratch, spots, count)
                if together:
                    finish(net)
                issue(room, net, series)

    @jit_parallel
    def judge_round(
        forecasts, bounds, places, ys, features, rows, table, sizes, settings, weights, memory,
        clock, sums, counts, scratch, work,
    ):  # fmt: skip
        """Judge G ticks, of a stream each, and update the weights once.

        rows: (G,) of the streams in the table. settings ... clock: buffers of the network, whose
        weights all streams have. sums: (groups, P) float32 and counts: (groups,) float64: a group
        of streams adds up its gradients, so that the sum does not depend on the threads. scratch:
        (C, ...), work: (C, ...) for C threads.
        """
        C, G, groups = scratch.shape[0], rows.size, counts.size
        for c in numba.prange(C):
            for group in range(c, groups, C):
                clear(sums[group])
                counts[group] = 0.0
                for g in range(group * G // groups, (group + 1) * G // groups):
                    counts[group] += judge_tick(
                        forecasts[g], bounds[g : g + 1], places, ys[g], features[g],
                        table[rows[g]], sizes[rows[g]], scratch[c], work[c], sums[group],
                    )  # fmt: skip
        update_weights(settings, weights, memory, clock, sums, counts, scratch[0])

    @jit_parallel
    def look_round(features, known, rows, table, sizes, scratch, work, spots):
        """Let the streams of G ticks look out.

        known: as for `learn_many` of `forecaster`. scratch, work: (C TOGETHER, ...) and spots:
        (C, TOGETHER, SPOTS) int64 for C threads.
        """
        C, G = spots.shape[0], rows.size
        for c in numba.prange(C):
            mine = slice(c * TOGETHER, (c + 1) * TOGETHER)
            for first in range(c * TOGETHER, G, C * TOGETHER):
                look_out(
                    first, min(first + TOGETHER, G), features, known, rows, table, sizes,
                    scratch[mine], work[mine], spots[c],
                )  # fmt: skip

    return Entries(judge_round, look_round)
