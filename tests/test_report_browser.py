"""The page in a real browser, from a file: search, choose, see the explanation; in the end nothing was fetched."""

from urllib.parse import quote

import numpy as np
import pytest
from browser import PHONE, opened, started
from scipy.sparse import csr_array

from implicit_wmf import WMF, Interactions, MostPopular
from implicit_wmf.datasets import synthetic
from implicit_wmf.report import explorer, page

NASTY = ["<script>alert(1)</script>", "</script><img src=x onerror=alert(2)>", "$&'\" ${title} <!--"]
ITEMS = 30
MANY = 100_000


def named(item):
    return NASTY[item] if item < len(NASTY) else f"Crème no {item} brûlée"


@pytest.fixture(scope="module")
def chromium():
    with started() as browser:
        yield browser


@pytest.fixture(scope="module")
def shop():
    """User u0 has items 0 to 11, so that its history is long enough to be cut."""
    counts = synthetic(30, ITEMS, 250, factors=3, random_state=0).toarray()
    counts[0] = np.where(np.arange(ITEMS) < 12, 3 + np.arange(ITEMS), 0)
    ids = {"users": [f"u{row}" for row in range(30)], "items": [f"i/{column} ü" for column in range(ITEMS)]}
    return WMF(4, iterations=5, alpha=3.0, random_state=0).fit(Interactions.from_matrix(counts, **ids))


@pytest.fixture(scope="module")
def names(shop):
    return {one: named(place) for place, one in enumerate(shop.interactions.items)}


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    def write_page(found, sections=()):
        path = tmp_path_factory.mktemp("report") / "report.html"
        path.write_text(page.render("Report", "of a <test>", sections, found), encoding="utf-8")
        return path.as_uri()

    return write_page


@pytest.fixture(scope="module")
def address(shop, names, write):
    picture = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 340"><rect width="520" height="340"/></svg>'
    blocks = [page.Table(["model", *"abcdefgh"], [["x" * 40, *["0.123 (0.1 to 0.2)"] * 8]], "wide"),
              page.Facts([("y" * 90, "z" * 90)]), page.Picture(picture, "a picture", "caption")]  # fmt: skip
    return write(explorer.collect(shop, names=names), [page.Section("Settings", NASTY[0], blocks)])


def ready(tab):
    tab.wait_for_selector("#explorer-app:not([hidden])")


def headed(tab, text):
    """Wait until the heading of what is shown reads so."""
    tab.wait_for_function("text => document.querySelector('h3')?.innerText === text", arg=text)


def search(tab, text):
    """Options found; the box is emptied before, so that they are not those of an earlier search."""
    ready(tab)
    tab.fill("#explorer-input", "")
    tab.wait_for_selector("#explorer-popup", state="hidden")
    tab.fill("#explorer-input", text)
    tab.wait_for_selector("#explorer-popup:not([hidden])")
    return tab.locator("#explorer-list [role=option]")


def choose(tab, text, heading):
    search(tab, text).first.click()
    headed(tab, heading)


def rows(tab, title):
    """Rows of the list below a heading, each as its own texts: rank, name, number."""
    lists = tab.locator(f"section:has(> h4:text-is('{title}')) > .rows > li")
    return [one.locator(":scope > :is(.rank, .go, .number)").all_inner_texts() for one in lists.all()]


def test_a_user_is_found_with_history_and_the_recommendations_of_the_model(chromium, address, shop):
    with opened(chromium, address) as tab:
        choose(tab, "u0", "User u0")
        assert rows(tab, "Already has") == [[named(item), f"× {3 + item}"] for item in range(11, 5, -1)]
        tab.get_by_text("Show more (6 items)").click()
        assert [row[0] for row in rows(tab, "Already has")] == [named(item) for item in range(11, -1, -1)]
        assert tab.evaluate("document.activeElement.textContent") == named(5)
        ids, scores = shop.recommend(0, 20)
        shown = rows(tab, "Recommended")
        assert [(rank, name) for rank, name, _ in shown] == [
            (f"{place}.", named(item)) for place, item in enumerate(ids[ids >= 0], start=1)
        ]
        assert [float(score) for *_, score in shown] == pytest.approx(scores[ids >= 0].tolist(), abs=0.006)
        owned = shop.interactions.matrix.toarray() > 0
        middle = np.median((shop.user_factors @ shop.item_factors.T)[owned])
        assert f"What users already have scores {middle:.2f} in the middle." in tab.inner_text("#explorer-view")


