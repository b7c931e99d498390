"""What ids and items are called, in text that people can see."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

import pandas as pd

from .._ids import spell
from ..errors import InputError


def spell_ids(ids: pd.Index) -> list[str]:
    """Spell ids; with the quotes of a text one that cannot be seen, and all where two read alike, such as 1 and '1'."""
    texts = [str(one) for one in ids.tolist()]
    if len(set(texts)) < len(texts):
        return [repr(one) for one in ids.tolist()]
    seen = [text if is_visible(text) else repr(text) for text in texts]
    return seen if len(set(seen)) == len(seen) else texts


def name_items(names: Mapping[Any, str] | pd.Series | None, items: pd.Index, spelled: list[str]) -> list[str]:
    """Name each item, by its id where there is no other name.

    Parameters
    ----------
    names : mapping or pandas.Series of raw item id to str; optional
        The last one counts where a Series has several for an item. A name that is empty, missing or nothing that can be
        seen is none.
    items : pandas.Index
        Raw ids.
    spelled : list of str
        As `spell_ids` spells them.

    Returns
    -------
    list of str
        A text for each item.

    Raises
    ------
    InputError
        If `names` is of another kind, or has none of the items.
    """
    if names is None:
        return spelled
    if not isinstance(names, (Mapping, pd.Series)):
        raise InputError(f"names must be a mapping or a Series of raw item id -> text, got {type(names).__name__}")
    keys, values = (names.index.tolist(), names.tolist()) if isinstance(names, pd.Series) else (names, names.values())
    known = dict(zip(keys, values, strict=True))
    found = [known.get(one) for one in items.tolist()]
    if known and all(name is None for name in found):
        raise InputError(
            f"names: none of the items has a name; its keys are such as {spell(list(known)[:2])}, the items' ids such "
            f"as {spell(items[:2])}: give keys of the same kind"
        )
    texts = ["" if not isinstance(name, str) and pd.isna(name) else str(name).strip() for name in found]
    return [text if is_visible(text) else one for text, one in zip(texts, spelled, strict=True)]


def is_visible(text: str) -> bool:
    """Tell whether there is anything to see: not only blanks and letters that control the setting."""
    return any(not letter.isspace() and unicodedata.category(letter) not in ("Cc", "Cf") for letter in text)
