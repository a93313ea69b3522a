"""Views into flat buffers that cost a kernel next to nothing to open.

Numba counts every view of an array as an owner, atomically, and asks a library function how to
reshape one: opening the buffers of a network that way took longer than a forward step. These
views have no owner, which is right as long as the kernel's caller holds the buffer, and compute
their address, shape and strides, nothing else.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np.arrayobj import populate_array

from .jit import jit_part

ALIGNMENT = 16  # float32 values of a 64-byte cache line; every array starts on one


@jit_part
def room(size):
    """`size` rounded up, so that the array that follows is aligned."""
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def row(buffer, start, size):
    """`size` values of a buffer from `start` on, (size,)."""
    return buffer[start : start + size]


def matrix(buffer, start, rows, columns):
    """`rows` times `columns` values of a buffer from `start` on, (rows, columns)."""
    return buffer[start : start + rows * columns].reshape(rows, columns)


def cube(buffer, start, matrices, rows, columns):
    """As many matrices of `rows` times `columns` values, (matrices, rows, columns)."""
    size = matrices * rows * columns
    return buffer[start : start + size].reshape(matrices, rows, columns)


@intrinsic
def at(typing, like, address, size):
    """`size` values at an address, (size,), of the dtype of the array `like`. Kernels only."""
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


@overload(row)
def _row(buffer, start, size):
    return lambda buffer, start, size: _view(buffer, start, (size,))


@overload(matrix)
def _matrix(buffer, start, rows, columns):
    return lambda buffer, start, rows, columns: _view(buffer, start, (rows, columns))


@overload(cube)
def _cube(buffer, start, matrices, rows, columns):
    return lambda buffer, start, matrices, rows, columns: _view(
        buffer, start, (matrices, rows, columns)
    )


@intrinsic
def _view(typing, buffer, start, shape):
    dimensions = len(shape)
    kind = types.Array(buffer.dtype, dimensions, "C")

    def generate(context, builder, sig, args):
        source = context.make_array(sig.args[0])(context, builder, args[0])
        sizes = cgutils.unpack_tuple(builder, args[2], dimensions)
        strides = [source.itemsize]
        for size in reversed(sizes[1:]):
            strides.insert(0, builder.mul(strides[0], size))
        view = context.make_array(kind)(context, builder)
        populate_array(
            view,
            data=builder.gep(source.data, [args[1]]),
            shape=sizes,
            strides=strides,
            itemsize=source.itemsize,
            meminfo=ir.Constant(source.meminfo.type, None),
            parent=None,
        )
        return view._getvalue()

    return kind(buffer, types.intp, types.UniTuple(types.intp, dimensions)), generate
