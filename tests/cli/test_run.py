"""`streamlstm run`: its options, on the command line and in a file."""

import json
import signal
from pathlib import Path

import pandas as pd
import pytest

from streamlstm.live import run as live

SMALL = ["--preset", "fast", "--hidden-size", 4, "--window", 5]


def test_a_live_run_of_bars_goes_on_with_those_that_are_open(streamlstm, tmp_path, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    path = tmp_path / "ticks.csv"
    rows = "".join(f"{'ab'[n % 3 > 0]},{n},1\n" for n in range(120))
    path.write_text("key,load,size\n" + rows)
    bars = ["--value", "load", "--bars", "8:mean", "--features", "high,size:sum"]
    command = ["run", "--source", f"csv:///{path}", "--key", "key", *bars, *SMALL]
    learned = []
    for name, limit in [("whole", 100), ("parts", 1), ("parts", 3), ("parts", 100)]:
        to = ["--sink", f"csv:///{tmp_path / name}.csv", "--state", tmp_path / name]
        code, out, err = streamlstm(*command, *to, "--limit", limit)
        assert code == 0, err
        learned.append(json.loads(out)["ticks"])
    assert learned == [15, 1, 3, 11]
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    closers = pd.read_csv(tmp_path / "whole.csv").groupby("key")["id"].apply(list).to_dict()
    assert closers == {"a": [*range(21, 120, 24)], "b": [*range(11, 120, 12)]}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("season = 24", None),
        ("season = [12, 24]", None),
        ("interval = 0.9", None),
        ("key = 'name'\nweights = 'shared'", None),
        ("features = []", None),
        ("horizon = true", "horizon must be text, a number or a list of these, got True"),
        (
            "learning-rate = false",
            "learning-rate must be text, a number or a list of these, got False",
        ),
        ("features = [['wind']]", "features must be text, a number or a list of these"),
        ("[key]\nname = 1", "key must be text, a number or a list of these"),
        ("seed = 2024-01-01", "seed must be text, a number or a list of these"),
        ("horizon = 1.5", "should be a valid integer"),
        ("colour = 1", "'colour' is not an option of this command"),
        ("= 1", "is not valid TOML"),
    ],
)
def test_a_file_may_hold_the_options(streamlstm, tmp_path, monkeypatch, line, said):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    Path("ticks.csv").write_text("name,load\n" + "a,1\n" * 5)
    Path("run.toml").write_text(f"value = 'load'\npreset = 'fast'\n{line}\n")
    options = ["--source", "csv:///ticks.csv", "--hidden-size", 4, "--window", 5]
    code, out, err = streamlstm("run", *options, "--config", "run.toml")
    if said is None:
        assert code == 0, err
        assert json.loads(out)["ticks"] == 5
    else:
        assert code == 2
        assert said in " ".join(err.replace("│", " ").split())  # which stand in a box


def test_a_live_run_of_many_streams_may_share_a_network(streamlstm, monkeypatch):
    made = []

    class Run:
        metrics = live.Metrics()

        def __init__(self, model, *_, **options):
            made.append((model, options["options"]["--weights"]))

        def run(self, limit):
            pass

    monkeypatch.setattr(live, "LiveRun", Run)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    command = ["run", "--source", "redis://localhost/ticks", "--key", "site", "--preset", "fast"]
    assert streamlstm(*command)[0] == 0
    assert streamlstm(*command, "--weights", "shared")[0] == 0
    assert [(model.weights, named) for model, named in made] == [("private",) * 2, ("shared",) * 2]
