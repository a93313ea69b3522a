"""`CudaStreams`: keeps the streams of a fleet on a GPU and learns there."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ParameterError
from ..forecaster import LSTMForecaster
from ..kernels.cuda import device
from ..kernels.cuda.device import cuda
from ..kernels.cuda.layout import Rules, Streams, Weights
from ..kernels.cuda.private import learn_private, learning_size
from ..kernels.cuda.rows import fill, read_forecasts
from ..kernels.cuda.series import LARGEST_VALUE
from ..kernels.cuda.shared import Tile, learn_shared, step_shared, update_shared
from ..kernels.forecaster.least_squares import LARGEST_OUTPUT
from ..kernels.layout import CLOCK, grow
from ..kernels.scaling import LARGEST
from ..model.quantiles import NO_BOUNDS
from .cuda_packing import (
    empty_streams,
    empty_weights,
    pack_stream,
    pack_weights,
    split_float64,
    unpack,
)
from .rounds import rounds_of

WEIGHTS = ("private", "shared")
SHARED_MEMORY = 48 * 1024  # bytes that a block gets by default
# Groups of streams; the gradients of each group are summed first. The number is fixed, so that the
# order of the sum and its rounding are, too.
GROUPS = 256
TILE = Tile(streams=64, units=32, per_thread=4, depth=16)


def check_model(model: LSTMForecaster) -> None:
    """Raise a ParameterError unless such a model can learn on a GPU; it says what to change."""
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
    """Streams by row, on the first CUDA device, each learned as by an `LSTMForecaster`.

    Results differ from it only by rounding: the device computes in float32, with pairs of numbers
    where that is not precise enough. There are no intervals. Values beyond 1e30 count as missing.

    Parameters
    ----------
    model
        The forecaster that every stream starts from. Features added to it are added to all streams.
    weights
        "private": each stream has its own. "shared": all streams have the same weights, which a
        round updates once, with the mean gradient of the streams that had a target.
    block
        Threads for each stream.
    tile
        Sizes of the matrix tile that a block multiplies, with shared weights.

    Raises
    ------
    ParameterError
        If the model cannot learn on a GPU; the message says what to change.
    MissingPackageError
        If numba-cuda is not installed.
    DeviceError
        If there is no GPU.

    """

    has_intervals = False
    threads = None  # CPU threads do not matter here

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
        """The current H, I and T of the model."""
        settings = self.model._network.settings
        return settings.hidden_size, settings.input_size, settings.window

    def _check_size(self) -> None:
        """Raise a ParameterError if the model is too large for shared memory."""
        H, I, T = self._sizes()
        needed = learning_size(H, I, T, self._block, False)
        if needed > SHARED_MEMORY:
            raise ParameterError(
                f"window {T} and hidden_size {H} need {needed} bytes of shared memory, but a block "
                f"has {SHARED_MEMORY}: choose a smaller window or hidden_size"
            )

    def _share(self, weights: Weights) -> None:
        """Use these weights for all streams."""
        self._weights = Weights(*(cuda.to_device(array[None]) for array in weights))
        parameters = sum(array.shape[1] for array in weights)
        self._grads = cuda.device_array((GROUPS, parameters), np.float32)

    def _allocate(self, rows: int) -> None:
        """Allocate arrays for this many streams, and for their private weights."""
        H, I, T = self._size
        self._streams = Streams(*map(cuda.to_device, empty_streams(rows, H, I, T)))
        if not self._shared:
            self._weights = Weights(*map(cuda.to_device, empty_weights(rows, H, I)))

    @property
    def _arrays(self) -> tuple[Any, ...]:
        """The arrays that have a row for each stream."""
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
        """Add the features that are new to all streams."""
        self.model._add_features(names)

    def begin(self, rows: Sequence[int]) -> None:
        """Start or restart the streams of these rows."""
        self._fill(np.array(rows, np.int64), self.model)

    def drop(self, row: int) -> None:
        """Do nothing: another stream may reuse the row."""

    def put(self, row: int, model: LSTMForecaster) -> None:
        """Use a forecaster for the stream of this row; shared weights do not change.

        Raises
        ------
        ParameterError
            If the forecaster is not of the kind and size of the streams.

        """
        check_model(model)
        self._grow_features()
        settings = model._network.settings
        size = settings.hidden_size, settings.input_size, settings.window
        if size != self._size:
            raise ParameterError(
                "the forecaster's hidden_size, number of inputs and window must be "
                f"{self._size}, got {size}"
            )
        self._fill(np.array([row]), model)

    def take(self, row: int) -> LSTMForecaster:
        """A copy of a stream as a forecaster; its intervals are those of the model."""
        self._grow_features()
        weights_row = 0 if self._shared else row
        return unpack(
            self.model,
            Streams(*(array[row].copy_to_host() for array in self._streams)),
            Weights(*(array[weights_row].copy_to_host() for array in self._weights)),
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
        """Forecast, then learn from, each of N ticks; ticks of a stream are learned in order.

        Parameters
        ----------
        rows
            (N,) rows of the streams.
        ys
            (N,) values, NaN where missing.
        features
            (N, F), NaN where missing.
        times, places
            Ignored.
        horizon
            How many ticks ahead to forecast before each tick, K.

        Returns
        -------
        (N, K) forecasts made before each tick, NaN before the first value of a stream; no bounds.

        """
        self._grow_features()
        values = np.where(np.abs(ys) <= LARGEST_VALUE, ys, np.nan)
        ticks = np.empty((rows.size, 2 + 2 * features.shape[1]), np.float32)
        ticks[:, 0], ticks[:, 1] = split_float64(values)
        ticks[:, 2::2], ticks[:, 3::2] = split_float64(features)
        outputs = np.empty((rows.size, 4), np.float32)
        for batch in rounds_of(rows):
            outputs[batch] = self._learn_round(rows[batch], ticks[batch])
        return forecasts_of(outputs, horizon), NO_BOUNDS

    def forecast(self, rows: np.ndarray, horizon: int) -> np.ndarray:
        """(G, K) forecasts of the next values of these streams; NaN before the first value."""
        if not rows.size:
            return np.empty((0, horizon))
        outputs = cuda.device_array((rows.size, 4), np.float32)
        kernel = read_forecasts[-(-rows.size // self._block), self._block]
        kernel(outputs, self._streams, cuda.to_device(rows))
        return forecasts_of(outputs.copy_to_host(), horizon)

    def _learn_round(self, rows: np.ndarray, ticks: np.ndarray) -> np.ndarray:
        """Learn from one tick of each of G streams.

        Returns (G, 4) values for `forecasts_of`: what was forecast of these ticks.
        """
        H, I, T = self._size
        G, block = rows.size, self._block
        outputs = cuda.device_array((G, 4), np.float32)
        streams, weights, on_device = self._streams, self._weights, cuda.to_device(rows)
        ticks = cuda.to_device(ticks)
        if not self._shared:
            staged = learning_size(H, I, T, block, True)
            fits = staged <= SHARED_MEMORY
            size = staged if fits else learning_size(H, I, T, block, False)
            kernel = learn_private(fits)[G, block, 0, size]
            kernel(outputs, streams, weights, on_device, ticks, self._rules)
            return outputs.copy_to_host()
        groups = min(G, GROUPS)
        grads, labelled = self._grads[:groups], cuda.device_array(groups, np.int32)
        size = learning_size(H, I, T, block, False)
        learn_shared[groups, block, 0, size](
            outputs, grads, labelled, streams, weights, on_device, ticks, self._rules
        )
        wide = 4 * block
        blocks = -(-grads.shape[1] // wide)
        squares = cuda.device_array(blocks, np.float32)
        update_shared[blocks, wide, 0, 4 * wide](
            weights, self._updates, grads, labelled, squares, self._done, self._rules
        )
        tile = self._tile
        step_shared(tile)[-(-G // tile.streams), tile.threads](streams, weights, on_device)
        return outputs.copy_to_host()

    def _fill(self, rows: np.ndarray, model: LSTMForecaster) -> None:
        """Copy a forecaster into the streams of these rows. Arrays grow by doubling."""
        self._grow_features()
        if not rows.size:
            return
        capacity = self._streams.stats.shape[0]
        if rows.max() >= capacity:
            self._resize(max(2 * capacity, int(rows.max()) + 1))
        values = pack_stream(model) if self._shared else (*pack_stream(model), *pack_weights(model))
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
        """Add the model's new features to all streams; this is rare and is done on the host.

        The weights of the new inputs are copied from the model.
        """
        (H, old_I, _), size = self._size, self._sizes()
        if size == self._size:
            return
        self._check_size()
        self._size = size
        streams = Streams(*(array.copy_to_host() for array in self._streams))
        weights = Weights(*(array.copy_to_host() for array in self._weights))
        rows, known = len(streams.stats), H + old_I
        grown = empty_streams(rows, *size)
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


def forecasts_of(outputs: np.ndarray, horizon: int) -> np.ndarray:
    """(N, K) forecasts from (N, 4) numbers that `forecast_parts` in `kernels.cuda` writes.

    These are the value as a pair, the network's share of the change, and its output.
    """
    high, low, share, output = outputs.astype(np.float64).T
    root = np.sqrt(np.arange(1.0, horizon + 1.0))
    value = (high + low)[:, None]
    held = np.nan_to_num(output[:, None] / root, nan=0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        change = share[:, None] * root * np.clip(held, -LARGEST_OUTPUT, LARGEST_OUTPUT)
        forecasts = value + change
    return np.where(np.abs(forecasts) <= LARGEST, forecasts, value)
