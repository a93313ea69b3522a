"""The streams and sequences of the classic tasks, and the network that solved the first of them."""

import re
from collections import defaultdict
from itertools import islice, pairwise

import continual_reber
import numpy as np
import pytest
import reber
from classic_tasks import (
    ORDER,
    SYMBOLS,
    adding_problem,
    embedded_reber,
    learn_and_test,
    one_hot,
    reber_stream,
    temporal_order,
)

# The grammar's drawing as a pattern: what may follow the node that T S* X and P T* V P lead to ...
REST = "(XT*VP)*(S|XT*VV)"
REBER = f"B(TS*X{REST}|PT*V(V|P{REST}))E"
EMBEDDED = re.compile(f"B(T{REBER}T|P{REBER}P)E")


def stream(seed, ticks):
    return list(islice(reber_stream(np.random.default_rng(seed)), ticks))


def strings(symbols):
    """A string ends with the E after an E and the outer symbol."""
    return re.findall("B.B.*?E[TP]E", symbols)


def test_stream_is_embedded_reber_strings_one_after_the_other():
    symbols = "".join(symbol for symbol, _ in stream(0, 20_000))
    found = strings(symbols)
    assert symbols.startswith("".join(found))
    assert all(EMBEDDED.fullmatch(string) for string in found)
    assert np.mean([len(string) for string in found]) == pytest.approx(12, abs=0.3)
    assert min(map(len, found)) == 9


def test_successors_are_the_symbols_that_may_follow_a_prefix():
    seen, stated, counts, prefix = defaultdict(set), {}, defaultdict(int), ""
    ticks = stream(1, 50_000)
    for (symbol, successors), (following, _) in pairwise(ticks):
        prefix += symbol
        if EMBEDDED.fullmatch(prefix):
            prefix = ""
        assert stated.setdefault(prefix, successors) == successors
        seen[prefix].add(following)
        counts[prefix] += 1
    often = [prefix for prefix, count in counts.items() if count > 40]
    assert len(often) > 100
    assert all(seen[prefix] == set(stated[prefix]) for prefix in often)


def test_one_hot_marks_each_symbol():
    assert one_hot("TP") == {"B": 0, "T": 1, "P": 1, "S": 0, "X": 0, "V": 0, "E": 0}


