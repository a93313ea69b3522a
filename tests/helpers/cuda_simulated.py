"""The CUDA kernels under Numba's simulator, compared with the CPU; `test_cuda` runs this file.

Outside the network the device rounds to float32 and the CPU to float64, and sums are added in
another order. Results therefore agree to 1e-4 of the largest number of their kind, and forecasts to
1e-5 of a usual change; a larger difference means a different formula. Sizes are tiny, because the
simulator runs a Python thread for each thread of a block.
"""

import copy
import pickle
import sys

import numpy as np
import pytest
from numba.cuda.simulator import kernel as simulator

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.errors import ParameterError, SnapshotError
from streamlstm.fleets import cuda as cuda_streams
from streamlstm.fleets.cuda import CudaStreams
from streamlstm.forecaster import NO_BOUNDS, NO_PLACES
from streamlstm.kernels.cuda import network as cuda_network
from streamlstm.kernels.cuda import series as cuda_series
from streamlstm.kernels.cuda.shared import Tile
from streamlstm.kernels.forecaster.layout import work_views
from streamlstm.kernels.forecaster.learn import learn_ticks, learn_value
from streamlstm.kernels.forecaster.predict import fill_path, prefetch_forecasts
from streamlstm.kernels.layout import (
    CLOCK,
    layer_tape,
    memory_views,
    network_views,
    replay_buffer_views,
    weights_views,
)
from streamlstm.kernels.network import update
from streamlstm.snapshots import snapshot

TINY = Tile(streams=4, units=3, per_thread=2, depth=5)


class RunningKernel:
    """`cuda` as the running kernel has it."""

    def __getattr__(self, name):
        return getattr(simulator._get_kernel_context(), name)


@pytest.fixture(autouse=True)
def _simulated_parts(monkeypatch):
    """The simulator replaces `cuda` in the modules of kernels, not in those of their parts."""
    monkeypatch.setattr(cuda_network, "cuda", RunningKernel())
    monkeypatch.setattr(cuda_series, "cuda", RunningKernel())


@pytest.fixture(autouse=True)
def _quick_turns():
    """Switch threads often, because the simulator polls threads that wait for each other."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


def small(**parameters):
    defaults = {"hidden_size": 5, "window": 4, "learning_rate": 0.02, "preset": "fast"}
    fixed = {"season": None, "drift": False, "horizon": 1, "experts": ("last", "lstm")}
    return LSTMForecaster(**{**defaults, **fixed, **parameters})


def values_of(T, S, offset=0.0, seed=0):
    """(T, S) predictable streams; some values are missing, also the first of one stream."""
    rng = np.random.default_rng(seed)
    values = np.sin(np.arange(T)[:, None] * 0.7 + np.arange(S)).cumsum(axis=0)
    values += 0.1 * rng.normal(size=(T, S)) + offset
    values[T // 2, 0] = np.nan
    values[0, -1] = np.inf
    return values


def learn(streams, rows, ys, features, horizon):
    return streams.learn(rows, ys, features, None, horizon, NO_PLACES)[0]


def none(count):
    return np.empty((count, 0))


def opened(model, horizon=1):
    """A forecaster's views, with which parts of kernels can be called as plain Python."""
    network, series = model._network, model._series
    net = network_views(network.kind, *network.buffers)
    work = work_views(model._work_for(horizon), series.shape)
    return work, net, series, replay_buffer_views(model._past, network.settings)


def on_the_cpu(singles, rows, ys, horizon=1, features=None):
    """Do what a fleet does, in plain Python: compiling takes longer than all of these tests."""
    forecasts = np.empty((len(rows), horizon))
    for n, (row, y) in enumerate(zip(rows, ys, strict=True)):
        table = {name: column[n : n + 1] for name, column in (features or {}).items()}
        singles[row]._add_features(list(table))
        learn_ticks(
            forecasts[n : n + 1], NO_BOUNDS, NO_PLACES, np.array([y]),
            singles[row]._columns.matrix(table, 1), np.empty(0), *opened(singles[row], horizon),
        )  # fmt: skip
    return forecasts


