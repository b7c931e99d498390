"""Multiplicative updates of non-negative factors, in the two-factor and in the three-factor form."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse

from .. import kernels
from ..errors import InputError
from ..objectives import KLDivergence
from ..threads import run_blocks, single_threaded_blas
from ..training import balanced_bounds
from .kl_config import KLMFConfig
from .records import IterationRecord

Array = NDArray[Any]
Floats = NDArray[np.float64]
Factors = tuple[Array, Array]


class Form(Protocol):
    """One of the two forms of the problem: what an iteration changes, and the factors that it stands for."""

    def start(self) -> Any:
        """Draw where the updates begin."""

    def step(self, reached: Any) -> Any:
        """Update everything once; what it was given stays as it is until the step after the next."""

    def factors(self, reached: Any) -> Factors:
        """Users' and items' factors, (m, d) and (n, d), whose inner products are the predictions."""

    def extra(self, reached: Any) -> dict[str, Array]:
        """Return what a saved model keeps besides the factors, by name."""


def iterate(
    form: Form, start: Any, counts: csr_array, config: KLMFConfig, *, track_loss: bool
) -> Iterator[tuple[IterationRecord, Any]]:
    """Yield (record, what was reached) after each iteration, until the loss falls by too little."""
    reached, last = start, np.nan
    measure = Divergence(counts, config.num_threads)
    for epoch in range(1, config.iterations + 1):
        began = time.perf_counter()
        reached = form.step(reached)
        loss = measure(*form.factors(reached)) if track_loss else np.nan
        yield IterationRecord(epoch, loss, time.perf_counter() - began), reached
        if config.tolerance > 0 and loss >= (1 - config.tolerance) * last:
            return
        last = loss


class TwoFactors:
    """P = W H' on stored counts: Lee and Seung 2001, Theorem 2, the rows of W first, then those of H."""

    def __init__(self, counts: csr_array, config: KLMFConfig) -> None:
        self._counts, self._config = counts, config
        self._sides = [_rows(matrix, config.factor_dtype) for matrix in (counts, counts.T.tocsr())]
        self._bounds = [row_bounds(side.indptr, config.factors) for side in self._sides]
        self._spare: Factors | None = None

    def start(self) -> Factors:
        """Draw factors from (0, 1], scaled to the mean of the counts over all cells."""
        generator = np.random.default_rng(self._config.random_state)
        users, items = (1 - generator.random((count, self._config.factors)) for count in self._counts.shape)
        total = self._counts.data.sum(dtype=np.float64)
        scale = np.sqrt(total / np.sum(users.sum(axis=0) * items.sum(axis=0)))
        return self._copy(users * scale), self._copy(items * scale)

    def _copy(self, factors: Floats) -> Array:
        out: Array = kernels.jit.aligned(factors.shape, self._config.factor_dtype)
        out[...] = factors
        return out

    def step(self, reached: Factors) -> Factors:
        """Update the users against the items, then the items against the new users."""
        users, items = reached
        if self._spare is None:
            self._spare = kernels.jit.aligned(users.shape, users.dtype), kernels.jit.aligned(items.shape, items.dtype)
        new_users, new_items = self._spare
        self._update(0, items, users, new_users)
        self._update(1, new_users, items, new_items)
        self._spare = reached
        return new_users, new_items

    def _update(self, side: int, fixed: Array, current: Array, out: Array) -> None:
        wide = kernels.jit.whole_tiles(fixed)
        sums = wide.sum(axis=0, dtype=np.float64)
        # A column that adds up to next to nothing predicts nothing: its factor ends as 0 on both sides.
        alive = sums > 1 / np.sqrt(np.finfo(fixed.dtype).max)
        reciprocals = np.divide(1, sums, out=np.zeros(sums.size), where=alive).astype(fixed.dtype)
        rows, bounds, current = self._sides[side], self._bounds[side], kernels.jit.read_only(current)
        failed = np.full(len(bounds), -1)

        def update(block: int) -> None:
            failed[block] = kernels.kl.update_rows(
                rows, *bounds[block], wide, reciprocals, current, kernels.kl.make_scratch(wide), out
            )

        run_blocks(update, len(bounds), self._config.num_threads)
        if (failed >= 0).any():
            raise InputError(
                f"the factors of the {('user', 'item')[side]} at position {failed[failed >= 0].min()} overflow "
                f"{fixed.dtype}: scale the counts to moderate sizes, or use dtype='float64'"
            )

    def factors(self, reached: Factors) -> Factors:
        """Return them as they are."""
        return reached

    def extra(self, reached: Factors) -> dict[str, Array]:
        """Nothing."""
        return {}


