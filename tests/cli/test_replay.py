"""`streamlstm replay`: what it prints, writes and returns."""

import contextlib
import csv
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streams import mase, random_walk, seasonal

from streamlstm import LSTMForecaster
from streamlstm.errors import InputError
from streamlstm.replays import replay as replays


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
    forecasts, bounds = model.learn_many(rows["load"], None, times, horizon=2, interval=0.8)
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
        ("y,z\n1,2\n", ["--target", "y,z"], "no column 'y,z'"),
        ("y,z\n1,2\n", ["--wide", "--target", "y,x"], "no column 'x'"),
        ("key,y\na,1\n,2\n", ["--key", "key"], "line 3, column 'key': an empty cell"),
        ("t\nx\n", ["--wide"], "no column of numbers"),
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


SMALL = ["--preset", "fast", "--hidden-size", 4, "--window", 5]


def lines_of(path, key=None):
    """The lines of an output but its header; of one stream, as if it had been alone."""
    with path.open() as file:
        rows = list(csv.reader(file))[1:]
    if key is None:
        return rows
    return [row[:1] + row[2:] for row in rows if row[1] == key]


@pytest.mark.parametrize(
    "options",
    [
        ["--horizon", 3, "--interval", 0.9],
        ["--features", "wind", "--season", "24"],
        ["--known", "wind", "--time", "none", "--limit", 1002],
    ],
)
def test_wide_equals_a_replay_of_each_column(streamlstm, wide, tmp_path, options):
    whole, single = tmp_path / "whole.csv", tmp_path / "single.csv"
    arguments = ["--wide", "--json", "--output", whole, *SMALL]
    code, out, _ = streamlstm("replay", wide, *arguments, *options)
    assert code == 0
    names = [name for name in pd.read_csv(wide) if name not in ["time", *options]]
    results = {result.pop("key"): result for result in json.loads(out)["results"]}
    assert set(results) == set(names)
    limited = "--limit" in options
    if limited:
        options = options[:-2]
    for name in names:
        options_of_one = ["--target", name, "--output", single, *options]
        _, out, _ = streamlstm("replay", wide, "--json", *SMALL, *options_of_one)
        ticks = results[name]["ticks"]
        assert lines_of(whole, name) == lines_of(single)[:ticks]
        if not limited:
            expected = json.loads(out)
            assert results[name] == {figure: expected[figure] for figure in results[name]}
    ticks = pd.read_csv(whole)["key"].value_counts()
    assert ticks.sum() == (1002 if limited else 417 * len(names))
    assert set(ticks) == ({250, 251} if limited else {417})


def test_a_file_by_key_equals_a_replay_of_each_stream(streamlstm, long, tmp_path):
    whole, file, single = (tmp_path / name for name in ("whole.csv", "file.csv", "single.csv"))
    options = [*SMALL, "--horizon", 2, "--interval", 0.8, "--features", "wind", "--json"]
    _, out, _ = streamlstm("replay", long, "--key", "name", "--output", whole, *options)
    results = {result.pop("key"): result for result in json.loads(out)["results"]}
    header = "timestamp,key,value,forecast,lower,upper,forecast_2,lower_2,upper_2"
    assert whole.read_text().splitlines()[0] == header
    rows = pd.read_csv(long)
    assert [row[:2] for row in lines_of(whole)] == rows[["time", "name"]].to_numpy().tolist()
    for name, frame in rows.groupby("name"):
        frame.drop(columns="name").to_csv(file, index=False)
        _, out, _ = streamlstm("replay", file, *options, "--output", single)
        assert lines_of(whole, name) == lines_of(single)
        expected = json.loads(out)
        assert results[name] == {figure: expected[figure] for figure in results[name]}
    assert results["late"]["ticks"] < 300


