"""The explorer's data against the model's own answers, its encoding, and the page around it."""

import base64
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from implicit_wmf import WMF, InputError, Interactions, MostPopular
from implicit_wmf.datasets import synthetic
from implicit_wmf.report import explorer, page
from implicit_wmf.report.encoding import COSINE_SCALE, encode, fold

USERS, ITEMS, CELLS = (60, 40, 500) if COMPILED else (20, 16, 80)
NASTY = ["<script>alert(1)</script>", "</script><img src=x onerror=alert(2)>", "$& $' $` ${title} $1 \\1",
         "\ufeffwith a mark", "émoji 🎁🎁", "half \ud83c", "line\nbreak",
         "\u05e9\u05dc\u05d5\u05dd", "x" * 500]  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    counts = synthetic(USERS, ITEMS, CELLS, factors=3, random_state=0)
    return WMF(4, iterations=3, alpha=2.0, random_state=0).fit(counts)


@pytest.fixture(scope="module")
def found(fitted):
    return explorer.collect(fitted, N=6, reasons=3, similar=4)


def decoded(text):
    """What explorer.js makes of it."""
    binary = zlib.decompress(base64.b64decode(text))
    length = int.from_bytes(binary[:4], "little")
    header = json.loads(binary[4 : 4 + length])
    for name, (dtype, offset, size) in header["arrays"].items():
        header[name] = np.frombuffer(binary, dtype, size, 4 + length + offset)
    for name in ("item_ids", "item_names", "user_ids", "item_search", "user_search"):
        text = header[f"{name}_text"].tobytes().decode("utf-8").encode("utf-16-le")
        ends = 2 * np.cumsum(header[f"{name}_units"], dtype=int)
        header[name] = [part.decode("utf-16-le") for part in np.split(np.frombuffer(text, np.uint8), ends)[:-1]
                        for part in [part.tobytes()]]  # fmt: skip
    return header


def test_lists_and_reasons_are_those_of_the_model(fitted, found):
    ids, scores = fitted.recommend(np.arange(USERS), 6)
    assert_array_equal(found.recommended, ids)
    assert_array_equal(found.scores, scores)
    for user in range(USERS):
        for rank in np.flatnonzero(ids[user] >= 0):
            why = fitted.explain(user, int(ids[user, rank]), 3)
            assert_allclose(found.reasons.score[user, rank], why.score, rtol=1e-6)
            assert_array_equal(found.reasons.items[user, rank], why.ids)
            assert_allclose(found.reasons.contributions[user, rank], why.contributions, rtol=1e-5, atol=1e-7)


def test_similar_items_are_those_of_the_model_for_every_item(fitted, found, monkeypatch):
    monkeypatch.setattr(explorer, "_ITEMS_AT_ONCE", 7)
    near, cosines = fitted.similar_items(np.arange(ITEMS), 4, include_self=False)
    for one in (found, explorer.collect(fitted, N=1, reasons=1, similar=4)):
        assert_array_equal(one.similar, near)
        assert_array_equal(one.cosines, cosines)


def test_histories_have_the_largest_amounts_first_and_say_what_they_leave_out(fitted, monkeypatch):
    monkeypatch.setattr(explorer, "HISTORY", 3)
    found = explorer.collect(fitted, N=1, reasons=1, similar=1)
    dense = fitted.interactions.matrix.toarray()
    begin = 0
    for user, end in enumerate(found.history_ends):
        expected = sorted(np.flatnonzero(dense[user]), key=lambda item: (-dense[user, item], item))
        assert found.user_items[user] == len(expected)
        assert found.history[begin:end].tolist() == expected[:3]
        assert_array_equal(found.amounts[begin:end], dense[user, expected[:3]])
        begin = end
    assert begin == found.history.size
    assert_array_equal(found.item_users, (dense > 0).sum(axis=0))


def test_a_sample_has_users_of_few_and_many_items_and_those_who_are_asked_for():
    counts = csr_array(np.tril(np.ones((30, 30))))  # user i has i + 1 items
    model = MostPopular().fit(Interactions.from_matrix(counts, users=[f"u{place}" for place in range(30)]))
    found = explorer.collect(model, users=["u7", "u8"], max_users=8)
    assert {"u7", "u8", "u0", "u29"} <= set(found.user_ids)
    assert len(found.user_ids) == 8
    assert found.users == 30
    thirds = np.histogram(found.user_items, [1, 11, 21, 31])[0]
    assert thirds.min() >= 2
    assert found.user_ids == explorer.collect(model, users=["u7", "u8"], max_users=8).user_ids
    assert explorer.collect(model, max_users=1).user_ids == ["u15"]
    assert explorer.collect(model, users="u7", max_users=0).user_ids == ["u7"]
    assert explorer.collect(model, users=["u7", "u9"], max_users=1).user_ids == ["u7", "u9"]
    assert len(explorer.collect(model, max_users=30).user_ids) == 30
    assert explorer.collect(model, max_users=0).recommended.shape == (0, 20)


