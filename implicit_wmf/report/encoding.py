"""The explorer's data as one text that any page can hold: typed arrays and strings, compressed, in base64.

The binary begins with the length of a JSON header (uint32) and the header: plain values, and for each array its type,
offset and length. Arrays follow in little-endian order, each from a multiple of 8 on. A list of strings is two of them:
all of them in UTF-8, and each one's length in UTF-16 code units, which is how JavaScript cuts the decoded text up.
"""

from __future__ import annotations

import base64
import json
import re
import unicodedata
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .explorer import Explorer

Arrays = dict[str, NDArray[Any]]

# Letters that Unicode does not take apart, as people type them who lack the key. The page folds what is typed with the
# same table, which stands in the header.
FOLDS = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i", "ς": "σ",
}  # fmt: skip
COSINE_SCALE = 10_000  # cosines as int16: half of a float32, and compressible

_FOLDED = str.maketrans(FOLDS)
_ALIGNMENT = 8


def encode(explorer: Explorer) -> str:
    """Write an explorer as base64 of zlib data, whose layout the module describes; `explorer.js` reads it."""
    arrays: Arrays = {
        "item_users": explorer.item_users.astype(np.uint32),
        "similar": explorer.similar,
        "cosines": _scaled(explorer.cosines),
        "user_items": explorer.user_items.astype(np.uint32),
        "refused_items": explorer.refused_items.astype(np.uint32),
        "history_ends": explorer.history_ends.astype(np.uint32),
        "history": explorer.history,
        "amounts": _as_page_has(explorer.amounts),
        "recommended": explorer.recommended,
        "scores": _as_page_has(explorer.scores),
    }
    if explorer.reasons is not None:
        why = explorer.reasons
        arrays |= {"explained": why.score, "reasons": why.items, "contributions": why.contributions}
    texts = {
        "item_ids": explorer.item_ids,
        "item_names": explorer.item_names,
        "user_ids": explorer.user_ids,
        "item_search": [_searched(*pair) for pair in zip(explorer.item_ids, explorer.item_names, strict=True)],
        "user_search": [_searched(one, one) for one in explorer.user_ids],
    }
    for name, strings in texts.items():
        arrays |= _strings(name, strings)
    values = {
        "users": explorer.users,
        "lists": explorer.recommended.shape[1],
        "near": explorer.similar.shape[1],
        "why": 0 if explorer.reasons is None else explorer.reasons.items.shape[2],
        "cosine_scale": COSINE_SCALE,
        "folds": FOLDS,
        "score_note": printable(explorer.score_note),
        "reasons_note": printable(explorer.reasons_note),
    }
    return base64.b64encode(zlib.compress(_pack(values, arrays), 6)).decode("ascii")


def fold(text: str) -> str:
    """Reduce a text to what a search compares: small letters without accents, words one blank apart."""
    if not text.isascii():
        text = "".join(one for one in unicodedata.normalize("NFKD", text) if unicodedata.category(one) != "Mn")
    return re.sub(r"\s+", " ", text.lower().translate(_FOLDED)).strip()


def printable(text: str) -> str:
    """Replace halves of surrogate pairs, which no file in UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _searched(one: str, name: str) -> str:
    """Name and id, each a line with an end of line on both sides: the page sees by it where one begins and ends."""
    return f"\n{fold(one)}\n" if one == name else f"\n{fold(name)}\n{fold(one)}\n"


def _strings(name: str, texts: list[str]) -> Arrays:
    clean = [printable(text) for text in texts]
    units = [len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2 for text in clean]
    together = np.frombuffer("".join(clean).encode("utf-8"), np.uint8)
    return {f"{name}_text": together, f"{name}_units": np.array(units, np.uint32)}


def _scaled(cosines: NDArray[Any]) -> NDArray[np.int16]:
    return np.asarray(np.rint(np.clip(np.nan_to_num(cosines), -1, 1) * COSINE_SCALE), np.int16)


def _as_page_has(values: NDArray[Any]) -> NDArray[Any]:
    """Take values as one of the types that the page reads."""
    return values if values.dtype == np.float32 else values.astype(np.float64)


def _pack(values: dict[str, Any], arrays: Arrays) -> bytes:
    """Lay out the header and the arrays; offsets count from the first multiple of 8 after the header."""
    places: dict[str, tuple[str, int, int]] = {}
    parts: list[bytes] = []
    end = 0
    for name, array in arrays.items():
        content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        content += bytes(-len(content) % _ALIGNMENT)
        places[name] = (array.dtype.name, end, array.size)
        parts.append(content)
        end += len(content)
    header = json.dumps(values | {"arrays": places}).encode("ascii")
    header += b" " * (-(len(header) + 4) % _ALIGNMENT)
    return b"".join([len(header).to_bytes(4, "little"), header, *parts])
