"""Kill replays with SIGKILL at random points and resume them. Arguments: KILLS FOLDER.

The runs are forks of one process with modules and kernels loaded, so a run takes a fraction of a
second. Prints the number of kills and of runs, and fails at the first run whose results differ from
those of a run that was never killed.
"""

import io
import json
import os
import random
import shutil
import signal
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import pandas as pd
from streams import random_walk, seasonal

from streamlstm.cli import app as cli
from streamlstm.snapshots import file

TICKS = 20_000
OPTIONS = [
    "--preset", "fast", "--hidden-size", "4", "--window", "5", "--features", "walk",
    "--horizon", "2", "--interval", "0.9", "--json",
]  # fmt: skip
LONGEST = 0.4  # seconds before a kill, at most; a run takes about twice as long


def replay(*arguments):
    """Run the command in this process and return what it prints."""
    sys.argv = ["streamlstm", "replay", *map(str, arguments)]
    with redirect_stdout(io.StringIO()) as printed:
        try:
            cli.main()
        except SystemExit as stop:
            if stop.code:
                raise
    return printed.getvalue()


def start(file, folder):
    """Run the command in a child process and return its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(folder)
            state = ["--state", "state", "--snapshot-every", 500]
            printed = replay(file, *OPTIONS, *state, "--output", "out.csv")
            Path("printed").write_text(printed)
            code = 0
        finally:
            os._exit(code)
    return child


def finished(child):
    """Whether a process finished before it was killed; it must have succeeded then."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), f"the run ended with {code}"
    return code == 0


def outcome(folder):
    """The results of a run, without the time that it took."""
    newest = max((folder / "state").glob("*.snapshot"))
    saved = file.open_file(newest)
    pairs = [pair for pair in saved.header["position"]["dict"] if pair[0] != "seconds"]
    figures = json.loads((folder / "printed").read_text())
    del figures["seconds"], figures["ticks_per_second"]
    return {
        "forecasts": (folder / "out.csv").read_bytes(),
        "figures": figures,
        "model": saved.header["model"],
        "surroundings": pairs,
        "arrays": bytes(saved.arrays),
    }


def main(kills, folder):
    """Kill runs and compare their results until there have been this many kills."""
    file = folder / "stream.csv"
    times = pd.date_range("2024-01-01", periods=TICKS, freq="h").strftime("%Y-%m-%dT%H:%M:%S")
    values = seasonal(TICKS)
    values[TICKS // 2 :] += 3 * random_walk(TICKS - TICKS // 2)
    frame = pd.DataFrame({"time": times, "load": values, "walk": random_walk(TICKS, 1)})
    frame.drop(index=[9000, 9001]).to_csv(file, index=False)
    replay(file, *OPTIONS, "--limit", 300, "--output", os.devnull)  # loads modules and kernels
    whole = folder / "whole"
    whole.mkdir()
    assert finished(start(file, whole))
    expected, rng = outcome(whole), random.Random(0)
    killed = runs = unfinished = 0
    while killed < kills:
        runs += 1
        part = folder / f"run {runs}"
        part.mkdir()
        done = False
        while not done:
            child = start(file, part)
            if killed < kills:
                time.sleep(rng.uniform(0, LONGEST))
                os.kill(child, signal.SIGKILL)
            done = finished(child)
            killed += not done
            unfinished += any(part.glob("state/.*.unfinished"))
        found = outcome(part)
        for name, one in expected.items():
            assert found[name] == one, f"{name} of run {runs}, after {killed} kills in all"
        shutil.rmtree(part)
    print(killed, "kills in", runs, "runs,", unfinished, "while a snapshot was written")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
