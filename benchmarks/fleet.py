"""A round of ticks, one for each of S streams, learned in one call.

`ForecasterFleet` with the last value and the LSTM as its experts (window 20, stride 1, Adam), and
with the whole committee, on one thread and on all; against PyTorch learning windows of 8 features.
Private weights: a loop of models tick by tick, and all models at once through `torch.func.vmap`, on
all cores. Shared weights: one `torch.nn.LSTM` on a batch of S windows, on all cores. Run with
`python benchmarks/fleet.py`.
"""

import argparse
import itertools
import os
import time

import harness
import numpy as np
import peers

from streamlstm import ForecasterFleet, LSTMForecaster

STREAMS, SIZES, WINDOW = (100, 1000), (32, 64), 20
NETWORK = ("last", "lstm")
CORES = os.cpu_count() or 1


def fleet(S: int, H: int, weights: str, threads: int, **parameters) -> peers.Call:
    """Ours, warmed up beyond the window."""
    model = LSTMForecaster(H, window=WINDOW, preset="fast", season=None, **parameters)
    streams = ForecasterFleet(model, weights, threads=threads)
    rounds = itertools.cycle(np.random.default_rng(0).normal(size=(200, S)).cumsum(axis=0))
    keys = range(S)
    for _ in range(2 * WINDOW):
        streams.learn_many(keys, next(rounds))
    return lambda: streams.learn_many(keys, next(rounds))


def torch_loop(S: int, H: int) -> peers.Call:
    """A model each, one after the other, on one thread: with two each tick takes longer."""
    learners = [peers.torch_learner(H, WINDOW, 1) for _ in range(S)]
    import torch

    def learn():
        torch.set_num_threads(1)
        for learner in learners:
            learner()

    return learn


def torch_vmap(S: int, H: int) -> peers.Call:
    """All models at once: parameters, windows and Adam's averages stacked."""
    import torch

    torch.manual_seed(0)
    cells = [torch.nn.LSTMCell(peers.FEATURES, H) for _ in range(S)]
    heads = [torch.nn.Linear(H, 1) for _ in range(S)]
    params = {
        name: torch.stack([dict(module.named_parameters())[name].detach() for module in modules])
        for modules in (cells, heads)
        for name in dict(modules[0].named_parameters())
    }
    averages = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in params.items()}
    stream = np.random.default_rng(0).normal(size=(200, S, peers.FEATURES + 1))
    ticks = itertools.cycle(torch.tensor(stream, dtype=torch.float32))
    window = [next(ticks) for _ in range(WINDOW)]
    updates = 0

    def loss(p, xs, h, c, target):
        states = []
        for x in xs:
            z = p["weight_ih"] @ x + p["bias_ih"] + p["weight_hh"] @ h + p["bias_hh"]
            i, f, g, o = z.chunk(4)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append((h, c))
        error = (p["weight"] @ h + p["bias"])[0] - target
        return 0.5 * error * error, states[0]

    gradients = torch.func.vmap(torch.func.grad(loss, has_aux=True), in_dims=(0, 1, 0, 0, 0))
    h = c = torch.zeros(S, H)

    def learn():
        nonlocal h, c, updates
        torch.set_num_threads(CORES)
        window.append(next(ticks))
        del window[0]
        xs = torch.stack([tick[:, :-1] for tick in window])
        grads, (h, c) = gradients(params, xs, h, c, window[-1][:, -1])
        squares = sum(g.square().flatten(1).sum(1) for g in grads.values())
        factor = (1.0 / squares.sqrt()).clamp(max=1.0)
        updates += 1
        for name, p in params.items():
            g = grads[name] * factor.view(-1, *[1] * (p.dim() - 1))
            m, v = averages[name]
            m.mul_(0.9).add_(g, alpha=0.1)
            v.mul_(0.999).addcmul_(g, g, value=0.001)
            scale = (v / (1 - 0.999**updates)).sqrt_().add_(1e-8)
            p.addcdiv_(m, scale, value=-peers.RATE / (1 - 0.9**updates))

    return learn


def torch_batch(S: int, H: int) -> peers.Call:
    """One model on the newest windows of all streams, each from its state before the window."""
    import torch

    torch.manual_seed(0)
    lstm, head = torch.nn.LSTM(peers.FEATURES, H), torch.nn.Linear(H, 1)
    params = [*lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(params, lr=peers.RATE)
    stream = np.random.default_rng(0).normal(size=(200, S, peers.FEATURES + 1))
    ticks = itertools.cycle(torch.tensor(stream, dtype=torch.float32))
    window = [next(ticks) for _ in range(WINDOW)]
    state = torch.zeros(1, S, H), torch.zeros(1, S, H)

    def learn():
        nonlocal state
        torch.set_num_threads(CORES)
        window.append(next(ticks))
        xs = torch.stack([tick[:, :-1] for tick in window[1:]])
        with torch.no_grad():  # the state before the window moves on by a tick
            _, state = lstm(window.pop(0)[None, :, :-1], state)
        hs, _ = lstm(xs, state)
        loss = 0.5 * (head(hs[-1])[:, 0] - window[-1][:, -1]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()

    return learn


def timed(call: peers.Call, calls: int) -> float:
    """Microseconds of a call, mean of several."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls * 1e6


def main() -> None:
    """Time all sides in turn: ours over 32 rounds, so that a look for drift is among them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rivals = {
        "private": {"PyTorch loop": torch_loop, "vmap": torch_vmap},
        "shared": {"PyTorch batch": torch_batch},
    }
    names = [name for each in rivals.values() for name in each]
    header = ["weights", "streams", "H", "fleet", "1 thread", "committee", *names]
    rows, data = [], []
    for weights, S, H in itertools.product(rivals, STREAMS, SIZES):
        sides = {
            "fleet": fleet(S, H, weights, CORES, horizon=1, experts=NETWORK),
            "1 thread": fleet(S, H, weights, 1, horizon=1, experts=NETWORK),
            "committee": fleet(S, H, weights, CORES),
        }
        calls = dict.fromkeys(sides, 32)
        sides |= harness.available(rivals[weights], S, H)
        taken = [
            {name: timed(call, calls.get(name, 1)) for name, call in sides.items()}
            for _ in range(1 + arguments.rounds)
        ]
        figures = {name: harness.Figures([t[name] for t in taken[1:]]) for name in sides}
        rows.append([weights, str(S), str(H), *harness.compared(figures, "fleet", header[4:])])
        us = {name: f.rounds for name, f in figures.items()}
        data.append({"weights": weights, "S": S, "H": H, "us": us})
    title = f"Learn one round of ticks, microseconds: median (min-max), and ratio; {CORES} threads"
    harness.report("fleet", title, header, rows, data)


if __name__ == "__main__":
    main()
