"""The compiled form of the operations on tiles of :mod:`implicit_wmf.kernels.simd`, which defines them."""

from __future__ import annotations

import functools
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from .simd_vectors import INDEX, LANE, Matrix, Vectors, data_of, offset


def _load_tile(vectors: Vectors, matrix: Matrix, i: Any, j: Any) -> list[Any]:
    """Accumulators that begin as a tile; LLVM keeps these stack slots in registers."""
    builder = vectors.builder
    rows = [vectors.load(matrix.at(offset(builder, i, r), j)) for r in range(vectors.lanes)]
    return [cgutils.alloca_once_value(builder, row) for row in rows]


def _store_tile(vectors: Vectors, rows: list[Any], matrix: Matrix, i: Any, j: Any) -> None:
    for r, row in enumerate(rows):
        vectors.store(row, matrix.at(offset(vectors.builder, i, r), j))


def _accumulate(vectors: Vectors, tile: list[Any], left: Any, right: Any) -> None:
    """tile[r] += left[r] * right, with left an address of scalars and right a vector."""
    builder = vectors.builder
    for r, row in enumerate(tile):
        scalar = vectors.splat(builder.load(builder.gep(left, [INDEX(r)])))
        builder.store(vectors.multiply_add(scalar, right, builder.load(row)), row)


@intrinsic
def add_outer(typingctx: Any, left: Any, i: Any, right: Any, j: Any, length: Any, out: Any) -> Any:
    """Compile `simd.add_outer`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = Vectors(builder, out.dtype)
        lefts, rights, outs = (Matrix(context, builder, signature.args[k], arguments[k]) for k in (0, 2, 5))
        row, column, count = arguments[1], arguments[3], arguments[4]
        tile = _load_tile(vectors, outs, row, column)
        with cgutils.for_range(builder, count, intp=INDEX) as loop:
            _accumulate(vectors, tile, lefts.at(loop.index, row), vectors.load(rights.at(loop.index, column)))
        _store_tile(vectors, [builder.load(slot) for slot in tile], outs, row, column)
        return context.get_dummy_value()

    return numba.types.void(left, i, right, j, length, out), generate


def _subtract_rows_above(vectors: Vectors, matrix: Matrix, i: Any, j: Any) -> list[Any]:
    """Load the tile at (i, j) less R[:i, i:i+tile]' R[:i, j:j+tile], as a list of vectors."""
    builder = vectors.builder
    tile = _load_tile(vectors, matrix, i, j)
    with cgutils.for_range(builder, i, intp=INDEX) as loop:
        right = builder.fneg(vectors.load(matrix.at(loop.index, j)))
        _accumulate(vectors, tile, matrix.at(loop.index, i), right)
    return [builder.load(slot) for slot in tile]


@intrinsic
def factor(typingctx: Any, matrix: Any, i: Any) -> Any:
    """Compile `simd.factor`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = Vectors(builder, matrix.dtype)
        whole = Matrix(context, builder, matrix, arguments[0])
        rows = _subtract_rows_above(vectors, whole, arguments[1], arguments[1])
        zero, one = (ir.Constant(vectors.element, number) for number in (0.0, 1.0))
        pivots = ir.Constant(vectors.type, ir.Undefined)
        positive = cgutils.true_bit
        # Elimination without roots, so that each of the dependent steps waits for one division only; rows are scaled
        # by the roots of their pivots afterwards, all at once.
        for r in range(vectors.lanes):
            pivot = builder.extract_element(rows[r], LANE(r))
            pivots = builder.insert_element(pivots, pivot, LANE(r))
            positive = builder.and_(positive, builder.fcmp_ordered(">", pivot, zero))
            scaled = builder.fmul(rows[r], vectors.splat(builder.fneg(builder.fdiv(one, pivot))))
            for s in range(r + 1, vectors.lanes):
                scalar = vectors.splat(builder.extract_element(rows[r], LANE(s)))
                rows[s] = vectors.multiply_add(scalar, scaled, rows[s])
        reciprocals = builder.fdiv(vectors.constant(1.0), vectors.square_root(pivots))
        for r, row in enumerate(rows):
            reciprocal = builder.extract_element(reciprocals, LANE(r))
            final = builder.fmul(vectors.keep_from(row, r), vectors.splat(reciprocal))
            rows[r] = builder.insert_element(final, reciprocal, LANE(r))
        _store_tile(vectors, rows, whole, arguments[1], arguments[1])
        return positive

    return numba.types.boolean(matrix, i), generate


@intrinsic
def solve(typingctx: Any, matrix: Any, i: Any, j: Any) -> Any:
    """Compile `simd.solve`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = Vectors(builder, matrix.dtype)
        whole = Matrix(context, builder, matrix, arguments[0])
        row = arguments[1]
        rows = _subtract_rows_above(vectors, whole, row, arguments[2])
        for r in range(vectors.lanes):
            diagonal = whole.at(offset(builder, row, r), row)
            reciprocal = builder.load(builder.gep(diagonal, [INDEX(r)]))
            rows[r] = builder.fmul(rows[r], vectors.splat(reciprocal))
            negative = builder.fneg(rows[r])
            for s in range(r + 1, vectors.lanes):
                scalar = vectors.splat(builder.load(builder.gep(diagonal, [INDEX(s)])))
                rows[s] = vectors.multiply_add(scalar, negative, rows[s])
        _store_tile(vectors, rows, whole, row, arguments[2])
        return context.get_dummy_value()

    return numba.types.void(matrix, i, j), generate


