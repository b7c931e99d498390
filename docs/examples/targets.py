# %% [markdown]
# # Which drug acts on which protein?
#
# Most pairs of a drug and a protein were never tested. A table of known interactions therefore has ones, which somebody
# found, and zeros, which mostly mean that nobody looked. Weighted factorization can say so: every pair has a
# *confidence*, how much the model is to believe it, and a confidence of 0 takes a pair out of the data altogether.
#
# This notebook hides a part of the table, asks the model for it, and looks at how sure the answer is. It needs
# matplotlib (`pip install '.[plot]'`). The full study beside it, `drug_target.md`, has four tables and more repeats.

# %%
import os
from pathlib import Path

import numpy as np
import pandas as pd

from implicit_wmf import WMF
from implicit_wmf.report import plot_objective, plot_spectrum

# %matplotlib inline

# %% [markdown]
# ## The table
#
# Yamanishi et al. (2008, Bioinformatics 24(13), i232) published four tables; the smallest is that of the nuclear
# receptors, `nr_admat_dgc.txt`. It is looked for in the folder `drug-target` of `$IMPLICIT_WMF_DATA`, or of
# `shared/data` above this place. Where it is not, a table of the same size is drawn instead, with families of drugs
# that act on families of targets, so that there is something to find. The first line printed says which one you see.


# %%
def draw_table(targets=26, drugs=54, families=5):
    """Draw zeros and ones: of the pairs within a family 35 % are ones, of the others 1 %."""
    generator = np.random.default_rng(0)
    family = np.subtract.outer(np.arange(targets) % families, np.arange(drugs) % families) == 0
    chance = np.where(family, 0.35, 0.01)
    names = [f"target {k}" for k in range(targets)], [f"drug {k}" for k in range(drugs)]
    return pd.DataFrame((generator.random(chance.shape) < chance).astype(float), *names)


if "IMPLICIT_WMF_DATA" in os.environ:
    folders = [Path(os.environ["IMPLICIT_WMF_DATA"])]
else:
    folders = [place / "shared" / "data" for place in Path.cwd().parents]
files = [path for folder in folders if (path := folder / "drug-target" / "nr_admat_dgc.txt").is_file()]
table = pd.read_csv(files[0], sep="\t", index_col=0) if files else draw_table()

truth = table.to_numpy(float)
alone = (truth.sum(axis=1)[:, None] == 1) | (truth.sum(axis=0) == 1)
print("nuclear receptors, as published" if files else "no file found: a table drawn at random, not measured")
print(f"{truth.shape[0]} targets x {truth.shape[1]} drugs")
print(f"{truth.sum():.0f} interactions, {truth.mean():.1%} of all pairs")
print(f"{alone[truth == 1].mean():.0%} of them are the only one of their drug or of their target")

# %% [markdown]
# The last line bounds what anybody can do with this table alone. Hide the only interaction of a drug, and nothing is
# left to tell that drug from any other. Published methods add the chemical structure of drugs and the sequences of
# proteins; here everything sees the table and no more.
#
# ## Preferences and confidences
#
# Instead of counts the model takes two tables: the *preference* P, what we would like it to say, and the *confidence*
# C, how much an error there costs. Known interactions get a confidence above 1, zeros get 1, hidden pairs get 0: then
# it does not matter what P holds there, which the assertion shows.

# %%
hidden = np.random.default_rng(1).random(truth.shape) < 0.1


def fit(preference, hidden, one, penalty):
    """Fit to what is not hidden, with confidence `one` in known interactions."""
    confidence = np.where(hidden, 0.0, np.where(preference == 1, one, 1.0))
    model = WMF(factors=16, regularization=penalty, iterations=15, num_threads=1, random_state=0)
    return model.fit(preference, confidence=confidence, progress=False)


def predict(preference, hidden, one, penalty):
    """Score all pairs, targets x drugs."""
    model = fit(preference, hidden, one, penalty)
    return model.user_factors @ model.item_factors.T


scores = predict(truth, hidden, one=10, penalty=10)
without = predict(np.where(hidden, 0, truth), hidden, one=10, penalty=10)
assert np.array_equal(scores, without)  # what is hidden has no influence, whatever is written there
print(f"{hidden.sum()} pairs hidden, {truth[hidden].sum():.0f} of them interactions")

# %% [markdown]
# ## A measure that suits rare ones
#
# The hidden pairs are ranked by their scores. The area under the precision-recall curve (AUPR) is the mean, over the
# hidden interactions, of the precision at the place where each is found. Guessing gives about the share of ones; 1 is
# perfect. It is short enough to write down, pairs with equal scores counting as one step, and to check by hand.


