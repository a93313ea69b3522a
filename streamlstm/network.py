"""The Python side of a network: owns its buffers, gives new inputs weights, tells its layers."""

import zlib
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from .errors import ParameterError
from .kernels.batch import BATCH
from .kernels.loss import LOSSES
from .kernels.optimizer import OPTIMIZERS
from .layout import (
    CLOCK,
    Settings,
    aligned_zeros,
    grow,
    memory_size,
    memory_views,
    param_views,
    params_size,
    scratch_size,
    weights_views,
    windows_size,
)


def check_settings(
    hidden_size: int,
    num_layers: int,
    window: int,
    stride: int,
    learning_rate: float,
    optimizer: str,
    loss: str,
    clip_norm: float,
    replay: int = 0,
    weight_decay: float = 0.0,
    output_size: int = 1,
) -> Settings:
    """Settings of a network without inputs, or a ParameterError that names what is wrong."""
    for name, value in [("hidden_size", hidden_size), ("window", window), ("stride", stride)]:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ParameterError(f"{name} must be a whole number of at least 1, got {value!r}")
    if num_layers != 1:
        raise ParameterError(f"num_layers must be 1 in this version, got {num_layers!r}")
    if stride > window:
        raise ParameterError(
            f"stride ({stride}) must not exceed window ({window}): "
            "a tick's loss has to be sent back before the tick leaves the window"
        )
    if not isinstance(replay, int) or isinstance(replay, bool) or replay < 0 or replay % BATCH:
        raise ParameterError(f"replay must be 0 or a multiple of {BATCH} windows, got {replay!r}")
    for name, number in [
        ("learning_rate", learning_rate),
        ("clip_norm", clip_norm),
        ("weight_decay", weight_decay),
    ]:
        if not 0 <= number < np.inf or (name == "clip_norm" and number == 0):
            raise ParameterError(f"{name} must be positive and finite, got {number!r}")
    for name, choice, choices in [("optimizer", optimizer, OPTIMIZERS), ("loss", loss, LOSSES)]:
        if choice not in choices:
            raise ParameterError(f"{name} must be one of {', '.join(choices)}, got {choice!r}")
    return Settings(
        input_size=0,
        hidden_size=hidden_size,
        output_size=output_size,
        window=window,
        stride=stride,
        loss=LOSSES[loss],
        optimizer=OPTIMIZERS[optimizer],
        replay=replay,
        learning_rate=float(learning_rate),
        clip_norm=float(clip_norm),
        weight_decay=float(weight_decay),
    )


class Network:
    """An LSTM layer and a Dense head whose inputs have names and may grow in number.

    The head starts at zero, so that an untrained network changes nothing; the forget gate's bias
    starts at 1, so that it remembers (Gers et al. 2000). The weights of an input depend on the
    seed and its name alone, not on when it appeared.
    """

    def __init__(self, settings: Settings, counters: int, seed: int | None):
        self.settings = settings
        self.entropy = int(np.random.SeedSequence(seed).entropy)  # type: ignore[arg-type]
        self.inputs: list[Hashable] = []
        self.clock = np.zeros(counters, np.int64)
        self.clock[CLOCK.seed] = zlib.crc32(str(self.entropy).encode())
        self._allocate()
        params = self.params
        H = settings.hidden_size
        params.w[:H] = self._initial(np.random.default_rng(self.entropy), H)
        params.b[H : 2 * H] = 1.0

    def _allocate(self) -> None:
        s = self.settings
        self.settings_array = np.array(s, np.float64)
        self.weights = aligned_zeros(3 * params_size(s))
        self.memory = aligned_zeros(memory_size(s))
        self.scratch = aligned_zeros(scratch_size(s) + windows_size(s))
        # What every kernel takes.
        self.buffers = (self.settings_array, self.weights, self.memory, self.scratch, self.clock)

    def _initial(self, rng: np.random.Generator, rows: int) -> np.ndarray:
        """Uniform in +-1/sqrt(H), PyTorch's choice: it does not depend on the number of inputs."""
        bound = self.settings.hidden_size**-0.5
        return rng.uniform(-bound, bound, (rows, 4 * self.settings.hidden_size))

    @property
    def params(self) -> Any:
        """Views of the parameters, `layout.Params`."""
        return param_views(weights_views(self.weights).params, self.settings)

    def add_inputs(self, names: Sequence[Hashable]) -> None:
        """Append inputs; everything learned so far stays."""
        old_settings, old_weights, old_memory = self.settings, self.weights, self.memory
        self.settings = old_settings._replace(input_size=old_settings.input_size + len(names))
        self._allocate()
        for new, old in zip(weights_views(self.weights), weights_views(old_weights), strict=True):
            grow(param_views(new, self.settings), param_views(old, old_settings))
        grow(memory_views(self.memory, self.settings), memory_views(old_memory, old_settings))
        first_row = old_settings.hidden_size + old_settings.input_size
        for row, name in enumerate(names, first_row):
            rng = np.random.default_rng([self.entropy, zlib.crc32(repr(name).encode())])
            self.params.w[row] = self._initial(rng, 1)[0]
        self.inputs = [*self.inputs, *names]

    def summary(self, title: str) -> str:
        """Layers, output shapes and parameter counts, laid out as Keras users know them."""
        p = self.params
        rows = [
            ("lstm (LSTM)", f"({self.settings.hidden_size},)", p.w.size + p.b.size),
            ("dense (Dense)", f"({self.settings.output_size},)", p.w_head.size + p.b_head.size),
        ]
        total = sum(count for _, _, count in rows)
        rule = "=" * 56
        return "\n".join(
            [
                f'Model: "{title}"',
                rule,
                f"{'Layer (type)':<26}{'Output Shape':<18}{'Param #':>12}",
                rule,
                *(f"{layer:<26}{shape:<18}{count:>12,}" for layer, shape, count in rows),
                rule,
                f"Total params: {total:,} ({total * 4 / 1024:.2f} KB)",
                f"Inputs ({len(self.inputs)}): {', '.join(map(str, self.inputs)) or 'none yet'}",
            ]
        )

    def __getstate__(self) -> dict[str, Any]:
        rebuilt = ("scratch", "buffers", "settings_array")
        return {name: value for name, value in self.__dict__.items() if name not in rebuilt}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._allocate()
        self.weights[:], self.memory[:] = state["weights"], state["memory"]
