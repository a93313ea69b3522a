"""Replay: how windows are drawn, the gradient of a mini-batch, and targets not yet known."""

import numpy as np
import pytest
from kernel_calls import (
    calls,
    last_grads,
    params_of,
    random_network,
    relative_error,
    scramble,
    twin,
)
from reference import network as reference
from streams import mase, seasonal
from twins import ROUNDING, disagreement

from streamlstm import LSTMForecaster
from streamlstm.kernels.layout import CLOCK, aligned_zeros, replay_buffer_size, replay_buffer_views
from streamlstm.model import series

# Outputs of splitmix64 with seed 0, printed by its authors' C program.
SPLITMIX64 = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]


def test_draws_are_those_of_splitmix64():
    published = [output >> 33 for output in SPLITMIX64]
    assert [reference.scramble(n) for n in range(1, 5)] == published
    numbers = [*range(1, 1000), 2**31 - 1, 2**31 + 12345, 2**40 + 7]
    assert [scramble(n) for n in numbers] == [reference.scramble(n) for n in numbers]


@pytest.mark.parametrize(("ticks", "capacity"), [(15, 60), (40, 60), (60, 60), (333, 60)])
def test_windows_lie_in_the_past_the_newest_first(ticks, capacity):
    network = random_network(window=5, windows=32, seed=3)
    seen = set()
    for update in range(40):
        network.clock[CLOCK.updates] = update
        starts = np.zeros(32, np.int64)
        calls(network.kind).window_starts(starts, ticks, capacity, *network.buffers)
        assert starts[0] == ticks - 5
        assert starts.min() >= max(ticks - capacity, 0)
        assert starts.max() <= ticks - 5
        assert tuple(starts) not in seen
        seen.add(tuple(starts))
    counts = np.bincount(np.ravel([row[1:] for row in seen]) - max(ticks - capacity, 0))
    expected = 40 * 31 / (min(ticks, capacity) - 4)
    assert counts.size == min(ticks, capacity) - 4
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)  # all windows are equally likely


def network_with_a_past(I, H, K, T, windows, loss, ticks=70, capacity=50, decay=0.0):
    """A network, its twin with the same past, some targets missing, and the buffer of the past."""
    network = random_network(I, H, K, T, loss=loss, rate=0.01, windows=windows, decay=decay)
    twin_network = twin(network, loss, capacity=capacity)
    rng = np.random.default_rng(1)
    inputs = np.float32(rng.normal(size=(ticks, I)))
    targets = np.float32(rng.normal(size=(ticks, K)))
    targets[rng.random(targets.shape) < 0.2] = np.nan
    buffer = aligned_zeros(replay_buffer_size(capacity, network.settings))
    past = replay_buffer_views(buffer, network.settings)
    for tick in range(ticks):
        past.inputs[tick % capacity], past.targets[tick % capacity] = inputs[tick], targets[tick]
    twin_network.inputs = list(inputs.astype(np.float64))
    twin_network.targets = list(targets.astype(np.float64))
    return network, twin_network, buffer


SHAPES = [(3, 5, 1, 4, 16), (2, 7, 3, 10, 32), (6, 32, 24, 12, 16), (1, 1, 1, 1, 16)]


@pytest.mark.parametrize("loss", ["absolute", "huber", "squared"])
@pytest.mark.parametrize(("I", "H", "K", "T", "windows"), SHAPES)
def test_updates_equal_those_of_the_reference(I, H, K, T, windows, loss):
    network, ref, past = network_with_a_past(I, H, K, T, windows, loss, decay=1.0)
    for _ in range(3):
        expected = ref.batch_gradient(ref.starts())
        calls(network.kind).replay_update(past, 70, *network.buffers)
        ref.replay()
        for name, d in last_grads(network).items():
            assert relative_error(d, expected[name]) < 1e-4
        for name, p in params_of(network).items():
            assert relative_error(p, ref.params[name]) < 2e-4


@pytest.mark.parametrize("loss", ["absolute", "huber", "squared"])
def test_the_gradient_of_the_reference_equals_finite_differences(loss):
    _, ref, _ = network_with_a_past(2, 3, 2, 7, 16, loss)
    starts, step = ref.starts(), 1e-6
    for name, d_p in ref.batch_gradient(starts).items():
        differences, p = np.zeros_like(d_p), ref.params[name]
        for index in np.ndindex(p.shape):
            kept, losses = p[index], []
            for p[index] in (kept + step, kept - step):
                losses.append(ref.batch_loss(starts))
            p[index] = kept
            differences[index] = (losses[0] - losses[1]) / (2 * step)
        assert relative_error(d_p, differences) < 1e-6


def test_replay_starts_after_three_windows():
    network, _, past = network_with_a_past(2, 3, 1, 6, 16, "squared")
    before = network.weights.copy()
    calls(network.kind).replay_update(past, 17, *network.buffers)
    assert np.array_equal(network.weights, before)
    calls(network.kind).replay_update(past, 18, *network.buffers)
    assert not np.array_equal(network.weights, before)


def test_replay_forgets_old_ticks_like_the_reference(monkeypatch):
    monkeypatch.setattr(series, "REPLAYED", 60)
    model = LSTMForecaster(hidden_size=6, window=5, season=12, horizon=3, stride=2, replay=32)
    values = seasonal(250, period=12)
    values[[70, 71]] = np.nan
    assert disagreement(model, values, capacity=60) < ROUNDING["accurate"]


def test_replayed_targets_are_known_only_after_their_value_has_come(monkeypatch):
    monkeypatch.setattr(series, "REPLAYED", 40)
    values, K = seasonal(130), 6
    values[[50, 51, 97]] = np.nan
    model = LSTMForecaster(hidden_size=4, window=4, season=None, horizon=K)
    for t, y in enumerate(values):
        model.learn_one(y)
        targets = replay_buffer_views(model._past, model._network.settings).targets
        for tick in range(max(t - 39, 2), t + 1):
            target_ticks = tick + 1 + np.arange(K)
            known = (target_ticks <= t) & np.isfinite(values[np.minimum(target_ticks, t)])
            assert np.array_equal(np.isfinite(targets[tick % 40]), known)


@pytest.mark.parametrize("future", ["other", "missing"])
def test_no_replayed_target_comes_from_the_future(future, monkeypatch):
    monkeypatch.setattr(series, "REPLAYED", 70)
    values, turn = seasonal(260), 200
    altered = values.copy()
    altered[turn:] = np.nan if future == "missing" else -1000 * values[turn:]
    runs = []
    for ys in (values, altered):
        model = LSTMForecaster(hidden_size=8, window=6, season=12, horizon=9, experts=("lstm",))
        runs.append(model.learn_many(ys, horizon=9))
    # Row `turn` holds the forecasts made before tick `turn` was learned.
    assert np.array_equal(runs[0][: turn + 1], runs[1][: turn + 1], equal_nan=True)
    assert not np.array_equal(runs[0][turn + 2 :], runs[1][turn + 2 :])


def test_replay_learns_more_from_a_stream_than_bptt_does():
    values, errors = seasonal(2500), {}
    for preset in ("accurate", "fast"):
        model = LSTMForecaster(season=None, experts=("lstm",), preset=preset)
        errors[preset] = mase(values, model.learn_many(values)[:, 0])
    assert errors["accurate"] < 0.8 * errors["fast"]
