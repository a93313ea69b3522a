"""The command in this process, and files to replay."""

import sys

import numpy as np
import pandas as pd
import pytest
from streams import random_walk, seasonal

from streamlstm.cli import app


@pytest.fixture
def streamlstm(monkeypatch, capsys):
    """Run the command in this process; gives exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["streamlstm", *map(str, arguments)])
        try:
            app.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def stream(tmp_path):
    """A file with an hourly stream and a feature."""
    path = tmp_path / "stream.csv"
    times = pd.date_range("2024-01-01", periods=1200, freq="h")
    frame = {"time": times.strftime("%Y-%m-%dT%H:%M:%S"), "load": seasonal(1200)}
    pd.DataFrame(frame | {"wind": random_walk(1200)}).to_csv(path, index=False)
    return path


def columns_of_a_wide_file():
    """Hours of which some are absent; empty cells; a stream that comes late, one that is calm."""
    ticks = np.delete(np.arange(420), [300, 301, 350])
    frame = pd.DataFrame(
        {
            "time": pd.Timestamp("2024-01-01") + pd.to_timedelta(ticks, "h"),
            "load, MW": 1000 * seasonal(420)[ticks],
            "price": random_walk(420)[ticks].round(2),
            "late": random_walk(420, seed=1)[ticks],
            "wind": random_walk(420, seed=2)[ticks],
        }
    )
    frame.loc[:150, "late"] = np.nan
    frame.loc[200:210, "price"] = np.nan
    return frame.assign(calm=5.0)


@pytest.fixture
def wide(tmp_path):
    path = tmp_path / "wide.csv"
    columns_of_a_wide_file().to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%S")
    return path


@pytest.fixture
def long(tmp_path):
    """The same streams by key: ragged, in turns of their own, without what is missing."""
    path, rng = tmp_path / "long.csv", np.random.default_rng(3)
    frame = columns_of_a_wide_file().melt(id_vars=["time", "wind"], var_name="name").dropna()
    frame = frame.iloc[rng.permutation(len(frame))].sort_values("time", kind="stable")
    frame.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%S")
    return path
