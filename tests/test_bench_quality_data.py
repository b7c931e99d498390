"""The data of the quality benchmark are split as they say, and lists of any factors ranked as they should be."""

import benchmark  # noqa: F401
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from bench.data import data_folder
from bench.quality import data, fits
from bench.quality.data import NCF, RETAIL, Lists, Problem, Source, load_problem, validation_problem
from implicit_wmf import MostPopular
from implicit_wmf.errors import InputError


@pytest.fixture
def ncf(tmp_path, monkeypatch):
    folder = tmp_path / NCF
    folder.mkdir()
    pd.DataFrame({"user": [0, 0, 1, 2], "item": [0, 1, 1, 1]}, dtype="int32").to_parquet(folder / "train.parquet")
    test = pd.DataFrame({"user": [0, 1, 2], "item": [2, 0, 3], "negatives": [[3, 4], [2, 3], [0, 4]]})
    test.to_parquet(folder / "test.parquet")
    monkeypatch.setenv("IMPLICIT_WMF_DATA", str(tmp_path))
    return Source(NCF)


def test_lists_rank_the_whole_catalogue():
    users, items = np.eye(2, dtype=np.float32), np.array([[1, 5], [3, 5], [2, 4], [3, 9]], dtype=np.float32)
    model = Lists(users, items, csr_array(np.array([[0, 0, 1, 0], [1, 1, 0, 1]], dtype=np.float32)))
    ids, scores = model.recommend(np.array([1, 0]), N=3)
    assert ids.tolist() == [[2, -1, -1], [1, 3, 0]]
    np.testing.assert_array_equal(scores, [[4.0, np.nan, np.nan], [3.0, 3.0, 1.0]])
    ids, scores = model.recommend(np.array([1]), N=6, filter_already_liked_items=False)
    assert ids.tolist() == [[3, 0, 1, 2, -1, -1]]
    assert scores[0, :4].tolist() == [9.0, 5.0, 5.0, 4.0]


@pytest.mark.parametrize("shape", [(3, 1), (3, 4), (3,)])
def test_lists_score_pairs_that_broadcast(shape, monkeypatch):
    generator = np.random.default_rng(0)
    W, H = generator.standard_normal((5, 2)), generator.standard_normal((7, 2))
    users, items = generator.integers(5, size=shape), generator.integers(7, size=(3, 4) if len(shape) == 2 else shape)
    expected = (W @ H.T)[np.broadcast_to(users, items.shape), items]
    model = Lists(W, H, csr_array((5, 7)))
    np.testing.assert_allclose(model.score(users, items), expected, rtol=1e-12)
    monkeypatch.setattr(data, "SCORED_PAIRS", 2)
    np.testing.assert_array_equal(model.score(users, items), expected_of_pairs(model, users, items))


def expected_of_pairs(model, users, items):
    """One pair at a time."""
    pairs = np.broadcast(users, items)
    return np.array([model.score(np.array([u]), np.array([i]))[0] for u, i in pairs]).reshape(pairs.shape)


def test_lists_are_those_of_a_sort_of_all_scores():
    generator = np.random.default_rng(0)
    W = generator.integers(-2, 3, (40, 3)).astype(np.float32)  # whole numbers: no rounding, and many ties
    H = generator.integers(-2, 3, (90, 3)).astype(np.float32)
    counts = csr_array((generator.random((40, 90)) < 0.3).astype(np.float32))
    users = generator.permutation(40)[:25]
    ids, scores = Lists(W, H, counts).recommend(users, N=20)
    dense = np.where(counts.toarray() > 0, -np.inf, W @ H.T)[users]
    expected = np.argsort(-dense, axis=1, kind="stable")[:, :20]
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(dense, expected, axis=1))


def test_factors_that_diverged_are_refused():
    with pytest.raises(InputError, match="the item factors are not all finite; the fit has diverged"):
        Lists(np.ones((2, 1)), np.array([[1.0], [np.nan]]), csr_array((2, 2)))


def test_published_split_is_read_by_position(ncf, tmp_path):
    problem = load_problem(ncf, tmp_path)
    assert problem.counts.toarray().tolist() == [[1, 1, 0, 0, 0], [0, 1, 0, 0, 0], [0, 1, 0, 0, 0]]
    # scores are the item's number: ranks of 2 among 3 and 4, of 0 among 2 and 3, of 3 among 0 and 4
    table = problem.measure(lambda users, items: items + 0.0 * users, bootstrap=0)
    assert table["metric"].tolist() == ["hit@10", "ndcg@10"]
    assert table["value"].tolist() == pytest.approx([1.0, (1 / 2 + 1 / 2 + 1 / np.log2(3)) / 3])


