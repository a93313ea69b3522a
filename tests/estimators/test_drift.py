"""Drift: changes of regime are detected and speed up learning; there are few false alarms."""

import itertools
import pickle

import numpy as np
import pytest
from streams import random_walk, seasonal

from streamlstm import LSTMForecaster
from streamlstm.kernels.forecaster.layout import DRIFT_INTERVAL
from streamlstm.kernels.layout import CLOCK
from streamlstm.model.segments import review

TURN = 2000


def autoregression(ticks, a, b, seed):
    """y(t) = a y(t-1) + b y(t-2) + noise."""
    noise = np.random.default_rng(seed).normal(size=ticks)
    values = np.zeros(ticks)
    for t in range(2, ticks):
        values[t] = a * values[t - 1] + b * values[t - 2] + noise[t]
    return values


def changing(kind, seed=0):
    """A stream whose process changes at TURN."""
    if kind == "swings":
        return np.concatenate(
            [autoregression(TURN, 1.6, -0.8, seed), autoregression(1000, -0.5, 0.3, seed + 100)]
        )
    if kind == "settles into swings":
        return np.concatenate(
            [autoregression(TURN, 0.5, 0.0, seed), autoregression(1000, 1.6, -0.8, seed + 100)]
        )
    if kind == "variance":
        return np.concatenate(
            [autoregression(TURN, 0.5, 0.0, seed), 10 * autoregression(1000, 0.5, 0.0, seed + 1)]
        )
    weekly = 50 + 25 * np.sign(np.sin(2 * np.pi * np.arange(1000) / 7))
    return np.concatenate([seasonal(TURN, seed), weekly + seasonal(1000, seed + 9) / 9])


def model_of(**arguments):
    chosen = {"preset": "fast", "hidden_size": 8, "season": None, "horizon": 6}
    return LSTMForecaster(**{**chosen, **arguments})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["swings", "settles into swings", "variance", "season"])
def test_a_change_of_regime_is_detected_soon(kind, seed):
    model = model_of(season=24 if kind == "season" else None)
    model.learn_many(changing(kind, seed))
    assert [event for event in model.drift_events_ if event <= TURN] == []
    assert TURN < model.drift_events_[0] <= TURN + 150


@pytest.mark.parametrize(
    ("kind", "of_error"), [("swings", 0.93), ("settles into swings", 0.96), ("season", 0.95)]
)
def test_recovers_sooner_than_without_drift_detection(kind, of_error):
    """Mean error of 1,000 ticks after the change, relative to no detection; seeds 0 to 2."""
    ratios = []
    for seed in range(3):
        values, season = changing(kind, seed), 24 if kind == "season" else None
        on, off = (
            np.abs(values - model_of(season=season, drift=drift).learn_many(values)[:, 0])
            for drift in (True, False)
        )
        assert np.array_equal(on[: TURN + 1], off[: TURN + 1], equal_nan=True)
        ratios.append(on[TURN:].mean() / off[TURN:].mean())
    assert np.mean(ratios) < of_error


def test_a_false_alarm_costs_little():
    values = seasonal(3000)
    calm, alarmed = model_of(season=24), model_of(season=24)
    calm.learn_many(values[:1500])
    alarmed.learn_many(values[:1500])
    alarmed._series.intervals.recent[:] = 9.0  # errors that did not happen
    for _ in range(3):  # the detector tests after every 32 errors
        alarmed._network.clock[CLOCK.values] = 1504  # a multiple of 32, so that the watch looks
        review(alarmed, None)
    alarmed._network.clock[CLOCK.values] = 1500
    assert alarmed.drift_events_ == [1504]
    errors = [
        np.abs(values[1500:] - model.learn_many(values[1500:])[:, 0]).mean()
        for model in (calm, alarmed)
    ]
    assert errors[1] < 1.02 * errors[0]


@pytest.mark.parametrize("kind", ["walk", "season", "noise", "heavy tails"])
def test_stationary_streams_raise_almost_no_alarm(kind):
    alarms = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        values = {
            "walk": lambda seed=seed: random_walk(4000, seed),
            "season": lambda seed=seed: seasonal(4000, seed),
            "noise": lambda rng=rng: rng.normal(size=4000),
            "heavy tails": lambda rng=rng: rng.standard_t(3, size=4000),
        }[kind]()
        model = model_of(season=24 if kind == "season" else None, horizon=2)
        model.learn_many(values)
        alarms += len(model.drift_events_)
    assert alarms <= 1


@pytest.mark.parametrize("preset", ["fast", "accurate"])
def test_events_and_forecasts_do_not_depend_on_the_chunks(preset):
    values = changing("swings")[TURN - 1200 : TURN + 500]
    values[[0, 31, 32, 33, 1400]] = np.nan
    models = [model_of(preset=preset, hidden_size=4, window=4, horizon=3) for _ in range(3)]
    forecasts = [models[0].learn_many(values, horizon=4)]
    cuts = [0, 1, 2, 33, 64, 65, 500, 531, 1370, values.size]
    parts = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    forecasts.append(np.vstack([models[1].learn_many(values[p], horizon=4) for p in parts]))
    loop = []
    for y in values:
        loop.append(models[2].forecast(4))
        models[2].learn_one(y)
    forecasts.append(np.array(loop))
    events = models[0].drift_events_
    assert events
    assert all(event % DRIFT_INTERVAL == 0 for event in events)
    for model, path in zip(models[1:], forecasts[1:], strict=True):
        assert model.drift_events_ == events
        assert np.array_equal(path, forecasts[0], equal_nan=True)


def test_a_pickled_model_detects_drift_like_the_original():
    values = changing("swings")
    model = model_of()
    model.learn_many(values[: TURN + 7])
    copy = pickle.loads(pickle.dumps(model))
    rest = [one.learn_many(values[TURN + 7 :]) for one in (model, copy)]
    assert np.array_equal(*rest)
    assert model.drift_events_ == copy.drift_events_ != []


def test_an_alert_ends_after_200_ticks():
    values = changing("swings")
    model = model_of()
    model.learn_many(values[:TURN])
    assert model._network.clock[CLOCK.alert] == 0
    model.learn_many(values[TURN : TURN + 120])
    assert 0 < model._network.clock[CLOCK.alert] <= 200
    event = model.drift_events_[-1]
    model.learn_many(values[TURN + 120 : event + 200])
    assert model._network.clock[CLOCK.alert] == 0


def test_drift_false_reports_no_events():
    model = model_of(drift=False)
    model.learn_many(changing("swings"))
    assert model.drift_events_ == []
