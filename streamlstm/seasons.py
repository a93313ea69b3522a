"""Seasonal periods that the spacing of the first timestamps suggests: a day and a week."""

import numpy as np

SAMPLE = 64  # ticks to look at; a forecaster decides when it has seen that many
DAY_NS = 86_400_000_000_000
LONGEST = 20_000  # ticks; a season beyond it would take months to repeat once
CYCLES = (DAY_NS, 7 * DAY_NS)


def seasons_of(timestamps: np.ndarray) -> tuple[int, ...]:
    """Ticks in a day and in a week, as far as they make a season; one entry for each of CYCLES.

    timestamps: (N,) nanoseconds, ascending. 0 stands for no season: the cycle is shorter than two
    ticks, longer than LONGEST, or the spacing is too irregular to count in ticks. Regular gaps,
    such as the weekends of a market, count where the timestamps span the cycle.

    >>> hours = np.arange(64) * 3_600_000_000_000
    >>> seasons_of(hours)
    (24, 168)
    """
    spacing = np.diff(timestamps)
    usual = float(np.median(spacing)) if spacing.size else 0.0
    if usual <= 0 or np.mean(np.abs(spacing - usual) <= 0.1 * usual) < 0.6:
        return (0,) * len(CYCLES)
    span = float(timestamps[-1] - timestamps[0])
    periods = []
    for cycle in CYCLES:
        ticks = spacing.size * cycle / span if span >= 2 * cycle else cycle / usual
        period = round(ticks)
        periods.append(period if 2 <= period <= LONGEST else 0)
    return tuple(periods)
