"""The compiled form of the operations of :mod:`implicit_wmf.kernels.simd`: instructions on LLVM's vector types.

LLVM splits the vectors where the machine's are shorter, so the code is right everywhere and fastest with 512-bit
registers. What each operation computes is defined by its twin there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import VECTOR_BYTES

_INDEX = ir.IntType(64)
_LANE = ir.IntType(32)


class _Vectors:
    """The instructions that the operations are made of, for one element type."""

    def __init__(self, builder: Any, dtype: Any) -> None:
        self.builder = builder
        self.element = ir.FloatType() if dtype == numba.types.float32 else ir.DoubleType()
        self.bytes = 4 if dtype == numba.types.float32 else 8
        self.lanes = VECTOR_BYTES // self.bytes
        self.type = ir.VectorType(self.element, self.lanes)

    def _intrinsic(self, name: str, kind: Any, arguments: int) -> Any:
        function = ir.FunctionType(kind, [kind] * arguments)
        return cgutils.get_or_insert_function(self.builder.module, function, name)

    def load(self, pointer: Any) -> Any:
        vector = self.builder.load(self.builder.bitcast(pointer, self.type.as_pointer()))
        vector.align = self.bytes
        return vector

    def store(self, vector: Any, pointer: Any) -> None:
        store = self.builder.store(vector, self.builder.bitcast(pointer, self.type.as_pointer()))
        store.align = self.bytes

    def splat(self, scalar: Any) -> Any:
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, _LANE(0))
        lanes = ir.Constant(ir.VectorType(_LANE, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def multiply_add(self, left: Any, right: Any, addend: Any) -> Any:
        letter = "f32" if self.bytes == 4 else "f64"
        function = self._intrinsic(f"llvm.fmuladd.v{self.lanes}{letter}", self.type, 3)
        return self.builder.call(function, [left, right, addend])

    def keep_from(self, vector: Any, first: int) -> Any:
        """Zero the lanes before `first`."""
        lanes = [lane + self.lanes if lane < first else lane for lane in range(self.lanes)]
        return self.builder.shuffle_vector(
            vector, self.constant(0.0), ir.Constant(ir.VectorType(_LANE, self.lanes), lanes)
        )

    def constant(self, number: float) -> Any:
        return ir.Constant(self.type, [number] * self.lanes)

    def square_root(self, vector: Any) -> Any:
        letter = "f32" if self.bytes == 4 else "f64"
        return self.builder.call(self._intrinsic(f"llvm.sqrt.v{self.lanes}{letter}", self.type, 1), [vector])


class _Matrix:
    """Addresses within a C-ordered 2-D array."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        array = cgutils.create_struct_proxy(kind)(context, builder, value)
        self.builder = builder
        self.data = array.data
        self.stride = cgutils.unpack_tuple(builder, array.shape)[1]

    def at(self, row: Any, column: Any) -> Any:
        return self.builder.gep(self.data, [self.builder.add(self.builder.mul(row, self.stride), column)])


