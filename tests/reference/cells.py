"""The cells in float64.

A cell is two functions, `*_step` and `*_step_backward`; `sequence` and `backward` take them through
time. `*_trace_step` and `*_trace_gradient` learn forward in time. A state has a row for each of the
cell's vectors, the output h first; weights are a dict with the names of the kernels. Letters as in
`reference.lstm`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from reference.lstm import Array, sigmoid

Weights = dict[str, Array]


@dataclass
class Step:
    """What one forward step leaves for its backward step."""

    x: Array  # (I,)
    state_prev: Array  # (states, H)
    gates: Array  # (gates, H)
    state: Array  # (states, H)


def lstm_step(x: Array, state: Array, weights: Weights) -> Step:
    """The LSTM with forget gate. w: (H + I, 4H) gates i, f, g, o; b: (4H,)."""
    h_prev, c_prev = state
    i, f, g, o = np.split(np.concatenate([h_prev, x]) @ weights["w"] + weights["b"], 4)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c_prev + i * g
    return Step(x, state, np.array([i, f, g, o]), np.array([o * np.tanh(c), c]))


def lstm_step_backward(
    step: Step, d_state: Array, weights: Weights
) -> tuple[Array, Array, Weights]:
    """Gradients of one step: (d_state_prev, d_x, d_weights)."""
    d_h, d_c = d_state
    h_prev, c_prev = step.state_prev
    i, f, g, o = step.gates
    tanh_c = np.tanh(step.state[1])
    d_c = d_c + d_h * o * (1 - tanh_c**2)
    d_i, d_f, d_g = d_c * g * i * (1 - i), d_c * c_prev * f * (1 - f), d_c * i * (1 - g**2)
    d_z = np.concatenate([d_i, d_f, d_g, d_h * tanh_c * o * (1 - o)])
    d_h_prev, d_x = np.split(weights["w"] @ d_z, [h_prev.size])
    d_w = np.outer(np.concatenate([h_prev, step.x]), d_z)
    return np.array([d_h_prev, d_c * f]), d_x, {"w": d_w, "b": d_z}


def gru_step(x: Array, state: Array, weights: Weights) -> Step:
    """The GRU. w: (H + I, 3H) gates r, z, n; b: (4H,) of r, z, n by x and n by h."""
    (h_prev,) = state
    H = h_prev.size
    b_r, b_z, b_xn, b_hn = np.split(weights["b"], 4)
    h_r, h_z, h_n = np.split(h_prev @ weights["w"][:H], 3)
    x_r, x_z, x_n = np.split(x @ weights["w"][H:], 3)
    r, z, q = sigmoid(h_r + x_r + b_r), sigmoid(h_z + x_z + b_z), h_n + b_hn
    n = np.tanh(x_n + b_xn + r * q)
    return Step(x, state, np.array([r, z, n, q]), np.array([(1 - z) * n + z * h_prev]))


def gru_step_backward(step: Step, d_state: Array, weights: Weights) -> tuple[Array, Array, Weights]:
    """Gradients of one step: (d_state_prev, d_x, d_weights)."""
    (d_h,), (h_prev,) = d_state, step.state_prev
    r, z, n, q = step.gates
    H = h_prev.size
    d_n = d_h * (1 - z) * (1 - n**2)
    d_z, d_r = d_h * (h_prev - n) * z * (1 - z), d_n * q * r * (1 - r)
    d_by_h, d_by_x = np.concatenate([d_r, d_z, d_n * r]), np.concatenate([d_r, d_z, d_n])
    d_weights = {
        "w": np.vstack([np.outer(h_prev, d_by_h), np.outer(step.x, d_by_x)]),
        "b": np.concatenate([d_by_x, d_n * r]),
    }
    d_h_prev = d_h * z + weights["w"][:H] @ d_by_h
    return np.array([d_h_prev]), weights["w"][H:] @ d_by_x, d_weights


def lstm1997_step(x: Array, state: Array, weights: Weights) -> Step:
    """The LSTM without forget gate. w: (H + I, 3H) gates i, g, o; b: (3H,)."""
    h_prev, c_prev = state
    i, g, o = np.split(np.concatenate([h_prev, x]) @ weights["w"] + weights["b"], 3)
    i, g, o = sigmoid(i), np.tanh(g), sigmoid(o)
    c = c_prev + i * g
    return Step(x, state, np.array([i, g, o]), np.array([o * np.tanh(c), c]))


def lstm1997_step_backward(
    step: Step, d_state: Array, weights: Weights
) -> tuple[Array, Array, Weights]:
    """Gradients of one step: (d_state_prev, d_x, d_weights)."""
    d_h, d_c = d_state
    h_prev, _ = step.state_prev
    i, g, o = step.gates
    tanh_c = np.tanh(step.state[1])
    d_c = d_c + d_h * o * (1 - tanh_c**2)
    d_z = np.concatenate([d_c * g * i * (1 - i), d_c * i * (1 - g**2), d_h * tanh_c * o * (1 - o)])
    d_h_prev, d_x = np.split(weights["w"] @ d_z, [h_prev.size])
    d_w = np.outer(np.concatenate([h_prev, step.x]), d_z)
    return np.array([d_h_prev, d_c]), d_x, {"w": d_w, "b": d_z}


def peephole_step(x: Array, state: Array, weights: Weights) -> Step:
    """The LSTM with peepholes. w: (H + I, 4H) gates i, f, g, o; b: (4H,); p: (3H,) i, f, o."""
    h_prev, c_prev = state
    p_i, p_f, p_o = np.split(weights["p"], 3)
    i, f, g, o = np.split(np.concatenate([h_prev, x]) @ weights["w"] + weights["b"], 4)
    i, f, g = sigmoid(i + p_i * c_prev), sigmoid(f + p_f * c_prev), np.tanh(g)
    c = f * c_prev + i * g
    o = sigmoid(o + p_o * c)
    return Step(x, state, np.array([i, f, g, o]), np.array([o * np.tanh(c), c]))


def peephole_step_backward(
    step: Step, d_state: Array, weights: Weights
) -> tuple[Array, Array, Weights]:
    """Gradients of one step: (d_state_prev, d_x, d_weights)."""
    d_h, d_c = d_state
    h_prev, c_prev = step.state_prev
    p_i, p_f, p_o = np.split(weights["p"], 3)
    i, f, g, o = step.gates
    c = step.state[1]
    d_o = d_h * np.tanh(c) * o * (1 - o)
    d_c = d_c + d_h * o * (1 - np.tanh(c) ** 2) + d_o * p_o
    d_i, d_f, d_g = d_c * g * i * (1 - i), d_c * c_prev * f * (1 - f), d_c * i * (1 - g**2)
    d_z = np.concatenate([d_i, d_f, d_g, d_o])
    d_h_prev, d_x = np.split(weights["w"] @ d_z, [h_prev.size])
    d_weights = {
        "w": np.outer(np.concatenate([h_prev, step.x]), d_z),
        "b": d_z,
        "p": np.concatenate([d_i * c_prev, d_f * c_prev, d_o * c]),
    }
    return np.array([d_h_prev, d_c * f + d_i * p_i + d_f * p_f]), d_x, d_weights


def elstm_step(x: Array, state: Array, weights: Weights) -> Step:
    """The eLSTM. w: (I, 3H) f, z, o; w_c: (H, H) of o; r: (2H,) f, z; b: (3H,)."""
    c_prev = state[1]
    r_f, r_z = np.split(weights["r"], 2)
    f, z, o = np.split(x @ weights["w"] + weights["b"], 3)
    f, z = sigmoid(f + r_f * c_prev), np.tanh(z + r_z * c_prev)
    c = f * c_prev + (1 - f) * z
    o = sigmoid(o + c @ weights["w_c"])
    return Step(x, state, np.array([f, z, o]), np.array([o * c, c]))


def elstm_step_backward(
    step: Step, d_state: Array, weights: Weights
) -> tuple[Array, Array, Weights]:
    """Gradients of one step: (d_state_prev, d_x, d_weights)."""
    d_h, d_c = d_state
    c_prev, c = step.state_prev[1], step.state[1]
    r_f, r_z = np.split(weights["r"], 2)
    f, z, o = step.gates
    d_o = d_h * c * o * (1 - o)
    d_c = d_c + d_h * o + weights["w_c"] @ d_o
    d_f, d_z = d_c * (c_prev - z) * f * (1 - f), d_c * (1 - f) * (1 - z**2)
    d_b = np.concatenate([d_f, d_z, d_o])
    d_weights = {
        "w": np.outer(step.x, d_b),
        "w_c": np.outer(c, d_o),
        "r": np.concatenate([d_f * c_prev, d_z * c_prev]),
        "b": d_b,
    }
    d_c_prev = d_c * f + d_f * r_f + d_z * r_z
    return np.array([np.zeros_like(d_h), d_c_prev]), weights["w"] @ d_b, d_weights


def elstm_traces(I: int, H: int) -> Weights:
    """Zero traces: derivatives of each unit's c with respect to its weights of f and z."""
    return {"w": np.zeros((I, 2 * H)), "r": np.zeros(2 * H), "b": np.zeros(2 * H)}


