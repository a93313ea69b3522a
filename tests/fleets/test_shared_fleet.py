"""ForecasterFleet with shared weights: one network that learns from all streams."""

import copy
import pickle

import numpy as np
import pytest
from same import same
from streams import S, values_of

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.errors import InputError, ParameterError
from streamlstm.fleets.shared import ENDLESS_STRIDE
from streamlstm.kernels import rules
from streamlstm.kernels.forecaster.layout import series_views, work_views
from streamlstm.kernels.forecaster.learn import learn_tick
from streamlstm.kernels.forecaster.predict import prefetch_forecasts
from streamlstm.kernels.layout import CLOCK, network_views, replay_buffer_views
from streamlstm.kernels.network import update
from streamlstm.model import segments
from streamlstm.snapshots import Snapshots

NONE, NO_BOUNDS = np.empty(0), np.empty((0, 0, 0))


def small(**parameters):
    chosen = {"hidden_size": 4, "window": 5, "horizon": 3, "preset": "fast", "season": 12}
    return LSTMForecaster(**chosen | parameters)


def shared(model=None, **parameters):
    return ForecasterFleet(model or small(), weights="shared", **parameters)


def fleet_of(values, **parameters):
    fleet = shared(**parameters)
    for row in values:
        fleet.learn_many(range(values.shape[1]), row)
    return fleet


@pytest.mark.parametrize("parameters", [{}, {"num_layers": 2, "hidden_size": 20}, {"cell": "gru"}])
def test_a_single_stream_equals_a_forecaster_to_the_last_bit(parameters):
    """Multiplying several rows at once gives the same bits; the mean of one gradient is itself."""
    model, values = small(drift=False, **parameters), values_of()[:, 0]
    fleet, single = shared(model), copy.deepcopy(model)
    for y in values:
        made, around = fleet.learn_many(["a"], [y], horizon=2, interval=0.8)
        expected, bounds = single.learn_many([y], horizon=2, interval=0.8)
        assert np.array_equal(made, expected, equal_nan=True)
        assert np.array_equal(around, bounds, equal_nan=True)
    assert fleet.forecast(5).tolist() == [single.forecast(5)]
    left = fleet["a"]
    assert np.array_equal(left._network.weights, single._network.weights)
    assert left._network.clock.tolist() == single._network.clock.tolist()


class Opened:
    """A forecaster's buffers, opened for parts of kernels that run as plain Python."""

    def __init__(self, model, weights=None):
        network, shape = model._network, model._shape
        settings, own, memory, scratch, clock = (np.array(b) for b in network.buffers)
        settings[:] = network.settings._replace(stride=ENDLESS_STRIDE)
        self.weights = own if weights is None else weights
        self.net = network_views(network.kind, settings, self.weights, memory, scratch, clock)
        series = (np.array(b) for b in (model._stats, model._errors, model._history))
        self.series = series_views(*series, clock, shape)
        self.past = replay_buffer_views(np.array(model._past), network.settings)
        self.work = work_views(np.array(model._work), shape)

    def learn(self, y):
        """The forecast, and the gradient of the tick's loss if it has one."""
        forecast, clock = np.empty(1), self.net.clock
        learn_tick(forecast, NO_BOUNDS, NONE, y, NONE, self.work, self.net, self.series, self.past)
        gradient = None
        if clock[CLOCK.labelled]:
            rules.gradient(self.net.rule, self.net, 1)
            gradient = self.net.scratch.grads.astype(np.float64)
        clock[CLOCK.labelled] = clock[CLOCK.unlearned] = 0
        return forecast[0], gradient

    def prefetch(self):
        if self.net.clock[CLOCK.values]:
            prefetch_forecasts(self.work, self.net, self.series, self.past)


