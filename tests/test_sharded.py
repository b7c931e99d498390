"""Out-of-core training against the literal dense objective, and against training in memory."""

from dataclasses import replace

import numpy as np
import pytest
import reference
from conftest import COMPILED, awkward_counts, to_sparse
from numpy.testing import assert_allclose, assert_array_equal

from implicit_wmf import InputError, Interactions, WMFConfig
from implicit_wmf.confidence import weigh
from implicit_wmf.parameters import as_bytes
from implicit_wmf.sharded import OutOfCore
from implicit_wmf.sharded.memory import plan_memory
from implicit_wmf.sharded.scratch import Scratch
from implicit_wmf.sharded.sums import Branch, grow, total
from implicit_wmf.store import write_store
from implicit_wmf.training import epochs, initial_factors, initial_item_factors

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
FACTORS = [1, 16, 33] if COMPILED else [1, 3]


def store_of(dense, folder, shards=3):
    return write_store(folder / "store", Interactions.from_matrix(to_sparse(dense)), shards=shards)


def small():
    return awkward_counts(40, 30) if COMPILED else awkward_counts(11, 7)


def run(store, **settings):
    config = WMFConfig(**{"iterations": 3, "random_state": 0, "regularization": 0.1, **settings})
    fit = OutOfCore(store, config)
    records, reached = [], None
    for record, latest in fit.epochs(fit.start()):
        records.append(record)
        reached = latest
    state = fit.keep(reached, records)
    return config, records, np.array(state.user_factors), state.item_factors


