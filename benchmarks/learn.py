"""Time to learn from one tick, against other libraries, on one thread.

8 features, one LSTM layer, a linear head, squared error, clipping by norm, Adam. Run with
`python benchmarks/learn.py`; `--quick` measures the default configuration alone.
"""

import argparse

import harness

harness.one_thread()

import peers  # noqa: E402

SIZES, WINDOWS, STRIDES = (8, 16, 32, 64, 128, 256), (1, 8, 20, 64), (1, 8)
OURS = "streamlstm"


def compare(names: list[str], hidden_size: int, window: int, stride: int, arguments):
    builders = {OURS: peers.streamlstm_learner, **{name: peers.LEARNERS[name] for name in names}}
    sides = harness.available(builders, hidden_size, window, stride)
    figures = harness.in_turns(sides, arguments.rounds, arguments.seconds)
    row = [str(hidden_size), str(window), str(stride), *harness.compared(figures, OURS, names)]
    print(", ".join(row), flush=True)
    data = {name: f.rounds for name, f in figures.items()}
    return row, {"H": hidden_size, "window": window, "stride": stride, "us": data}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each side in a round")
    parser.add_argument("--peers", nargs="+", default=[*peers.LEARNERS], choices=peers.LEARNERS)
    parser.add_argument("--name", default="learn", help="of the file of results")
    arguments = parser.parse_args()
    header = ["H", "window", "stride", OURS]

    names = [name for name in peers.LEARNERS if name in arguments.peers]
    results = [compare(names, H, 20, 1, arguments) for H in (32, 64, 128)]
    title = "Learn from one tick, microseconds: median (min-max), and median and ratio of peers"
    rows, data = map(list, zip(*results, strict=True))
    harness.report(arguments.name, title, [*header, *names], rows, data)
    if arguments.quick:
        return
    configurations = [
        (H, window, stride)
        for H in SIZES
        for window in WINDOWS
        for stride in STRIDES
        if stride <= window
    ]
    name = "PyTorch eager"
    results = [compare([name], *configuration, arguments) for configuration in configurations]
    rows, data = map(list, zip(*results, strict=True))
    title = "Learn from one tick over sizes, windows and strides, microseconds a tick"
    harness.report("learn_grid", title, [*header, name], rows, data)


if __name__ == "__main__":
    main()
