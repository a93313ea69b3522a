"""Vectors of LANES float32 values, each in a register: what loops over arrays are made of.

LLVM vectorises simple loops by itself, but not those that must keep a block of sums in registers.
With vectors the code says what the registers hold. On a machine with narrower registers a vector
takes several. Only kernels can use vectors:

    v = load(x, n)                 LANES values of x from x[n] on; load2(w, m, n) from w[m, n] on
    store(y, n, v)                 the way back; store2(w, m, n, v)
    splat(a)                       a in every lane
    + - * /                        lane by lane, with vectors and float32 numbers
    maximum(v, a), minimum(v, a)   with a number, lane by lane; NaN stays NaN
    last(v, count)                 the last `count` lanes, zeros before them
    total(v)                       sum of the lanes

Tuples of vectors are in `blocks`. There are no bounds checks: LANES values must be there.
"""

import operator

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8

LLVM_VECTOR = ir.VectorType(ir.FloatType(), LANES)
FLAGS = ("contract", "arcp", "nsz")
INDEX = ir.IntType(32)


class Vector(types.Type):
    """Numba's type of a vector."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


VECTOR = Vector()


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, LLVM_VECTOR)


def broadcast(builder, value):
    """The value in every lane."""
    first = builder.insert_element(ir.Constant(LLVM_VECTOR, ir.Undefined), value, INDEX(0))
    zeros = ir.Constant(ir.VectorType(INDEX, LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(LLVM_VECTOR, ir.Undefined), zeros)


def vector_pointer(context, builder, array_type, array, indices):
    """Address of an element of a C-contiguous array, as one of a vector."""
    if array_type.layout != "C" or array_type.dtype != types.float32:
        raise TypeError(f"vectors need contiguous float32, got {array_type}")
    view = context.make_array(array_type)(context, builder, array)
    offset = indices[0]
    if len(indices) == 2:
        columns = builder.extract_value(view.shape, 1)
        offset = builder.add(builder.mul(offset, columns), indices[1])
    return builder.bitcast(builder.gep(view.data, [offset]), ir.PointerType(LLVM_VECTOR))


def _load(context, builder, sig, args):
    pointer = vector_pointer(context, builder, sig.args[0], args[0], args[1:])
    return builder.load(pointer, align=4)


def _store(context, builder, sig, args):
    pointer = vector_pointer(context, builder, sig.args[0], args[0], args[1:-1])
    builder.store(args[-1], pointer, align=4)
    return context.get_dummy_value()


@intrinsic
def load(typing, x, n):
    """LANES values from x[n] on."""
    return VECTOR(x, types.intp), _load


@intrinsic
def load2(typing, w, m, n):
    """LANES values from w[m, n] on."""
    return VECTOR(w, types.intp, types.intp), _load


@intrinsic
def store(typing, y, n, v):
    """Write v to y[n] and on."""
    return types.void(y, types.intp, VECTOR), _store


@intrinsic
def store2(typing, w, m, n, v):
    """Write v to w[m, n] and on."""
    return types.void(w, types.intp, types.intp, VECTOR), _store


@intrinsic
def splat(typing, a):
    """A vector with the float32 number a in every lane."""

    def generate(context, builder, sig, args):
        return broadcast(builder, args[0])

    return VECTOR(types.float32), generate


@intrinsic
def last(typing, v, count):
    """The last `count` lanes, zeros before them, where a vector overlaps the one before."""

    def generate(context, builder, sig, args):
        indices = ir.VectorType(INDEX, LANES)
        undefined = ir.Constant(indices, ir.Undefined)
        first = builder.sub(INDEX(LANES), builder.trunc(args[1], INDEX))
        first = builder.insert_element(undefined, first, INDEX(0))
        first = builder.shuffle_vector(first, undefined, ir.Constant(indices, [0] * LANES))
        kept = builder.icmp_signed(">=", ir.Constant(indices, list(range(LANES))), first)
        return builder.select(kept, args[0], ir.Constant(LLVM_VECTOR, [0.0] * LANES))

    return VECTOR(VECTOR, types.intp), generate


@intrinsic
def total(typing, v):
    """Sum of the lanes."""

    def generate(context, builder, sig, args):
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), LLVM_VECTOR])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        zero = ir.Constant(ir.FloatType(), -0.0)
        return builder.call(function, [zero, args[0]], fastmath=(*FLAGS, "reassoc"))

    return types.float32(VECTOR), generate


def _compare_and_select(comparison):
    def generate(context, builder, sig, args):
        v, bound = args
        if sig.args[0] == VECTOR:
            bound = broadcast(builder, bound)
        return builder.select(builder.fcmp_ordered(comparison, v, bound), bound, v)

    return generate


@intrinsic
def maximum(typing, v, a):
    """The larger of a number and each lane of a vector, or another number."""
    return v(v, types.float32), _compare_and_select("<")


@intrinsic
def minimum(typing, v, a):
    """The smaller of a number and each lane of a vector, or another number."""
    return v(v, types.float32), _compare_and_select(">")


def _define(operation, in_place, instruction):
    @infer_global(operation)
    @infer_global(in_place)
    class Operation(ConcreteTemplate):
        cases = [  # noqa: RUF012
            signature(VECTOR, VECTOR, VECTOR),
            signature(VECTOR, VECTOR, types.float32),
            signature(VECTOR, types.float32, VECTOR),
        ]

    def lower(context, builder, sig, args):
        x, y = (
            value if kind == VECTOR else broadcast(builder, value)
            for kind, value in zip(sig.args, args, strict=True)
        )
        return getattr(builder, instruction)(x, y, flags=FLAGS)

    for case in Operation.cases:
        lower_builtin(operation, *case.args)(lower)
        lower_builtin(in_place, *case.args)(lower)


_define(operator.add, operator.iadd, "fadd")
_define(operator.sub, operator.isub, "fsub")
_define(operator.mul, operator.imul, "fmul")
_define(operator.truediv, operator.itruediv, "fdiv")
