"""replay --state: a run that was cut short ends as one that never was."""

import json
import logging
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from streamlstm_connectors.files import table_source
from streams import random_walk, seasonal

from streamlstm.cli import app as cli
from streamlstm.replays import resume
from streamlstm.snapshots.directory import Snapshots

FAST = ["--preset", "fast", "--hidden-size", 4, "--window", 5, "--interval", 0.8, "--horizon", 3]
TICKS = 1000


@pytest.fixture
def streamlstm(monkeypatch, capsys):
    """Replay in this process; gives exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["streamlstm", "replay", *map(str, arguments)])
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
    """An hourly stream with a feature; two of its times repeat, and one goes back."""
    path = tmp_path / "stream.csv"
    times = pd.date_range("2024-01-01", periods=TICKS, freq="h").to_series()
    times.iloc[[100, 700]], times.iloc[900] = times.iloc[[99, 699]].to_numpy(), times.iloc[890]
    frame = {"time": times.dt.strftime("%Y-%m-%dT%H:%M:%S"), "load": seasonal(TICKS)}
    pd.DataFrame(frame | {"wind": random_walk(TICKS)}).to_csv(path, index=False)
    return path


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A directory for snapshots, which are made after 300, 600, ... ticks."""
    monkeypatch.chdir(tmp_path)
    return ["--state", "state", "--snapshot-every", 300, "--output", "out.csv"]


def figures(printed):
    """What does not depend on how long it took."""
    result = json.loads(printed)
    del result["seconds"], result["ticks_per_second"]
    return result


@pytest.mark.parametrize("stops", [[1], [300], [299, 301], [5, 6, 500, 999], [1000]])
def test_a_run_in_parts_is_one_run(streamlstm, stream, state, stops):
    options = [stream, *FAST, "--features", "wind", "--json"]
    _, expected, notes = streamlstm(*options, "--output", "whole.csv")
    for stop in stops:
        code, out, _ = streamlstm(*options, *state, "--limit", stop)
        assert code == 0
        assert json.loads(out)["ticks"] == stop
    code, out, err = streamlstm(*options, *state)
    assert code == 0
    assert figures(out) == figures(expected)
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()
    guessed, _, notes = notes.partition("\n")
    assert notes.count("note: ") == 2, "of times that repeat, and that go back"
    assert err == f"{guessed}\ncontinuing after {stops[-1]:,} tick{'s' * (stops[-1] > 1)}\n{notes}"


def test_a_run_that_is_done_says_the_same_again(streamlstm, stream, state):
    options = [stream, *FAST, *state]
    first = streamlstm(*options, "--plot", "a.png")
    files = {path: path.read_bytes() for path in Path("state").iterdir()}
    assert streamlstm(*options, "--plot", "b.png")[:2] == first[:2]
    assert {path: path.read_bytes() for path in Path("state").iterdir()} == files
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert streamlstm(*options, "--json")[1] == streamlstm(*options, "--json")[1]


