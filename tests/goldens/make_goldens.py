"""Write lstm.npz: outputs and gradients of torch.nn.LSTM for a few shapes.

Run by hand with PyTorch installed (`pip install -e ".[bench]"`), from the repository's root:

    python tests/goldens/make_goldens.py
"""

from pathlib import Path

import numpy as np
import torch

SHAPES = [(1, 1, 1), (5, 3, 2), (20, 8, 32), (7, 1, 13)]  # (T, I, H)


def golden(T: int, I: int, H: int, seed: int) -> dict[str, np.ndarray]:
    """The loss is a fixed random weighting of all outputs and the final state."""
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    lstm = torch.nn.LSTM(I, H)
    tensors = {
        "x": torch.randn(T, I, requires_grad=True),
        "h0": torch.randn(H).requires_grad_(),
        "c0": torch.randn(H).requires_grad_(),
    }
    state = (tensors["h0"].view(1, 1, H), tensors["c0"].view(1, 1, H))
    out, (h_n, c_n) = lstm(tensors["x"].view(T, 1, I), state)
    weights = {"v_out": torch.randn(T, H), "v_h": torch.randn(H), "v_c": torch.randn(H)}
    loss = (out[:, 0] * weights["v_out"]).sum()
    loss = loss + (h_n * weights["v_h"]).sum() + (c_n * weights["v_c"]).sum()
    loss.backward()
    tensors |= dict(lstm.named_parameters())
    arrays = {name: t.detach().numpy() for name, t in tensors.items()}
    arrays |= {f"d_{name}": t.grad.numpy() for name, t in tensors.items()}
    arrays |= {name: t.numpy() for name, t in weights.items()}
    return arrays | {"out": out[:, 0].detach().numpy(), "c_n": c_n.view(H).detach().numpy()}


if __name__ == "__main__":
    goldens = {}
    for seed, (T, I, H) in enumerate(SHAPES):
        for name, array in golden(T, I, H, seed).items():
            goldens[f"{T}_{I}_{H}/{name}"] = array.astype(np.float32)
    np.savez_compressed(Path(__file__).with_name("lstm.npz"), **goldens)
