"""Seasons from the spacing of timestamps."""

import numpy as np
import pandas as pd
import pytest

from streamlstm.seasons import seasons_of


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
    assert day in (6, 7)  # 64 ticks, nine days and a weekend, tell no better


@pytest.mark.parametrize("times", [[], [5], [5] * 64, np.cumsum(np.arange(64) ** 3)])
def test_irregular_or_repeated_timestamps_make_no_season(times):
    assert seasons_of(np.array(times, np.int64)) == (0, 0)