@pytest.fixture
def steps_everywhere(monkeypatch):
    """Plan steps also where so little data would be solved exactly."""
    monkeypatch.setattr("implicit_wmf.row_plan._WORTHWHILE", 0.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("weighting", ["linear", "log", "ials", "raw"])
@pytest.mark.parametrize("backgrounds", [(None, None), ("user", "item"), ("uniform", "popularity")])
def test_items_are_solved_and_the_loss_is_exact(tmp_path, weighting, factors, dtype, backgrounds):
    dense = small()
    settings = dict(
        zip(("user_background", "item_background"), backgrounds, strict=True),
        weighting=weighting, alpha=2.5, log_epsilon=0.5, unobserved_weight=0.6,
    )  # fmt: skip
    config, records, users, items = run(
        store_of(dense, tmp_path), **settings, factors=factors, dtype=dtype, solver="exact", regularization_exponent=0.5
    )
    C, P = reference.confidence_and_preference(dense.astype(np.float32).astype(float), **settings)
    user_penalty, item_penalty = reference.penalties(C, config.regularization, config.regularization_exponent)
    gradient, terms = reference.row_gradient(C.T, P.T, items, users, item_penalty)
    assert np.all(np.abs(gradient) <= TOLERANCE[dtype] * terms.max(axis=1, keepdims=True))
    literal = reference.loss(C, P, users, items, user_penalty, item_penalty)
    assert_allclose(records[-1].loss, literal, rtol=1e-6 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize("solver", ["exact", "auto", "cg"])
@pytest.mark.parametrize("weighting", ["linear", "log", "ials", "raw"])
def test_epochs_are_those_of_a_fit_in_memory(tmp_path, steps_everywhere, weighting, solver):
    dense = np.abs(small())
    settings = {"weighting": weighting, "solver": solver, "cg_steps": 30, "dtype": "float64", "factors": 5}
    config, records, _, _ = run(store_of(dense, tmp_path), **settings, iterations=8)
    data = Interactions.from_matrix(to_sparse(dense.astype(np.float32)))
    in_memory = [record.loss for record, _ in epochs(weigh(data.matrix, config), initial_factors(data.shape, config))]
    losses = [record.loss for record in records]
    if solver == "auto":  # steps end where a residual is small enough: not at the same place
        assert_allclose(losses[-1], in_memory[-1], rtol=0.1)
    else:
        assert_allclose(losses, in_memory, rtol=1e-8)


def test_steps_are_planned_and_counted(tmp_path, steps_everywhere):
    _, records, _, _ = run(store_of(np.abs(awkward_counts(60, 9)), tmp_path), factors=8, iterations=6)
    assert all(record.exact_users == 1 and record.user_steps == 0 for record in records)
    assert records[-1].exact_items < 1
    assert records[-1].item_steps > 0


def test_losses_never_rise(tmp_path, steps_everywhere):
    for solver in ("auto", "exact", "cg"):
        _, records, _, _ = run(store_of(small(), tmp_path), solver=solver, factors=4, iterations=10)
        losses = [record.loss for record in records]
        assert all(after <= before * (1 + 1e-6) for before, after in zip(losses[:-1], losses[1:], strict=True))


@pytest.mark.parametrize("solver", ["exact", "auto"])
def test_any_number_of_shards_comes_to_the_same(tmp_path, solver):
    losses = []
    for shards in (1, 2, 5, 8):
        folder = tmp_path / str(shards)
        folder.mkdir()
        store = store_of(small(), folder, shards)
        assert len(store.shards) == shards
        losses.append([record.loss for record in run(store, solver=solver, dtype="float64", factors=3)[1]])
    assert_allclose(losses, [losses[0]] * 4, rtol=1e-9)


@pytest.mark.parametrize("solver", ["exact", "auto", "cg"])
def test_bits_do_not_depend_on_threads(tmp_path, steps_everywhere, solver):
    store = store_of(small(), tmp_path)
    results = [run(store, num_threads=threads, solver=solver, factors=5)[2:] for threads in (1, 2, 3)]
    for users, items in results[1:]:
        assert_array_equal(users, results[0][0])
        assert_array_equal(items, results[0][1])


def test_bits_do_not_depend_on_how_many_systems_fit_in_memory(tmp_path, monkeypatch):
    store = store_of(small(), tmp_path)
    whole = run(store, solver="exact", factors=5)
    monkeypatch.setattr("implicit_wmf.sharded.memory._SYSTEMS", 1.0)
    one_by_one = run(store, solver="exact", factors=5)
    assert_array_equal(whole[3], one_by_one[3])


def test_users_that_were_overwritten_are_solved_again_to_the_same_bits(tmp_path):
    fit = OutOfCore(store_of(small(), tmp_path), WMFConfig(factors=4, iterations=3, random_state=0))
    records, seen = [], []
    for record, reached in fit.epochs(fit.start()):
        records.append(record)
        seen.append((reached, np.array(fit.keep(reached, records).user_factors)))
    for reached, users in seen:
        assert_array_equal(fit.keep(reached, records).user_factors, users)


def test_epochs_go_on_from_what_was_reached(tmp_path, steps_everywhere):
    store = store_of(small(), tmp_path)
    config = WMFConfig(factors=4, iterations=6, random_state=0)
    fit = OutOfCore(store, config)
    whole = [(record.loss, reached) for record, reached in fit.epochs(fit.start())]
    again = OutOfCore(store, config)
    rest = [(record.loss, reached) for record, reached in again.epochs(whole[2][1], done=3)]
    assert [loss for loss, _ in rest] == [loss for loss, _ in whole[3:]]
    for one, other in zip(rest[-1][1], whole[-1][1], strict=True):
        assert_array_equal(one, other)


def test_items_begin_as_those_of_a_fit_in_memory():
    for dtype in ("float32", "float64"):
        config = WMFConfig(factors=3, random_state=7, dtype=dtype)
        for users in (1, 1024, 2500):
            assert_array_equal(initial_item_factors((users, 9), config), initial_factors((users, 9), config)[1])


def test_an_item_without_positive_cells_is_zero_and_others_are_not(tmp_path):
    dense = np.full((6, 3), np.nan)
    dense[:, 0], dense[2, 1] = 1.0, -2.0
    _, _, _, items = run(store_of(dense, tmp_path), factors=2)
    assert not items[1:].any()
    assert items[0].any()


def parts():
    numbers = np.array([1e8, 3.0, -1e8, 5.0, 7.0, 1e-3, 2e8], np.float32)
    return numbers, [Branch(shard, 1, (np.array([number]),)) for shard, number in enumerate(numbers)]


def test_parts_are_added_in_a_fixed_tree():
    numbers, branches = parts()
    f = np.float32
    pairs = f(f(numbers[0] + numbers[1]) + f(numbers[2] + numbers[3]))
    assert total(branches)[0][0] == f(pairs + f(f(numbers[4] + numbers[5]) + numbers[6]))


@pytest.mark.parametrize("first", range(8))
@pytest.mark.parametrize("second", range(8))
def test_ranges_of_shards_add_up_to_the_same_bits(first, second):
    start, stop = sorted((min(first, 7), min(second, 7)))
    _, branches = parts()
    left, middle, right = (
        grow(some, in_place=False) for some in (branches[:start], branches[start:stop], branches[stop:])
    )
    joined = grow([*grow([*left, *middle], in_place=False), *right], in_place=False)
    assert [(branch.first, branch.size) for branch in joined] == [(0, 4), (4, 2), (6, 1)]
    assert total(joined)[0][0] == total(parts()[1])[0][0]
    assert [branch.sums[0][0] for branch in branches] == parts()[0].tolist()  # in_place=False leaves them alone


def test_a_system_without_a_solution_is_refused_by_name(tmp_path, monkeypatch):
    fit = OutOfCore(store_of(np.abs(small()), tmp_path), WMFConfig(factors=2, solver="exact", random_state=0))
    side = fit._weigh()
    broken = replace(side, regularization=np.full_like(side.regularization, np.nan))
    monkeypatch.setattr(fit, "_weigh", lambda: broken)
    with pytest.raises(InputError, match="factors of the item at position 0 have no finite solution"):
        list(fit.epochs(fit.start()))


@pytest.mark.parametrize(
    ("text", "size"), [("4GB", 4 * 10**9), ("1.5 gb", 15 * 10**8), ("512MiB", 2**29), (1000, 1000), ("7", 7)]
)
def test_sizes_are_read(text, size):
    assert as_bytes("memory_limit", text) == size


@pytest.mark.parametrize("text", ["", "GB", "4 QB", "-1", 0, None, "nan", True, 2.5j, "1e3"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InputError, match="memory_limit must be a size such as"):
        as_bytes("memory_limit", text)


def test_a_limit_is_kept_or_refused_with_the_numbers(tmp_path):
    store = store_of(small(), tmp_path)
    config = WMFConfig(factors=8)
    with pytest.raises(
        InputError, match=r"memory_limit is 100 MB, but this fit needs .* MB: .*fewer factors or threads"
    ):
        plan_memory(store, config, "100MB")
    assert plan_memory(store, WMFConfig(factors=8, num_threads=1), "700MB").systems_bytes < 400e6
    assert plan_memory(store, config, "8GB").systems_bytes > plan_memory(store, config, None).systems_bytes


def test_scratch_rows_are_shared_and_vanish(tmp_path):
    scratch = Scratch((10, 3), np.dtype(np.float32), tmp_path, "numbers")
    scratch.rows(2, 5)[:] = 7
    assert_array_equal(scratch.rows(0, 10)[:, 0], [0, 0, 7, 7, 7, 0, 0, 0, 0, 0])
    assert scratch.rows(4, 4).shape == (0, 3)
    assert list(tmp_path.iterdir()) == []


def test_scratch_without_room_is_refused_before_anything_is_mapped(tmp_path):
    with pytest.raises(InputError, match="numbers need .* MB of disk in .*; make room there"):
        Scratch((2**50, 64), np.dtype(np.float32), tmp_path, "numbers")