def test_names_come_from_mappings_and_series_and_ids_stand_in_for_missing_ones(frame):
    model = MostPopular().fit(Interactions.from_frame(frame, user="who", item="what"))  # jam, rye, tea
    names = {"jam": "Plum jam", "rye": "", "tea": float("nan"), "oil": "unknown to the model"}
    for given in (names, pd.Series(names)):
        assert explorer.collect(model, names=given).item_names == ["Plum jam", "rye", "tea"]
    twice = pd.Series(["Old", "New"], index=["jam", "jam"])
    assert explorer.collect(model, names=twice).item_names == ["New", "rye", "tea"]
    assert explorer.collect(model, names={}).item_names == ["jam", "rye", "tea"]


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"names": {1: "Tea"}}, r"names: none of the items has a name; its keys are such as 1, the items' ids such as"),
        ({"names": ["Tea"]}, "names must be a mapping or a Series of raw item id -> text, got list"),
        ({"users": ["zoe"]}, r"users: 1 of 1 ids are unknown: 'zoe'"),
        ({"max_users": -1}, "max_users"),
        ({"N": 0}, "N must be a whole number"),
    ],
)
def test_what_cannot_be_used_is_refused(model, wrong, message):
    with pytest.raises(InputError, match=message):
        explorer.collect(model, **wrong)


def test_ids_that_read_alike_stay_apart():
    data = Interactions.from_matrix(np.eye(2), users=pd.Index([1, "1"], dtype=object), items=["a", "b"])
    assert explorer.collect(MostPopular().fit(data)).user_ids == ["1", "'1'"]


def test_ids_and_names_that_cannot_be_seen_are_spelled():
    ids = [" ", "", "\u200b", "a", "' '"]
    found = explorer.collect(
        MostPopular().fit(Interactions.from_matrix(np.ones((1, 4)), items=ids[:4])), names={"a": "\u200b "}
    )
    assert found.item_ids == found.item_names == ["' '", "''", r"'\u200b'", "a"]
    unlucky = MostPopular().fit(Interactions.from_matrix(np.ones((1, 2)), items=[" ", "' '"]))
    assert explorer.collect(unlucky).item_ids == [" ", "' '"]


def test_the_middle_score_of_what_users_have_is_said(fitted):
    scores = fitted.user_factors @ fitted.item_factors.T
    owned = fitted.interactions.matrix.toarray() > 0
    assert f"already have scores {np.median(scores[owned]):.2f} in the middle" in explorer.collect(fitted).score_note
    one = explorer.collect(fitted, users=fitted.interactions.users[[3]], max_users=0)
    assert f"already have scores {np.median(scores[3][owned[3]]):.2f} in the middle" in one.score_note
    nothing = WMF(2, iterations=1, random_state=0).fit(np.array([[1.0, 0, 0], [0, 1.0, 0]]))
    assert "in the middle" not in explorer.collect(nothing, max_users=0).score_note


def test_what_users_did_not_want_is_apart_from_what_they_have(monkeypatch):
    counts = np.array([[3.0, -1, 0, -5, 1], [0, -2, 0, 0, 0], [0, 0, 4, 0, 0]])
    found = explorer.collect(WMF(2, iterations=2, random_state=0).fit(counts))
    assert found.user_items.tolist() == [2, 0, 1]
    assert found.refused_items.tolist() == [2, 1, 0]
    assert found.item_users.tolist() == [1, 0, 1, 0, 1]
    assert found.history.tolist() == [0, 4, 1, 3, 1, 2]
    assert found.amounts.tolist() == [3, 1, -1, -5, -2, 4]
    assert found.history_ends.tolist() == [4, 5, 6]
    monkeypatch.setattr(explorer, "HISTORY", 1)
    cut = explorer.collect(WMF(2, iterations=2, random_state=0).fit(counts))
    assert (cut.history.tolist(), cut.history_ends.tolist()) == ([0, 1, 1, 2], [2, 3, 4])
    assert decoded(encode(cut))["refused_items"].tolist() == [2, 1, 0]


def test_models_that_cannot_explain_say_so(fitted):
    found = explorer.collect(MostPopular().fit(fitted.interactions))
    assert found.reasons is None
    assert "cannot say why" in found.reasons_note
    assert decoded(encode(found))["why"] == 0


def test_an_explanation_that_fails_costs_the_reasons_only(fitted, monkeypatch):
    def refuse(self, *arguments):
        raise InputError("too large")

    monkeypatch.setattr(WMF, "explain", refuse)
    found = explorer.collect(fitted)
    assert found.reasons is None
    assert "too large" in found.reasons_note


def test_models_fitted_with_confidences_and_memory_mapped_ones_are_explained(fitted, found, tmp_path):
    preference = (fitted.interactions.matrix.toarray() > 0).astype(float)
    weighted = WMF(4, iterations=2, random_state=0).fit(preference, confidence=1 + 2 * preference)
    other = explorer.collect(weighted, N=2, reasons=2)
    assert_allclose(other.reasons.score[0, 0], weighted.explain(0, int(other.recommended[0, 0])).score, rtol=1e-6)
    fitted.save(tmp_path / "model")
    mapped = explorer.collect(WMF.load(tmp_path / "model", mmap=True), N=6, reasons=3, similar=4)
    assert encode(mapped) == encode(found)


