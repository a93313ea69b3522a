"""`CudaStreams`: the streams of a fleet, kept and learned on a GPU."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ParameterError
from ..forecaster import LSTMForecaster
from ..kernels.cuda import device
from ..kernels.cuda.device import cuda
from ..kernels.cuda.layout import (
    CHANGE,
    COUNT,
    FIRST,
    HIGH,
    LOW,
    PARAM,
    RLS,
    SECOND,
    SPIKES,
    SPREAD,
    STATS,
    TICKS,
    UPDATES,
    Rules,
    Streams,
    Weights,
)
from ..kernels.cuda.private import learn_private, learning_size
from ..kernels.cuda.rows import fill, read_forecasts
from ..kernels.cuda.series import LARGEST_VALUE
from ..kernels.cuda.shared import Tile, learn_shared, step_shared, update_shared
from ..kernels.forecaster.least_squares import LARGEST_OUTPUT
from ..kernels.layout import CLOCK, grow, layer_tape, memory_views, weights_views
from ..kernels.scaling import LARGEST
from ..model.quantiles import NO_BOUNDS
from .rounds import rounds_of

WEIGHTS = ("private", "shared")
SHARED_MEMORY = 48 * 1024  # bytes that a block has without asking
GROUPS = 256  # of streams whose gradients are summed up first; fixed, as the order of the sum is
TILE = Tile(streams=64, units=32, per_thread=4, depth=16)


def shapes(H: int, I: int, T: int) -> Streams:
    """What a stream has of each array of `Streams`."""
    M, C = H + I + 1, I - RLS
    return Streams(
        (2,),
        (len(STATS),),
        (C, 5),
        (2, H),
        (T, M),
        (T, 4 * H),
        (T, H),
        (T, H),
    )


def weights_shapes(H: int, I: int) -> Weights:
    """What a stream has of each array of `Weights`."""
    return Weights((3, (H + I + 1) * 4 * H), (3, H + 1))


def pair(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """float64 numbers as float32 ones, high and low parts."""
    values = np.asarray(values, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        high = values.astype(np.float32)
        low = (values - high).astype(np.float32)
    return high, np.where(np.isfinite(high), low, np.float32(0.0))


def check_model(model: LSTMForecaster) -> None:
    """ParameterError that names what has to change, unless such streams can learn on a GPU."""
    settings = model._network.settings
    needs = {
        "cell='lstm'": model.cell == "lstm",
        "learning='tbptt'": model.learning == "tbptt",
        "num_layers=1": model.num_layers == 1,
        "stride=1": model.stride == 1,
        "replay=0, as preset='fast' has it": settings.replay == 0,
        "season=None": model.season is None,
        "experts=('last', 'lstm') or ('lstm',)": set(model.experts) in ({"last", "lstm"}, {"lstm"}),
        "drift=False": not model.drift,
        "horizon=1": model.horizon == 1,
        "no known_features": not model.known_features,
    }
    wrong = [need for need, met in needs.items() if not met]
    if wrong:
        raise ParameterError(f'device="cuda" needs a model with {", ".join(wrong)}')


class CudaStreams:
    """Streams by row, on the first CUDA device, each learned as an `LSTMForecaster` would.

    They are equal to it but for rounding: the device calculates in float32, on pairs where values
    need more. Intervals are not kept. Values beyond 1e30 count as missing.

    Parameters
    ----------
    model
        What every stream begins as. New features that it is given are given to all streams.
    weights
        "private": each stream has its own. "shared": all have the same, which a round updates once,
        with the mean gradient of the streams that had a target.
    block
        Threads that work on a stream.
    tile
        What a block of shared weights multiplies at once.

    Raises
    ------
    ParameterError
        If the model cannot learn there; says what has to change.
    MissingPackageError, DeviceError
        Without numba-cuda, without a GPU.

    """

    has_intervals = False
    threads = None  # of the CPU

    def __init__(
        self,
        model: LSTMForecaster,
        weights: str = "private",
        block: int = 128,
        tile: Tile = TILE,
    ):
        if weights not in WEIGHTS:
            raise ParameterError(f"weights must be one of {', '.join(WEIGHTS)}, got {weights!r}")
        check_model(model)
        self.model, self.weights = model, weights
        self._block, self._tile = block, tile
        self._check_size()
        device.check_device()
        self._size = self._sizes()
        settings = model._network.settings
        self._rules = Rules(
            settings.loss,
            settings.optimizer,
            np.float32(settings.learning_rate),
            np.float32(settings.clip_norm),
            np.float32(1.0 - settings.learning_rate * settings.weight_decay),
            np.float32("last" in model.experts),
        )
        self._updates = cuda.to_device(np.array([model._network.clock[CLOCK.updates]], np.int32))
        self._done = cuda.to_device(np.zeros(1, np.int32))
        self._shared = weights == "shared"
        if self._shared:
            self._share(pack_weights(model))
        self._allocate(16)

    def _sizes(self) -> tuple[int, int, int]:
        """H, I and T of the model as it is now."""
        settings = self.model._network.settings
        return settings.hidden_size, settings.input_size, settings.window

    def _check_size(self) -> None:
        """ParameterError if the model, as it is now, does not fit shared memory."""
        H, I, T = self._sizes()
        needed = learning_size(H, I, T, self._block, False)
        if needed > SHARED_MEMORY:
            raise ParameterError(
                f"window {T} and hidden_size {H} need {needed} bytes of shared memory, a block "
                f"has {SHARED_MEMORY}: choose a smaller window or hidden_size"
            )

    def _share(self, weights: Weights) -> None:
        """Give all streams these weights."""
        self._weights = Weights(*(cuda.to_device(array[None]) for array in weights))
        parameters = sum(array.shape[1] for array in weights)
        self._grads = cuda.device_array((GROUPS, parameters), np.float32)

    def _allocate(self, rows: int) -> None:
        """Make room for streams, and for weights of their own."""
        H, I, T = self._size
        self._streams = Streams(
            *(
                cuda.to_device(np.zeros((rows, *shape), np.int32 if n == 0 else np.float32))
                for n, shape in enumerate(shapes(H, I, T))
            )
        )
        if not self._shared:
            self._weights = Weights(
                *(
                    cuda.to_device(np.zeros((rows, *shape), np.float32))
                    for shape in weights_shapes(H, I)
                )
            )

    @property
    def _arrays(self) -> tuple[Any, ...]:
        """Those with a row a stream."""
        return self._streams if self._shared else (*self._streams, *self._weights)

    def __getstate__(self) -> dict[str, Any]:
        arrays = [array.copy_to_host() for array in (*self._streams, *self._weights, self._updates)]
        return {"arguments": (self.model, self.weights, self._block, self._tile), "arrays": arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(*state["arguments"])  # type: ignore[misc]
        self._allocate(len(state["arrays"][0]))
        arrays = (*self._streams, *self._weights, self._updates)
        for array, value in zip(arrays, state["arrays"], strict=True):
            array.copy_to_device(value)

    def add_features(self, names: list[Any]) -> None:
        """Give all streams these features, those of them that are new."""
        self.model._add_features(names)

    def begin(self, rows: Sequence[int]) -> None:
        """Let the streams of these rows, new ones or not, begin as the model."""
        self._fill(np.array(rows, np.int64), self.model)

    def drop(self, row: int) -> None:
        """Nothing: another stream may begin in this row."""

    def put(self, row: int, model: LSTMForecaster) -> None:
        """Let a stream go on as a forecaster; weights that are shared stay as they are.

        Raises
        ------
        ParameterError
            If the forecaster is not of the kind and size of the streams.

        """
        check_model(model)
        self._grow_features()
        theirs = model._network.settings
        if (theirs.hidden_size, theirs.input_size, theirs.window) != self._size:
            raise ParameterError(
                "the forecaster's hidden_size, number of inputs and window must be "
                f"{self._size}, got {(theirs.hidden_size, theirs.input_size, theirs.window)}"
            )
        self._fill(np.array([row]), model)

    def take(self, row: int) -> LSTMForecaster:
        """A stream as a forecaster, which goes on by itself; its intervals are the model's."""
        self._grow_features()
        place = 0 if self._shared else row
        return unpack(
            self.model,
            Streams(*(array[row].copy_to_host() for array in self._streams)),
            Weights(*(array[place].copy_to_host() for array in self._weights)),
            int(self._updates.copy_to_host()[0]) if self._shared else None,
        )

    def learn(
        self,
        rows: np.ndarray,
        ys: np.ndarray,
        features: np.ndarray,
        times: np.ndarray | None,
        horizon: int,
        places: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Forecast, then learn from, each of N ticks, those of a stream in their order.

        Parameters
        ----------
        rows
            (N,) of the streams.
        ys
            (N,) values, NaN where missing.
        features
            (N, F), NaN where missing.
        times, places
            Of no interest here.
        horizon
            Ticks ahead to forecast each time, K.

        Returns
        -------
        (N, K) forecasts made before each tick, NaN before the first value of a stream; no bounds.

        """
        self._grow_features()
        ticks = np.empty((rows.size, 2 + 2 * features.shape[1]), np.float32)
        ticks[:, 0], ticks[:, 1] = pair(np.where(np.abs(ys) <= LARGEST_VALUE, ys, np.nan))
        ticks[:, 2::2], ticks[:, 3::2] = pair(features)
        before = np.empty((rows.size, 4), np.float32)
        for some in rounds_of(rows):
            before[some] = self._learn(rows[some], ticks[some])
        return forecasts_of(before, horizon), NO_BOUNDS

    def forecast(self, rows: np.ndarray, horizon: int) -> np.ndarray:
        """Forecasts of the next values of the streams in these rows, (G, K); NaN before any."""
        if not rows.size:
            return np.empty((0, horizon))
        before = cuda.device_array((rows.size, 4), np.float32)
        kernel = read_forecasts[-(-rows.size // self._block), self._block]
        kernel(before, self._streams, cuda.to_device(rows))
        return forecasts_of(before.copy_to_host(), horizon)

    def _learn(self, rows: np.ndarray, ticks: np.ndarray) -> np.ndarray:
        """Learn from a tick of each of some streams: (G, 4) what was forecast of it."""
        H, I, T = self._size
        G, block = rows.size, self._block
        before = cuda.device_array((G, 4), np.float32)
        streams, weights, on_device = self._streams, self._weights, cuda.to_device(rows)
        ticks = cuda.to_device(ticks)
        if not self._shared:
            staged = learning_size(H, I, T, block, True)
            fits = staged <= SHARED_MEMORY
            size = staged if fits else learning_size(H, I, T, block, False)
            kernel = learn_private(fits)[G, block, 0, size]
            kernel(before, streams, weights, on_device, ticks, self._rules)
            return before.copy_to_host()
        groups = min(G, GROUPS)
        grads, labelled = self._grads[:groups], cuda.device_array(groups, np.int32)
        size = learning_size(H, I, T, block, False)
        learn_shared[groups, block, 0, size](
            before, grads, labelled, streams, weights, on_device, ticks, self._rules
        )
        wide = 4 * block
        blocks = -(-grads.shape[1] // wide)
        squares = cuda.device_array(blocks, np.float32)
        update_shared[blocks, wide, 0, 4 * wide](
            weights, self._updates, grads, labelled, squares, self._done, self._rules
        )
        tile = self._tile
        step_shared(tile)[-(-G // tile.streams), tile.threads](streams, weights, on_device)
        return before.copy_to_host()

    def _fill(self, rows: np.ndarray, model: LSTMForecaster) -> None:
        """Let the streams of these rows be as a forecaster. Room grows by doubling."""
        self._grow_features()
        if not rows.size:
            return
        room = self._streams.stats.shape[0]
        if rows.max() >= room:
            self._resize(max(2 * room, int(rows.max()) + 1))
        values = pack(model) if self._shared else (*pack(model), *pack_weights(model))
        on_device = cuda.to_device(rows)
        for array, value in zip(self._arrays, values, strict=True):
            flat = array.reshape(array.shape[0], value.size)
            fill[rows.size, self._block](flat, cuda.to_device(value.ravel()), on_device)

    def _resize(self, rows: int) -> None:
        """Move the streams into larger arrays."""
        old, size = self._arrays, self._streams.stats.shape[0]
        self._allocate(rows)
        for new, array in zip(self._arrays, old, strict=True):
            new[:size].copy_to_device(array)

    def _grow_features(self) -> None:
        """Give all streams the features that the model has been given; on the host, as it is rare.

        The weights of the new inputs are those of the model.
        """
        (H, old_I, _), size = self._size, self._sizes()
        if size == self._size:
            return
        self._check_size()
        self._size = size
        streams = Streams(*(array.copy_to_host() for array in self._streams))
        weights = Weights(*(array.copy_to_host() for array in self._weights))
        rows, known = len(streams.stats), H + old_I
        grown = Streams(
            *(np.zeros((rows, *s), a.dtype) for s, a in zip(shapes(*size), streams, strict=True))
        )
        grow(grown, streams)
        grown.inputs[..., known:] = 0.0
        grown.inputs[..., -1] = 1.0
        old = weights.w.reshape(len(weights.w), 3, known + 1, 4 * H)
        w = np.tile(pack_weights(self.model).w.reshape(3, -1, 4 * H), (len(old), 1, 1, 1))
        w[:, :, :known], w[:, :, -1] = old[:, :, :-1], old[:, :, -1]
        weights = Weights(w.reshape(len(w), 3, -1), weights.head)
        if self._shared:
            self._share(Weights(*(array[0] for array in weights)))
        self._allocate(rows)
        values = grown if self._shared else (*grown, *weights)
        for array, value in zip(self._arrays, values, strict=True):
            array.copy_to_device(value)


def forecasts_of(before: np.ndarray, horizon: int) -> np.ndarray:
    """(N, K) forecasts from what `forecast_parts` wrote, (N, 4)."""
    high, low, share, output = before.astype(np.float64).T
    root = np.sqrt(np.arange(1.0, horizon + 1.0))
    value = (high + low)[:, None]
    held = np.nan_to_num(output[:, None] / root, nan=0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        change = share[:, None] * root * np.clip(held, -LARGEST_OUTPUT, LARGEST_OUTPUT)
        forecasts = value + change
    return np.where(np.abs(forecasts) <= LARGEST, forecasts, value)


def _tape(model: LSTMForecaster) -> tuple[Any, Any]:
    """A forecaster's memory and the tape of its layer."""
    network = model._network
    cell, settings = network.kind[0], network.settings
    memory = memory_views(cell, network.memory, settings)
    return memory, layer_tape(cell, memory.tapes, settings, 0, settings.window)


def pack(model: LSTMForecaster) -> Streams:
    """The stream of a forecaster, without its weights."""
    network, series = model._network, model._series
    s, clock = network.settings, network.clock
    packed = Streams(
        *(
            np.zeros(shape, np.int32 if n == 0 else np.float32)
            for n, shape in enumerate(shapes(s.hidden_size, s.input_size, s.window))
        )
    )
    packed.counts[:] = clock[CLOCK.values], clock[CLOCK.updates]
    stats, committee = packed.stats, series.committee
    memory, tape = _tape(model)
    stats[STATS.value_high], stats[STATS.value_low] = pair(committee.values[0])
    stats[STATS.clipped_high], stats[STATS.clipped_low] = pair(series.clipped[-1])
    stats[STATS.last_weight], stats[STATS.weight] = committee.weights[0, [0, -1]]
    stats[STATS.product] = committee.products[0, -1]
    stats[STATS.square] = committee.squares[0, -1]
    stats[STATS.gate], stats[STATS.error] = committee.gates[0, -1], committee.errors[0]
    stats[STATS.output] = memory.output[0]
    scaler, channels = series.scaler, packed.channels
    channels[:, COUNT], channels[:, SPREAD] = scaler.counts, scaler.spread
    channels[:, HIGH], channels[:, LOW] = pair(scaler.center)
    channels[:, SPIKES] = scaler.spikes
    packed.state[:] = network.states[0]
    packed.inputs[:, :-1], packed.inputs[:, -1] = tape.inputs, 1.0
    packed.gates[:], packed.c_prevs[:] = tape.gates, tape.c_prevs
    packed.tanh_cs[:] = tape.tanh_cs
    return packed


def pack_weights(model: LSTMForecaster) -> Weights:
    """The weights of a forecaster and their running averages."""
    network = model._network
    named = [network.params_in(buffer) for buffer in weights_views(network.weights)]
    return Weights(
        np.array([np.vstack([part["w_l0"], part["b_l0"]]).ravel() for part in named]),
        np.array([np.append(part["w_head"], part["b_head"]) for part in named]),
    )


def unpack(
    model: LSTMForecaster, streams: Streams, weights: Weights, updates: int | None
) -> LSTMForecaster:
    """A forecaster like the model that goes on as this stream does; updates: those of all."""
    model = copy.deepcopy(model)
    network, series, stats = model._network, model._series, streams.stats.astype(np.float64)
    clock, ticks = network.clock, int(streams.counts[TICKS])
    clock[CLOCK.ticks] = clock[CLOCK.values] = ticks
    clock[CLOCK.updates] = streams.counts[UPDATES] if updates is None else updates
    H, rows = network.settings.hidden_size, 4 * network.settings.hidden_size
    for place, buffer in zip((PARAM, FIRST, SECOND), weights_views(network.weights), strict=True):
        named = network.params_in(buffer)
        w = weights.w[place].reshape(-1, rows)
        named["w_l0"][:], named["b_l0"][:] = w[:-1], w[-1]
        named["w_head"][:], named["b_head"][:] = weights.head[place, :H], weights.head[place, H]
    memory, tape = _tape(model)
    network.states[0][:] = streams.state
    tape.inputs[:], tape.gates[:] = streams.inputs[:, :-1], streams.gates
    tape.c_prevs[:], tape.tanh_cs[:] = streams.c_prevs, streams.tanh_cs
    memory.output[0] = stats[STATS.output]
    memory.hs[(ticks - 1) % len(memory.hs)] = streams.state[0]
    scaler, committee, channels = series.scaler, series.committee, streams.channels.astype(float)
    scaler.counts[:], scaler.spread[:] = channels[:, COUNT], channels[:, SPREAD]
    scaler.center[:] = channels[:, HIGH] + channels[:, LOW]
    scaler.spikes[:] = channels[:, SPIKES]
    series.clipped[:] = stats[STATS.clipped_high] + stats[STATS.clipped_low]
    series.features[:], series.history[:] = np.nan, np.nan
    committee.weights[0, [0, -1]] = stats[STATS.last_weight], stats[STATS.weight]
    committee.products[0, -1], committee.squares[0, -1] = stats[[STATS.product, STATS.square]]
    committee.gates[0, -1], committee.errors[0] = stats[STATS.gate], stats[STATS.error]
    scale = committee.scales[0] = scaler.spread[CHANGE]
    value = committee.values[0] = stats[STATS.value_high] + stats[STATS.value_low]
    output = np.clip(np.nan_to_num(stats[STATS.output]), -LARGEST_OUTPUT, LARGEST_OUTPUT)
    committee.outputs[0, -1] = output if scale > 0 else 0.0
    if ticks:
        series.history[0, (ticks - 1) % series.history.shape[1]] = value
        share = scale * committee.weights[0, -1] * committee.gates[0, -1]
        series.intervals.forecasts[0] = value + share * output
    return model
