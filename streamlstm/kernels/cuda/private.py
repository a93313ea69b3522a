"""Streams with private weights: a tick of each in one launch, with a block for each stream."""

import math
from functools import cache

from numba import float32

from .device import cuda
from .layout import NAN, ONE, PARAM, STATS, TICKS, UPDATES, ZERO, work_of
from .network import backward, block_sum, clip_factor, corrections, gradient, step_unit, update
from .series import observe_tick


def learning_size(H: int, I: int, T: int, threads: int, staged: bool) -> int:
    """Bytes of shared memory of a block; staged: whether it holds a copy of the weights."""
    M, N = H + I + 1, 4 * H
    return 4 * (T * N + max(N, threads) + H + M + 1 + (M * (N + 1) if staged else 0))


@cache
def learn_private(staged: bool):
    """The kernel for streams with private weights. staged: whether shared memory holds a copy."""

    @cuda.jit
    def learn_private(parts, streams, weights, rows, ticks, rules):
        """Learn from a tick of each of G streams, with a block for each.

        parts: (G, 4) see `forecast_parts`; rows: (G,) of the streams; ticks: (G, 2 + 2F).
        """
        thread, threads = cuda.threadIdx.x, cuda.blockDim.x
        b, r = cuda.blockIdx.x, rows[cuda.blockIdx.x]
        T, M = streams.inputs.shape[1:]
        N = streams.gates.shape[2]
        H = N // 4
        work = work_of(cuda.shared.array(0, float32), T, M, N, threads)
        d_zs, sums, x = work.d_zs, work.sums, work.x
        stream_w, head, inputs = weights.w[r], weights.head[r], streams.inputs[r]
        if staged:
            w, pitch = work.staged, N + 1  # odd, so that rows are in different banks
            for m in range(M):
                for n in range(thread, N, threads):
                    w[m * pitch + n] = stream_w[PARAM, m * N + n]
        else:
            w, pitch = stream_w[PARAM], N
        ticks_before, updates = streams.counts[r, TICKS], streams.counts[r, UPDATES] + 1
        if ticks_before == 0 and math.isnan(ticks[b, 0]):
            if thread == 0:
                parts[b, 0] = NAN
            return
        observe_tick(parts[b], work, streams, r, ticks[b], rules)
        d_y = work.d_y[0]
        if not math.isnan(d_y):
            backward(work, d_y, streams, r, ticks_before, w, pitch, head[PARAM])
            steps, squares = min(ticks_before, T), ZERO
            for n in range(thread, N, threads):
                for m in range(M):
                    d = gradient(inputs, d_zs, steps, m, n, N)
                    squares += d * d
            for j in range(thread, H + 1, threads):
                d = d_y * (x[j] if j < H else ONE)
                squares += d * d
            sums[thread] = squares
            block_sum(sums, threads)
            factor = clip_factor(sums[0], rules.clip_norm)
            first, second = corrections(updates)
            for n in range(thread, N, threads):
                for m in range(M):
                    d = gradient(inputs, d_zs, steps, m, n, N)
                    decay = rules.decay if m < M - 1 else ONE
                    p = update(stream_w, m * N + n, d, factor, first, second, decay, rules)
                    if staged:
                        w[m * pitch + n] = p
            for j in range(thread, H + 1, threads):
                d, decay = d_y * (x[j] if j < H else ONE), rules.decay if j < H else ONE
                update(head, j, d, factor, first, second, decay, rules)
            if thread == 0:
                streams.counts[r, UPDATES] = updates
            cuda.syncthreads()
        t = ticks_before % T
        for m in range(thread, M, threads):
            inputs[t, m] = x[m]
        for n in range(thread, N, threads):
            z = ZERO
            for m in range(M):
                z += x[m] * w[m * pitch + n]
            sums[n] = z
        cuda.syncthreads()
        for j in range(thread, H, threads):
            h = step_unit(streams, r, t, j, sums[j], sums[H + j], sums[2 * H + j], sums[3 * H + j])
            sums[j] = h * head[PARAM, j]
        block_sum(sums, H)
        if thread == 0:
            streams.stats[r, STATS.output] = sums[0] + head[PARAM, H]
            streams.counts[r, TICKS] = ticks_before + 1

    return learn_private
