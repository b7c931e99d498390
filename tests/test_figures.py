"""The figures of the documentation: each is drawn, each is shown, and each says what it shows."""

import importlib.util
import re
from pathlib import PurePosixPath
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import COMPILED
from pages import DOCS

pytest.importorskip("matplotlib")

PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<target>[^)\s]+)\)")
SVG = "{http://www.w3.org/2000/svg}svg"


@pytest.fixture(scope="module")
def drawing():
    """docs/figures.py, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("docs_figures", DOCS / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown():
    """(page, figure's name, alternative text, path) of each figure that a page refers to."""
    for page in sorted(DOCS.rglob("*.md")):
        for found in PICTURE.finditer(page.read_text(encoding="utf-8")):
            path = PurePosixPath(found["target"])
            if path.parent.name == "figures" and path.suffix == ".svg":
                yield page, path.stem, found["alt"], path


def test_every_figure_is_shown_and_every_figure_shown_is_drawn(drawing):
    assert {name for _, name, _, _ in shown()} == set(drawing.FIGURES)


@pytest.mark.parametrize(
    ("page", "name", "alt", "path"), [pytest.param(*one, id=f"{one[0].stem}-{one[1]}") for one in shown()]
)
def test_a_figure_is_found_from_its_page_and_put_in_words(page, name, alt, path):
    assert (page.parent / path).resolve() == DOCS / "figures" / f"{name}.svg"
    assert len(alt.split()) >= 6


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_all_figures_are_written_as_svg_with_named_axes(drawing, tmp_path, monkeypatch):
    drawn = {}

    def keep(name, draw):
        def call():
            drawn[name] = draw()
            return drawn[name]

        return call

    monkeypatch.setattr(drawing, "FIGURES", {name: keep(name, draw) for name, draw in drawing.FIGURES.items()})
    paths = drawing.write_all(tmp_path / "new" / "folder")

    assert [path.stem for path in paths] == list(drawn) == list(drawing.FIGURES)
    for path in paths:
        assert ElementTree.parse(path).getroot().tag == SVG, path
    for name, ax in drawn.items():
        if name != "item_map":  # directions of a map mean nothing
            assert ax.get_xlabel(), name
            assert ax.get_ylabel(), name


def test_row_work_is_the_least_at_the_sizes_that_each_way_is_for(drawing):
    work = drawing.multiplications(np.array([2.0, 64.0, 128.0, 1000.0]), 128, 3)
    through_factors, through_cells, steps = work.values()
    assert through_cells[0] < steps[0] < through_factors[0]
    assert through_cells[1] < through_factors[1]
    assert through_cells[2] == through_factors[2]
    assert through_factors[3] < through_cells[3]
    assert steps[0] == 4 * 2 * 2 * 128


def test_errors_by_step_fall_to_nothing_in_as_many_steps_as_there_are_eigenvalues(drawing):
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    system = vectors @ np.diag(np.repeat([1.0, 5.0, 20.0], 4)) @ vectors.T
    target = rng.standard_normal(12)

    errors = drawing.errors_by_step(system, target, np.ones(12), 3)

    length = target @ target / (target @ system @ target)  # the first step is that of steepest descent
    exact = np.linalg.solve(system, target)
    left = length * target - exact
    assert errors[0] == 1
    assert errors[1] == pytest.approx(np.sqrt(left @ system @ left / (exact @ system @ exact)))
    assert errors[2] > 1e-3
    assert errors[3] < 1e-7
