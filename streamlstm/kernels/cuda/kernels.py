"""Fleets on a GPU: a round of ticks of many streams in one to three launches.

A block of threads learns from a stream's tick: thread 0 lets its scaler and its committee learn,
then all threads send the loss back through the stream's tape, update the weights and take the next
step. Units and columns are dealt out to the threads, whatever their number.

Numbers are float32: float64 is slow on most GPUs. Values, their running means and differences of
them need more, so these are pairs of a high and a low part, whose sum counts (Dekker 1971). Letters
as everywhere: T rows of the tape, I inputs, H hidden; M = H + I + 1 rows of the weights, the last
that of the bias, N = 4H columns. What the steps mean is explained where the CPU takes them:
`scaling`, `committee`, `forecaster`, `lstm`, `tbptt`, `optimizer`.
"""

import math
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import cuda as cuda
from numba import float32, int32

from ...errors import DeviceError, MissingPackageError
from .. import optimizer, scaling
from ..cells.lstm import activate, activate_backward
from ..forecaster import committee as experts
from ..forecaster import least_squares as rls
from ..jit import jit_part
from ..loss import loss_gradient

ZERO, ONE, NAN = np.float32(0.0), np.float32(1.0), np.float32(np.nan)
REACH, KNOWN = np.float32(scaling.REACH), np.float32(scaling.KNOWN)
PATIENCE, CLIP = np.float32(scaling.PATIENCE), np.float32(scaling.CLIP)
SLOWEST = np.float32(1.0 / scaling.MEMORY)
LARGEST = np.float32(1e30)  # a larger value counts as missing: sums must not overflow
LARGEST_OUTPUT = np.float32(rls.LARGEST_OUTPUT)
GATE_RATE, GATE_HUBER = np.float32(1.0 / experts.GATE_MEMORY), np.float32(experts.GATE_HUBER)
ERROR_RATE = np.float32(1.0 / experts.ERROR_MEMORY)
MIXTURE_RATE, SHARE = np.float32(experts.LEARNING_RATE), np.float32(experts.SHARE)
SMALLEST_ERROR = np.float32(experts.SMALLEST_ERROR)
MOMENTUM, SMOOTHING = optimizer.MOMENTUM, optimizer.SMOOTHING
BETA1, BETA2, EPSILON = optimizer.BETA1, optimizer.BETA2, optimizer.EPSILON
LOG_BETA1, LOG_BETA2 = np.float32(math.log(0.9)), np.float32(math.log(0.999))
SMALLEST_MEAN, SMALLEST_SQUARE = optimizer.SMALLEST_MEAN, optimizer.SMALLEST_SQUARE

RLS = 4  # inputs that stay 0: forecasts of the least squares, which are no members here
LEVEL, CHANGE, FIRST_FEATURE = 0, 1, 2  # channels
COUNT, HIGH, LOW, SPREAD, BEYOND = range(5)  # of a channel; the centre is a pair
TICKS, UPDATES = 0, 1  # counts
PARAM, FIRST, SECOND = 0, 1, 2  # weights and the optimiser's running averages


class Stats(NamedTuple):
    """Where each number stands among those of a stream."""

    value_high: int = 0  # the newest value
    value_low: int = 1
    sane_high: int = 2  # spikes cut off
    sane_low: int = 3
    last_weight: int = 4  # of the last value in the mixture
    weight: int = 5  # of the LSTM
    product: int = 6
    square: int = 7
    gate: int = 8
    error: int = 9
    output: int = 10  # of the network


STATS = Stats()


class Rules(NamedTuple):
    """How all streams learn."""

    loss: int
    optimizer: int
    rate: np.float32
    clip_norm: np.float32
    kept: np.float32  # what weight decay leaves of a weight
    last: np.float32  # 1 if the last value is a member of the committee, else 0


class Streams(NamedTuple):
    """Arrays of S streams, on the device or not; or what a stream has of each, or its shape."""

    counts: Any  # (S, 2) int32
    stats: Any  # (S, 11)
    channels: Any  # (S, C, 5)
    state: Any  # (S, 2, H) h, c
    inputs: Any  # (S, T, M) [h_prev, x, 1]
    gates: Any  # (S, T, 4H)
    c_prevs: Any  # (S, T, H)
    tanh_cs: Any  # (S, T, H)


class Weights(NamedTuple):
    """Likewise; S is 1 where all streams have the same weights."""

    w: Any  # (S, 3, M * N), see PARAM
    head: Any  # (S, 3, H + 1), the bias last


