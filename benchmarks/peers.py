"""The same online learning in other libraries. Each import is the peer's own: absent ones skip.

A learner is a call without arguments that learns from the next tick of one fixed stream; a
predictor one that predicts the next tick. Inputs are handed over in the form that the library
likes best, prepared beforehand; only streamlstm and the river models take dicts.
"""

import itertools
from collections import deque
from collections.abc import Callable

import numpy as np

FEATURES = 8
RATE = 0.002

_rng = np.random.default_rng(0)
XS = _rng.normal(size=(1000, FEATURES)).astype(np.float32)
YS = _rng.normal(size=1000).astype(np.float32)
DICTS = [{f"f{n}": float(v) for n, v in enumerate(x)} for x in XS]

Call = Callable[[], object]


def ticks(xs, ys=YS):
    return itertools.cycle(list(zip(xs, ys, strict=True)))


def _learner_from_dicts(model) -> Call:
    stream = ticks(DICTS, YS.tolist())

    def learn():
        x, y = next(stream)
        model.learn_one(x, y)

    return learn


def _predictor_from_dicts(model) -> Call:
    for x, y in zip(DICTS[:50], YS.tolist(), strict=False):
        model.learn_one(x, y)
    stream = itertools.cycle(DICTS)
    return lambda: model.predict_one(next(stream))


def streamlstm_learner(hidden_size: int, window: int, stride: int) -> Call:
    from streamlstm import LSTMRegressor

    return _learner_from_dicts(LSTMRegressor(hidden_size=hidden_size, window=window, stride=stride))


def streamlstm_predictor(hidden_size: int) -> Call:
    from streamlstm import LSTMRegressor

    return _predictor_from_dicts(LSTMRegressor(hidden_size=hidden_size))


