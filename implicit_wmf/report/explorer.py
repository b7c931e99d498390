"""What the explorer of the report shows, collected from a fitted model: lists, their reasons, similar items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._asked import list_length
from .._csr import keep_cells, positive_in_columns, rows_of_cells
from .._ids import positions_of
from ..errors import InputError
from ..factor_model import FactorModel
from ..parameters import whole
from .names import name_items, spell_ids

Ids = NDArray[np.int32]
Floats = NDArray[Any]

# A longer history is cut; the page says how much is left out.
HISTORY = 300
# Asked for at a time, between which Ctrl-C is seen.
_ITEMS_AT_ONCE = 4096
_USERS_AT_ONCE = 256

# Pairs at most of which the middle score is taken.
_PAIRS = 200_000

_WANTS = "The score says how strongly the model expects this user to want the item: the higher, the more. "
_OTHERS = "Compare scores within one list, not between users."
_NO_REASONS = "This kind of model cannot say why it recommends an item, so there are no reasons here."


class Reasons(NamedTuple):
    """What past items contribute to each recommendation."""

    score: Floats  # (users, N) float32: of the explanation; NaN where the list has ended
    items: Ids  # (users, N, R), -1 where there are no more
    contributions: Floats  # (users, N, R) float32


@dataclass(frozen=True)
class Explorer:
    """All that the explorer shows, by position.

    Attributes
    ----------
    item_ids : list of str
        Raw ids as text.
    item_names : list of str
        What people call the items; the id where nothing better is known.
    item_users : (items,) int64 array
        How many users have each item: with a positive amount.
    similar, cosines : (items, S) arrays, int32 and the factors' dtype
        Nearest items, the nearest first; short lists end in -1 and NaN.
    users : int
        How many users the model has; those below are some of them, or all.
    user_ids : list of str
        Raw ids as text, of the users who are in.
    user_items : (k,) int64 array
        How many items each of them has: with a positive amount.
    refused_items : (k,) int64 array
        How many items each of them is known not to want: with a negative amount.
    history_ends : (k,) int64 array
        Where each one's history ends in the next two.
    history, amounts : (cells,) arrays, int32 and the data's dtype
        Items that the users have, the largest amounts first, and then those that they did not want.
    recommended, scores : (k, N) arrays, int32 and the factors' dtype
        As `recommend` returns them.
    reasons : Reasons or None
        None where the model cannot give any.
    score_note : str
        What a score means.
    reasons_note : str
        Why there are no reasons; empty where there are.
    """

    item_ids: list[str]
    item_names: list[str]
    item_users: NDArray[np.int64]
    similar: Ids
    cosines: Floats
    users: int
    user_ids: list[str]
    user_items: NDArray[np.int64]
    refused_items: NDArray[np.int64]
    history_ends: NDArray[np.int64]
    history: Ids
    amounts: Floats
    recommended: Ids
    scores: Floats
    reasons: Reasons | None
    score_note: str
    reasons_note: str


def collect(
    model: FactorModel[Any],
    *,
    names: Mapping[Any, str] | pd.Series | None = None,
    users: Any = None,
    max_users: int = 5000,
    N: int = 20,
    reasons: int = 5,
    similar: int = 10,
) -> Explorer:
    """Ask a model for all that its explorer is to show.

    A model of 100,000 items, 64 factors and 2 million cells took 18 s on two cores, for 5,000 users with 20 items each,
    nearly all of it for the similar items; the page came to 11 MB.

    Parameters
    ----------
    model : WMF, or another fitted estimator
        May be memory-mapped. One that cannot explain gets an explorer without reasons.
    names : mapping or pandas.Series, optional
        Raw item id -> text. Items without one, or with an empty one, go by their id.
    users : sequence of raw ids, or one id; optional
        Users that are to be in, whatever `max_users` is.
    max_users : int
        Of more users than that a sample is taken: every so many-th in the order of how many items they have, so that
        it has users of few, some and many items; a single one is in the middle. The same model gives the same sample.
    N : int
        Length of the lists of recommendations.
    reasons : int
        Past items listed for each recommendation.
    similar : int
        Similar items listed for each item.

    Returns
    -------
    Explorer

    Raises
    ------
    InputError
        For unknown users, names of none of the items, and numbers out of range; names the argument and the value.
    """
    whole(0)("max_users", max_users)
    lengths = [list_length(length) for length in (N, reasons, similar)]
    data = model.interactions
    item_ids, user_ids = spell_ids(data.items), spell_ids(data.users)
    wanted = np.empty(0, np.int64) if users is None else positions_of(data.users, users, "users")
    activity = _counts_of_rows(data.matrix.data > 0, data.matrix.indptr)
    rows = _sample(activity, wanted, max_users)
    recommended, scores = model.recommend(rows, lengths[0])
    why, reasons_note = _reasons(model, rows, recommended, lengths[1])
    near, cosines = _similar(model, lengths[2])
    cells = data.matrix[rows]
    ends, history, amounts = _history(cells)
    return Explorer(
        item_ids=item_ids,
        item_names=name_items(names, data.items, item_ids),
        item_users=positive_in_columns(data.matrix),
        similar=near,
        cosines=cosines,
        users=data.shape[0],
        user_ids=[user_ids[row] for row in rows],
        user_items=activity[rows],
        refused_items=_counts_of_rows(cells.data < 0, cells.indptr),
        history_ends=ends,
        history=history,
        amounts=amounts,
        recommended=recommended,
        scores=scores,
        reasons=why,
        score_note=_score_note(model, rows, cells),
        reasons_note=reasons_note,
    )


def _counts_of_rows(counted: NDArray[np.bool_], indptr: NDArray[Any]) -> NDArray[np.int64]:
    """Count the cells of each row that are marked."""
    counts: NDArray[np.int64] = np.diff(np.append(0, np.cumsum(counted))[indptr]).astype(np.int64)
    return counts


def _sample(activity: NDArray[np.int64], wanted: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Positions of the users who are in, ascending."""
    if activity.size <= most:
        return np.arange(activity.size)
    others = np.setdiff1d(np.argsort(activity, kind="stable"), wanted, assume_unique=False)
    others = others[np.argsort(activity[others], kind="stable")]
    room = max(most - np.unique(wanted).size, 0)
    first, last = (0, others.size - 1) if room > 1 else (others.size // 2,) * 2
    places = np.linspace(first, last, room).round().astype(np.int64)
    return np.union1d(wanted, others[places])


def _reasons(
    model: FactorModel[Any], rows: NDArray[np.int64], recommended: Ids, length: int
) -> tuple[Reasons | None, str]:
    """Explain each recommendation, or say in a sentence why that cannot be."""
    if not hasattr(model, "explain"):
        return None, _NO_REASONS
    score = np.full(recommended.shape, np.nan, np.float32)
    items = np.full((*recommended.shape, length), -1, np.int32)
    contributions = np.full(items.shape, np.nan, np.float32)
    try:
        for begin in range(0, rows.size, _USERS_AT_ONCE):
            some = slice(begin, begin + _USERS_AT_ONCE)
            listed = recommended[some]
            why = model.explain(rows[some, None], np.maximum(listed, 0), length)
            score[some] = np.where(listed < 0, np.nan, why.score)
            items[some] = np.where(listed[..., None] < 0, -1, why.ids)
            contributions[some] = np.where(listed[..., None] < 0, np.nan, why.contributions)
    except InputError as error:
        return None, f"There are no reasons here, because this model could not be asked for them: {error}."
    return Reasons(score, items, contributions), ""


def _similar(model: FactorModel[Any], length: int) -> tuple[Ids, Floats]:
    """Nearest other items of every item."""
    items = model.interactions.shape[1]
    near = np.full((items, length), -1, np.int32)
    cosines = np.full((items, length), np.nan, np.float32)
    for begin in range(0, items, _ITEMS_AT_ONCE):
        some = np.arange(begin, min(begin + _ITEMS_AT_ONCE, items))
        near[some], cosines[some] = model.similar_items(some, length, include_self=False)
    return near, cosines


def _history(cells: csr_array) -> tuple[NDArray[np.int64], Ids, Floats]:
    """List what users have, the largest amounts first, and then what they did not want: ends, items and amounts."""
    cells = keep_cells(cells, cells.data != 0)
    owners, refused = rows_of_cells(cells.indptr), cells.data < 0
    order = np.lexsort((cells.indices, -cells.data, refused, owners))
    groups = 2 * owners[order] + refused[order]
    places = np.arange(order.size) - np.searchsorted(groups, groups)
    order = order[places < HISTORY]
    ends = np.cumsum(np.bincount(owners[order], minlength=cells.shape[0]))
    return ends.astype(np.int64), cells.indices[order].astype(np.int32), cells.data[order]


def _score_note(model: FactorModel[Any], rows: NDArray[np.int64], cells: csr_array) -> str:
    """Say what a score is, by the scores of what users have already."""
    owned = np.flatnonzero(cells.data > 0)
    owned = owned[:: len(owned) // _PAIRS + 1]
    if owned.size == 0:
        return _WANTS + _OTHERS
    middle = np.median(model.score(rows[rows_of_cells(cells.indptr)[owned]], cells.indices[owned]))
    spelled = f"{middle:,.2f}" if abs(middle) >= 0.1 else f"{middle:.2g}"
    return f"{_WANTS}What users already have scores {spelled} in the middle. {_OTHERS}"
