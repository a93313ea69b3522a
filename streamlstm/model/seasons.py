"""Seasons of a stream: from its timestamps, as they come, and from its values where those fail."""

import sys

import numpy as np

# Ticks after which to look, again and again, because longer cycles take longer to show.
REVIEWS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
REVIEWED = 4096  # newest ticks that a review looks at
SLOTS = 2  # seasons at once
DAY_NS = 86_400_000_000_000
CYCLES = (DAY_NS, 7 * DAY_NS, 365 * DAY_NS)
LONGEST = 20_000  # ticks; a season beyond it would take months to repeat once
CYCLES_SEEN = 3  # of a season found in values
LEAST_CORRELATION = 0.3
NONE = np.empty(0, np.int64)
# A second season is given up if, tried over so many of its cycles, it has made the error of least
# squares this many times as large.
TRIED, WORTH = 5, 1.0


def seasons_of(timestamps: np.ndarray) -> tuple[int, ...]:
    """Ticks in a day, a week and a year, the first SLOTS of those that make a season.

    timestamps: (N,) nanoseconds, ascending. A cycle that the timestamps span has as many ticks as
    most often lie between two times one cycle apart: so a market's week counts the hours that it is
    open. Where ticks come around the clock, ones that were lost count as well. A longer cycle is
    taken to go on at the rate so far. 0 stands for no season: the cycle is shorter than two ticks,
    longer than LONGEST, or the spacing is too irregular.

    >>> hours = np.arange(64) * 3_600_000_000_000
    >>> seasons_of(hours)
    (24, 168)
    """
    usual, periods = spacing_of(timestamps), []
    always = _around_the_clock(timestamps, usual)
    span = float(timestamps[-1] - timestamps[0]) if timestamps.size else 0.0
    rate = 1 / usual if usual else 0.0
    if span >= 2 * CYCLES[1] and not always:
        rate = (timestamps.size - 1) / span
    for cycle in CYCLES:
        period = 0
        if usual > 0:
            counted = None if always else _ticks_apart(timestamps, cycle, usual)
            period = round(cycle * rate) if counted is None else counted
        if 2 <= period <= LONGEST:
            periods.append(period)
    return (*periods, *[0] * SLOTS)[:SLOTS]


def spacing_of(timestamps: np.ndarray) -> float:
    """The usual spacing in nanoseconds; 0 if less than three fifths of the ticks keep to it."""
    spacing = np.diff(timestamps)
    usual = float(np.median(spacing)) if spacing.size else 0.0
    if usual <= 0 or np.mean(np.abs(spacing - usual) <= 0.1 * usual) < 0.6:
        return 0.0
    return usual


def _ticks_apart(timestamps: np.ndarray, cycle: int, usual: float) -> int | None:
    """How many ticks most often lie one cycle apart; 0 if mostly none do, None if too few could."""
    ends = np.flatnonzero(timestamps - timestamps[0] >= cycle)
    if ends.size < 8:
        return None
    sought = timestamps[ends] - cycle
    near = np.searchsorted(timestamps, sought - 0.25 * usual)
    found = np.abs(timestamps[np.minimum(near, timestamps.size - 1)] - sought) <= 0.25 * usual
    if found.mean() < 0.5:
        return 0
    counts = np.bincount(ends[found] - near[found])
    return int(counts.argmax())


def grid_of(timestamps: np.ndarray, periods: tuple[int, ...]) -> int:
    """The spacing in nanoseconds if ticks come day and night, so that a gap is a gap; else 0.

    Known once a season has been: a market's weekend is no gap.
    """
    usual, seen = spacing_of(timestamps), timestamps[-1] - timestamps[0]
    found = any(0 < m * usual <= seen for m in periods)
    return round(usual) if found and _around_the_clock(timestamps, usual) else 0


def _around_the_clock(timestamps: np.ndarray, usual: float) -> bool:
    """Whether in every quarter of a day of the week most ticks came that could have."""
    if not usual > 0 or timestamps[-1] - timestamps[0] < CYCLES[1]:
        return False
    came = np.unique(np.round((timestamps - timestamps[0]) / usual)).astype(np.int64)
    if came[-1] >= 2 * came.size:
        return False
    parts = max(min(28, int(CYCLES[1] / usual)), 1)
    part = np.arange(came[-1] + 1) * usual % CYCLES[1] * parts // CYCLES[1]
    could = np.bincount(part.astype(np.int64), minlength=parts)
    did = np.bincount(part[came].astype(np.int64), minlength=parts)
    return bool(np.all(2 * did >= could))


