"""`replay`, the function behind the command, whose own tests are in tests/cli."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from streams import random_walk, seasonal

from streamlstm import ForecasterFleet, LSTMForecaster, replay
from streamlstm.errors import ParameterError
from streamlstm.live.bars import Bars
from streamlstm.replays.scores import Result

SMALL = {"preset": "fast", "hidden_size": 4, "window": 5}
TICKS = 400


@pytest.fixture
def stream(tmp_path, monkeypatch):
    """A file of hours with two features, in the folder that the test runs in."""
    monkeypatch.chdir(tmp_path)
    times = pd.date_range("2024-01-01", periods=TICKS, freq="h").strftime("%Y-%m-%dT%H:%M:%S")
    frame = pd.DataFrame({"time": times, "load": seasonal(TICKS)})
    frame = frame.assign(wind=random_walk(TICKS), day=np.arange(TICKS) // 24 % 7)
    frame.to_csv("stream.csv", index=False)
    return frame


@pytest.fixture
def wide(tmp_path, monkeypatch):
    """A file with a stream in each column, one of them constant."""
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({name: random_walk(TICKS, n) for n, name in enumerate("abc")})
    frame.assign(calm=5.0).to_csv("wide.csv", index=False)
    return frame


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ([], {}),
        (["--season", "none", "--interval", "0.8"], {"season": None, "interval": 0.8}),
        (["--season", "12,24", "--seed", "3"], {"season": [12, np.int64(24)], "seed": 3}),
        (["--features", "wind", "--known", "day"], {"features": "wind", "known": ["day"]}),
        (["--bars", "3h:mean", "--features", "high"], {"bars": "3h:mean", "features": ["high"]}),
        (["--bars", "4:mean"], {"bars": Bars(4, "mean"), "limit": np.int64(50)}),
        (["--time", "none", "--horizon", "3"], {"time": None, "horizon": 3}),
        (["--wide", "--target", "load,wind"], {"wide": True, "target": ["load", "wind"]}),
        (["--key", "day", "--learning-rate", "0.01"], {"key": "day", "learning_rate": 0.01}),
    ],
)
def test_does_what_the_command_does(stream, options, given):
    command = [sys.executable, "-m", "streamlstm", "replay", "stream.csv", "--json", "--output"]
    command += ["command.csv", "--state", "command", "--target", "load"]
    command += [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]
    command = [word.replace("_", "-") for word in command]
    limit = ["--limit", "50"] if "limit" in given else []
    done = subprocess.run([*command, *options, *limit], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    arguments = {"target": "load", **SMALL, **given}
    result = replay("stream.csv", output="function.csv", state="function", plot=False, **arguments)
    figures = json.loads(done.stdout)
    for name in ("seconds", "ticks_per_second"):
        assert figures.pop(name) > 0
        assert result.figures.pop(name) > 0
    assert result.figures == figures
    made = [open(f"{who}.csv", "rb").read() for who in ("function", "command")]  # noqa: SIM115
    assert made[0] == made[1]
    again = replay("stream.csv", output="command.csv", state="command", plot=False, **arguments)
    assert again.notes[-1] == f"continuing after {figures['ticks']:,} ticks"


def test_the_result_of_one_stream(stream):
    result = replay("stream.csv", target="load", interval=0.9, **SMALL)
    model = LSTMForecaster(**SMALL)
    model.learn_many(stream["load"], None, pd.to_datetime(stream["time"]).to_numpy())
    assert result.model.forecast(3) == model.forecast(3)
    assert list(result.results) == ["load"]
    assert isinstance(result.results["load"], Result)
    assert result.results["load"].mae == result.figures["mae"]
    assert result.notes == ["guessed: time column time"]
    assert result.warnings == []
    for shown in (str(result), result._repr_html_()):
        for text in ("stream.csv: load", "coverage of the 90% interval", "MASE", "400"):
            assert text in shown
    assert "\n" not in repr(result)
    result.save_plot("plot.png")
    assert open("plot.png", "rb").read(4) == b"\x89PNG"  # noqa: SIM115
    with pytest.raises(ParameterError, match=r"must end in .png or .html"):
        result.save_plot("plot.gif")


def test_the_result_of_many_streams(wide):
    result = replay("wide.csv", wide=True, worst=2, **SMALL)
    assert isinstance(result.model, ForecasterFleet)
    assert [*result.results][-1] == "calm"
    ratios = [each.mase for each in result.results.values()][:-1]
    assert ratios == sorted(ratios, reverse=True)
    assert [each["key"] for each in result.figures["results"]] == [*result.results]
    table = str(result)[str(result).index("worst streams") :]
    assert "calm" not in table
    result.save_plot("plot.html")
    assert "worst:" in open("plot.html").read()  # noqa: SIM115
    with pytest.raises(ParameterError, match="plot=True"):
        replay("wide.csv", wide=True, plot=False, **SMALL).save_plot("plot.png")


def test_names_are_escaped_in_notebooks(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("<b>x</b>,y\n" + "1,2\n3,5\n" * 10)
    shown = replay(path, wide=True, **SMALL)._repr_html_()
    assert "&lt;b&gt;x&lt;/b&gt;" in shown
    assert "<b>" not in shown


def test_a_model_of_ones_own_goes_on_learning(stream):
    model = LSTMForecaster(**SMALL, season=24)
    model.learn_many(np.ones(10))
    alone = LSTMForecaster(**SMALL, season=24)
    alone.learn_many(np.ones(10))
    alone.learn_many(stream["load"])
    result = replay("stream.csv", target="load", model=model)
    assert result.model is model
    assert model.forecast(5) == alone.forecast(5)
    assert result.figures["ticks"] == TICKS


def test_what_a_model_knows_in_advance_is_read_from_the_file(stream):
    model = LSTMForecaster(**SMALL, known_features=["day"])
    known = replay("stream.csv", target="load", known=["day"], **SMALL)
    assert replay("stream.csv", target="load", model=model).figures["mae"] == known.figures["mae"]


@pytest.mark.parametrize("kind", ["forecaster", "fleet"])
def test_many_streams_of_a_model_of_ones_own(wide, kind):
    model = LSTMForecaster(**SMALL)
    given = model if kind == "forecaster" else ForecasterFleet(model)
    result = replay("wide.csv", wide=True, model=given)
    assert (result.model is given) == (kind == "fleet")
    expected = replay("wide.csv", wide=True, **SMALL).results
    assert result.results == expected


def test_a_model_of_ones_own_takes_over_the_state(stream):
    def model():
        return LSTMForecaster(**SMALL, season=24)

    whole = replay("stream.csv", target="load", model=model(), output="whole.csv")
    options = {"target": "load", "output": "parts.csv", "state": "state"}
    replay("stream.csv", model=model(), limit=150, **options)
    mine = model()
    result = replay("stream.csv", model=mine, **options)
    assert mine is result.model
    assert mine.forecast(3) == whole.model.forecast(3)
    assert open("parts.csv").read() == open("whole.csv").read()  # noqa: SIM115
    with pytest.raises(ParameterError, match="hidden_size"):
        replay("stream.csv", model=LSTMForecaster(preset="fast", season=24), **options)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": LSTMForecaster(), "seed": 1}, "the model has its own seed"),
        ({"model": LSTMForecaster(), "season": 24}, "the model has its own season"),
        ({"model": LSTMForecaster(), "known": ["day"]}, "the model has its own known"),
        ({"model": ForecasterFleet()}, "for several streams: use wide or key"),
        ({"weights": "shared"}, "for several streams: use wide or key"),
        ({"snapshot_every": 100}, "snapshot_every needs state"),
        ({"bars": "1d", "time": None}, "bars of 1d need time"),
        ({"bars": "1d", "known": ["day"]}, "nothing is known in advance of bars"),
        ({"bars": Bars(5), "features": ["high"]}, "Bars have their own features"),
        ({"known": ["load"]}, "'load' is the column to forecast"),
        ({"interval": 0.999}, "interval"),
        ({"horizon": 0}, "horizon"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(stream, tmp_path, given, said):
    with pytest.raises(ParameterError, match=said):
        replay("stream.csv", target="load", output="out.csv", **given)
    assert not (tmp_path / "out.csv").exists()


def test_progress_and_notes_are_told_as_they_come(stream):
    told = []
    options = {"target": "load", "state": "state", "snapshot_every": 100, **SMALL}
    replay("stream.csv", limit=150, **options)
    replay(
        "stream.csv",
        **options,
        on_note=told.append,
        on_progress=lambda share, ticks: told.append((share, ticks)),
    )
    first, second, *progress = told
    assert (first, second) == ("guessed: time column time", "continuing after 150 ticks")
    assert [ticks for _, ticks in progress] == [150, 200, 300, 400]
    assert progress[-1][0] == 1.0


def test_bars_that_were_used_before_begin_without_their_ticks(stream):
    bars = Bars(7, "mean")
    first, second = (replay("stream.csv", target="load", bars=bars, **SMALL) for _ in range(2))
    assert first.results == second.results
