"""Compiled entry points for kernels that only kernels call, and networks to run them on."""

import numpy as np

from streamlstm.kernels import replay, tbptt
from streamlstm.kernels.jit import jit
from streamlstm.kernels.loss import LOSSES
from streamlstm.kernels.optimizer import OPTIMIZERS
from streamlstm.layout import CLOCK, Settings, network_views, param_views, past_views
from streamlstm.network import Network
from streamlstm.reference import OnlineNetwork, Optimizer, ReplayNetwork

Buffers = tuple[np.ndarray, ...]


@jit
def run(outputs, xs, targets, settings, weights, memory, scratch, clock):
    """Advance and learn, T ticks. outputs, targets: (T, K); xs: (T, I)."""
    net = network_views(settings, weights, memory, scratch, clock)
    for t in range(xs.shape[0]):
        tbptt.advance(net, xs[t])
        outputs[t] = net.memory.output
        tbptt.learn(net, targets[t])


@jit
def gradient(settings, weights, memory, scratch, clock):
    """Leave the gradient in the scratch buffer."""
    tbptt.gradient(network_views(settings, weights, memory, scratch, clock))


@jit
def replay_update(past, ticks, settings, weights, memory, scratch, clock):
    """One update on windows of the past, whose gradient stays in the scratch buffer."""
    net = network_views(settings, weights, memory, scratch, clock)
    replay.replay_learn(net, past_views(past, net.settings), ticks)


@jit
def window_starts(starts, ticks, capacity, settings, weights, memory, scratch, clock):
    """First ticks of the windows of the next update, (B,)."""
    net = network_views(settings, weights, memory, scratch, clock)
    for n in range(starts.size):
        starts[n] = replay.window_start(net, n, ticks, capacity)


@jit
def scramble(n):
    """`replay.scramble`."""
    return replay.scramble(n)


def random_network(
    I=3, H=5, K=1, window=4, stride=1, loss="squared", optimizer="adam", rate=0.01, clip=1.0,
    seed=0, windows=0, decay=0.0,
) -> Network:  # fmt: skip
    """A network whose head is not zero."""
    kinds = LOSSES[loss], OPTIMIZERS[optimizer]
    settings = Settings(0, H, K, window, stride, *kinds, windows, rate, clip, decay)
    network = Network(settings, CLOCK.periods, seed)
    network.add_inputs(range(I))
    rng = np.random.default_rng(seed)
    network.params.w_head[:] = rng.normal(size=(K, H))
    network.params.b_head[:] = rng.normal(size=K)
    return network


def twin(network: Network, loss="squared", optimizer="adam", capacity=5000) -> OnlineNetwork:
    """The reference with the same weights."""
    s = network.settings
    learning = s.window, s.stride, loss
    optimiser = Optimizer(optimizer, s.learning_rate, s.clip_norm, s.weight_decay)
    params = network.params._asdict()
    if not s.replay:
        return OnlineNetwork(params, *learning, optimiser)
    seed = int(network.clock[CLOCK.seed])
    return ReplayNetwork(params, *learning, optimiser, s.replay, seed, capacity)


def outputs_of(network: Network, xs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    outputs = np.empty(targets.shape, np.float32)
    run(outputs, np.float32(xs), np.float32(targets), *network.buffers)
    return outputs


def grads_of(network: Network):
    """Gradient of the newest loss, as `layout.Params`."""
    network.clock[CLOCK.unlearned] = network.settings.stride
    gradient(*network.buffers)
    network.clock[CLOCK.unlearned] = 0
    return last_grads(network)


def last_grads(network: Network):
    """What the newest gradient was, as `layout.Params`."""
    size = network.weights.size // 3
    return param_views(network.scratch[:size], network.settings)


def relative_error(actual, expected) -> float:
    """Largest difference over the largest expected size."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    return float(np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-12))
