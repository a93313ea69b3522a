"""Compiled entry points for parts of kernels, and networks to call them with."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from reference.network import OnlineNetwork, ReplayNetwork
from reference.optimizer import Optimizer

from streamlstm.kernels import replay, rules
from streamlstm.kernels.jit import jit
from streamlstm.kernels.layout import CLOCK, Settings, network_views, replay_buffer_views
from streamlstm.kernels.linear import copy
from streamlstm.kernels.loss import LOSSES
from streamlstm.kernels.network import advance, learn
from streamlstm.kernels.optimizer import OPTIMIZERS
from streamlstm.model.network import Network

Buffers = tuple[np.ndarray, ...]


class Calls(NamedTuple):
    """Entry points compiled for one cell and one learning rule."""

    run: Callable
    gradient: Callable
    replay_update: Callable
    window_starts: Callable


def calls(kind: tuple) -> Calls:
    """The entry points for a network's cell and rule."""
    return _calls(*map(type, kind))  # named tuples of different types may be equal


@cache
def _calls(cell: type, rule: type) -> Calls:
    kind = cell(), rule()

    @jit
    def run(outputs, xs, targets, settings, weights, memory, scratch, clock):
        """Advance and learn, T ticks. outputs, targets: (T, K); xs: (T, I)."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        for t in range(xs.shape[0]):
            advance(net, xs[t])
            copy(outputs[t], net.memory.output)
            learn(net, targets[t])

    @jit
    def gradient(settings, weights, memory, scratch, clock):
        """Leave the gradient in the scratch buffer."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        rules.gradient(net.rule, net, net.settings.stride)

    @jit
    def replay_update(past, ticks, settings, weights, memory, scratch, clock):
        """One update on windows of the past, whose gradient stays in the scratch buffer."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        replay.replay_learn(net, replay_buffer_views(past, net.settings), ticks)

    @jit
    def window_starts(starts, ticks, capacity, settings, weights, memory, scratch, clock):
        """First ticks of the windows of the next update, (B,)."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        for n in range(starts.size):
            starts[n] = replay.window_start(net, n, ticks, capacity)

    return Calls(run, gradient, replay_update, window_starts)


@jit
def scramble(n):
    """`replay.scramble`."""
    return replay.scramble(n)


def random_network(
    I=3, H=5, K=1, window=4, stride=1, loss="squared", optimizer="adam", rate=0.01, clip=1.0,
    seed=0, windows=0, decay=0.0, layers=1, cell="lstm", learning="tbptt", lookahead=0,
) -> Network:  # fmt: skip
    """A network whose head is not zero; with a lookahead it is bidirectional."""
    kinds = LOSSES[loss], OPTIMIZERS[optimizer]
    directions = 2 if lookahead else 1
    sizes = 0, H, K, window, stride, *kinds, windows, layers, 0, 0, 1, 0, lookahead, directions
    settings = Settings(*sizes, rate, clip, decay)
    learning = "bidirectional" if lookahead else learning
    network = Network(settings, CLOCK.periods, seed, cell, learning)
    network.add_inputs(range(I))
    rng = np.random.default_rng(seed)
    network.head.w[:] = rng.normal(size=network.head.w.shape)
    network.head.b[:] = rng.normal(size=K)
    return network


def params_of(network: Network) -> dict[str, np.ndarray]:
    """Weights by their names in the reference."""
    return {name.removesuffix("_l0"): p for name, p in network.params.items()}


def twin(network: Network, loss="squared", optimizer="adam", capacity=5000) -> OnlineNetwork:
    """The reference with the same weights."""
    s = network.settings
    learning = s.window, s.stride, loss
    optimiser = Optimizer(optimizer, s.learning_rate, s.clip_norm, s.weight_decay)
    params = params_of(network)
    if not s.replay:
        return OnlineNetwork(params, *learning, optimiser)
    seed = int(network.clock[CLOCK.seed])
    return ReplayNetwork(params, *learning, optimiser, s.replay, seed, capacity)


def outputs_of(network: Network, xs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    outputs = np.empty(targets.shape, np.float32)
    calls(network.kind).run(outputs, np.float32(xs), np.float32(targets), *network.buffers)
    return outputs


def grads_of(network: Network):
    """Gradient of the newest losses by name."""
    calls(network.kind).gradient(*network.buffers)
    return last_grads(network)


def last_grads(network: Network):
    """The newest gradient, by name."""
    grads = network.params_in(network.scratch[: network.weights.size // 3])
    return {name.removesuffix("_l0"): d for name, d in grads.items()}


def relative_error(actual, expected) -> float:
    """Largest difference over the largest expected size."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    return float(np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-12))