def test_the_result_of_many_streams(streamlstm, wide, tmp_path):
    output = tmp_path / "out.csv"
    options = [*SMALL, "--interval", 0.9, "--output", output, "--json"]
    _, out, err = streamlstm("replay", wide, "--wide", *options)
    assert "guessed: time column time, streams in 5 columns\n" in err
    result, frame = json.loads(out), pd.read_csv(output)
    each = result.pop("results")
    assert list(result) == [
        *("streams", "ticks", "mase_median", "mase_mean", "above_last_value", "coverage"),
        *("seconds", "ticks_per_second"),
    ]
    assert result["streams"] == len(each) == 5
    assert result["ticks"] == len(frame) == 5 * 417
    scored = frame[frame.groupby("key").cumcount() >= 41].dropna(subset=["value", "forecast"])
    inside = scored["value"].between(scored["lower"], scored["upper"])
    assert result["coverage"] == pytest.approx(inside.mean())
    ratios = [stream["mase"] for stream in each]
    assert each[-1]["key"] == "calm"
    assert ratios.pop() is None
    assert ratios == sorted(ratios, reverse=True)
    assert result["mase_median"] == pytest.approx(np.median(ratios))
    assert result["mase_mean"] == pytest.approx(np.prod(ratios) ** 0.25)
    assert result["above_last_value"] == np.mean(np.array(ratios) > 1)
    load = frame[frame["key"] == "load, MW"]
    ratio = next(stream["mase"] for stream in each if stream["key"] == "load, MW")
    assert ratio == pytest.approx(mase(load["value"], load["forecast"]))


def test_the_tables_of_many_streams_show_the_worst(streamlstm, long):
    options = ["--key", "name", *SMALL]
    _, out, _ = streamlstm("replay", long, *options, "--interval", 0.9, "--json")
    worst = [result["key"] for result in json.loads(out)["results"]]
    _, out, err = streamlstm("replay", long, *options, "--interval", 0.9, "--worst", 2)
    assert "guessed: time column time, target column value" in err
    assert "long.csv: value by name" in out
    for word in ("streams", "median MASE", "geometric mean", "above 1", "coverage of the 90%"):
        assert word in out
    table = out[out.index("worst streams") :]
    assert [line.split("│")[1].strip() for line in table.splitlines() if "│" in line] == worst[:2]
    assert "coverage" in table
    _, out, _ = streamlstm("replay", long, *options, "--worst", 0)
    assert "worst" not in out
    assert "coverage" not in out


def test_names_are_shown_as_they_are(streamlstm, tmp_path):
    path = tmp_path / "marked.csv"
    path.write_text("[red]a[/red],:smile:\n" + "1,2\n3,4\n" * 5)
    _, out, _ = streamlstm("replay", path, "--wide", *SMALL)
    assert "[red]a[/red]" in out
    assert ":smile:" in out


def test_columns_that_are_no_streams_are_named(streamlstm, tmp_path):
    path = tmp_path / "mixed.csv"
    path.write_text("id,a,b,site\n" + "7,1,2,north\n" * 5)
    code, _, err = streamlstm("replay", path, "--wide", *SMALL)
    assert code == 0
    assert "streams in 2 columns, not in id, site" in err
    _, out, _ = streamlstm("replay", path, "--wide", "--target", "a, id", "--json", *SMALL)
    assert {result["key"] for result in json.loads(out)["results"]} == {"a", "id"}


@pytest.mark.parametrize("many", [["--wide"], ["--key", "name"]])
def test_no_forecast_of_many_streams_depends_on_the_future(streamlstm, wide, long, tmp_path, many):
    path = wide if many == ["--wide"] else long
    lines, outputs = path.read_text().splitlines(keepends=True), []
    altered, cut = tmp_path / "altered.csv", tmp_path / "cut.csv"
    altered.write_text("".join(lines[:301] + [line.replace(".", "9.") for line in lines[301:]]))
    cut.write_text("".join(lines[:301]))
    for file in (path, altered, cut):
        output = tmp_path / f"out_{file.name}"
        options = ["--output", output, "--horizon", 2, "--interval", 0.9, *SMALL]
        assert streamlstm("replay", file, *many, *options)[0] == 0
        outputs.append(lines_of(output))
    told = len(outputs[2])
    assert told == (1500 if many == ["--wide"] else 300)
    assert outputs[0][:told] == outputs[1][:told] == outputs[2]
    assert outputs[0][told:] != outputs[1][told:]