@pytest.mark.skipif(not (data_folder() / NCF).is_dir(), reason="no MovieLens 1M")
def test_most_popular_is_as_published(tmp_path):
    job = {"source": Source(NCF).settings(), "cache": str(tmp_path)}
    result = fits.baseline(job)
    rounded = {rule: [round(row["value"], 4) for row in rows] for rule, rows in result["ties"].items()}
    # published are .4538 and .2545
    assert rounded == {
        "pessimistic": [0.4531, 0.2541],
        "average": [0.4535, 0.2543],
        "optimistic": [0.4538, 0.2545],
    }
    assert result["metrics"] == result["ties"]["pessimistic"]
    assert result["train"] == {"users": 6040, "items": 3706, "interactions": 994_169}


def test_absent_data_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("IMPLICIT_WMF_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="no .*train.parquet; set IMPLICIT_WMF_DATA to a folder that holds ml-1m-ncf"):
        load_problem(Source(NCF), tmp_path)
    with pytest.raises(InputError, match="'nothing' is neither a file nor one of"):
        load_problem(Source("nothing"), tmp_path)


def test_a_table_with_times_is_split_in_time(tmp_path):
    path = tmp_path / "events.csv"
    frame = pd.DataFrame({"who": list("abcab"), "what": list("xyzyx"), "when": [1, 2, 3, 4, 5]})
    frame.to_csv(path, index=False)
    problem = load_problem(Source(str(path), user="who", item="what", timestamp="when"), tmp_path)
    assert problem.counts.toarray().tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]  # without b, x at 5
    assert "by 'when'" in problem.protocol
    model = Lists(
        np.eye(3, dtype=np.float32), np.array([[0.0, 9, 0], [0, 0, 0], [0, 1, 0]], np.float32), problem.counts
    )
    table = problem.measure(model, bootstrap=0)
    assert table.set_index("metric")["value"].to_dict() == {"recall@20": 1.0, "ndcg@20": 1.0}


def test_other_data_is_split_within_users_and_once_more_for_choosing(tmp_path):
    path = tmp_path / "pairs.csv"
    generator = np.random.default_rng(0)
    rows, columns = np.nonzero(generator.random((30, 40)) < 0.5)
    pd.DataFrame({"user": rows, "item": columns}).to_csv(path, index=False)
    problem = load_problem(Source(str(path)), tmp_path / "cache")
    kept = problem.counts.sum(axis=1) / np.bincount(rows)
    assert np.all((kept > 0.7) & (kept < 0.9))
    again = load_problem(Source(str(path)), tmp_path / "cache")
    np.testing.assert_array_equal(problem.counts.toarray(), again.counts.toarray())
    inner = validation_problem(problem)
    assert 0 < inner.counts.nnz < problem.counts.nnz
    assert not np.any((inner.counts.toarray() > 0) & (problem.counts.toarray() == 0))


def test_validation_of_the_published_split_leaves_one_of_each_out(tmp_path):
    generator = np.random.default_rng(0)
    counts = csr_array((generator.random((20, 300)) < 0.1).astype(np.float32))
    problem = Problem(counts, data.SAMPLED_METRICS, "", None)
    inner = validation_problem(problem)
    assert np.diff(counts.indptr).tolist() == (np.diff(inner.counts.indptr) + 1).tolist()
    left_out = counts.toarray() - inner.counts.toarray()
    asked = []

    def score(users, items):
        asked.append((users, items))
        return left_out[users, items]  # knows what was left out

    assert inner.measure(score, bootstrap=0)["value"].tolist() == [1.0, 1.0]
    users, items = asked[0]
    assert items.shape == (20, 100)
    assert not counts.toarray()[users, items[:, 1:]].any()  # negatives are in no part of train
    asked.clear()
    validation_problem(problem).measure(score, bootstrap=0)
    np.testing.assert_array_equal(asked[0][1], items)


def test_retail_counts_invoices_of_the_earlier_lines(tmp_path):
    problem = load_problem(Source(RETAIL), tmp_path)
    assert problem.counts.data.min() == 1
    table = problem.measure(MostPopular().fit(problem.counts), bootstrap=0)
    assert 0.01 < table["value"].iloc[0] < 0.2
