"""What the report says, section by section: words, numbers and pictures as data, for `page` to lay out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from .._words import count
from ..config import WMFConfig
from ..errors import InputError
from ..evaluation import parse_metric
from ..model import WMF
from ..popularity import MostPopular
from .figures import to_svg
from .numbers import exposure, skew, spectrum
from .page import Block, Facts, Picture, Section, Table, Text
from .plots import (
    plot_exposure,
    plot_item_map,
    plot_metric,
    plot_objective,
    plot_popularity,
    plot_spectrum,
    plot_validation,
)

LISTED_USERS = 20_000  # whose lists the picture of exposure is of, evenly spaced: more change no bar visibly
LIST_LENGTH = 10
_PREFERRED_LENGTH = 10  # of the lists that the table of quality is about, where it was measured

_MEANINGS = {
    "recall": "the share of what people went on to choose that was in their list",
    "ndcg": "as recall, but an item counts for more the higher it stands in the list",
    "coverage": "the share of all items that is in anybody's list",
}


def short_section(model: WMF, quality: pd.DataFrame | None) -> Section:
    """Say in a few sentences what this is, for someone who has never seen such a model."""
    users, items = model.interactions.shape
    words = [
        f"The model was shown {count(model.interactions.nnz, 'pair')} of {count(users, 'user')} and "
        f"{count(items, 'item')}: who took what, and how often. It knows no descriptions, categories or prices. From "
        "that alone it found which items belong together, and what each user may want next."
    ]
    if quality is not None and "model" in quality.columns:
        lengths = _lengths(quality)
        wanted = f"recall@{_shown_length(lengths)}"
        found = {row.model: row.value for row in quality[quality["metric"] == wanted].itertuples()}
        shares = [f"{_percent(value)} by {name}" for name, value in found.items()]
        if len(shares) > 1:
            words.append(
                f"Asked afterwards for what users went on to take, among all items: in lists of {lengths[wanted]}, "
                f"{', '.join(shares[:-1])} and {shares[-1]} was found."
            )
    words.append("Look up a user or an item to see for yourself, or go on to the pictures.")
    return Section("In short", "", [Text(" ".join(words))])


def data_section(model: WMF) -> Section:
    """Say what the model was fitted on, and how unevenly that is spread."""
    found = skew(model.interactions)
    facts = [
        ("Users", f"{found.users:,}"),
        ("Items", f"{found.items:,}"),
        ("Pairs of a user and an item", f"{found.pairs:,} ({found.density:.3%} of all that could be)"),
        ("Items of a user", f"{found.pairs_per_user_median:,g} in the middle, {found.pairs_per_user_most:,} at most"),
        ("Users of an item", f"{found.users_per_item_median:,g} in the middle, {found.users_per_item_most:,} at most"),
        ("Share of the most popular 1 % of items", f"{found.top_share:.0%} of all pairs"),
    ]
    picture = _picture(
        lambda: plot_popularity(model.interactions),
        f"Popularity of {found.items:,} items: the top 1 % have {found.top_share:.0%} of all pairs.",
        "A few items have most of the pairs, and most items have few: the long tail. The further the curve hangs to "
        "one side, the easier it is to look good by recommending what is popular, and the less that says.",
    )
    return Section("The data", "What the model learned from.", [Facts(facts), picture])


def fit_section(model: WMF) -> Section:
    """Say how the fit went."""
    history = model.history
    if not history:
        return Section("The fit", "", [Text("The model has no record of its fit: it ran for no epochs.")])
    last, best = history[-1], model.best_epoch
    seconds = sum(record.seconds for record in history)
    facts = [
        ("Epochs", f"{last.epoch}" if best == last.epoch else f"{last.epoch}; the factors are those of epoch {best}"),
        ("Time", f"{seconds:,.1f} s in all, {seconds / len(history):,.2f} s an epoch"),
        ("Objective at the end", f"{history[best - 1].loss:,.6g}"),
        ("Rows solved exactly", f"{last.exact_users:.0%} of users and {last.exact_items:.0%} of items, last epoch"),
    ]
    blocks: list[Block] = [Facts([(label, value) for label, value in facts if "nan" not in value])]
    if not np.isnan([record.loss for record in history]).all():
        blocks.append(
            _picture(
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
            _picture(
                lambda: plot_validation(history, metric),
                f"{metric} on held-out interactions by epoch; the best is epoch {best}.",
                "Measured on interactions that the fit did not see. The marked epoch is the one whose factors were "
                "kept; a curve that falls after it shows that the model had begun to learn by heart.",
            )
        )
    return Section("The fit", "One epoch solves every user once, then every item once.", blocks)


def quality_section(quality: pd.DataFrame | None) -> Section:
    """Compare the model with baselines on held-out interactions, as `compare` measured them."""
    if quality is None:
        how = (
            "Nothing was held out, so this report cannot say how good the recommendations are. With --data and the "
            "columns of the table that the model was fitted to, or with --test and later interactions, it will."
        )
        return Section("How good is it?", "", [Text(how)])
    if "model" not in quality.columns:
        quality = quality.assign(model="model")
    lengths = _lengths(quality)
    shown = [name for name in quality["metric"].unique() if lengths.get(name) in (None, _shown_length(lengths))]
    table = Table(
        ["", *shown], _quality_rows(quality, shown), "In brackets: where the mean lies, with 95 % confidence."
    )
    curves = [_curve(quality, family) for family in ("recall", "ndcg") if _is_curve(lengths, family)]
    meanings = [f"{name}: {_MEANINGS[family]}" for name in shown if (family := name.split("@")[0]) in _MEANINGS]
    intro = f"Asked for what users newly took in the held-out part, among all items. {'; '.join(meanings)}."
    return Section("How good is it?", intro, [table, *map(Text, _differences(quality, shown)), *curves])


def _is_curve(lengths: Mapping[str, int], family: str) -> bool:
    return sum(name.startswith(f"{family}@") for name in lengths) > 1


def _curve(quality: pd.DataFrame, family: str) -> Block:
    return _picture(
        lambda: plot_metric(quality, family),
        f"{family} against the length of the list, for {', '.join(quality['model'].unique())}.",
        f"{family.capitalize()}: {_MEANINGS[family]}. Bands are 95 % intervals over users; where those of two models "
        "overlap, see the differences above, which compare them on the same users.",
    )


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
        ("Items that appear in a list", f"{np.count_nonzero(times):,} of {items:,} ({np.mean(times > 0):.0%})"),
    ]
    picture = _picture(
        lambda: plot_exposure(model.interactions, lists),
        "Places in the lists against popularity, beside what people took themselves.",
        "Items in groups of equal weight, the most popular first. Bars as high as the data's: the lists give a group "
        "as much room as people do. Higher at the left: they push what is popular anyway.",
    )
    return Section("What is recommended", "Do the lists show more than the best-sellers?", [Facts(facts), picture])


def learned_section(model: WMF, names: Mapping[Any, str] | None) -> Section:
    """Show the factors: how many directions they use, and which items they put together."""
    ranks = [spectrum(factors)[1] for factors in (model.user_factors, model.item_factors)]
    factors = model.config.factors
    pictures = [
        _picture(
            lambda: plot_spectrum(model),
            f"Weight of each of {factors} directions; effective rank {ranks[0]:.1f} of users, {ranks[1]:.1f} of items.",
            f"The model describes every user and item by {factors} numbers. How many directions they really use is the "
            f"effective rank: {ranks[0]:.1f} for users and {ranks[1]:.1f} for items. Far below {factors}: fewer "
            "numbers would do.",
        ),
        _picture(
            lambda: plot_item_map(model, names),
            "Map of the items in two dimensions, a few with their nearest neighbours by name.",
            "Each point is an item; close in the model means liked by the same people. For a few items the nearest "
            "ones are named: they should look alike to you. The map keeps two of the many directions, so points that "
            "meet here may be far apart in others.",
        ),
    ]
    return Section("What the model learned", "Nobody told it what the items are.", pictures)


def settings_section(model: WMF) -> Section:
    """List the hyper-parameters, those that were chosen first."""
    rows = {name: (name, _spell(getattr(model.config, name)), _meaning(name)) for name in WMFConfig.names()}
    usual = WMFConfig()
    changed = [name for name in rows if _spell(getattr(model.config, name)) != _spell(getattr(usual, name))]
    blocks: list[Block] = []
    for names, caption in (
        (changed, "Set for this model"),
        ([name for name in rows if name not in changed], "Defaults"),
    ):
        if names:
            blocks.append(Table(["Setting", "Value", "What it is"], [rows[name] for name in names], caption))
    intro = "For those who want to fit the same model to the same data again."
    return Section("Settings", intro, blocks)


def _meaning(name: str) -> str:
    return next(str(spec.metadata["help"]) for spec in fields(WMFConfig) if spec.name == name)


def _spell(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.size:,} numbers"
    if isinstance(value, type | np.dtype):
        return np.dtype(value).name
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _picture(draw: Callable[[], Any], alt: str, caption: str) -> Block:
    """Draw a picture; where there is nothing to draw, say why instead."""
    try:
        return Picture(to_svg(draw()), alt, caption)
    except InputError as error:
        return Text(f"No picture of this: {error}")


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _lengths(quality: pd.DataFrame) -> dict[str, int]:
    """Lengths of the lists by the names of the metrics that have one."""
    parsed = {name: parse_metric(name).k for name in quality["metric"].unique()}
    return {name: k for name, k in parsed.items() if k}


def _shown_length(lengths: Mapping[str, int]) -> int | None:
    if not lengths:
        return None
    return _PREFERRED_LENGTH if _PREFERRED_LENGTH in lengths.values() else max(lengths.values())


def _quality_rows(quality: pd.DataFrame, shown: list[str]) -> list[tuple[str, ...]]:
    """Make a row a model: its name, then each metric with its interval."""
    cells = {(row.model, row.metric): _interval(row.value, row.low, row.high) for row in quality.itertuples()}
    return [(str(name), *(cells.get((name, metric), "") for metric in shown)) for name in quality["model"].unique()]


def _interval(value: float, low: float, high: float) -> str:
    if np.isnan(value):
        return "not known"
    return f"{value:.4f}" if np.isnan(low) else f"{value:.4f} ({low:.4f} to {high:.4f})"


def _differences(quality: pd.DataFrame, shown: list[str]) -> list[str]:
    """Word the paired differences to the first model."""
    if "difference" not in quality.columns:
        return []
    first = quality["model"].iloc[0]
    sentences = []
    for row in quality[quality["metric"].isin(shown)].itertuples():
        if np.isnan(row.difference) or np.isnan(row.difference_low):
            continue
        clear = row.difference_low > 0 or row.difference_high < 0
        side, sign = ("behind", -1) if row.difference < 0 else ("ahead of", 1)
        low, high = sorted((sign * row.difference_low, sign * row.difference_high))
        sentences.append(
            f"{row.metric}: {row.model} is {sign * row.difference:.4f} {side} {first} on the same users "
            f"(95 % interval {low:.4f} to {high:.4f})" + ("." if clear else ", which may be chance.")
        )
    return sentences
