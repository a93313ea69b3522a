"""Entry points of `LSTMForecaster`: compiled functions of flat buffers."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from ..cells import CELLS
from ..jit import jit
from ..layout import network_views, replay_buffer_views
from ..rules import RULES
from .layout import series_views, shape_of, work_views
from .learn import learn_ticks
from .predict import fill_bounds, fill_path, prefetch_forecasts, set_known_features


class Entries(NamedTuple):
    """Entry points compiled for one cell and one learning rule."""

    prefetch_known: Callable[..., None]
    forecast: Callable[..., None]
    learn_many: Callable[..., None]


@cache
def entries(cell: str, learning: str) -> Entries:
    """The entry points for the cell and the learning rule of these names."""
    kind = CELLS[cell].CELL, RULES[learning].RULE

    @jit
    def prefetch_known(
        known, features, work, settings, weights, memory, scratch, clock, stats, errors, history,
        past,
    ):  # fmt: skip
        """`prefetch_forecasts` with features, (F,), some of them `known`, (F,), in advance."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        shape = shape_of(clock, features.size)
        series = series_views(stats, errors, history, clock, shape)
        set_known_features(series, known, features)
        prefetch_forecasts(
            work_views(work, shape), net, series, replay_buffer_views(past, net.settings)
        )

    @jit
    def forecast(
        path, bounds, places, future_features, work, settings, weights, memory, scratch, clock,
        stats, errors, history, past,
    ):  # fmt: skip
        """`fill_path` on flat buffers; `fill_bounds`, too, unless bounds are (0, 0)."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        shape = shape_of(clock, future_features.shape[1])
        series = series_views(stats, errors, history, clock, shape)
        workspace = work_views(work, shape)
        fill_path(path, workspace, net, series, future_features)
        if bounds.size > 0:
            fill_bounds(bounds, path, places, workspace, net, series)

    @jit
    def learn_many(
        forecasts, bounds, places, ys, features, known, work, settings, weights, memory, scratch,
        clock, stats, errors, history, past,
    ):  # fmt: skip
        """`learn_ticks` on flat buffers."""
        net = network_views(kind, settings, weights, memory, scratch, clock)
        shape = shape_of(clock, features.shape[1])
        series = series_views(stats, errors, history, clock, shape)
        workspace = work_views(work, shape)
        replay = replay_buffer_views(past, net.settings)
        learn_ticks(forecasts, bounds, places, ys, features, known, workspace, net, series, replay)

    return Entries(prefetch_known, forecast, learn_many)
