"""What the pages on moving from other libraries say, where those libraries are not installed."""

import numpy as np
import pytest
from conftest import COMPILED
from implicit_twins import confidences
from new_calls import Names, new_spans
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


@pytest.fixture(scope="module")
def names():
    return Names()


@pytest.mark.parametrize("page", ["from_implicit", "from_spark", "from_lightfm"])
def test_tables_name_what_there_is(page, names):
    spans = list(new_spans((HOW_TO / f"{page}.md").read_text(encoding="utf-8")))
    assert len(spans) > 25
    assert list(filter(None, (names.fault(heading, span) for heading, span in spans))) == []


@pytest.mark.parametrize(
    "span",
    [
        "model.recommend_everyone(M=10)",
        "model.recommend_all('lists', M=10)",
        "recommend_all()",
        "recommend(..., filter=[...])",
        "score(1, 2, 3, 4, 5, 6)",
        "model = WMF(...).fitted(data)",
        "model = WMF(rank=10).fit(data)",
        "data.people",
        "user_factor",
        "factor=64",
        'factors=64, weight="log"',
        "implicit_wmf.tuning.find_best",
        "prepare --splinters",
        "--drop",
        "precision_at@10",
    ],
)
def test_what_there_is_not_is_found(span, names):
    assert names.fault("new call", span)


def test_a_setting_of_the_model_is_one_of_the_model(names):
    assert names.fault("`WMF(...)`", "neighbours=5")
    assert names.fault("here", "neighbours=5") is None


def test_the_page_names_all_that_implicit_has_and_the_adapter_has_not(peer):
    text = (HOW_TO / "from_implicit.md").read_text(encoding="utf-8")
    theirs, ours = ({name for name in dir(one) if name[0] != "_"} for one in (peer(), AlternatingLeastSquares()))
    assert [name for name in sorted(theirs - ours) if f"`{name}`" not in text] == []
    recommenders = {name for name in dir(pytest.importorskip("implicit.nearest_neighbours")) if "Recommender" in name}
    assert [name for name in sorted(recommenders - {"RecommenderBase"}) if f"`{name}" not in text] == []
