"""Forecasts over HTTP: a FastAPI service with a model for each key.

Install it with `pip install fastapi uvicorn 'streamlstm[prometheus]'` and run it with
`STATE=state uvicorn fastapi_service:app --app-dir examples`. Then

    curl -X POST localhost:8000/streams/pump1/ticks -H 'content-type: application/json' \
         -d '[{"value": 20.5}, {"value": 21.0, "features": {"pressure": 3.1}}]'
    curl 'localhost:8000/streams/pump1/forecast?horizon=3&interval=0.9'
    curl localhost:8000/metrics

FastAPI runs these endpoints in many threads at once; the fleet lets them take turns. The service
makes a snapshot when it shuts down and continues from it when it starts again, so a crash loses
the ticks since the last start. Run one worker: the models live in its memory.
"""

import contextlib
import math
import os
import threading
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    generate_latest,
)
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.errors import InputError
from streamlstm.snapshots.directory import Snapshots

MODEL = LSTMForecaster(hidden_size=8, preset="fast", season=None)
STREAMS, FEATURES = 1000, 20  # at most, so that no client can fill the memory


class Tick(BaseModel):
    """A value, null if it is missing, and the features that came with it."""

    model_config = ConfigDict(extra="forbid")
    value: FiniteFloat | None
    features: dict[str, FiniteFloat] = {}


def make_app(state: str | None = None) -> FastAPI:
    """Make the service, with snapshots in the directory `state` unless that is None."""
    registry = CollectorRegistry()
    learned = Counter("streamlstm_ticks", "Ticks learned.", registry=registry)
    streams = Gauge("streamlstm_streams", "Streams that have a model.", registry=registry)
    names_lock = threading.Lock()
    known_names: set[str] = set()  # of features

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI):
        fleet = app.state.fleet = ForecasterFleet(MODEL)
        streams.set_function(lambda: len(fleet))
        if state is None:
            yield
            return
        with Snapshots(state) as snapshots:
            if (found := snapshots.load()) is not None:
                snapshots.restore(fleet, found)
                learned.inc(found.position["ticks"])
                known_names.update(found.position["features"])
            yield
            ticks = int(registry.get_sample_value("streamlstm_ticks_total") or 0)
            snapshots.save(fleet, {"ticks": ticks, "features": sorted(known_names)})

    app = FastAPI(title="Forecasts", lifespan=lifespan)

    @app.exception_handler(RequestValidationError)
    def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
        """Say what is wrong, but leave out the input: it may hold a NaN, which JSON cannot."""
        shown = [{"loc": each["loc"], "msg": each["msg"]} for each in error.errors()]
        return JSONResponse({"detail": shown}, 422)

    @app.post("/streams/{key}/ticks")
    def learn(key: str, ticks: Annotated[list[Tick], Field(min_length=1, max_length=10_000)]):
        """Learn ticks: all of them or, if one is bad, none."""
        names = {name for tick in ticks for name in tick.features}
        fleet = app.state.fleet
        if key not in fleet and len(fleet) >= STREAMS:
            raise HTTPException(422, f"more than {STREAMS} streams")
        with names_lock:
            if len(known_names | names) > FEATURES:
                raise HTTPException(422, f"more than {FEATURES} features")
            known_names.update(names)
        features = {name: [tick.features.get(name, math.nan) for tick in ticks] for name in names}
        values = [math.nan if tick.value is None else tick.value for tick in ticks]
        fleet.learn_many([key] * len(ticks), values, features or None)
        learned.inc(len(ticks))
        return {"learned": len(ticks)}

    @app.get("/streams/{key}/forecast")
    def forecast(
        key: str,
        horizon: Annotated[int, Query(ge=1, le=1000)] = 1,
        interval: Annotated[float | None, Query(ge=0, le=0.99)] = None,
    ):
        """Forecast the next values; with `interval`, also give intervals that hold this share."""
        try:
            model = app.state.fleet[key]  # a copy, so that all forecasts are of one moment
        except InputError as error:
            raise HTTPException(404, str(error)) from error
        made = {"forecast": model.forecast(horizon)}
        if interval is not None:
            lower, upper = zip(*model.forecast_interval(horizon, interval), strict=True)
            made |= {"lower": lower, "upper": upper}
        return {name: [finite_or_none(each) for each in made[name]] for name in made}

    @app.get("/metrics")
    def metrics() -> Response:
        """Give the number of streams and of ticks learned to Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


def finite_or_none(number: float) -> float | None:
    """Replace NaN, the forecast of a stream without values, by None, which JSON can hold."""
    return number if math.isfinite(number) else None


app = make_app(os.environ.get("STATE"))
