"""The Python side of a network: owns the buffers, adds inputs and outputs, gives views of them."""

import zlib
from collections.abc import Container, Hashable, Sequence
from typing import Any

import numpy as np

from ..kernels.cells import CELLS, initialise, traces_of, traces_size
from ..kernels.layout import (
    CLOCK,
    Settings,
    aligned_zeros,
    dense_size,
    grow,
    head_views,
    inputs_of,
    layer_start,
    layer_state,
    layer_tape,
    layer_weights,
    memory_size,
    memory_views,
    params_size,
    scratch_size,
    weights_views,
    windows_size,
)
from ..kernels.rules import RULES
from ..kernels.views import matrix


class Network:
    """Recurrent layers and a Dense head, with named inputs that may grow in number.

    The head starts at zero, so an untrained network outputs 0. The initial weights of an input
    depend only on the seed and the input's name, not on when it appeared. learning: one of `RULES`.
    """

    def __init__(
        self,
        settings: Settings,
        counters: int,
        seed: int | None,
        cell: str = "lstm",
        learning: str = "tbptt",
    ):
        self.kind = CELLS[cell].CELL, RULES[learning].RULE
        if self.kind[1].traces:
            settings = settings._replace(window=1)
        # Gradients reach back `window` ticks from the predicted one.
        settings = settings._replace(window=settings.window + settings.lookahead)
        self.settings = settings
        self.entropy = int(np.random.SeedSequence(seed).entropy)  # type: ignore[arg-type]
        self.inputs: list[Hashable] = []
        self.embedded = 0  # embeddings in use
        self._lent = False  # whether the weights belong to another network
        self.clock = np.zeros(counters, np.int64)
        self.clock[CLOCK.seed] = zlib.crc32(str(self.entropy).encode())
        self._allocate()
        rng = np.random.default_rng(self.entropy)
        for number, layer in enumerate(self.layers):
            for weights in layer:
                if weights.ndim == 2:
                    first = number % settings.num_layers == 0
                    rows = len(weights) - (settings.input_size if first else 0)
                    weights[:rows] = self._initial_weights(rng, rows, weights.shape[1])
            initialise(self.kind[0], layer)

    def _allocate(self) -> None:
        cell, s = self.kind[0], self.settings
        if self.kind[1].traces:
            I, H = s.input_size, s.hidden_size
            sizes = traces_size(cell, I, H), traces_size(cell, H, H)
            self.settings = s = s._replace(traces=layer_start(*sizes, s.num_layers))
        self.settings_array = np.array(s, np.float64)
        self.weights = aligned_zeros(3 * params_size(cell, s))
        self.memory = aligned_zeros(memory_size(cell, s))
        self._use_scratch(aligned_zeros(scratch_size(cell, s) + windows_size(s)))

    def share_weights(self, other: "Network") -> None:
        """Use the weights of another network of the same form; pickles then leave them out."""
        self.weights, self._lent = other.weights, True
        self._use_scratch(self.scratch)

    def copy_weights(self, other: "Network") -> None:
        """Copy the weights of another network of the same form, and own the copy."""
        self.weights[:], self._lent = other.weights, False
        self.clock[CLOCK.updates] = other.clock[CLOCK.updates]

    def _use_scratch(self, scratch: np.ndarray) -> None:
        self.scratch = scratch
        # The arguments of every kernel.
        self.buffers = (self.settings_array, self.weights, self.memory, self.scratch, self.clock)

    def share_scratch(self, other: "Network") -> bool:
        """Share the scratch space of another network if the sizes match; return whether they do."""
        same_size = self.scratch.size == other.scratch.size
        if same_size:
            self._use_scratch(other.scratch)
        return same_size

    def _initial_weights(self, rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
        """Uniform in +-1/sqrt(H), as in PyTorch: the bound does not depend on the inputs."""
        bound = self.settings.hidden_size**-0.5
        return rng.uniform(-bound, bound, (rows, columns))

    @property
    def output(self) -> np.ndarray:
        """(K,) outputs of the head at the newest tick."""
        return memory_views(self.kind[0], self.memory, self.settings).output

    @property
    def states(self) -> list[np.ndarray]:
        """For each layer of the forward stack its states, (states, H), the output h first."""
        cell, s = self.kind[0], self.settings
        states = memory_views(cell, self.memory, s).states
        return [layer_state(cell, states, s, number) for number in range(s.num_layers)]

    @property
    def layers(self) -> list[Any]:
        """Views of the layers' weights, see `kernels.cells`."""
        return self._layers_in(weights_views(self.weights).params)

    @property
    def head(self) -> Any:
        """Views of the head's weights, `layout.Head`."""
        return head_views(self.kind[0], weights_views(self.weights).params, self.settings)

    @property
    def embeddings(self) -> np.ndarray:
        """View of the table of embeddings, (rows, E); rows at the end may be unused."""
        return self._embeddings_in(weights_views(self.weights).params)

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Views of all weights except embeddings, by name; a cell's names end in the layer number.

        Names of the reverse stack also end in "_reverse", as in PyTorch.
        """
        return self.params_in(weights_views(self.weights).params)

    def params_in(self, buffer: np.ndarray) -> dict[str, np.ndarray]:
        """Views of any buffer laid out like the parameters, named as in `params`."""
        L = self.settings.num_layers
        named = {
            f"{name}_l{number % L}{'_reverse' if number >= L else ''}": weights
            for number, layer in enumerate(self._layers_in(buffer))
            for name, weights in layer._asdict().items()
        }
        head = head_views(self.kind[0], buffer, self.settings)
        return {**named, "w_head": head.w, "b_head": head.b}

    def _embeddings_in(self, buffer: np.ndarray) -> np.ndarray:
        """View of the embeddings, (rows, E), in a buffer laid out like the parameters."""
        s = self.settings
        return matrix(buffer, dense_size(self.kind[0], s), s.rows, s.embedding_size)

    def _layers_in(self, buffer: np.ndarray) -> list[Any]:
        numbers = range(self.settings.directions * self.settings.num_layers)
        return [layer_weights(self.kind[0], buffer, self.settings, n) for n in numbers]

    def _memory_views(self) -> list[Any]:
        """Views of all arrays in the memory, in an order that does not depend on the inputs."""
        cell, s = self.kind[0], self.settings
        memory = memory_views(cell, self.memory, s)
        views: list[Any] = [memory[:6]]
        for number in range(s.num_layers):
            views.append(layer_tape(cell, memory.tapes, s, number, s.window))
            if s.traces:
                I, H = inputs_of(s, number), s.hidden_size
                sizes = traces_size(cell, s.input_size, H), traces_size(cell, H, H)
                start = layer_start(*sizes, number)
                views.append(traces_of(cell, memory.traces, start, I, H))
        return views

    def add_inputs(self, names: Sequence[Hashable], categories: Container[Hashable] = ()) -> None:
        """Add an input for each name, or E inputs if it is a category; everything learned stays."""
        s = self.settings
        keys: list[Hashable] = []
        for name in names:
            numbers = range(s.embedding_size)
            keys += [(name, number) for number in numbers] if name in categories else [name]
        inputs = s.input_size + len(keys)
        count = s.categories + sum(name in categories for name in names)
        self._resize(s._replace(input_size=inputs, categories=count))
        first = self.layers[:: s.num_layers]
        for n, key in enumerate(keys, start=-len(keys)):
            rng = self._generator_for(key)
            for layer in first:
                layer.w[n] = self._initial_weights(rng, 1, layer.w.shape[1])[0]
        self.inputs = [*self.inputs, *names]

    def add_embeddings(self, keys: Sequence[Hashable]) -> None:
        """Add embeddings for the keys that have none yet, in a table that grows by doubling.

        They start as in PyTorch, normal with a deviation of 1, and depend only on seed and key.
        """
        s, known = self.settings, self.embedded
        if len(keys) > s.rows:
            self._resize(s._replace(rows=max(len(keys), 2 * s.rows)))
        for number in range(known, len(keys)):
            row = self.embeddings[number]
            row[:] = self._generator_for(keys[number]).normal(size=row.size)
        self.embedded = len(keys)

    def _generator_for(self, key: Hashable) -> np.random.Generator:
        return np.random.default_rng([self.entropy, zlib.crc32(repr(key).encode())])

    def add_outputs(self, count: int) -> None:
        """Add outputs, which start at zero; everything learned stays."""
        self._resize(self.settings._replace(output_size=self.settings.output_size + count))

    def _resize(self, settings: Settings) -> None:
        """Move everything learned so far into larger buffers."""
        old = [*self._weights_views(), *self._memory_views()]
        self.settings = settings
        self._allocate()
        new = [*self._weights_views(), *self._memory_views()]
        for larger, smaller in zip(new, old, strict=True):
            grow(larger, smaller)

    def _weights_views(self) -> list[Any]:
        """Views of all weights and of their running averages."""
        return [
            [*self.params_in(buffer).values(), self._embeddings_in(buffer)]
            for buffer in weights_views(self.weights)
        ]

    def set_learning_rate(self, rate: float) -> None:
        """Change the step size of the optimiser."""
        self.settings = self.settings._replace(learning_rate=float(rate))
        self.settings_array[:] = self.settings

    def reset_state(self) -> None:
        """Reset the state to that before the first tick; the weights stay."""
        self.memory[:] = 0.0
        self.clock[CLOCK.ticks] = 0

    def summary(self, title: str) -> str:
        """Layers, output shapes and parameter counts, in the format of Keras."""
        name = type(self.kind[0]).__name__
        H, K, L = self.settings.hidden_size, self.settings.output_size, self.settings.num_layers
        rows = []
        if self.settings.categories:
            size = self.embedded * self.settings.embedding_size
            rows.append(("embedding (Embedding)", f"({self.settings.embedding_size},)", size))
        for number, layer in enumerate(self.layers):
            suffix = f"_{number % L}" if number % L else ""
            suffix += "_reverse" if number >= L else ""
            size = sum(weights.size for weights in layer)
            rows.append((f"{name.lower()}{suffix} ({name})", f"({H},)", size))
        rows.append(("dense (Dense)", f"({K},)", self.head.w.size + self.head.b.size))
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
        rebuilt = ("scratch", "buffers", "settings_array", *(["weights"] if self._lent else []))
        return {name: value for name, value in self.__dict__.items() if name not in rebuilt}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._allocate()
        self.memory[:] = state["memory"]
        if not self._lent:
            self.weights[:] = state["weights"]