def test_a_round_updates_the_weights_with_the_mean_gradient():
    """The same in Python, round by round: all streams learn, one update, all streams forecast."""
    model, values = small(season=None, drift=False), values_of()
    fleet, common = shared(model), Opened(model)
    streams = [Opened(model, common.weights) for _ in range(S)]
    for t, row in enumerate(values[:40]):
        keys = [s for s in range(S) if (t + s) % 4]
        learned = [streams[s].learn(row[s]) for s in keys]
        gradients = [gradient for _, gradient in learned if gradient is not None]
        if gradients:
            common.net.scratch.grads[:] = np.mean(gradients, axis=0)
            update(common.net)
        for s in keys:
            streams[s].prefetch()
        made = fleet.learn_many(keys, row[keys])[:, 0]
        expected = [forecast for forecast, _ in learned]
        assert np.allclose(made, expected, rtol=1e-5, atol=1e-5, equal_nan=True)
    weights = fleet[0]._network.weights
    moved = np.abs(weights - model._network.weights).max()
    assert moved > 1e-2
    assert np.abs(weights - common.weights).max() < 1e-3 * moved
    assert fleet[0]._network.clock[CLOCK.updates] == common.net.clock[CLOCK.updates] > 30


def test_results_do_not_depend_on_the_threads():
    """There are enough streams for several groups, each of which sums its gradients."""
    values = np.random.default_rng(0).normal(size=(30, 70)).cumsum(axis=0)
    one, two = (fleet_of(values, threads=threads) for threads in (1, 2))
    assert np.array_equal(one.forecast(3), two.forecast(3))


def test_repeated_keys_are_split_into_rounds():
    values = values_of()[:60]
    fleet, other = fleet_of(values), shared()
    other.learn_many(np.tile(np.arange(S), 60), values.ravel())
    assert np.array_equal(fleet.forecast(3), other.forecast(3))


def test_a_stream_without_values_does_not_affect_the_others():
    values = values_of()[:30]
    with_nothing = np.column_stack([values, [np.nan, np.inf, -np.inf] * 10])
    clean, other = fleet_of(values), fleet_of(with_nothing)
    assert np.array_equal(clean.forecast(3), other.forecast(3, range(S)))
    assert np.isnan(other.forecast(2, [S])).all()


def test_no_forecast_depends_on_the_future():
    values = values_of()
    altered = values.copy()
    altered[100:, 3] *= -7
    whole, other = shared(), shared()
    differs = []
    for row, changed in zip(values, altered, strict=True):
        made, again = (f.learn_many(range(S), y) for f, y in ((whole, row), (other, changed)))
        differs.append(not np.array_equal(made, again, equal_nan=True))
    assert not any(differs[:101])
    assert all(differs[102:])


def test_a_new_stream_benefits_from_the_others_at_once():
    """Noisy waves of any phase and level; learning the level takes most of a wave."""
    rng = np.random.default_rng(3)
    ticks, phases = np.arange(1500)[:, None], rng.uniform(0, 2 * np.pi, 13)
    waves = 100 * rng.normal(size=13) + np.sin(ticks / 4 + phases)
    waves += 0.05 * rng.normal(size=waves.shape)
    network = {"experts": ("last", "lstm"), "season": None, "horizon": 1}
    model = small(hidden_size=16, window=10, **network)
    fleet, single = fleet_of(waves[:, :12], model=model), copy.deepcopy(model)
    late = waves[:60, 12]
    in_fleet = np.array([fleet.learn_many(["new"], [y])[0, 0] for y in late])
    errors = [np.abs(made - late)[20:].mean() for made in (in_fleet, single.learn_many(late)[:, 0])]
    assert errors[0] < 0.75 * errors[1]


def test_timestamps_gaps_and_features():
    """Hourly ticks with a gap of two, and one irregular stream."""
    rng = np.random.default_rng(2)
    model, hour = small(season="auto"), 3_600_000_000_000
    ticks = np.delete(np.arange(500), [400, 401])
    odd = np.sort(rng.choice(3000, ticks.size, replace=False)) * hour // 7
    values = np.sin(ticks / 12 * np.pi)[:, None] + 0.1 * rng.normal(size=(ticks.size, 3))
    fleet = shared(model)
    for t, tick in enumerate(ticks * hour):
        features = {"warm": rng.normal(size=3)} if t > 50 else None
        fleet.learn_many([0, 1, 2], values[t], features, [tick, tick, odd[t]])
    counts = [fleet[key]._network.clock[CLOCK.values] for key in range(3)]
    assert counts == [500, 500, 498], "the gaps of regular streams are filled"
    assert fleet[0].seasons_ == (24, 168)
    for key in range(3):
        assert list(fleet[key]._columns.index) == ["warm", "time since the last tick"]
        assert np.array_equal(fleet[key]._network.weights, fleet.model._network.weights)
    assert np.abs(fleet.forecast(1, [0, 1]) - np.sin(500 / 12 * np.pi)).max() < 0.3