def test_a_file_that_has_grown_goes_on(streamlstm, stream, state):
    lines = stream.read_text().splitlines(keepends=True)
    stream.write_text("".join(lines[:700]))
    assert streamlstm(stream, *FAST, *state)[0] == 0
    stream.write_text("".join(lines))
    _, out, err = streamlstm(stream, *FAST, *state, "--json")
    assert "continuing after 699 ticks" in err
    _, expected, _ = streamlstm(stream, *FAST, "--output", "whole.csv", "--json")
    assert figures(out) == figures(expected)
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_what_was_written_after_the_snapshot_is_written_anew(streamlstm, stream, state):
    streamlstm(stream, *FAST, "--output", "whole.csv")
    streamlstm(stream, *FAST, *state, "--limit", 600)
    with Path("out.csv").open("a") as output:
        output.write("2024-01-26T00:00:00,5.0,4.0\n2024-01-26T0")
    streamlstm(stream, *FAST, *state)
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_a_damaged_snapshot_costs_but_its_ticks(streamlstm, stream, state, caplog):
    streamlstm(stream, *FAST, "--output", "whole.csv")
    streamlstm(stream, *FAST, *state, "--limit", 700)
    newest = max(Path("state").glob("*.snapshot"))
    newest.write_bytes(newest.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING, "streamlstm"):
        _, _, err = streamlstm(stream, *FAST, *state)
    assert "continuing after 600 ticks" in err
    assert "is cut off" in caplog.text
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_a_full_disk_ends_the_run_which_can_go_on(streamlstm, stream, state):
    streamlstm(stream, *FAST, "--output", "whole.csv")
    streamlstm(stream, *FAST, *state, "--limit", 300)
    size = max(path.stat().st_size for path in Path("state").iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        code, out, err = streamlstm(stream, *FAST, *state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (code, out) == (1, "")
    assert "error: " in err.splitlines()[-1]
    assert "File too large" in err.splitlines()[-1]
    _, _, err = streamlstm(stream, *FAST, *state)
    assert "continuing after 300 ticks" in err
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", 1], "a run with seed 0, not 1"),
        (["--horizon", 2], "a run with horizon 3, not 2"),
        (["--season", "24"], "a run with season auto, not (24,)"),
        (["--interval", 0.9], "a run with interval 0.8, not 0.9"),
        (["--time", "none"], "a run with time auto, not none"),
        (["--known", "wind"], "a run with known none, not wind"),
        (["--output", "other.csv"], "a run with output out.csv, not other.csv"),
        (["--limit", 100], "500 ticks, more than the limit of 100"),
    ],
)
def test_another_run_is_refused(streamlstm, stream, state, options, message):
    assert streamlstm(stream, *FAST, *state, "--limit", 500)[0] == 0
    before = Path("out.csv").read_bytes()
    code, out, err = streamlstm(stream, *FAST, *state, *options)
    assert (code, out) == (2, "")
    expected = f"error: state holds {message}: use another directory for this run"
    assert err.splitlines()[-1] == expected
    assert Path("out.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("01-05T07", "01-05T08"), "500 ticks that are not the first"),
        (lambda text: text.replace(",6", ",7", 1), "500 ticks that are not the first"),
        (lambda text: text[: len(text) // 3], "500 ticks, more than the 331 of this source"),
    ],
)
def test_another_file_is_refused(streamlstm, stream, state, change, message):
    streamlstm(stream, *FAST, *state, "--limit", 500)
    stream.write_text(change(stream.read_text()))
    code, _, err = streamlstm(stream, *FAST, *state)
    assert code == 2
    assert message in err.splitlines()[-1]


def test_an_output_that_has_lost_rows_is_refused(streamlstm, stream, state):
    streamlstm(stream, *FAST, *state, "--limit", 500)
    Path("out.csv").write_text("")
    code, _, err = streamlstm(stream, *FAST, *state)
    assert code == 1
    assert "out.csv has 0 bytes, but " in err.splitlines()[-1]


def test_a_directory_in_use_is_refused(streamlstm, stream, state):
    with Snapshots("state"):
        code, _, err = streamlstm(stream, *FAST, *state)
    assert code == 1
    assert "error: state is in use by another run" in err.splitlines()[-1]


def test_snapshots_need_a_directory(streamlstm, stream):
    code, _, err = streamlstm(stream, "--snapshot-every", 100)
    assert code == 2
    assert "--snapshot-every needs --state" in err.splitlines()[-1]


def test_by_default_the_clock_says_when(streamlstm, stream, state, monkeypatch):
    saved = []
    monkeypatch.setattr(Snapshots, "save", lambda self, model, position: saved.append(position))
    monkeypatch.setattr(table_source, "BATCH_TICKS", 400)
    for seconds, expected in [(0.0, [400, 800, TICKS]), (10.0, [TICKS])]:
        monkeypatch.setattr(resume, "SECONDS", seconds)
        streamlstm(stream, *FAST, "--state", "state")
        assert [position["ticks"] for position in saved] == expected
        saved.clear()


def test_a_process_that_was_killed(streamlstm, stream, state):
    """Of its own, with nothing loaded: see the next test for one hundred."""
    options = [stream, *FAST, *state, "--json"]
    options[options.index(300)] = 20
    command = [sys.executable, "-m", "streamlstm", "replay", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while len(list(Path("state").glob("*.snapshot"))) < 3:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    with Snapshots("state") as snapshots:
        assert 0 < snapshots.load().position["ticks"] < TICKS
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "continuing after" in done.stderr
    _, expected, _ = streamlstm(stream, *FAST, "--output", "whole.csv", "--json")
    assert figures(done.stdout) == figures(expected)
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_killed_a_hundred_times(tmp_path):
    """Bytes of forecasts, figures and the last snapshot are those of a run never killed."""
    script = Path(__file__).parents[1] / "helpers" / "killed_runs.py"
    done = subprocess.run(
        [sys.executable, str(script), "100", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[:2] == ["100", "kills"]
    assert int(words[5]) > 0, "while a snapshot was written"
