"""A recurrent layer and its Dense head, learning by truncated back-propagation through time.

BPTT(h; h') of Williams & Peng (1990) with h = `window` and h' = `stride`: the state is carried
on for ever; every `stride` ticks the losses of these ticks are sent back through the last
`window` ticks. The activations stay on a ring-shaped tape, so a tick costs one forward step and
at most `window` backward steps.
"""

import numpy as np

from ..layout import CLOCK, NetworkViews
from .jit import jit_part
from .linear import clear, copy, rows_dot
from .loss import loss_gradient
from .lstm import lstm_backward, lstm_step
from .optimizer import optimizer_step

ALERT = 2.0  # factor of the learning rate for a while after a drift


@jit_part
def head(y, h, w_head, b_head):
    """Dense layer y = w_head h + b_head. y: (K,), h: (H,), w_head: (K, H), b_head: (K,)."""
    rows_dot(y, w_head, h)
    for k in range(y.size):
        y[k] += b_head[k]


@jit_part
def head_backward(d_w_head, d_b_head, d_hs, d_ys, gates, tanh_cs, w_head, newest, fresh):
    """Gradients of the head over the `fresh` newest ticks, their mean loss counting.

    d_hs: (T, H), rows of older ticks set to zero. h is rebuilt from the tape as o tanh(c).
    """
    T, H = d_hs.shape
    K = d_ys.shape[1]
    for k in range(K):
        clear(d_w_head[k])
    for t in range(T):
        clear(d_hs[t])
    clear(d_b_head)
    share = np.float32(1.0 / fresh)
    for n in range(fresh):
        t = (newest - n + T) % T
        for k in range(K):
            d_y = d_ys[t, k] * share
            d_b_head[k] += d_y
            for j in range(H):
                d_w_head[k, j] += d_y * gates[t, 3 * H + j] * tanh_cs[t, j]
                d_hs[t, j] += d_y * w_head[k, j]


@jit_part
def advance(net: NetworkViews, x):
    """Take one tick's inputs: state, tape and `memory.output` move on. x: (I,) float32."""
    H, T = net.settings.hidden_size, net.settings.window
    m = net.memory
    t = net.clock[CLOCK.ticks] % T
    copy(m.inputs[t, :H], m.h)
    copy(m.inputs[t, H:], x)
    copy(m.c_prevs[t], m.c)
    clear(m.d_ys[t])
    lstm_step(
        m.h, m.c, m.gates[t], m.tanh_cs[t], m.inputs[t], m.c_prevs[t], net.params.w, net.params.b
    )
    head(m.output, m.h, net.params.w_head, net.params.b_head)
    net.clock[CLOCK.ticks] += 1


@jit_part
def peek(net: NetworkViews, x):
    """What `advance` would put into `memory.output`, on scratch alone: see `scratch.output`.

    Moves on the scratch state, which the caller has set from the memory's (`peek_from_now`).
    """
    H = net.settings.hidden_size
    s = net.scratch
    copy(s.inputs[:H], s.h)
    copy(s.inputs[H:], x)
    copy(s.c_prev, s.c)
    lstm_step(s.h, s.c, s.gates, s.tanh_c, s.inputs, s.c_prev, net.params.w, net.params.b)
    head(s.output, s.h, net.params.w_head, net.params.b_head)


@jit_part
def peek_from_now(net: NetworkViews):
    """Set the scratch state to the real one."""
    copy(net.scratch.h, net.memory.h)
    copy(net.scratch.c, net.memory.c)


@jit_part
def learn(net: NetworkViews, targets):
    """Score the newest output against its targets and update the weights when it is time to.

    targets: (K,) float32; a NaN is a missing target: it adds nothing to the loss.
    """
    s, m = net.settings, net.memory
    newest = (net.clock[CLOCK.ticks] - 1) % s.window
    labelled = 0
    for k in range(s.output_size):
        error = m.output[k] - targets[k]
        if not np.isnan(error):
            m.d_ys[newest, k] = loss_gradient(s.loss, error)
            labelled = 1
    net.clock[CLOCK.labelled] += labelled
    net.clock[CLOCK.unlearned] += 1
    if net.clock[CLOCK.unlearned] >= s.stride:
        if net.clock[CLOCK.labelled] > 0:
            gradient(net)
            update(net)
        net.clock[CLOCK.unlearned] = 0
        net.clock[CLOCK.labelled] = 0


@jit_part
def gradient(net: NetworkViews):
    """Fill `net.grads` with the gradient of the mean loss of the ticks since the last update."""
    m, work, grads = net.memory, net.scratch, net.grads
    ticks = net.clock[CLOCK.ticks]
    newest = (ticks - 1) % net.settings.window
    steps = min(ticks, net.settings.window)
    head_backward(
        grads.w_head, grads.b_head, work.d_hs, m.d_ys, m.gates, m.tanh_cs, net.params.w_head,
        newest, net.clock[CLOCK.unlearned],
    )  # fmt: skip
    clear(work.d_h)
    clear(work.d_c)
    lstm_backward(
        grads.w, grads.b, work.d_zs, work.d_h, work.d_c, work.d_hs, m.inputs, m.gates, m.c_prevs,
        m.tanh_cs, net.params.w, newest, steps,
    )  # fmt: skip


@jit_part
def shrink(w, kept):
    """w = kept w: weight decay apart from the gradient (Loshchilov & Hutter 2019). w: (M, N)."""
    for m in range(w.shape[0]):
        for n in range(w.shape[1]):
            w[m, n] *= kept


@jit_part
def update(net: NetworkViews):
    """One optimiser step along `net.grads`."""
    s, flat = net.settings, net.weights
    rate = s.learning_rate
    if net.clock[CLOCK.alert] > 0:
        rate *= ALERT
    net.clock[CLOCK.updates] += 1
    optimizer_step(
        flat.params, flat.first, flat.second, net.scratch.grads,
        s.optimizer, rate, s.clip_norm, net.clock[CLOCK.updates],
    )  # fmt: skip
    if s.weight_decay > 0.0:
        kept = np.float32(1.0 - rate * s.weight_decay)
        shrink(net.params.w, kept)
        shrink(net.params.w_head, kept)
