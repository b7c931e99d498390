# %% [markdown]
# # Beside other libraries
#
# The same data, the same objective, the same number of epochs: do other libraries come to the same lists, and how long
# do they take? Here are `implicit` and `irspack`, which can express the objective below, and two baselines without
# factors: what is most popular, and neighbours of products (item-kNN).
#
# It needs matplotlib (`pip install '.[plot]'`), and for the peers `pip install implicit==0.7.3 irspack==0.5.2`; a peer
# that is not installed is left out, and a line says so. These are a few fits of one small shop on one machine. The
# comparisons with more data sets, peers and sizes, each fit in a process of its own, are in `bench/RESULTS.md` and
# `bench/RESULTS-speed.md`.

# %%
import os
import time
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from implicit_wmf import WMF, ItemKNN, MostPopular
from implicit_wmf.datasets import load_online_retail
from implicit_wmf.evaluation import compare, split_by_time
from implicit_wmf.report import plot_metric

# %matplotlib inline

# %% [markdown]
# ## The data and the objective
#
# A gift shop's purchases, the last weeks held out. A customer and a product have one number r, the logarithm of one
# plus the pieces. It is taken before anybody sees the data, so that no library needs such a weighting of its own.
#
# With a customer's factors w and a product's factors h, everybody minimises the sum over all pairs of
#
# * (1 + r) (1 - w.h)^2 where something was bought, and (w.h)^2 where nothing was,
#
# plus 40 times the squares of all factors.

# %%
purchases = load_online_retail()
columns = {"user": "customer", "item": "product", "value": "quantity"}
past, test = split_by_time(purchases, **columns, timestamp="day", cut="2011-11-01")
counts = past.matrix.copy()
counts.data = np.log1p(counts.data)

FACTORS, EPOCHS, PENALTY = 32, 15, 40.0
THREADS = min(2, os.cpu_count() or 1)
print(f"{past}, {THREADS} threads, {FACTORS} factors, {EPOCHS} epochs")


# %% [markdown]
# The same written down, for any factors of anybody: over all pairs, a thousand customers at a time.


# %%
def objective(users, items):
    """Compute the sum over all pairs and the penalties, literally, from factors (rows, d)."""
    total = PENALTY * (np.sum(users**2, dtype=float) + np.sum(items**2, dtype=float))
    for start in range(0, len(users), 1000):
        r = counts[start : start + 1000].toarray().astype(np.float32)
        errors = (r > 0) - users[start : start + 1000] @ items.T
        total += np.sum((1 + r) * errors**2, dtype=float)
    return total


# %% [markdown]
# ## In the words of each library
#
# * `implicit_wmf`: with `weighting="linear"`, its default, a stored r has the confidence 1 + r.
# * `implicit`: what is stored is the whole confidence of the cell, so it is given 1 + r.
# * `irspack`: with the loss `ORIGINAL` what is stored is added to the background `alpha0`, so it is given r and 1. Its
#   penalty is scaled by the row's weight unless `nu` is 0.
#
# Each solves rows as it does by default: conjugate gradients of three steps in `implicit` and `irspack`, whichever way
# is cheaper for a row here. The factors start at random, each library in its own way.


# %%
def fit_ours(seed, epochs=EPOCHS):
    """Fit this package's model; gives back the factors of customers and products, as the others do."""
    model = WMF(FACTORS, regularization=PENALTY, iterations=epochs, num_threads=THREADS, random_state=seed)
    model.fit(counts, track_loss=False, progress=False)
    return model.user_factors, model.item_factors


def fit_implicit(seed, epochs=EPOCHS):
    """Fit implicit's, to whole confidences."""
    from implicit.cpu.als import AlternatingLeastSquares

    confidence = csr_matrix(counts, dtype=np.float32, copy=True)
    confidence.data += 1
    model = AlternatingLeastSquares(
        FACTORS, regularization=PENALTY, alpha=1.0, iterations=epochs, num_threads=THREADS, random_state=seed
    )
    model.fit(confidence, show_progress=False)
    return model.user_factors, model.item_factors


def fit_irspack(seed, epochs=EPOCHS):
    """Fit irspack's, to weights above a background of 1."""
    from irspack.recommenders.ials import IALSTrainer, LossType, SolverType

    weights = csr_matrix(counts, dtype=np.float32)
    trainer = IALSTrainer(
        weights, FACTORS, alpha0=1.0, reg=PENALTY, nu=0.0, init_std=0.1,
        solver_type=SolverType.CG, max_cg_steps=3, ialspp_subspace_dimension=64, loss_type=LossType.ORIGINAL,
        random_seed=seed, n_threads=THREADS, prediction_time_max_cg_steps=5, prediction_time_ialspp_iteration=7,
    )  # fmt: skip
    for _ in range(epochs):
        trainer.run_epoch()
    return trainer.core_trainer.user, trainer.core_trainer.item


