"""Time to learn from one tick with every cell and learning rule, on one thread.

8 features, window 20, stride 1, squared error, Adam; 1,000 ticks a call of `learn_many`, so that
the kernel is what is timed. PyTorch eager, tick by tick, does two layers of LSTM cells. Run with
`python benchmarks/cells.py`.
"""

import argparse

import harness

harness.one_thread()

import peers  # noqa: E402

from streamlstm import LSTMRegressor  # noqa: E402
from streamlstm.kernels.cells import CELLS  # noqa: E402

SIZES = (32, 64, 128)
LSTM, TORCH = "lstm, tbptt", "PyTorch eager, 2 layers"
STACK = "lstm, tbptt, 2 layers"


def learner(hidden_size: int, **arguments) -> peers.Call:
    model = LSTMRegressor(hidden_size=hidden_size, **arguments)
    return lambda: model.learn_many(peers.XS, peers.YS)


def sides_of(hidden_size: int) -> dict[str, peers.Call]:
    sides = {}
    for cell, file in CELLS.items():
        for rule in filter(None, ("tbptt", file.FORWARD)):
            sides[f"{cell}, {rule}"] = learner(hidden_size, cell=cell, learning=rule)
    sides[STACK] = learner(hidden_size, num_layers=2)
    return sides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each side in a round")
    arguments = parser.parse_args()
    rows, data = [], []
    for H in SIZES:
        sides = sides_of(H)
        torch = harness.available({TORCH: lambda H: peers.torch_learner(H, 20, 1, layers=2)}, H)
        figures = harness.in_turns({**sides, **torch}, arguments.rounds, arguments.seconds)
        for name in sides:  # a call learns from all ticks
            rounds = [us / len(peers.YS) for us in figures[name].rounds]
            figures[name] = harness.Figures(rounds)
        for name, figure in figures.items():
            peer = figures[STACK] if name == TORCH else figures[LSTM]
            to = "the two layers" if name == TORCH else "lstm"
            rows.append([str(H), name, str(figure), f"{figure.ratio_to(peer):.3g} of {to}"])
        data.append({"H": H, "us": {name: f.rounds for name, f in figures.items()}})
    title = "Learn from one tick with every cell, microseconds: median (min-max), and ratio"
    harness.report("cells", title, ["H", "cell and rule", "learn", "time"], rows, data)


if __name__ == "__main__":
    main()
