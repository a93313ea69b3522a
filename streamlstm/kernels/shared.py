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
from . import rules
from .cells import CELLS
from .fleet import SINGLE, network_at, past_at, series_at
from .forecaster import has_network, issue, judge, learn_ahead, look_around
from .jit import jit_apart, jit_parallel, jit_part
from .linear import TOGETHER, affine_rows, clear, copy
from .lstm import begin_step, end_step
from .network import ALERT, advance, answer, update
from .rules import RULES
from .stack import top
from .views import at, row

INPUTS, GATES, TICK = range(3)  # columns of a work space of addresses, and of the tick's number


class Entries(NamedTuple):
    """Compiled for one cell and one learning rule."""

    judge_round: Callable[..., None]
    look_round: Callable[..., None]


@jit_part
def advance_alone(kind, rows, table, sizes, scratch, spots, count):
    """Advance the networks of the first `count` ticks in `spots`; their inputs are in scratch."""
    for n in range(count):
        k = rows[spots[n, TICK]]
        net = network_at(kind, table[k], sizes[k], scratch[n])
        advance(net, net.scratch.x)


@jit_part
def advance_together(kind, rows, table, sizes, scratch, spots, count):
    """The same for LSTM cells, to the same bits, the product with the weights as one of matrices.

    Ticks that there are too few of are the last once more.
    """
    k = rows[spots[0, TICK]]
    first = network_at(kind, table[k], sizes[k], scratch[0])
    s, T = first.settings, first.settings.window
    N = 4 * s.hidden_size
    for layer in range(s.num_layers):
        M = s.hidden_size + inputs_of(s, layer)
        for n in range(count):
            k = rows[spots[n, TICK]]
            net = network_at(kind, table[k], sizes[k], scratch[n])
            t = net.clock[CLOCK.ticks] % T
            tape = layer_tape(net.cell, net.memory.tapes, s, layer, T)
            below = net.scratch.x
            if layer > 0:
                below = layer_state(net.cell, net.memory.states, s, layer - 1)[0]
            begin_step(layer_state(net.cell, net.memory.states, s, layer), tape, t, below)
            spots[n, INPUTS] = tape.inputs[t].ctypes.data
            spots[n, GATES] = tape.gates[t].ctypes.data
        for n in range(count, TOGETHER):
            spots[n, INPUTS] = spots[count - 1, INPUTS]
            spots[n, GATES] = spots[count - 1, GATES]
        weights = layer_weights(first.cell, first.weights.params, s, layer)
        affine_rows(
            (
                at(SINGLE, spots[0, GATES], N), at(SINGLE, spots[1, GATES], N),
                at(SINGLE, spots[2, GATES], N), at(SINGLE, spots[3, GATES], N),
                at(SINGLE, spots[4, GATES], N), at(SINGLE, spots[5, GATES], N),
            ),
            (
                at(SINGLE, spots[0, INPUTS], M), at(SINGLE, spots[1, INPUTS], M),
                at(SINGLE, spots[2, INPUTS], M), at(SINGLE, spots[3, INPUTS], M),
                at(SINGLE, spots[4, INPUTS], M), at(SINGLE, spots[5, INPUTS], M),
            ),
            weights.w,
            weights.b,
        )  # fmt: skip
        for n in range(count):
            k = rows[spots[n, TICK]]
            net = network_at(kind, table[k], sizes[k], scratch[n])
            tape = layer_tape(net.cell, net.memory.tapes, s, layer, T)
            state = layer_state(net.cell, net.memory.states, s, layer)
            end_step(state, tape, net.clock[CLOCK.ticks] % T)
    for n in range(count):
        k = rows[spots[n, TICK]]
        net = network_at(kind, table[k], sizes[k], scratch[n])
        h = top(net, net.memory.states)
        copy(net.memory.hs[net.clock[CLOCK.ticks] % T], h)
        answer(net, h)


@cache
def entries(cell: str, learning: str) -> Entries:
    """What a fleet with shared weights calls for the cell and the rule of these names."""
    kind = CELLS[cell].CELL, RULES[learning].RULE
    advance_all = advance_together if (cell, learning) == ("lstm", "tbptt") else advance_alone

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
        count, together = 0, False
        for g in range(first, last):
            place, size = table[rows[g]], sizes[rows[g]]
            net = network_at(kind, place, size, scratch[count])
            shape = shape_of(net.clock, features.shape[1])
            series = series_at(place, size, net.clock, shape)
            if net.clock[CLOCK.values] > 0:
                if known.size > 0:
                    learn_ahead(series, known, features[g])
                past = past_at(place, size, net.settings)
                look_around(work_views(work[count], shape), net, series, past)
                spots[count, TICK] = g
                together = has_network(series)
                count += 1
        if together:
            advance_all(kind, rows, table, sizes, scratch, spots, count)
        for n in range(count):
            place, size = table[rows[spots[n, TICK]]], sizes[rows[spots[n, TICK]]]
            net = network_at(kind, place, size, scratch[n])
            shape = shape_of(net.clock, features.shape[1])
            issue(work_views(work[n], shape), net, series_at(place, size, net.clock, shape))

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
        (C, TOGETHER, 3) int64 for C threads.
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
