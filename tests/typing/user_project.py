"""What a typed program that uses streamlstm looks like: type checkers find nothing in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, assert_type

import numpy as np
import pandas as pd

from streamlstm import (
    ForecasterFleet,
    LiveRun,
    LSTMClassifier,
    LSTMForecaster,
    LSTMMultiTargetRegressor,
    LSTMRegressor,
    evaluate,
    load,
    replay,
    save,
)
from streamlstm.errors import InputError, StreamLSTMError
from streamlstm.live import Address, Batch, EndOfStream, Fields, Sink, Source
from streamlstm.live.iterable import IterableSource
from streamlstm.snapshots import Snapshots


def forecaster() -> LSTMForecaster:
    model = LSTMForecaster(season=[24, np.int64(168)], hidden_size=8, known_features=["holiday"])
    model.learn_one(1.0, {"holiday": 0.0})
    assert_type(model.forecast(2), list[float])
    assert_type(model.forecast_interval(1, interval=0.8), list[tuple[float, float]])
    model.forecast(1, xs=[{"holiday": 1.0}])
    model.forecast(1, xs=pd.DataFrame({"holiday": [1.0]}))
    learned = model.learn_many(np.ones(5), {"holiday": np.zeros(5)}, horizon=3)
    print(learned.shape, model.seasons_, model.drift_events_, model.experts_["last"]["weight"])
    forecasts, bounds = model.learn_many([1.0, 2.0], interval=0.9)
    print(forecasts[-1], bounds[-1])
    return model


def fleet(model: LSTMForecaster) -> None:
    many = ForecasterFleet(model, weights="shared")
    many.learn_many(["a", "b"], [1.0, 2.0])
    for key in many:
        print(key, many.forecast(3, key))
    print(many.forecast(3), many.forecast_interval(3, interval=0.9, keys=["a"]), len(many))


def other_estimators() -> None:
    regressor = LSTMRegressor(hidden_size=8)
    regressor.learn_one({"x": 1.0}, 2.0)
    assert_type(regressor.predict_one({"x": 1.0}), float)
    several = LSTMMultiTargetRegressor(hidden_size=8)
    several.learn_one({"x": 1.0}, {"y": 2.0, "z": 3.0})
    print(several.predict_one({"x": 1.0})["y"])
    classifier = LSTMClassifier(hidden_size=8)
    classifier.learn_one({"x": 1.0}, "red")
    print(classifier.predict_one({"x": 1.0}), classifier.predict_proba_one({"x": 1.0}))


def snapshots(model: LSTMForecaster, folder: Path) -> LSTMForecaster:
    save(model, folder / "model.snapshot", position={"offset": 3})
    loaded = load(folder / "model.snapshot", LSTMForecaster)
    assert_type(loaded.model, LSTMForecaster)
    print(load(str(folder / "model.snapshot")).position)
    with Snapshots(folder / "state", keep=2) as kept:
        kept.save(model, 7)
        found = kept.load()
        if found is not None:
            print(found.position)
    return loaded.model


def scores(file: Path) -> None:
    report = replay(file, target="flow", time="t", interval=0.9, horizon=2)
    print(report, report.figures["mase"])
    for name, result in report.results.items():
        print(name, result.mase, result.coverage)
    for step in evaluate(LSTMForecaster(season=4), [1.0, 2.0] * 50, horizon=2):
        print(step.mae, step.mase)


def readings() -> Iterator[dict[str, Any]]:
    yield {"pump": "north", "flow": 1.0}


class Printed:
    """A sink."""

    @classmethod
    def from_address(cls, address: Address) -> Self:
        return cls()

    def open(self) -> None: ...

    def write(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None) -> None:
        print(batch.ids, forecasts)

    def close(self) -> None: ...


class Counted:
    """A source."""

    def __init__(self, fields: Fields):
        self.fields = fields
        self.position = 0

    @classmethod
    def from_address(cls, address: Address, fields: Fields) -> Self:
        return cls(fields)

    def open(self, position: Any) -> Any:
        self.position = position or 0
        return self.position

    def read(self, ticks: int, seconds: float) -> Batch | None:
        if self.position == 10:
            raise EndOfStream
        self.position += 1
        name = [str(self.position)]
        return Batch(np.ones(1), {}, None, name, ids=name, position=self.position)

    def acknowledge(self, position: Any) -> None: ...

    def close(self) -> None: ...


def live(folder: Path) -> int:
    source: Source = Counted(Fields("flow"))
    sink: Sink = Printed()
    LiveRun(LSTMForecaster(hidden_size=8), source, sink, folder / "a", interval=0.9).run(limit=10)
    run = LiveRun(
        ForecasterFleet(LSTMForecaster(hidden_size=8, preset="fast")),
        IterableSource(readings(), Fields("flow", key="pump")),
        f"sqlite:///{folder}/out.db",
        state=folder / "b",
        horizon=3,
    )
    run.run()
    assert_type(run.metrics.ticks, int)
    return run.metrics.ticks


def main(folder: Path) -> None:
    try:
        model = snapshots(forecaster(), folder)
        model.learn_one(float("nan"))
    except InputError as error:
        print(error)
    except StreamLSTMError:
        raise
    fleet(LSTMForecaster(hidden_size=8, preset="fast"))
    other_estimators()
    scores(folder / "readings.csv")
    live(folder)