class Work(NamedTuple):
    """Shared memory of a block that learns from a tick."""

    d_zs: np.ndarray  # (T * N,) gradients of the pre-activations
    sums: np.ndarray  # (max(N, threads),)
    d_c: np.ndarray  # (H,)
    x: np.ndarray  # (M,) [h, x, 1]
    note: np.ndarray  # (1,) gradient of the loss, NaN without a target
    staged: np.ndarray  # what is left, for weights


@jit_part
def work_of(shared, T, M, N, threads):
    """Split the shared memory up."""
    H = N // 4
    d_c = T * N + max(N, threads)
    x = d_c + H
    note = x + M
    return Work(
        shared[: T * N],
        shared[T * N : d_c],
        shared[d_c:x],
        shared[x:note],
        shared[note : note + 1],
        shared[note + 1 :],
    )


def check_device() -> None:
    """MissingPackageError or DeviceError if kernels cannot run here."""
    simulated = numba.config.ENABLE_CUDASIM  # type: ignore[attr-defined]
    if not simulated and find_spec("numba_cuda") is None:
        raise MissingPackageError("CUDA needs numba-cuda: pip install 'streamlstm[cuda]'")
    if not cuda.is_available():
        raise DeviceError("no CUDA device was found, or no driver for it")


@jit_part
def block_sum(values, count):
    """Leave the sum of values[:count], which the block has just written, in values[0].

    Two and two from the ends of halves: the order is always the same.
    """
    cuda.syncthreads()
    while count > 1:
        half = (count + 1) // 2
        for k in range(cuda.threadIdx.x, count - half, cuda.blockDim.x):
            values[k] += values[half + k]
        cuda.syncthreads()
        count = half


@jit_part
def pair_sum(high, low, number):
    """A pair plus a number (Knuth's exact sum)."""
    total = high + number
    part = total - high
    rest = (high - (total - part)) + (number - part) + low
    return total + rest, rest - ((total + rest) - total)


@jit_part
def clip_output(output):
    """An output within +-10; 0 for NaN."""
    if math.isnan(output):
        return ZERO
    return min(max(output, -LARGEST_OUTPUT), LARGEST_OUTPUT)


@jit_part
def within_reach(channel, deviation):
    """A deviation from a channel's centre, as far as it counts."""
    reach = REACH * channel[SPREAD]
    if channel[COUNT] <= KNOWN or abs(deviation) <= reach:
        channel[BEYOND] = ZERO
        return deviation
    channel[BEYOND] += ONE
    if channel[BEYOND] > PATIENCE:
        return deviation
    return min(max(deviation, -reach), reach)


@jit_part
def observe(channel, high, low):
    """Let a channel learn from a value."""
    channel[COUNT] += ONE
    if channel[COUNT] == ONE:
        channel[HIGH], channel[LOW] = high, low
        return
    rate = max(ONE / channel[COUNT], SLOWEST)
    deviation = within_reach(channel, (high - channel[HIGH]) + (low - channel[LOW]))
    moved = rate * deviation
    channel[HIGH], channel[LOW] = pair_sum(channel[HIGH], channel[LOW], moved)
    channel[SPREAD] += rate * (abs(deviation - moved) - channel[SPREAD])


@jit_part
def observe_uncentred(channel, value):
    """Let a channel, whose centre stays 0, learn from a value; as much of it as counts."""
    channel[COUNT] += ONE
    rate = max(ONE / channel[COUNT], SLOWEST)
    value = within_reach(channel, value)
    channel[SPREAD] += rate * (abs(value) - channel[SPREAD])
    return value


@jit_part
def standardise(channel, high, low):
    """(value - centre) / spread within +-CLIP; 0 for a NaN or a channel without spread."""
    deviation = (high - channel[HIGH]) + (low - channel[LOW])
    if not channel[SPREAD] > ZERO or math.isnan(deviation):
        return ZERO
    return min(max(deviation / channel[SPREAD], -CLIP), CLIP)


