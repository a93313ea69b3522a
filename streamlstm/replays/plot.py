"""The plot of a replay: the last ticks with their forecasts, and the error over time."""

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ParameterError
from .scores import Curve

STRETCH = 240  # ticks shown in the upper panel
POINTS = 2000  # of the error curves, at most
LEGEND = 0.12  # share of a panel's height that is left free above the curves
AVERAGES = 20  # the error is averaged over 1/20 of the stream
FORMATS = (".png", ".html")

VALUE, FORECAST, BAND, NAIVE = "#1f2937", "#e4572e", "#f9d5ca", "#9ca3af"


def check_format(path: Path) -> None:
    """Raise a ParameterError for a file name that does not end in one of `FORMATS`."""
    if path.suffix.lower() not in FORMATS:
        raise ParameterError(f"a plot's name must end in {' or '.join(FORMATS)}, got {path}")


def running_mean(curve: Curve, sums: np.ndarray, window: int) -> np.ndarray:
    """(N - 1,) mean error of the last `window` ticks before each place but the first.

    sums: (N,) running sums of the errors, as in the curve. The mean is NaN if no tick of the window
    is scored. A window that starts within a block counts a part of the block.
    """
    before = np.maximum(curve.ticks[1:] - window, 0)
    total = sums[1:] - np.interp(before, curve.ticks, sums)
    count = curve.scored[1:] - np.interp(before, curve.ticks, curve.scored)
    return np.divide(total, count, out=np.full(count.size, np.nan), where=count > 0)


def save_plot(
    path: str | Path,
    title: str,
    newest: Sequence[tuple[Any, ...]],
    curve: Curve,
    interval: float | None = None,
) -> None:
    """Write the plot as a PNG, or as a web page if the name ends in .html.

    newest: (label, value, forecast) of the last ticks, followed by the lower and upper end of the
    interval if `interval` is not None; curve: the errors of all ticks.
    """
    path = Path(path)
    check_format(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 2])
    labels, values, forecasts, *ends = zip(*newest, strict=True)
    ticks = int(curve.ticks[-1])
    x = np.arange(ticks - len(values), ticks)
    upper.plot(x, values, color=VALUE, linewidth=1.4, label="actual")
    upper.plot(x, forecasts, color=FORECAST, linewidth=1.1, label="forecast one tick ahead")
    if interval is not None:
        band = {"color": BAND, "linewidth": 0, "label": f"{100 * interval:g}% interval"}
        upper.fill_between(x, *ends, gid="interval", **band)  # behind the lines
    upper.set_title(title, loc="left", fontweight="bold")
    shown = np.linspace(0, len(values) - 1, min(len(values), 5)).astype(int)
    upper.set_xticks(x[shown], [labels[n].replace("T", " ").removesuffix("Z") for n in shown])

    window = max(ticks // AVERAGES, 1)
    wanted = np.linspace(1, ticks, min(ticks, POINTS)).astype(int)
    at = np.unique(np.searchsorted(curve.ticks[1:], wanted))
    for sums, color, width, label in [
        (curve.naive_errors, NAIVE, 3.0, "last value"),
        (curve.errors, FORECAST, 1.5, "streamlstm"),
    ]:
        means = running_mean(curve, sums, window)
        lower.plot(curve.ticks[1:][at] - 1, means[at], color=color, linewidth=width, label=label)
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