def _transpose(vectors: Vectors, rows: list[Any]) -> list[Any]:
    """Transpose a tile in registers: swap its off-diagonal blocks of half the width, then of a quarter, and so on."""
    lanes = range(vectors.lanes)
    width = vectors.lanes // 2
    while width:
        low = [lane if not lane & width else lane - width + vectors.lanes for lane in lanes]
        high = [lane + width if not lane & width else lane + vectors.lanes for lane in lanes]
        masks = [ir.Constant(ir.VectorType(LANE, vectors.lanes), mask) for mask in (low, high)]
        for r in lanes:
            if not r & width:
                pair = rows[r], rows[r + width]
                rows[r], rows[r + width] = (vectors.builder.shuffle_vector(*pair, mask) for mask in masks)
        width //= 2
    return rows


def _eliminate(vectors: Vectors, values: Any, tile: list[Any], order: Any) -> tuple[Any, list[Any]]:
    """Solve a triangular tile in registers; tile[r] is what entry r takes off the others, 1 / pivot at lane r."""
    builder = vectors.builder
    entries: list[Any] = [None] * vectors.lanes
    for r in order:
        entry = builder.fmul(builder.extract_element(values, LANE(r)), builder.extract_element(tile[r], LANE(r)))
        entries[r] = builder.fneg(vectors.splat(entry))
        values = vectors.multiply_add(entries[r], tile[r], values)
        values = builder.insert_element(values, entry, LANE(r))
    return values, entries


def _later_tiles(vectors: Vectors, i: Any, size: Any) -> Any:
    """Count the tiles between the one at i and size."""
    builder = vectors.builder
    return builder.sub(builder.udiv(builder.sub(size, i), INDEX(vectors.lanes)), INDEX(1))


def _later_tile(vectors: Vectors, i: Any, index: Any) -> Any:
    builder = vectors.builder
    return builder.add(i, builder.mul(builder.add(index, INDEX(1)), INDEX(vectors.lanes)))


@intrinsic
def substitute_forward(typingctx: Any, matrix: Any, i: Any, x: Any, size: Any) -> Any:
    """Compile `simd.substitute_forward`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = Vectors(builder, matrix.dtype)
        whole = Matrix(context, builder, matrix, arguments[0])
        i, size = arguments[1], arguments[3]
        data = data_of(context, builder, x, arguments[2])
        tile = [vectors.load(whole.at(offset(builder, i, r), i)) for r in range(vectors.lanes)]
        here = builder.gep(data, [i])
        values, entries = _eliminate(vectors, vectors.load(here), tile, range(vectors.lanes))
        vectors.store(values, here)
        with cgutils.for_range(builder, _later_tiles(vectors, i, size), intp=INDEX) as loop:
            j = _later_tile(vectors, i, loop.index)
            there = builder.gep(data, [j])
            # two sums, because one would be a chain of 16 dependent additions
            sums = [vectors.load(there), vectors.constant(0.0)]
            for r in range(vectors.lanes):
                row = vectors.load(whole.at(offset(builder, i, r), j))
                sums[r % 2] = vectors.multiply_add(entries[r], row, sums[r % 2])
            vectors.store(builder.fadd(*sums), there)
        return context.get_dummy_value()

    return numba.types.void(matrix, i, x, size), generate


@intrinsic
def substitute_back(typingctx: Any, matrix: Any, i: Any, x: Any, size: Any) -> Any:
    """Compile `simd.substitute_back`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = Vectors(builder, matrix.dtype)
        whole = Matrix(context, builder, matrix, arguments[0])
        i, size = arguments[1], arguments[3]
        data = data_of(context, builder, x, arguments[2])
        zero = vectors.constant(0.0)
        slots = [cgutils.alloca_once_value(builder, zero) for _ in range(vectors.lanes)]
        with cgutils.for_range(builder, _later_tiles(vectors, i, size), intp=INDEX) as loop:
            j = _later_tile(vectors, i, loop.index)
            known = vectors.load(builder.gep(data, [j]))
            for r, slot in enumerate(slots):
                row = vectors.load(whole.at(offset(builder, i, r), j))
                builder.store(vectors.multiply_add(row, known, builder.load(slot)), slot)
        here = builder.gep(data, [i])
        values = vectors.load(here)
        for column in _transpose(vectors, [builder.load(slot) for slot in slots]):  # their sums, lane by lane
            values = builder.fsub(values, column)
        tile = _transpose(vectors, [vectors.load(whole.at(offset(builder, i, r), i)) for r in range(vectors.lanes)])
        values, _ = _eliminate(vectors, values, tile, reversed(range(vectors.lanes)))
        vectors.store(values, here)
        return context.get_dummy_value()

    return numba.types.void(matrix, i, x, size), generate