contestants = {"implicit_wmf": fit_ours}
for name, fit in {"implicit": fit_implicit, "irspack": fit_irspack}.items():
    try:
        print(f"{name} {version(name)}")
        contestants[name] = fit
    except PackageNotFoundError:
        print(f"{name} is not installed and left out")

# %% [markdown]
# ## Lists from anybody's factors
#
# `compare` takes anything that has `recommend`. So every library's factors are ranked by the same few lines, and no
# difference between the lists comes from how they were made.


# %%
class Factors:
    """Rank all products that a customer does not have, by the product of factors."""

    def __init__(self, users, items):
        self.users, self.items = users, items

    def recommend(self, users, N=10, filter_already_liked_items=True, **others):
        """Return ids and scores, (users, N) each, the best first."""
        scores = self.users[users] @ self.items.T
        if filter_already_liked_items:
            scores[counts[users].nonzero()] = -np.inf
        best = np.argpartition(-scores, N, axis=1)[:, :N]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        ids = np.take_along_axis(best, order, axis=1)
        return ids, np.take_along_axis(scores, ids, axis=1)


# %% [markdown]
# ## Three rounds
#
# In each round everybody fits once, in turns, so that a busy moment of the machine meets them all; each round has a
# seed of its own. One epoch of each before the first round is not counted: it loads what is loaded once. Seconds are of
# the whole call, with the conversion of the data. BLAS has one thread, as `implicit` asks for, since its threads would
# compete with those of the libraries.

# %%
ROUNDS = 3
seconds, factors = {name: [] for name in contestants}, {}
with threadpool_limits(1, "blas"):
    for fit in contestants.values():
        fit(0, epochs=1)
    for seed in range(ROUNDS):
        for name, fit in contestants.items():
            began = time.perf_counter()
            factors[name, seed] = fit(seed)
            seconds[name].append(time.perf_counter() - began)

rows = []
for (name, seed), (users, items) in factors.items():
    table = compare({name: Factors(users, items)}, past, test, metrics="ndcg@20", bootstrap=0)
    rows.append((name, seed, objective(users, items), table["value"].item()))
rounds = pd.DataFrame(rows, columns=["library", "seed", "objective", "ndcg@20"])
print(rounds.round({"objective": 0, "ndcg@20": 4}).to_string(index=False))

# %% [markdown]
# Were they given the same problem? If a translation above were wrong, that library would end at another objective.
# Other seeds end a little apart, since there are many minima; everybody's should lie close together.

# %%
spread = rounds["objective"].max() / rounds["objective"].min() - 1
print(f"the largest objective lies {spread:.2%} above the smallest")
assert spread < 0.02

# %% [markdown]
# ## Seconds
#
# The smallest and the largest of the three rounds tell how far to trust the median. Which library is ahead depends on
# the machine, the number of factors and the data: read `bench/RESULTS-speed.md` before drawing conclusions.

# %%
times = pd.DataFrame(seconds).agg(["median", "min", "max"]).T
times["to implicit_wmf"] = times["median"] / times.loc["implicit_wmf", "median"]
print(times.round(2).to_string())

# %% [markdown]
# ## Quality
#
# The lists of the first round, beside the two baselines. `low` and `high` are a bootstrap interval over customers;
# `difference` compares with the first line, customer by customer.

# %%
models = {name: Factors(*factors[name, 0]) for name in contestants}
models |= {
    "item-kNN": ItemKNN(neighbours=100, weighting="bm25").fit(past),
    "most popular": MostPopular().fit(past),
}
metrics = ["recall@5", "recall@10", "recall@20", "recall@50", "ndcg@20"]
quality = compare(models, past, test, metrics=metrics)
shown = ["model", "value", "low", "high", "difference", "difference_low", "difference_high"]
ndcg = quality[quality["metric"] == "ndcg@20"]
print(ndcg[shown].round(4).to_string(index=False))

# %%
plot_metric(quality, "recall").get_figure()

# %% [markdown]
# Libraries that minimise the same objective should give the same quality, whatever their names: below, their
# differences are set beside what another seed changes. The baselines have another idea of what to recommend, and the
# interval of their difference tells whether it is worse here.

# %%
of_library = rounds.groupby("library")["ndcg@20"].agg(["mean", "min", "max"])
print(of_library.round(4).to_string())
best = of_library["mean"].max() - of_library["mean"].min()
print(
    f"libraries differ by {best:.4f}, seeds of one library by up to {(of_library['max'] - of_library['min']).max():.4f}"
)
behind = ndcg.set_index("model").loc[["item-kNN", "most popular"], "difference_high"]
assert (behind < 0).all()  # both baselines are worse here
assert best < 0.1 * of_library["mean"].max()
