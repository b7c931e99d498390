"""What the pages on moving from other libraries say, where those libraries are not installed."""

import numpy as np
import pytest
from conftest import COMPILED
from implicit_twins import confidences
from pages import DOCS, blocks
from scipy.sparse import csr_array

from implicit_wmf import WMF, WMFConfig
from implicit_wmf.compat.implicit import AlternatingLeastSquares, calculate_loss

HOW_TO = DOCS / "how_to"


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_the_page_on_implicit_runs_without_it_up_to_the_comparison(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = [block.text for block in blocks(HOW_TO / "from_implicit.md") if block.language == "python"]
    *without, last = texts
    assert "from implicit.als" in last
    names = {}
    for text in without:
        exec(compile(text, "from_implicit.md", "exec"), names)
    assert names["old"] == pytest.approx(names["new"], abs=1e-6)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 40.0])
def test_raw_weighting_of_scaled_values_is_the_objective_of_implicit(alpha):
    values = confidences(negatives=False)
    scaled = csr_array(alpha * values)
    model = WMF(factors=6, regularization=0.5, weighting="raw", iterations=2, random_state=0).fit(scaled)
    mean = calculate_loss(alpha * values, model.user_factors, model.item_factors, 0.5)
    others = values.shape[0] * values.shape[1] - values.nnz
    assert model.loss() == pytest.approx(mean * (scaled.sum() + others), rel=1e-5)


def test_equal_lengths_of_rows_and_columns_give_the_objective_of_spark():
    generator, reg_param, alpha = np.random.default_rng(0), 0.3, 2.0
    dense = np.kron(np.eye(3), generator.integers(1, 5, (4, 2))).astype(float)
    counts = csr_array(dense)
    users, items = (reg_param * counts.nnz / size for size in counts.shape)  # as the page translates regParam
    model = WMF(2, alpha=alpha, user_regularization=users, item_regularization=items, iterations=2, random_state=0)
    model.fit(counts)
    W, H = model.user_factors.astype(float), model.item_factors.astype(float)
    cells = ((1 + alpha * dense) * ((dense > 0) - W @ H.T) ** 2).sum()
    lengths = (dense > 0).sum(axis=1), (dense > 0).sum(axis=0)
    penalties = [reg_param * (n * (F**2).sum(axis=1)).sum() for n, F in zip(lengths, (W, H), strict=True)]
    assert model.loss() == pytest.approx(cells + sum(penalties), rel=1e-6)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("from_implicit", ("factors", "regularization", "alpha", "iterations", "cg_steps", "num_threads")),
        ("from_spark", ("factors", "regularization", "alpha", "iterations")),
        ("from_lightfm", ("factors", "iterations", "num_threads")),
    ],
)
def test_tables_have_the_defaults_that_there_are(page, names):
    text = (HOW_TO / f"{page}.md").read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}={getattr(WMFConfig(), name)}`" not in text] == []


def test_defaults_of_the_adapter_are_those_of_the_table():
    text = (HOW_TO / "from_implicit.md").read_text(encoding="utf-8")
    model = AlternatingLeastSquares()
    for name in ("factors", "regularization", "alpha", "iterations", "num_threads", "random_state"):
        assert f"| `{name}={getattr(model, name)}` |" in text
