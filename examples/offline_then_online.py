"""Train an LSTM offline in PyTorch, convert it, and keep learning on the live stream.

Run with `python examples/offline_then_online.py`, after `pip install 'streamlstm[torch]'`.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from streamlstm import LSTMRegressor

DATA = Path(__file__).parent / "data" / "pedestrians_hourly.csv"
OFFLINE = 4000  # hours to train on; the rest is the stream
RATE = 0.0001  # online learning rate; the best of six on the last quarter of OFFLINE
HIDDEN, WINDOW, EPOCHS = 32, 168, 100


def hours() -> tuple[np.ndarray, np.ndarray, float]:
    """(T, 5) features known before each hour, (T,) standardised counts, and their unit.

    The features are the last count and the phases of day and week.
    """
    table = pd.read_csv(DATA, parse_dates=["timestamp"])
    counts = table["pedestrians"].to_numpy(np.float64)
    center, unit = counts[:OFFLINE].mean(), counts[:OFFLINE].std()
    y = (counts - center) / unit
    hour = table["timestamp"].dt.hour + 24 * table["timestamp"].dt.day_of_week
    turns = 2 * np.pi * np.outer(hour, [1 / 24, 1 / 168])
    return np.column_stack([np.append(0.0, y[:-1]), np.sin(turns), np.cos(turns)]), y, unit


def train(x: np.ndarray, y: np.ndarray) -> tuple[torch.nn.LSTM, torch.nn.Linear]:
    """Train on windows of WINDOW hours."""
    torch.manual_seed(0)
    rnn, head = torch.nn.LSTM(x.shape[1], HIDDEN), torch.nn.Linear(HIDDEN, 1)
    optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=0.01)
    windows = len(y) // WINDOW
    xs, ys = (
        torch.tensor(np.float32(a[: windows * WINDOW])).reshape(windows, WINDOW, -1).swapaxes(0, 1)
        for a in (x, y)
    )
    for _ in range(EPOCHS):
        loss = (head(rnn(xs)[0]) - ys).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return rnn, head


def main() -> None:
    """Predict the hours after training, once with frozen weights and once learning online."""
    x, y, unit = hours()
    rnn, head = train(x[:OFFLINE], y[:OFFLINE])
    x, y = x[OFFLINE:], y[OFFLINE:]
    frozen = LSTMRegressor.from_torch(rnn, head, learning_rate=0.0)
    online = LSTMRegressor.from_torch(rnn, head, learning_rate=RATE, loss="absolute")
    for name, predictions in [
        ("frozen", frozen.learn_many(x, y)),
        ("learning on", online.learn_many(x, y)),
        ("last value", x[:, 0]),
    ]:
        mae = np.abs(predictions - y).mean() * unit
        print(f"{name + ':':<13}MAE {mae:6.1f} pedestrians an hour over {len(y):,} hours")


if __name__ == "__main__":
    main()
