"""A picture of a replay: the last stretch of the stream, and the error as it went."""

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from .evaluate import Score

STRETCH = 240  # ticks shown in the upper panel
POINTS = 2000  # of the error curves, however long the stream
LEGEND = 0.12  # of a panel's height, above the curves
AVERAGE = 20  # the error is averaged over this fraction of the stream

VALUE, FORECAST, BAND, NAIVE = "#1f2937", "#e4572e", "#f9d5ca", "#9ca3af"


def running_mean(errors: np.ndarray, window: int) -> np.ndarray:
    """(T,) mean of the last `window` finite errors' worth of ticks; NaN where there are none."""
    known = np.isfinite(errors)
    total = np.cumsum(np.where(known, errors, 0.0))
    count = np.cumsum(known).astype(float)
    total[window:] = total[window:] - total[:-window]
    count[window:] = count[window:] - count[:-window]
    return np.divide(total, count, out=np.full(errors.size, np.nan), where=count > 0)


def save_plot(
    path: Path,
    title: str,
    newest: Sequence[tuple[Any, ...]],
    score: Score,
    interval: float | None = None,
) -> None:
    """Write a PNG, or a page with the same picture as scalable graphics.

    newest: (label, value, forecast) of the last ticks, and with a share `interval` the lower and
    upper end of that interval; score: the errors of all ticks.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 2])
    errors, naive_errors = score.errors, score.naive_errors
    labels, values, forecasts, *ends = zip(*newest, strict=True)
    ticks = errors.size
    x = np.arange(ticks - len(values), ticks)
    upper.plot(x, values, color=VALUE, linewidth=1.4, label="actual")
    upper.plot(x, forecasts, color=FORECAST, linewidth=1.1, label="forecast one tick ahead")
    if interval is not None:
        band = {"color": BAND, "linewidth": 0, "label": f"{100 * interval:g}% interval"}
        upper.fill_between(x, *ends, gid="interval", **band)  # behind the lines
    upper.set_title(title, loc="left", fontweight="bold")
    shown = np.linspace(0, len(values) - 1, min(len(values), 5)).astype(int)
    upper.set_xticks(x[shown], [labels[n].replace("T", " ").removesuffix("Z") for n in shown])

    window = max(ticks // AVERAGE, 1)
    at = np.unique(np.linspace(0, ticks - 1, min(ticks, POINTS)).astype(int))
    lower.plot(
        at, running_mean(naive_errors, window)[at], color=NAIVE, linewidth=3, label="last value"
    )
    lower.plot(at, running_mean(errors, window)[at], color=FORECAST, label="streamlstm")
    lower.set_title(f"mean absolute error of the last {window:,} ticks", loc="left", fontsize=10)
    lower.set_xlabel("tick")
    lower.set_ylim(bottom=0)
    for axes in (upper, lower):
        axes.legend(loc="upper left", frameon=False, ncols=3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.01)
        bottom, top = axes.get_ylim()
        axes.set_ylim(bottom, top + LEGEND * (top - bottom))

    if path.suffix.lower() == ".png":
        figure.savefig(path, dpi=130)
        return
    picture = io.StringIO()
    figure.savefig(picture, format="svg")
    svg = picture.getvalue()
    path.write_text(
        f'<!doctype html><meta charset="utf-8"><title>{escape(title)}</title>'
        "<style>body{margin:2rem}svg{width:100%;height:auto}</style>" + svg[svg.index("<svg") :],
        encoding="utf-8",
    )
