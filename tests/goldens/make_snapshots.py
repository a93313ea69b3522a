"""Writes the snapshots that later versions have to load, or to refuse: python make_snapshots.py.

Those in this folder were written by version 0.1.
"""

from pathlib import Path

from streamlstm import (
    ForecasterFleet,
    LSTMClassifier,
    LSTMForecaster,
    LSTMMultiTargetRegressor,
    LSTMRegressor,
    save,
)

VALUES = [1.0, 4.0, 2.0, 8.0, 5.0]
# Without a drift detector, whose state is river's.
SMALL = {"hidden_size": 2, "window": 2, "horizon": 1, "preset": "fast", "season": 5, "drift": False}


def main() -> None:
    """Write one of each class."""
    folder = Path(__file__).parent
    forecaster = LSTMForecaster(**SMALL)
    for n in range(100):
        forecaster.learn_one(VALUES[n % 5], {"a": n % 3})
    save(forecaster, folder / "forecaster.snapshot", {"row": 100})
    regressor = LSTMRegressor(hidden_size=2, window=2, embedding_size=2, learning_rate=0.01)
    for n in range(300):
        regressor.learn_one({"word": ["up", "down"][n % 2], 7: 1.0}, n % 2)
    save(regressor, folder / "regressor.snapshot", {"row": 300})
    for weights in ("private", "shared"):
        fleet = ForecasterFleet(LSTMForecaster(**SMALL), weights)
        for n in range(60):
            y = VALUES[n % 5]
            fleet.learn_many(["a", "b"], [y, 10 * y], {"f": [n % 3, n % 2]})
        save(fleet, folder / f"fleet_{weights}.snapshot", {"row": 60})
    classifier = LSTMClassifier(hidden_size=2, window=2, learning_rate=0.02)
    several = LSTMMultiTargetRegressor(hidden_size=2, window=2, learning_rate=0.02)
    for n in range(300):
        classifier.learn_one({"x": n % 2}, ["up", "down"][n % 2])
        several.learn_one({"x": n % 2}, {"up": n % 2, "down": -(n % 2)})
    save(classifier, folder / "classifier.snapshot", {"row": 300})
    save(several, folder / "multi_target.snapshot", {"row": 300})


if __name__ == "__main__":
    main()
