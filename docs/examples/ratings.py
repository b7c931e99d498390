"""Explicit ratings: RMSE on MovieLens 100K over five folds. Prints a Markdown page.

python docs/examples/ratings.py [--quick] > docs/examples/ratings.md
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from implicit_wmf import Interactions
from implicit_wmf.factorizers import ObservedMF

DATA = Path(os.environ.get("IMPLICIT_WMF_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SEED = 0
FOLDS = 5

Settings = dict[str, Any]


def grid(exponent: float, strengths: Sequence[float], bias_strengths: Sequence[float], **others: Any) -> list[Settings]:
    """Every pair of the two penalties."""
    names = ("regularization", "bias_regularization")
    pairs = itertools.product(strengths, bias_strengths)
    return [dict(zip(names, pair, strict=True)) | {"regularization_exponent": exponent} | others for pair in pairs]


# What is compared, each with the settings to choose from.
MODELS = {
    "mean and biases": grid(0.0, [1e9], [1.0, 2.0, 4.0, 8.0]),
    "mean and factors": grid(0.5, [0.7, 1.0, 1.3, 1.6], [1.0], user_bias=False, item_bias=False),
    "all, plain penalties": grid(0.0, [9.0, 11.0, 13.0, 15.0], [2.0, 4.0]),
    "all, scaled by the root": grid(0.5, [1.0, 1.2, 1.4, 1.6], [0.3, 0.5]),
    "all, scaled fully": grid(1.0, [0.11, 0.13, 0.15, 0.17], [0.05, 0.08]),
}


def read_ratings() -> pd.DataFrame:
    """Columns user, item, rating."""
    path = DATA / "ml-100k" / "u.data"
    if not path.is_file():
        raise SystemExit(f"{path} is missing: it is in ml-100k.zip of https://grouplens.org/datasets/movielens/100k/")
    return pd.read_csv(path, sep="\t", names=["user", "item", "rating"], usecols=[0, 1, 2])


def fit(ratings: pd.DataFrame, train: np.ndarray, settings: Settings) -> ObservedMF:
    """Fit to some lines of the ratings; all users and films have a place, rated there or not."""
    data = Interactions.from_frame(
        ratings[train], user="user", item="item", value="rating",
        users=ratings["user"].unique(), items=ratings["item"].unique(),
    )  # fmt: skip
    return ObservedMF(**settings, random_state=SEED).fit(data, track_loss=False, progress=False)


def rmse(model: ObservedMF, test: pd.DataFrame) -> float:
    """Root mean squared error of predictions clipped to the scale of 1 to 5 stars."""
    users = model.interactions.user_indices(test["user"])
    items = model.interactions.item_indices(test["item"])
    predicted = np.clip(model.predict(users, items), 1, 5)
    return float(np.sqrt(np.mean((predicted - test["rating"]) ** 2)))


def choose(ratings: pd.DataFrame, fold: np.ndarray, candidates: list[Settings]) -> tuple[Settings, float]:
    """Choose settings on a fifth of the training ratings of fold 1; returns the RMSE there too."""
    known = np.flatnonzero(fold != 0)
    held_out = np.random.default_rng(SEED + 1).random(known.size) < 0.2
    validation = ratings.iloc[known[held_out]]
    train = np.isin(np.arange(len(ratings)), known[~held_out])
    errors = [rmse(fit(ratings, train, settings), validation) for settings in candidates]
    best = int(np.argmin(errors))
    return candidates[best], errors[best]


def row(*cells: object) -> str:
    """Make a line of a Markdown table."""
    return f"| {' | '.join(f'{cell:.4f}' if isinstance(cell, float) else str(cell) for cell in cells)} |"


def main(quick: bool = False) -> None:
    """Choose, fit, evaluate and print."""
    ratings = read_ratings()
    size = {"factors": 8, "iterations": 3} if quick else {"factors": 100, "iterations": 20}
    fold = np.random.default_rng(SEED).permutation(len(ratings)) % FOLDS
    stars = ratings["rating"]
    errors = [float(np.sqrt(np.mean((stars[fold == k] - stars[fold != k].mean()) ** 2))) for k in range(FOLDS)]
    chosen, results = [], [("mean rating alone", errors)]
    for name, candidates in MODELS.items():
        full = [size | settings for settings in (candidates[:1] if quick else candidates)]
        settings, error = choose(ratings, fold, full)
        words = ", ".join(f"`{key}={value}`" for key, value in settings.items() if key not in size)
        chosen.append((name, words, len(full), error))
        results.append((name, [rmse(fit(ratings, fold != k, settings), ratings[fold == k]) for k in range(FOLDS)]))
    print_page(ratings, size, chosen, results)


def print_page(
    ratings: pd.DataFrame, size: Settings, chosen: list[tuple[Any, ...]], results: list[tuple[str, list[float]]]
) -> None:
    """Print the text around the two tables."""
    print(f"""# Explicit ratings: MovieLens 100K

*Printed by [ratings.py](ratings.py); every number was computed in that run. Times were not measured.*

The data are {len(ratings):,} ratings of 1 to 5 stars, by {ratings["user"].nunique():,} users of \
{ratings["item"].nunique():,} films. A rating says how
much somebody liked a film, and a missing one says nothing, so `ObservedMF` fits the rated cells only: by the mean, a
bias of each user and each film, and factors.

The ratings are split at random into {FOLDS} folds (seed {SEED}). Each fold is predicted by a model fitted to the
others, and predictions are clipped to 1 to 5. A film without ratings in the others is predicted from the mean and the
user's bias.

## Settings

All models have {size["factors"]} factors, {size["iterations"]} iterations, and starts drawn with seed {SEED}. Their \
penalties were chosen once, on a random fifth
of the training ratings of fold 1, by models fitted to the rest of those. No rating of fold 1 had a part in it; ratings
of the other folds had, so where in doubt, trust the column of fold 1. (The lists of settings to choose from had been
narrowed by hand on another random split.) Penalties are plain, or
scaled by a row's number of ratings or its root (`regularization_exponent` 0, 1, 0.5). For biases alone a huge penalty
holds the factors at 0.
""")
    print(row("model", "chosen", "settings tried", "RMSE on that fifth"), row(*["---"] * 4), sep="\n")
    print(*(row(*line) for line in chosen), sep="\n")
    print("\n## RMSE on the test ratings\n")
    folds = [f"fold {k}" for k in range(1, FOLDS + 1)]
    print(row("model", *folds, "mean", "standard deviation"), row(*["---"] * (FOLDS + 3)), sep="\n")
    for name, errors in results:
        print(row(name, *errors, float(np.mean(errors)), float(np.std(errors, ddof=1))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="RMSE on MovieLens 100K over five folds.")
    parser.add_argument("--quick", action="store_true", help="small models, to see that it runs")
    main(parser.parse_args().quick)
