"""What the report says, section by section: words, numbers and pictures as data, for `page` to lay out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._words import count
from ..config import WMFConfig
from ..model import WMF
from ..popularity import MostPopular
from .blocks import picture, share
from .numbers import exposure, popularity, skew, spectrum, top_items
from .page import Block, Facts, Section, Table, Text
from .plots import (
    plot_exposure,
    plot_item_map,
    plot_objective,
    plot_popularity,
    plot_spectrum,
    plot_validation,
    top_words,
)
from .quality import found_words

LISTED_USERS = 20_000  # whose lists the picture of exposure is of, evenly spaced: more change no bar visibly
LIST_LENGTH = 10
_ONE_DIRECTION = 2.0  # an effective rank below it, where more than three are to be had, is of one direction


class _Kind(NamedTuple):
    """What pairs are of: counts, or preferences with given confidences."""

    what: str
    label: str
    others: int
    others_label: str
    others_words: str


def _kind(model: WMF, pairs: int) -> _Kind:
    """Find words for the pairs that speak for an item, and for those that do not."""
    matrix = model.interactions.matrix
    if model._state().confidence is not None:
        return _Kind(
            " with a positive preference, and how far to trust each",
            "Pairs with a positive preference",
            matrix.nnz - pairs,
            "Pairs with a preference of 0 or less",
            "a preference of 0 or less",
        )
    positive = matrix.data > 0
    counted = pairs > 0 and np.any(positive & (matrix.data != matrix.data[np.argmax(positive)]))
    return _Kind(
        ": who took what, and how often" if counted else ": who took what",
        "Pairs of a user and an item",
        int(np.count_nonzero(matrix.data < 0)),
        "Pairs with a negative value",
        "a negative value: what somebody did not want",
    )


def short_section(model: WMF, quality: pd.DataFrame | None, quality_note: str | None = None) -> Section:
    """Say in a few sentences what this is, for someone who has never seen such a model."""
    found = skew(model.interactions)
    kind = _kind(model, found.pairs)
    words = [
        f"The model was shown {count(found.pairs, 'pair')} of {count(found.users, 'user')} and "
        f"{count(found.items, 'item')}{kind.what}."
    ]
    if kind.others:
        words.append(f"Besides, {kind.others:,} with {kind.others_words}.")
    words += [
        "It knows no descriptions, categories or prices.",
        _learned_words(model),
        *found_words(quality, quality_note),
        "Look up a user or an item to see for yourself, or go on to the pictures.",
    ]
    return Section("In short", "", [Text(" ".join(words))])


def _learned_words(model: WMF) -> str:
    """Say what came of the fit, by the numbers that it left."""
    if not model.history:
        return "It was not fitted beyond its random start, so that nothing it recommends means anything."
    rank = spectrum(model.item_factors)[1]
    if rank == 0:
        return "It found nothing: all of its numbers are 0, so that nothing it recommends means anything."
    if _collapsed(rank, model.config.factors):
        return "It found little more than what is popular: all of its numbers say nearly the same."
    return "From that alone it works out which items go together, and what each user may want next."


def _collapsed(rank: float, factors: int) -> bool:
    return rank < _ONE_DIRECTION and factors > 3


def data_section(model: WMF) -> Section:
    """Say what the model was fitted on, and how unevenly that is spread."""
    found = skew(model.interactions)
    kind = _kind(model, found.pairs)
    top = top_words(top_items(found.items), found.items)
    facts = [
        ("Users", f"{found.users:,}"),
        ("Items", f"{found.items:,}"),
        (kind.label, f"{found.pairs:,} ({share(found.density)} of all that could be)"),
    ]
    if kind.others:
        facts.append((kind.others_label, f"{kind.others:,}"))
    facts += [
        ("Items of a user", f"{found.pairs_per_user_median:,g} in the middle, {found.pairs_per_user_most:,} at most"),
        ("Users of an item", f"{found.users_per_item_median:,g} in the middle, {found.users_per_item_most:,} at most"),
    ]
    if not found.pairs:
        return Section("The data", "What the model learned from.", [Facts(facts), Text("No user took any item.")])
    of_top = share(found.top_share)
    facts.append((f"Share of the {top}{'' if top.endswith('item') else ' of items'}", f"{of_top} of all pairs"))
    popular = picture(
        lambda: plot_popularity(model.interactions),
        f"Popularity of {count(found.items, 'item')}; {top}: {of_top} of all pairs.",
        f"{_tail_words(popularity(model.interactions))} The further the curve hangs to one side, the easier it is to "
        "look good by recommending what is popular, and the less that says.",
    )
    return Section("The data", "What the model learned from.", [Facts(facts), popular])


def _tail_words(counts: NDArray[np.int64]) -> str:
    """Say how many items have half of all pairs, and what to call that."""
    if counts.size == 1:
        return "There is only one item."
    reached = np.cumsum(np.sort(counts)[::-1])
    half = int(np.argmax(2 * reached >= reached[-1])) + 1
    part = half / counts.size
    most = "The most popular item has" if half == 1 else f"The {half:,} most popular items ({share(part)}) have"
    words = f"{most} half of all pairs"
    if part < 0.2:
        return f"{words}: a few items have most, and most have few, which is called the long tail."
    return f"{words}: about as many as if all were equally popular." if part > 0.4 else f"{words}."


def fit_section(model: WMF) -> Section:
    """Say how the fit went."""
    history = model.history
    if not history:
        return Section("The fit", "", [Text("The model has no record of its fit: it ran for no epochs.")])
    last, best = history[-1].epoch, model.best_epoch
    loss = next(record.loss for record in history if record.epoch == best)
    seconds = sum(record.seconds for record in history)
    facts = [
        ("Epochs", f"{last:,}" if best == last else f"{last:,}; the factors are those of epoch {best:,}"),
        ("Time", f"{seconds:,.1f} s in all, {seconds / len(history):,.2f} s an epoch"),
    ]
    if np.isfinite(loss):
        facts.append((f"Objective {'at the end' if best == last else f'after epoch {best:,}'}", _amount(loss)))
    blocks: list[Block] = [Facts(facts)]
    if np.isfinite([record.loss for record in history]).any():
        blocks.append(
            picture(
                lambda: plot_objective(history),
                f"The objective and its three parts over {count(len(history), 'epoch')}.",
                "The objective is what the fit makes small: how far the model is from the interactions (stored), from "
                "zero everywhere else (background), and how large its numbers are (regularization). It should fall "
                "and then level off; if it still falls at the end, more epochs would help.",
            )
        )
    if history[-1].validation:
        metric = next(iter(history[-1].validation))
        blocks.append(
            picture(
                lambda: plot_validation(history, metric),
                f"{metric} on held-out interactions by epoch; the best is epoch {best:,}.",
                "Measured on interactions that the fit did not see. The marked epoch is the one whose factors were "
                "kept; a curve that falls after it shows that the model had begun to learn by heart.",
            )
        )
    return Section("The fit", "One epoch solves every user once, then every item once.", blocks)


def _amount(value: float) -> str:
    """Spell a sum, without powers of ten where it can be."""
    return f"{value:,.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:,.6g}"


def lists_section(model: WMF) -> Section:
    """Say what becomes of popular and rare items in the lists."""
    users, items = model.interactions.shape
    some = np.unique(np.linspace(0, users - 1, min(users, LISTED_USERS)).astype(np.int64))
    lists = {"WMF": model.recommend(some, LIST_LENGTH)[0]}
    lists["most popular"] = MostPopular().fit(model.interactions).recommend(some, LIST_LENGTH)[0]
    times = exposure(lists["WMF"], items)
    asked = count(len(some), "user") + (", evenly spaced" if len(some) < users else "")
    facts = [
        ("Lists", f"{LIST_LENGTH} items for each of {asked}"),
        (
            "Items that appear in a list",
            f"{np.count_nonzero(times):,} of {items:,} ({share(float(np.mean(times > 0)))})",
        ),
    ]
    exposed = picture(
        lambda: plot_exposure(model.interactions, lists),
        "Places in the lists against popularity, beside what people took themselves.",
        "Items in groups of equal weight, the most popular first. Grey bars: what people take. A line as high as the "
        "bars: the lists give a group as much room. Above them at the left: they push what is popular anyway.",
    )
    return Section("What is recommended", "Do the lists show more than the best-sellers?", [Facts(facts), exposed])


def learned_section(model: WMF, names: Mapping[Any, str] | None) -> Section:
    """Show the factors: how many directions they use, and which items they put together."""
    ranks = [spectrum(factors)[1] for factors in (model.user_factors, model.item_factors)]
    factors = model.config.factors
    pictures = [
        picture(
            lambda: plot_spectrum(model),
            f"Weight of each of {factors:,} directions; effective rank {ranks[0]:.1f} of users, {ranks[1]:.1f} of "
            "items.",
            f"The model describes every user and item by {count(factors, 'number')}. How many it really uses is the "
            f"effective rank: {ranks[0]:.1f} for users and {ranks[1]:.1f} for items."
            f"{_rank_words(model, min(ranks))}",
        ),
        picture(
            lambda: plot_item_map(model, names),
            "Groups of items that the model holds alike, by name, among the points of all items.",
            "Groups of items that the model holds alike, drawn apart on purpose. Above the names stands how alike they "
            "are (mean cosine with the large mark), below the picture what it would be by chance: near that, the group "
            "means nothing. Grey: all others; their distances mean nothing.",
        ),
    ]
    return Section("What the model learned", "Nobody told it what the items are.", pictures)


def _rank_words(model: WMF, rank: float) -> str:
    """Draw the conclusion that an effective rank allows."""
    factors = model.config.factors
    if not model.history:
        return " That is of the random numbers which a fit begins with."
    if rank == 0:
        return " All of them are 0: regularization is far too high, or there was nothing to learn from."
    if _collapsed(rank, factors):
        return (
            " That is hardly more than a single direction: regularization is too high, or popularity is all that there "
            "is to find."
        )
    if rank < factors / 4:
        return (
            f" That is far below {factors:,}: fewer numbers may do as well, or less regularization may use more of "
            "them. Held-out data tell which."
        )
    if rank > 0.9 * factors > 3:
        return " That is nearly all of them: more numbers may find more, which held-out data tell."
    return ""


def settings_section(model: WMF) -> Section:
    """List the hyper-parameters, those that were chosen first, and what is not in them."""
    rows = {name: (name, _spell(getattr(model.config, name)), _meaning(name)) for name in WMFConfig.names()}
    usual = WMFConfig()
    changed = [name for name in rows if _spell(getattr(model.config, name)) != _spell(getattr(usual, name))]
    blocks: list[Block] = [Text(f"In Python: {model}.")]
    missing = _not_here(model)
    if missing:
        blocks.append(Text(f"Needed as well, and not on this page: {'; '.join(missing)}."))
    for names, caption in (
        (changed, "Set for this model"),
        ([name for name in rows if name not in changed], "Defaults"),
    ):
        if names:
            blocks.append(
                Table(["Setting", "Value", "What it is"], [rows[name] for name in names], caption, words=(2,))
            )
    intro = "For those who want to fit the same model to the same data again."
    return Section("Settings", intro, blocks)


def _not_here(model: WMF) -> list[str]:
    """Name what a fit hangs on beside the settings that are spelt out."""
    config = model.config
    missing = [f"the numbers of {name}" for name in config.names() if isinstance(getattr(config, name), np.ndarray)]
    if model._state().confidence is not None:
        missing.append("the confidences that were given with the data")
    if model.history and model.history[-1].validation:
        missing.append("the held-out data that the epoch was chosen by")
    if not isinstance(config.random_state, int | np.integer):
        missing.append("the seed: random_state was no number, so that another fit begins elsewhere")
    return missing


def _meaning(name: str) -> str:
    """Take the help of the command line, its options spelt as what they are called here."""
    text = next(str(spec.metadata["help"]) for spec in fields(WMFConfig) if spec.name == name)
    return re.sub(r"--([a-z-]+)", lambda option: option[1].replace("-", "_"), text)


def _spell(value: Any) -> str:
    """Spell a value, all digits of it."""
    if isinstance(value, np.ndarray):
        return f"an array of {count(value.size, 'number')}"
    if isinstance(value, type | np.dtype):
        return np.dtype(value).name
    if isinstance(value, float | np.floating):
        return repr(float(value))
    return "none" if value is None else str(value)
