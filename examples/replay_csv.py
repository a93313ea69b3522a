"""Replay a recorded stream from Python, as `streamlstm replay` does.

Run with `python examples/replay_csv.py`.
"""

from pathlib import Path

from streamlstm_connectors.files.csv import CSVSource

from streamlstm import LSTMForecaster
from streamlstm.replays.evaluate import Score
from streamlstm.replays.runner import run

DATA = Path(__file__).parent / "data" / "wti_oil_daily.csv"


def main() -> None:
    """Score one-step forecasts of the oil price."""
    source = CSVSource(DATA, time="date", target="price")
    model, score = LSTMForecaster(), Score()
    for batch, forecasts, _ in run(model, source):
        score.update(batch.values, forecasts[:, 0])
    print(f"seasons found: {model.seasons_} ticks")
    print(score.result())


if __name__ == "__main__":
    main()