def test_adding_problem_asks_for_the_marked_values():
    rng = np.random.default_rng(0)
    lengths, marked_first = set(), 0
    for _ in range(500):
        sequence, target = adding_problem(rng, 100)
        values, markers = sequence.T
        ones = np.flatnonzero(markers == 1)
        assert set(np.flatnonzero(markers == -1)) == {0, len(sequence) - 1}
        assert len(ones) == 2 or (len(ones) == 1 and ones[0] < len(sequence) // 2 - 1)
        assert ones.min() < 10 or len(ones) == 1
        assert ones.max() < len(sequence) // 2 - 1
        assert target == pytest.approx(0.5 + values[ones].sum() / 4)
        assert np.abs(values).max() <= 1
        lengths.add(len(sequence))
        marked_first += len(ones) == 1
    assert lengths == set(range(100, 111))
    assert 0 < marked_first < 150


def test_temporal_order_asks_for_both_symbols_in_turn():
    rng = np.random.default_rng(0)
    orders = defaultdict(int)
    for _ in range(500):
        sequence, order = temporal_order(rng, 100)
        symbols = "".join(ORDER[n] for n in sequence.argmax(axis=1))
        found = re.fullmatch("E[abcd]*([XY])[abcd]*([XY])[abcd]*B", symbols)
        assert "".join(found.groups()) == order
        assert 10 <= found.start(1) <= 20
        assert 50 <= found.start(2) <= 60
        assert 100 <= len(symbols) <= 110
        assert (sequence.sum(axis=1) == 1).all()
        orders[order] += 1
    assert all(orders[order] > 80 for order in ("XX", "XY", "YX", "YY"))


def test_learning_ends_with_enough_right_in_a_row():
    answers = iter([True, False, True, True, True])

    def attempt(learning):
        return next(answers) if learning else False

    assert learn_and_test(attempt, 3) == (5, 2560)
    assert learn_and_test(lambda learning: not learning, 3, most=10) == (None, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def last_error(net, inputs, targets, kept):
    """Half the squared error at the last of T ticks, for given inputs of gates and cells.

    Truncating the gradient means to treat these inputs as independent of the weights.
    """
    s = np.zeros(8)
    for u in inputs:
        i, f, o = (np.repeat(sigmoid(gate @ u), 2) for gate in net.gates)
        s = (kept or f) * s + i * (4 * sigmoid(net.cells @ u) - 2)
    y = o * (2 * sigmoid(s) - 1)
    outputs = sigmoid(net.outputs @ np.concatenate([inputs[-1][:7], y, [1]]))
    return 0.5 * np.sum((outputs - targets) ** 2)


@pytest.mark.parametrize("kept", [0.0, 1.0, 0.9])
def test_truncated_gradient_of_the_paper(kept):
    rng = np.random.default_rng(0)
    net, state = reber.initial_weights(0), reber.zero_state()
    for weights in net:
        weights *= 5
    net.cells[:, -1] = 0
    inputs, targets = [], rng.random(7)
    for symbol in rng.integers(0, 7, 15):
        reber.advance(net, state, symbol, kept)
        inputs.append(state.inputs.copy())
        rate = float(len(inputs) == 15)
        before = [weights.copy() for weights in net]
        reber.learn(net, state, targets, rate, kept)
    changes = [new - old for new, old in zip(net, before, strict=True)]
    net = reber.Weights(*before)
    for weights, change in zip(net, changes, strict=True):
        expected = np.zeros_like(weights)
        for index in np.ndindex(weights.shape):
            errors = []
            for sign in (1, -1):
                weights[index] += sign * 1e-5
                errors.append(last_error(net, inputs, targets, kept))
                weights[index] -= sign * 1e-5
            expected[index] = -(errors[0] - errors[1]) / 2e-5
        if weights is net.cells:
            expected[:, -1] = 0  # cells have no bias
        np.testing.assert_allclose(change, expected, rtol=1e-5, atol=1e-9)
        assert np.abs(change).max() > 1e-4


def test_network_of_the_paper_has_its_weights():
    net = reber.initial_weights(0)
    assert net.gates.size + net.cells[:, :-1].size + net.outputs.size == 424
    assert net.gates[:, :, -1].tolist() == [
        [-0.5, -1, -1.5, -2],
        [0.5, 1, 1.5, 2],
        [-0.5, -1, -1.5, -2],
    ]
    assert all(np.abs(weights[..., :-1]).max() < 0.2 for weights in net)


def test_stream_of_the_benchmark_follows_the_grammar():
    grammar = embedded_reber()
    for state, turns in enumerate(grammar):
        ways = set(zip(reber.SYMBOL[state], reber.NEXT[state], strict=True))
        assert ways == {(SYMBOLS.index(symbol), after) for symbol, after in turns.items()}
        assert reber.LEGAL[state].tolist() == list(one_hot("".join(turns)).values())


def test_forget_gates_solve_a_task_that_is_unsolved_without_them():
    """One network that learns within a second; benchmarks/reber.py counts how many do."""
    learned, length = reber.train(reber.paper(3, 0.99))
    assert learned <= reber.STREAMS
    assert length == reber.LIMIT
    _, length = reber.train(reber.paper(3, 0.99, 1.0))
    assert length < 1000


def test_a_stream_that_never_ends_needs_forget_gates():
    """`examples/continual_reber.py`: without them the returning symbol is not predicted."""
    x, y = continual_reber.stream(continual_reber.LEARNED + continual_reber.FROZEN)
    assert continual_reber.symbols_between_errors("lstm", True, 0, x, y)[1] > 10_000
    assert max(continual_reber.symbols_between_errors("lstm1997", True, 0, x, y)) < 100


def test_our_networks_are_compiled_for_their_cells():
    """The tokens of the two cells are equal as tuples, but must not be confused."""
    assert reber.our_stream("lstm") is not reber.our_stream("lstm1997")
