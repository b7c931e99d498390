"""What the pictures show, as numbers: popularity and its skew, exposure, spectra, and tables of curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._csr import positive_in_columns
from .._history import history_frame
from .._words import nearest
from ..errors import InputError, NotFittedError
from ..evaluation.catalogue import gini
from ..factorizers.records import IterationRecord
from ..interactions import as_interactions
from ..training import EpochRecord, gram_matrix

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

PARTS = ("stored", "background", "regularization")
_OF_RECORDS = {spec.name for kind in (EpochRecord, IterationRecord) for spec in fields(kind)}


class Skew(NamedTuple):
    """How much data there are, and how unevenly they lie; a pair is a user and an item with a positive value.

    Attributes
    ----------
    users, items, pairs : int
        How many; users and items without a pair count.
    density : float
        Pairs, divided by users times items.
    pairs_per_user_median : float
        Of all users.
    pairs_per_user_most : int
        Of the user with the most.
    users_per_item_median : float
        Of all items.
    users_per_item_most : int
        Of the most popular item.
    top_share : float
        Share of all pairs that are of the most popular 1 % of items (rounded down, but at least one item); NaN without
        pairs.
    gini : float
        Gini index of the items' popularity, from 0 (all equal) to 1 (all pairs are of one item), as
        ``gini@k`` of `implicit_wmf.evaluation` is of lists; NaN for a single item and without pairs.
    """

    users: int
    items: int
    pairs: int
    density: float
    pairs_per_user_median: float
    pairs_per_user_most: int
    users_per_item_median: float
    users_per_item_most: int
    top_share: float
    gini: float


def skew(interactions: Any) -> Skew:
    """Measure how unevenly the pairs are spread over users and items.

    Parameters
    ----------
    interactions : Interactions, or matrix of shape (users, items)
        Values are looked at for their sign only.

    Returns
    -------
    Skew
        The figures.

    Raises
    ------
    InputError
        For what is no interactions.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf.report.numbers import skew
    >>> found = skew(np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0]]))
    >>> found.pairs, found.users_per_item_most, found.top_share
    (4, 3, 0.75)
    """
    matrix = as_interactions(interactions, "interactions").matrix
    users, items = matrix.shape
    of_items = positive_in_columns(matrix)
    of_users = np.diff(np.append(0, np.cumsum(matrix.data > 0))[matrix.indptr])
    pairs = int(of_items.sum())
    return Skew(
        users=int(users),
        items=int(items),
        pairs=pairs,
        density=pairs / (users * items),
        pairs_per_user_median=float(np.median(of_users)),
        pairs_per_user_most=int(of_users.max()),
        users_per_item_median=float(np.median(of_items)),
        users_per_item_most=int(of_items.max()),
        top_share=float(head_shares(of_items, [top_items(items)])[0]),
        gini=gini(of_items),
    )


def top_items(items: int) -> int:
    """How many items are the most popular 1 %: at least one."""
    return max(1, items // 100)


def popularity(interactions: Any) -> Whole:
    """Count the users with a positive value of each item.

    Parameters
    ----------
    interactions : Interactions, or matrix of shape (users, items)
        What is counted.

    Returns
    -------
    (items,) int64 array
        How many users have the item.
    """
    counts: Whole = positive_in_columns(as_interactions(interactions, "interactions").matrix).astype(np.int64)
    return counts


def head_shares(counts: Whole, sizes: Any) -> Floats:
    """Share of the total that so many of the largest counts have, (sizes,); NaN where the total is 0."""
    cumulative = np.append(0, np.cumsum(np.sort(counts)[::-1]))
    with np.errstate(invalid="ignore"):
        shares: Floats = cumulative[np.asarray(sizes)] / np.float64(cumulative[-1])
    return shares


def popularity_groups(counts: Whole, groups: int = 10) -> Whole:
    """Cut items by popularity into groups of about equal shares of all pairs; 0 has the most popular ones.

    An item belongs where the pairs of all more popular items end (equally popular ones by index), so that a group is
    larger than its share by less than one item, and items nobody has are in the last one. Groups without items are left
    out: an item with 35 % of all pairs leaves 8 of 10.

    Parameters
    ----------
    counts : (items,) int64 array
        Popularity.
    groups : int
        How many, at most.

    Returns
    -------
    (items,) int64 array
        The group of each item, 0, 1, 2 ... without gaps.
    """
    order = np.argsort(-counts, kind="stable")
    before = np.append(0, np.cumsum(counts[order])[:-1])
    total = max(int(counts.sum()), 1)
    found = np.empty(counts.size, dtype=np.int64)
    found[order] = np.minimum(before * groups // total, groups - 1)
    return np.unique(found, return_inverse=True)[1].astype(np.int64).reshape(-1)


def exposure(lists: Any, items: int, name: str = "lists") -> Whole:
    """Count how often each item is listed.

    Parameters
    ----------
    lists : (users, N) array of int
        Positions of items, as `recommend` returns them: -1 where a list has ended. Or one list, (N,).
    items : int
        How many items there are.
    name : str
        What to call the lists in messages.

    Returns
    -------
    (items,) int64 array
        In how many places each item stands.

    Raises
    ------
    InputError
        For anything but whole numbers from -1 to items - 1; names the place.

    Examples
    --------
    >>> from implicit_wmf.report.numbers import exposure
    >>> exposure([[2, 0], [2, -1]], items=4).tolist()
    [1, 0, 2, 0]
    """
    try:
        ids = np.asarray(lists)
    except ValueError as error:
        raise InputError(f"{name}: expected lists of one length, (users, N), padded with -1 ({error})") from error
    if ids.size and ids.dtype.kind not in "iu":
        raise InputError(
            f"{name}: expected positions of items, whole numbers as `recommend` returns them, met {ids.dtype}; "
            f"Interactions.item_indices looks raw ids up"
        )
    if ids.ndim not in (1, 2):
        raise InputError(f"{name}: expected an array (users, N), met {ids.ndim} dimensions")
    flat = ids.reshape(-1).astype(np.int64)
    bad = np.flatnonzero((flat < -1) | (flat >= items))
    if bad.size:
        place = tuple(int(one) for one in np.unravel_index(bad[0], ids.shape))
        raise InputError(
            f"{name} holds {flat[bad[0]]} at {place}; items run from 0 to {items - 1}, and -1 ends a list: are they "
            f"lists of another model?"
        )
    counts: Whole = np.bincount(flat[flat >= 0], minlength=items).astype(np.int64)
    return counts


def factors_of(model: Any, side: str) -> NDArray[Any]:
    """Take a fitted model's factors of a side, "user" or "item".

    Raises
    ------
    InputError
        If it has none.
    """
    try:
        factors: NDArray[Any] = getattr(model, f"{side}_factors")
    except NotFittedError:
        raise
    except AttributeError as error:
        raise InputError(
            f"model: {type(model).__name__} has no {side}_factors; give a fitted model that has, such as WMF"
        ) from error
    return factors


def spectrum(factors: NDArray[Any]) -> tuple[Floats, float]:
    """Eigenvalues of the Gram matrix of factors, and its effective rank.

    The effective rank is exp(-sum_k p_k log p_k) of the eigenvalues' shares p_k: as many directions as, used equally,
    would have the same entropy. Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality",
    with the eigenvalues of the Gram matrix in place of the singular values of the factors.

    Parameters
    ----------
    factors : (rows, d) array of float32 or float64
        May be memory-mapped: it is read once, in blocks, and not copied.

    Returns
    -------
    eigenvalues : (d,) float64 array
        Falling, none below 0.
    effective_rank : float
        From 1 to d; 0 for factors that are all 0.

    Raises
    ------
    InputError
        If factors are not finite, or their squares overflow.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf.report.numbers import spectrum
    >>> eigenvalues, rank = spectrum(np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
    >>> eigenvalues.tolist(), round(rank, 6)
    ([4.0, 4.0], 2.0)
    """
    gram = gram_matrix(factors, np.ones(len(factors)), None)
    if not np.isfinite(gram).all():
        raise InputError("model: its factors are not finite, or too large to be squared; fit it on values scaled down")
    values = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0)
    # what is below the rounding of the largest is noise, and no direction
    values[values <= np.finfo(np.float64).eps * len(values) * values[0]] = 0
    total = values.sum()
    if total == 0:
        return values, 0.0
    shares = values[values > 0] / total
    return values, float(np.exp(-np.sum(shares * np.log(shares))))


def history_table(history: Any) -> pd.DataFrame:
    """Make a table of a history, a row an epoch; of records, or of what `history_frame` returned.

    Raises
    ------
    InputError
        If it is none, or has no epochs.
    """
    if isinstance(history, pd.DataFrame):
        table = history
    elif isinstance(history, list | tuple) and all(hasattr(record, "validation") for record in history):
        table = history_frame(list(history))
    else:
        raise InputError(f"history: met {type(history).__name__}; give model.history, or model.history_frame()")
    if len(table) == 0:
        raise InputError("history: it has no epochs; give that of a model that was fitted by epochs, such as WMF")
    if "epoch" not in table or "loss" not in table:
        raise InputError("history: it has no columns epoch and loss; give model.history, or model.history_frame()")
    return table


def objective_table(history: Any) -> pd.DataFrame:
    """Take epoch, loss and those parts of it that were recorded, of the epochs with a loss.

    Raises
    ------
    InputError
        If no epoch has one.
    """
    table = history_table(history)
    parts = [part for part in PARTS if part in table and table[part].notna().any()]
    kept = table.loc[np.isfinite(table["loss"].to_numpy(float)), ["epoch", "loss", *parts]]
    if len(kept) == 0:
        raise InputError("history: no epoch has a loss; fit with track_loss=True (the default), which computes it")
    return kept.reset_index(drop=True)


def validation_table(history: Any, metric: str | None) -> tuple[str, pd.DataFrame, int]:
    """Take a metric, by default the first, of the epochs that were measured: its name, (epoch, value), the best epoch.

    The best epoch is by the first metric, whichever is asked for, as a fit chooses it.

    Raises
    ------
    InputError
        If nothing was measured, or not that metric.
    """
    table = history_table(history)
    measured = [str(name) for name in table.columns if name not in _OF_RECORDS and table[name].notna().any()]
    if not measured:
        raise InputError("history: no metric was measured; fit with validation=..., the held-out interactions")
    name = measured[0] if metric is None else str(metric)
    if name not in measured:
        raise InputError(f"metric: {name!r} was not measured{nearest(name, measured)}")
    deciding = table[measured[0]].to_numpy(float)
    best = int(table["epoch"].iloc[int(np.nanargmax(deciding))])
    kept = table.loc[table[name].notna(), ["epoch", name]].set_axis(["epoch", "value"], axis="columns")
    return name, kept.reset_index(drop=True), best


def metric_curves(table: Any, metric: str) -> dict[str, pd.DataFrame]:
    """Take a metric's rows of what `compare` or `evaluate` returned: by model (k, value, low, high), by rising k.

    The one curve of `evaluate` has the name "". Values that are NaN are left out, and models without another.

    Raises
    ------
    InputError
        If the table is none, or has no such metric.
    """
    if not isinstance(table, pd.DataFrame) or not {"metric", "value"} <= set(table.columns):
        raise InputError("table: it has no columns metric and value; give what evaluate or compare returned")
    parts = table["metric"].astype(str).str.extract(r"^(?P<name>.+)@(?P<k>[0-9]+)$")
    names = parts["name"].dropna().unique().tolist()
    if metric not in names:
        known = nearest(str(metric), names) if names else "; there is none with a length of lists, such as recall@10"
        raise InputError(f"metric: {metric!r} is not in the table{known}")
    rows = pd.DataFrame({"k": parts["k"], "value": table["value"]})
    for bound in ("low", "high"):
        rows[bound] = table.get(bound, np.nan)
    rows["model"] = table["model"].astype(str) if "model" in table else ""
    rows = rows[(parts["name"] == metric) & rows["value"].notna()].astype({"k": np.int64})
    if len(rows) == 0:
        raise InputError(f"metric: all values of {metric!r} are NaN; evaluate users who have something to be found")
    return {
        str(name): part.sort_values("k", kind="stable").drop(columns="model").reset_index(drop=True)
        for name, part in rows.groupby("model", sort=False)
    }


def named_lists(lists: Any, items: int) -> dict[str, Whole]:
    """Count exposure of lists, or of each of several by name; the name of one alone is "lists".

    Raises
    ------
    InputError
        As from `exposure`, and if there are none.
    """
    if not isinstance(lists, Mapping):
        return {"lists": exposure(lists, items)}
    if not lists:
        raise InputError("lists is empty; give ids as `recommend` returns them, or several by name")
    return {str(name): exposure(ids, items, f"lists {name!r}") for name, ids in lists.items()}
