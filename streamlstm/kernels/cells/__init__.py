"""The cells there are, and what the file of each has to offer.

A network is compiled for its cell: a value of the cell's type, `LSTM()` and the like, goes with its
views, and the functions below stand for those of that name in the cell's file. A new cell is a file
with these functions and a line in CELLS.

Each file begins with

    CELL     an instance of the cell's type, a named tuple of `states`, the number of vectors of H
             values that the cell carries on; the first is its output h
    FORWARD  the learning rule of its `trace_gradient`, "rtrl" or "snap1"; "" if none

and defines named tuples of views as it likes. What the rest relies on: among a layer's weights is
`w`, whose last I rows belong to the inputs; new inputs append rows. Letters as everywhere: T rows
of the tape, I inputs of the layer, H hidden.
"""

from ..jit import jit_choice
from . import elstm, gru, lstm, lstm1997, peephole

CELLS = {
    "lstm": lstm,
    "lstm1997": lstm1997,
    "peephole": peephole,
    "gru": gru,
    "elstm": elstm,
}

by_cell = jit_choice(lambda: {type(file.CELL): file for file in CELLS.values()})


@by_cell
def matrices_size(cell, I, H):
    """How many values at the beginning of a layer's weights belong to matrices: these decay."""


@by_cell
def weights_size(cell, I, H):
    """Length of a layer's weights."""


@by_cell
def weights_of(cell, buffer, start, I, H):
    """A layer's weights, or gradients of them, from `start` on in a flat buffer."""


@by_cell
def tape_size(cell, I, H, T):
    """Length of a tape of T ticks."""


@by_cell
def tape_of(cell, buffer, start, I, H, T):
    """A tape: what the backward pass needs of T ticks. A ring, one row a tick."""


@by_cell
def work_size(cell, I, H, T):
    """Length of the work space of `backward`."""


@by_cell
def work_of(cell, buffer, start, I, H, T):
    """The work space of `backward`."""


@by_cell
def step(cell, state, tape, t, x, weights):
    """Advance the state by one tick and write row t of the tape.

    state: (states, H), its first row the output h; x: (I,).
    """


@by_cell
def backward(cell, grads, d_xs, work, d_hs, tape, weights, newest, steps):
    """Back-propagate through the last `steps` ticks of the tape, the last of them in row `newest`.

    grads: the layer's gradients, overwritten; d_xs: (T, I) gradients of the inputs, rows of these
    ticks overwritten, or (0, 0) if they are of no interest; d_hs: (T, H) gradient that the loss
    sends directly into each tick's output.
    """


@by_cell
def initialise(cell, weights):
    """Set what does not start at a random number (matrices) or zero (vectors). Python only."""


@by_cell
def traces_size(cell, I, H):
    """Length of the traces: what `trace_step` carries on."""


@by_cell
def traces_of(cell, buffer, start, I, H):
    """The traces: derivatives of the state with respect to the weights, and work space."""


@by_cell
def trace_step(cell, traces, tape, weights):
    """Carry the traces on by the tick in row 0 of the tape, which `step` has just written."""


@by_cell
def trace_gradient(cell, grads, d_x, traces, work, d_h, tape, weights):
    """Add the gradient of the newest tick's loss to `grads`.

    d_x: (I,) gradient of the tick's inputs, overwritten, or (0,) if it is of no interest; d_h: (H,)
    gradient of the newest output.
    """
