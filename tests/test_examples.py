"""Every example runs and prints what it promises."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("embed", "next six hours"),
        ("replay_csv", "Result(ticks=8611"),
        ("river_pipeline", "MAE: "),
    ],
)
def test_example(name, shown, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert shown in capsys.readouterr().out


def test_every_example_is_tested():
    found = {path.stem for path in EXAMPLES.glob("*.py")}
    assert found == {"embed", "replay_csv", "river_pipeline"}
