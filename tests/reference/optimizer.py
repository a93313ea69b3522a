"""Losses and optimisers in float64."""

from dataclasses import dataclass, field

import numpy as np

from reference.lstm import Array


def loss_value(kind: str, error: Array) -> Array:
    """Elementwise loss of error = prediction - target; the Huber threshold is 1."""
    if kind == "squared":
        return 0.5 * error**2
    if kind == "absolute":
        return np.abs(error)
    return np.where(np.abs(error) <= 1, 0.5 * error**2, np.abs(error) - 0.5)


def loss_gradient(kind: str, error: Array) -> Array:
    """Derivative of `loss_value`."""
    if kind == "squared":
        return error
    if kind == "absolute":
        return np.sign(error)
    return np.clip(error, -1, 1)


@dataclass
class Optimizer:
    """SGD with momentum 0.9, RMSProp or Adam on a dict of arrays, after clipping.

    Afterwards the matrices, but not the biases, decay by learning_rate x weight_decay.
    """

    kind: str
    learning_rate: float
    clip_norm: float
    weight_decay: float = 0.0
    updates: int = 0
    first: dict[str, Array] = field(default_factory=dict)
    second: dict[str, Array] = field(default_factory=dict)

    def step(self, params: dict[str, Array], grads: dict[str, Array]) -> None:
        """Change `params` in place."""
        self.updates += 1
        norm = np.sqrt(sum(np.sum(d**2) for d in grads.values()))
        for name, p in params.items():
            d = grads[name] * min(1.0, self.clip_norm / norm if norm > 0 else 1.0)
            m = self.first.get(name, np.zeros_like(p))
            v = self.second.get(name, np.zeros_like(p))
            if self.kind == "sgd":
                m = 0.9 * m + d
                change = m
            elif self.kind == "rmsprop":
                v = 0.99 * v + 0.01 * d**2
                change = d / (np.sqrt(v) + 1e-8)
            else:
                m = 0.9 * m + 0.1 * d
                v = 0.999 * v + 0.001 * d**2
                m_hat, v_hat = m / (1 - 0.9**self.updates), v / (1 - 0.999**self.updates)
                change = m_hat / (np.sqrt(v_hat) + 1e-8)
            self.first[name], self.second[name] = m, v
            p -= self.learning_rate * change
            if p.ndim == 2:
                p *= 1 - self.learning_rate * self.weight_decay