@pytest.mark.parametrize("interval", [[], ["--interval", 0.9]])
def test_a_plot_of_many_streams_is_of_the_worst(streamlstm, wide, tmp_path, interval):
    path = tmp_path / "plot.html"
    options = ["--wide", *SMALL, *interval, "--limit", 1500, "--json", "--plot", path]
    _, out, _ = streamlstm("replay", wide, *options)
    picture, worst = path.read_text(), json.loads(out)["results"][0]["key"]
    assert f"<title>wide.csv, worst: {worst}</title>" in picture
    first, last = "2024-01-03 12:00:00", "2024-01-13 11:00:00"
    assert f"<!-- {first} -->" in picture
    assert f"<!-- {last} -->" in picture
    assert (b'<g id="interval">' in path.read_bytes()) == bool(interval)


def test_many_very_short_streams(streamlstm, tmp_path):
    path = tmp_path / "short.csv"
    path.write_text("key,y\na,1\nb,\n")
    options = ["--output", tmp_path / "o.csv", "--plot", tmp_path / "p.png", "--interval", 0.5]
    code, out, _ = streamlstm("replay", path, "--key", "key", "--json", *options, *SMALL)
    result = json.loads(out)
    assert code == 0
    assert result["streams"] == 2
    assert result["mase_median"] is result["mase_mean"] is result["coverage"] is None
    assert streamlstm("replay", path, "--key", "key", *options, *SMALL)[0] == 0


def test_many_streams_may_share_a_network(streamlstm, wide, tmp_path):
    """Each forecasts otherwise than by itself, and the run goes on where it was stopped."""
    options = [wide, "--wide", *SMALL, "--json", "--weights", "shared"]
    code, out, _ = streamlstm("replay", *options, "--output", tmp_path / "shared.csv")
    assert code == 0
    assert json.loads(out)["streams"] == 5
    streamlstm("replay", *options[:-2], "--output", tmp_path / "private.csv")
    whole = (tmp_path / "shared.csv").read_bytes()
    assert whole != (tmp_path / "private.csv").read_bytes()
    options += ["--output", tmp_path / "parts.csv", "--state", tmp_path / "state"]
    assert streamlstm("replay", *options, "--limit", 500)[0] == 0
    assert streamlstm("replay", *options)[0] == 0
    assert (tmp_path / "parts.csv").read_bytes() == whole


@pytest.mark.parametrize("kind", ["wide", "key"])
def test_many_streams_go_on(streamlstm, wide, long, tmp_path, kind):
    """Stopped between the streams of a row, and with streams to come: see test_resume.py."""
    file, kinds = (wide, ["--wide"]) if kind == "wide" else (long, ["--key", "name"])
    options = [file, *kinds, *SMALL, "--features", "wind", "--horizon", 2, "--interval", 0.8]
    plots = [tmp_path / "whole.png", tmp_path / "parts.png"]
    _, out, _ = streamlstm(
        "replay", *options, "--json", "--output", tmp_path / "whole.csv", "--plot", plots[0]
    )
    expected = json.loads(out)
    options += ["--output", tmp_path / "parts.csv", "--plot", plots[1]]
    options += ["--state", tmp_path / "state", "--snapshot-every", 100, "--json"]
    for stop in (1, 399, 998):
        assert streamlstm("replay", *options, "--limit", stop)[0] == 0
    code, out, err = streamlstm("replay", *options)
    result = json.loads(out)
    assert code == 0
    assert "continuing after 998 ticks" in err
    for name in ("seconds", "ticks_per_second"):
        del expected[name], result[name]
    assert result == expected
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert plots[1].read_bytes() == plots[0].read_bytes()
    code, _, err = streamlstm("replay", *options, "--seed", 1)
    assert (code, "a run with seed 0, not 1" in err) == (2, True)


