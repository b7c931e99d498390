"""Predict drug-target interactions with weights, and without: prints a page of Markdown.

python docs/examples/drug_target.py [--quick] > docs/examples/drug_target.md
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from implicit_wmf import WMF

try:
    from sklearn.metrics import average_precision_score, roc_auc_score
    from sklearn.model_selection import StratifiedKFold, train_test_split
except ImportError:
    sys.exit("this example needs scikit-learn: pip install '.[test]'")

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("IMPLICIT_WMF_DATA", SHARED)) / "drug-target"
SOURCE = "the *_admat_dgc.txt files of Yamanishi et al. 2008, Bioinformatics 24(13), i232"
DATASETS = {"nr": "nuclear receptors", "gpcr": "GPCR", "ic": "ion channels", "e": "enzymes"}
FACTORS, EPOCHS = 64, 10


class Method(NamedTuple):
    """A factorization and the settings that it may choose from."""

    name: str
    held_out: str
    hidden: float  # confidence of the held-out pairs, whose preference is 0
    settings: tuple[tuple[float, float], ...]  # confidence of a known interaction (of a known zero: 1), and the penalty


WEIGHTED = ((3, 1), (3, 3), (10, 3), (10, 10), (30, 10), (30, 30))
UNWEIGHTED = ((1, 0.1), (1, 0.3), (1, 1), (1, 3), (1, 10), (1, 30))
METHODS = [
    Method("weighted", "removed", 0, WEIGHTED),
    Method("unweighted", "removed", 0, UNWEIGHTED),
    Method("weighted", "as zeros", 1, WEIGHTED),
    Method("unweighted", "as zeros", 1, UNWEIGHTED),
]
PAIRED = ((0, 1), (2, 3))  # weighted and unweighted, the held-out pairs treated alike


class FoldResult(NamedTuple):
    """What a fold gave: AUPR and AUC of each method, then of counting, and the setting each method chose."""

    figures: list[tuple[float, float]]
    chosen: list[tuple[float, float]]


def read(name: str) -> np.ndarray:
    """Read a matrix of zeros and ones, targets x drugs."""
    path = DATA / f"{name}_admat_dgc.txt"
    if not path.is_file():
        sys.exit(f"no {path}: set IMPLICIT_WMF_DATA to the folder whose folder drug-target has {SOURCE}")
    return pd.read_csv(path, sep="\t", index_col=0).to_numpy(float)


def predict(truth: np.ndarray, hidden: np.ndarray, method: Method, one: float, penalty: float) -> np.ndarray:
    """Fit to the pairs that are not hidden and score all."""
    preference = np.where(hidden, 0, truth)
    weights = np.where(hidden, method.hidden, np.where(truth == 1, one, 1))
    stored = weights != 1  # all others have the background's confidence: unobserved_weight=1, the default
    confidence = csr_array((weights[stored], np.nonzero(stored)), shape=truth.shape)
    model = WMF(factors=FACTORS, regularization=penalty, iterations=EPOCHS, num_threads=1, random_state=0)
    model.fit(preference, confidence=confidence, track_loss=False, progress=False)
    return model.user_factors @ model.item_factors.T


def count(truth: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Score by the known interactions of the target and of the drug, each relative to the average."""
    known = np.where(hidden, 0, truth)
    targets, drugs = known.sum(axis=1), known.sum(axis=0)
    return np.add.outer(targets / targets.mean(), drugs / drugs.mean())


def choose(truth: np.ndarray, hidden: np.ndarray, method: Method, seed: int) -> tuple[float, float]:
    """Return the setting of the best AUPR on a fifth of the training pairs, hidden as well."""
    known = np.flatnonzero(~hidden)
    _, inner = train_test_split(known, test_size=0.2, stratify=truth.flat[known], random_state=seed)
    hidden = hidden.copy()
    hidden.flat[inner] = True

    def quality(setting: tuple[float, float]) -> float:
        return average_precision_score(truth.flat[inner], predict(truth, hidden, method, *setting).flat[inner])

    return max(method.settings, key=quality)


