"""Categories as embeddings: rows of a table, read instead of multiplied with a one-hot vector.

Each tick keeps C pairs of what it looked up: the first of a row's E inputs, and the row's number,
counted from 1; 0 is a missing category, whose inputs are zero. An update changes only the rows that
the window looked up, so that its cost does not depend on the size of the table. The running
averages of other rows stay as they are, as in PyTorch's SparseAdam.
"""

import numpy as np

from .jit import jit_part
from .layout import CLOCK, NetworkViews, embedding_row
from .linear import clear, copy
from .optimizer import optimizer_step, squared_norm
from .views import row

LEARNED, SUMMED = np.float32(0.0), np.float32(1.0)  # marks of a row


@jit_part
def look_up(net: NetworkViews, category, first, number):
    """Copy a row into the inputs from `first` on. category: index of C; number: NaN if missing."""
    x = row(net.scratch.x, first, net.settings.embedding_size)
    net.scratch.embedded[2 * category] = first
    if np.isnan(number):
        net.scratch.embedded[2 * category + 1] = 0.0
        clear(x)
    else:
        net.scratch.embedded[2 * category + 1] = number + 1.0
        copy(x, embedding_row(net.cell, net.weights.params, net.settings, int(number)))


@jit_part
def ticks_looked_up(net: NetworkViews):
    """Number of ticks of the tape with categories."""
    s = net.settings
    return min(net.clock[CLOCK.ticks], s.window) if s.categories > 0 else 0


@jit_part
def gradient(net: NetworkViews):
    """Add up the gradients of the inputs, `scratch.d_xs`, row by row of the table."""
    s, work, embedded = net.settings, net.scratch, net.memory.embedded
    ticks = ticks_looked_up(net)
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
    """Sum of squares of these gradients; each row counts once."""
    s, work, embedded = net.settings, net.scratch, net.memory.embedded
    total = np.float32(0.0)
    for t in range(ticks_looked_up(net)):
        for c in range(s.categories):
            number = int(embedded[t, 2 * c + 1]) - 1
            if number >= 0 and work.marks[number] == LEARNED:
                work.marks[number] = SUMMED
                total += squared_norm(embedding_row(net.cell, work.grads, s, number))
    return total


@jit_part
def update(net: NetworkViews, rate, factor, updates):
    """One optimiser step for each of these rows."""
    s, work, embedded, flat = net.settings, net.scratch, net.memory.embedded, net.weights
    for t in range(ticks_looked_up(net)):
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
