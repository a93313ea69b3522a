"""Writes the snapshots that later versions have to load, or to refuse: python make_snapshots.py."""

from pathlib import Path

from streamlstm import LSTMForecaster, LSTMRegressor
from streamlstm.snapshots import snapshot

if __name__ == "__main__":
    folder = Path(__file__).parent
    # Without a drift detector, whose state is in the hands of river.
    forecaster = LSTMForecaster(
        hidden_size=2, window=2, horizon=1, preset="fast", season=5, drift=False
    )
    for n in range(100):
        forecaster.learn_one([1.0, 4.0, 2.0, 8.0, 5.0][n % 5], {"a": n % 3})
    snapshot.save(forecaster, folder / "forecaster.snapshot", {"row": 100})
    regressor = LSTMRegressor(hidden_size=2, window=2, embedding_size=2, learning_rate=0.01)
    for n in range(300):
        regressor.learn_one({"word": ["up", "down"][n % 2], 7: 1.0}, n % 2)
    snapshot.save(regressor, folder / "regressor.snapshot", {"row": 300})
