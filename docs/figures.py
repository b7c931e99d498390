"""The figures of the documentation: each drawn from fits of the shop data that ship with the package.

`python docs/figures.py FOLDER` writes them all as SVG. The same seeds give the same figures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implicit_wmf import WMF, Interactions, ItemKNN, MostPopular, report
from implicit_wmf.datasets import load_online_retail
from implicit_wmf.evaluation import compare, evaluate, split_by_time
from implicit_wmf.report import figures
from implicit_wmf.weightings import WEIGHTINGS

Floats = NDArray[np.float64]

COLUMNS = {"user": "customer", "item": "product", "value": "quantity"}
SETTINGS = {"weighting": "log", "regularization": 40, "random_state": 0}
RAISED = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


class Months(NamedTuple):
    """The purchases before a month, and those in it."""

    before: Interactions
    month: Interactions


@cache
def shop() -> Interactions:
    """All purchases."""
    return Interactions.from_frame(load_online_retail(), **COLUMNS)


@cache
def names() -> pd.Series:
    """Names of the products by their codes."""
    return load_online_retail().drop_duplicates("product").set_index("product")["name"]


@cache
def october() -> Months:
    """October 2011, and what was bought before."""
    purchases = load_online_retail()
    earlier = purchases[purchases["day"] < "2011-11-01"]
    return Months(*split_by_time(earlier, **COLUMNS, timestamp="day", cut="2011-10-01"))


@cache
def model() -> WMF:
    """One fit that most figures share, measured on October after each epoch."""
    before, month = october()
    return WMF(64, **SETTINGS).fit(before, validation=month, metric=["ndcg@20", "recall@20"], patience=None)


def objective() -> Any:
    """Draw the objective and its three parts by epoch."""
    return report.plot_objective(model().history)


def validation() -> Any:
    """Draw the validation by epoch."""
    return report.plot_validation(model().history, "ndcg@20")


def recall() -> Any:
    """Draw recall by the length of the lists, beside the baselines, on the last weeks."""
    past, last_weeks = split_by_time(load_online_retail(), **COLUMNS, timestamp="day", cut="2011-11-01")
    models = {
        "WMF": WMF(64, **SETTINGS).fit(past),
        "item-kNN": ItemKNN(neighbours=100, weighting="bm25").fit(past),
        "most popular": MostPopular().fit(past),
    }
    lengths = [f"recall@{k}" for k in (5, 10, 20, 30, 50)]
    return report.plot_metric(compare(models, past, last_weeks, metrics=lengths), "recall")


def popularity() -> Any:
    """Draw how unevenly purchases fall on products."""
    return report.plot_popularity(shop())


def exposure() -> Any:
    """Draw what lists show against what people take."""
    before = october().before
    users = np.arange(len(before.users))
    lists = {
        "WMF": model().recommend(users, N=20)[0],
        "most popular": MostPopular().fit(before).recommend(users, N=20)[0],
    }
    return report.plot_exposure(before, lists)


def spectrum() -> Any:
    """Draw the eigenvalues of both Gram matrices."""
    return report.plot_spectrum(model())


def item_map() -> Any:
    """Draw a map of the products, a few named with their neighbours."""
    return report.plot_item_map(model(), names())


def draw_curves(ax: Any, curves: dict[str, tuple[Sequence[float], Sequence[float]]], *, marks: bool = True) -> None:
    """Draw named curves in the styles of all plots, and name them above the axes."""
    lines = []
    for (colour, marker, dash), (x, y) in zip(figures.STYLES, curves.values(), strict=False):
        lines += ax.plot(x, y, color=colour, marker=marker if marks else "", linestyle=dash, linewidth=2, markersize=6)
    figures.legend(ax, lines, list(curves))


def confidence() -> Any:
    """Draw what a count weighs under each weighting, with alpha and the background's confidence 1."""
    counts, background, settings = np.arange(1.0, 51.0), np.ones(50), WMF().config
    curves = {name: (counts, weigh(counts, background, settings)[0]) for name, weigh in WEIGHTINGS.items()}
    ax = figures.prepare(None)
    draw_curves(ax, curves, marks=False)
    ax.axhline(1, color=figures.GREY, linewidth=1)
    ax.set_yscale("log")
    figures.ticks_at(ax.yaxis, [1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    figures.write(ax, "cells of count 0", (50, 1), (0, 4), ha="right")
    figures.name_axes(ax, "count r: how often somebody bought a product", "confidence C")
    return ax


def multiplications(cells: Floats, factors: int, steps: int) -> dict[str, Floats]:
    """Count the multiplications that one row takes, by each of the three ways, from its number of cells."""
    n, d = cells, float(factors)
    return {
        "d x d system": n * d**2 / 2 + d**3 / 6,
        "n x n system": n**2 * d / 2 + n**3 / 6,
        f"conjugate gradients, {steps} steps": (steps + 1) * 2 * n * d,
    }


def row_work() -> Any:
    """Draw the work of one row against its number of cells, over the sizes that rows of the shop have."""
    factors, steps = 128, 3
    cells = np.geomspace(1, 2000, 200)
    curves = multiplications(cells, factors, steps)
    ax = figures.prepare(None, height=3.8)
    draw_curves(ax, {name: (cells, work) for name, work in curves.items()}, marks=False)
    few, many = np.quantile(np.diff(shop().matrix.indptr), [0.1, 0.9])
    ax.axvspan(few, many, color=figures.FAINT, alpha=0.6, linewidth=0)
    ax.axvline(factors, color=figures.GREY, linewidth=1)
    ax.set(xscale="log", yscale="log", xlim=(1, cells[-1]), ylim=(30, 3e8))
    figures.write(
        ax, f"8 of 10 customers:\n{few:.0f} to {many:.0f} products", (np.sqrt(few * many), 30), (0, 6), ha="center"
    )
    figures.write(ax, "n = d", (factors, 3e8), (4, -12))
    figures.few_ticks(ax.yaxis, figures.short)
    figures.ticks_at(ax.xaxis, [1, 10, 100, 1000], ["1", "10", "100", "1000"])
    figures.name_axes(ax, "cells n of the row", f"multiplications, d = {factors}")
    return ax


def errors_by_step(system: Floats, target: Floats, preconditioner: Floats, steps: int) -> Floats:
    """Give the error before and after each step of conjugate gradients from 0, in the system's norm, from 1 down."""
    exact = np.linalg.solve(system, target)
    x, residual = np.zeros_like(target), target.copy()
    direction = residual / preconditioner
    slope = residual @ direction
    errors = [exact @ system @ exact]
    for _ in range(steps):
        image = system @ direction
        x += slope / (direction @ image) * direction
        residual -= slope / (direction @ image) * image
        rescaled = residual / preconditioner
        before, slope = slope, residual @ rescaled
        direction = rescaled + slope / before * direction
        errors.append((x - exact) @ system @ (x - exact))
    return np.sqrt(np.array(errors) / errors[0])


def cg_steps() -> Any:
    """Draw how fast conjugate gradients converge in an arbitrary basis and in the eigenbasis; medians of customers."""
    steps, before, items = 8, october().before, model().item_factors.astype(np.float64)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((items.shape[1],) * 2))[0]
    eigenvectors = np.linalg.eigh(items.T @ items)[1]
    ways: dict[str, list[Floats]] = {
        "any basis, no preconditioner": [],
        "any basis, diagonal": [],
        "eigenbasis, diagonal": [],
    }
    grams = {name: basis.T @ items.T @ items @ basis for name, basis in (("any", rotation), ("eigen", eigenvectors))}
    for user in np.flatnonzero(np.diff(before.matrix.indptr) >= 2)[::20]:
        row = before.matrix[[user]]
        weights = np.log1p(row.data.astype(np.float64))
        for name, errors in ways.items():
            kind, basis = ("any", rotation) if name.startswith("any") else ("eigen", eigenvectors)
            stored = items[row.indices] @ basis
            system = (
                grams[kind] + stored.T @ (weights[:, None] * stored) + SETTINGS["regularization"] * np.eye(len(basis))
            )
            diagonal = np.ones(len(basis)) if name.endswith("no preconditioner") else np.diag(system)
            errors.append(errors_by_step(system, stored.T @ (1 + weights), diagonal, steps))
    ax = figures.prepare(None, height=3.8)
    ax.set_yscale("log")
    draw_curves(ax, {name: (range(steps + 1), np.median(errors, axis=0)) for name, errors in ways.items()})
    powers = np.arange(0, -12, -2)
    figures.ticks_at(ax.yaxis, 10.0**powers, ["1", *(f"10{str(power).translate(RAISED)}" for power in powers[1:])])
    figures.name_axes(ax, "steps", "error of the row, from 1 at the start")
    return ax


def approximation() -> Any:
    """Draw the objective of approximate fits above that of the exact one, by epoch, under strong weights."""
    settings = SETTINGS | {"alpha": 40, "regularization": 4, "iterations": 8}
    exact = [record.loss for record in WMF(64, **settings, solver="exact").fit(shop()).history]
    ways = {
        "1 step": {"solver": "cg", "cg_steps": 1},
        "3 steps": {"solver": "cg", "cg_steps": 3},
        "auto": {"solver": "auto"},
    }
    curves = {}
    for name, way in ways.items():
        losses = [record.loss for record in WMF(64, **settings, **way).fit(shop()).history]
        curves[name] = (
            range(1, len(exact) + 1),
            [100 * (one / best - 1) for one, best in zip(losses, exact, strict=True)],
        )
    ax = figures.prepare(None)
    draw_curves(ax, curves)
    ax.axhline(0, color=figures.GREY, linewidth=1)
    figures.name_axes(ax, "epoch", "objective above the exact fit's, %")
    return ax


def quality_by_d() -> Any:
    """Draw the validation against the number of factors, for three strengths of the penalty."""
    before, month = october()
    sizes = [4, 8, 16, 32, 64, 128, 256]
    curves = {f"\u03bb = {strength}": (sizes, [quality(size, strength) for size in sizes]) for strength in (4, 40, 160)}
    popular = float(evaluate(MostPopular().fit(before), before, month, metrics=["ndcg@20"]).value.iloc[0])
    ax = figures.prepare(None)
    ax.set_xscale("log")
    draw_curves(ax, curves)
    ax.axhline(popular, color=figures.GREY, linewidth=1)
    figures.write(ax, "most popular", (sizes[-1], popular), (0, -13), ha="right")
    ax.set_ylim(0, None)
    figures.ticks_at(ax.xaxis, sizes, [f"{size}" for size in sizes])
    figures.name_axes(ax, "factors d", "ndcg@20 in October")
    return ax


def quality(factors: int, regularization: float) -> float:
    """Measure ndcg@20 on October after a fit of six epochs to what came before."""
    before, month = october()
    settings = SETTINGS | {"regularization": regularization, "iterations": 6}
    fitted = WMF(factors, **settings).fit(
        before, validation=month, metric="ndcg@20", validate_every=6, track_loss=False
    )
    return fitted.history[-1].validation["ndcg@20"]


FIGURES: dict[str, Callable[[], Any]] = {
    figure.__name__: figure
    for figure in (
        objective, validation, recall, popularity, exposure, spectrum, item_map,
        confidence, row_work, cg_steps, approximation, quality_by_d,
    )
}  # fmt: skip


def write_all(folder: Path) -> list[Path]:
    """Write each figure as NAME.svg into a folder, which is made if it is not there.

    Parameters
    ----------
    folder : pathlib.Path

    Returns
    -------
    list of pathlib.Path
        The files, in the order of `FIGURES`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.svg" for name in FIGURES]
    for path, draw in zip(paths, FIGURES.values(), strict=True):
        path.write_bytes(figures.to_svg(draw()))
    return paths


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