def test_the_explanation_of_a_recommendation_is_that_of_the_model(chromium, address, shop):
    with opened(chromium, address) as tab:
        choose(tab, "u0", "User u0")
        button = tab.locator(".ask").nth(1)
        button.click()
        assert button.get_attribute("aria-expanded") == "true"
        assert "Because this user has" in tab.inner_text(".why")
        why = shop.explain(0, int(shop.recommend(0, 2)[0][1]), 5)
        shares = [*why.contributions / why.score, 1 - why.contributions.sum() / why.score]
        labels = [*map(named, why.ids), "everything else this user has"]
        assert tab.locator(".why :is(.go, .rest)").all_inner_texts() == labels
        shown = [float(text.rstrip("%")) for text in tab.locator(".why .number").all_inner_texts()]
        assert shown == pytest.approx([100 * share for share in shares], abs=0.6)
        assert all(share > 0.01 for share in shares[:5])
        largest = max(1, *map(abs, shares))
        widths = tab.eval_on_selector_all(".why .bar span", "all => all.map(one => parseFloat(one.style.width))")
        assert widths == pytest.approx([100 * abs(share) / largest for share in shares], abs=0.1)
        button.click()
        assert tab.locator(".why").count() == 0


def test_an_item_is_shown_with_those_that_are_similar_to_it(chromium, address, shop):
    with opened(chromium, address) as tab:
        choose(tab, "creme 7", named(7))
        had = int((shop.interactions.matrix.toarray()[:, 7] > 0).sum())
        assert f"Item i/7 ü. {had} of 30 users have it." in tab.inner_text("#explorer-view")
        ids, cosines = shop.similar_items(7, 10, include_self=False)
        shown = rows(tab, "Similar items")
        assert [name for _, name, _ in shown] == [named(item) for item in ids]
        assert [float(text) for *_, text in shown] == pytest.approx(cosines.tolist(), abs=0.0052)


def test_back_leads_to_what_was_seen_before(chromium, address, shop):
    with opened(chromium, address) as tab:
        choose(tab, "u0", "User u0")
        item = named(int(shop.recommend(0, 1)[0][0]))
        tab.locator("ol .go").first.click()
        headed(tab, item)
        assert "#item=i%2F" in tab.url
        tab.get_by_role("button", name="Back").click()
        headed(tab, "User u0")
        tab.go_forward()
        headed(tab, item)
        tab.go_back()
        tab.go_back()
        tab.wait_for_selector("text=Not sure what to type?")
        assert tab.locator(".back").count() == 0


def test_back_leads_there_over_other_parts_of_the_page(chromium, address):
    def press_back():
        tab.get_by_role("button", name="Back").click()

    with opened(chromium, f"{address}#part-1") as tab:
        choose(tab, "u0", "User u0")
        tab.locator("ol .go").first.click()
        tab.wait_for_function("location.hash.startsWith('#item=')")
        item = tab.inner_text("h3")
        for part in ("Settings", "Explore users and items"):
            tab.get_by_role("link", name=part, exact=True).click()
        tab.wait_for_function("location.hash === '#explorer'")
        press_back()
        headed(tab, "User u0")
        tab.get_by_role("link", name="Settings").click()
        tab.wait_for_function("location.hash === '#part-1'")
        tab.reload()  # the address is that of a part, and the explorer shows what it did
        headed(tab, "User u0")
        press_back()  # to where the page began, of the same address
        tab.wait_for_selector("text=Not sure what to type?")
        tab.go_forward()
        headed(tab, "User u0")
        tab.go_back()
        tab.wait_for_selector("text=Not sure what to type?")
        choose(tab, "creme 7", named(7))
        assert item
        press_back()
        tab.wait_for_selector("text=Not sure what to type?")


def test_the_same_address_again_is_no_step(chromium, address):
    with opened(chromium, address) as tab:
        choose(tab, "u0", "User u0")
        choose(tab, "u0", "User u0")
        tab.evaluate("location.hash = location.hash")
        choose(tab, "creme 7", named(7))
        tab.get_by_role("button", name="Back").click()
        headed(tab, "User u0")
        tab.get_by_role("button", name="Back").click()
        tab.wait_for_selector("text=Not sure what to type?")


