"""Vectors of LANES float32 values that stay in a register: what loops over arrays are made of.

LLVM vectorises simple loops by itself, but not one that must keep a block of sums in registers;
with these the code says what the registers hold. On a machine whose registers are narrower a vector
takes several. Only kernels can use them:

    v = load(x, n)                 LANES values of x from x[n] on; load2(w, m, n) from w[m, n] on
    store(y, n, v)                 the way back; store2(w, m, n, v)
    splat(a)                       a in every lane
    + - * /                        lane by lane, with vectors and float32 numbers
    maximum(v, a), minimum(v, a)   with a number, lane by lane; NaN stays NaN
    last(v, count)                 the last `count` lanes, zeros before them
    total(v)                       sum of the lanes
    store_totals(y, n, (v, ...))   the totals of ROWS vectors, to y[n] and on

Tuples of vectors are blocks of rows or of sums:

    zeros(count)                   as many vectors of zeros
    load_many(x, n, count)         x[n] and on, x[n + LANES] and on ...; store_many(y, n, v)
    add_scaled(s, w, m, n, a)      s[k] + a times what is in w[m, n + k LANES] and on
    load_rows(w, m, n, count)      w[m, n] and on, w[m + 1, n] and on ...; store_rows(w, m, n, v)
    add_splats(s, w, m, n, v)      s[k] + w[m, n + k] v
    add_columns(s, w, m, n, v)     s[k] + w[m + k, n] v
    add_outer(s, x, y)             s[k] + x[k // len(y)] y[k % len(y)]
    repeat(v, count)               the tuple so many times
    add_rows(s, xs, w, m, n)       s[k] + xs[k // c][m] times what is in w[m, n + (k % c) LANES] and
                                   on, c = len(s) / len(xs), of a tuple of arrays xs
    store_each(zs, n, s)           s[k] to zs[k // c][n + (k % c) LANES] and on, likewise
    store_totals2(w, m, n, s)      the totals of ROWS vectors to w[m, n] and on, of the next ROWS to
                                   w[m + 1, n] and on ...

Bounds are the caller's business: LANES values must be there.
"""

import operator

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8
ROWS = 8  # vectors that `store_totals` takes

_LLVM = ir.VectorType(ir.FloatType(), LANES)
_FLAGS = ("contract", "arcp", "nsz")
_INDEX = ir.IntType(32)


