"""Instructions on LLVM's vector types, from which the operations of :mod:`implicit_wmf.kernels.simd` are compiled.

LLVM splits the vectors where the machine's are shorter, so the code is right everywhere and fastest with 512-bit
registers.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils

from .jit import VECTOR_BYTES

INDEX = ir.IntType(64)
LANE = ir.IntType(32)


class Vectors:
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
        """Load a vector."""
        vector = self.builder.load(self.builder.bitcast(pointer, self.type.as_pointer()))
        vector.align = self.bytes
        return vector

    def store(self, vector: Any, pointer: Any) -> None:
        """Store a vector."""
        store = self.builder.store(vector, self.builder.bitcast(pointer, self.type.as_pointer()))
        store.align = self.bytes

    def splat(self, scalar: Any) -> Any:
        """Fill a vector with a scalar."""
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, LANE(0))
        lanes = ir.Constant(ir.VectorType(LANE, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def multiply_add(self, left: Any, right: Any, addend: Any) -> Any:
        """Return left * right + addend."""
        letter = "f32" if self.bytes == 4 else "f64"
        function = self._intrinsic(f"llvm.fmuladd.v{self.lanes}{letter}", self.type, 3)
        return self.builder.call(function, [left, right, addend])

    def keep_from(self, vector: Any, first: int) -> Any:
        """Zero the lanes before `first`."""
        lanes = [lane + self.lanes if lane < first else lane for lane in range(self.lanes)]
        return self.builder.shuffle_vector(
            vector, self.constant(0.0), ir.Constant(ir.VectorType(LANE, self.lanes), lanes)
        )

    def constant(self, number: float) -> Any:
        """Return a vector of one number."""
        return ir.Constant(self.type, [number] * self.lanes)

    def square_root(self, vector: Any) -> Any:
        """Take roots lane by lane."""
        letter = "f32" if self.bytes == 4 else "f64"
        return self.builder.call(self._intrinsic(f"llvm.sqrt.v{self.lanes}{letter}", self.type, 1), [vector])


class Matrix:
    """Addresses within a C-ordered 2-D array."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        array = cgutils.create_struct_proxy(kind)(context, builder, value)
        self.builder = builder
        self.data = array.data
        self.stride = cgutils.unpack_tuple(builder, array.shape)[1]

    def at(self, row: Any, column: Any) -> Any:
        """Return the address of an entry."""
        return self.builder.gep(self.data, [self.builder.add(self.builder.mul(row, self.stride), column)])


def data_of(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Address of a 1-D array's first entry."""
    return cgutils.create_struct_proxy(kind)(context, builder, value).data


def offset(builder: Any, index: Any, by: int) -> Any:
    """Add a constant to an index."""
    return builder.add(index, INDEX(by))
