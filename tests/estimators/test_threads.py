"""Threads: kernels run without the GIL, and a shared model is safe."""

import pickle
import threading

import numpy as np
import pytest
from streams import random_walk, seasonal

from streamlstm import ForecasterFleet, LSTMForecaster, LSTMRegressor


def in_threads(*jobs):
    """Run the jobs in parallel and raise their exceptions."""
    failures = []

    def guarded(job):
        try:
            job()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=[job]) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_models_in_separate_threads_learn_as_they_do_alone():
    streams = [random_walk(3000, seed) for seed in range(4)]
    alone = [LSTMForecaster().learn_many(stream) for stream in streams]
    together = [None] * 4

    def job(n):
        together[n] = LSTMForecaster().learn_many(streams[n])

    in_threads(*[lambda n=n: job(n) for n in range(4)])
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(alone, together, strict=True))


def test_another_thread_runs_while_a_kernel_does():
    model = LSTMForecaster()
    model.learn_many(random_walk(100))
    counted, done = 0, threading.Event()

    def learn():
        model.learn_many(random_walk(60_000))
        done.set()

    thread = threading.Thread(target=learn)
    thread.start()
    while not done.is_set():
        counted += 1
    thread.join()
    assert counted > 10_000  # while a kernel held the GIL it would be a few


def test_readers_of_a_shared_forecaster_do_not_disturb_the_writer():
    values = seasonal(4000)
    alone, shared = LSTMForecaster(season=24), LSTMForecaster(season=24)
    for y in values:
        alone.learn_one(y)
    written = threading.Event()

    def write():
        for y in values:
            shared.learn_one(y)
        written.set()

    def read():
        while not written.is_set():
            assert np.isfinite(shared.forecast(5)).all()

    def save():
        while not written.is_set():
            assert np.isfinite(pickle.loads(pickle.dumps(shared)).forecast(2)).all()

    in_threads(write, read, read, save)
    assert shared.forecast(10) == alone.forecast(10)


def test_writers_of_a_shared_regressor_take_turns():
    model = LSTMRegressor(hidden_size=8)

    def write(name):
        for n in range(2000):
            model.learn_one({name: float(n % 3), f"{name}{n % 50}": 1.0}, n % 3)

    in_threads(*[lambda name=name: write(name) for name in "abc"])
    assert model._network.clock[0] == 6000
    assert np.isfinite(model.predict_one({"a": 1.0}))


@pytest.mark.parametrize("kind", [LSTMForecaster, LSTMRegressor, ForecasterFleet])
def test_a_model_is_shown_between_changes(kind):
    """It has one lock: whoever shows it waits for a thread that is adding features."""
    model, shown = kind(), []
    thread = threading.Thread(target=lambda: shown.append(repr(model)))
    with model._lock:
        thread.start()
        thread.join(0.1)
        assert shown == []
    thread.join(10)
    assert kind.__name__ in shown[0]
