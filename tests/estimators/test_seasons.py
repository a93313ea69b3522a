"""Seasons from timestamps and from values, gaps between ticks, and irregular ticks."""

import datetime
import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
from streams import mase, random_walk, seasonal

from streamlstm import LSTMForecaster
from streamlstm.kernels.layout import CLOCK
from streamlstm.model.seasons import REVIEWS, grid_of, seasons_in, seasons_of

HOUR = 3_600_000_000_000
HOURS = np.arange(4000) * HOUR
RNG = np.random.default_rng(0)
IRREGULAR = (np.cumsum(RNG.exponential(size=4000)) * HOUR).astype(np.int64)


LOSSY = RNG.random(4000) < 0.9


def weekday_hours(ticks):
    times = pd.date_range("2024-01-01", periods=2 * ticks, freq="h")
    return times[times.day_of_week < 5][:ticks].astype("datetime64[ns]").astype(np.int64).to_numpy()


def model_of(**arguments):
    chosen = {"preset": "fast", "hidden_size": 4, "window": 4, "horizon": 3}
    return LSTMForecaster(**{**chosen, **arguments})


def learned(values, times=None, **arguments):
    """A model and its one-step forecasts."""
    model = model_of(**arguments)
    return model, model.learn_many(values, timestamps=times)[:, 0]


def ticks_of(model):
    return int(model._network.clock[CLOCK.values])


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        ("h", (24, 168)),
        ("30min", (48, 336)),
        ("10min", (144, 1008)),
        ("D", (7, 365)),
        ("B", (5, 264)),
        ("s", (0, 0)),
        ("W", (52, 0)),
    ],
)
def test_a_day_and_a_week_in_ticks(frequency, expected):
    times = pd.date_range("2024-01-01", periods=64, freq=frequency)
    assert seasons_of(times.astype("datetime64[ns]").astype(np.int64).to_numpy()) == expected


def test_a_trading_day_counts_its_ticks():
    days = pd.date_range("2024-01-01", periods=20, freq="B")
    times = [day + pd.Timedelta(hours=9 + hour) for day in days for hour in range(7)][:64]
    day, _ = seasons_of(np.array(times, "datetime64[ns]").astype(np.int64))
    assert day in (6, 7)  # 64 ticks, nine days with a weekend, are too few for the exact period


@pytest.mark.parametrize("times", [[], [5], [5] * 64, np.cumsum(np.arange(64) ** 3)])
def test_irregular_or_repeated_timestamps_make_no_season(times):
    assert seasons_of(np.array(times, np.int64)) == (0, 0)


def test_a_week_counts_the_hours_in_which_a_market_is_open():
    times = weekday_hours(1000)
    assert seasons_of(times) == (24, 120)
    assert grid_of(times, (24, 120)) == 0
    model, _ = learned(seasonal(1000), times)
    assert model.seasons_[0] == 24
    assert ticks_of(model) == 1000  # a weekend is not filled


def test_a_trading_week_counts_its_ticks():
    days = pd.date_range("2024-01-01", periods=60, freq="B")
    times = [day + pd.Timedelta(hours=9 + hour) for day in days for hour in range(7)]
    nanoseconds = np.array(times, "datetime64[ns]").astype(np.int64)
    assert seasons_of(nanoseconds) == (7, 35)
    assert grid_of(nanoseconds, (7, 35)) == 0
    model, _ = learned(seasonal(420, period=7), nanoseconds)
    assert ticks_of(model) == 420