@jit_part
def committee_learn(stats, target, ticks, last):
    """Let the mixture of last value and LSTM, and the gate of the latter, learn from a target."""
    output = clip_output(stats[STATS.output])
    gated = stats[STATS.gate] * output
    mixed = stats[STATS.weight] * gated
    rate = max(ONE / np.float32(ticks), ERROR_RATE)
    error = min(abs(target - mixed), LARGEST_OUTPUT)
    stats[STATS.error] += rate * (error - stats[STATS.error])
    usual = max(stats[STATS.error], SMALLEST_ERROR)
    towards = ONE if mixed < target else -ONE
    last_pull = clip_output(-towards * mixed / usual)
    pull = clip_output(towards * (gated - mixed) / usual)
    last_weight = stats[STATS.last_weight] * math.exp(MIXTURE_RATE * last_pull)
    weight = stats[STATS.weight] * math.exp(MIXTURE_RATE * pull)
    kept, share = (ONE - SHARE) / (last_weight + weight), SHARE / (ONE + last)
    stats[STATS.last_weight] = kept * last_weight + share * last
    stats[STATS.weight] = kept * weight + share
    error, full = abs(target - output), GATE_HUBER * usual
    counts = ONE if error <= full else full / error
    stats[STATS.product] += GATE_RATE * (counts * output * target - stats[STATS.product])
    stats[STATS.square] += GATE_RATE * (counts * output * output - stats[STATS.square])
    slope = ZERO
    if stats[STATS.square] > ZERO:
        slope = stats[STATS.product] / stats[STATS.square]
    stats[STATS.gate] = min(max(slope, ZERO), ONE)


@jit_part
def issue(before, counts, stats, channels):
    """Write what a forecast is made of: the value as a pair, the network's share, its output."""
    before[0], before[1] = stats[STATS.value_high], stats[STATS.value_low]
    before[2] = channels[CHANGE, SPREAD] * stats[STATS.weight] * stats[STATS.gate]
    before[3] = stats[STATS.output]
    if counts[TICKS] == 0:
        before[0] = NAN


@jit_part
def learn_value(x, stats, channels, ticks, high, low, rules):
    """Let scaler and committee learn from a value, NaN if it is missing.

    Fills in the inputs x, (I,), of level and change. Returns the gradient of the network's loss,
    NaN if there is no target.
    """
    change, d_y = ZERO, NAN
    if not math.isnan(high):
        sane_high, sane_low = high, low
        if ticks > 0:
            change = (high - stats[STATS.value_high]) + (low - stats[STATS.value_low])
            scale = channels[CHANGE, SPREAD]
            if scale > ZERO:
                target = clip_output(change / scale)
                committee_learn(stats, target, ticks, rules.last)
                error = stats[STATS.output] - target
                if not math.isnan(error):
                    d_y = loss_gradient(rules.loss, error)
            jump = (high - stats[STATS.sane_high]) + (low - stats[STATS.sane_low])
            counted = observe_uncentred(channels[CHANGE], jump)
            if counted != jump:
                sane_high, sane_low = pair_sum(
                    stats[STATS.sane_high], stats[STATS.sane_low], counted
                )
        observe(channels[LEVEL], sane_high, sane_low)
        stats[STATS.sane_high], stats[STATS.sane_low] = sane_high, sane_low
        stats[STATS.value_high], stats[STATS.value_low] = high, low
    x[0] = standardise(channels[LEVEL], stats[STATS.value_high], stats[STATS.value_low])
    x[1] = standardise(channels[CHANGE], change, ZERO)
    return d_y


@jit_part
def observe_tick(before, work, streams, r, tick, rules):
    """Issue the forecast of a tick, let all but the network learn from it, prepare its inputs.

    before: (4,); work: its x and note are overwritten; tick: (2 + 2F,) value and features, pairs.
    """
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    x, H, M = work.x, streams.state.shape[2], work.x.size
    stats, channels = streams.stats[r], streams.channels[r]
    if thread == 0:
        issue(before, streams.counts[r], stats, channels)
        inputs, ticks = x[H:], streams.counts[r, TICKS]
        work.note[0] = learn_value(inputs, stats, channels, ticks, tick[0], tick[1], rules)
        for n in range(RLS):
            inputs[2 + n] = ZERO
        x[M - 1] = ONE
    for n in range(thread, channels.shape[0] - FIRST_FEATURE, threads):
        channel, high, low = channels[FIRST_FEATURE + n], tick[2 + 2 * n], tick[3 + 2 * n]
        if abs(high) <= LARGEST:
            observe(channel, high, low)
        x[H + 2 + RLS + n] = standardise(channel, high, low)
    for j in range(thread, H, threads):
        x[j] = streams.state[r, 0, j]
    cuda.syncthreads()


