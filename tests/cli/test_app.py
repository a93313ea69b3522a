"""What all commands share: usage, help, version and logging."""

import inspect
import os
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import entry_points, version

import pytest

from streamlstm.cli import replay, run
from streamlstm.cli.options import LearningOptions


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
        ["replay", "FILE", "--known", "load", "--wide", "--target", "wind,load"],
        ["replay", "FILE", "--wide", "--key", "wind"],
        ["replay", "FILE", "--wide", "--target", ","],
        ["replay", "FILE", "--wide", "--worst", "-1"],
        ["replay", "FILE", "--weights", "shared"],
        ["replay", "FILE", "--wide", "--weights", "shared"],
        ["replay", "FILE", "--wide", "--weights", "own", "--preset", "fast"],
        ["replay", "FILE", "--speed", "0"],
        ["replay", "FILE", "--speed", "nan"],
        ["replay", "FILE", "--speed", "1", "--time", "none"],
        ["replay", "FILE", "--bars", "1 day"],
        ["replay", "FILE", "--bars", "1d:median"],
        ["replay", "FILE", "--bars", "1d", "--features", "wind"],
        ["replay", "FILE", "--bars", "1d", "--known", "wind"],
        ["replay", "FILE", "--bars", "1d", "--time", "none"],
        ["replay", "FILE", "--colour"],
        ["run", "--source", "redis://localhost/ticks", "--weights", "shared"],
        ["run", "--source", "redis://localhost/ticks", "--weights", "shared", "--key", "site"],
        ["run", "--source", "redis://localhost/ticks", "--weights", "own", "--key", "site"],
        ["run", "--source", "redis://localhost/ticks", "--bars", "5min"],
        ["run", "--source", "redis://localhost/ticks", "--bars", "5:median"],
        ["run", "--source", "redis://localhost/ticks", "--snapshot-seconds", "5"],
        ["run", "--source", "redis://localhost/ticks", "--state", ".", "--snapshot-seconds", "nan"],
    ],
)
def test_bad_usage_ends_with_code_2(streamlstm, stream, arguments):
    code, out, err = streamlstm(*[stream if word == "FILE" else word for word in arguments])
    assert code == 2
    assert out == "" or arguments == []
    assert "Traceback" not in err


def test_connectors_are_found_through_entry_points():
    assert "csv" in entry_points(group="streamlstm.sources").names
    assert "csv" in entry_points(group="streamlstm.sinks").names


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--help"], ["replay", "run", "warmup", "--version", "--log-level", "--show-completion"]),
        (["replay", "--help"], ["Ticks", "Model", "Forecasts", "Run", "[default: 32]", "Example:"]),
        (["run", "--help"], ["Ticks", "Model", "Forecasts", "Run", "[default: 32]", "Example:"]),
        (["warmup", "--help"], ["Example:"]),
    ],
)
def test_help_shows_groups_defaults_and_an_example(streamlstm, arguments, shown):
    code, out, _ = streamlstm(*arguments)
    assert code == 0
    for text in shown:
        assert text in out


def test_version(streamlstm):
    assert streamlstm("--version") == (0, f"streamlstm {version('streamlstm')}\n", "")


def test_both_commands_that_learn_have_the_same_options():
    shared = [each.name for each in fields(LearningOptions)]
    for command in (replay.replay, run.run):
        assert set(shared) <= set(inspect.signature(command).parameters)


def in_a_new_process(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "streamlstm", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete_commands_and_options(shell):
    done = in_a_new_process("--show-completion", shell)
    assert done.returncode == 0
    assert "_COMPLETE=complete_" in done.stdout


def test_the_log_has_the_level_asked_for(tmp_path):
    """Of a file whose timestamps repeat, which is a warning."""
    (tmp_path / "ticks.csv").write_text("time,value\n2024-01-01,1\n2024-01-01,2\n")
    run = ["run", "--source", f"csv:///{tmp_path}/ticks.csv", "--time", "time"]
    run += ["--preset", "fast", "--hidden-size", "4", "--window", "5"]
    for level, is_shown in [("warning", True), ("ERROR", False)]:
        done = in_a_new_process("--log-level", level, *run)
        assert done.returncode == 0, done.stderr
        assert (" WARNING streamlstm" in done.stderr) == is_shown
    assert in_a_new_process("--log-level", "loud", *run).returncode == 2
