"""What a replay says at its end, about one stream or many."""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import asdict
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from ..forecaster import LSTMForecaster
from ..live.batch import Batch
from ..live.history import History
from .plot import STRETCH, save_plot
from .scores import FleetResult, FleetScore, Result, Score, fleet_result


class Listing(NamedTuple):
    """Rows of text to be shown as a table."""

    title: str
    header: tuple[str, ...]  # empty for none
    rows: list[tuple[str, ...]]

    def rich(self) -> Table:
        """Return a table for a terminal."""
        table = Table(title=self.title, title_style="bold", show_header=bool(self.header))
        for column in range(len(self.header) or 2):
            name = self.header[column] if self.header else ""
            if column == 0:
                table.add_column(name, overflow="fold" if self.header else "ellipsis")
            else:
                table.add_column(name, justify="right")
        for row in self.rows:
            table.add_row(*row)
        return table

    def html(self) -> str:
        """Return a table for a notebook."""
        lines = [_html_row("th", self.header)] if self.header else []
        lines += [_html_row("td", row) for row in self.rows]
        return f"<table><caption>{escape(self.title)}</caption>{''.join(lines)}</table>"


def _html_row(tag: str, cells: Sequence[str]) -> str:
    sides = ["left"] + ["right"] * (len(cells) - 1)
    columns = [
        f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>'
        for cell, side in zip(cells, sides, strict=True)
    ]
    return f"<tr>{''.join(columns)}</tr>"


class StreamReport:
    """Scores of one stream, and of its intervals unless `interval` is None."""

    def __init__(self, title: str, key: str, model: LSTMForecaster, interval: float | None):
        self.title = title
        self.key = key
        self.model = model
        self.interval = interval
        self._score = Score()
        self._newest = deque[tuple[Any, ...]](maxlen=STRETCH)

    def update(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None) -> None:
        """Add a batch with its one-step forecasts (T,) and their intervals (T, 2)."""
        self._score.update(batch.values, forecasts, bounds)
        ends = () if bounds is None else tuple(bounds.T)
        columns = batch.labels, batch.values, forecasts, *ends
        self._newest.extend(zip(*(each[-STRETCH:] for each in columns), strict=True))

    @property
    def state(self) -> tuple[Any, ...]:
        """What a snapshot holds."""
        return self._score, self._newest

    def restore(self, state: tuple[Any, ...]) -> None:
        """Continue from what a snapshot holds."""
        self._score, self._newest = state

    def results(self) -> dict[Hashable, Result]:
        """Return the scores by the name of the stream."""
        return {self.key: self._score.result()}

    def figures(self, seconds: float) -> dict[str, Any]:
        """Return the figures by name."""
        result = self._score.result()
        return _figures(result, self.interval) | _speed(result, seconds)

    def listings(self, seconds: float) -> list[Listing]:
        """Return the figures as tables."""
        result = self._score.result()
        rows: list[tuple[str, ...]] = [
            ("ticks", f"{result.ticks:,}"),
            ("  of these scored, after the first tenth", f"{result.scored:,}"),
            ("seasons, ticks", ", ".join(map(str, self.model.seasons_)) or "none"),
        ]
        if self.model.drift_events_:
            rows.append(("drift events", f"{len(self.model.drift_events_):,}"))
        rows += [
            ("MAE", _shown(result.mae)),
            ("RMSE", _shown(result.rmse)),
            ("MASE, MAE over that of the last value", _shown(result.mase)),
        ]
        if self.interval is not None:
            rows.append((f"coverage of the {_percent(self.interval)}", _shown(result.coverage)))
            rows.append(("mean width", _shown(result.interval_width)))
        rows.append(("ticks per second", f"{result.ticks / seconds:,.0f}"))
        return [Listing(self.title, (), rows)]

    def save_plot(self, path: str | Path) -> None:
        """Plot the last ticks and the error over time."""
        save_plot(path, self.title, self._newest, self._score.curve(), self.interval)


