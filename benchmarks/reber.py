"""Continual embedded Reber grammar, as in Gers, Schmidhuber & Cummins (2000).

Run with `python benchmarks/reber.py`; `--nets 5` for a first look. A stream of embedded Reber
strings without a mark between them; a network sees a symbol a tick, one-hot, and says which of the
7 may come next: all outputs within 0.49 of 1 for these and of 0 for the others. A training stream
ends at the first error, or after 100,000 symbols; then the weights are frozen and 10 test streams
begin, up to 30,000 times. A network is perfect once it gets through 10 times 100,000 symbols; good,
if that never happens and the mean length of 10 streams at the end is above 1,000.

Two families learn it. The paper's: 4 blocks of 2 cells with common gates, inputs wired to the
outputs as well, 424 weights, learning rate 0.5 restarted with each stream, and the truncated
gradient: errors flow back through cell states alone, whose derivatives are carried forward. And
streamlstm's own of 8 cells, back-propagation through the last 20 ticks, RMSProp.

Letters: N inputs of a gate, x of the last symbol, y of the cells and 1 for the bias.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import harness
import numba
import numpy as np

from streamlstm.kernels import cells, network, rules
from streamlstm.kernels.jit import ELEMENTWISE, REDUCTION
from streamlstm.kernels.layout import CLOCK, Settings, network_views
from streamlstm.model.checks import check_settings
from streamlstm.model.network import Network

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from classic_tasks import SYMBOLS, embedded_reber

TURNS = [sorted(state.items()) * 2 for state in embedded_reber()]  # a single way on stands twice
SYMBOL = np.array([[SYMBOLS.index(symbol) for symbol, _ in turns[:2]] for turns in TURNS])
NEXT = np.array([[state for _, state in turns[:2]] for turns in TURNS])
LEGAL = np.array([[symbol in state for symbol in SYMBOLS] for state in embedded_reber()], float)

TOLERANCE = 0.49
STREAMS, LIMIT, TESTS = 30_000, 100_000, 10
FROZEN = 1e-9  # a learning rate that decayed to this changes nothing any more

BLOCKS, CELLS = 4, 8
S = len(SYMBOLS)
N = S + CELLS + 1
IN, FORGET, OUT = range(3)


Stream = Callable[[bool], int]  # learning or not: symbols before the first error


class Weights(NamedTuple):
    """Of the paper's network."""

    gates: np.ndarray  # (3, BLOCKS, N) input, forget and output gates
    cells: np.ndarray  # (CELLS, N), without a bias
    outputs: np.ndarray  # (S, N) of x and y of this very tick


class State(NamedTuple):
    """Of the paper's network, and the derivatives of its cell states by weights, (CELLS, N)."""

    s: np.ndarray  # (CELLS,)
    s_prev: np.ndarray  # (CELLS,)
    y: np.ndarray  # (CELLS,) cell outputs
    squashed: np.ndarray  # (CELLS, 2) candidates within +-2, cell states within +-1
    gates: np.ndarray  # (3, BLOCKS)
    inputs: np.ndarray  # (N,)
    shown: np.ndarray  # (N,) inputs of the outputs
    outputs: np.ndarray  # (S,)
    d_cells: np.ndarray
    d_in: np.ndarray
    d_forget: np.ndarray


def initial_weights(seed: int) -> Weights:
    """The paper's: uniform within 0.2, gates biased block by block."""
    rng = np.random.default_rng(seed)
    sizes = (3, BLOCKS, N), (CELLS, N), (S, N)
    weights = Weights(*(rng.uniform(-0.2, 0.2, size) for size in sizes))
    weights.gates[:, :, -1] = np.outer([-0.5, 0.5, -0.5], range(1, BLOCKS + 1))
    weights.cells[:, -1] = 0
    return weights


def zero_state() -> State:
    """Where a stream begins."""
    now = (CELLS,), (CELLS,), (CELLS,), (CELLS, 2), (3, BLOCKS), (N,), (N,), (S,)
    state = State(*(np.zeros(size) for size in (*now, *[(CELLS, N)] * 3)))
    state.inputs[-1] = state.shown[-1] = 1
    return state


# As the package compiles its kernels, but these make arrays and draw random numbers.
_compiled = partial(numba.njit, error_model="numpy", nogil=True)
jit = _compiled(fastmath=ELEMENTWISE, forceinline=True)
jit_reduction = _compiled(fastmath=REDUCTION, forceinline=True)
jit_apart = _compiled(fastmath=ELEMENTWISE)


@jit
def sigmoid(x):
    """Logistic function."""
    return 1.0 / (1.0 + np.exp(-x))


@jit_reduction
def dot(a, b):
    """Inner product."""
    total = 0.0
    for n in range(a.size):
        total += a[n] * b[n]
    return total


