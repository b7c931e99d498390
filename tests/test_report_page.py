"""Written reports in a real browser: what users did not want, long names, and a small telephone."""

import numpy as np
import pytest
from browser import PHONE, opened, started
from scipy.sparse import csr_array

from implicit_wmf import WMF, Interactions, MostPopular
from implicit_wmf.datasets import synthetic
from implicit_wmf.evaluation import compare
from implicit_wmf.report import explorer, page, write_report

SMALL = PHONE | {"viewport": {"width": 320, "height": 700}}


@pytest.fixture(scope="module")
def chromium():
    with started() as browser:
        yield browser


@pytest.fixture(scope="module")
def shop():
    counts = synthetic(30, 30, 250, factors=3, random_state=0).toarray()
    ids = {"users": [f"u{row}" for row in range(30)], "items": [f"i{column}" for column in range(30)]}
    return WMF(4, iterations=5, alpha=3.0, random_state=0).fit(Interactions.from_matrix(counts, **ids))


def write_page(folder, model, names=None):
    path = folder / "page.html"
    path.write_text(page.render("Report", "", [], explorer.collect(model, names=names)), encoding="utf-8")
    return path.as_uri()


def headed(tab, text):
    tab.wait_for_function("text => document.querySelector('h3')?.innerText === text", arg=text)


def rows(tab, title):
    lists = tab.locator(f"section:has(> h4:text-is('{title}')) > .rows > li")
    return [one.locator(":scope > :is(.go, .number)").all_inner_texts() for one in lists.all()]


def test_what_users_did_not_want_is_listed_apart(chromium, tmp_path):
    counts = np.array([[3.0, -2, 0, 0, 1], [2, -1, 0, 1, 0], [4, 1, 4, 0, 0], [0, 0, 1, 1, 1]])
    model = WMF(2, iterations=4, random_state=0).fit(counts)
    with opened(chromium, write_page(tmp_path, model) + "#user=0") as tab:
        headed(tab, "User 0")
        assert "Has 2 items. Did not want 1 item." in tab.inner_text("#explorer-view")
        assert rows(tab, "Already has") == [["0", "× 3"], ["4", "× 1"]]
        assert rows(tab, "Did not want") == [["1", "× 2"]]
        tab.locator(".ask").first.click()
        assert set(tab.locator(".why .go").all_inner_texts()) == {"0", "4"}
        tab.evaluate("location.hash = '#item=1'")
        headed(tab, "1")
        assert "1 of 4 users has it." in tab.inner_text("#explorer-view")
        tab.evaluate("location.hash = '#user=3'")
        headed(tab, "User 3")
        assert rows(tab, "Did not want") == []
        assert "Did not want" not in tab.inner_text("#explorer-view")


def test_long_names_are_cut_in_lists_and_whole_on_their_own_page(chromium, shop, tmp_path):
    names = {one: f"{place} " + "very long name " * 30 for place, one in enumerate(shop.interactions.items)}
    with opened(chromium, write_page(tmp_path, shop, names) + "#user=u0", **SMALL) as tab:
        tab.wait_for_selector("ol .go")
        heights = tab.eval_on_selector_all(".rows .name", "all => all.map(one => one.getBoundingClientRect().height)")
        line = tab.evaluate("parseFloat(getComputedStyle(document.querySelector('.rows .name')).lineHeight)")
        assert max(heights) == pytest.approx(3 * line, abs=1)
        tab.locator("ol .go").first.click()
        tab.wait_for_function("location.hash.startsWith('#item=')")
        whole, shown = tab.evaluate("(one => [one.scrollHeight, one.clientHeight])(document.querySelector('h3'))")
        assert shown >= whole - 1
        assert shown > 5 * line


def test_a_written_report_has_nothing_cut_off_on_a_small_telephone(chromium, shop, tmp_path):
    pytest.importorskip("matplotlib")
    held_out = csr_array(np.roll(shop.interactions.matrix.toarray(), 1, axis=1))
    models = {"a model of a long name": shop, "most popular": MostPopular().fit(shop.interactions)}
    metrics = ["recall@5", "recall@10", "ndcg@10", "popularity_rank@10"]
    quality = compare(models, shop.interactions, held_out, metrics=metrics, bootstrap=50)
    path = write_report(shop, tmp_path / "report.html", quality=quality)
    with opened(chromium, path.as_uri(), **SMALL) as tab:
        tab.wait_for_selector("#explorer-app:not([hidden])")
        assert tab.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0
        assert tab.locator(".wide").count() >= 2
        wider = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent)"
        assert tab.eval_on_selector_all(".wide, .facts, td, td span, figcaption", wider) == []
        broken = """all => all.map(one => one.querySelector('span')).filter(one => {
            const [cell, text] = [one.parentElement, one].map(part => part.getBoundingClientRect());
            return text.right > cell.right + 1 || text.left < cell.left - 1;
        }).map(one => one.textContent)"""
        assert tab.eval_on_selector_all(".wide td", broken) == []
        assert tab.evaluate("Math.min(...[...document.images].map(one => one.width / one.naturalWidth))") > 0.7
