"""Compare forecasters with the float64 reference."""

import numpy as np
from kernel_calls import twin
from reference.forecaster import Forecaster

from streamlstm.kernels.layout import CLOCK
from streamlstm.kernels.loss import LOSSES

# The network is float32, the reference float64. The gradient of an absolute error jumps at zero.
ROUNDING = {"fast": 1e-4, "accurate": 1e-3}


def forecaster_twin(model, capacity=5000) -> Forecaster:
    """The reference for a forecaster that has its features but has not learned yet."""
    loss = {number: name for name, number in LOSSES.items()}[model._network.settings.loss]
    network = twin(model._network, loss, model.optimizer, capacity)
    return Forecaster(network, model.seasons_, model.horizon, len(model._columns.index))


def disagreement(model, values, features=(), ahead=15, **twin_arguments):
    """Largest difference between a model and its twin, in mean absolute changes.

    It compares the network's outputs and, at every fifth tick, forecasts of `ahead` ticks, half of
    them with future features.
    """
    columns = np.reshape(features, (values.size, -1))
    names = [f"f{n}" for n in range(columns.shape[1])]
    model.learn_many([], {name: [] for name in names})
    ref = forecaster_twin(model, **twin_arguments)
    path_differences, output_differences, paths = [], [], []
    for t, (y, x) in enumerate(zip(values, columns, strict=True)):
        ref.learn_one(y, x)
        model.learn_one(y, dict(zip(names, x, strict=True)))
        output = model._network.output
        output_differences.append(np.abs(output - ref.network.output).max())
        if ref.change.spread > 0 and t % 5 == 0:
            known = columns[t + 1 : t + 1 + ahead]
            known = known if t % 2 and len(known) == ahead else columns[:0]
            paths.append(ref.forecast(ahead, known))
            xs = [dict(zip(names, row, strict=True)) for row in known]
            path = model.forecast(ahead, xs or None)
            difference = np.abs(np.subtract(path, paths[-1])).max()
            path_differences.append(difference / ref.change.spread)
    assert len({round(path[0] - path[1], 6) for path in paths[-20:]}) == 20  # no flat forecasts
    assert max(path[0] for path in paths[-20:]) - min(path[0] for path in paths[-20:]) > 1
    assert model._network.clock[CLOCK.updates] == ref.network.optimizer.updates > 50
    return max(path_differences + output_differences)
