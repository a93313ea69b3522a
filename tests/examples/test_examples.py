"""Every example runs and prints its results."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("adding_problem", "of 2560 new ones wrong"),
        ("continual_reber", "symbols between errors"),
        ("embed", "next six hours"),
        ("fleet", "worst   error"),
        ("offline_then_online", "learning on"),
        ("replay_csv", "MAE 0.760, seasons of (5,) ticks"),
        ("replay_wide", "XOM: Result(ticks=1257"),
        ("river_pipeline", "MAE: "),
        ("temporal_order", "of 2560 new ones wrong"),
    ],
)
def test_example(name, shown, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert shown in capsys.readouterr().out


def test_every_example_is_tested():
    found = {path.stem for path in EXAMPLES.glob("*.py")}
    tasks = {"adding_problem", "continual_reber", "temporal_order"}
    labs = {"sentiment", "stock_price", "text_generator", "translator"}  # in test_labs.py
    assert found == {
        "asyncio_service",  # in test_services.py
        "embed",
        "fastapi_service",  # likewise
        "fleet",
        "jsonl_connector",  # in test_connectors.py
        "replay_csv",
        "replay_wide",
        "river_pipeline",
        "offline_then_online",
        "classic_tasks",
        *tasks,
        *labs,
    }