def _data(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Address of a 1-D array's first entry."""
    return cgutils.create_struct_proxy(kind)(context, builder, value).data


def _offset(builder: Any, index: Any, by: int) -> Any:
    return builder.add(index, _INDEX(by))


def _load_tile(vectors: _Vectors, matrix: _Matrix, i: Any, j: Any) -> list[Any]:
    """Accumulators that begin as a tile; LLVM keeps these stack slots in registers."""
    builder = vectors.builder
    rows = [vectors.load(matrix.at(_offset(builder, i, r), j)) for r in range(vectors.lanes)]
    return [cgutils.alloca_once_value(builder, row) for row in rows]


def _store_tile(vectors: _Vectors, rows: list[Any], matrix: _Matrix, i: Any, j: Any) -> None:
    for r, row in enumerate(rows):
        vectors.store(row, matrix.at(_offset(vectors.builder, i, r), j))


def _accumulate(vectors: _Vectors, tile: list[Any], left: Any, right: Any) -> None:
    """tile[r] += left[r] * right, with left an address of scalars and right a vector."""
    builder = vectors.builder
    for r, row in enumerate(tile):
        scalar = vectors.splat(builder.load(builder.gep(left, [_INDEX(r)])))
        builder.store(vectors.multiply_add(scalar, right, builder.load(row)), row)


@intrinsic
def add_outer(typingctx: Any, left: Any, i: Any, right: Any, j: Any, length: Any, out: Any) -> Any:
    """Compile `simd.add_outer`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = _Vectors(builder, out.dtype)
        lefts, rights, outs = (_Matrix(context, builder, signature.args[k], arguments[k]) for k in (0, 2, 5))
        row, column, count = arguments[1], arguments[3], arguments[4]
        tile = _load_tile(vectors, outs, row, column)
        with cgutils.for_range(builder, count, intp=_INDEX) as loop:
            _accumulate(vectors, tile, lefts.at(loop.index, row), vectors.load(rights.at(loop.index, column)))
        _store_tile(vectors, [builder.load(slot) for slot in tile], outs, row, column)
        return context.get_dummy_value()

    return numba.types.void(left, i, right, j, length, out), generate


def _subtract_rows_above(vectors: _Vectors, matrix: _Matrix, i: Any, j: Any) -> list[Any]:
    """Load the tile at (i, j) less R[:i, i:i+tile]' R[:i, j:j+tile], as a list of vectors."""
    builder = vectors.builder
    tile = _load_tile(vectors, matrix, i, j)
    with cgutils.for_range(builder, i, intp=_INDEX) as loop:
        right = builder.fneg(vectors.load(matrix.at(loop.index, j)))
        _accumulate(vectors, tile, matrix.at(loop.index, i), right)
    return [builder.load(slot) for slot in tile]


@intrinsic
def factor(typingctx: Any, matrix: Any, i: Any) -> Any:
    """Compile `simd.factor`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = _Vectors(builder, matrix.dtype)
        whole = _Matrix(context, builder, matrix, arguments[0])
        rows = _subtract_rows_above(vectors, whole, arguments[1], arguments[1])
        zero, one = (ir.Constant(vectors.element, number) for number in (0.0, 1.0))
        pivots = ir.Constant(vectors.type, ir.Undefined)
        positive = cgutils.true_bit
        # Elimination without roots, so that each of the dependent steps waits for one division only; rows are scaled
        # by the roots of their pivots afterwards, all at once.
        for r in range(vectors.lanes):
            pivot = builder.extract_element(rows[r], _LANE(r))
            pivots = builder.insert_element(pivots, pivot, _LANE(r))
            positive = builder.and_(positive, builder.fcmp_ordered(">", pivot, zero))
            scaled = builder.fmul(rows[r], vectors.splat(builder.fneg(builder.fdiv(one, pivot))))
            for s in range(r + 1, vectors.lanes):
                scalar = vectors.splat(builder.extract_element(rows[r], _LANE(s)))
                rows[s] = vectors.multiply_add(scalar, scaled, rows[s])
        reciprocals = builder.fdiv(vectors.constant(1.0), vectors.square_root(pivots))
        for r, row in enumerate(rows):
            reciprocal = builder.extract_element(reciprocals, _LANE(r))
            final = builder.fmul(vectors.keep_from(row, r), vectors.splat(reciprocal))
            rows[r] = builder.insert_element(final, reciprocal, _LANE(r))
        _store_tile(vectors, rows, whole, arguments[1], arguments[1])
        return positive

    return numba.types.boolean(matrix, i), generate


@intrinsic
def solve(typingctx: Any, matrix: Any, i: Any, j: Any) -> Any:
    """Compile `simd.solve`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = _Vectors(builder, matrix.dtype)
        whole = _Matrix(context, builder, matrix, arguments[0])
        row = arguments[1]
        rows = _subtract_rows_above(vectors, whole, row, arguments[2])
        for r in range(vectors.lanes):
            diagonal = whole.at(_offset(builder, row, r), row)
            reciprocal = builder.load(builder.gep(diagonal, [_INDEX(r)]))
            rows[r] = builder.fmul(rows[r], vectors.splat(reciprocal))
            negative = builder.fneg(rows[r])
            for s in range(r + 1, vectors.lanes):
                scalar = vectors.splat(builder.load(builder.gep(diagonal, [_INDEX(s)])))
                rows[s] = vectors.multiply_add(scalar, negative, rows[s])
        _store_tile(vectors, rows, whole, row, arguments[2])
        return context.get_dummy_value()

    return numba.types.void(matrix, i, j), generate


def _transpose(vectors: _Vectors, rows: list[Any]) -> list[Any]:
    """Transpose a tile in registers: swap its off-diagonal blocks of half the width, then of a quarter, and so on."""
    lanes = range(vectors.lanes)
    width = vectors.lanes // 2
    while width:
        low = [lane if not lane & width else lane - width + vectors.lanes for lane in lanes]
        high = [lane + width if not lane & width else lane + vectors.lanes for lane in lanes]
        masks = [ir.Constant(ir.VectorType(_LANE, vectors.lanes), mask) for mask in (low, high)]
        for r in lanes:
            if not r & width:
                pair = rows[r], rows[r + width]
                rows[r], rows[r + width] = (vectors.builder.shuffle_vector(*pair, mask) for mask in masks)
        width //= 2
    return rows


def _eliminate(vectors: _Vectors, values: Any, tile: list[Any], order: Any) -> tuple[Any, list[Any]]:
    """Solve a triangular tile in registers; tile[r] is what entry r takes off the others, 1 / pivot at lane r."""
    builder = vectors.builder
    entries: list[Any] = [None] * vectors.lanes
    for r in order:
        entry = builder.fmul(builder.extract_element(values, _LANE(r)), builder.extract_element(tile[r], _LANE(r)))
        entries[r] = builder.fneg(vectors.splat(entry))
        values = vectors.multiply_add(entries[r], tile[r], values)
        values = builder.insert_element(values, entry, _LANE(r))
    return values, entries


def _later_tiles(vectors: _Vectors, i: Any, size: Any) -> Any:
    """Count the tiles between the one at i and size."""
    builder = vectors.builder
    return builder.sub(builder.udiv(builder.sub(size, i), _INDEX(vectors.lanes)), _INDEX(1))


def _later_tile(vectors: _Vectors, i: Any, index: Any) -> Any:
    builder = vectors.builder
    return builder.add(i, builder.mul(builder.add(index, _INDEX(1)), _INDEX(vectors.lanes)))


@intrinsic
def substitute_forward(typingctx: Any, matrix: Any, i: Any, x: Any, size: Any) -> Any:
    """Compile `simd.substitute_forward`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = _Vectors(builder, matrix.dtype)
        whole = _Matrix(context, builder, matrix, arguments[0])
        i, size = arguments[1], arguments[3]
        data = _data(context, builder, x, arguments[2])
        tile = [vectors.load(whole.at(_offset(builder, i, r), i)) for r in range(vectors.lanes)]
        here = builder.gep(data, [i])
        values, entries = _eliminate(vectors, vectors.load(here), tile, range(vectors.lanes))
        vectors.store(values, here)
        with cgutils.for_range(builder, _later_tiles(vectors, i, size), intp=_INDEX) as loop:
            j = _later_tile(vectors, i, loop.index)
            there = builder.gep(data, [j])
            # two sums, because one would be a chain of 16 dependent additions
            sums = [vectors.load(there), vectors.constant(0.0)]
            for r in range(vectors.lanes):
                row = vectors.load(whole.at(_offset(builder, i, r), j))
                sums[r % 2] = vectors.multiply_add(entries[r], row, sums[r % 2])
            vectors.store(builder.fadd(*sums), there)
        return context.get_dummy_value()

    return numba.types.void(matrix, i, x, size), generate


@intrinsic
def substitute_back(typingctx: Any, matrix: Any, i: Any, x: Any, size: Any) -> Any:
    """Compile `simd.substitute_back`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = _Vectors(builder, matrix.dtype)
        whole = _Matrix(context, builder, matrix, arguments[0])
        i, size = arguments[1], arguments[3]
        data = _data(context, builder, x, arguments[2])
        zero = vectors.constant(0.0)
        slots = [cgutils.alloca_once_value(builder, zero) for _ in range(vectors.lanes)]
        with cgutils.for_range(builder, _later_tiles(vectors, i, size), intp=_INDEX) as loop:
            j = _later_tile(vectors, i, loop.index)
            known = vectors.load(builder.gep(data, [j]))
            for r, slot in enumerate(slots):
                row = vectors.load(whole.at(_offset(builder, i, r), j))
                builder.store(vectors.multiply_add(row, known, builder.load(slot)), slot)
        here = builder.gep(data, [i])
        values = vectors.load(here)
        for column in _transpose(vectors, [builder.load(slot) for slot in slots]):  # their sums, lane by lane
            values = builder.fsub(values, column)
        tile = _transpose(vectors, [vectors.load(whole.at(_offset(builder, i, r), i)) for r in range(vectors.lanes)])
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
        vectors = _Vectors(builder, out.dtype)
        sources, outs = (_Matrix(context, builder, signature.args[p], arguments[p]) for p in (0, 6))
        pick, scale, root = (
            builder.gep(_data(context, builder, signature.args[p], arguments[p]), [arguments[place]])
            for p, place in ((1, 2), (4, 3), (5, 2))
        )
        rows = []
        for c in range(vectors.lanes):
            index = builder.sext(builder.load(builder.gep(pick, [_INDEX(c)])), _INDEX)
            rows.append(vectors.load(sources.at(index, arguments[3])))
        column_roots = vectors.load(root)
        scaled = []
        for r, row in enumerate(_transpose(vectors, rows)):
            row_scale = vectors.splat(builder.load(builder.gep(scale, [_INDEX(r)])))
            scaled.append(builder.fmul(builder.fmul(row, column_roots), row_scale))
        _store_tile(vectors, scaled, outs, arguments[3], arguments[2])
        return context.get_dummy_value()

    return numba.types.void(source, picks, at, k, scales, roots, out), generate


def _interleave(lanes: int, width: int) -> tuple[list[int], list[int]]:
    """Lanes of two vectors of runs `width` long: the first halves of all runs, and the second halves."""
    starts = range(0, 2 * lanes, width)
    halves = [[start + half * width // 2 + lane for start in starts for lane in range(width // 2)] for half in (0, 1)]
    return halves[0], halves[1]


def _sums(vectors: _Vectors, rows: list[Any]) -> list[Any]:
    """Sum the lanes of 1, 2, 4 or 8 vectors, together: each round adds halves and puts two vectors into one."""
    builder = vectors.builder
    count, width = len(rows), vectors.lanes

    def shuffle(left: Any, right: Any, lanes: Any) -> Any:
        return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(_LANE, vectors.lanes), list(lanes)))

    while len(rows) > 1:
        low, high = _interleave(vectors.lanes, width)
        pairs = zip(rows[::2], rows[1::2], strict=True)
        rows = [builder.fadd(shuffle(*pair, low), shuffle(*pair, high)) for pair in pairs]
        width //= 2
    total = rows[0]
    while width > 1:
        width //= 2
        total = builder.fadd(total, shuffle(total, total, [lane ^ width for lane in range(vectors.lanes)]))
    return [builder.extract_element(total, _LANE(row * vectors.lanes // count)) for row in range(count)]


def _for_tiles(vectors: _Vectors, width: Any, body: Callable[[Any], None]) -> None:
    """Generate body(k) for the tiles of a row, four to a turn of the loop: short loops are mostly overhead."""
    builder = vectors.builder
    tiles = builder.udiv(width, _INDEX(vectors.lanes))
    fours = builder.udiv(tiles, _INDEX(4))
    with cgutils.for_range(builder, fours, intp=_INDEX) as loop:
        first = builder.mul(loop.index, _INDEX(4 * vectors.lanes))
        for tile in range(4):
            body(_offset(builder, first, tile * vectors.lanes))
    done = builder.mul(fours, _INDEX(4))
    with cgutils.for_range(builder, builder.sub(tiles, done), intp=_INDEX) as loop:
        body(builder.mul(builder.add(done, loop.index), _INDEX(vectors.lanes)))


class _Picked:
    """Some rows of a matrix, by position."""

    def __init__(self, vectors: _Vectors, matrix: _Matrix, picks: Any) -> None:
        builder = vectors.builder
        positions = [builder.sext(pick, _INDEX) for pick in cgutils.unpack_tuple(builder, picks)]
        self._vectors = vectors
        self._rows = [matrix.at(position, _INDEX(0)) for position in positions]

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, k: Any) -> list[Any]:
        """Load their tiles at column k."""
        return [self._vectors.load(self._vectors.builder.gep(row, [k])) for row in self._rows]


def _weighted_sum(vectors: _Vectors, rows: list[Any], coefficients: list[Any]) -> Any:
    total = vectors.builder.fmul(rows[0], coefficients[0])
    for row, coefficient in zip(rows[1:], coefficients[1:], strict=True):
        total = vectors.multiply_add(row, coefficient, total)
    return total


def _add_to(vectors: _Vectors, place: Any, vector: Any) -> None:
    """Add to what is stored, last: a chain that began there would wait for the rows before."""
    vectors.store(vectors.builder.fadd(vector, vectors.load(place)), place)


def _splat_all(vectors: _Vectors, scalars: Any) -> list[Any]:
    return [vectors.splat(scalar) for scalar in cgutils.unpack_tuple(vectors.builder, scalars)]


@intrinsic
def dots(typingctx: Any, matrix: Any, picks: Any, vector: Any) -> Any:
    """Compile `simd.dots`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = _Vectors(builder, matrix.dtype)
        whole = _Matrix(context, builder, matrix, arguments[0])
        picked = _Picked(vectors, whole, arguments[1])
        data = _data(context, builder, vector, arguments[2])
        slots = [cgutils.alloca_once_value(builder, vectors.constant(0.0)) for _ in range(len(picked))]

        def add(k: Any) -> None:
            known = vectors.load(builder.gep(data, [k]))
            for row, slot in zip(picked.load(k), slots, strict=True):
                builder.store(vectors.multiply_add(row, known, builder.load(slot)), slot)

        _for_tiles(vectors, whole.stride, add)
        sums = _sums(vectors, [builder.load(slot) for slot in slots])
        return context.make_tuple(builder, signature.return_type, sums)

    return numba.types.UniTuple(matrix.dtype, len(picks))(matrix, picks, vector), generate


@intrinsic
def add_rows(typingctx: Any, matrix: Any, picks: Any, coefficients: Any, out: Any) -> Any:
    """Compile `simd.add_rows`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = _Vectors(builder, matrix.dtype)
        whole = _Matrix(context, builder, matrix, arguments[0])
        picked = _Picked(vectors, whole, arguments[1])
        scalars = _splat_all(vectors, arguments[2])
        data = _data(context, builder, out, arguments[3])

        def add(k: Any) -> None:
            _add_to(vectors, builder.gep(data, [k]), _weighted_sum(vectors, picked.load(k), scalars))

        _for_tiles(vectors, whole.stride, add)
        return context.get_dummy_value()

    return numba.types.void(matrix, picks, coefficients, out), generate


@intrinsic
def add_rows_and_squares(
    typingctx: Any, matrix: Any, picks: Any, coefficients: Any, weights: Any, out: Any, squares: Any
) -> Any:
    """Compile `simd.add_rows_and_squares`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = _Vectors(builder, matrix.dtype)
        whole = _Matrix(context, builder, matrix, arguments[0])
        picked = _Picked(vectors, whole, arguments[1])
        scalars, square_scalars = _splat_all(vectors, arguments[2]), _splat_all(vectors, arguments[3])
        data, square_data = _data(context, builder, out, arguments[4]), _data(context, builder, squares, arguments[5])

        def add(k: Any) -> None:
            rows = picked.load(k)
            _add_to(vectors, builder.gep(data, [k]), _weighted_sum(vectors, rows, scalars))
            row_squares = [builder.fmul(row, row) for row in rows]
            _add_to(vectors, builder.gep(square_data, [k]), _weighted_sum(vectors, row_squares, square_scalars))

        _for_tiles(vectors, whole.stride, add)
        return context.get_dummy_value()

    return numba.types.void(matrix, picks, coefficients, weights, out, squares), generate


@intrinsic
def prefetch_row(typingctx: Any, matrix: Any, row: Any) -> Any:
    """Compile `simd.prefetch_row`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = _Matrix(context, builder, matrix, arguments[0])
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, _LANE, _LANE, _LANE])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        first = builder.bitcast(whole.at(builder.sext(arguments[1], _INDEX), _INDEX(0)), pointer)
        lines = builder.udiv(builder.mul(whole.stride, _INDEX(matrix.dtype.bitwidth // 8)), _INDEX(VECTOR_BYTES))
        with cgutils.for_range(builder, lines, intp=_INDEX) as loop:
            line = builder.gep(first, [builder.mul(loop.index, _INDEX(VECTOR_BYTES))])
            builder.call(prefetch, [line, _LANE(0), _LANE(3), _LANE(1)])  # read, keep in all caches, data
        return context.get_dummy_value()

    return numba.types.void(matrix, row), generate