def elstm_trace_step(traces: Weights, step: Step, weights: Weights) -> Weights:
    """The traces after a step."""
    c_prev = step.state_prev[1]
    r_f, r_z = np.split(weights["r"], 2)
    f, z, _ = step.gates
    by_f, by_z = (c_prev - z) * f * (1 - f), (1 - f) * (1 - z**2)
    by_c = np.tile(f + by_f * r_f + by_z * r_z, 2)
    direct = np.concatenate([by_f, by_z])
    return {
        "w": by_c * traces["w"] + np.outer(step.x, direct),
        "r": by_c * traces["r"] + np.tile(c_prev, 2) * direct,
        "b": by_c * traces["b"] + direct,
    }


def elstm_trace_gradient(
    traces: Weights, step: Step, d_h: Array, weights: Weights
) -> tuple[Array, Weights]:
    """Gradient of one tick's loss through the whole past: (d_x of this tick, d_weights)."""
    H = d_h.size
    d_state = np.array([d_h, np.zeros(H)])
    _, d_x, d_weights = elstm_step_backward(step, d_state, weights)
    d_c = np.tile(d_h * step.gates[2] + weights["w_c"] @ d_weights["b"][2 * H :], 2)
    d_weights["w"][:, : 2 * H] = traces["w"] * d_c
    d_weights["r"] = traces["r"] * d_c
    d_weights["b"][: 2 * H] = traces["b"] * d_c
    return d_x, d_weights


