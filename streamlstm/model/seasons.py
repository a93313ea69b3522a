"""Find the seasons of a stream from its timestamps or, where these do not help, its values."""

import sys

import numpy as np

# Ticks after which to look for seasons; repeated, because longer seasons take longer to show.
REVIEWS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
REVIEWED = 4096  # newest values that a review searches
MAX_SEASONS = 2  # in use at once
DAY_NS = 86_400_000_000_000
CYCLES = (DAY_NS, 7 * DAY_NS, 365 * DAY_NS)
LONGEST = 20_000  # ticks; a longer season would take months to repeat once
CYCLES_SEEN = 3  # how often a season must fit into the values to be found in them
LEAST_CORRELATION = 0.3
NO_TIMES = np.empty(0, np.int64)
# A second season is dropped if, after this many of its cycles, the error of the least squares is at
# least this many times the error without it.
TRIAL_CYCLES, HARMFUL_RATIO = 5, 1.0


def seasons_of(timestamps: np.ndarray) -> tuple[int, ...]:
    """Find how many ticks a day, a week and a year have; return the first MAX_SEASONS periods.

    timestamps: (N,) nanoseconds, ascending. If the timestamps span a cycle, its period is the most
    frequent number of ticks between two times one cycle apart, so that a market's week has as many
    hours as the market is open. If ticks come around the clock, lost ones are counted, too. For a
    cycle that is not spanned yet, the rate so far is extrapolated. A cycle makes no season if it is
    shorter than two ticks or longer than LONGEST, or if the spacing is too irregular; zeros fill
    the places that are left.

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
    return (*periods, *[0] * MAX_SEASONS)[:MAX_SEASONS]


def spacing_of(timestamps: np.ndarray) -> float:
    """The median spacing in nanoseconds; 0 if fewer than three fifths of the ticks are near it."""
    spacing = np.diff(timestamps)
    usual = float(np.median(spacing)) if spacing.size else 0.0
    if usual <= 0 or np.mean(np.abs(spacing - usual) <= 0.1 * usual) < 0.6:
        return 0.0
    return usual


def _ticks_apart(timestamps: np.ndarray, cycle: int, usual: float) -> int | None:
    """The most frequent number of ticks in one cycle.

    0 if most ticks have no tick one cycle before them; None if the data are too short to tell.
    """
    ends = np.flatnonzero(timestamps - timestamps[0] >= cycle)
    if ends.size < 8:
        return None
    starts = timestamps[ends] - cycle
    near = np.searchsorted(timestamps, starts - 0.25 * usual)
    found = np.abs(timestamps[np.minimum(near, timestamps.size - 1)] - starts) <= 0.25 * usual
    if found.mean() < 0.5:
        return 0
    counts = np.bincount(ends[found] - near[found])
    return int(counts.argmax())


def grid_of(timestamps: np.ndarray, periods: tuple[int, ...]) -> int:
    """The spacing in nanoseconds if ticks come around the clock and gaps can be filled, else 0.

    It is 0 until a whole season has passed: before that, a gap could be a market's weekend.
    """
    usual, span = spacing_of(timestamps), timestamps[-1] - timestamps[0]
    passed = any(0 < m * usual <= span for m in periods)
    return round(usual) if passed and _around_the_clock(timestamps, usual) else 0


def _around_the_clock(timestamps: np.ndarray, usual: float) -> bool:
    """Whether at least half of the possible ticks came in each quarter of each day of the week."""
    if not usual > 0 or timestamps[-1] - timestamps[0] < CYCLES[1]:
        return False
    present = np.unique(np.round((timestamps - timestamps[0]) / usual)).astype(np.int64)
    if present[-1] >= 2 * present.size:
        return False
    quarters = max(min(28, int(CYCLES[1] / usual)), 1)
    quarter = np.arange(present[-1] + 1) * usual % CYCLES[1] * quarters // CYCLES[1]
    possible = np.bincount(quarter.astype(np.int64), minlength=quarters)
    counts = np.bincount(quarter[present].astype(np.int64), minlength=quarters)
    return bool(np.all(2 * counts >= possible))


def seasons_in(values: np.ndarray) -> tuple[int, ...]:
    """Find up to two periods in values, (N,), by the autocorrelation of their changes.

    The first period is the shortest lag with a peak of at least LEAST_CORRELATION and at least 0.6
    of the highest peak. The second is the lag of the highest peak if it is clearly higher, else 0.
    The longest lag fits CYCLES_SEEN times into the values. Changes are clipped at ten mean absolute
    changes.

    >>> seasons_in(np.tile([1.0, 5.0, 2.0, 0.0, 3.0], 60))
    (5, 0)
    """
    none = (0,) * MAX_SEASONS
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
    # Changes add up to zero over a season, so a negative correlation precedes its peak.
    negative = np.flatnonzero(correlation < 0)
    first = max(2, int(negative[0])) if negative.size else longest
    peaks = peaks[(peaks >= first) & (correlation[peaks] >= LEAST_CORRELATION)]
    if not peaks.size:
        return none
    heights = correlation[peaks]
    shortest = _sharpened(correlation, int(peaks[heights >= 0.6 * heights.max()][0]))
    highest = _sharpened(correlation, int(peaks[heights.argmax()]))
    other = highest if correlation[highest] > 1.1 * correlation[shortest] else 0
    return shortest, other


def _sharpened(correlation: np.ndarray, lag: int) -> int:
    """Correct a lag that noise has moved: the lag within a fifth whose multiples correlate best."""
    nearby = [m for m in range(lag - lag // 5, lag + lag // 5 + 1) if m < correlation.size]
    return max(nearby, key=lambda m: correlation[m::m][:4].mean())


class SeasonFinder:
    """Finds the seasons and gaps of a stream for `season="auto"`."""

    def __init__(self) -> None:
        self.irregular = False
        self._reviews = list(REVIEWS)
        self._times: list[int] | None = []  # of all ticks; None once a tick had no timestamp
        self._newest: int | None = None
        self._due: int | None = None  # time of the newest tick, on a clock that never goes back
        self._grid = 0  # spacing of ticks in nanoseconds if gaps are to be filled, else 0
        self._given_up: list[int] = []

    def due(self, ticks: int) -> int:
        """Ticks until the next review."""
        return self._reviews[0] - ticks if self._reviews else sys.maxsize

    def values_needed(self) -> int:
        """How many of the newest values the next review searches."""
        return REVIEWED if self._reviews else 0

    def missing_before(self, time: int, longest: int) -> np.ndarray:
        """Times of the ticks in the gap before this time; none if there are more than `longest`."""
        if not self._grid or self._due is None:
            return NO_TIMES
        missing = round((time - self._due) / self._grid) - 1
        if not 0 < missing <= longest:
            return NO_TIMES
        return self._due + self._grid * np.arange(1, missing + 1)

    def until_gap(self, times: np.ndarray) -> int:
        """How many of the ticks at these times come before the first gap."""
        if not self._grid or times.size == 1:
            return times.size
        gaps = np.flatnonzero(np.diff(times) > 1.5 * self._grid)
        return int(gaps[0]) + 1 if gaps.size else times.size

    def newest_and_spacing(self) -> tuple[int, int]:
        """Time of the newest tick, 0 if unknown, and spacing of ticks, 0 if gaps are not filled."""
        return self._due or 0, self._grid

    def seconds_since_last(self, times: np.ndarray) -> np.ndarray:
        """(T,) seconds from one tick to the next; 0 if unknown or if the clock went back."""
        before = times[:1] if self._newest is None else self._newest
        return np.maximum(np.diff(times, prepend=before) / 1e9, 0.0)

    def add_times(self, times: np.ndarray | None, ticks: int) -> None:
        """Store the timestamps of ticks just learned, or None; ticks: how many in all."""
        self._newest = None if times is None else int(times[-1])
        self._due = None if times is None else self._due_after(times)
        if self._times is not None and len(self._times) < ticks:
            if times is None:
                self._times = None
            else:
                self._times.extend(times[len(self._times) - ticks :].tolist())

    def _due_after(self, times: np.ndarray) -> int:
        """Time of the newest tick; if a tick's time did not advance, one spacing later is used."""
        due = int(times[0]) - 1 if self._due is None else self._due
        if times[0] > due and (times.size == 1 or np.all(np.diff(times) > 0)):
            return int(times[-1])
        for time in times.tolist():
            due = time if time > due else due + self._grid
        return due

    def review(self, values: np.ndarray) -> tuple[int, ...]:
        """Find the seasons in the ticks so far; values: the newest ones."""
        del self._reviews[0]
        periods: tuple[int, ...] = (0,) * MAX_SEASONS
        if self._times is not None:
            times = np.sort(self._times)  # a clock may have gone back
            periods = seasons_of(times)
            self._grid = grid_of(times, periods)
            self.irregular |= spacing_of(times) == 0
        if not any(periods):
            periods = seasons_in(values)
        if not self._reviews:
            self._times = None
        return tuple(0 if period in self._given_up else period for period in periods)

    def drop_if_harmful(self, period: int, ticks: int, error: float, error_without: float) -> None:
        """Drop a season that, after so many ticks, has not reduced the least squares' error."""
        if ticks >= TRIAL_CYCLES * period and error >= HARMFUL_RATIO * error_without:
            self._given_up.append(period)
