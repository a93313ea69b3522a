"""Replay a recorded stream from Python, as `streamlstm replay` does.

Run with `python examples/replay_csv.py`.
"""

from pathlib import Path

from streamlstm import replay

DATA = Path(__file__).parent / "data" / "wti_oil_daily.csv"


def main():
    """Score one-step forecasts of the oil price."""
    result = replay(DATA, time="date", target="price")
    print(result)
    print(f"MAE {result.figures['mae']:.3f}, seasons of {result.model.seasons_} ticks")


if __name__ == "__main__":
    main()
