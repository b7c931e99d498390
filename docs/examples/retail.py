# %% [markdown]
# # A shop, from its purchases to its lists
#
# A gift shop knows who bought what. Which products should it show to whom? This notebook goes the whole way on two
# years of real purchases that ship with the package: look at the data, hold out the last weeks, fit, tune a little,
# compare with simple rules, look at lists with their reasons, serve a new customer, and leave behind what a nightly job
# writes.
#
# It needs the extras `plot`, `tune` and `parquet`: `pip install '.[plot,tune,parquet]'`. Everything is written to a
# temporary folder.

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from implicit_wmf import WMF, Interactions, ItemKNN, MostPopular
from implicit_wmf.datasets import load_online_retail
from implicit_wmf.evaluation import compare, split_by_time
from implicit_wmf.report import (
    plot_exposure,
    plot_item_map,
    plot_metric,
    plot_popularity,
    plot_validation,
    write_report,
)
from implicit_wmf.tuning import tune

# %matplotlib inline

# %% [markdown]
# ## Look at the data
#
# One line is one product on one invoice. A customer who bought a product on three days has three lines; what the model
# sees is one number a customer and product, the sum of the pieces.

# %%
purchases = load_online_retail()
columns = {"user": "customer", "item": "product", "value": "quantity"}
names = purchases.drop_duplicates("product").set_index("product")["name"]
data = Interactions.from_frame(purchases, **columns)

print(purchases[["customer", "product", "name", "quantity", "day"]].head(3).to_string(index=False))
print(f"\n{len(purchases):,} lines from {purchases['day'].min():%Y-%m-%d} to {purchases['day'].max():%Y-%m-%d}")
print(data)
print(f"{data.nnz / data.shape[0] / data.shape[1]:.1%} of all pairs of a customer and a product were bought")

# %% [markdown]
# Two things are very uneven. First the pieces: most sums are small and a few are enormous, because wholesalers buy here
# too. Weights that grow in proportion to the pieces would let those few decide everything, which is a reason to try
# their logarithm.

# %%
pieces = pd.Series(data.matrix.data)
print(pieces.quantile([0.25, 0.5, 0.75, 0.99, 1]).rename("pieces of a pair").astype(int).to_string())
assert pieces.quantile(0.99) > 10 * pieces.median()

# %% [markdown]
# Second the products: some sell to everybody. A list of those is right surprisingly often, so it is the first thing
# that a model must beat.

