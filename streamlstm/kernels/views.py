"""Views into flat buffers that cost a kernel next to nothing to open.

Numba counts the owners of every view, atomically, and calls a library function to reshape one:
opening the buffers of a network that way took longer than a forward step. The views of this file
have no owner and only compute an address, a shape and strides. They are valid while the caller of
the kernel holds the buffer.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, lower_builtin, type_callable
from numba.np.arrayobj import populate_array

from .jit import jit_part

ALIGNMENT = 16  # float32 values of a 64-byte cache line; every array starts on one


@jit_part
def padded(size):
    """`size` rounded up, so that the next array is aligned."""
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def row(buffer, start, size):
    """`size` values of a buffer from `start` on, (size,)."""
    return buffer[start : start + size]


def matrix(buffer, start, rows, columns):
    """`rows` times `columns` values of a buffer from `start` on, (rows, columns)."""
    return buffer[start : start + rows * columns].reshape(rows, columns)


def cube(buffer, start, matrices, rows, columns):
    """`matrices` matrices of a buffer from `start` on, (matrices, rows, columns)."""
    size = matrices * rows * columns
    return buffer[start : start + size].reshape(matrices, rows, columns)


@intrinsic
def array_at(typing, like, address, size):
    """`size` values at an address, (size,), with the dtype of the array `like`. Kernels only."""
    kind = types.Array(like.dtype, 1, "C")

    def generate(context, builder, sig, args):
        value = context.get_data_type(like.dtype)
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(value))
        view = context.make_array(kind)(context, builder)
        populate_array(
            view,
            data=builder.inttoptr(args[1], value.as_pointer()),
            shape=[args[2]],
            strides=[itemsize],
            itemsize=itemsize,
            meminfo=ir.Constant(view.meminfo.type, None),
            parent=None,
        )
        return view._getvalue()

    return kind(like, types.intp, types.intp), generate


def _view_of(buffer, dimensions):
    """The type of a view of a buffer."""
    return types.Array(buffer.dtype, dimensions, "C") if isinstance(buffer, types.Array) else None


@type_callable(row)
def _type_row(context):
    return lambda buffer, start, size: _view_of(buffer, 1)


@type_callable(matrix)
def _type_matrix(context):
    return lambda buffer, start, rows, columns: _view_of(buffer, 2)


@type_callable(cube)
def _type_cube(context):
    return lambda buffer, start, matrices, rows, columns: _view_of(buffer, 3)


@lower_builtin(row, types.Array, types.Integer, types.Integer)
@lower_builtin(matrix, types.Array, *[types.Integer] * 3)
@lower_builtin(cube, types.Array, *[types.Integer] * 4)
def _lower_view(context, builder, sig, args):
    source = context.make_array(sig.args[0])(context, builder, args[0])
    start, *sizes = (
        context.cast(builder, value, kind, types.intp)
        for value, kind in zip(args[1:], sig.args[1:], strict=True)
    )
    strides = [source.itemsize]
    for size in reversed(sizes[1:]):
        strides.insert(0, builder.mul(strides[0], size))
    view = context.make_array(sig.return_type)(context, builder)
    populate_array(
        view,
        data=builder.gep(source.data, [start]),
        shape=sizes,
        strides=strides,
        itemsize=source.itemsize,
        meminfo=ir.Constant(source.meminfo.type, None),
        parent=None,
    )
    return view._getvalue()