def test_a_second_season_is_used_on_market_hours():
    times = weekday_hours(3000)
    t = np.arange(3000)
    week = np.array([0.0, 8.0, -6.0, 4.0, -9.0])[t % 120 // 24]
    model, forecasts = learned(seasonal(3000) + week, times)
    assert model.seasons_ == (24, 120)
    _, alone = learned(seasonal(3000) + week, season=24)
    assert mase(seasonal(3000) + week, forecasts) < mase(seasonal(3000) + week, alone)


def test_hours_around_the_clock_have_a_regular_spacing():
    assert grid_of(HOURS, (24, 168)) == HOUR
    assert grid_of(HOURS[:100], (24, 168)) == 0  # no weekend has passed yet
    assert grid_of(HOURS, (0, 0)) == 0


def with_gaps(ticks):
    """Which ticks are present: 60 stretches of up to 11 ticks are absent."""
    rng, there = np.random.default_rng(2), np.ones(ticks, bool)
    for start in rng.integers(300, ticks - 30, 60):
        there[start : start + rng.integers(1, 12)] = False
    return there


def test_the_phase_of_the_season_is_kept_across_gaps():
    values, there = seasonal(4000), with_gaps(4000)
    informed, forecasts = learned(values[there], HOURS[there])
    blind, guesses = learned(values[there])
    assert (ticks_of(informed), ticks_of(blind)) == (4000, there.sum())
    with_times, without = (np.abs(values[there] - f)[1000:].mean() for f in (forecasts, guesses))
    assert with_times < 0.65 * without
    _, whole = learned(np.where(there, values, np.nan), HOURS)
    assert np.abs(whole[there] - forecasts)[1000:].mean() < 0.05  # as with missing values


@pytest.mark.parametrize("lost", [0.02, 0.1, 0.3])
def test_ticks_lost_here_and_there_are_counted(lost):
    values, there = seasonal(4000), np.random.default_rng(0).random(4000) > lost
    assert seasons_of(HOURS[there]) == (24, 168)
    assert grid_of(HOURS[there], (24, 168)) == HOUR
    model, forecasts = learned(values[there], HOURS[there])
    assert model.seasons_[0] == 24
    assert ticks_of(model) > 3900  # all gaps are filled once a week has passed
    _, whole = learned(np.where(there, values, np.nan), HOURS)
    errors = [np.abs(values[there] - f)[1000:].mean() for f in (forecasts, whole[there])]
    assert errors[0] < 1.06 * errors[1]


def test_a_market_that_loses_ticks_keeps_its_weekends():
    times = weekday_hours(2000)
    times = times[np.random.default_rng(0).random(2000) > 0.05]
    assert grid_of(times, seasons_of(times)) == 0


def test_daily_and_slower_ticks_have_a_regular_spacing():
    for frequency, ticks, periods, expected in [
        ("D", 100, (7, 0), 24 * HOUR),
        ("B", 100, (5, 0), 0),
        ("7D", 200, (52, 0), 7 * 24 * HOUR),
    ]:
        days = pd.date_range("2020-01-01", periods=ticks, freq=frequency).astype("datetime64[ns]")
        assert grid_of(days.astype(np.int64).to_numpy(), periods) == expected


def test_gaps_longer_than_a_season_are_not_filled():
    values = seasonal(1000)
    times = HOURS[:1000] + 400 * HOUR * (np.arange(1000) >= 600)
    model, forecasts = learned(values, times, season="auto")
    assert ticks_of(model) <= 1000 + 168
    assert np.isfinite(forecasts[1:]).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (seasonal(600), (24, 0)),
        (seasonal(600, period=7), (7, 0)),
        (np.tile([1.0, -1.0], 200), (2, 0)),
        (10 * np.sin(2 * np.pi * np.arange(3000) / 24) + RNG.normal(size=3000), (24, 0)),
        (random_walk(3000), (0, 0)),
        (RNG.normal(size=3000), (0, 0)),
        (np.cumsum(RNG.normal(size=3000)).cumsum(), (0, 0)),
        (np.arange(300.0), (0, 0)),
        (np.full(300, 2.0), (0, 0)),
        (np.full(300, np.nan), (0, 0)),
        (np.array([1.0]), (0, 0)),
    ],
)
def test_seasons_are_found_in_values(values, expected):
    found = seasons_in(values)
    assert found[0] == expected[0]
    assert found[1] % max(expected[0], 1) == 0  # a second one, if any, is a multiple