def test_lists_that_run_short_are_cut(fitted):
    full = np.ones((3, 4))
    full[0, 0] = 0
    found = explorer.collect(WMF(2, iterations=2, random_state=0).fit(full), N=3, similar=9)
    assert found.recommended.tolist() == [[0, -1, -1], [-1, -1, -1], [-1, -1, -1]]
    assert (found.reasons.items[1:] == -1).all()
    assert np.isnan(found.reasons.score[1:]).all()
    assert (found.similar[:, 3:] == -1).all()


def test_encoding_keeps_numbers_and_texts(found):
    page_has = decoded(encode(found))
    for name in ("recommended", "scores", "similar", "history", "amounts", "history_ends", "item_users"):
        assert_array_equal(page_has[name], np.ravel(getattr(found, name)))
    assert_allclose(page_has["cosines"] / COSINE_SCALE, np.nan_to_num(found.cosines).ravel(), atol=0.6 / COSINE_SCALE)
    assert_array_equal(page_has["contributions"], found.reasons.contributions.ravel())
    assert page_has["user_ids"] == found.user_ids
    assert (page_has["lists"], page_has["why"], page_has["near"]) == (6, 3, 4)


def test_encoding_keeps_texts_of_any_script():
    items = Interactions.from_matrix(np.ones((1, len(NASTY))), items=range(len(NASTY)))
    names = dict(enumerate(NASTY))
    page_has = decoded(encode(explorer.collect(MostPopular().fit(items), names=names)))
    assert page_has["item_names"] == [name.replace("\ud83c", "?").strip() for name in NASTY]
    assert page_has["item_search"][6] == "\nline break\n6\n"


@pytest.mark.parametrize(
    "text, folded",
    [
        ("  Crème   BRÛLÉE\t2 ", "creme brulee 2"),
        ("Straße", "strasse"),
        ("Łódź", "lodz"),
        ("ﬁne №5", "fine no5"),
        ("ΟΔΟΣ", "οδοσ"),
        ("", ""),
    ],
)
def test_folding_leaves_small_plain_letters(text, folded):
    assert fold(text) == folded


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)

    def named(self, *tags):
        return [(tag, attributes) for tag, attributes in self.found if tag in tags]


def report(texts, found=None):
    one = texts[0]
    blocks = [page.Text(one), page.Facts([(one, one)]), page.Table([one, one], [[one, one]], one),
              page.Picture(b"<svg/>", one, one)]  # fmt: skip
    return page.render(one, one, [page.Section(text, text, blocks) for text in texts], found)


@pytest.mark.parametrize("text", NASTY[:4] + ['" onload="alert(3)', "&amp;"])
def test_texts_are_escaped_wherever_they_stand(text):
    same = "q" * len(text)
    plain, nasty = Elements(report([same])), Elements(report([text]))
    assert [tag for tag, _ in nasty.found] == [tag for tag, _ in plain.found]
    assert "".join(nasty.texts).count(text) == "".join(plain.texts).count(same) > 8
    assert [{*one} for _, one in nasty.found] == [{*one} for _, one in plain.found]
    assert nasty.named("img")[0][1]["alt"] == text


def test_the_policy_allows_the_one_script_the_one_style_and_pictures_within(found):
    text = report(["title"], found)
    policy = next(one["content"] for _, one in Elements(text).named("meta") if "http-equiv" in one)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in (*styles, *scripts)]
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert "http://" not in text
    assert "https://" not in text
    assert all(one["src"].startswith("data:") for _, one in Elements(text).named("img"))


def test_headings_are_in_order_and_the_contents_lead_to_each(found):
    elements = Elements(report(["one", "two"], found))
    levels = [int(tag[1]) for tag, _ in elements.named("h1", "h2", "h3")]
    assert levels == [1, 2, 2, 2, 2]
    targets = [one["href"][1:] for _, one in elements.named("a") if one["href"].startswith("#")]
    assert targets == ["content", "part-1", "explorer", "part-2"]
    assert {one.get("id") for _, one in elements.found} >= set(targets)
    assert elements.found[0] == ("html", {"lang": "en"})


def test_columns_of_words_are_those_that_are_said_to_be():
    rows = [["x", "0.123 (0.100 to 0.150), 3 users", "word " * 9], ["y", "", ""]]
    for words, expected in [((2,), [False, True] * 2), ((), [False] * 4)]:
        table = page.Table(["a", "b", "c"], rows, "", words)
        elements = Elements(page.render("t", "s", [page.Section("one", "", [table])]))
        assert ["class" in one for _, one in elements.named("td")] == expected


def test_a_page_without_an_explorer_has_no_script_to_run():
    text = report(["one"])
    assert "<script></script>" in text
    assert 'id="explorer' not in text
