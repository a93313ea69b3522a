"""Memory of a replay, of a process of its own, as the system tells it."""

import memory


def test_a_replay_does_not_grow_with_the_ticks(tmp_path, monkeypatch):
    """From 240,000 ticks on: by then all that is kept has been made."""
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")  # what is freed goes back to the system
    file = tmp_path / "stream.csv"
    memory.write_stream(file, 600_000)
    options = ["--season", "none", "--output", "out.csv", "--state", "state"]
    most, result = memory.replay(file, [*options, "--hidden-size", "2", "--window", "2"])
    assert result["ticks"] == 600_000
    assert min(most) > 50, "MB"
    assert sum(most[7:]) / 3 - most[4] < 4, most
