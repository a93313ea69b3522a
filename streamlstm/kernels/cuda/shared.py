"""Streams with shared weights: a tick of each in three launches.

`learn_shared` learns everything but the weights and sums up their gradients, `update_shared`
updates the weights, and `step_shared` takes the next step of all streams as a matrix product.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numba import float32, int32

from .device import cuda
from .layout import NAN, ONE, PARAM, STATS, TICKS, ZERO, work_of
from .network import backward, block_sum, clip_factor, corrections, gradient, step_unit, update
from .series import observe_tick


@cuda.jit
def learn_shared(parts, grads, labelled, streams, weights, rows, ticks, rules):
    """Learn from a tick of each of G streams, but leave the weights as they are.

    The blocks share the streams, and each block sums up the gradients of its streams.
    grads: (blocks, M * N + H + 1) sums; labelled: (blocks,) number of streams in each sum; the
    others as in `learn_private`.
    """
    thread, threads, block = cuda.threadIdx.x, cuda.blockDim.x, cuda.blockIdx.x
    T, M = streams.inputs.shape[1:]
    N = streams.gates.shape[2]
    H = N // 4
    work = work_of(cuda.shared.array(0, float32), T, M, N, threads)
    d_zs, x = work.d_zs, work.x
    w, head, total = weights.w[0, PARAM], weights.head[0, PARAM], grads[block]
    count = 0
    for b in range(block, rows.size, cuda.gridDim.x):
        r = rows[b]
        ticks_before, inputs = streams.counts[r, TICKS], streams.inputs[r]
        cuda.syncthreads()
        if ticks_before == 0 and math.isnan(ticks[b, 0]):
            if thread == 0:
                parts[b, 0] = NAN
            continue
        observe_tick(parts[b], work, streams, r, ticks[b], rules)
        d_y = work.d_y[0]
        if not math.isnan(d_y):
            backward(work, d_y, streams, r, ticks_before, w, N, head)
            steps = min(ticks_before, T)
            for n in range(thread, N, threads):
                for m in range(M):
                    d = gradient(inputs, d_zs, steps, m, n, N)
                    total[m * N + n] = d if count == 0 else total[m * N + n] + d
            for j in range(thread, H + 1, threads):
                d = d_y * (x[j] if j < H else ONE)
                total[M * N + j] = d if count == 0 else total[M * N + j] + d
            count += 1
            cuda.syncthreads()
        for m in range(thread, M, threads):
            inputs[ticks_before % T, m] = x[m]
        if thread == 0:
            streams.counts[r, TICKS] = ticks_before + 1
    if thread == 0:
        labelled[block] = count


@cuda.jit
def update_shared(weights, updates, grads, labelled, squares, blocks_done, rules):
    """Update the weights with the mean gradient of the streams that had a target.

    Every block averages a part of the gradient; the block that finishes last updates the weights.
    updates: (1,) int32; blocks_done: (1,) int32, 0; squares: (blocks,) work space; the others as
    `learn_shared` leaves them.
    """
    sums = cuda.shared.array(0, float32)
    order = cuda.shared.array(1, int32)
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    w, head = weights.w[0], weights.head[0]
    MN, P, H = w.shape[1], grads.shape[1], head.shape[1] - 1
    count = 0
    for group in range(labelled.size):
        count += labelled[group]
    if count == 0:
        return
    share, square = ONE / np.float32(count), ZERO
    for i in range(cuda.grid(1), P, cuda.gridsize(1)):
        total = ZERO
        for group in range(labelled.size):
            if labelled[group] > 0:
                total += grads[group, i]
        mean = share * total
        grads[0, i] = mean
        square += mean * mean
    sums[thread] = square
    block_sum(sums, threads)
    if thread == 0:
        squares[cuda.blockIdx.x] = sums[0]
    cuda.threadfence()
    cuda.syncthreads()
    if thread == 0:
        order[0] = cuda.atomic.add(blocks_done, 0, 1)
    cuda.syncthreads()
    if order[0] < cuda.gridDim.x - 1:
        return
    cuda.threadfence()
    square = ZERO
    for block in range(thread, cuda.gridDim.x, threads):
        square += squares[block]
    sums[thread] = square
    block_sum(sums, threads)
    factor = clip_factor(sums[0], rules.clip_norm)
    first, second = corrections(updates[0] + 1)
    for i in range(thread, MN, threads):
        decay = rules.decay if i < MN - 4 * H else ONE
        update(w, i, grads[0, i], factor, first, second, decay, rules)
    for j in range(thread, H + 1, threads):
        decay = rules.decay if j < H else ONE
        update(head, j, grads[0, MN + j], factor, first, second, decay, rules)
    cuda.syncthreads()
    if thread == 0:
        updates[0] += 1
        blocks_done[0] = 0


class Tile(NamedTuple):
    """How `step_shared` splits the matrix product: sizes of a block's part."""

    streams: int
    units: int
    per_thread: int  # streams
    depth: int  # inputs at a time

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.units * self.streams // self.per_thread


