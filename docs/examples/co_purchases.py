"""Weighted symmetric factorization of product co-purchases, on the shop data that ship with the package.

python docs/examples/co_purchases.py [--quick]

Prints a Markdown page; docs/examples/co_purchases.md is its output.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd

from implicit_wmf import Interactions
from implicit_wmf.datasets import load_online_retail
from implicit_wmf.factorizers import SymmetricMF

SEED = 0
INTRODUCTION = """\
# Which products are bought together

The shop data that ship with the package have {invoices:,} invoices with at least one of the {n} products that are on
most invoices. c_ij is the number of invoices with both i and j, and e_ij = c_i c_j / invoices what chance would make of
it. The target is the log lift t_ij = log((c_ij + 1) / (e_ij + 1)): above 0 for products that go together, below for
those that avoid each other. `SymmetricMF` gives each product a vector g_i with g_i . g_j close to t_ij.

The logarithm of a count has a variance of about 1 / e_ij, so pairs of rare products are measured badly: e_ij runs from
{low:.0f} to {high:,.0f}, its median is {median:.0f}. Weights w_ij = e_ij / mean(e) say so; unlike weights made of the
counts themselves, they do not favour the pairs whose count is high by chance. In |R - P o (G G')|^2 the matrix P scales
the prediction, so squared errors get the weight w with P = sqrt(w) and R = sqrt(w) o t. Where P is 0 a cell does not
count: on the diagonal, and for pairs that are hidden (i, j and j, i).
"""
CHOICE = """\
## Settings

Weighted RMSE on a random tenth of the pairs that is hidden for this choice only, from one start. The lowest of each
column is taken.
"""
COMPARISON = """\
## Pairs that were hidden

Mean ± standard deviation over {tenths} other tenths of the pairs, each hidden in turn. The better of 2 starts, seed
{seed}; times were not measured. Product effects are fitted by weighted least squares.
"""


def log_lift(products: int) -> tuple[np.ndarray, np.ndarray, pd.Series, int]:
    """Targets and expected counts, (products, products); names by code; the number of invoices."""
    lines = load_online_retail().drop_duplicates(["invoice", "product"])
    lines = lines[lines["product"].isin(lines["product"].value_counts().index[:products])]
    data = Interactions.from_frame(lines, user="invoice", item="product")
    together = (data.matrix.T @ data.matrix).toarray().astype(float)
    alone = together.diagonal()
    expected = np.outer(alone, alone) / data.shape[0]
    names = lines.drop_duplicates("product").set_index("product")["name"].loc[list(data.items)]
    return np.log((together + 1) / (expected + 1)), expected, names, data.shape[0]


def random_tenths(n: int) -> np.ndarray:
    """Draw one of 0 to 9 for each pair of different products, symmetrically; -1 on the diagonal."""
    drawn = np.triu(np.random.default_rng(SEED).integers(10, size=(n, n)), 1)
    return drawn + drawn.T - np.eye(n, dtype=int)


def fit(target: np.ndarray, weight: np.ndarray, ids: Any = None, **settings: Any) -> SymmetricMF:
    """Factorize with weights on squared errors; 0 hides a cell."""
    P = np.sqrt(weight)
    R = Interactions.from_matrix(P * target, users=ids, items=ids)
    return SymmetricMF(tolerance=1e-4, random_state=SEED, **settings).fit(R, P)


def product_effects(target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Predict b_i + b_j by weighted least squares: a product goes with everything, or with nothing."""
    effects = np.linalg.solve(weight + np.diag(weight.sum(axis=1)), (weight * target).sum(axis=1))
    return effects[:, None] + effects


def errors(target: np.ndarray, predicted: np.ndarray, weight: np.ndarray, cells: np.ndarray) -> list[float]:
    """Weighted and plain root mean squared error, and correlation, over some cells."""
    square = (target - predicted)[cells] ** 2
    flat = np.ptp(predicted[cells]) < 1e-9
    correlation = np.nan if flat else np.corrcoef(target[cells], predicted[cells])[0, 1]
    return [np.sqrt(np.average(square, weights=weight[cells])), np.sqrt(square.mean()), correlation]


def choose(target: np.ndarray, weights: dict[str, np.ndarray], tenth: np.ndarray, grid: list[Any]) -> pd.DataFrame:
    """Weighted error on tenth 0, hidden for this only, by (factors, regularization) and weights; from one start."""
    table = pd.DataFrame(index=grid, columns=list(weights), dtype=float)
    for row, (factors, regularization) in enumerate(grid):
        for column, weight in enumerate(weights.values()):
            G = fit(target, weight * (tenth > 0), factors=factors, regularization=regularization, starts=1).G
            table.iloc[row, column] = errors(target, G @ G.T, weights["weighted"], tenth == 0)[0]
    return table


def compare(
    target: np.ndarray, weights: dict[str, np.ndarray], tenth: np.ndarray, settings: dict[str, Any], hidden: list[int]
) -> pd.DataFrame:
    """Errors of each method on each hidden tenth: one row a method and tenth."""
    rows = []
    for part in hidden:
        known = (tenth >= 0) & (tenth != part)
        weight = weights["weighted"] * known
        predictions = {
            "one number for all pairs": np.full(target.shape, np.average(target, weights=weight)),
            "product effects b_i + b_j": product_effects(target, weight),
        }
        for name in weights:
            G = fit(target, weights[name] * known, starts=2, **settings[name]).G
            predictions[f"SymmetricMF, {name}"] = G @ G.T
        for method, predicted in predictions.items():
            rows.append([method, *errors(target, predicted, weights["weighted"], tenth == part)])
    return pd.DataFrame(rows, columns=["method", "weighted RMSE", "RMSE", "correlation"])


def nearest(model: SymmetricMF, target: np.ndarray, tenth: np.ndarray, names: pd.Series, shown: list[str]) -> Any:
    """List the products of highest g_i . g_j, with what was measured."""
    frame = model.recommend_frame(shown, N=5, filter_already_liked_items=False)
    frame = frame[frame["user"] != frame["item"]].groupby("user", sort=False).head(4)
    i, j = model.interactions.user_indices(list(frame["user"])), model.interactions.item_indices(list(frame["item"]))
    return pd.DataFrame(
        {
            "product": names.loc[frame["user"]].to_numpy(),
            "bought with": names.loc[frame["item"]].to_numpy(),
            "g_i . g_j": frame["score"].to_numpy(),
            "measured": target[i, j],
            "hidden": np.where(tenth[i, j] == 1, "yes", ""),
        }
    )


def markdown(table: pd.DataFrame, digits: int = 3) -> str:
    """Lay out a table, its index left out."""
    cells = table.map(lambda value: f"{value:.{digits}f}" if isinstance(value, float) else str(value))
    lines = [list(table.columns), ["---"] * table.shape[1], *cells.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def main(quick: bool = False) -> None:
    """Print the page."""
    n, sizes, hidden = (60, [2, 4], [1, 2]) if quick else (300, [8, 16, 32, 48], [1, 2, 3, 4, 5])
    target, expected, names, invoices = log_lift(n)
    tenth = random_tenths(n)
    low, median, high = np.quantile(expected[tenth >= 0], [0, 0.5, 1])
    print(INTRODUCTION.format(invoices=invoices, n=n, low=low, median=median, high=high))
    weights = {"weighted": expected / expected[tenth >= 0].mean(), "unweighted": np.ones((n, n))}

    table = choose(target, weights, tenth, [(size, strength) for size in sizes for strength in (1.0, 3.0, 10.0)])
    settings = {name: dict(zip(("factors", "regularization"), table[name].idxmin(), strict=True)) for name in weights}
    print(CHOICE)
    shown = pd.DataFrame(table.index.to_list(), columns=["factors", "regularization"])
    print(markdown(pd.concat([shown.astype(str), table.reset_index(drop=True)], axis=1)))

    if any(chosen["factors"] == max(sizes) for chosen in settings.values()):
        print("The largest number of factors that was tried is chosen; more may be better still.\n")

    print(COMPARISON.format(tenths=len(hidden), seed=SEED))
    results = compare(target, weights, tenth, settings, hidden)
    by_method = results.groupby("method", sort=False)
    cells = by_method.mean().map("{:.3f}".format) + " ± " + by_method.std().map("{:.3f}".format)
    print(markdown(cells.replace("nan ± nan", "-").reset_index()))
    _, effects, weighted, plain = by_method["weighted RMSE"].apply(np.array)
    of_effects, of_plain, lower = (
        (weighted / effects - 1).mean(),
        (weighted / plain - 1).mean(),
        (weighted < plain).sum(),
    )
    print(f"Weighted factors change the weighted RMSE of product effects by {of_effects:+.1%}; that of")
    print(f"unweighted factors by {of_plain:+.1%}, lower in {lower} of the tenths.")
    print(f"Even the rarest pair is expected on {low:.0f} invoices, which leaves little for weights to mend.\n")

    print("## Nearest products\n\nBy the weighted factors, with tenth 1 hidden.\n")
    model = fit(target, weights["weighted"] * (tenth >= 0) * (tenth != 1), names.index, **settings["weighted"])
    often = names.index[expected.diagonal().argsort()[::-1]]
    print(markdown(nearest(model, target, tenth, names, list(often[[0, 1, 2, n // 2, n - 1]])), 2))
    losses = model.start_losses
    print(f"The {losses.size} starts of this fit ended at objectives from {losses.min():.2f} to {losses.max():.2f}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Weighted symmetric factorization of product co-purchases.")
    parser.add_argument("--quick", action="store_true", help="few products and factors, in seconds")
    main(parser.parse_args().quick)