@jit
def advance(net, state, symbol, kept):
    """Take a symbol. kept: what the cells keep of their states; 0: the forget gates decide."""
    for n in range(S):
        state.inputs[n] = state.shown[n] = 1.0 if n == symbol else 0.0
    for c in range(CELLS):
        state.inputs[S + c] = state.y[c]
        state.s_prev[c] = state.s[c]
    for k in range(BLOCKS):
        i = sigmoid(dot(net.gates[IN, k], state.inputs))
        f = kept if kept > 0.0 else sigmoid(dot(net.gates[FORGET, k], state.inputs))
        o = sigmoid(dot(net.gates[OUT, k], state.inputs))
        state.gates[IN, k], state.gates[FORGET, k], state.gates[OUT, k] = i, f, o
        for c in (2 * k, 2 * k + 1):
            g = 4.0 * sigmoid(dot(net.cells[c], state.inputs)) - 2.0
            state.s[c] = f * state.s[c] + i * g
            squashed = 2.0 * sigmoid(state.s[c]) - 1.0
            state.squashed[c, 0], state.squashed[c, 1] = g, squashed
            state.y[c] = state.shown[S + c] = o * squashed
    for k in range(S):
        state.outputs[k] = sigmoid(dot(net.outputs[k], state.shown))


@jit
def learn(net, state, targets, rate, kept):
    """Move the derivatives on; a step down the truncated gradient of half the squared error."""
    errors = np.zeros(CELLS)
    for k in range(S):
        out = state.outputs[k]
        d = (targets[k] - out) * out * (1.0 - out)
        for c in range(CELLS):
            errors[c] += d * net.outputs[k, S + c]
        for n in range(N):
            net.outputs[k, n] += rate * d * state.shown[n]
    for k in range(BLOCKS):
        i, f, o = state.gates[IN, k], state.gates[FORGET, k], state.gates[OUT, k]
        d_o = 0.0
        for c in (2 * k, 2 * k + 1):
            g, squashed = state.squashed[c]
            d_o += errors[c] * squashed * o * (1.0 - o)
            d_s = errors[c] * o * 0.5 * (1.0 - squashed * squashed)
            by_cell = i * (1.0 - 0.25 * g * g)
            by_in, by_forget = g * i * (1.0 - i), state.s_prev[c] * f * (1.0 - f)
            for n in range(N):
                x = state.inputs[n]
                state.d_cells[c, n] = f * state.d_cells[c, n] + by_cell * x
                state.d_in[c, n] = f * state.d_in[c, n] + by_in * x
                state.d_forget[c, n] = f * state.d_forget[c, n] + by_forget * x
            for n in range(N - 1):
                net.cells[c, n] += rate * d_s * state.d_cells[c, n]
            for n in range(N):
                net.gates[IN, k, n] += rate * d_s * state.d_in[c, n]
            if kept == 0.0:
                for n in range(N):
                    net.gates[FORGET, k, n] += rate * d_s * state.d_forget[c, n]
        for n in range(N):
            net.gates[OUT, k, n] += rate * d_o * state.inputs[n]


@jit
def all_right(outputs, targets):
    """Whether every output is near enough."""
    right = True
    for k in range(S):
        right &= abs(outputs[k] - targets[k]) < TOLERANCE
    return right


@jit
def follow(state, rng):
    """A symbol that may come at a state of the grammar, and the state it leads to."""
    turn = int(rng.random() < 0.5)
    return SYMBOL[state, turn], NEXT[state, turn]


@jit
def clear(state):
    """Forget all but the biases."""
    state.s[:] = 0.0
    state.y[:] = 0.0
    state.d_cells[:] = 0.0
    state.d_in[:] = 0.0
    state.d_forget[:] = 0.0


@jit_apart
def paper_stream(net, state, rng, rate, decay, kept, reset):
    """Symbols of a stream before the first error; a rate of 0 only tests."""
    clear(state)
    at, learning = 0, rate > 0.0
    for n in range(LIMIT):
        if reset and at == 0:
            clear(state)
        symbol, at = follow(at, rng)
        advance(net, state, symbol, kept)
        right = all_right(state.outputs, LEGAL[at])
        if learning:
            learn(net, state, LEGAL[at], rate, kept)
            rate *= decay
        if not right:
            return n
        if learning and rate < FROZEN:  # what is still to come is a test
            break
    return LIMIT


def paper(seed: int, decay: float, kept: float = 0.0, reset: bool = False) -> Stream:
    """The paper's network; `reset` clears its state at the beginning of each string."""
    net, state, rng = initial_weights(seed), zero_state(), np.random.default_rng(seed)

    def stream(learning: bool) -> int:
        rate = 0.5 if learning else 0.0
        return paper_stream(net, state, rng, rate, decay, kept, reset)

    return stream


