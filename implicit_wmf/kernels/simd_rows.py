"""The compiled form of the operations on picked rows of :mod:`implicit_wmf.kernels.simd`, which defines them.

Kernels pick four rows at a time: eight took 0 to 5 % less time, for as much code again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import VECTOR_BYTES
from .simd_vectors import INDEX, LANE, Matrix, Vectors, data_of, offset


def _interleave(lanes: int, width: int) -> tuple[list[int], list[int]]:
    """Lanes of two vectors of runs `width` long: the first halves of all runs, and the second halves."""
    starts = range(0, 2 * lanes, width)
    halves = [[start + half * width // 2 + lane for start in starts for lane in range(width // 2)] for half in (0, 1)]
    return halves[0], halves[1]


def _sums(vectors: Vectors, rows: list[Any]) -> list[Any]:
    """Sum the lanes of 1 or 4 vectors, together: each round adds halves and puts two vectors into one."""
    builder = vectors.builder
    count, width = len(rows), vectors.lanes

    def shuffle(left: Any, right: Any, lanes: Any) -> Any:
        return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(LANE, vectors.lanes), list(lanes)))

    while len(rows) > 1:
        low, high = _interleave(vectors.lanes, width)
        pairs = zip(rows[::2], rows[1::2], strict=True)
        rows = [builder.fadd(shuffle(*pair, low), shuffle(*pair, high)) for pair in pairs]
        width //= 2
    total = rows[0]
    while width > 1:
        width //= 2
        total = builder.fadd(total, shuffle(total, total, [lane ^ width for lane in range(vectors.lanes)]))
    return [builder.extract_element(total, LANE(row * vectors.lanes // count)) for row in range(count)]


def _for_tiles(vectors: Vectors, width: Any, body: Callable[[Any], None]) -> None:
    """Generate body(k) for the tiles of a row, four to a turn of the loop: short loops are mostly overhead."""
    builder = vectors.builder
    tiles = builder.udiv(width, INDEX(vectors.lanes))
    fours = builder.udiv(tiles, INDEX(4))
    with cgutils.for_range(builder, fours, intp=INDEX) as loop:
        first = builder.mul(loop.index, INDEX(4 * vectors.lanes))
        for tile in range(4):
            body(offset(builder, first, tile * vectors.lanes))
    done = builder.mul(fours, INDEX(4))
    with cgutils.for_range(builder, builder.sub(tiles, done), intp=INDEX) as loop:
        body(builder.mul(builder.add(done, loop.index), INDEX(vectors.lanes)))


class _Picked:
    """Some rows of a matrix, by position."""

    def __init__(self, vectors: Vectors, matrix: Matrix, picks: Any) -> None:
        builder = vectors.builder
        positions = [builder.sext(pick, INDEX) for pick in cgutils.unpack_tuple(builder, picks)]
        self._vectors = vectors
        self._rows = [matrix.at(position, INDEX(0)) for position in positions]

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, k: Any) -> list[Any]:
        """Load their tiles at column k."""
        return [self._vectors.load(self._vectors.builder.gep(row, [k])) for row in self._rows]


def _weighted_sum(vectors: Vectors, rows: list[Any], coefficients: list[Any]) -> Any:
    total = vectors.builder.fmul(rows[0], coefficients[0])
    for row, coefficient in zip(rows[1:], coefficients[1:], strict=True):
        total = vectors.multiply_add(row, coefficient, total)
    return total


def _add_to(vectors: Vectors, place: Any, vector: Any) -> None:
    """Add to what is stored, last: a chain that began there would wait for the rows before."""
    vectors.store(vectors.builder.fadd(vector, vectors.load(place)), place)


def _splat_all(vectors: Vectors, scalars: Any) -> list[Any]:
    return [vectors.splat(scalar) for scalar in cgutils.unpack_tuple(vectors.builder, scalars)]


@intrinsic
def dots(typingctx: Any, matrix: Any, picks: Any, vector: Any) -> Any:
    """Compile `simd.dots`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = Vectors(builder, matrix.dtype)
        whole = Matrix(context, builder, matrix, arguments[0])
        picked = _Picked(vectors, whole, arguments[1])
        data = data_of(context, builder, vector, arguments[2])
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
        vectors = Vectors(builder, matrix.dtype)
        whole = Matrix(context, builder, matrix, arguments[0])
        picked = _Picked(vectors, whole, arguments[1])
        scalars = _splat_all(vectors, arguments[2])
        data = data_of(context, builder, out, arguments[3])

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
        vectors = Vectors(builder, matrix.dtype)
        whole = Matrix(context, builder, matrix, arguments[0])
        picked = _Picked(vectors, whole, arguments[1])
        scalars, square_scalars = _splat_all(vectors, arguments[2]), _splat_all(vectors, arguments[3])
        data, square_data = (
            data_of(context, builder, out, arguments[4]),
            data_of(context, builder, squares, arguments[5]),
        )

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
        whole = Matrix(context, builder, matrix, arguments[0])
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, LANE, LANE, LANE])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        first = builder.bitcast(whole.at(builder.sext(arguments[1], INDEX), INDEX(0)), pointer)
        lines = builder.udiv(builder.mul(whole.stride, INDEX(matrix.dtype.bitwidth // 8)), INDEX(VECTOR_BYTES))
        with cgutils.for_range(builder, lines, intp=INDEX) as loop:
            line = builder.gep(first, [builder.mul(loop.index, INDEX(VECTOR_BYTES))])
            builder.call(prefetch, [line, LANE(0), LANE(3), LANE(1)])  # read, keep in all caches, data
        return context.get_dummy_value()

    return numba.types.void(matrix, row), generate
