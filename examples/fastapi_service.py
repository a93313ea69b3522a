"""Forecasts over HTTP: a FastAPI service with a model for each key.

Run with `STATE=state uvicorn fastapi_service:app --app-dir examples`, after
`pip install fastapi uvicorn`; then

    curl -X POST localhost:8000/streams/pump1/ticks -H 'content-type: application/json' \
         -d '[{"value": 20.5}, {"value": 21.0, "features": {"pressure": 3.1}}]'
    curl 'localhost:8000/streams/pump1/forecast?horizon=3&interval=0.9'
    curl localhost:8000/metrics

FastAPI runs these endpoints in threads, many at once; the fleet lets them take turns. The service
makes a snapshot when it is told to end, and starts from it: a crash loses what has come since its
start. Run one worker.
"""

import contextlib
import math
import os
import threading
from collections import Counter
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from streamlstm import ForecasterFleet, LSTMForecaster
from streamlstm.errors import InputError
from streamlstm.snapshots.directory import Snapshots

MODEL = LSTMForecaster(hidden_size=8, preset="fast", season=None)
STREAMS, FEATURES = 1000, 20  # at most, so that no client fills the memory


class Tick(BaseModel):
    """A value, null if it is missing, with features that came with it."""

    model_config = ConfigDict(extra="forbid")
    value: FiniteFloat | None
    features: dict[str, FiniteFloat] = {}


def make_app(state: str | None = None) -> FastAPI:
    """The service, with snapshots in a directory, or none."""
    counts: Counter[str] = Counter()
    counting = threading.Lock()
    known: set[str] = set()  # features

    @contextlib.asynccontextmanager
    async def life(app: FastAPI):
        app.state.fleet = ForecasterFleet(MODEL)
        if state is None:
            yield
            return
        with Snapshots(state) as snapshots:
            if (found := snapshots.load()) is not None:
                app.state.fleet = found.model
                counts.update(found.position["counts"])
                known.update(found.position["features"])
            yield
            position = {"counts": dict(counts), "features": sorted(known)}
            snapshots.save(app.state.fleet, position)

    app = FastAPI(title="Forecasts", lifespan=life)

    @app.exception_handler(RequestValidationError)
    def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
        """Say what is wrong, without the input: JSON has no notation for the NaN in it."""
        shown = [{"loc": each["loc"], "msg": each["msg"]} for each in error.errors()]
        return JSONResponse({"detail": shown}, 422)

    @app.post("/streams/{key}/ticks")
    def learn(key: str, ticks: Annotated[list[Tick], Field(min_length=1, max_length=10_000)]):
        """Learn ticks, all of them or, if one is bad, none."""
        names = {name for tick in ticks for name in tick.features}
        fleet = app.state.fleet
        if key not in fleet and len(fleet) >= STREAMS:
            raise HTTPException(422, f"more than {STREAMS} streams")
        with counting:
            if len(known | names) > FEATURES:
                raise HTTPException(422, f"more than {FEATURES} features")
            known.update(names)
        features = {name: [tick.features.get(name, math.nan) for tick in ticks] for name in names}
        values = [math.nan if tick.value is None else tick.value for tick in ticks]
        fleet.learn_many([key] * len(ticks), values, features or None)
        with counting:
            counts["ticks"] += len(ticks)
        return {"learned": len(ticks)}

    @app.get("/streams/{key}/forecast")
    def forecast(
        key: str,
        horizon: Annotated[int, Query(ge=1, le=1000)] = 1,
        interval: Annotated[float | None, Query(ge=0, le=0.99)] = None,
    ):
        """The next values; with `interval`, the ends of intervals that hold this share of them."""
        try:
            model = app.state.fleet[key]  # a copy: both are of one moment
        except InputError as error:
            raise HTTPException(404, str(error)) from error
        found = {"forecast": model.forecast(horizon)}
        if interval is not None:
            lower, upper = zip(*model.forecast_interval(horizon, interval), strict=True)
            found |= {"lower": lower, "upper": upper}
        return found

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics():
        """Streams, and ticks learned, in Prometheus' text format."""
        return (
            f"# TYPE streamlstm_streams gauge\nstreamlstm_streams {len(app.state.fleet)}\n"
            f"# TYPE streamlstm_ticks_total counter\nstreamlstm_ticks_total {counts['ticks']}\n"
        )

    return app


app = make_app(os.environ.get("STATE"))
