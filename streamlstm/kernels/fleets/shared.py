"""Fleets with shared weights: a round has at most one tick of each stream.

Streams share the network's weights; each has a state, tapes and a committee of its own. A round has
three steps. First every stream forecasts its tick and learns from it, except for the weights. Then
the weights are updated with the mean of the streams' gradients. Then every stream prefetches its
next forecasts; several streams advance at a time, so that inputs times weights is a matrix product.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numba
import numpy as np

from .. import rules
from ..cells import CELLS
from ..cells.lstm import lstm_activate
from ..forecaster.layout import shape_of, work_size, work_views
from ..forecaster.learn import learn_tick
from ..forecaster.members import has_network
from ..forecaster.predict import prepare_inputs, set_known_features, store_forecasts
from ..jit import jit_apart, jit_parallel, jit_part
from ..layout import CLOCK, inputs_of, layer_state, layer_tape, layer_weights, network_views
from ..linear import ROW_BLOCK, affine_rows, clear, copy
from ..network import ALERT_FACTOR, advance, update
from ..rules import RULES
from ..stack import head, top_output
from ..views import array_at, row
from .private import COUNTERS, FLOAT32, INT64, MEMORY, network_at, replay_buffer_at, series_at

# Columns of the slots, one for each stream that advances: the tick's number in the round, the
# distance of the memory from that of the first stream in bytes, the row of the tape, and the
# addresses of that row of inputs and of gates.
TICK, SHIFT, ROW, INPUTS, GATES = range(5)
SLOT_SIZE = 5
ITEMSIZE = 4  # bytes of a float32


class Entries(NamedTuple):
    """Entry points compiled for one cell and one learning rule."""

    learn_round: Callable[..., None]
    prefetch_round: Callable[..., None]


@jit_part
def no_group_step(net, rows, table, sizes, scratch, slots, count):
    """Nothing to do: `single_step` advances every network."""


@jit_part
def single_step(net):
    """Advance one network, with inputs in `scratch.x`."""
    advance(net, net.scratch.x)


@jit_part
def lstm_group_step(net, rows, table, sizes, scratch, slots, count):
    """Advance the LSTM networks of `count` streams, with the same bits as one at a time.

    Their inputs are in `scratch.x`. All memories have the layout of that of `net`, the first
    stream, so that only one is opened: opening takes longer than the step. If there are fewer than
    ROW_BLOCK streams, the product repeats the last.
    """
    s, memory, T, H = net.settings, net.memory, net.settings.window, net.settings.hidden_size
    for n in range(count):
        k = rows[slots[n, TICK]]
        clock = array_at(INT64, table[k, COUNTERS], sizes[k, COUNTERS])
        slots[n, SHIFT] = table[k, MEMORY] - table[rows[slots[0, TICK]], MEMORY]
        slots[n, ROW] = clock[CLOCK.ticks] % T
        clock[CLOCK.ticks] += 1
    for layer in range(s.num_layers):
        I, N = inputs_of(s, layer), 4 * H
        tape = layer_tape(net.cell, memory.tapes, s, layer, T)
        state = layer_state(net.cell, memory.states, s, layer).ctypes.data
        below = layer_state(net.cell, memory.states, s, max(layer - 1, 0)).ctypes.data
        for n in range(count):
            shift, t = slots[n, SHIFT], slots[n, ROW]
            slots[n, INPUTS] = tape.inputs.ctypes.data + shift + t * (H + I) * ITEMSIZE
            slots[n, GATES] = tape.gates.ctypes.data + shift + t * N * ITEMSIZE
            x = array_at(FLOAT32, below + shift, I)
            if layer == 0:
                x = array_at(
                    FLOAT32, net.scratch.x.ctypes.data + n * scratch.shape[1] * ITEMSIZE, I
                )
            copy(array_at(FLOAT32, slots[n, INPUTS], H), array_at(FLOAT32, state + shift, H))
            copy(array_at(FLOAT32, slots[n, INPUTS] + H * ITEMSIZE, I), x)
            c_prev = array_at(FLOAT32, tape.c_prevs.ctypes.data + shift + t * H * ITEMSIZE, H)
            copy(c_prev, array_at(FLOAT32, state + shift + H * ITEMSIZE, H))
        for n in range(count, ROW_BLOCK):
            slots[n, INPUTS] = slots[count - 1, INPUTS]
            slots[n, GATES] = slots[count - 1, GATES]
        weights = layer_weights(net.cell, net.weights.params, s, layer)
        affine_rows(
            (
                array_at(FLOAT32, slots[0, GATES], N), array_at(FLOAT32, slots[1, GATES], N),
                array_at(FLOAT32, slots[2, GATES], N), array_at(FLOAT32, slots[3, GATES], N),
                array_at(FLOAT32, slots[4, GATES], N), array_at(FLOAT32, slots[5, GATES], N),
            ),
            (
                array_at(FLOAT32, slots[0, INPUTS], H + I),
                array_at(FLOAT32, slots[1, INPUTS], H + I),
                array_at(FLOAT32, slots[2, INPUTS], H + I),
                array_at(FLOAT32, slots[3, INPUTS], H + I),
                array_at(FLOAT32, slots[4, INPUTS], H + I),
                array_at(FLOAT32, slots[5, INPUTS], H + I),
            ),
            weights.w,
            weights.b,
        )  # fmt: skip
        for n in range(count):
            shift, t = slots[n, SHIFT], slots[n, ROW]
            lstm_activate(
                array_at(FLOAT32, state + shift, H),
                array_at(FLOAT32, state + shift + H * ITEMSIZE, H),
                array_at(FLOAT32, slots[n, GATES], N),
                array_at(FLOAT32, tape.tanh_cs.ctypes.data + shift + t * H * ITEMSIZE, H),
                array_at(FLOAT32, tape.c_prevs.ctypes.data + shift + t * H * ITEMSIZE, H),
            )
    K = s.output_size
    for n in range(count):
        shift, t = slots[n, SHIFT], slots[n, ROW]
        h = array_at(FLOAT32, top_output(net, memory.states).ctypes.data + shift, H)
        copy(array_at(FLOAT32, memory.hs.ctypes.data + shift + t * H * ITEMSIZE, H), h)
        head(array_at(FLOAT32, memory.output.ctypes.data + shift, K), h, net.head.w, net.head.b)
        clear(array_at(FLOAT32, memory.d_ys.ctypes.data + shift + t * K * ITEMSIZE, K))


@jit_part
def no_single_step(net):
    """Nothing to do: `lstm_group_step` has advanced every network."""


@cache
def entries(cell: str, learning: str) -> Entries:
    """The entry points for the cell and the learning rule of these names."""
    kind = CELLS[cell].CELL, RULES[learning].RULE
    step_group, step_one = no_group_step, single_step
    if (cell, learning) == ("lstm", "tbptt"):
        step_group, step_one = lstm_group_step, no_single_step

    @jit_apart
    def add_gradient(
        forecasts, bounds, places, y, features, addresses, sizes, scratch, work, total
    ):
        """Forecast and learn from a stream's tick, and add its gradient to total, (P,).

        Returns the weight of the gradient: 0 without a target, more for a while after a drift.
        """
        net = network_at(kind, addresses, sizes, scratch)
        clock, shape = net.clock, shape_of(net.clock, features.size)
        series = series_at(addresses, sizes, clock, shape)
        past = replay_buffer_at(addresses, sizes, net.settings)
        counts = ALERT_FACTOR if clock[CLOCK.alert] > 0 else 1.0
        horizon = max(shape.horizon, forecasts.size)
        workspace = work_views(row(work, 0, work_size(shape, horizon)), shape)
        learn_tick(forecasts, bounds, places, y, features, workspace, net, series, past)
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
        """Update the weights with the mean gradient. sums, counts: of groups of streams."""
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
    def prefetch_group(first, last, features, known, rows, table, sizes, scratch, work, slots):
        """Prefetch forecasts of the streams of ticks `first` to `last`, if they have a value.

        scratch, work: a row for each of them.
        """
        count = 0
        for g in range(first, last):
            clock = array_at(INT64, table[rows[g], COUNTERS], sizes[rows[g], COUNTERS])
            if clock[CLOCK.values] > 0:
                slots[count, TICK] = g
                count += 1
        together = False
        for n in range(2 * count):  # one place opens all views, so that unused ones cost nothing
            slot = n % count
            g = slots[slot, TICK]
            addresses, size = table[rows[g]], sizes[rows[g]]
            net = network_at(kind, addresses, size, scratch[slot])
            shape = shape_of(net.clock, features.shape[1])
            series = series_at(addresses, size, net.clock, shape)
            workspace = work_views(work[slot], shape)
            if n < count:
                if known.size > 0:
                    set_known_features(series, known, features[g])
                prepare_inputs(
                    workspace, net, series, replay_buffer_at(addresses, size, net.settings)
                )
                together = has_network(series)
            else:
                if together and slot == 0:
                    step_group(net, rows, table, sizes, scratch, slots, count)
                if together:
                    step_one(net)
                store_forecasts(workspace, net, series)

    @jit_parallel
    def learn_round(
        forecasts, bounds, places, ys, features, rows, table, sizes, settings, weights, memory,
        clock, sums, counts, scratch, work,
    ):  # fmt: skip
        """Forecast and learn from a tick of each of G streams; update the weights once.

        rows: (G,) of the streams in the table. settings ... clock: buffers of the network with the
        shared weights. sums: (groups, P) float32 and counts: (groups,) float64 of the gradients of
        groups of streams: groups, so that sums do not depend on the threads. scratch: (C, ...),
        work: (C, ...) for C threads.
        """
        C, G, groups = scratch.shape[0], rows.size, counts.size
        for c in numba.prange(C):
            for group in range(c, groups, C):
                clear(sums[group])
                counts[group] = 0.0
                for g in range(group * G // groups, (group + 1) * G // groups):
                    counts[group] += add_gradient(
                        forecasts[g], bounds[g : g + 1], places, ys[g], features[g],
                        table[rows[g]], sizes[rows[g]], scratch[c], work[c], sums[group],
                    )  # fmt: skip
        update_weights(settings, weights, memory, clock, sums, counts, scratch[0])

    @jit_parallel
    def prefetch_round(features, known, rows, table, sizes, scratch, work, slots):
        """Prefetch forecasts of the streams of G ticks.

        known: as in `learn_ticks`. scratch, work: (C ROW_BLOCK, ...) and slots: (C, ROW_BLOCK,
        SLOT_SIZE) int64 for C threads.
        """
        C, G = slots.shape[0], rows.size
        for c in numba.prange(C):
            own = slice(c * ROW_BLOCK, (c + 1) * ROW_BLOCK)
            for first in range(c * ROW_BLOCK, G, C * ROW_BLOCK):
                prefetch_group(
                    first, min(first + ROW_BLOCK, G), features, known, rows, table, sizes,
                    scratch[own], work[own], slots[c],
                )  # fmt: skip

    return Entries(learn_round, prefetch_round)