@jit_part
def backward(work, d_y, streams, r, ticks, w, pitch, head):
    """Send the gradient d_y of the newest output back through the tape.

    work: its d_zs are overwritten. w: rows of weights, `pitch` apart. head: (H + 1,).
    """
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    d_zs, sums, d_c = work.d_zs, work.sums, work.d_c
    gates, c_prevs, tanh_cs = streams.gates[r], streams.c_prevs[r], streams.tanh_cs[r]
    T, N = gates.shape
    H = N // 4
    for j in range(thread, H, threads):
        sums[j], d_c[j] = d_y * head[j], ZERO
        sums[H + j] = sums[2 * H + j] = sums[3 * H + j] = ZERO
    cuda.syncthreads()
    for step in range(min(ticks, T)):
        t = (ticks - 1 - step) % T
        d_z = d_zs[t * N : (t + 1) * N]
        for j in range(thread, H, threads):
            d_h = sums[j] + sums[H + j] + sums[2 * H + j] + sums[3 * H + j]
            d_z[j], d_z[H + j], d_z[2 * H + j], d_z[3 * H + j], d_c[j] = activate_backward(
                d_h, d_c[j], gates[t, j], gates[t, H + j], gates[t, 2 * H + j],
                gates[t, 3 * H + j], c_prevs[t, j], tanh_cs[t, j],
            )  # fmt: skip
        cuda.syncthreads()
        for k in range(thread, N, threads):  # a gate's share of unit k % H
            first, total = k - k % H, ZERO
            row = (k % H) * pitch + first
            for j in range(H):
                total += w[row + j] * d_z[first + j]
            sums[k] = total
        cuda.syncthreads()


@jit_part
def gradient(inputs, d_zs, steps, m, n, N):
    """Of weight m, n: the sum over the tape's ticks."""
    total = ZERO
    for t in range(steps):
        total += inputs[t, m] * d_zs[t * N + n]
    return total


@jit_part
def clip_factor(squares, clip_norm):
    """See `optimizer`."""
    norm = math.sqrt(squares)
    if not norm <= np.float32(np.inf) or norm == np.float32(np.inf):
        return ZERO
    return ONE if norm <= clip_norm else clip_norm / norm


@jit_part
def corrections(updates):
    """Adam's, of both averages, at this update, counted from 1; 1 - 0.999^n would cancel."""
    n = np.float32(updates)
    return -ONE / math.expm1(n * LOG_BETA1), -ONE / math.expm1(n * LOG_BETA2)


@jit_part
def update(weights, i, d, factor, first_correction, second_correction, kept, rules):
    """One optimiser step of a weight, then its decay; returns it. weights: (3, ...)."""
    p = weights[PARAM, i]
    if factor > ZERO:
        d *= factor
        if rules.optimizer == optimizer.SGD:
            m = MOMENTUM * weights[FIRST, i] + d
            m = m if abs(m) > SMALLEST_MEAN else ZERO
            weights[FIRST, i] = m
            p -= rules.rate * m
        elif rules.optimizer == optimizer.RMSPROP:
            v = max(SMOOTHING * weights[SECOND, i] + (ONE - SMOOTHING) * d * d, SMALLEST_SQUARE)
            weights[SECOND, i] = v
            p -= rules.rate * d / (math.sqrt(v) + EPSILON)
        else:
            m = BETA1 * weights[FIRST, i] + (ONE - BETA1) * d
            v = max(BETA2 * weights[SECOND, i] + (ONE - BETA2) * d * d, SMALLEST_SQUARE)
            weights[FIRST, i] = m if abs(m) > SMALLEST_MEAN else ZERO
            weights[SECOND, i] = v
            size = math.sqrt(v * second_correction) + EPSILON
            p -= rules.rate * (m * first_correction) / size
    p *= kept
    weights[PARAM, i] = p
    return p


@jit_part
def finish_unit(streams, r, t, j, z_i, z_f, z_g, z_o):
    """Activate a unit and write row t of the tape; returns its output."""
    H = streams.state.shape[2]
    gates, c_prev = streams.gates[r, t], streams.state[r, 1, j]
    i, f, g, o, c, tanh_c, h = activate(z_i, z_f, z_g, z_o, c_prev)
    gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j] = i, f, g, o
    streams.c_prevs[r, t, j], streams.tanh_cs[r, t, j] = c_prev, tanh_c
    streams.state[r, 0, j], streams.state[r, 1, j] = h, c
    return h