def test_what_is_shown_stays_when_another_part_of_the_page_is_gone_to(chromium, address):
    with opened(chromium, f"{address}#user=u0") as tab:
        headed(tab, "User u0")
        tab.get_by_role("link", name="Settings").click()
        tab.wait_for_function("location.hash === '#part-1'")
        assert tab.locator("h3").inner_text() == "User u0"


def test_fragments_of_the_address_lead_to_ids_and_unknown_ones_say_so(chromium, address):
    with opened(chromium, f"{address}#item={quote('i/4 ü', safe='')}") as tab:
        headed(tab, named(4))
        for fragment, said in [
            ("user=nobody%3Cb%3E", "User nobody<b> is not on this page"),
            ("item=%E0%A4%A", "Item %E0%A4%A is not on this page"),
            ("user=__proto__", "User __proto__ is not on this page"),
        ]:
            tab.evaluate("one => { location.hash = one; }", fragment)
            headed(tab, said)


def test_the_keyboard_alone_suffices(chromium, address):
    with opened(chromium, address) as tab:
        ready(tab)
        for _ in range(20):
            tab.keyboard.press("Tab")
            if tab.evaluate("document.activeElement.id") == "explorer-input":
                break
        tab.keyboard.type("brulee")
        tab.wait_for_selector("#explorer-popup:not([hidden])")
        options = tab.get_by_role("option")
        box = tab.get_by_role("combobox")

        def active():
            return box.get_attribute("aria-activedescendant")

        count = options.count()
        assert count == 20
        for key, expected in [("ArrowDown", 0), ("ArrowDown", 1), ("End", count - 1), ("ArrowDown", 0),
                              ("ArrowUp", count - 1), ("Home", 0), ("ArrowDown", 1)]:  # fmt: skip
            tab.keyboard.press(key)
            assert active() == f"explorer-option-{expected}"
            assert tab.locator("[aria-selected=true]").get_attribute("id") == active()
        tab.keyboard.press("Escape")
        assert box.get_attribute("aria-expanded") == "false"
        assert not tab.locator("#explorer-popup").is_visible()
        tab.keyboard.press("ArrowDown")
        tab.keyboard.press("ArrowDown")
        wanted = options.first.locator(".name").inner_text()
        tab.keyboard.press("Enter")
        headed(tab, wanted)
        assert tab.evaluate("document.activeElement.tagName") == "H3"
        tab.focus("#explorer-input")
        tab.keyboard.type("u0")
        tab.keyboard.press("Enter")  # without waiting for the list
        headed(tab, "User u0")
        while tab.evaluate("document.activeElement.className") != "ask":
            tab.keyboard.press("Tab")
        outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        tab.keyboard.press("Enter")
        assert outline == "solid"
        assert tab.locator(".why").count() == 1


def test_words_match_in_any_order_and_case_and_the_best_come_first(chromium, address):
    with opened(chromium, address) as tab:
        assert search(tab, "BRÛLÉE 17").locator(".name").all_inner_texts() == [named(17)]
        assert search(tab, "u1").locator(".name").first.inner_text() == "u1"
        assert search(tab, "u1").count() == 11
        tab.check("input[value=item]")
        assert search(tab, "u1").count() == 0
        assert "Nothing found" in tab.inner_text("#explorer-popup")
        assert search(tab, "i/12").locator(".name").all_inner_texts() == [named(12)]
        tab.check("input[value=user]")
        assert search(tab, "2").locator(".kind").all_inner_texts() == ["User"] * 12


@pytest.mark.parametrize("item", range(len(NASTY)))
def test_names_that_look_like_code_are_shown_as_text(chromium, address, item):
    with opened(chromium, address) as tab:
        assert search(tab, NASTY[item]).locator(".name").all_inner_texts() == [NASTY[item]]
        tab.keyboard.press("Enter")
        headed(tab, NASTY[item])
        assert tab.locator("main img").count() == 1  # the picture
        assert tab.locator("#part-1 > p").inner_text() == NASTY[0]