class Vector(types.Type):
    """Numba's type of a vector."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


VECTOR = Vector()


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, _LLVM)


def _splat(builder, value):
    first = builder.insert_element(ir.Constant(_LLVM, ir.Undefined), value, _INDEX(0))
    zeros = ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(_LLVM, ir.Undefined), zeros)


def _pointer(context, builder, array_type, array, indices):
    """Address of an element of a C-contiguous array, as one of a vector."""
    if array_type.layout != "C" or array_type.dtype != types.float32:
        raise TypeError(f"vectors need contiguous float32, got {array_type}")
    view = context.make_array(array_type)(context, builder, array)
    offset = indices[0]
    if len(indices) == 2:
        columns = builder.extract_value(view.shape, 1)
        offset = builder.add(builder.mul(offset, columns), indices[1])
    return builder.bitcast(builder.gep(view.data, [offset]), ir.PointerType(_LLVM))


def _load(context, builder, sig, args):
    pointer = _pointer(context, builder, sig.args[0], args[0], args[1:])
    return builder.load(pointer, align=4)


def _store(context, builder, sig, args):
    pointer = _pointer(context, builder, sig.args[0], args[0], args[1:-1])
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
        return _splat(builder, args[0])

    return VECTOR(types.float32), generate


@intrinsic
def last(typing, v, count):
    """The last `count` lanes, zeros before them, where a vector overlaps the one before."""

    def generate(context, builder, sig, args):
        indices = ir.VectorType(_INDEX, LANES)
        undefined = ir.Constant(indices, ir.Undefined)
        first = builder.sub(_INDEX(LANES), builder.trunc(args[1], _INDEX))
        first = builder.insert_element(undefined, first, _INDEX(0))
        first = builder.shuffle_vector(first, undefined, ir.Constant(indices, [0] * LANES))
        kept = builder.icmp_signed(">=", ir.Constant(indices, list(range(LANES))), first)
        return builder.select(kept, args[0], ir.Constant(_LLVM, [0.0] * LANES))

    return VECTOR(VECTOR, types.intp), generate


@intrinsic
def total(typing, v):
    """Sum of the lanes."""

    def generate(context, builder, sig, args):
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), _LLVM])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        zero = ir.Constant(ir.FloatType(), -0.0)
        return builder.call(function, [zero, args[0]], fastmath=(*_FLAGS, "reassoc"))

    return types.float32(VECTOR), generate


def _compare_and_select(comparison):
    def generate(context, builder, sig, args):
        v, bound = args
        if sig.args[0] == VECTOR:
            bound = _splat(builder, bound)
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


@intrinsic
def store_totals(typing, y, n, v):
    """Write the totals of ROWS vectors to y[n] and on.

    Neighbours are added up pair by pair, in all vectors at once, which takes fewer steps than as
    many separate totals.
    """

    def generate(context, builder, sig, args):
        parts = [builder.extract_value(args[2], row) for row in range(ROWS)]
        width = LANES
        while width > ROWS:  # fold each vector until it has as many lanes as there are rows
            width //= 2
            low, high = range(width), range(width, 2 * width)
            parts = [_shuffled_sum(builder, part, part, low, high) for part in parts]
        apart = 1
        while len(parts) > 1:
            low = [n if not n & apart else n - apart + width for n in range(width)]
            high = [n + apart if not n & apart else n + width for n in range(width)]
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [_shuffled_sum(builder, a, b, low, high) for a, b in pairs]
            apart *= 2
        pointer = _pointer(context, builder, sig.args[0], args[0], [args[1]])
        pointer = builder.bitcast(pointer, ir.PointerType(parts[0].type))
        builder.store(parts[0], pointer, align=4)
        return context.get_dummy_value()

    return types.void(y, types.intp, types.UniTuple(VECTOR, ROWS)), generate


def _shuffled_sum(builder, a, b, low, high):
    """Sum of two selections of the lanes of a and b."""
    masks = [ir.Constant(ir.VectorType(_INDEX, len(lanes)), list(lanes)) for lanes in (low, high)]
    x, y = (builder.shuffle_vector(a, b, mask) for mask in masks)
    return builder.fadd(x, y, flags=_FLAGS)


@intrinsic(prefer_literal=True)
def zeros(typing, count):
    """A tuple of `count` vectors of zeros; the count is a constant."""
    kind = types.UniTuple(VECTOR, count.literal_value)

    def generate(context, builder, sig, args):
        return context.get_constant_null(kind)

    return kind(count), generate


def _ahead(builder, n, k):
    """Index of the vector k vectors ahead."""
    return builder.add(n, ir.Constant(n.type, k * LANES))


@intrinsic(prefer_literal=True)
def load_many(typing, x, n, count):
    """A tuple of LANES values from x[n + k LANES] on for k < count; the count is a constant."""
    kind = types.UniTuple(VECTOR, count.literal_value)

    def generate(context, builder, sig, args):
        starts = [_ahead(builder, args[1], k) for k in range(len(kind))]
        pointers = [_pointer(context, builder, sig.args[0], args[0], [n]) for n in starts]
        return cgutils.pack_array(builder, [builder.load(each, align=4) for each in pointers])

    return kind(x, types.intp, count), generate


@intrinsic
def store_many(typing, y, n, v):
    """Write v[k] to y[n + k LANES] and on."""

    def generate(context, builder, sig, args):
        for k, value in enumerate(cgutils.unpack_tuple(builder, args[2])):
            start = _ahead(builder, args[1], k)
            pointer = _pointer(context, builder, sig.args[0], args[0], [start])
            builder.store(value, pointer, align=4)
        return context.get_dummy_value()

    return types.void(y, types.intp, v), generate


def _row(context, builder, array_type, w, m, n, k):
    """Address of w[m + k, n] and on."""
    m = builder.add(m, ir.Constant(m.type, k))
    return _pointer(context, builder, array_type, w, [m, n])


@intrinsic(prefer_literal=True)
def load_rows(typing, w, m, n, count):
    """A tuple of LANES values from w[m + k, n] on for k < count; the count is a constant."""
    kind = types.UniTuple(VECTOR, count.literal_value)

    def generate(context, builder, sig, args):
        rows = [_row(context, builder, sig.args[0], *args[:3], k) for k in range(len(kind))]
        return cgutils.pack_array(builder, [builder.load(row, align=4) for row in rows])

    return kind(w, types.intp, types.intp, count), generate


@intrinsic
def store_rows(typing, w, m, n, v):
    """Write v[k] to w[m + k, n] and on."""

    def generate(context, builder, sig, args):
        for k in range(len(sig.args[3])):
            row = _row(context, builder, sig.args[0], *args[:3], k)
            builder.store(builder.extract_value(args[3], k), row, align=4)
        return context.get_dummy_value()

    return types.void(w, types.intp, types.intp, v), generate


def _multiply_add(builder, x, y, s):
    return builder.fadd(s, builder.fmul(x, y, flags=_FLAGS), flags=_FLAGS)


@intrinsic
def add_scaled(typing, s, w, m, n, a):
    """A tuple of s[k] + a w[m, n + k LANES] and on."""

    def generate(context, builder, sig, args):
        sums = cgutils.unpack_tuple(builder, args[0])
        factor = _splat(builder, args[4])
        for k, s in enumerate(sums):
            indices = [args[2], _ahead(builder, args[3], k)]
            pointer = _pointer(context, builder, sig.args[1], args[1], indices)
            sums[k] = _multiply_add(builder, factor, builder.load(pointer, align=4), s)
        return cgutils.pack_array(builder, sums)

    return s(s, w, types.intp, types.intp, types.float32), generate


@intrinsic
def add_splats(typing, s, w, m, n, v):
    """A tuple of s[k] + w[m, n + k] v."""

    def generate(context, builder, sig, args):
        sums = cgutils.unpack_tuple(builder, args[0])
        pointer = _pointer(context, builder, sig.args[1], args[1], args[2:4])
        pointer = builder.bitcast(pointer, ir.PointerType(ir.FloatType()))
        for k, s in enumerate(sums):
            factor = builder.load(builder.gep(pointer, [_INDEX(k)]))
            sums[k] = _multiply_add(builder, _splat(builder, factor), args[4], s)
        return cgutils.pack_array(builder, sums)

    return s(s, w, types.intp, types.intp, VECTOR), generate


@intrinsic
def add_columns(typing, s, w, m, n, v):
    """A tuple of s[k] + w[m + k, n] v."""

    def generate(context, builder, sig, args):
        sums = cgutils.unpack_tuple(builder, args[0])
        for k, s in enumerate(sums):
            pointer = _row(context, builder, sig.args[1], *args[1:4], k)
            factor = builder.load(builder.bitcast(pointer, ir.PointerType(ir.FloatType())))
            sums[k] = _multiply_add(builder, _splat(builder, factor), args[4], s)
        return cgutils.pack_array(builder, sums)

    return s(s, w, types.intp, types.intp, VECTOR), generate


@intrinsic
def add_outer(typing, s, x, y):
    """A tuple of s[k] + x[k // len(y)] y[k % len(y)]."""

    def generate(context, builder, sig, args):
        sums, xs, ys = (cgutils.unpack_tuple(builder, arg) for arg in args)
        for n, y in enumerate(ys):
            for m, x in enumerate(xs):
                k = m * len(ys) + n
                sums[k] = _multiply_add(builder, x, y, sums[k])
        return cgutils.pack_array(builder, sums)

    return s(s, x, y), generate


@intrinsic(prefer_literal=True)
def repeat(typing, v, count):
    """A tuple that is v so many times over; the count is a constant."""
    kind = types.UniTuple(VECTOR, len(v) * count.literal_value)

    def generate(context, builder, sig, args):
        vectors = cgutils.unpack_tuple(builder, args[0])
        return cgutils.pack_array(builder, vectors * (len(kind) // len(vectors)))

    return kind(v, count), generate


@intrinsic
def add_rows(typing, s, xs, w, m, n):
    """A tuple of s[k] + xs[k // c][m] w[m, n + (k % c) LANES] and on, c = len(s) / len(xs)."""

    def generate(context, builder, sig, args):
        sums, rows = (cgutils.unpack_tuple(builder, arg) for arg in args[:2])
        count = len(sums) // len(rows)
        vectors = []
        for k in range(count):
            indices = [args[3], _ahead(builder, args[4], k)]
            pointer = _pointer(context, builder, sig.args[2], args[2], indices)
            vectors.append(builder.load(pointer, align=4))
        for r, x in enumerate(rows):
            pointer = _pointer(context, builder, sig.args[1].dtype, x, [args[3]])
            value = builder.load(builder.bitcast(pointer, ir.PointerType(ir.FloatType())))
            factor = _splat(builder, value)
            for k, vector in enumerate(vectors):
                place = r * count + k
                sums[place] = _multiply_add(builder, factor, vector, sums[place])
        return cgutils.pack_array(builder, sums)

    return s(s, xs, w, types.intp, types.intp), generate


@intrinsic
def store_each(typing, zs, n, s):
    """Write s[k] to zs[k // c][n + (k % c) LANES] and on, c = len(s) / len(zs)."""

    def generate(context, builder, sig, args):
        rows, sums = (cgutils.unpack_tuple(builder, args[k]) for k in (0, 2))
        count = len(sums) // len(rows)
        for place, value in enumerate(sums):
            start = _ahead(builder, args[1], place % count)
            z = rows[place // count]
            pointer = _pointer(context, builder, sig.args[0].dtype, z, [start])
            builder.store(value, pointer, align=4)
        return context.get_dummy_value()

    return types.void(zs, types.intp, s), generate


@intrinsic
def store_totals2(typing, w, m, n, s):
    """Write the total of s[k] to w[m + k // ROWS, n + k % ROWS]."""
    quads = range(0, LANES, 4)
    half = LANES // 2
    steps = [  # which lanes of two vectors are added to those so far apart
        (2, [(q, q + LANES, q + 1, q + 1 + LANES) for q in quads]),
        (2, [(q, q + 1, q + LANES, q + 1 + LANES) for q in quads]),
        (half, [range(half), range(LANES, LANES + half)]),
    ]

    def generate(context, builder, sig, args):
        parts = cgutils.unpack_tuple(builder, args[3])
        for apart, groups in steps:
            low = [n for group in groups for n in group]
            high = [n + apart for n in low]
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [_shuffled_sum(builder, a, b, low, high) for a, b in pairs]
        for k, part in enumerate(parts):
            if LANES > ROWS:  # two parts of each total are left
                low, high = [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]
                part = _shuffled_sum(builder, part, part, low, high)
            row = _row(context, builder, sig.args[0], *args[:3], k)
            builder.store(part, builder.bitcast(row, ir.PointerType(part.type)), align=4)
        return context.get_dummy_value()

    return types.void(w, types.intp, types.intp, s), generate


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
            value if kind == VECTOR else _splat(builder, value)
            for kind, value in zip(sig.args, args, strict=True)
        )
        return getattr(builder, instruction)(x, y, flags=_FLAGS)

    for case in Operation.cases:
        lower_builtin(operation, *case.args)(lower)
        lower_builtin(in_place, *case.args)(lower)


_define(operator.add, operator.iadd, "fadd")
_define(operator.sub, operator.isub, "fsub")
_define(operator.mul, operator.imul, "fmul")
_define(operator.truediv, operator.itruediv, "fdiv")