def learning_size(H: int, I: int, T: int, threads: int, staged: bool) -> int:
    """Bytes of shared memory of `learn_private`, or of `learn_shared`, which stages no weights."""
    M, N = H + I + 1, 4 * H
    return 4 * (T * N + max(N, threads) + H + M + 1 + (M * (N + 1) if staged else 0))


@cache
def learn_private(staged: bool):
    """The kernel for streams with weights of their own; `staged` in shared memory."""

    @cuda.jit
    def learn_private(before, streams, weights, rows, ticks, rules):
        """Learn from a tick of each of G streams, a block each.

        before: (G, 4) see `issue`; rows: (G,) of the streams; ticks: (G, 2 + 2F).
        """
        thread, threads = cuda.threadIdx.x, cuda.blockDim.x
        b, r = cuda.blockIdx.x, rows[cuda.blockIdx.x]
        T, M = streams.inputs.shape[1:]
        N = streams.gates.shape[2]
        H = N // 4
        work = work_of(cuda.shared.array(0, float32), T, M, N, threads)
        d_zs, sums, x = work.d_zs, work.sums, work.x
        own, head, inputs = weights.w[r], weights.head[r], streams.inputs[r]
        if staged:
            w, pitch = work.staged, N + 1  # odd: rows in different banks
            for m in range(M):
                for n in range(thread, N, threads):
                    w[m * pitch + n] = own[PARAM, m * N + n]
        else:
            w, pitch = own[PARAM], N
        before_it, updates = streams.counts[r, TICKS], streams.counts[r, UPDATES] + 1
        if before_it == 0 and math.isnan(ticks[b, 0]):
            if thread == 0:
                before[b, 0] = NAN
            return
        observe_tick(before[b], work, streams, r, ticks[b], rules)
        d_y = work.note[0]
        if not math.isnan(d_y):
            backward(work, d_y, streams, r, before_it, w, pitch, head[PARAM])
            steps, squares = min(before_it, T), ZERO
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
                    kept = rules.kept if m < M - 1 else ONE
                    p = update(own, m * N + n, d, factor, first, second, kept, rules)
                    if staged:
                        w[m * pitch + n] = p
            for j in range(thread, H + 1, threads):
                d, kept = d_y * (x[j] if j < H else ONE), rules.kept if j < H else ONE
                update(head, j, d, factor, first, second, kept, rules)
            if thread == 0:
                streams.counts[r, UPDATES] = updates
            cuda.syncthreads()
        t = before_it % T
        for m in range(thread, M, threads):
            inputs[t, m] = x[m]
        for n in range(thread, N, threads):
            z = ZERO
            for m in range(M):
                z += x[m] * w[m * pitch + n]
            sums[n] = z
        cuda.syncthreads()
        for j in range(thread, H, threads):
            h = finish_unit(
                streams, r, t, j, sums[j], sums[H + j], sums[2 * H + j], sums[3 * H + j]
            )
            sums[j] = h * head[PARAM, j]
        block_sum(sums, H)
        if thread == 0:
            streams.stats[r, STATS.output] = sums[0] + head[PARAM, H]
            streams.counts[r, TICKS] = before_it + 1

    return learn_private


@cuda.jit
def learn_shared(before, grads, labelled, streams, weights, rows, ticks, rules):
    """Learn from a tick of each of G streams, but for the update: that of all streams is one.

    Streams are dealt out to the blocks, each of which sums up the gradients of its own.
    grads: (blocks, M * N + H + 1), if there are any; labelled: (blocks,) how many; the rest as for
    `learn_private`.
    """
    thread, threads, block = cuda.threadIdx.x, cuda.blockDim.x, cuda.blockIdx.x
    T, M = streams.inputs.shape[1:]
    N = streams.gates.shape[2]
    H = N // 4
    work = work_of(cuda.shared.array(0, float32), T, M, N, threads)
    d_zs, x = work.d_zs, work.x
    w, head, total = weights.w[0, PARAM], weights.head[0, PARAM], grads[block]
    found = 0
    for b in range(block, rows.size, cuda.gridDim.x):
        r = rows[b]
        before_it, inputs = streams.counts[r, TICKS], streams.inputs[r]
        cuda.syncthreads()
        if before_it == 0 and math.isnan(ticks[b, 0]):
            if thread == 0:
                before[b, 0] = NAN
            continue
        observe_tick(before[b], work, streams, r, ticks[b], rules)
        d_y = work.note[0]
        if not math.isnan(d_y):
            backward(work, d_y, streams, r, before_it, w, N, head)
            steps = min(before_it, T)
            for n in range(thread, N, threads):
                for m in range(M):
                    d = gradient(inputs, d_zs, steps, m, n, N)
                    total[m * N + n] = d if found == 0 else total[m * N + n] + d
            for j in range(thread, H + 1, threads):
                d = d_y * (x[j] if j < H else ONE)
                total[M * N + j] = d if found == 0 else total[M * N + j] + d
            found += 1
            cuda.syncthreads()
        for m in range(thread, M, threads):
            inputs[before_it % T, m] = x[m]
        if thread == 0:
            streams.counts[r, TICKS] = before_it + 1
    if thread == 0:
        labelled[block] = found