@pytest.mark.parametrize("width", [320, 390, 768])
def test_on_a_telephone_nothing_overflows_and_targets_are_large(chromium, address, width):
    options = PHONE | {"viewport": {"width": width, "height": 844}}
    with opened(chromium, address, **options) as tab:
        search(tab, "brulee").first.tap()
        tab.wait_for_selector("h3")
        search(tab, "u0").first.tap()
        headed(tab, "User u0")
        tab.locator(".ask").first.tap()
        tab.wait_for_selector(".why")
        assert tab.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0
        assert tab.evaluate("innerWidth") == width
        heights = tab.eval_on_selector_all(
            "#explorer-view :is(a, button), #explorer-app label:has(input)",
            "all => all.map(one => one.getBoundingClientRect().height)",
        )
        assert min(heights) >= 44
        search(tab, "brulee")
        assert tab.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(chromium, address, scheme):
    with opened(chromium, f"{address}#user=u0", color_scheme=scheme) as tab:
        tab.wait_for_selector(".ask")
        for selector in ("h3", "#explorer-view .note", "#explorer-view .go", ".rank"):
            text, ground = tab.evaluate(
                "one => [getComputedStyle(document.querySelector(one)).color,"
                " getComputedStyle(document.body).backgroundColor].map(rgb => rgb.match(/[\\d.]+/g).map(Number))",
                selector,
            )
            assert contrast(text, ground) >= 4.5


def contrast(one, other):
    """As the Web Content Accessibility Guidelines define it."""

    def luminance(color):
        parts = np.array(color[:3]) / 255
        return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_a_page_with_some_of_the_users_says_how_to_ask_for_the_others(chromium, shop, write):
    with opened(chromium, write(explorer.collect(shop, users=["u3"], max_users=0)) + "#user=u4") as tab:
        ready(tab)
        assert tab.inner_text("h3") == "User u4 is not on this page"
        assert "This page holds 1 user of 30." in tab.inner_text("#explorer-view")
        assert "implicit-wmf explain MODEL --user ID --item ID" in tab.inner_text("#explorer-view")


def test_a_model_without_reasons_offers_none(chromium, shop, write):
    found = explorer.collect(MostPopular().fit(shop.interactions))
    with opened(chromium, write(found) + "#user=u0") as tab:
        tab.wait_for_selector("h3")
        assert tab.locator(".ask").count() == 0
        assert "cannot say why" in tab.inner_text("#explorer-view")


def test_an_explorer_of_nobody_opens(chromium, shop, write):
    with opened(chromium, write(explorer.collect(shop, max_users=0))) as tab:
        assert search(tab, "u0").count() == 0
        assert tab.locator("#explorer-view .kind").all_inner_texts() == ["Item"] * 3


def test_without_javascript_the_page_says_what_is_missing(chromium, address):
    with opened(chromium, address, java_script_enabled=False) as tab:
        assert "turn on JavaScript" in tab.inner_text("noscript")
        assert not tab.locator("#explorer-state").is_visible()
        assert tab.locator("#part-1 table").is_visible()


def test_a_browser_that_is_too_old_is_told_so(chromium, address):
    with opened(chromium, "about:blank") as tab:
        tab.add_init_script("delete globalThis.DecompressionStream")
        tab.goto(address)
        tab.wait_for_selector("text=This browser is too old")


def test_a_hundred_thousand_items_are_searched_and_the_page_stays_small(chromium, write):
    generator = np.random.default_rng(0)
    counts = csr_array((np.ones(MANY), np.arange(MANY), np.arange(0, MANY + 1, 10)), shape=(MANY // 10, MANY))
    model = MostPopular().fit(counts)
    near = generator.integers(0, MANY, (MANY, 3)).astype(np.int32)
    model.similar_items = lambda items, N, include_self: (near[items][:, :N], np.full((len(items), N), 0.5))
    found = explorer.collect(model, names={place: f"Thing {place}" for place in range(MANY)}, similar=3, max_users=0)
    with opened(chromium, write(found)) as tab:
        assert search(tab, "thing").count() == 20
        assert tab.inner_text("#explorer-count") == "99,980 more: type on to find them."
        assert search(tab, "99999").locator(".name").all_inner_texts() == ["Thing 99999"]
        tab.keyboard.press("Enter")
        headed(tab, "Thing 99999")
        assert [name for _, name, _ in rows(tab, "Similar items")] == [f"Thing {place}" for place in near[99_999]]
        assert tab.evaluate("document.querySelectorAll('*').length") < 250
