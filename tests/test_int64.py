"""Matrices of more than 2**31 cells: their last rows, whose pointers are beyond, give the bits of a small matrix.

The cells are one block of rows, repeated: in memory there is one of it.
"""

import sys
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED
from numpy.testing import assert_array_equal
from repeated_pages import holes, repeated
from scipy.sparse import csr_array

from implicit_wmf import WMF, InputError, Interactions, WMFConfig, kernels
from implicit_wmf._cells import checked_csr
from implicit_wmf._csr import keep_cells, kernel_cells
from implicit_wmf.confidence import StoredCells, literal_cells
from implicit_wmf.kernels.rows import Rows, survey_rows
from implicit_wmf.persistence import SavedModel
from implicit_wmf.ranking import Catalogue
from implicit_wmf.row_plan import SidePlan
from implicit_wmf.training import balanced_bounds, solve_side

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="maps pages as Linux does")

CELLS = 1 << 20  # of a block
TIMES = 2**31 // CELLS + 2
COLUMNS = 4096
WIDTH = 16  # factors
LIGHT = np.array([0, 1, 2, 3, 5, 8, 9, 15, 16, 17, 31, 40, 64, 100, 0, 7, 4, 12])  # cells of a block's last rows
SIZES = np.concatenate([np.full(CELLS // COLUMNS - 1, COLUMNS), [COLUMNS - LIGHT.sum()], LIGHT])
ROWS = SIZES.size
LAST = slice(ROWS - LIGHT.size, ROWS)  # of a block


class Blocks(NamedTuple):
    """One block, and the same many times over."""

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray  # float32
    exact: np.ndarray  # the same in float64


@pytest.fixture(scope="module")
def small():
    generator = np.random.default_rng(0)
    rows = [np.sort(generator.choice(COLUMNS, size, replace=False)) for size in SIZES]
    values = generator.integers(1, 5, CELLS).astype(np.float32)
    return Blocks(
        np.concatenate([[0], np.cumsum(SIZES)]), np.concatenate(rows).astype(np.int32), values, values.astype(float)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def large(small, folder):
    starts = np.arange(TIMES, dtype=np.int64)[:, None] * CELLS + small.indptr[:-1]
    return Blocks(
        np.append(starts.reshape(-1), TIMES * CELLS),
        repeated(folder / "indices", small.indices, TIMES),
        repeated(folder / "values", small.values, TIMES),
        repeated(folder / "exact", small.exact, TIMES),
    )


@pytest.fixture(scope="module")
def spans(large):
    """The last rows of the small matrix, and of the large one."""
    span = LAST.start + (TIMES - 1) * ROWS, TIMES * ROWS
    assert large.indptr[span[0]] > 2**31
    return (LAST.start, ROWS), span


def in_both(small, large, spans, run):
    """Run something on the last rows of the small matrix and of the large one; both results are the same."""
    found = [run(blocks, *span, len(blocks.indptr) - 1) for blocks, span in zip((small, large), spans, strict=True)]
    for one, other in zip(*found, strict=True):
        assert_array_equal(one, other)
        assert np.size(one)
    return found[0]


def locked(*arrays):
    return [kernels.jit.read_only(array) for array in arrays]


def factors(rows, dtype=np.float32):
    """Factors of which every block of rows has the same."""
    one = np.random.default_rng(1).normal(size=(min(rows, ROWS), WIDTH))
    return np.tile(one, (-(-rows // ROWS), 1))[:rows].astype(dtype)


def item_factors(dtype=np.float32):
    return np.random.default_rng(2).normal(size=(COLUMNS, WIDTH)).astype(dtype)


def rows_of(blocks, count):
    """Rows as solvers take them, with the counts as weights."""
    one = np.float32(1)
    return Rows(
        *locked(blocks.indptr, blocks.indices, blocks.values), 1, one, *locked(np.zeros(1, np.float32)), 0, one,
        np.full(count, kernels.rows.ANY, np.uint8), np.full(count, 0.5), np.full(count, 0.1),
    )  # fmt: skip


def test_rows_are_surveyed_and_solved(small, large, spans):
    fixed = kernels.jit.whole_tiles(item_factors())
    spectrum = np.linspace(1, 2, WIDTH)
    solver_steps = {"exact": 0, "cg": 3}

    def run(blocks, start, stop, count):
        rows = rows_of(blocks, count)
        survey_rows(rows, start, stop)
        out = [rows.kinds[start:stop]]
        for allowed in solver_steps.values():
            solved = np.zeros((count, WIDTH), np.float32)
            steps = np.full(count, allowed, np.uint16)
            scratch = kernels.rows.make_scratch(fixed)
            kernels.solve.solve_rows(rows, start, stop, fixed, spectrum, steps, 0.0, scratch, solved)
            out += [solved[start:stop], steps[start:stop]]
        return out

    kinds, *_ = in_both(small, large, spans, run)
    assert (kinds == np.where(LIGHT == 0, kernels.rows.EMPTY, kernels.rows.ANY)).all()


def test_divergences_are_lowered_and_summed(small, large, spans):
    fixed = kernels.jit.whole_tiles(np.abs(item_factors()))

    def run(blocks, start, stop, count):
        rows = kernels.kl.CountRows(*locked(blocks.indptr, blocks.indices, blocks.values))
        current, solved, sums = np.abs(factors(count)), np.zeros((count, WIDTH), np.float32), np.zeros(2)
        reciprocals = 1 / fixed.sum(axis=0)
        kernels.kl.update_rows(rows, start, stop, fixed, reciprocals, current, kernels.kl.make_scratch(fixed), solved)
        exact = [kernels.jit.whole_tiles(array.astype(np.float64)) for array in (current, fixed)]
        kernels.kl.sum_divergence(rows._replace(values=locked(blocks.exact)[0]), start, stop, *exact, sums)
        return solved[start:stop], sums

    in_both(small, large, spans, run)


@pytest.mark.parametrize("weighting", ["linear", "log", "ials"])
def test_cells_are_weighed(small, large, spans, weighting):
    config = WMFConfig(factors=WIDTH, weighting=weighting, alpha=2.0)
    column_scale = np.random.default_rng(3).random(COLUMNS)

    def run(blocks, start, stop, count):
        stored = StoredCells(matrix_of(blocks, count))
        cells = literal_cells(stored, np.ones(count), column_scale, (start, stop), config)
        sums = np.zeros(2)
        kernels.objective.sum_stored_cells(
            cells.indptr, cells.columns, cells.confidence, cells.preference, cells.background,
            *locked(factors(count)[start:stop], item_factors()), sums,
        )  # fmt: skip
        return cells.indptr, cells.columns, cells.confidence, cells.preference, cells.background, sums

    in_both(small, large, spans, run)


def test_products_of_cells(small, large, spans, folder):
    right = item_factors(np.float64)

    def run(blocks, start, stop, count):
        left, combined = factors(count, np.float64), np.zeros((count, WIDTH))
        values = holes(folder / "products", np.float64, blocks.indptr[-1])
        places = locked(blocks.indptr, blocks.indices)
        kernels.cells.cell_products(*places, *locked(left, right), start, stop, values)
        kernels.cells.combine_rows(*places, *locked(values, right), start, stop, combined)
        return values[blocks.indptr[start] : blocks.indptr[stop]].copy(), combined[start:stop]

    in_both(small, large, spans, run)


@pytest.mark.parametrize("own", [False, True])
def test_lists_leave_out_and_choose(small, large, spans, own):
    items = item_factors()
    catalogue = Catalogue(items, np.arange(COLUMNS, dtype=np.int32))

    def run(blocks, start, stop, count):
        cells = kernels.cells.Cells(*locked(blocks.indptr, blocks.indices))
        none = kernels.cells.Cells(*locked(np.zeros(count + 1, np.int64), np.zeros(0, np.int32)))
        vectors = kernels.jit.whole_tiles(factors(count))
        ids, scores = np.full((count, 10), -1, np.int32), np.full((count, 10), np.nan, np.float32)
        scratch = kernels.ranking.make_scratch(stop - start, 4 * int(LIGHT.sum() + LIGHT.size), catalogue.factors, 10)
        if own:
            kernels.ranking.top_of_lists(start, stop, vectors, cells, catalogue.factors, none, scratch, ids, scores)
        else:
            kernels.ranking.top_items(start, stop, vectors, catalogue.items, cells, scratch, ids, scores)
        return ids[start:stop], scores[start:stop]

    ids, _ = in_both(small, large, spans, run)
    assert ((ids >= 0).sum(axis=1) == (np.minimum(LIGHT, 10) if own else 10)).all()


def test_ranks_hits_and_neighbours(small, large, spans, folder):
    items = kernels.jit.whole_tiles(item_factors())
    similar = csr_array((np.ones(COLUMNS), np.arange(COLUMNS)[::-1], np.arange(COLUMNS + 1)))
    similarity = kernels.neighbours.Rows(*locked(*kernel_cells(similar), similar.data))
    lists = np.random.default_rng(4).integers(0, COLUMNS, (ROWS, 200))

    def run(blocks, start, stop, count):
        cells = kernels.cells.Cells(*locked(blocks.indptr, blocks.indices))
        none = kernels.cells.Cells(*locked(np.zeros(count + 1, np.int64), np.zeros(0, np.int32)))
        vectors = kernels.jit.whole_tiles(factors(count))
        kinds = (("scores", np.float32), ("higher", np.int64), ("equal", np.int64))
        out = tuple(holes(folder / name, dtype, blocks.indptr[-1]) for name, dtype in kinds)
        scratch = kernels.ranks.make_scratch(stop - start, items)
        kernels.ranks.rank_wanted(start, stop, vectors, items, cells, none, scratch, out)
        asked = np.tile(lists, (count // ROWS, 1))
        hits = np.zeros(asked.shape, bool)
        kernels.metrics.find_hits(start, stop, *locked(asked, *cells), hits)
        ids, scores = np.full((count, 9), -1, np.int32), np.full((count, 9), np.nan)
        profiles = kernels.neighbours.Rows(*cells, *locked(blocks.exact))
        choice = kernels.neighbours.Choice(*none, *none, False, np.ones(COLUMNS, bool))
        kernels.neighbours.top_items(
            start, stop, profiles, similarity, choice, kernels.neighbours.make_scratch(COLUMNS), ids, scores
        )
        span = slice(*blocks.indptr[[start, stop]])
        return *(array[span].copy() for array in out), hits[start:stop], ids[start:stop], scores[start:stop]

    in_both(small, large, spans, run)


def test_negatives_are_drawn(small, large, spans):
    weights = np.ones(COLUMNS)

    def run(blocks, start, stop, count):
        users, states = np.arange(start, stop), np.arange(2.0 * (stop - start)).reshape(-1, 2).astype(np.int64) + 5
        cells = kernels.cells.Cells(*locked(blocks.indptr, blocks.indices))
        out = np.zeros((users.size, 50), np.int64)
        kernels.negatives.draw_unseen(
            0, users.size, *locked(users), cells, *locked(weights, np.cumsum(weights)), states,
            np.zeros(COLUMNS, np.int64), out,
        )  # fmt: skip
        return [out]

    in_both(small, large, spans, run)


def matrix_of(blocks, count):
    """A matrix whose arrays scipy does not read through when it is made."""
    matrix = csr_array((count, COLUMNS), dtype=np.float32)
    matrix.data, matrix.indices, matrix.indptr = blocks.values, blocks.indices, blocks.indptr
    return matrix


def model_of(matrix):
    """A model fitted to the matrix, as far as it answers: its data were checked elsewhere."""
    data = object.__new__(Interactions)
    count = matrix.shape[0]
    parts = {"matrix": matrix, "users": pd.RangeIndex(count), "items": pd.RangeIndex(COLUMNS), "timestamps": None}
    for name, part in parts.items():
        object.__setattr__(data, name, part)
    model = WMF(WIDTH)
    model._fitted = SavedModel(replace(model.config), factors(count), item_factors(), data, [])
    return model


@pytest.fixture(scope="module")
def large_matrix(small, large, folder):
    """With indices of 64 bits, which scipy gives both index arrays of a matrix of so many cells."""
    indices = repeated(folder / "wide", small.indices.astype(np.int64), TIMES)
    return matrix_of(large._replace(indices=indices), TIMES * ROWS)


def test_models_answer_for_the_last_users(small, large_matrix, spans):
    found = []
    for matrix, (start, stop) in zip((matrix_of(small, ROWS), large_matrix), spans, strict=True):
        model, users = model_of(matrix), np.arange(start, stop)
        own = matrix[users]
        assert own.nnz == LIGHT.sum()
        frame = model.recommend_frame(users, N=7)
        found.append(
            [
                *model.recommend(users, N=20),
                *model.recommend(users, N=20, filter_already_liked_items=False, items=own),
                *model.rank_counts(users, keep_cells(own, own.data > 2), keep_cells(own, own.data <= 2)),
                model.score(users[:, None], np.arange(COLUMNS)),
                own.toarray(),
                frame[["item", "rank", "score"]].to_numpy(),
            ]
        )
        assert model.interactions.nnz == matrix.indptr[-1]
    for one, other in zip(*found, strict=True):
        assert_array_equal(one, other)


@pytest.mark.slow
def test_whole_matrices_are_checked(small, large_matrix, folder):
    parts = large_matrix.data, large_matrix.indices, large_matrix.indptr
    whole = csr_array(parts, shape=large_matrix.shape, copy=False)
    assert whole.indptr.dtype == whole.indices.dtype == np.int64
    checked = checked_csr(whole)
    assert checked.nnz == TIMES * CELLS
    assert np.shares_memory(checked.indices, parts[1])
    falling = parts[2].copy()
    falling[-2] = falling[-3] - 1
    bad = small.indices.astype(np.int64)
    bad[-1] = COLUMNS
    beyond = repeated(folder / "beyond", small.indices.astype(np.int64), TIMES, last=bad)
    for message, spoilt in {
        f"matrix.indptr: {falling[-2]} at position {TIMES * ROWS - 1}": (parts[0], parts[1], falling),
        f"matrix.indices: {COLUMNS} at position {TIMES * CELLS - 1} is out of range": (parts[0], beyond, parts[2]),
    }.items():
        matrix = csr_array(large_matrix.shape, dtype=np.float32)
        matrix.data, matrix.indices, matrix.indptr = spoilt
        with pytest.raises(InputError, match=message):
            checked_csr(matrix)


@pytest.mark.slow
@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_whole_sides_are_solved_and_summed(small, large):
    fixed, spectrum = kernels.jit.whole_tiles(item_factors()), np.linspace(1, 2, WIDTH)
    config = WMFConfig(factors=WIDTH)
    found = []
    for blocks in (small, large):
        count = len(blocks.indptr) - 1
        rows = rows_of(blocks, count)
        survey_rows(rows, 0, count)
        plan = SidePlan(np.diff(blocks.indptr), rows.kinds, WIDTH, np.dtype(np.float32))
        solved = np.empty((count, WIDTH), np.float32)
        assert solve_side(rows, plan, fixed, spectrum, solved, None) == -1
        stored, sums = StoredCells(matrix_of(blocks, count)), []
        for start, stop in sorted(balanced_bounds(np.diff(blocks.indptr) + 1.0)):
            cells = literal_cells(stored, np.ones(count), np.ones(COLUMNS), (start, stop), config)
            sums.append([cells.confidence.sum(), cells.preference.sum(), cells.columns.sum(dtype=np.int64)])
        found.append((rows.kinds, solved, np.sum(sums, axis=0)))
    (kinds, solved, sums), (all_kinds, all_solved, all_sums) = found
    assert_array_equal(all_kinds, np.tile(kinds, TIMES))
    assert_array_equal(all_solved, np.tile(solved, (TIMES, 1)))
    assert_array_equal(all_sums, TIMES * sums)  # whole numbers, so exactly
