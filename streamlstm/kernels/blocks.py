"""Tuples of vectors that stay in registers: blocks of rows, and blocks of sums.

    zeros(count)                   `count` vectors of zeros
    load_many(x, n, count)         x[n] and on, x[n + LANES] and on ...; store_many(y, n, v)
    add_scaled(s, w, m, n, a)      s[k] + a times what is in w[m, n + k LANES] and on
    load_rows(w, m, n, count)      w[m, n] and on, w[m + 1, n] and on ...; store_rows(w, m, n, v)
    add_splats(s, w, m, n, v)      s[k] + w[m, n + k] v
    add_columns(s, w, m, n, v)     s[k] + w[m + k, n] v
    add_outer(s, x, y)             s[k] + x[k // len(y)] y[k % len(y)]
    repeat(v, count)               the tuple `count` times
    add_rows(s, xs, w, m, n)       s[k] + xs[k // c][m] times what is in w[m, n + (k % c) LANES] and
                                   on, with c = len(s) / len(xs) and a tuple of arrays xs
    store_each(zs, n, s)           s[k] to zs[k // c][n + (k % c) LANES] and on, with a tuple zs
    store_totals(y, n, s)          the totals of ROWS vectors to y[n] and on
    store_totals2(w, m, n, s)      the totals of ROWS vectors to w[m, n] and on, of the next ROWS to
                                   w[m + 1, n] and on ...

Only kernels can use them. There are no bounds checks.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vector import FLAGS, INDEX, LANES, VECTOR, broadcast, vector_pointer

ROWS = 8  # number of vectors that `store_totals` takes


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
        pointers = [vector_pointer(context, builder, sig.args[0], args[0], [n]) for n in starts]
        return cgutils.pack_array(builder, [builder.load(each, align=4) for each in pointers])

    return kind(x, types.intp, count), generate


@intrinsic
def store_many(typing, y, n, v):
    """Write v[k] to y[n + k LANES] and on."""

    def generate(context, builder, sig, args):
        for k, value in enumerate(cgutils.unpack_tuple(builder, args[2])):
            start = _ahead(builder, args[1], k)
            pointer = vector_pointer(context, builder, sig.args[0], args[0], [start])
            builder.store(value, pointer, align=4)
        return context.get_dummy_value()

    return types.void(y, types.intp, v), generate


def _row(context, builder, array_type, w, m, n, k):
    """Address of w[m + k, n] and on."""
    m = builder.add(m, ir.Constant(m.type, k))
    return vector_pointer(context, builder, array_type, w, [m, n])


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
    return builder.fadd(s, builder.fmul(x, y, flags=FLAGS), flags=FLAGS)


@intrinsic
def add_scaled(typing, s, w, m, n, a):
    """A tuple of s[k] + a w[m, n + k LANES] and on."""

    def generate(context, builder, sig, args):
        sums = cgutils.unpack_tuple(builder, args[0])
        factor = broadcast(builder, args[4])
        for k, s in enumerate(sums):
            indices = [args[2], _ahead(builder, args[3], k)]
            pointer = vector_pointer(context, builder, sig.args[1], args[1], indices)
            sums[k] = _multiply_add(builder, factor, builder.load(pointer, align=4), s)
        return cgutils.pack_array(builder, sums)

    return s(s, w, types.intp, types.intp, types.float32), generate


@intrinsic
def add_splats(typing, s, w, m, n, v):
    """A tuple of s[k] + w[m, n + k] v."""

    def generate(context, builder, sig, args):
        sums = cgutils.unpack_tuple(builder, args[0])
        pointer = vector_pointer(context, builder, sig.args[1], args[1], args[2:4])
        pointer = builder.bitcast(pointer, ir.PointerType(ir.FloatType()))
        for k, s in enumerate(sums):
            factor = builder.load(builder.gep(pointer, [INDEX(k)]))
            sums[k] = _multiply_add(builder, broadcast(builder, factor), args[4], s)
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
            sums[k] = _multiply_add(builder, broadcast(builder, factor), args[4], s)
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
    """The tuple v `count` times; the count is a constant."""
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
            pointer = vector_pointer(context, builder, sig.args[2], args[2], indices)
            vectors.append(builder.load(pointer, align=4))
        for r, x in enumerate(rows):
            pointer = vector_pointer(context, builder, sig.args[1].dtype, x, [args[3]])
            value = builder.load(builder.bitcast(pointer, ir.PointerType(ir.FloatType())))
            factor = broadcast(builder, value)
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
            pointer = vector_pointer(context, builder, sig.args[0].dtype, z, [start])
            builder.store(value, pointer, align=4)
        return context.get_dummy_value()

    return types.void(zs, types.intp, s), generate


def _shuffled_sum(builder, a, b, low, high):
    """Sum of two selections of the lanes of a and b."""
    masks = [ir.Constant(ir.VectorType(INDEX, len(lanes)), list(lanes)) for lanes in (low, high)]
    x, y = (builder.shuffle_vector(a, b, mask) for mask in masks)
    return builder.fadd(x, y, flags=FLAGS)


@intrinsic
def store_totals(typing, y, n, v):
    """Write the totals of ROWS vectors to y[n] and on.

    Adds up pairs of neighbours in all vectors at once, in fewer steps than separate totals take.
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
        pointer = vector_pointer(context, builder, sig.args[0], args[0], [args[1]])
        pointer = builder.bitcast(pointer, ir.PointerType(parts[0].type))
        builder.store(parts[0], pointer, align=4)
        return context.get_dummy_value()

    return types.void(y, types.intp, types.UniTuple(VECTOR, ROWS)), generate


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