RATE = Settings._fields.index("learning_rate")


@cache
def our_stream(cell: str) -> Callable[..., int]:
    """Compiled for one cell."""
    kind = cells.CELLS[cell].CELL, rules.RULES["tbptt"].RULE

    @jit_apart
    def run(settings, weights, memory, scratch, clock, rng, rate, decay):
        """Symbols of a stream before the first error; a rate of 0 only tests."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        at, learning = 0, rate > 0.0
        for n in range(LIMIT):
            symbol, at = follow(at, rng)
            net.scratch.x[:] = 0.0
            net.scratch.x[symbol] = 1.0
            network.advance(net, net.scratch.x)
            right = all_right(net.memory.output, LEGAL[at])
            if learning:
                settings[RATE] = rate
                net = network_views(kind, settings, weights, memory, scratch, clock)
                network.learn(net, LEGAL[at])
                rate *= decay
            if not right:
                return n
            if learning and rate < FROZEN:  # what is still to come is a test
                break
        return LIMIT

    return run


def ours(seed: int, decay: float, cell: str = "lstm") -> Stream:
    """streamlstm's network."""
    settings = check_settings(CELLS, 1, 20, 1, 0.0, "rmsprop", "squared", 1.0, output_size=S)
    net, rng = Network(settings, CLOCK.periods, seed, cell), np.random.default_rng(seed)
    net.add_inputs(range(S))
    run = our_stream(cell)

    def stream(learning: bool) -> int:
        net.reset_state()
        return run(*net.buffers, rng, 0.01 if learning else 0.0, decay)

    return stream


def train(stream: Stream) -> tuple[int, float]:
    """Training streams until perfect, or STREAMS + 1; mean length of the last test streams."""
    for trained in range(1, STREAMS + 1):
        stream(True)
        if all(stream(False) == LIMIT for _ in range(TESTS)):  # up to the first that fails
            return trained, LIMIT
    return STREAMS + 1, sum(stream(False) for _ in range(TESTS)) / TESTS


# Networks, how they are trained and what the paper's table says of them: perfect networks and
# their training streams, good ones and their mean length, the rest and theirs.
ROWS = {
    "paper's, external reset": (paper, (1.0, 1.0, True), "74 (7,441) / 0 / 26 (31)"),
    "paper's, no forget gate": (paper, (1.0, 1.0), "0 / 1 (1,166) / 99 (37)"),
    "paper's, no forget gate, decay 0.99": (paper, (0.99, 1.0), "-"),
    "paper's, state decay 0.9": (paper, (1.0, 0.9), "0 / 0 / 100 (56)"),
    "paper's, forget gate": (paper, (1.0,), "18 (18,889) / 29 (39,171) / 53 (145)"),
    "paper's, forget gate, decay 0.99": (paper, (0.99,), "62 (14,087) / 6 (68,464) / 32 (30)"),
    "ours, no forget gate": (ours, (1.0, "lstm1997"), "-"),
    "ours, no forget gate, decay 0.99": (ours, (0.99, "lstm1997"), "-"),
    "ours, forget gate": (ours, (1.0,), "-"),
    "ours, forget gate, decay 0.99": (ours, (0.99,), "-"),
}


def summary(streams: np.ndarray, lengths: np.ndarray) -> str:
    """Perfect, good and other networks in percent, each with its mean."""
    perfect = streams <= STREAMS
    good = ~perfect & (lengths > 1000)
    parts = []
    for chosen, values in ((perfect, streams), (good, lengths), (~perfect & ~good, lengths)):
        mean = f" ({values[chosen].mean():,.0f})" if chosen.any() else ""
        parts.append(f"{100 * chosen.mean():.0f}{mean}")
    return " / ".join(parts)


def main() -> None:
    """Train all networks of all rows, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", type=int, default=100)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    options = parser.parse_args()
    table, data = [], []
    for name, (build, arguments, published) in ROWS.items():
        if options.only not in name:
            continue
        start = time.perf_counter()
        streams, lengths = np.array(
            [train(build(seed, *arguments)) for seed in range(options.nets)]
        ).T
        seconds = time.perf_counter() - start
        table.append([name, published, summary(streams, lengths), f"{seconds:,.0f}"])
        print(table[-1], flush=True)
        data.append({"net": name, "streams": streams.tolist(), "lengths": lengths.tolist()})
    header = ["network", "paper", "here", "seconds"]
    title = "Continual embedded Reber grammar: % perfect (streams) / good (length) / rest (length)"
    harness.report("reber", title, header, table, data)


if __name__ == "__main__":
    main()