def both(model, values, usual=1.0, **options):
    """Forecasters on the CPU and streams that learned the same, after comparing forecasts."""
    S = values.shape[1]
    singles, streams = [copy.deepcopy(model) for _ in range(S)], CudaStreams(model, **options)
    rows = np.arange(S)
    streams.begin(rows)
    for row in values:
        compare(learn(streams, rows, row, none(S), 3), on_the_cpu(singles, rows, row, 3), usual)
    return singles, streams


def compare(forecasts, expected, usual=1.0):
    """Assert that forecasts agree to 1e-5 of a usual change."""
    np.testing.assert_allclose(forecasts, expected, rtol=1e-12, atol=1e-5 * usual)


def state(model):
    """Everything that a stream has learned and needs to continue, by name."""
    network, series = model._network, model._series
    s, cell = network.settings, network.kind[0]
    memory = memory_views(cell, network.memory, s)
    tape = layer_tape(cell, memory.tapes, s, 0, s.window)
    named = {name: np.array(a) for name, a in tape._asdict().items()}
    for kind, buffer in weights_views(network.weights)._asdict().items():
        named |= {f"{kind} {name}": a for name, a in network.params_in(buffer).items()}
    named |= {f"scaler {name}": a for name, a in series.scaler._asdict().items()}
    kept = ("weights", "products", "squares", "gates", "errors", "outputs", "values", "scales")
    named |= {f"committee {name}": getattr(series.committee, name) for name in kept}
    return named | {
        "state": network.states[0],
        "output": memory.output,
        "clock": network.clock[: CLOCK.values + 1],
        "clipped": series.clipped[-1:],
        "forecast": series.intervals.forecasts,
    }


def assert_alike(model, reference):
    found = state(model)
    for name, expected in state(reference).items():
        size = np.abs(expected).max(initial=0.0)
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-4 * size, err_msg=name)


@pytest.mark.parametrize(
    ("block", "parameters"),
    [
        (1, {"hidden_size": 1}),
        (7, {"optimizer": "rmsprop", "loss": "squared", "clip_norm": 0.05}),
        (32, {"hidden_size": 8, "weight_decay": 0.2}),
        (33, {"optimizer": "sgd", "loss": "absolute", "experts": ("lstm",)}),
    ],
)
def test_private_streams_learn_as_on_the_cpu(block, parameters):
    singles, streams = both(small(**parameters), values_of(14, 2), block=block)
    for row in range(2):
        assert_alike(streams.take(row), singles[row])


def test_large_values_with_small_changes_keep_their_precision():
    both(small(), values_of(12, 2, offset=1e9), block=7)


def test_spikes_are_clipped_until_they_last():
    """Spikes are values beyond 100 usual deviations, once 30 values are known: see `scaling`."""
    values = values_of(46, 1)
    values[33] += 1e4
    values[37:] += 1e4
    singles, streams = both(small(hidden_size=1, window=2), values, usual=1e4, block=1)
    assert_alike(streams.take(0), singles[0])


def test_weights_that_do_not_fit_shared_memory(monkeypatch):
    monkeypatch.setattr(cuda_streams, "SHARED_MEMORY", 1000)
    singles, streams = both(small(), values_of(8, 2), block=7)
    assert_alike(streams.take(0), singles[0])


def test_ragged_rounds_with_repeated_rows_and_growing_arrays():
    values, rng, S = values_of(20, 20), np.random.default_rng(3), 20
    model = small(hidden_size=2, window=3)
    singles, streams = [copy.deepcopy(model) for _ in range(S)], CudaStreams(model, block=3)
    came = np.zeros(S, int)
    for last in (0, 8, 15, 19):  # the arrays first have 16 rows
        rows = np.sort(np.append(rng.integers(0, last + 1, 5), last))
        streams.begin(np.array([row for row in np.unique(rows) if came[row] == 0]))
        ticks = np.array([came[r] + np.sum(rows[:k] == r) for k, r in enumerate(rows)])
        ys = values[ticks, rows]
        came += np.bincount(rows, minlength=S)
        compare(learn(streams, rows, ys, none(6), 2), on_the_cpu(singles, rows, ys, 2))
    assert came.max() > 1
    rows = np.flatnonzero(came)
    ahead = np.empty((rows.size, 3))
    for path, row in zip(ahead, rows, strict=True):
        fill_path(path, *opened(singles[row], 3)[:3], none(0))
    compare(streams.forecast(rows, 3), ahead)
    streams.begin(rows[-1:])
    assert np.isnan(streams.forecast(rows[-1:], 2)).all()
    assert learn(streams, rows[:0], np.empty(0), none(0), 2).shape == (0, 2)


