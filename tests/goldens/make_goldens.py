"""Write lstm.npz and gru.npz: outputs and gradients of PyTorch's layers for a few shapes.

Run by hand with PyTorch installed (`pip install -e ".[bench]"`), from the repository's root:

    python tests/goldens/make_goldens.py
"""

from pathlib import Path

import numpy as np
import torch

SHAPES = [(1, 1, 1), (5, 3, 2), (20, 8, 32), (7, 1, 13)]  # (T, I, H)
LAYERS = {"lstm": (torch.nn.LSTM, "hc"), "gru": (torch.nn.GRU, "h")}  # and their states


def golden(kind: str, T: int, I: int, H: int, seed: int) -> dict[str, np.ndarray]:
    """The loss is a fixed random weighting of all outputs and the final state."""
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    layer_type, states = LAYERS[kind]
    layer = layer_type(I, H)
    tensors = {"x": torch.randn(T, I, requires_grad=True)}
    tensors |= {f"{s}0": torch.randn(H).requires_grad_() for s in states}
    first = [tensors[f"{s}0"].view(1, 1, H) for s in states]
    out, last = layer(tensors["x"].view(T, 1, I), tuple(first) if len(first) > 1 else first[0])
    last = dict(zip(states, last if len(first) > 1 else [last], strict=True))
    weights = {"v_out": torch.randn(T, H)} | {f"v_{s}": torch.randn(H) for s in states}
    loss = (out[:, 0] * weights["v_out"]).sum()
    for s in states:
        loss = loss + (last[s] * weights[f"v_{s}"]).sum()
    loss.backward()
    tensors |= dict(layer.named_parameters())
    arrays = {name: t.detach().numpy() for name, t in tensors.items()}
    arrays |= {f"d_{name}": t.grad.numpy() for name, t in tensors.items()}
    arrays |= {name: t.numpy() for name, t in weights.items()}
    arrays |= {f"{s}_n": last[s].view(H).detach().numpy() for s in states[1:]}
    return arrays | {"out": out[:, 0].detach().numpy()}


if __name__ == "__main__":
    for kind in LAYERS:
        goldens = {}
        for seed, (T, I, H) in enumerate(SHAPES):
            for name, array in golden(kind, T, I, H, seed).items():
                goldens[f"{T}_{I}_{H}/{name}"] = array.astype(np.float32)
        np.savez_compressed(Path(__file__).with_name(f"{kind}.npz"), **goldens)