# %%
buyers = np.diff(data.matrix.tocsc().indptr)
top = np.sort(buyers)[::-1][: len(buyers) // 100].sum() / buyers.sum()
print(f"half of the products have at most {np.median(buyers):.0f} buyers, the most popular one has {buyers.max():,}")
print(f"the top 1 % of the products make {top:.0%} of all pairs")
plot_popularity(data).get_figure()

# %% [markdown]
# ## Hold out the last weeks
#
# The test must be like the use: learn from the past, be asked about the future. The weeks from 1 November on are kept
# for the last figure and looked at once. The October before them decides about settings.

# %%
past, test = split_by_time(purchases, **columns, timestamp="day", cut="2011-11-01")
earlier = purchases[purchases["day"] < "2011-11-01"]
train, validation = split_by_time(earlier, **columns, timestamp="day", cut="2011-10-01")
for what, part in {"train": train, "October": validation, "past": past, "from November": test}.items():
    print(f"{what:<14} {part.nnz:>8,} pairs")
assert past.shape == test.shape
assert train.shape == validation.shape

# %% [markdown]
# ## A first fit
#
# The fit is asked after every epoch how well it predicts October, by `ndcg@20`: a number from 0 to 1 that is higher the
# more of what somebody then bought is in their list of 20, and the nearer to the top. When three epochs in a row bring
# nothing better the fit ends, and the model has the factors of its best epoch. Once with the defaults, whose weights
# grow in proportion to the pieces, and once with their logarithm and a penalty to match.

# %%
proportional = WMF(factors=32, random_state=0)
logarithmic = WMF(factors=32, weighting="log", regularization=40, random_state=0)
for model in (proportional, logarithmic):
    model.fit(train, validation=validation, metric="ndcg@20", patience=3, progress=False)
    best = model.history[model.best_epoch - 1]
    print(f"{model.config.weighting:<7} best epoch {model.best_epoch:>2}: ndcg@20 {best.validation['ndcg@20']:.4f}")

plot_validation(logarithmic.history).get_figure()

# %% [markdown]
# ## Tune a little
#
# `tune` searches the penalty, its exponent, the weight of what was not bought, and the weighting. Trial 0 is what it
# was given: the logarithm from above. Eight trials are few; forty (half a minute) are a better search.

# %%
found = tune(train, validation, trials=8, metric="ndcg@20", config=logarithmic.config, random_state=0, progress=False)
shown = ["trial", "regularization", "regularization_exponent", "unobserved_weight", "weighting", "epochs", "value"]
print(found.trials[shown].round(4).to_string(index=False))
print(f"ndcg@20 in October: {found.default_value:.4f} as given, {found.value:.4f} at best")
assert found.value >= found.default_value  # trial 0 is among them

# %% [markdown]
# ## Is it good?
#
# Now everything before November is known, and November is asked for. Beside the model stand two rules of thumb: what
# sells most, and products often bought by the same people (item-kNN). The intervals come from drawing the customers
# anew, and `difference` is to most-popular, customer by customer.

# %%
config = found.config
models = {
    "most popular": MostPopular().fit(past),
    "item-kNN": ItemKNN(neighbours=100, weighting="bm25").fit(past),
    "WMF": WMF.from_config(config).fit(past, progress=False),
}
metrics = ["recall@5", "recall@10", "recall@20", "recall@50", "ndcg@20", "coverage@20"]
quality = compare(models, past, test, metrics=metrics)
table = quality[quality["metric"].isin(["recall@20", "ndcg@20", "coverage@20"])]
print(table[["model", "metric", "value", "low", "high", "difference_low", "difference_high"]].round(3).to_string())
print(f"customers asked for: {table['users'].max():,}")

# %% [markdown]
# Two checks of the table above: both rules lose to the model here, and the interval of the difference to most-popular
# excludes 0. Nobody would call these recalls high: most of what people buy next cannot be known from what they bought.

# %%
recall = quality[quality["metric"] == "recall@20"].set_index("model")
assert recall.loc["WMF", "value"] > recall.loc["item-kNN", "value"] > recall.loc["most popular", "value"]
assert recall.loc["WMF", "difference_low"] > 0
plot_metric(quality, "recall").get_figure()

# %% [markdown]
# Do the lists show the whole shop? Products are put in groups from the best sellers to the rarest, with about equal
# shares of all purchases. Lists of best sellers come from the first group alone; `coverage@20` above says the same in
# one number, the share of the catalogue that appears in any list.

# %%
everyone = np.arange(past.shape[0])
lists = {name: models[name].recommend(everyone, N=20)[0] for name in ("WMF", "most popular")}
plot_exposure(past, lists).get_figure()

# %% [markdown]
# ## Look at lists
#
# Figures do not show nonsense; eyes do. Refit on all purchases, choose a few customers with a manageable history, and
# read.

# %%
model = WMF.from_config(config).fit(data, progress=False)
products = purchases.groupby("customer")["product"].nunique()
customers = products[products.between(8, 12)].index[:3]
for customer in customers:
    own = purchases.loc[purchases["customer"] == customer, "name"].value_counts().index[:5]
    advice = model.recommend_frame(customer, N=5)
    print(f"customer {customer} bought, among others     and is recommended")
    for bought, product in zip(own, advice["item"], strict=False):
        print(f"  {bought:<40} {names[product]}")
    assert not set(advice["item"]) & set(purchases.loc[purchases["customer"] == customer, "product"])

# %% [markdown]
# Why the first product of the first of them? A score is a sum over what the customer bought, which can be listed.

# %%
user = int(np.flatnonzero(data.users == customers[0])[0])
item = int(model.recommend(user, N=1)[0][0])
reasons = model.explain(user, item, N=4)
print(f"{names[data.items[item]]} for customer {customers[0]}, score {float(reasons.score):.3f}, of which")
for position, share in zip(reasons.ids, reasons.contributions, strict=True):
    print(f"  {share:+.3f} because of {names[data.items[position]]}")

# %% [markdown]
# Products whose factors point the same way are bought by the same people. The most popular product and its neighbours,
# itself first, and then a map of all products with the neighbours of a few:

# %%
favourite = data.items[int(np.argmax(buyers))]
for row in model.similar_items_frame([favourite], N=5).itertuples():
    print(f"  {row.score:.2f} {names[row.similar]}")

plot_item_map(model, names).get_figure()

# %% [markdown]
# ## A new customer
#
# Somebody who was not in training puts two products in the basket. Their factors are solved from the basket alone, as
# training would, and nothing is refitted.

# %%
basket = model.similar_items(int(np.argmax(buyers)), N=2)[0]
newcomer = csr_array((np.ones(2), (np.zeros(2, dtype=int), basket)), shape=(1, data.shape[1]))
ids, scores = model.recommend(user_items=newcomer, N=5)
print("basket:", "; ".join(names[data.items[position]] for position in basket))
for position, score in zip(ids[0], scores[0], strict=True):
    print(f"  {score:.2f} {names[data.items[position]]}")
assert not set(ids[0]) & set(basket)

# %% [markdown]
# ## What the night leaves behind
#
# A saved model is a folder, and loads to the same lists. The batch job writes a list for every customer as Parquet
# files and goes on where it was if it is interrupted. The report is one HTML file to look at in a browser: the pictures
# above, the quality, and a search for any customer and product. `quality` was measured on a model with the same
# settings.

# %%
with tempfile.TemporaryDirectory() as folder:
    place = Path(folder)
    model.save(place / "model")
    loaded = WMF.load(place / "model", mmap=True)
    assert np.array_equal(loaded.recommend(user, N=10)[0], model.recommend(user, N=10)[0])
    summary = loaded.recommend_all(place / "lists", N=10)
    written = pd.read_parquet(place / "lists")
    print(f"{summary.users:,} customers, {len(written):,} lines")
    report = write_report(loaded, place / "report.html", names=names, quality=quality, max_users=500)
    print(f"a report of {report.stat().st_size / 1e6:.1f} MB")
    del loaded  # its files are open until then, which some systems do not let anybody remove

assert summary.users == data.shape[0]
assert written["user"].nunique() == data.shape[0]