@cache
def step_shared(tile: Tile):
    """The kernel that takes the next step of streams with shared weights."""
    size, units, per_thread, depth = tile
    threads, columns, pitch = tile.threads, 4 * units, size + 1

    @cuda.jit
    def step_shared(streams, weights, rows):
        """Take a step of G streams, with inputs on the tape; a block for `tile.streams` of them."""
        xs = cuda.shared.array((depth, pitch), float32)
        ws = cuda.shared.array((depth, columns), float32)
        outputs = cuda.shared.array((size, units), float32)
        places = cuda.shared.array((size, 2), int32)  # row and tick of each stream
        z = cuda.local.array((4, per_thread), float32)
        output = cuda.local.array(per_thread, float32)
        thread = cuda.threadIdx.x
        unit, first_stream = thread % units, thread // units * per_thread
        first = cuda.blockIdx.x * size
        T, M = streams.inputs.shape[1:]
        H = streams.state.shape[2]
        w, head = weights.w[0, PARAM], weights.head[0, PARAM]
        for k in range(thread, size, threads):
            places[k, 0] = -1
            if first + k < rows.size:
                ticks = streams.counts[rows[first + k], TICKS]
                if ticks > 0:
                    places[k, 0], places[k, 1] = rows[first + k], (ticks - 1) % T
        for e in range(per_thread):
            output[e] = ZERO
        cuda.syncthreads()
        for start in range(0, H, units):
            j = start + unit
            for e in range(per_thread):
                for g in range(4):
                    z[g, e] = ZERO
            for m in range(0, M, depth):
                for k in range(thread, depth * size, threads):
                    d, stream = k % depth, k // depth
                    r, x = places[stream, 0], ZERO
                    if r >= 0 and m + d < M:
                        x = streams.inputs[r, places[stream, 1], m + d]
                    xs[d, stream] = x
                for k in range(thread, depth * columns, threads):
                    d, g, u = k // columns, k % columns // units, start + k % units
                    weight = ZERO
                    if m + d < M and u < H:
                        weight = w[(m + d) * 4 * H + g * H + u]
                    ws[d, g * units + k % units] = weight
                cuda.syncthreads()
                for d in range(depth):
                    for e in range(per_thread):
                        x = xs[d, first_stream + e]
                        for g in range(4):
                            z[g, e] += x * ws[d, g * units + unit]
                cuda.syncthreads()
            if j < H:
                for e in range(per_thread):
                    r = places[first_stream + e, 0]
                    if r >= 0:
                        t = places[first_stream + e, 1]
                        h = step_unit(streams, r, t, j, z[0, e], z[1, e], z[2, e], z[3, e])
                        output[e] += h * head[j]
        for e in range(per_thread):
            outputs[first_stream + e, unit] = output[e]
        cuda.syncthreads()
        for k in range(thread, size, threads):
            if places[k, 0] >= 0:
                total = head[H]
                for u in range(units):
                    total += outputs[k, u]
                streams.stats[places[k, 0], STATS.output] = total

    return step_shared