def test_a_feature_added_by_the_review_of_one_stream_is_added_to_all(monkeypatch):
    values = values_of()[10:60, :3]
    fleet, other = (shared(small(season="auto")) for _ in range(2))

    def add_feature(model, finder, time):
        if model is fleet._streams.models[1]:
            model._add_features(["found"])
        return iter(())

    for t, row in enumerate(values):
        if t == 20:
            monkeypatch.setattr(segments, "_missing_ticks", add_feature)
            fleet._streams._due[1] = 0
            other.learn_many([], [], {"found": []})
        made, expected = (f.learn_many(range(3), row, None, [t] * 3) for f in (fleet, other))
        assert np.array_equal(made, expected, equal_nan=True)
    assert [list(fleet[key]._columns.index) for key in range(3)] == [["found"]] * 3


def test_features_known_in_advance():
    model = small(season=None, known_features=("next",), drift=False)
    rng = np.random.default_rng(0)
    fleet, single = shared(model), copy.deepcopy(model)
    for _ in range(60):
        y, x = rng.normal(), rng.normal()
        made = fleet.learn_many(["a"], [y], {"next": [x]})
        assert np.array_equal(made, single.learn_many([y], {"next": [x]}), equal_nan=True)


def test_a_stream_is_taken_out_with_the_weights_and_put_back():
    fleet = fleet_of(values_of()[:100])
    single, other = fleet[3], fleet[4]
    assert single.forecast(3) == fleet.forecast(3, [3])[0].tolist()
    single.learn_one(1.0)
    assert not np.array_equal(single._network.weights, other._network.weights)
    before = fleet.forecast(3, range(S))
    del fleet[4]
    fleet[4] = other
    assert np.array_equal(fleet.forecast(3, range(S)), before)
    fleet.reset(0)
    assert np.isnan(fleet.forecast(1, [0])).all()


def test_a_fleet_pickles_with_its_weights_once():
    values = values_of()
    whole, fleet = fleet_of(values), fleet_of(values[:100])
    data = pickle.dumps(fleet)
    assert data.count(fleet.model._network.weights.tobytes()) == 1
    again = pickle.loads(data)
    for row in values[100:]:
        again.learn_many(range(S), row)
    assert np.array_equal(again.forecast(3), whole.forecast(3))
    assert np.array_equal(again[2]._network.weights, whole[2]._network.weights)


def test_an_empty_round_and_bad_input_change_nothing():
    fleet = fleet_of(values_of()[:20])
    before = pickle.dumps(fleet)
    assert fleet.learn_many([], []).shape == (0, 1)
    with pytest.raises(InputError):
        fleet.learn_many([1, 2], [1.0])
    assert pickle.dumps(fleet) == before


@pytest.mark.parametrize("parameters", [{"preset": "accurate"}, {"stride": 2}])
def test_models_with_replay_or_stride_are_refused(parameters):
    with pytest.raises(ParameterError, match="learns every tick once"):
        shared(small(**parameters))


def test_the_kind_of_weights_is_checked():
    with pytest.raises(ParameterError, match="private, shared"):
        ForecasterFleet(weights="none")
    assert ForecasterFleet(weights="shared").model.preset == "fast"


def test_continues_from_snapshots_of_changes(tmp_path):
    """Weights come from the newest file, each stream from the file of its last change."""
    rng, whole, resumed = np.random.default_rng(0), shared(), None
    with Snapshots(tmp_path) as snapshots:
        for n in range(40):
            keys = list(range(30)) if n % 8 == 0 else [3, 4, n]
            values = rng.normal(size=len(keys))
            for each in (whole, *([resumed] if resumed else [])):
                each.learn_many(keys, values)
            if n in (17, 20, 23):
                name = snapshots.save(whole).name
            if n == 23:
                assert name == "00000003.changes"
                resumed = snapshots.load().model
                assert same(whole, resumed)
                network = resumed.model._network
                for model in resumed._streams.models.values():
                    assert model._network.weights is network.weights
    assert same(whole, resumed)
    assert same(whole.forecast(3), resumed.forecast(3))
