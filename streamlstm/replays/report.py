"""What a replay tells at its end: of one stream, or of many."""

from collections import deque
from collections.abc import Hashable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ..fleets.fleet import ForecasterFleet
from ..forecaster import LSTMForecaster
from ..live.batch import Batch
from ..live.history import History
from .evaluate import FleetResult, FleetScore, Result, Score, fleet_result
from .plot import STRETCH, save_plot


class StreamReport:
    """Scores of one stream, and of its intervals that hold a share `interval` if that is given."""

    def __init__(self, title: str, model: LSTMForecaster, interval: float | None):
        self.title = title
        self.model = model
        self.interval = interval
        self._score = Score()
        self._newest = deque[tuple[Any, ...]](maxlen=STRETCH)

    def update(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None) -> None:
        """Take a batch with its one-step forecasts, (T,), and intervals, (T, 2)."""
        self._score.update(batch.values, forecasts, bounds)
        ends = () if bounds is None else tuple(bounds.T)
        columns = batch.labels, batch.values, forecasts, *ends
        self._newest.extend(zip(*(each[-STRETCH:] for each in columns), strict=True))

    @property
    def collected(self) -> tuple[Any, ...]:
        """What has come of all batches so far."""
        return self._score, self._newest

    def go_on(self, model: LSTMForecaster, collected: tuple[Any, ...]) -> None:
        """Go on with a model that has been loaded and what was collected then."""
        self.model = model
        self._score, self._newest = collected

    def figures(self, seconds: float) -> dict[str, Any]:
        """The result by name."""
        result = self._score.result()
        return _named(result, self.interval) | _speed(result, seconds)

    def tables(self, seconds: float) -> list[Table]:
        """The result to be read."""
        result = self._score.result()
        table = _pairs(self.title)
        table.add_row("ticks", f"{result.ticks:,}")
        table.add_row("  of these scored, after the first tenth", f"{result.scored:,}")
        table.add_row("seasons, ticks", ", ".join(map(str, self.model.seasons_)) or "none")
        if self.model.drift_events_:
            table.add_row("drift events", f"{len(self.model.drift_events_):,}")
        table.add_row("MAE", _shown(result.mae))
        table.add_row("RMSE", _shown(result.rmse))
        table.add_row("MASE, MAE over that of the last value", _shown(result.mase))
        if self.interval is not None:
            table.add_row(f"coverage of the {_percent(self.interval)}", _shown(result.coverage))
            table.add_row("mean width", _shown(result.interval_width))
        table.add_row("ticks per second", f"{result.ticks / seconds:,.0f}")
        return [table]

    def save_plot(self, path: Path) -> None:
        """Draw the last stretch and the running error."""
        save_plot(path, self.title, self._newest, self._score.curve(), self.interval)


class FleetReport:
    """Scores of many streams, all together and one by one, the worst first.

    worst: streams that the table shows; plotted: whether the worst may be drawn, for which the
    last stretch of each is kept.
    """

    def __init__(self, title: str, interval: float | None, worst: int, plotted: bool):
        self.title = title
        self.interval = interval
        self.worst = worst
        self.plotted = plotted
        self._score = FleetScore()
        self._labels = History(STRETCH, np.array("", object))
        self._newest = History(STRETCH, np.full(2 if interval is None else 4, np.nan))

    def update(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None) -> None:
        """Take a batch with its one-step forecasts, (T,), and intervals, (T, 2)."""
        keys = batch.keys or []
        self._score.update(keys, batch.values, forecasts, bounds)
        if self.plotted:
            ends = () if bounds is None else tuple(bounds.T)
            self._newest.push(keys, np.column_stack([batch.values, forecasts, *ends]))
            self._labels.push(keys, np.array(batch.labels, object))

    @property
    def collected(self) -> tuple[Any, ...]:
        """What has come of all batches so far."""
        return self._score, self._labels, self._newest

    def go_on(self, model: ForecasterFleet, collected: tuple[Any, ...]) -> None:
        """Go on with a fleet that has been loaded and what was collected then."""
        self._score, self._labels, self._newest = collected

    def figures(self, seconds: float) -> dict[str, Any]:
        """The result by name, `results` those of the streams."""
        total = fleet_result(self._results.values())
        each = [
            {"key": key, **_named(result, self.interval)} for key, result in self._results.items()
        ]
        return _named(total, self.interval) | _speed(total, seconds) | {"results": each}

    def tables(self, seconds: float) -> list[Table]:
        """The result to be read."""
        result = fleet_result(self._results.values())
        table = _pairs(self.title)
        table.add_row("streams", f"{result.streams:,}")
        table.add_row("ticks", f"{result.ticks:,}")
        table.add_row("  of these scored, after the first tenth", f"{result.scored:,}")
        table.add_row("median MASE", _shown(result.mase_median))
        table.add_row("geometric mean of MASE", _shown(result.mase_mean))
        table.add_row("share of streams with MASE above 1", _shown(result.above_last_value))
        if self.interval is not None:
            table.add_row(f"coverage of the {_percent(self.interval)}", _shown(result.coverage))
        table.add_row("ticks per second", f"{result.ticks / seconds:,.0f}")
        return [table, self._worst_table()] if self.worst else [table]

    def save_plot(self, path: Path) -> None:
        """Draw the last stretch and the running error of the worst stream."""
        key, result = next(iter(self._results.items()))
        numbers = self._newest.last(key)[-result.ticks :].T
        newest = list(zip(self._labels.last(key)[-result.ticks :], *numbers, strict=True))
        title = f"{self.title}, worst: {key}"
        save_plot(path, title, newest, self._score.curve(key), self.interval)

    @cached_property
    def _results(self) -> dict[Any, Result]:
        """Of the streams, by MASE, the largest first; last those that have none."""

        def ratio(item: tuple[Hashable, Result]) -> float:
            mase = item[1].mase
            return -1.0 if mase is None else mase

        return dict(sorted(self._score.results().items(), key=ratio, reverse=True))

    def _worst_table(self) -> Table:
        table = Table(title="worst streams", title_style="bold")
        table.add_column("stream", overflow="fold")
        names = ["ticks", "MAE", "MASE"]
        if self.interval is not None:
            names.append("coverage")
        for name in names:
            table.add_column(name, justify="right")
        for key, result in list(self._results.items())[: self.worst]:
            figures = [result.mae, result.mase, result.coverage][: len(names) - 1]
            table.add_row(key, f"{result.ticks:,}", *map(_shown, figures))
        return table


def _named(result: Result | FleetResult, interval: float | None) -> dict[str, Any]:
    left_out = ["scored"] if interval else ["scored", "coverage", "interval_width"]
    return {name: figure for name, figure in asdict(result).items() if name not in left_out}


def _speed(result: Result | FleetResult, seconds: float) -> dict[str, float]:
    return {"seconds": seconds, "ticks_per_second": result.ticks / seconds}


def _pairs(title: str) -> Table:
    """An empty table of names and figures."""
    table = Table(title=title, title_style="bold", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    return table


def _percent(interval: float) -> str:
    return f"{100 * interval:g}% interval"


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.6g}"