class FleetReport:
    """Scores of many streams, together and one by one, the largest MASE first.

    max_listed: how many streams the table lists; keeps_plot: whether to keep the last ticks of each
    stream, so that one can be plotted.
    """

    def __init__(self, title: str, interval: float | None, max_listed: int, keeps_plot: bool):
        self.title = title
        self.interval = interval
        self.max_listed = max_listed
        self.keeps_plot = keeps_plot
        self._score = FleetScore()
        self._labels = History(STRETCH, np.array("", object))
        self._newest = History(STRETCH, np.full(2 if interval is None else 4, np.nan))

    def update(self, batch: Batch, forecasts: np.ndarray, bounds: np.ndarray | None) -> None:
        """Add a batch with its one-step forecasts (T,) and their intervals (T, 2)."""
        keys = batch.keys or []
        self._score.update(keys, batch.values, forecasts, bounds)
        if self.keeps_plot:
            ends = () if bounds is None else tuple(bounds.T)
            self._newest.push(keys, np.column_stack([batch.values, forecasts, *ends]))
            self._labels.push(keys, np.array(batch.labels, object))

    @property
    def state(self) -> tuple[Any, ...]:
        """What a snapshot holds."""
        return self._score, self._labels, self._newest

    def restore(self, state: tuple[Any, ...]) -> None:
        """Continue from what a snapshot holds."""
        self._score, self._labels, self._newest = state

    def results(self) -> dict[Hashable, Result]:
        """Return the scores by stream, the largest MASE first, streams without one last."""
        return dict(self._results)

    def figures(self, seconds: float) -> dict[str, Any]:
        """Return the figures by name; those of each stream are in the list `results`."""
        total = fleet_result(self._results.values())
        streams = [
            {"key": key, **_figures(result, self.interval)} for key, result in self._results.items()
        ]
        return _figures(total, self.interval) | _speed(total, seconds) | {"results": streams}

    def listings(self, seconds: float) -> list[Listing]:
        """Return the figures as tables."""
        result = fleet_result(self._results.values())
        rows: list[tuple[str, ...]] = [
            ("streams", f"{result.streams:,}"),
            ("ticks", f"{result.ticks:,}"),
            ("  of these scored, after the first tenth", f"{result.scored:,}"),
            ("median MASE", _shown(result.mase_median)),
            ("geometric mean of MASE", _shown(result.mase_mean)),
            ("share of streams with MASE above 1", _shown(result.above_last_value)),
        ]
        if self.interval is not None:
            rows.append((f"coverage of the {_percent(self.interval)}", _shown(result.coverage)))
        rows.append(("ticks per second", f"{result.ticks / seconds:,.0f}"))
        total = Listing(self.title, (), rows)
        return [total, self._worst()] if self.max_listed else [total]

    def save_plot(self, path: str | Path) -> None:
        """Plot the last ticks and the error over time of the stream with the largest MASE."""
        key, result = next(iter(self._results.items()))
        numbers = self._newest.last(key)[-result.ticks :].T
        newest = list(zip(self._labels.last(key)[-result.ticks :], *numbers, strict=True))
        title = f"{self.title}, worst: {key}"
        save_plot(path, title, newest, self._score.curve(key), self.interval)

    @cached_property
    def _results(self) -> dict[Hashable, Result]:
        def mase(item: tuple[Hashable, Result]) -> float:
            return -1.0 if item[1].mase is None else item[1].mase

        return dict(sorted(self._score.results().items(), key=mase, reverse=True))

    def _worst(self) -> Listing:
        header = ["stream", "ticks", "MAE", "MASE"]
        if self.interval is not None:
            header.append("coverage")
        rows: list[tuple[str, ...]] = []
        for key, result in [*self._results.items()][: self.max_listed]:
            figures = [result.mae, result.mase, result.coverage][: len(header) - 2]
            rows.append((str(key), f"{result.ticks:,}", *map(_shown, figures)))
        return Listing("worst streams", tuple(header), rows)


def _figures(result: Result | FleetResult, interval: float | None) -> dict[str, Any]:
    left_out = ["scored"] if interval else ["scored", "coverage", "interval_width"]
    return {name: figure for name, figure in asdict(result).items() if name not in left_out}


def _speed(result: Result | FleetResult, seconds: float) -> dict[str, float]:
    return {"seconds": seconds, "ticks_per_second": result.ticks / seconds}


def _percent(interval: float) -> str:
    return f"{100 * interval:g}% interval"


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.6g}"
