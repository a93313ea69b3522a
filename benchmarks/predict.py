"""Time to predict the next tick, against other libraries, on one thread.

`LSTMRegressor.predict_one` takes a dict of 8 features; the others get their own kind of array. Run
with `python benchmarks/predict.py`.
"""

import argparse

import harness

harness.one_thread()

import peers  # noqa: E402

OURS = "streamlstm"


def main() -> None:
    """Compare every predictor at every size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 16, 32, 64, 128, 256])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each side in a round")
    arguments = parser.parse_args()
    builders = {OURS: peers.streamlstm_predictor, **peers.PREDICTORS}
    rows, data = [], []
    for H in arguments.sizes:
        sides = harness.available(builders, H)
        figures = harness.in_turns(sides, arguments.rounds, arguments.seconds)
        rows.append([str(H), *harness.compared(figures, OURS, list(peers.PREDICTORS))])
        data.append({"H": H, "us": {name: f.rounds for name, f in figures.items()}})
    title = "Predict the next tick, microseconds: median (min-max), and median and ratio of peers"
    harness.report("predict", title, ["H", OURS, *peers.PREDICTORS], rows, data)


if __name__ == "__main__":
    main()
