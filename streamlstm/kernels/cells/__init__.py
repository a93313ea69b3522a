"""The cells, and what the file of each defines.

A network is compiled for its cell: the cell is the first argument of the functions below, which
stand for the functions of that name in the cell's file. A new cell is a file with these functions
and a line in CELLS.

Each file defines, in the order of NAMES,

    CELL     an instance of the cell's type, a named tuple of `states`: the number of vectors of H
             values in the cell's state, the first of which is its output h
    FORWARD  the learning rule of its `trace_gradient`, "rtrl" or "snap1"; "" if it has none

and the functions; those of FORWARD_NAMES only with such a rule. The named tuples of views are its
own, with one exception: a layer's weights have a matrix `w` whose last I rows belong to the inputs,
so that new inputs append rows. Letters as everywhere: T rows of the tape, I inputs of the layer, H
hidden.
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

NAMES = (
    "CELL",
    "FORWARD",
    "matrices_size",
    "weights_size",
    "weights_of",
    "tape_size",
    "tape_of",
    "work_size",
    "work_of",
    "step",
    "backward",
    "initialise",
)
FORWARD_NAMES = ("traces_size", "traces_of", "trace_step", "trace_gradient")

by_cell = jit_choice(lambda: {type(file.CELL): file for file in CELLS.values()})


@by_cell
def matrices_size(cell, I, H):
    """Length of the matrices, the first of a layer's weights, which weight decay shrinks."""


@by_cell
def weights_size(cell, I, H):
    """Length of a layer's weights."""


@by_cell
def weights_of(cell, buffer, start, I, H):
    """Open a layer's weights, or their gradients, from `start` on in a flat buffer."""


@by_cell
def tape_size(cell, I, H, T):
    """Length of a tape of T ticks."""


@by_cell
def tape_of(cell, buffer, start, I, H, T):
    """Open a tape: a ring of what the backward pass needs of T ticks, a row a tick."""


@by_cell
def work_size(cell, I, H, T):
    """Length of the work space of `backward`."""


@by_cell
def work_of(cell, buffer, start, I, H, T):
    """Open the work space of `backward`."""


@by_cell
def step(cell, state, tape, t, x, weights):
    """Advance the state by one tick and write row t of the tape.

    state: (states, H), the first row is the output h; x: (I,).
    """


@by_cell
def backward(cell, grads, d_xs, work, d_hs, tape, weights, newest, steps):
    """Back-propagate through the last `steps` ticks of the tape, the last of them in row `newest`.

    grads: the layer's gradients, overwritten; d_xs: (T, I) gradients of the inputs, overwritten in
    the rows of these ticks, or (0, 0) if not needed; d_hs: (T, H) gradients of the loss with
    respect to each tick's output, without those through later ticks.
    """


@by_cell
def initialise(cell, weights):
    """Set weights that start neither random (matrices) nor zero (vectors). Python only."""


@by_cell
def traces_size(cell, I, H):
    """Length of the traces that `trace_step` updates."""


@by_cell
def traces_of(cell, buffer, start, I, H):
    """Open the traces: derivatives of the state with respect to the weights, and work space."""


@by_cell
def trace_step(cell, traces, tape, weights):
    """Advance the traces by the tick in row 0 of the tape, which `step` has just written."""


@by_cell
def trace_gradient(cell, grads, d_x, traces, work, d_h, tape, weights):
    """Add the gradient of the newest tick's loss to `grads`.

    d_x: (I,) gradient of the tick's inputs, overwritten, or (0,) if not needed; d_h: (H,) gradient
    of the newest output.
    """