def torch_learner(
    hidden_size: int, window: int, stride: int, compiled: bool = False, layers: int = 1
) -> Call:
    """Truncated back-propagation with carried state; between updates it only takes notes."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    lstm, head = torch.nn.LSTM(FEATURES, hidden_size, layers), torch.nn.Linear(hidden_size, 1)
    params = [*lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(params, lr=RATE)
    inputs, targets = deque(maxlen=window), deque(maxlen=stride)
    states = deque(maxlen=window // stride + 1)
    state = (torch.zeros(layers, 1, hidden_size), torch.zeros(layers, 1, hidden_size))
    stream = ticks(list(torch.tensor(XS)), list(torch.tensor(YS)))
    seen = 0

    def forward(xs, state, ys):
        hs, last = lstm(xs, state)
        errors = head(hs[-ys.shape[0] :]).view(-1) - ys
        return 0.5 * errors.square().mean(), last

    if compiled:
        forward = torch.compile(forward)

    def learn():
        nonlocal state, seen
        x, y = next(stream)
        inputs.append(x)
        targets.append(y)
        seen += 1
        if seen % stride:
            return
        states.append(state)
        first = states[0] if stride * len(states) >= window else states[-1]
        xs = torch.stack(tuple(inputs)).unsqueeze(1)
        loss, (h, c) = forward(xs, first, torch.stack(tuple(targets)))
        state = (h.detach(), c.detach())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()

    return learn


def torch_compiled_learner(hidden_size: int, window: int, stride: int) -> Call:
    return torch_learner(hidden_size, window, stride, compiled=True)


def torch_predictor(hidden_size: int, compiled: bool = False) -> Call:
    import torch

    torch.set_num_threads(1)
    cell, head = torch.nn.LSTMCell(FEATURES, hidden_size), torch.nn.Linear(hidden_size, 1)
    state = (torch.zeros(1, hidden_size), torch.zeros(1, hidden_size))
    stream = itertools.cycle(list(torch.tensor(XS).unsqueeze(1)))

    def output(x):
        return head(cell(x, state)[0])

    if compiled:
        output = torch.compile(output)

    def predict():
        with torch.inference_mode():
            return output(next(stream)).item()

    return predict


def torch_compiled_predictor(hidden_size: int) -> Call:
    return torch_predictor(hidden_size, compiled=True)


def _jax_step(jnp, lax):
    def step(params, state, x):
        h, c = state
        z = jnp.concatenate([h, x]) @ params["w"] + params["b"]
        i, f, g, o = jnp.split(z, 4)
        c = lax.logistic(f) * c + lax.logistic(i) * jnp.tanh(g)
        h = lax.logistic(o) * jnp.tanh(c)
        return (h, c), h

    return step


def _jax_params(jnp, hidden_size: int):
    rng = np.random.default_rng(0)
    bound = hidden_size**-0.5
    shapes = {
        "w": (hidden_size + FEATURES, 4 * hidden_size),
        "b": (4 * hidden_size,),
        "w_head": (hidden_size,),
        "b_head": (),
    }
    return {
        name: jnp.asarray(rng.uniform(-bound, bound, shape), jnp.float32)
        for name, shape in shapes.items()
    }


def jax_learner(hidden_size: int, window: int, stride: int) -> Call:
    """One jitted call an update: scan over the window, gradient, clipping, Adam."""
    import jax
    import jax.numpy as jnp

    step = _jax_step(jnp, jax.lax)

    def loss(params, state, xs, ys):
        last, hs = jax.lax.scan(lambda s, x: step(params, s, x), state, xs)
        errors = hs[-stride:] @ params["w_head"] + params["b_head"] - ys
        return 0.5 * jnp.mean(errors**2), last

    @jax.jit
    def update(params, m, v, count, state, xs, ys):
        (_, last), grads = jax.value_and_grad(loss, has_aux=True)(params, state, xs, ys)
        norm = jnp.sqrt(sum(jnp.sum(d**2) for d in grads.values()))
        factor = jnp.minimum(1.0, 1.0 / norm)
        new_params, new_m, new_v = {}, {}, {}
        for name, p in params.items():
            d = factor * grads[name]
            new_m[name] = 0.9 * m[name] + 0.1 * d
            new_v[name] = 0.999 * v[name] + 0.001 * d**2
            m_hat, v_hat = new_m[name] / (1 - 0.9**count), new_v[name] / (1 - 0.999**count)
            new_params[name] = p - RATE * m_hat / (jnp.sqrt(v_hat) + 1e-8)
        return new_params, new_m, new_v, last

    params = _jax_params(jnp, hidden_size)
    m = v = {name: jnp.zeros_like(p) for name, p in params.items()}
    state = (jnp.zeros(hidden_size), jnp.zeros(hidden_size))
    states = deque([state], maxlen=max(window // stride, 1))
    inputs = deque(XS[:window], maxlen=window)
    targets = deque(YS[:stride], maxlen=stride)
    stream = ticks(XS)
    seen = 0

    def learn():
        nonlocal params, m, v, state, seen
        x, y = next(stream)
        inputs.append(x)
        targets.append(y)
        seen += 1
        if seen % stride:
            return
        count = np.float32(seen // stride)
        params, m, v, state = update(
            params, m, v, count, states[0], np.array(inputs), np.array(targets)
        )
        states.append(state)
        state[0].block_until_ready()

    return learn


def jax_predictor(hidden_size: int) -> Call:
    import jax
    import jax.numpy as jnp

    step, params = _jax_step(jnp, jax.lax), _jax_params(jnp, hidden_size)
    state = (jnp.zeros(hidden_size), jnp.zeros(hidden_size))

    @jax.jit
    def output(params, state, x):
        _, h = step(params, state, x)
        return h @ params["w_head"] + params["b_head"]

    stream = itertools.cycle(XS)
    return lambda: float(output(params, state, next(stream)))


def _keras_model(hidden_size: int, window: int):
    import keras

    model = keras.Sequential(
        [keras.Input((window, FEATURES)), keras.layers.LSTM(hidden_size), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.Adam(RATE, clipnorm=1.0), "mse")
    return model


def keras_learner(hidden_size: int, window: int, stride: int) -> Call:
    """`train_on_batch` on the newest window, whose state starts at zero."""
    model = _keras_model(hidden_size, window)
    inputs = deque(XS[:window], maxlen=window)
    stream = ticks(XS)

    def learn():
        x, y = next(stream)
        inputs.append(x)
        model.train_on_batch(np.array(inputs)[None], y.reshape(1, 1))

    return learn


def keras_predictor(hidden_size: int) -> Call:
    """`predict_on_batch` on a window of 20: there is no step that carries a state on."""
    model = _keras_model(hidden_size, 20)
    windows = itertools.cycle([XS[n : n + 20][None] for n in range(100)])
    return lambda: model.predict_on_batch(next(windows))


def _deep_river_model(hidden_size: int, window: int):
    from deep_river.regression.zoo import LSTMRegressor

    return LSTMRegressor(
        n_features=FEATURES,
        hidden_size=hidden_size,
        window_size=window,
        optimizer_fn="adam",
        lr=RATE,
    )


def deep_river_predictor(hidden_size: int) -> Call:
    return _predictor_from_dicts(_deep_river_model(hidden_size, 20))


def deep_river_learner(hidden_size: int, window: int, stride: int) -> Call:
    return _learner_from_dicts(_deep_river_model(hidden_size, window))


def onnx_predictor(hidden_size: int) -> Call:
    """The LSTM operator with its state as input and output, and a matrix product for the head."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    H = hidden_size

    def weights(name, *shape):
        return numpy_helper.from_array(rng.uniform(-0.1, 0.1, shape).astype(np.float32), name)

    def tensor(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [
            helper.make_node(
                "LSTM", ["x", "w", "r", "b", "", "h", "c"], ["", "h_n", "c_n"], hidden_size=H
            ),
            helper.make_node("MatMul", ["h_n", "w_head"], ["y"]),
        ],
        "step",
        [tensor("x", 1, 1, FEATURES), tensor("h", 1, 1, H), tensor("c", 1, 1, H)],
        [tensor("y", 1, 1, 1), tensor("h_n", 1, 1, H), tensor("c_n", 1, 1, H)],
        [
            weights("w", 1, 4 * H, FEATURES),
            weights("r", 1, 4 * H, H),
            weights("b", 1, 8 * H),
            weights("w_head", 1, H, 1),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    zero = np.zeros((1, 1, H), np.float32)
    stream = itertools.cycle(XS.reshape(-1, 1, 1, FEATURES))
    return lambda: session.run(["y"], {"x": next(stream), "h": zero, "c": zero})[0][0, 0, 0]


def snarimax_learner(*_: int) -> Call:
    from river.time_series import SNARIMAX

    model, stream = SNARIMAX(p=20, d=0, q=0), ticks(DICTS, YS.tolist())

    def learn():
        x, y = next(stream)
        model.learn_one(y, x)

    return learn


def holt_winters_learner(*_: int) -> Call:
    from river.time_series import HoltWinters

    model, stream = HoltWinters(0.3, 0.1, 0.6, seasonality=24), ticks(DICTS, YS.tolist())
    return lambda: model.learn_one(next(stream)[1])


def snarimax_predictor(*_: int) -> Call:
    from river.time_series import SNARIMAX

    model = SNARIMAX(p=20, d=0, q=0)
    for x, y in zip(DICTS, YS.tolist(), strict=True):
        model.learn_one(y, x)
    return lambda: model.forecast(1, [DICTS[0]])


def holt_winters_predictor(*_: int) -> Call:
    from river.time_series import HoltWinters

    model = HoltWinters(0.3, 0.1, 0.6, seasonality=24)
    for y in YS.tolist():
        model.learn_one(y)
    return lambda: model.forecast(1)


LEARNERS = {
    "PyTorch eager": torch_learner,
    "PyTorch compiled": torch_compiled_learner,
    "JAX jit": jax_learner,
    "Keras": keras_learner,
    "deep-river": deep_river_learner,
    "river SNARIMAX": snarimax_learner,
    "river HoltWinters": holt_winters_learner,
}
PREDICTORS = {
    "PyTorch LSTMCell": torch_predictor,
    "PyTorch compiled": torch_compiled_predictor,
    "JAX jit": jax_predictor,
    "ONNX Runtime": onnx_predictor,
    "Keras": keras_predictor,
    "deep-river": deep_river_predictor,
    "river SNARIMAX": snarimax_predictor,
    "river HoltWinters": holt_winters_predictor,
}
