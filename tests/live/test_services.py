"""The services of examples/, as they are run; and what they rest on: threads and forks."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import asyncio_service
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from servers import free_port, wait_until

from streamlstm import LSTMForecaster
from streamlstm.snapshots import Snapshots

EXAMPLES = Path(asyncio_service.__file__).parent


def test_asyncio_service(capsys, tmp_path):
    lags = asyncio.run(asyncio_service.serve(300, tmp_path, pause=0.002))
    rows = capsys.readouterr().out.splitlines()
    assert [int(row.split()[0]) for row in rows] == [*range(300)]
    assert {row.split()[1] for row in rows} == {"north", "south", "west"}
    assert len(lags) > 20
    assert lags[len(lags) // 2] < 0.05
    asyncio.run(asyncio_service.serve(30, tmp_path, pause=0.002))
    first = int(capsys.readouterr().out.split()[0])
    assert 300 <= first < 600  # behind what the first has learned


def test_asyncio_service_tells_prometheus(tmp_path):
    def page():
        try:
            return httpx.get(f"http://127.0.0.1:{port}/metrics").text
        except httpx.TransportError:
            return ""

    async def ask():
        serving = asyncio.create_task(asyncio_service.serve(2000, None, 0.002, port))
        while not re.search("forecasts_total [1-9]", text := await asyncio.to_thread(page)):
            assert not serving.done()
        await serving
        return text

    port = free_port()
    assert "# TYPE streamlstm_ticks_total counter" in asyncio.run(ask())
    assert page() == ""


def test_asyncio_service_as_a_command():
    command = [sys.executable, EXAMPLES / "asyncio_service.py", "--ticks", "30"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert len(printed.stdout.splitlines()) == 31
    assert "the loop was late by" in printed.stdout


@contextmanager
def service(state):
    """The FastAPI example in a process of its own; ended by SIGTERM."""
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "uvicorn", "fastapi_service:app", "--app-dir", EXAMPLES,
            "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning",
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "STATE": str(state)},
    )  # fmt: skip

    def answers():
        assert process.poll() is None, "the service has ended"
        try:
            return client.get("/metrics").is_success
        except httpx.TransportError:
            return False

    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_until(answers, 60)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)


def counters(client):
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def post(client, key, values):
    return client.post(f"/streams/{key}/ticks", json=[{"value": value} for value in values])


def test_fastapi_service_counts_each_tick_once_from_many_clients(tmp_path):
    def work(n):
        for k in range(25):
            answers.append(post(client, f"own{n}", [k % 5, k % 3]).json())
            answers.append(post(client, "common", [n]).json())

    def model():
        return LSTMForecaster(hidden_size=8, preset="fast", season=None)

    answers = []
    with service(tmp_path) as client:
        threads = [threading.Thread(target=work, args=[n]) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(answer["learned"] for answer in answers) == 600
        found = counters(client)
        assert found["streamlstm_ticks_total"] == 600
        assert found["streamlstm_streams"] == 9
        alone = model()
        for k in range(25):
            alone.learn_many([k % 5, k % 3])
        made = client.get("/streams/own3/forecast", params={"horizon": 3, "interval": 0.2}).json()
        assert made["forecast"] == alone.forecast(3)
        ends = [list(pair) for pair in zip(made["lower"], made["upper"], strict=True)]
        assert ends == [list(pair) for pair in alone.forecast_interval(3, 0.2)]
    with Snapshots(tmp_path) as snapshots:
        fleet = snapshots.load().model
    assert fleet["common"]._network.clock[0] == 200
    with service(tmp_path) as client:
        assert counters(client)["streamlstm_ticks_total"] == 600
        post(client, "own3", [1])
        alone.learn_one(1)
        assert client.get("/streams/own3/forecast").json()["forecast"] == alone.forecast(1)


def test_fastapi_service_gives_a_forecast_and_its_interval_of_one_moment(tmp_path):
    def learn():
        for values in given:
            post(client, "a", values)

    given = [[k % 5, k % 3] for k in range(300)]
    alone, moments = LSTMForecaster(hidden_size=8, preset="fast", season=None), []
    for values in given:
        alone.learn_many(values)
        ends = alone.forecast_interval(1, 0.2)[0]
        moments.append([*alone.forecast(1), *ends])
    made = []
    with service(tmp_path) as client:
        post(client, "a", given.pop(0))
        learning = threading.Thread(target=learn)
        learning.start()
        while learning.is_alive():
            found = client.get("/streams/a/forecast", params={"interval": 0.2}).json()
            made.append(found["forecast"] + found["lower"] + found["upper"])
        learning.join()
    assert len(made) > 20
    assert all(each in moments for each in made)


def test_fastapi_service_refuses_bad_input_and_stays_as_it_is(tmp_path):
    bad = [
        '[{"value": "high"}]',
        '[{"value": 1}, {"value": NaN}]',
        '[{"value": 1}, {"val": 1}]',
        '[{"value": 1, "features": {"wind": "strong"}}]',
        "[]",
        "{",
        "[" + ",".join(['{"value": 1}'] * 10_001) + "]",
    ]
    with service(tmp_path) as client:
        post(client, "a", range(50))
        before = client.get("/streams/a/forecast", params={"horizon": 5}).json()
        for body in bad:
            headers = {"content-type": "application/json"}
            for key in "ab":
                answer = client.post(f"/streams/{key}/ticks", content=body, headers=headers)
                assert answer.status_code == 422, body
                assert answer.json()["detail"]
        many = [{"value": 1, "features": {str(n): n for n in range(21)}}]
        assert client.post("/streams/a/ticks", json=many).status_code == 422
        for query in ("horizon=0", "horizon=x", "horizon=1001", "interval=0.995", "interval=-0.1"):
            assert client.get(f"/streams/a/forecast?{query}").status_code == 422
        assert client.get("/streams/b/forecast").status_code == 404
        assert client.get("/streams/a/forecast", params={"horizon": 5}).json() == before
        assert counters(client)["streamlstm_ticks_total"] == 50
        good = [{"value": None}, {"value": 2, "features": {"wind": 1}}]
        assert client.post("/streams/a/ticks", json=good).json() == {"learned": 2}
        client.post("/streams/new/ticks", json=good[:1])
        unknown = client.get("/streams/new/forecast", params={"interval": 0.5}).json()
        assert unknown == {"forecast": [None], "lower": [None], "upper": [None]}


FORK = """
import os, sys, threading
import numpy as np
from streamlstm import LiveRun, LSTMForecaster
from streamlstm.live.iterable import IterableSource

values = np.sin(np.arange(400.0))

def learned(model, part):
    model.learn_many(part)
    return model.forecast(3)

def endless():
    while True:
        yield 1.0

def live():
    run = LiveRun(LSTMForecaster(hidden_size=4, preset="fast", season=None),
                  IterableSource(endless()))
    thread = threading.Thread(target=run.run)
    thread.start()
    while run.metrics.ticks < 500:
        assert thread.is_alive()
    run.stop()
    thread.join(20)
    return not thread.is_alive()

model = LSTMForecaster(hidden_size=4, window=5, season=None)
busy = threading.Thread(target=learned, args=(LSTMForecaster(), np.sin(np.arange(20000.0))))
learned(model, values[:200])
assert live()
busy.start()
child = os.fork()
made = learned(model, values[200:])
if child == 0:
    whole = LSTMForecaster(hidden_size=4, window=5, season=None)
    learned(whole, values[:200])
    os._exit(0 if made == learned(whole, values[200:]) and live() else 3)
status = os.waitpid(child, 0)[1]
busy.join()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_models_and_runs_go_on_in_both_processes_after_a_fork(layer):
    """A model, and live runs in threads, while another model learns in a thread."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", FORK],
        env=environment | {"NUMBA_THREADING_LAYER": layer},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