def run_fold(task: tuple[np.ndarray, np.ndarray, int]) -> FoldResult:
    """Choose settings on the training pairs of a fold, fit to all of them, score the held-out pairs."""
    truth, held, seed = task
    chosen = [choose(truth, held, method, seed) for method in METHODS]
    scores = [predict(truth, held, method, *setting) for method, setting in zip(METHODS, chosen, strict=True)]
    scores.append(count(truth, held))
    labels = truth[held]
    figures = [(average_precision_score(labels, score[held]), roc_auc_score(labels, score[held])) for score in scores]
    return FoldResult(figures, chosen)


def folds(truth: np.ndarray, repeats: int, splits: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Yield the pairs that each fold holds out; every fold has its share of the ones."""
    for repeat in range(repeats):
        for _, test in StratifiedKFold(splits, shuffle=True, random_state=repeat).split(truth.ravel(), truth.ravel()):
            held = np.zeros(truth.shape, dtype=bool)
            held.flat[test] = True
            yield truth, held, repeat


def table(header: str, rows: list[list[str]]) -> str:
    """Lay out a Markdown table."""
    columns = header.split(" | ")
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, ["---"] * len(columns), *rows])


def spread(values: np.ndarray, sign: str = "") -> str:
    """Write mean and standard deviation over the repeats (first axis) of means over the folds (second axis)."""
    means = values.mean(axis=1)
    return f"{means.mean():{sign}.4f} ± {means.std(ddof=1):.4f}"


def describe(title: str, truth: np.ndarray) -> list[str]:
    """Describe a matrix; the last number is the share of the ones that are the only one of their drug or target."""
    alone = (truth.sum(axis=1)[:, None] == 1) | (truth.sum(axis=0) == 1)
    size = f"{truth.shape[0]} x {truth.shape[1]}"
    return [title, size, f"{truth.sum():.0f}", f"{truth.mean():.1%}", f"{alone[truth == 1].mean():.0%}"]


def compare(figures: np.ndarray) -> np.ndarray:
    """Subtract unweighted from weighted: (repeats, folds, 2 treatments of held-out pairs, 2 metrics)."""
    return np.stack([figures[:, :, weighted] - figures[:, :, unweighted] for weighted, unweighted in PAIRED], axis=2)


def verdict(gains: list[np.ndarray]) -> str:
    """Count the data sets where weights gained AUPR by more than its deviation, and those where they lost it."""
    lines = []
    for k, (weighted, _) in enumerate(PAIRED):
        means = np.array([gain[:, :, k, 0].mean(axis=1) for gain in gains])  # data sets x repeats
        sure = np.sign(means.mean(axis=1)) * (abs(means.mean(axis=1)) > 2 * means.std(axis=1, ddof=1))
        lines.append(
            f"* Held-out pairs {METHODS[weighted].held_out}: of {len(gains)} matrices, weights raise AUPR by more than "
            f"two standard deviations on {(sure > 0).sum()}, and lower it by more than that on {(sure < 0).sum()}."
        )
    return "\n".join(lines)


def main(quick: bool = False) -> None:
    """Run the cross-validations and print the page."""
    names, repeats, splits = (["nr"], 2, 3) if quick else (list(DATASETS), 5, 10)
    labels = [(method.name, method.held_out) for method in METHODS]
    data, quality, gains, gained, settings = [], [], [], [], []
    for name in names:
        truth, title = read(name), DATASETS[name]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # many small fits: one thread each, side by side
            results = list(pool.map(run_fold, folds(truth, repeats, splits)))
        figures = np.array([result.figures for result in results]).reshape(repeats, splits, -1, 2)
        data.append(describe(title, truth))
        for k, label in enumerate([*labels, ("counting", "")]):
            quality.append([title, *label, spread(figures[:, :, k, 0]), spread(figures[:, :, k, 1])])
        gains.append(compare(figures))
        for k, (weighted, _) in enumerate(PAIRED):
            gain = gains[-1][:, :, k]
            ahead = f"{(gain[..., 0] > 0).sum()} of {len(results)}"
            gained.append([title, labels[weighted][1], spread(gain[..., 0], "+"), spread(gain[..., 1], "+"), ahead])
        for k, label in enumerate(labels):
            ((one, penalty), times), *_ = Counter(result.chosen[k] for result in results).most_common(1)
            settings.append([title, *label, f"{one:g}", f"{penalty:g}", f"{times} of {len(results)}"])
    page = PAGE.format(
        data=table("data | targets x drugs | ones | share | alone", data),
        quality=table("data | factorization | held-out pairs | AUPR | AUC", quality),
        gained=table("data | held-out pairs | AUPR gained | AUC gained | folds with higher AUPR", gained),
        verdict=verdict(gains),
        settings=table("data | factorization | held-out pairs | weight of a one | penalty | chosen in", settings),
        runs=f"{splits} folds, {repeats} times",
        candidates=len(WEIGHTED),
        factors=FACTORS,
        epochs=EPOCHS,
        pairs=", ".join(f"({one:g}, {penalty:g})" for one, penalty in WEIGHTED),
        penalties=", ".join(f"{penalty:g}" for _, penalty in UNWEIGHTED),
    )
    print(page, end="")


PAGE = """\
# Drug-target interactions, with weights and without

Which drug acts on which protein? Yamanishi et al. (2008, Bioinformatics 24(13), i232) published four matrices of known
interactions, targets x drugs. A one is an interaction that somebody found; a zero is mostly a pair that nobody tested.
Weighted factorization can say so: `fit(preference, confidence=confidence)` takes a confidence for every pair, larger
for a one, 0 for a pair that is to have no say at all. (A dense array of confidences will do. The script stores only
those that are not 1, the background's, which is the same problem in fewer cells.) Does that help? This page, printed by
`drug_target.py`, compares it with a factorization in which all known pairs weigh the same.

{data}

*Alone* is the share of ones that are the only one of their drug or of their target. Held out, such a pair leaves a row
of zeros, whose factors are 0, and so are its scores. Published methods for these data add similarities (chemical
structure of drugs, sequences of targets) and can do better there; everything here sees the interaction matrix alone.

## How it was measured

Cross-validation over pairs: {runs}, each fold with its share of the ones. Known zeros have
confidence 1. Held-out pairs are *removed* (confidence 0), or enter *as zeros* (preference 0, confidence 1), as every
undiscovered interaction does in practice; unweighted, that is a plain regularized factorization of zeros and ones.
A fold's held-out pairs are ranked by the product of their factors. AUPR is the average precision (sum of precision
times step in recall, ties as one step), AUC the area under the ROC curve (ties count half).

* *weighted*: confidence of a one and penalty out of {pairs}
* *unweighted*: confidence 1, penalty out of {penalties}
* *counting*: no factors; the known interactions of the target and of the drug, each relative to the average, added

Each fold chooses anew among the {candidates} settings of a method, by AUPR on a fifth of its training pairs, hidden
as well; the pairs that it reports take no part. What was not chosen this way was set by hand in trials on the same
matrices, these folds among them: {factors} factors, {epochs} epochs, the same penalty for every row, and which settings
are candidates. Seeds: the number of the repeat (from 0) for the splits, 0 for the factors. Times were not measured.

## Results

Mean over the folds of a repeat; of these, mean ± standard deviation over the repeats.

{quality}

Weighted minus unweighted, in the same folds:

{gained}

{verdict}

The settings chosen most often:

{settings}

Weight and penalty work against each other: with confidence c for a one and penalty lambda, a row's factors shrink by
what lambda is in relation to c times its ones. A comparison at one penalty for both would measure the shrinkage and
not the weights.
"""

if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