@pytest.mark.parametrize("weights", ["private", "shared"])
def test_features_may_come_late_be_missing_or_be_infinite(weights):
    """With shared weights there is only one stream: a single forecaster is its reference."""
    S = 2 if weights == "private" else 1
    model, rows = small(hidden_size=3), np.arange(S)
    singles = [copy.deepcopy(model) for _ in range(S)]
    streams = CudaStreams(model, weights, block=7, tile=TINY)
    streams.begin(rows)
    values, warm = values_of(14, S, seed=1)[1:], 1e8 + values_of(14, S, seed=2)
    warm[7, 0], warm[9, 0] = np.nan, -np.inf
    for t, row in enumerate(values):
        features = {"warm": warm[t]} if t > 4 else {}
        if t == 5:
            model._add_features(["warm"])
        matrix = warm[t, :, None] if features else none(S)
        expected = on_the_cpu(singles, rows, row, 2, features)
        compare(learn(streams, rows, row, matrix, 2), expected)
    for row in range(S):
        assert_alike(streams.take(row), singles[row])


def test_a_stream_is_taken_and_put_back():
    """A stream that is taken out continues on the CPU; a forecaster put in, on the device."""
    values = values_of(12, 2)
    singles, streams = both(small(), values[:8], block=7)
    taken = streams.take(0)
    streams.put(1, singles[0])
    for y in values[8:, :1]:
        expected = on_the_cpu(singles, [0], y)
        compare(on_the_cpu([taken], [0], y), expected)
        compare(learn(streams, np.array([1]), y, none(1), 1), expected)
    assert_alike(streams.take(1), singles[0])
    with pytest.raises(cuda_streams.ParameterError, match="hidden_size"):
        streams.put(0, small(hidden_size=3))


def test_fading_averages_do_not_become_denormal():
    values, fading = values_of(7, 1), slice(3, 7)  # inputs that are always 0
    singles, streams = both(small(hidden_size=1), values[:6], block=3)
    network = singles[0]._network
    first = weights_views(network.weights).first
    network.params_in(first)["w_l0"][fading] = 1e-30
    streams.put(0, singles[0])
    learn(streams, np.arange(1), values[6], none(1), 1)
    network = streams.take(0)._network
    _, first, second = map(network.params_in, weights_views(network.weights))
    assert np.all(first["w_l0"][fading] == 0.0)
    assert np.all(second["w_l0"][fading] == np.float32(1e-30))


class SharedOnTheCPU:
    """Forecasters whose gradients are averaged, with the CPU's own code."""

    def __init__(self, model, S):
        self.models = [copy.deepcopy(model) for _ in range(S)]
        self.of_all = copy.deepcopy(model)
        for single in self.models:
            single._network.set_learning_rate(0.0)  # they only compute gradients
        self.views = [opened(model) for model in [self.of_all, *self.models]]

    def learn(self, rows, ys):
        of_all, nothing, grads, came = self.views[0][1], np.empty(0), [], []
        forecasts = np.full((len(rows), 1), np.nan)
        for n, (row, y) in enumerate(zip(rows, ys, strict=True)):
            work, net, series, past = views = self.views[1 + row]
            if net.clock[CLOCK.values]:
                fill_path(forecasts[n], work, net, series, none(0))
            elif not np.isfinite(y):
                continue
            came.append(views)
            updates = net.clock[CLOCK.updates]
            learn_value(net, series, past, y, nothing)
            if net.clock[CLOCK.updates] > updates:
                grads.append(net.scratch.grads.copy())
        if grads:
            of_all.scratch.grads[:] = np.mean(grads, axis=0, dtype=np.float64)
            update(of_all)
        for _, net, *_ in self.views:
            net.weights.params[:] = of_all.weights.params
        for views in came:
            prefetch_forecasts(*views)
        return forecasts