def seasons_in(values: np.ndarray) -> tuple[int, ...]:
    """Periods with which the changes of values, (N,), repeat themselves; zeros for none.

    The shortest lag at which the autocorrelation of the changes has a peak of at least
    LEAST_CORRELATION and most of the highest, and the one of the highest if that is another.
    Lags are those of which CYCLES_SEEN fit into the values; changes are clipped at ten mean
    absolute ones.

    >>> seasons_in(np.tile([1.0, 5.0, 2.0, 0.0, 3.0], 60))
    (5, 0)
    """
    none = (0,) * SLOTS
    changes = np.diff(values)
    usual = np.abs(changes).mean() if changes.size else 0.0
    longest = values.size // CYCLES_SEEN
    if not 0 < usual < np.inf or longest < 3:
        return none
    changes = np.clip(changes / usual, -10, 10)
    changes -= changes.mean()
    spectrum = np.fft.rfft(changes, 2 * changes.size)
    products = np.fft.irfft(np.abs(spectrum) ** 2)[: longest + 1]
    if not products[0] > 0:
        return none
    overlap = changes.size / (changes.size - np.arange(longest + 1))
    correlation = products / products[0] * overlap
    inner = correlation[1:-1]
    peaks = 1 + np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:]))
    falls = np.flatnonzero(correlation < 0)  # within a season, as its changes add up to zero
    first = max(2, int(falls[0])) if falls.size else longest
    peaks = peaks[(peaks >= first) & (correlation[peaks] >= LEAST_CORRELATION)]
    if not peaks.size:
        return none
    heights = correlation[peaks]
    shortest = _sharpened(correlation, int(peaks[heights >= 0.6 * heights.max()][0]))
    highest = _sharpened(correlation, int(peaks[heights.argmax()]))
    other = highest if correlation[highest] > 1.1 * correlation[shortest] else 0
    return shortest, other


def _sharpened(correlation: np.ndarray, lag: int) -> int:
    """The lag within a fifth whose first multiples correlate best: noise moves a peak."""
    nearby = [m for m in range(lag - lag // 5, lag + lag // 5 + 1) if m < correlation.size]
    return max(nearby, key=lambda m: correlation[m::m][:4].mean())


class SeasonFinder:
    """What `season="auto"` knows of a stream: its timestamps, seasons, and where it has gaps."""

    def __init__(self) -> None:
        self.irregular = False
        self._reviews = list(REVIEWS)
        self._times: list[int] | None = []  # of all ticks, unless one came without
        self._newest: int | None = None
        self._due: int | None = None  # time of the newest tick, on a clock never set back
        self._grid = 0  # how far apart ticks are, in nanoseconds, where gaps are to be filled
        self._given_up: list[int] = []

    def due(self, ticks: int) -> int:
        """Ticks to the next review."""
        return self._reviews[0] - ticks if self._reviews else sys.maxsize

    def room(self) -> int:
        """Values that the next review looks at."""
        return REVIEWED if self._reviews else 0

    def missing_before(self, time: int, longest: int) -> np.ndarray:
        """Times of the ticks that should have come before this one, at most `longest` of them."""
        if not self._grid or self._due is None:
            return NONE
        missing = round((time - self._due) / self._grid) - 1
        if not 0 < missing <= longest:
            return NONE
        return self._due + self._grid * np.arange(1, missing + 1)

    def until_gap(self, times: np.ndarray) -> int:
        """How many of the ticks at these times come before the first gap."""
        if not self._grid or times.size == 1:
            return times.size
        gaps = np.flatnonzero(np.diff(times) > 1.5 * self._grid)
        return int(gaps[0]) + 1 if gaps.size else times.size

    def gap_after(self) -> tuple[int, int]:
        """Time of the newest tick, 0 if unknown, and the grid, 0 if gaps are not to be filled."""
        return self._due or 0, self._grid

    def seconds_before(self, times: np.ndarray) -> np.ndarray:
        """(T,) seconds from the tick before to each of these times; 0 backwards or unknown."""
        before = times[:1] if self._newest is None else self._newest
        return np.maximum(np.diff(times, prepend=before) / 1e9, 0.0)

    def note(self, times: np.ndarray | None, ticks: int) -> None:
        """Note the timestamps of ticks learned, if they had any; `ticks` have come in all."""
        self._newest = None if times is None else int(times[-1])
        self._due = None if times is None else self._due_after(times)
        if self._times is not None and len(self._times) < ticks:
            if times is None:
                self._times = None
            else:
                self._times.extend(times[len(self._times) - ticks :].tolist())

    def _due_after(self, times: np.ndarray) -> int:
        """Time of the newest tick; of one not after the tick before, the next on the grid."""
        due = int(times[0]) - 1 if self._due is None else self._due
        if times[0] > due and (times.size == 1 or np.all(np.diff(times) > 0)):
            return int(times[-1])
        for time in times.tolist():
            due = time if time > due else due + self._grid
        return due

    def review(self, values: np.ndarray) -> tuple[int, ...]:
        """Seasons in the ticks so far, of which `values` are the newest."""
        del self._reviews[0]
        periods: tuple[int, ...] = (0,) * SLOTS
        if self._times is not None:
            times = np.sort(self._times)  # clocks go back at times
            periods = seasons_of(times)
            self._grid = grid_of(times, periods)
            self.irregular |= spacing_of(times) == 0
        if not any(periods):
            periods = seasons_in(values)
        if not self._reviews:
            self._times = None
        return tuple(0 if period in self._given_up else period for period in periods)

    def try_second(self, period: int, ticks: int, error: float, error_without: float) -> None:
        """Give up a second season that for so many ticks has been of no use to least squares."""
        if ticks >= TRIED * period and error >= WORTH * error_without:
            self._given_up.append(period)