@pytest.mark.parametrize("height", [6, 10])
@pytest.mark.parametrize("period", [24, 100])
def test_noise_does_not_move_a_season_found_in_values(period, height):
    smooth = height * period / 24 * np.sin(2 * np.pi * np.arange(3000) / period)
    found = [
        seasons_in(smooth + np.random.default_rng(seed).normal(size=3000))[0] for seed in range(10)
    ]
    assert np.abs(np.array(found) - period).max() <= period / 50


def test_without_timestamps_a_season_found_in_the_values_helps():
    values = seasonal(3000)
    found, forecasts = learned(values)
    assert found.seasons_[0] == 24
    _, given = learned(values, season=24)
    _, none = learned(values, season=None)
    assert mase(values, forecasts) < 0.95 * mase(values, none)
    assert mase(values, forecasts) < 1.05 * mase(values, given)


def weeks(useful):
    t = np.arange(168 * 15)
    day = 10 * np.sin(2 * np.pi * t / 24)
    weekend = np.where(t // 24 % 7 >= 5, -1.0, 1.0)
    values = weekend * (day + 8) if useful else day
    return values + np.random.default_rng(0).normal(size=t.size)


def test_a_second_season_that_does_not_help_is_dropped():
    model, _ = learned(weeks(useful=False), HOURS[: 168 * 15])
    assert model.seasons_ == (24,)
    assert [name for name in model.experts_ if name.startswith("season_2")] == []
    model.learn_many(weeks(useful=False), timestamps=HOURS[-1] + HOUR + HOURS[: 168 * 15])
    assert model.seasons_ == (24,)  # it is not found again


def test_a_second_season_that_helps_is_kept():
    model, forecasts = learned(weeks(useful=True), HOURS[: 168 * 15])
    assert model.seasons_ == (24, 168)
    _, alone = learned(weeks(useful=True), season=24)
    assert mase(weeks(useful=True), forecasts) < 0.9 * mase(weeks(useful=True), alone)


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize(
    "times",
    [HOURS, IRREGULAR, weekday_hours(4000), None, HOURS[RNG.random(4000) < 0.4], HOURS[LOSSY]],
    ids=["regular", "irregular", "market", "none", "holes", "lossy"],
)
def test_chunks_equal_the_loop_through_all_reviews(times, features):
    ticks = 1100
    assert sum(review < ticks for review in REVIEWS) == 5
    values, feature = weeks(useful=False)[:ticks], RNG.normal(size=ticks)
    chunks, loop, looped = model_of(), model_of(), []
    cuts = [0, 1, 60, 65, 500, ticks]
    chunked = np.vstack(
        [
            chunks.learn_many(
                values[a:b],
                {"f": feature[a:b]} if features else None,
                None if times is None else times[a:b],
                horizon=30,
            )
            for a, b in itertools.pairwise(cuts)
        ]
    )
    for tick, y in enumerate(values):
        looped.append(loop.forecast(30))
        x = {"f": feature[tick]} if features else {}
        loop.learn_one(
            y, x if times is None else {**x, "at": np.datetime64(int(times[tick]), "ns")}
        )
    filled = np.zeros(ticks, bool)  # a chunk knows of a gap in advance, a loop only afterwards
    if chunks._finder._grid:
        filled[1:] = np.diff(times[:ticks]) > 1.5 * chunks._finder._grid
    assert np.array_equal(chunked[1:][~filled[1:]], np.array(looped)[1:][~filled[1:]])
    assert chunks.seasons_ == loop.seasons_
    assert chunks.forecast(40) == loop.forecast(40)
    assert chunks.forecast_interval(40) == loop.forecast_interval(40)


def test_chunks_equal_the_loop_over_gaps():
    """Except for the tick after a gap: a loop forecasts it before it knows of the gap."""
    there = with_gaps(1500)
    values, times = seasonal(1500)[there], HOURS[:1500][there]
    chunks, loop = model_of(), model_of()
    chunked, looped = chunks.learn_many(values, timestamps=times, horizon=4), []
    for y, time in zip(values, times, strict=True):
        looped.append(loop.forecast(4))
        loop.learn_one(y, {"at": np.datetime64(int(time), "ns")})
    after_gap = np.diff(times, prepend=0) > HOUR
    assert np.array_equal(chunked[1:][~after_gap[1:]], np.array(looped)[1:][~after_gap[1:]])
    assert after_gap.sum() > 20
    assert ticks_of(chunks) == ticks_of(loop) == 1500
    assert chunks.forecast(4) == loop.forecast(4)


def test_a_pickled_model_keeps_reviewing_and_filling_gaps():
    there = with_gaps(1500)
    values, times = seasonal(1500)[there], HOURS[:1500][there]
    model = model_of()
    model.learn_many(values[:400], timestamps=times[:400])
    copy = pickle.loads(pickle.dumps(model))
    rest = [one.learn_many(values[400:], timestamps=times[400:]) for one in (model, copy)]
    assert np.array_equal(*rest)


def test_the_time_since_the_last_tick_helps_where_it_matters():
    """The longer the pause before a tick, the larger the next change."""
    pauses = np.diff(IRREGULAR, prepend=0) / 1e9
    steps = 0.3 * np.random.default_rng(1).normal(size=4000)
    steps[1:] += np.log1p(pauses[:-1]) - 7.5
    values = steps.cumsum()
    informed, forecasts = learned(values, IRREGULAR)
    blind, guesses = learned(values)
    assert (informed._finder.irregular, blind._finder.irregular) == (True, False)
    assert mase(values, forecasts) < 0.4 < 0.9 < mase(values, guesses)


def test_the_time_since_the_last_tick_does_little_harm_where_it_is_irrelevant():
    walk = random_walk(4000)
    _, forecasts = learned(walk, IRREGULAR)
    assert mase(walk, forecasts) < 1.01


@pytest.mark.parametrize("loop", [False, True])
def test_a_clock_may_repeat_itself_or_go_back(loop):
    values = seasonal(2500)
    _, expected = learned(values, HOURS[:2500])
    late, double, autumn, mixed = (HOURS[:2500].copy() for _ in range(4))
    late[1000::50] -= 10 * HOUR
    double[1000::50] = double[999:-1:50]
    autumn[1500:] -= HOUR
    mixed[300] = mixed[270]
    mixed[600:610] = mixed[600]
    for times in (late, double, autumn, mixed):
        model = model_of()
        if loop:
            forecasts = []
            for y, time in zip(values, times, strict=True):
                forecasts.append(model.forecast(1)[0])
                model.learn_one(y, {"at": np.datetime64(int(time), "ns")})
        else:
            forecasts = model.learn_many(values, timestamps=times)[:, 0]
        assert model.seasons_[0] == 24
        assert ticks_of(model) == 2500
        assert mase(values, forecasts) < 1.02 * mase(values, expected)


def test_a_gap_after_a_late_tick_is_filled_correctly():
    there = np.ones(600, bool)
    there[500:505] = False
    times = HOURS[:600].copy()
    times[499] -= 3 * HOUR
    model, _ = learned(seasonal(600)[there], times[there])
    assert ticks_of(model) == 600


def test_timestamps_may_stop_and_return():
    values = seasonal(900)
    model = model_of()
    start = datetime.datetime(2024, 1, 1)
    for n, y in enumerate(values):
        at = {"at": start + datetime.timedelta(hours=n)}
        model.learn_one(y, at if n < 300 or n > 500 else None)
    assert model.seasons_[0] == 24
    assert np.isfinite(model.forecast(30)).all()
