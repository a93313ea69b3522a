"""The LSTM in float64, with h and c as arrays of their own; `reference.cells` has it as a cell.

Letters: T time, I inputs, H hidden, K outputs; gate order i, f, g, o; `d_x` is the gradient of the
loss with respect to x.
"""

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), in a form that cannot overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


@dataclass
class Step:
    """What one forward step leaves for its backward step."""

    inputs: Array  # (H + I,) = [h_prev, x]
    gates: Array  # (4H,)
    c_prev: Array  # (H,)
    c: Array  # (H,)
    h: Array  # (H,)


def lstm_step(x: Array, h_prev: Array, c_prev: Array, w: Array, b: Array) -> Step:
    """One step of the LSTM with forget gate. x: (I,); w: (H + I, 4H); b: (4H,)."""
    inputs = np.concatenate([h_prev, x])
    i, f, g, o = np.split(inputs @ w + b, 4)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c_prev + i * g
    return Step(inputs, np.concatenate([i, f, g, o]), c_prev, c, o * np.tanh(c))


def lstm_step_backward(
    step: Step, d_h: Array, d_c: Array, w: Array
) -> tuple[Array, Array, Array, Array]:
    """Gradients of one step: (d_h_prev, d_c_prev, d_x, d_z)."""
    H = step.h.size
    i, f, g, o = np.split(step.gates, 4)
    d_c = d_c + d_h * o * (1 - np.tanh(step.c) ** 2)
    d_z = np.concatenate(
        [
            d_c * g * i * (1 - i),
            d_c * step.c_prev * f * (1 - f),
            d_c * i * (1 - g**2),
            d_h * np.tanh(step.c) * o * (1 - o),
        ]
    )
    d_inputs = w @ d_z
    return d_inputs[:H], d_c * f, d_inputs[H:], d_z


def lstm_sequence(xs: Array, h: Array, c: Array, w: Array, b: Array) -> list[Step]:
    """T steps from the state (h, c). xs: (T, I)."""
    steps: list[Step] = []
    for x in xs:
        steps.append(lstm_step(x, h, c, w, b))
        h, c = steps[-1].h, steps[-1].c
    return steps


def lstm_backward(
    steps: list[Step], d_hs: Array, d_h: Array, d_c: Array, w: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Back-propagation through `steps`: (d_w, d_b, d_xs, d_h before them, d_c before them).

    d_hs: (T, H) gradient of the loss with respect to each output; d_h, d_c: (H,) gradient with
    respect to the last state, without that of its output in d_hs.
    """
    d_w, d_b, d_xs = np.zeros_like(w), np.zeros(w.shape[1]), []
    for step, d_out in zip(reversed(steps), d_hs[::-1], strict=True):
        d_h, d_c, d_x, d_z = lstm_step_backward(step, d_h + d_out, d_c, w)
        d_w += np.outer(step.inputs, d_z)
        d_b += d_z
        d_xs.append(d_x)
    return d_w, d_b, np.array(d_xs[::-1]), d_h, d_c