@pytest.mark.parametrize(
    ("block", "groups", "tile", "parameters"),
    [
        (1, 1, Tile(1, 1, 1, 1), {"hidden_size": 1}),
        (7, 2, TINY, {"weight_decay": 0.2}),
        (9, 256, Tile(2, 8, 1, 16), {"hidden_size": 6, "optimizer": "sgd", "clip_norm": 0.05}),
    ],
)
def test_shared_weights_learn_from_the_mean_gradient(monkeypatch, block, groups, tile, parameters):
    monkeypatch.setattr(cuda_streams, "GROUPS", groups)
    model, values, rows = small(**parameters), values_of(8, 5), np.array([0, 1, 2, 3, 15])
    streams, expected = CudaStreams(model, "shared", block, tile), SharedOnTheCPU(model, 5)
    streams.begin(rows)
    for t, row in enumerate(values):
        some = np.arange(4 if t == 6 else 5)
        forecasts = learn(streams, rows[some], row[some], none(some.size), 1)
        compare(forecasts, expected.learn(some, row[some]))
    learned = expected.of_all._network
    for row, single in zip(rows, expected.models, strict=True):
        single._network.weights[:] = learned.weights
        single._network.clock[CLOCK.updates] = learned.clock[CLOCK.updates]
        assert_alike(streams.take(row), single)


@pytest.mark.parametrize("weights", ["private", "shared"])
def test_no_forecast_depends_on_the_future(weights):
    values = values_of(8, 3)
    other = values.copy()
    other[6:] += 100.0
    seen = []
    for stream in (values, other):
        streams, rows = CudaStreams(small(hidden_size=2), weights, 3, TINY), np.arange(3)
        streams.begin(rows)
        seen.append(np.array([learn(streams, rows, row, none(3), 2) for row in stream]))
    assert np.array_equal(seen[0][:7], seen[1][:7], equal_nan=True)
    assert not np.array_equal(seen[0][7], seen[1][7])


def test_bad_values_of_one_stream_do_not_affect_the_others():
    values = values_of(8, 3)
    other = values.copy()
    other[3:, 1] = [np.nan, np.inf, -1e300, 1e308, 1e29]
    taken = []
    for stream in (values, other):
        streams, rows = CudaStreams(small(), block=7), np.arange(3)
        streams.begin(rows)
        for row in stream:
            learn(streams, rows, row, none(3), 1)
        taken.append(streams.take(0))
        assert np.isfinite(streams.forecast(rows, 2)).all()
    assert np.array_equal(taken[0]._network.weights, taken[1]._network.weights)


def test_a_fleet_on_the_device_answers_as_on_the_cpu(monkeypatch, tmp_path):
    """With repeated and new keys, a stream taken out and put back, and a pickled copy."""
    monkeypatch.setattr(cuda_streams, "TILE", TINY)
    fleet = ForecasterFleet(small(hidden_size=2, window=3), device="cuda")
    single, values = small(hidden_size=2, window=3), values_of(12, 1)[:, 0]
    for y in values:
        made = fleet.learn_many(["b", "a", "b"], [y, 7.0, y], {"f": [1.0, 2.0, 3.0]})
    before = fleet.forecast(2, ["b", "a"])
    assert made.shape == (3, 1)
    assert np.isfinite(before).all()
    again = pickle.loads(pickle.dumps(fleet))
    with pytest.raises(SnapshotError, match="on a GPU"):
        snapshot.save(fleet, tmp_path / "fleet")
    fleet["b"] = fleet["b"]
    for each in (fleet, again):
        assert np.allclose(each.forecast(2, ["b", "a"]), before, rtol=1e-6)
    assert fleet["b"]._network.clock[CLOCK.values] == 2 * (values.size - 1), "the first is missing"
    del fleet["b"]
    assert fleet.keys == ["a"]
    with pytest.raises(ParameterError, match="keeps no intervals"):
        fleet.learn_many(["c"], [1.0], interval=0.9)
    assert "c" not in fleet
    expected = [single.learn_many([y])[0, 0] for y in values[:4]]
    made = [fleet.learn_many(["c"], [y], {"f": [np.nan]})[0, 0] for y in values[:4]]
    assert np.allclose(made[:3], expected[:3], equal_nan=True)
