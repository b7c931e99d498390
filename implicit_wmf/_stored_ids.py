"""Raw ids as plain arrays of numbers and text, which any reader of ``.npy`` files understands."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import InputError

Arrays = dict[str, NDArray[Any]]


def pack_ids(name: str, ids: pd.Index) -> tuple[dict[str, Any], Arrays]:
    """Describe an index as JSON and plain arrays.

    Four kinds: a range (positions themselves), an array (numbers and dates), text (UTF-8 bytes and offsets), and JSON
    text of mixed numbers, text and tuples.

    Raises
    ------
    InputError
        If an id is of another kind; names it.
    """
    description = {"count": len(ids), "dtype": str(ids.dtype)}
    if isinstance(ids, pd.RangeIndex) and ids.start == 0 and ids.step == 1:
        return description | {"kind": "range"}, {}
    if isinstance(ids.dtype, np.dtype) and ids.dtype.kind in "iufbmM":
        return description | {"kind": "array"}, {"values": ids.to_numpy()}
    values = ids.tolist()
    if all(isinstance(value, str) for value in values):
        return description | {"kind": "text"}, _pack_text(values)
    texts = [json.dumps(_to_json(name, position, value), allow_nan=False) for position, value in enumerate(values)]
    return description | {"kind": "json"}, _pack_text(texts)


def unpack_ids(description: dict[str, Any], arrays: Arrays) -> pd.Index:
    """Undo :func:`pack_ids`; raises KeyError or ValueError if the parts do not fit."""
    kind, count = description["kind"], description["count"]
    if kind == "range":
        return pd.RangeIndex(count)
    if kind == "array":
        ids = pd.Index(np.array(arrays["values"]))
    else:
        texts = _unpack_text(arrays)
        values = texts if kind == "text" else [_from_json(json.loads(text)) for text in texts]
        ids = pd.Index(values, dtype=description["dtype"], tupleize_cols=False)
    if len(ids) != count:
        raise ValueError(f"there are {len(ids)} ids where {count} were recorded")
    return ids


def _pack_text(values: list[str]) -> Arrays:
    encoded = [value.encode("utf-8", "surrogatepass") for value in values]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(value) for value in encoded], out=offsets[1:])
    return {"bytes": np.frombuffer(b"".join(encoded), dtype=np.uint8), "offsets": offsets}


def _unpack_text(arrays: Arrays) -> list[str]:
    data, offsets = arrays["bytes"].tobytes(), arrays["offsets"].tolist()
    return [data[a:b].decode("utf-8", "surrogatepass") for a, b in zip(offsets[:-1], offsets[1:], strict=True)]


def _to_json(name: str, position: int, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple):
        return [_to_json(name, position, part) for part in value]
    if isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise InputError(
        f"{name}: the id {value!r} at position {position} is a {type(value).__name__}, which cannot be saved; text, "
        f"finite numbers, tuples of them and datetime64 without a time zone can. Convert the ids to text before fitting"
    )


def _from_json(value: Any) -> Any:
    return tuple(_from_json(part) for part in value) if isinstance(value, list) else value
