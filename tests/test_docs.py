"""Every code block of the documentation runs as it stands there, in the order of its page, and prints what is shown."""

import re
from pathlib import Path

import pytest
from conftest import COMPILED
from nightly import check_other_nights
from page_outputs import difference
from pages import DOCS, RUN, SHOWN, blocks, needs, run_page, system
from systems import SYSTEMS

PAGES = sorted(page for page in DOCS.rglob("*.md") if not page.name.startswith("calculus"))  # test_calculus_docs.py
WITH_CODE = [page for page in PAGES if any(block.language in RUN for block in blocks(page))]


def name(page):
    return str(page.relative_to(DOCS))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_says_what_it_is(page):
    assert [block for block in blocks(page) if block.language not in RUN + SHOWN] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_is_for_systems_that_are_known(page):
    assert system(page) in (None, *SYSTEMS)


@pytest.mark.parametrize(
    ("front", "language", "modules", "named"),
    [
        ("", "python", [], None),
        ("", "sh", [], "posix"),
        ("---\nneeds: duckdb, polars\nsystem: linux\n---\n", "sh", ["duckdb", "polars"], "linux"),
        ("---\nhide: [navigation]\nneeds: dask\n---\n", "python", ["dask"], None),
    ],
)
def test_what_a_page_needs(front, language, modules, named, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"{front}# Page\n\nneeds: nothing\nsystem: any\n\n---\n\n```{language}\n1\n```\n")
    assert (needs(page), system(page)) == (modules, named)


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


def of_report(names):
    """The page goes through a report from its top to its end."""
    shown = re.findall(r"<h2 id[^>]*>(.*?)</h2>", Path("report.html").read_text(encoding="utf-8"))
    page = (DOCS / "how_to" / "report.md").read_text(encoding="utf-8")
    assert re.findall("^### (.*)", page[page.index("\n## Read it") :], re.MULTILINE) == shown


# What a page's names must come to, beside what its own assertions say.
CHECKS = {
    "how_to/recommending.md": of_recommending,
    "how_to/evaluation.md": of_evaluation,
    "how_to/large_data.md": of_large_data,
    "how_to/cluster.md": of_cluster,
    "how_to/report.md": of_report,
    "how_to/nightly.md": lambda names: check_other_nights(),
}


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_a_page_runs(page, tmp_path, monkeypatch):
    for module in needs(page):
        pytest.importorskip(module)
    if not SYSTEMS.get(system(page), True):
        pytest.skip(f"the page is for {system(page)}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(DOCS / "examples")  # a page may show a file that imports another
    CHECKS.get(name(page), lambda names: None)(run_page(page))


def test_every_check_is_of_a_page():
    assert set(CHECKS) <= {name(page) for page in WITH_CODE}


PAGE = """# Page

```python
print("ann has", 3, 0.12345)
```

```text
{shown}
```

```sh
echo "who,what" > lists.csv; echo "ann,tea" >> lists.csv; echo "wrote lists.csv in 0.3 s"
```

```text title="on the machine with the data"
anything
```

Then `lists.csv` begins

```csv
{begins}
```
"""


@pytest.mark.parametrize(
    ("shown", "begins", "line"),
    [
        ("ann has 3 0.1234", "who,what", None),
        ("ann has 3 0.1234", "who,what\nann,tea", None),
        ("ann has 4 0.1234", "who,what", 7),
        ("ann has 3 0.1294", "who,what", 7),
        ("ann has 3 0.1234\nbob", "who,what", 7),
        ("ann has 3 0.1234", "who,what\nann,jam", 21),
        ("ann has 3 0.1234", "what,who", 21),
    ],
)
def test_what_a_page_shows_is_compared(shown, begins, line, tmp_path, monkeypatch):
    if not SYSTEMS["posix"]:
        pytest.skip("the page has a block for a shell")
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(PAGE.format(shown=shown, begins=begins))
    assert [block.output for block in blocks(page)] == [False, True, False, False, False]
    if line is None:
        run_page(page)
    else:
        with pytest.raises(AssertionError, match=f"page.md, line {line}"):
            run_page(page)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a\n...\nd", "a\nb\nc\nd"),
        ("...\nd", "a\nd"),
        ("a\n...", "a"),
        ("a\n...\nb\n...\nc", "a\nx\nb\ny\nb\nc"),
        ("ann has ...", "ann has 3 things"),
        (
            "wrote 5 in 0.3 s to /srv/out/a.csv at 2026-01-01 02:15",
            "wrote 5 in 12.8 s to /tmp/x at 2027-03-04 11:00:07",
        ),
        ("loss 9.35071, 5,849 users", "loss 9.35073,  5,849   users"),
        ("85% of 228155", "86% of 228154"),
        ("[-0.0298 .5]", "[-0.0297  .5]"),
        ("3e-10", "1e-9"),
    ],
)
def test_output_that_is_as_shown(shown, printed):
    assert difference(shown, printed) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a\n...\nd", "a\nb\nc"),
        ("a\n...\na", "a"),
        ("a\nb", "a"),
        ("a", "a\nb"),
        ("a\n...\nb\n...\nc", "a\nb"),
        ("ann has ...", "bob has 3"),
        ("wrote 5 in 0.3 s", "wrote 6 in 0.3 s"),
        ("wrote 0.3 s", "wrote nothing"),
        ("loss 9.35071", "loss 9.36"),
        ("ndcg 0.0996", "ndcg 0.0986"),
        ("5,849 users", "5,850 users"),
        ("-0.0298", "0.0298"),
        ("3e-10", "3e-5"),
    ],
)
def test_output_that_is_not_as_shown(shown, printed):
    assert "printed:" in difference(shown, printed)
