"""The command line: what it prints, writes and returns."""

import contextlib
import json
import os
import pty
import subprocess
import sys
from importlib.metadata import entry_points

import numpy as np
import pandas as pd
import pytest
from streams import mase, random_walk, seasonal

from streamlstm import LSTMForecaster, cli


@pytest.fixture
def streamlstm(monkeypatch, capsys):
    """Run the command in this process; gives exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["streamlstm", *map(str, arguments)])
        try:
            cli.main()
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


def test_says_what_it_guessed_and_prints_a_table(streamlstm, stream):
    code, out, err = streamlstm("replay", stream, "--limit", 1000)
    assert code == 0
    assert "guessed: time column time, target column load" in err
    for word in ("1,000", "24, 168", "MAE", "RMSE", "MASE", "ticks per second"):
        assert word in out


def test_json_is_all_there_is_on_standard_output(streamlstm, stream):
    code, out, _ = streamlstm("replay", stream, "--json")
    result = json.loads(out)
    assert code == 0
    assert list(result) == ["ticks", "mae", "rmse", "mase", "seconds", "ticks_per_second"]
    assert result["ticks"] == 1200
    assert result["ticks_per_second"] == pytest.approx(1200 / result["seconds"])


def test_output_holds_the_forecasts_that_the_scores_are_of(streamlstm, stream, tmp_path):
    path = tmp_path / "out.csv"
    _, out, _ = streamlstm("replay", stream, "--output", path, "--json")
    result, frame = json.loads(out), pd.read_csv(path)
    assert list(frame) == ["timestamp", "value", "forecast"]
    assert frame["timestamp"][0] == "2024-01-01T00:00:00"
    assert np.isnan(frame["forecast"][0])
    errors = (frame["value"] - frame["forecast"])[120:]
    assert result["mae"] == pytest.approx(errors.abs().mean())
    assert result["rmse"] == pytest.approx(np.sqrt((errors**2).mean()))
    assert result["mase"] == pytest.approx(mase(frame["value"], frame["forecast"]))


def test_output_for_several_horizons(streamlstm, stream, tmp_path):
    one, three = tmp_path / "one.csv", tmp_path / "three.csv"
    streamlstm("replay", stream, "--output", one)
    streamlstm("replay", stream, "--output", three, "--horizon", 3)
    one, three = pd.read_csv(one), pd.read_csv(three)
    assert list(three) == ["timestamp", "value", "forecast", "forecast_2", "forecast_3"]
    assert one["forecast"].equals(three["forecast"])
    assert three["forecast_3"].isna().sum() == 3


def test_a_horizon_beyond_the_model_s_own(streamlstm, stream, tmp_path):
    path = tmp_path / "out.csv"
    arguments = ["--horizon", 30, "--limit", 200, "--preset", "fast"]
    assert streamlstm("replay", stream, "--output", path, *arguments)[0] == 0
    assert pd.read_csv(path)["forecast_30"].isna().sum() == 30


def test_intervals_are_those_of_the_model(streamlstm, stream, tmp_path):
    path, ticks = tmp_path / "out.csv", 300
    arguments = ["--preset", "fast", "--limit", ticks, "--horizon", 2, "--output", path]
    _, out, _ = streamlstm("replay", stream, "--interval", 0.8, "--json", *arguments)
    result, frame, rows = json.loads(out), pd.read_csv(path), pd.read_csv(stream)[:ticks]
    names = ["forecast", "lower", "upper", "forecast_2", "lower_2", "upper_2"]
    assert list(frame) == ["timestamp", "value", *names]
    times = pd.to_datetime(rows["time"]).to_numpy()
    model = LSTMForecaster(preset="fast")
    forecasts, bounds = model.learn_many(rows["load"], None, times, horizon=2, alpha=0.2)
    columns = {"forecast": forecasts, "lower": bounds[:, 0], "upper": bounds[:, 1]}
    for name, made in columns.items():
        np.testing.assert_allclose(frame[name], made[:, 0])
        np.testing.assert_allclose(frame[f"{name}_2"][1:], made[:-1, 1])
    scored = frame[30:]
    inside = scored["value"].between(scored["lower"], scored["upper"])
    assert result["coverage"] == pytest.approx(inside.mean())
    assert result["interval_width"] == pytest.approx((scored["upper"] - scored["lower"]).mean())
    assert 0.7 < result["coverage"] < 0.9


def test_intervals_leave_the_forecasts_as_they_are(streamlstm, stream, tmp_path):
    with_, without = tmp_path / "with.csv", tmp_path / "without.csv"
    fast = ["--preset", "fast", "--limit", 300]
    streamlstm("replay", stream, *fast, "--output", with_, "--interval", 0.9)
    streamlstm("replay", stream, *fast, "--output", without)
    assert pd.read_csv(with_)["forecast"].equals(pd.read_csv(without)["forecast"])


def test_the_table_tells_of_intervals(streamlstm, stream):
    arguments = ["--preset", "fast", "--limit", 300]
    for interval, shown in [(0.9, "90%"), (0.975, "97.5%")]:
        _, out, _ = streamlstm("replay", stream, *arguments, "--interval", interval)
        assert f"coverage of the {shown} interval" in out
        assert "mean width" in out
    _, out, _ = streamlstm("replay", stream, *arguments)
    assert "interval" not in out
    assert "drift" not in out


def test_the_table_counts_drift_events(streamlstm, tmp_path):
    path, ticks = tmp_path / "drift.csv", 3000
    noise = np.random.default_rng(0).normal(size=ticks)
    noise[2000:] *= 5
    pd.DataFrame({"y": noise}).to_csv(path, index=False)
    _, out, _ = streamlstm("replay", path, "--preset", "fast")
    line = next(line for line in out.splitlines() if "drift events" in line)
    model = LSTMForecaster(preset="fast")
    model.learn_many(noise)
    assert int(line.split("│")[2]) == len(model.drift_events_) > 0


def test_presets(streamlstm, stream, tmp_path):
    outputs = []
    for preset in ([], ["--preset", "accurate"], ["--preset", "fast"]):
        path = tmp_path / "out.csv"
        streamlstm("replay", stream, *preset, "--limit", 300, "--output", path)
        outputs.append(path.read_bytes())
    assert outputs[0] == outputs[1] != outputs[2]


def test_known_columns_help_for_their_own_tick(streamlstm, tmp_path):
    path, noise = tmp_path / "known.csv", np.random.default_rng(0).normal(size=1500)
    pd.DataFrame({"y": seasonal(1500) + 9 * noise, "cause": noise}).to_csv(path, index=False)
    mae = {}
    for option in ("--features", "--known"):
        arguments = ["--target", "y", "--preset", "fast", "--json", option, "cause"]
        mae[option] = json.loads(streamlstm("replay", path, *arguments)[1])["mae"]
    both = ["--features", "cause", "--known", " cause ,"]
    _, out, _ = streamlstm("replay", path, "--target", "y", "--preset", "fast", "--json", *both)
    assert mae["--known"] < 0.5 * mae["--features"]
    assert json.loads(out)["mae"] == mae["--known"]


@pytest.mark.parametrize(("option", "told_apart"), [("--features", 702), ("--known", 701)])
def test_no_forecast_depends_on_the_future(streamlstm, stream, tmp_path, option, told_apart):
    outputs = []
    whole, lines = stream, stream.read_text().splitlines(keepends=True)
    altered, cut = tmp_path / "altered.csv", tmp_path / "cut.csv"
    altered.write_text("".join(lines[:701] + [line.replace(",", ",9") for line in lines[701:]]))
    cut.write_text("".join(lines[:701]))
    for path in (whole, altered, cut):
        output = tmp_path / f"out_{path.name}"
        arguments = [option, "wind", "--output", output, "--horizon", 2, "--interval", 0.9]
        assert streamlstm("replay", path, *arguments)[0] == 0
        outputs.append([line.split(",")[2:] for line in output.read_text().splitlines()])
    assert outputs[0][:told_apart] == outputs[1][:told_apart]
    assert outputs[0][:701] == outputs[2]
    assert outputs[0][told_apart] != outputs[1][told_apart]


def test_the_same_seed_gives_the_same_bytes(streamlstm, stream, tmp_path):
    outputs = []
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        streamlstm("replay", stream, "--seed", seed, "--output", tmp_path / name)
        outputs.append((tmp_path / name).read_bytes())
    assert outputs[0] == outputs[1] != outputs[2]


def test_limit_equals_a_shorter_file(streamlstm, stream, tmp_path):
    short, output = tmp_path / "short.csv", [tmp_path / "a.csv", tmp_path / "b.csv"]
    short.write_text("".join(stream.read_text().splitlines(keepends=True)[:301]))
    streamlstm("replay", stream, "--limit", 300, "--output", output[0])
    streamlstm("replay", short, "--output", output[1])
    assert output[0].read_bytes() == output[1].read_bytes()


@pytest.mark.parametrize(("season", "shown"), [("none", "none"), ("24", "24"), ("12,24", "12, 24")])
def test_seasons_may_be_given(streamlstm, stream, season, shown):
    _, out, _ = streamlstm("replay", stream, "--season", season)
    line = next(line for line in out.splitlines() if "seasons" in line)
    assert line.split("│")[2].strip() == shown


def test_time_none_takes_the_file_as_it_comes(streamlstm, stream, tmp_path):
    output = tmp_path / "out.csv"
    streamlstm("replay", stream, "--time", "none", "--output", output)
    assert pd.read_csv(output)["timestamp"].tolist() == list(range(1200))


@pytest.mark.parametrize("suffix", ["png", "html"])
@pytest.mark.parametrize("interval", [[], ["--interval", 0.9]])
def test_plots(streamlstm, stream, tmp_path, suffix, interval):
    path = tmp_path / f"plot.{suffix}"
    arguments = ["--plot", path, "--preset", "fast", "--limit", 300, *interval]
    assert streamlstm("replay", stream, *arguments)[0] == 0
    picture = path.read_bytes()
    if suffix == "png":
        assert picture.startswith(b"\x89PNG")
    else:
        assert b"<svg" in picture
        assert (b'<g id="interval">' in picture) == bool(interval)


def test_a_constant_stream_has_no_mase(streamlstm, tmp_path):
    path = tmp_path / "constant.csv"
    path.write_text("y\n" + "5\n" * 50)
    code, out, _ = streamlstm("replay", path, "--json", "--plot", tmp_path / "plot.png")
    assert code == 0
    assert json.loads(out)["mase"] is None
    assert json.loads(out)["mae"] == 0.0


@pytest.mark.parametrize("rows", ["1\n", "1\n2\n", "NA\nNA\n", "NA\n3\n4\nNA\n"])
def test_very_short_streams(streamlstm, tmp_path, rows):
    path = tmp_path / "short.csv"
    path.write_text("y\n" + rows)
    arguments = ["--target", "y", "--output", tmp_path / "o.csv", "--plot", tmp_path / "p.png"]
    arguments += ["--horizon", 4, "--interval", 0.5]
    code, out, _ = streamlstm("replay", path, "--json", *arguments)
    result = json.loads(out)
    assert code == 0
    assert result["ticks"] == rows.count("\n")
    assert (result["coverage"] is None) == (result["mae"] is None)
    assert (result["interval_width"] is None) == (result["mae"] is None)


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("", [], "is empty"),
        ("time,y\n2024-01-01,1\n2024-01-02,x\n", ["--target", "y"], "line 3, column 'y'"),
        ("time,y\n2024-01-01,1\n", ["--target", "z"], "no column 'z'"),
        ("time,y\n2024-01-01,1\n", ["--known", "z"], "no column 'z'"),
        ("time,y\n2024-01-01,1\n", ["--known", "time"], "column 'time' is the time"),
        ("y\n1\n", ["--output", "/nowhere/out.csv"], "/nowhere/out.csv"),
        ("y\n1\n", ["--plot", "/nowhere/out.png"], "/nowhere/out.png"),
    ],
)
def test_bad_data_ends_with_one_line_and_code_1(streamlstm, tmp_path, text, arguments, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    code, out, err = streamlstm("replay", path, "--json", *arguments)
    assert code == 1
    assert out == ""
    assert err.splitlines()[-1].startswith("error: ")
    assert message in err.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["play"],
        ["replay"],
        ["replay", "missing.csv"],
        ["replay", "FILE", "--season", "1"],
        ["replay", "FILE", "--season", "daily"],
        ["replay", "FILE", "--horizon", "0"],
        ["replay", "FILE", "--window", "-1"],
        ["replay", "FILE", "--learning-rate", "-1"],
        ["replay", "FILE", "--learning-rate", "nan"],
        ["replay", "FILE", "--plot", "plot.gif"],
        ["replay", "FILE", "--interval", "0"],
        ["replay", "FILE", "--interval", "-0.5"],
        ["replay", "FILE", "--interval", "0.995"],
        ["replay", "FILE", "--interval", "90"],
        ["replay", "FILE", "--interval", "nan"],
        ["replay", "FILE", "--preset", "slow"],
        ["replay", "FILE", "--known", "load"],
        ["replay", "FILE", "--colour"],
    ],
)
def test_bad_usage_ends_with_code_2(streamlstm, stream, arguments):
    code, out, err = streamlstm(*[stream if word == "FILE" else word for word in arguments])
    assert code == 2
    assert out == "" or arguments == []
    assert "Traceback" not in err


def test_a_progress_bar_on_a_terminal(stream):
    """In a process of its own with a pseudo-terminal for standard error."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "streamlstm.cli", "replay", str(stream), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal) as process:
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # raised once the terminal is read to its end
            while piece := os.read(controller, 65536):
                shown += piece
        os.close(controller)
        result = json.loads(process.stdout.read())
    assert process.returncode == 0
    assert b"1,200 ticks" in shown
    assert result["ticks"] == 1200


def test_connectors_are_found_through_entry_points():
    assert "csv" in entry_points(group="streamlstm.sources").names
    assert "csv" in entry_points(group="streamlstm.sinks").names