@cuda.jit
def update_shared(weights, updates, grads, labelled, squares, done, rules):
    """Update the weights of all streams with the mean gradient of those that had a target.

    Every block adds up a part of the gradient; the last one to be done updates. updates, done: (1,)
    int32, done 0; squares: (blocks,) work space; the rest as `learn_shared` leaves it.
    """
    sums = cuda.shared.array(0, float32)
    place = cuda.shared.array(1, int32)
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    w, head = weights.w[0], weights.head[0]
    MN, P, H = w.shape[1], grads.shape[1], head.shape[1] - 1
    found = 0
    for group in range(labelled.size):
        found += labelled[group]
    if found == 0:
        return
    share, square = ONE / np.float32(found), ZERO
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
        place[0] = cuda.atomic.add(done, 0, 1)
    cuda.syncthreads()
    if place[0] < cuda.gridDim.x - 1:
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
        kept = rules.kept if i < MN - 4 * H else ONE
        update(w, i, grads[0, i], factor, first, second, kept, rules)
    for j in range(thread, H + 1, threads):
        kept = rules.kept if j < H else ONE
        update(head, j, grads[0, MN + j], factor, first, second, kept, rules)
    cuda.syncthreads()
    if thread == 0:
        updates[0] += 1
        done[0] = 0


class Tile(NamedTuple):
    """How `step_shared` splits a product: what a block has at once."""

    streams: int
    units: int
    each: int  # streams of a thread
    depth: int  # inputs

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.units * self.streams // self.each


@cache
def step_shared(tile: Tile):
    """The kernel that steps forward where all streams share their weights."""
    size, units, each, depth = tile
    threads, columns, pitch = tile.threads, 4 * units, size + 1

    @cuda.jit
    def step_shared(streams, weights, rows):
        """Take the step of G streams whose inputs are on the tape, a tile's streams a block."""
        xs = cuda.shared.array((depth, pitch), float32)
        ws = cuda.shared.array((depth, columns), float32)
        outputs = cuda.shared.array((size, units), float32)
        places = cuda.shared.array((size, 2), int32)  # row and tick of each stream
        z = cuda.local.array((4, each), float32)
        output = cuda.local.array(each, float32)
        thread = cuda.threadIdx.x
        unit, mine = thread % units, thread // units * each
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
        for e in range(each):
            output[e] = ZERO
        cuda.syncthreads()
        for start in range(0, H, units):
            j = start + unit
            for e in range(each):
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
                    for e in range(each):
                        x = xs[d, mine + e]
                        for g in range(4):
                            z[g, e] += x * ws[d, g * units + unit]
                cuda.syncthreads()
            if j < H:
                for e in range(each):
                    r = places[mine + e, 0]
                    if r >= 0:
                        h = finish_unit(
                            streams, r, places[mine + e, 1], j, z[0, e], z[1, e], z[2, e], z[3, e]
                        )
                        output[e] += h * head[j]
        for e in range(each):
            outputs[mine + e, unit] = output[e]
        cuda.syncthreads()
        for k in range(thread, size, threads):
            if places[k, 0] >= 0:
                total = head[H]
                for u in range(units):
                    total += outputs[k, u]
                streams.stats[places[k, 0], STATS.output] = total

    return step_shared


@cuda.jit
def issued(before, streams, rows):
    """What the forecasts of the streams in these rows are made of, (G, 4): see `issue`."""
    b = cuda.grid(1)
    if b < rows.size:
        r = rows[b]
        issue(before[b], streams.counts[r], streams.stats[r], streams.channels[r])


@cuda.jit
def fill(array, values, rows):
    """Write the same values, (W,), to these rows of an array, (S, W), a block each."""
    r = rows[cuda.blockIdx.x]
    for k in range(cuda.threadIdx.x, values.size, cuda.blockDim.x):
        array[r, k] = values[k]