def own_weights(weights: Weights, H: int) -> Array:
    """Weights of each unit's own last output in its gates, (gates, H)."""
    return np.array([np.diag(w) for w in np.split(weights["w"][:H], weights["w"].shape[1] // H, 1)])


def lstm_traces(I: int, H: int) -> Weights:
    """Zero traces: derivatives of each unit's h and c with respect to its own weights.

    Row 0 is of b, the others are of w. SnAp-1 has none of c with respect to the weights of o.
    """
    return {"h": np.zeros((1 + H + I, 4 * H)), "c": np.zeros((1 + H + I, 3 * H))}


def lstm_trace_step(traces: Weights, step: Step, weights: Weights) -> Weights:
    """The traces after a step."""
    h_prev, c_prev = step.state_prev
    H = h_prev.size
    w_i, w_f, w_g, w_o = own_weights(weights, H)
    i, f, g, o = step.gates
    tanh_c = np.tanh(step.state[1])
    by_i, by_f, by_g = g * i * (1 - i), c_prev * f * (1 - f), i * (1 - g**2)
    by_o, by_c = tanh_c * o * (1 - o), o * (1 - tanh_c**2)
    by_h = by_i * w_i + by_f * w_f + by_g * w_g
    inputs = np.concatenate([[1.0], h_prev, step.x])
    past = np.tile(f, 3) * traces["c"] + np.tile(by_h, 3) * traces["h"][:, : 3 * H]
    c = past + np.outer(inputs, np.concatenate([by_i, by_f, by_g]))
    through_c = np.hstack([c, by_h * traces["h"][:, 3 * H :]])
    h = np.tile(by_o * w_o, 4) * traces["h"] + np.tile(by_c, 4) * through_c
    h[:, 3 * H :] += np.outer(inputs, by_o)
    return {"h": h, "c": c}


def lstm_trace_gradient(
    traces: Weights, step: Step, d_h: Array, weights: Weights
) -> tuple[Array, Weights]:
    """Gradient of one tick's loss from the traces: (d_x of this tick, d_weights)."""
    _, d_x, _ = lstm_step_backward(step, np.array([d_h, np.zeros_like(d_h)]), weights)
    d = traces["h"] * np.tile(d_h, 4)
    return d_x, {"w": d[1:], "b": d[0]}


def gru_traces(I: int, H: int) -> Weights:
    """Zero traces: derivatives of each unit's h with respect to its own weights."""
    return {"w": np.zeros((H + I, 3 * H)), "b": np.zeros(4 * H)}


def gru_trace_step(traces: Weights, step: Step, weights: Weights) -> Weights:
    """The traces after a step."""
    (h_prev,) = step.state_prev
    w_r, w_z, w_n = own_weights(weights, h_prev.size)
    r, z, n, q = step.gates
    by_n = (1 - z) * (1 - n**2)
    by_z, by_q = (h_prev - n) * z * (1 - z), by_n * r
    by_r = by_n * q * r * (1 - r)
    kept = z + by_r * w_r + by_z * w_z + by_q * w_n
    of_h = np.outer(h_prev, np.concatenate([by_r, by_z, by_q]))
    of_x = np.outer(step.x, np.concatenate([by_r, by_z, by_n]))
    return {
        "w": np.tile(kept, 3) * traces["w"] + np.vstack([of_h, of_x]),
        "b": np.tile(kept, 4) * traces["b"] + np.concatenate([by_r, by_z, by_n, by_q]),
    }


def gru_trace_gradient(
    traces: Weights, step: Step, d_h: Array, weights: Weights
) -> tuple[Array, Weights]:
    """Gradient of one tick's loss from the traces: (d_x of this tick, d_weights)."""
    _, d_x, _ = gru_step_backward(step, np.array([d_h]), weights)
    return d_x, {"w": traces["w"] * np.tile(d_h, 3), "b": traces["b"] * np.tile(d_h, 4)}


def sequence(
    step: Callable[[Array, Array, Weights], Step], xs: Array, state: Array, weights: Weights
) -> list[Step]:
    """T steps from a state. xs: (T, I)."""
    steps: list[Step] = []
    for x in xs:
        steps.append(step(x, state, weights))
        state = steps[-1].state
    return steps


def backward(
    step_backward: Callable[[Step, Array, Weights], tuple[Array, Array, Weights]],
    steps: list[Step],
    d_hs: Array,
    d_state: Array,
    weights: Weights,
) -> tuple[Array, Array, Weights]:
    """Back-propagation through `steps`: (d_state before them, d_xs, d_weights).

    d_hs: (T, H) gradient of the loss with respect to each output; d_state: (states, H) gradient
    with respect to the last state, without that of its output in d_hs.
    """
    d_weights = {name: np.zeros_like(weight) for name, weight in weights.items()}
    d_xs = []
    for step, d_h in zip(reversed(steps), d_hs[::-1], strict=True):
        d_state = d_state.copy()
        d_state[0] += d_h
        d_state, d_x, d_step = step_backward(step, d_state, weights)
        for name, d in d_step.items():
            d_weights[name] += d
        d_xs.append(d_x)
    return d_state, np.array(d_xs[::-1]), d_weights


class Cell(NamedTuple):
    """A cell's two functions and the number of its states."""

    step: Callable[[Array, Array, Weights], Step]
    step_backward: Callable[[Step, Array, Weights], tuple[Array, Array, Weights]]
    states: int


CELLS = {
    "lstm": Cell(lstm_step, lstm_step_backward, 2),
    "lstm1997": Cell(lstm1997_step, lstm1997_step_backward, 2),
    "peephole": Cell(peephole_step, peephole_step_backward, 2),
    "gru": Cell(gru_step, gru_step_backward, 1),
    "elstm": Cell(elstm_step, elstm_step_backward, 2),
}


class Forward(NamedTuple):
    """How a cell learns forward in time. traces: (I, H) -> zero traces."""

    traces: Callable[[int, int], Weights]
    trace_step: Callable[[Weights, Step, Weights], Weights]
    trace_gradient: Callable[[Weights, Step, Array, Weights], tuple[Array, Weights]]


FORWARD = {
    "lstm": Forward(lstm_traces, lstm_trace_step, lstm_trace_gradient),
    "gru": Forward(gru_traces, gru_trace_step, gru_trace_gradient),
    "elstm": Forward(elstm_traces, elstm_trace_step, elstm_trace_gradient),
}
