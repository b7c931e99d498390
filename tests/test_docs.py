"""Every code block of the documentation runs as it stands there, in the order of its page."""

import pytest
from conftest import COMPILED
from pages import DOCS, RUN, SHOWN, blocks, needs, run_page

PAGES = sorted(page for page in DOCS.rglob("*.md") if not page.name.startswith("calculus"))  # test_calculus_docs.py
WITH_CODE = [page for page in PAGES if any(block.language in RUN for block in blocks(page))]


def name(page):
    return str(page.relative_to(DOCS))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_says_what_it_is(page):
    assert [block for block in blocks(page) if block.language not in RUN + SHOWN] == []


def of_recommending(names):
    assert names["table"].user.tolist().count("somebody new") == 5
    assert names["summary"].users == names["reco"]["user_id"].nunique() == len(names["model"].user_factors)
    assert len(names["reasons"].ids) == 10


def of_evaluation(names):
    table = names["table"].set_index(["model", "metric"])
    assert table.loc[("WMF", "ndcg@20"), "difference_low"] > 0
    assert 1 <= names["model"].history[-1].epoch <= 2
    assert names["by_user"]["ndcg@20"].mean() == pytest.approx(table.loc[("WMF", "ndcg@20"), "value"])
    assert len(names["found"].trials) == 3


def of_large_data(names):
    assert len(names["store"].shards) == 4
    assert names["model"].interactions.nnz == names["prepared"].pairs
    assert names["ids"].shape == (3, 5)


def of_cluster(names):
    assert names["cluster"].status.name == "closed"
    assert names["summary"].users == len(names["alone"].user_factors) == len(names["model"].user_factors)


# What a page's names must come to, beside what its own assertions say.
CHECKS = {
    "how_to/recommending.md": of_recommending,
    "how_to/evaluation.md": of_evaluation,
    "how_to/large_data.md": of_large_data,
    "how_to/cluster.md": of_cluster,
}


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_a_page_runs(page, tmp_path, monkeypatch):
    for module in needs(page):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    CHECKS.get(name(page), lambda names: None)(run_page(page))


def test_every_check_is_of_a_page():
    assert set(CHECKS) <= {name(page) for page in WITH_CODE}
