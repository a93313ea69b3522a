"""Categories as embeddings: rows of a table that are read, not multiplied with a one-hot vector.

What a tick looked up is kept as C pairs: where among the inputs the E of a row begin, and the
number of the row, from 1; 0 is a missing category, whose inputs are zero. An update goes to the
rows that the window has looked up and to no others, so that it costs the same however large the
table is; a row's running averages rest while it is not looked up, as in PyTorch's SparseAdam.
"""

import numpy as np

from .jit import jit_part
from .layout import CLOCK, NetworkViews, embedding_row
from .linear import clear, copy
from .optimizer import optimizer_step, squared_norm
from .views import row

LEARNED, SUMMED = np.float32(0.0), np.float32(1.0)  # marks of rows on the way to an update


@jit_part
def look_up(net: NetworkViews, category, first, number):
    """Put a row into the inputs from `first` on. category: which of the C; number: NaN, missing."""
    x = row(net.scratch.x, first, net.settings.embedding_size)
    net.scratch.embedded[2 * category] = first
    if np.isnan(number):
        net.scratch.embedded[2 * category + 1] = 0.0
        clear(x)
    else:
        net.scratch.embedded[2 * category + 1] = number + 1.0
        copy(x, embedding_row(net.cell, net.weights.params, net.settings, int(number)))


@jit_part
def looked_up(net: NetworkViews):
    """How many ticks of the tape there are to go through: none without categories."""
    s = net.settings
    return min(net.clock[CLOCK.ticks], s.window) if s.categories > 0 else 0


@jit_part
def gradient(net: NetworkViews):
    """Add up the gradients of the inputs, `scratch.d_xs`, by row."""
    s, work, embedded = net.settings, net.scratch, net.memory.embedded
    ticks = looked_up(net)
    for t in range(ticks):
        for c in range(s.categories):
            number = int(embedded[t, 2 * c + 1]) - 1
            if number >= 0:
                clear(embedding_row(net.cell, work.grads, s, number))
                work.marks[number] = LEARNED
    for t in range(ticks):
        for c in range(s.categories):
            first, number = int(embedded[t, 2 * c]), int(embedded[t, 2 * c + 1]) - 1
            if number >= 0:
                d_row = embedding_row(net.cell, work.grads, s, number)
                for e in range(s.embedding_size):
                    d_row[e] += work.d_xs[t, first + e]


@jit_part
def squared_norms(net: NetworkViews):
    """Sum of squares of these gradients, each row once."""
    s, work, embedded = net.settings, net.scratch, net.memory.embedded
    total = np.float32(0.0)
    for t in range(looked_up(net)):
        for c in range(s.categories):
            number = int(embedded[t, 2 * c + 1]) - 1
            if number >= 0 and work.marks[number] == LEARNED:
                work.marks[number] = SUMMED
                total += squared_norm(embedding_row(net.cell, work.grads, s, number))
    return total


@jit_part
def update(net: NetworkViews, rate, factor, updates):
    """One optimiser step for these rows, each once."""
    s, work, embedded, flat = net.settings, net.scratch, net.memory.embedded, net.weights
    for t in range(looked_up(net)):
        for c in range(s.categories):
            number = int(embedded[t, 2 * c + 1]) - 1
            if number >= 0 and work.marks[number] == SUMMED:
                work.marks[number] = LEARNED
                optimizer_step(
                    embedding_row(net.cell, flat.params, s, number),
                    embedding_row(net.cell, flat.first, s, number),
                    embedding_row(net.cell, flat.second, s, number),
                    embedding_row(net.cell, work.grads, s, number),
                    s.optimizer, rate, factor, updates,
                )  # fmt: skip