@intrinsic
def gather_transposed(
    typingctx: Any, source: Any, picks: Any, at: Any, k: Any, scales: Any, roots: Any, out: Any
) -> Any:
    """Compile `simd.gather_transposed`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = Vectors(builder, out.dtype)
        sources, outs = (Matrix(context, builder, signature.args[p], arguments[p]) for p in (0, 6))
        pick, scale, root = (
            builder.gep(data_of(context, builder, signature.args[p], arguments[p]), [arguments[place]])
            for p, place in ((1, 2), (4, 3), (5, 2))
        )
        rows = []
        for c in range(vectors.lanes):
            index = builder.sext(builder.load(builder.gep(pick, [INDEX(c)])), INDEX)
            rows.append(vectors.load(sources.at(index, arguments[3])))
        column_roots = vectors.load(root)
        scaled = []
        for r, row in enumerate(_transpose(vectors, rows)):
            row_scale = vectors.splat(builder.load(builder.gep(scale, [INDEX(r)])))
            scaled.append(builder.fmul(builder.fmul(row, column_roots), row_scale))
        _store_tile(vectors, scaled, outs, arguments[3], arguments[2])
        return context.get_dummy_value()

    return numba.types.void(source, picks, at, k, scales, roots, out), generate


@intrinsic
def score_tile(
    typingctx: Any, users: Any, items: Any, length: Any, thresholds: Any, at: Any, tile: Any, hits: Any
) -> Any:
    """Compile `simd.score_tile`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = Vectors(builder, tile.dtype)
        lefts, rights, out = (Matrix(context, builder, signature.args[k], arguments[k]) for k in (0, 1, 5))
        zero, first = vectors.constant(0.0), INDEX(0)
        slots = [cgutils.alloca_once_value(builder, zero) for _ in range(vectors.lanes)]
        for slot in slots:  # where the call is inlined into a loop, their first value is that of the last round
            builder.store(zero, slot)
        with cgutils.for_range(builder, arguments[2], intp=INDEX) as loop:
            _accumulate(vectors, slots, rights.at(loop.index, first), vectors.load(lefts.at(loop.index, first)))
        scores = [builder.load(slot) for slot in slots]
        least = vectors.load(builder.gep(data_of(context, builder, thresholds, arguments[3]), [arguments[4]]))
        reached = [builder.fcmp_ordered(">=", row, least) for row in scores]
        bits = ir.IntType(vectors.lanes)
        some = builder.icmp_unsigned("!=", builder.bitcast(functools.reduce(builder.or_, reached), bits), bits(0))
        with builder.if_then(some, likely=False):
            _store_tile(vectors, scores, out, first, first)
            words = builder.bitcast(data_of(context, builder, hits, arguments[6]), bits.as_pointer())
            for r, mask in enumerate(reached):
                builder.store(builder.bitcast(mask, bits), builder.gep(words, [INDEX(r)]))
        return some

    return numba.types.boolean(users, items, length, thresholds, at, tile, hits), generate


@intrinsic
def lowest_bit(typingctx: Any, bits: Any) -> Any:
    """Compile `simd.lowest_bit`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        position = builder.cttz(arguments[0], cgutils.true_bit)
        return context.cast(builder, position, bits, numba.types.int64)

    return numba.types.int64(bits), generate