class ThreeFactors:
    """P = B' X C on stored counts with B, C given (one may be the identity): X <- X o (B (A / P) C') / ((B 1)(C 1)').

    X stays float64, whatever the precision of the factors.
    """

    def __init__(self, counts: csr_array, B: ArrayLike | None, C: ArrayLike | None, config: KLMFConfig) -> None:
        for name, matrix in (("B", B), ("C", C)):
            if issparse(matrix):
                raise InputError(f"{name} is a sparse {type(matrix).__name__}; give a dense array: {name}.toarray()")
        self._objective = KLDivergence(counts, B, C, generalized=False)
        self._total = float(counts.data.sum(dtype=np.float64))
        self._config = config
        self._given = {
            name: np.array(matrix, dtype=np.float64) for name, matrix in (("B", B), ("C", C)) if matrix is not None
        }
        sums = [
            self._given[name].sum(axis=1) if name in self._given else np.ones(count)
            for name, count in zip("BC", counts.shape, strict=True)
        ]
        self._denominator = np.outer(*sums)
        for name, total in zip("BC", sums, strict=True):
            if not total.any():
                raise InputError(f"{name} is 0 everywhere, so every prediction is 0: leave out {name}, or mend it")

    def start(self) -> Floats:
        """Draw X from (0, 1], scaled to the mean of the counts over all cells."""
        X = 1 - np.random.default_rng(self._config.random_state).random(self._denominator.shape)
        return np.asarray(X * (self._total / float(np.sum(self._denominator * X))))

    def step(self, reached: Floats) -> Floats:
        """Update X; its entries of 0 stay so, and those that no cell depends on become 0."""
        (gradient,) = self._objective.gradient(reached)
        limit = np.sqrt(np.finfo(np.float64).max)  # as in kernels.kl.update_rows
        used = (self._denominator > 1 / limit) & (reached > 0)
        ratios = np.divide(-gradient, self._denominator, out=np.zeros_like(reached), where=used)
        return np.asarray(reached * np.minimum(ratios, limit))

    def factors(self, reached: Floats) -> Factors:
        """Users' factors B'X and items' C', or B' and X' where C is the identity."""
        users, items = (self._given[name].T if name in self._given else None for name in "BC")
        if items is None:
            users, items = cast(Floats, users), reached.T
        else:
            with single_threaded_blas():  # also of the last iteration, kept when the fit's own limit is over
                users = reached if users is None else users @ reached
        dtype = self._config.factor_dtype
        return users.astype(dtype, order="C"), items.astype(dtype, order="C")

    def extra(self, reached: Floats) -> dict[str, Array]:
        """X, and B and C where they were given."""
        return {"X": reached} | self._given


class Divergence:
    """The generalised divergence of fixed counts from any factors' predictions, in float64."""

    def __init__(self, counts: csr_array, num_threads: int | None) -> None:
        self._rows = _rows(counts, np.dtype(np.float64))
        self._bounds = row_bounds(self._rows.indptr, 64)
        self._dense = counts.nnz == counts.shape[0] * counts.shape[1]
        self._num_threads = num_threads

    def __call__(self, users: Array, items: Array) -> float:
        """Sum it over all cells, in time proportional to the stored ones and the factors.

        All predictions together are (sum_i w_i) . (sum_j h_j); those where nothing is stored are what the stored
        cells leave of it.
        """
        left, right = (kernels.jit.whole_tiles(factors.astype(np.float64)) for factors in (users, items))
        sums = np.empty((len(self._bounds), 2))
        run_blocks(
            lambda block: kernels.kl.sum_divergence(self._rows, *self._bounds[block], left, right, sums[block]),
            len(self._bounds),
            self._num_threads,
        )
        stored, predicted = sums.sum(axis=0)
        elsewhere = 0.0 if self._dense else float(np.sum(left.sum(axis=0) * right.sum(axis=0)) - predicted)
        return float(stored) + max(0.0, elsewhere)


def row_bounds(indptr: NDArray[np.int64], factors: int) -> list[tuple[int, int]]:
    """Cut rows into blocks of about equal work, which do not depend on the number of threads."""
    return balanced_bounds((np.diff(indptr) + 4.0) * factors / 4)


def _rows(counts: csr_array, dtype: np.dtype[Any]) -> Any:
    """Rows for the kernels; refuses counts that the precision cannot hold."""
    with np.errstate(over="ignore"):
        values = counts.data.astype(dtype)
        total = values.sum()
    if not np.isfinite(total):
        raise InputError(
            f"data: the counts, up to {counts.data.max():g}, add up to more than {dtype} can hold; scale them down"
            + ("" if dtype == np.float64 else ", or use dtype='float64'")
        )
    read_only = kernels.jit.read_only
    return kernels.kl.CountRows(
        read_only(counts.indptr.astype(np.int64)),
        read_only(counts.indices.astype(np.int32, copy=False)),
        read_only(values),
    )