@pytest.mark.parametrize("kind", [[], ["--wide", "--target", "load"]])
def test_a_replay_of_bars_is_one_of_a_file_of_bars(streamlstm, stream, tmp_path, kind):
    """Days of hours; the last is open when the file ends."""
    days = pd.read_csv(stream, parse_dates=["time"], index_col="time").resample("D")
    table = days["load"].agg(["mean", "max"]).set_axis(["load", "high"], axis=1)
    table["wind:sum"] = days["wind"].sum()
    table.index = (table.index + pd.Timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = tmp_path / "days.csv"
    table.iloc[:-1].to_csv(made)
    options = ["--features", "high,wind:sum", *kind, *SMALL, "--horizon", 2, "--output"]
    assert streamlstm("replay", made, *options, tmp_path / "whole.csv")[0] == 0
    parts = ["replay", stream, *options, tmp_path / "parts.csv", "--bars", "1d:mean"]
    parts += ["--state", tmp_path / "state"]
    assert streamlstm(*parts, "--limit", 20)[0] == 0
    code, out, err = streamlstm(*parts)
    assert code == 0
    assert "continuing after 20 ticks" in err
    assert ("stream.csv: load, mean of 1d" in out) is (not kind)
    found, expected = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("parts", "whole"))
    assert len(found) == 49
    pd.testing.assert_frame_equal(found, expected)
    code, _, err = streamlstm(*parts, "--bars", "1d")
    assert (code, "a run with bars 1d:mean, not 1d" in err) == (2, True)


def test_bars_may_come_at_the_speed_of_their_ticks(streamlstm, tmp_path):
    """Of a second each, the first of them at once."""
    path, whole, slow = (tmp_path / f"{name}.csv" for name in ("ticks", "whole", "slow"))
    rows = (f"{10**9 + t / 10},{t % 7}\n" for t in range(100))
    path.write_text("time,load\n" + "".join(rows))
    command = ["replay", path, *SMALL, "--bars", "1s", "--output"]
    assert streamlstm(*command, whole)[0] == 0
    _, out, _ = streamlstm(*command, slow, "--speed", 20, "--json")
    assert json.loads(out)["ticks"] == 9
    assert 8 / 20 < json.loads(out)["seconds"] < 10
    assert slow.read_bytes() == whole.read_bytes()


def test_ticks_that_are_in_no_bar_are_told_of(streamlstm, tmp_path):
    path = tmp_path / "ticks.csv"
    path.write_text(
        "time,load\n" + "".join(f"{t},{t % 7}\n" for t in [*range(60), 3, *range(60, 90)])
    )
    code, _, err = streamlstm("replay", path, *SMALL, "--bars", "10s")
    assert code == 0
    assert "note: late for their bar and left out: 1 tick\n" in err


@pytest.mark.parametrize(("name", "system"), [("a.parquet", "parquet"), ("a.csv.gz", "csv")])
def test_the_name_of_a_file_says_what_it_is(streamlstm, stream, monkeypatch, name, system):
    class Source:
        def __init__(self, path, **_):
            raise InputError(f"{path.name} is read as {system}")

    monkeypatch.setattr(replays, "_connector", lambda *kind: {(system, "source"): Source}[kind])
    path = stream.rename(stream.with_name(name))
    code, _, err = streamlstm("replay", path)
    assert (code, err) == (1, f"error: {name} is read as {system}\n")


def test_a_replay_may_take_the_time_that_the_stream_took(streamlstm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    minutes = pd.date_range("2024-01-01", periods=40, freq="min").strftime("%Y-%m-%dT%H:%M:%S")
    frame = pd.DataFrame({"time": minutes, "load": random_walk(40)})
    frame.to_csv("stream.csv", index=False)
    command = ["replay", "stream.csv", *SMALL, "--output"]
    assert streamlstm(*command, "whole.csv")[0] == 0
    _, out, _ = streamlstm(*command, "slow.csv", "--speed", 60 * 50, "--json")
    assert 39 / 50 < json.loads(out)["seconds"] < 10
    assert Path("slow.csv").read_bytes() == Path("whole.csv").read_bytes()
    part = [*command, "part.csv", "--state", "state"]
    assert streamlstm(*part, "--limit", 38)[0] == 0
    start = time.perf_counter()
    assert streamlstm(*part, "--speed", 60)[0] == 0
    assert 1 < time.perf_counter() - start < 20, "not a second for each minute before"
    assert Path("part.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_a_progress_bar_on_a_terminal(stream):
    """In a process of its own with a pseudo-terminal for standard error."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "streamlstm", "replay", str(stream), "--json"]
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