# %%
def area(labels, scores):
    """Area under the precision-recall curve: the sum of precision times step in recall, ties as one step."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # where a run of equal scores ends
    hits, places = np.cumsum(labels[order])[last], np.flatnonzero(last) + 1
    return float(np.sum(hits / places * np.diff(hits, prepend=0)) / hits[-1])


# one, zero, one: the first is found at precision 1, the second at 2/3; all equal: the share of ones
assert np.isclose(area(np.array([1.0, 0, 1]), np.array([3.0, 2, 1])), (1 + 2 / 3) / 2)
assert np.isclose(area(np.array([1.0, 0, 1, 0]), np.zeros(4)), 0.5)
print(f"AUPR of the hidden pairs: {area(truth[hidden], scores[hidden]):.2f}, guessing: {truth[hidden].mean():.2f}")

# %% [markdown]
# ## Every pair hidden once
#
# One draw of hidden pairs says little when so few of them are interactions. So the pairs are dealt into five parts, the
# ones and the zeros separately, and each part is hidden once; and all of that three times, dealt anew. The confidence
# and the penalty are chosen in each part from a few, by hiding a fifth of what is still visible: the pairs that are
# reported take no part in the choice.
#
# Three ways to score: the weighted model; the same with confidence 1 for ones as well; and, without any model, counting
# how many known interactions the target and the drug have.


# %%
def deal(labels, parts, seed):
    """Deal positions into parts, at random, ones and zeros each as evenly as can be: (positions,) int."""
    generator = np.random.default_rng(seed)
    part = np.empty(labels.size, dtype=int)
    for value in (0, 1):
        places = np.flatnonzero(labels == value)
        part[generator.permutation(places)] = np.arange(places.size) % parts
    return part


SETTINGS = {
    "weighted": [(3, 1), (3, 3), (10, 3), (10, 10), (30, 10), (30, 30)],
    "equal weights": [(1, 0.1), (1, 0.3), (1, 1), (1, 3), (1, 10)],
}


def choose(hidden, settings, seed):
    """Return the settings that find best a fifth of what is not hidden."""
    visible = np.flatnonzero(~hidden)
    inner = visible[deal(truth.flat[visible], 5, seed) == 0]
    both = hidden.copy()
    both.flat[inner] = True
    return max(settings, key=lambda setting: area(truth.flat[inner], predict(truth, both, *setting).flat[inner]))


def count(hidden):
    """Score by the known interactions of the target and of the drug, each relative to the average."""
    known = np.where(hidden, 0, truth)
    of_targets, of_drugs = known.sum(axis=1), known.sum(axis=0)
    return np.add.outer(of_targets / of_targets.mean(), of_drugs / of_drugs.mean())


REPEATS, PARTS = 3, 5
results = []
for repeat in range(REPEATS):
    parts = deal(truth.ravel(), PARTS, repeat).reshape(truth.shape)
    for number in range(PARTS):
        held = parts == number
        scores = {way: predict(truth, held, *choose(held, some, repeat)) for way, some in SETTINGS.items()}
        scores["counting"] = count(held)
        for way, values in scores.items():
            results.append((repeat, number, way, area(truth[held], values[held])))

results = pd.DataFrame(results, columns=["repeat", "part", "way", "AUPR"])
assert (results.groupby(["repeat", "way"]).size() == PARTS).all()  # every pair was hidden once a repeat
by_part = results.pivot(index=["repeat", "part"], columns="way", values="AUPR")
print(by_part.agg(["mean", "min", "max"]).round(3).to_string())

# %% [markdown]
# Look at the smallest and the largest before the mean: parts of the same table differ a great deal.
#
# ## Do weights help?
#
# The two models met the same parts, so their difference is looked at part by part. The spread over the repeats says how
# far to trust its mean; with three repeats that is a rough guide and no test.

# %%
gain = by_part["weighted"] - by_part["equal weights"]
of_repeats = gain.groupby("repeat").mean()
mean, spread = of_repeats.mean(), of_repeats.std(ddof=1)
print(f"weighted less equal weights: {mean:+.3f}, standard deviation over the repeats {spread:.3f}")
print(f"weights were ahead in {(gain > 0).sum()} of {len(gain)} parts, behind in {(gain < 0).sum()}")
print("larger than twice its spread" if abs(mean) > 2 * spread else "not distinguishable from no difference")
means = by_part.mean()
print(f"guessing would give {truth.mean():.3f}, counting gives {means['counting']:.3f}")

# %% [markdown]
# Whatever the lines above say here, the full study looked at four tables, with ten parts and five repeats. With hidden
# pairs taken out by a confidence of 0, as above, weights made a difference of more than two standard deviations on one
# of the four. With hidden pairs left in as zeros, as undiscovered interactions are in practice, they helped on three.
#
# ## What a fit looks like
#
# The objective falls at every epoch, at first fast. The spectrum shows how unevenly the 16 factors are used.

# %%
nothing = np.zeros(truth.shape, dtype=bool)
model = fit(truth, nothing, one=10, penalty=10)
losses = [record.loss for record in model.history]
assert all(later <= earlier * (1 + 1e-6) for earlier, later in zip(losses, losses[1:], strict=False))
plot_objective(model.history).get_figure()

# %%
plot_spectrum(model).get_figure()

# %% [markdown]
# ## What to test next
#
# Fitted to all that is known, the pairs with the highest scores among the zeros are the model's suggestions. They are
# no discoveries: nothing in this table can confirm them.

# %%
scores = pd.DataFrame(model.user_factors @ model.item_factors.T, table.index, table.columns)
unknown = scores.where(truth == 0).stack().sort_values(ascending=False)
for (target, drug), score in unknown.head(8).items():
    print(f"{score:.2f}  {target} with {drug}")
assert all(
    truth[table.index.get_loc(target), table.columns.get_loc(drug)] == 0 for target, drug in unknown.head(8).index
)

# %% [markdown]
# The model beats counting and guessing on this table, which is the last thing to check.

# %%
assert means["weighted"] > means["counting"]
assert means["weighted"] > 2 * truth.mean()
