"""Raw ids: what users and items are called outside, turned into positions and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .errors import InputError

Place = Callable[[int], str]
LARGEST_SIDE = 2**31 - 1


def spell(values: Iterable[Any], limit: int = 5) -> str:
    """Show the first few values as a message does."""
    shown = list(values)
    more = ", ..." if len(shown) > limit else ""
    return ", ".join(repr(plain(value)) for value in shown[:limit]) + more


def plain(value: Any) -> Any:
    """Unwrap a NumPy scalar, so that a message reads 3 and not np.int64(3)."""
    return value.item() if isinstance(value, np.generic) and value.dtype.kind in "biufUS" else value


def refuse_masked(values: Any, name: str) -> None:
    """Refuse a masked array, whose mask NumPy's functions would lose in silence."""
    if isinstance(values, np.ma.MaskedArray):
        raise InputError(f"{name}: met a masked array, whose mask would be lost; give its filled() or compressed()")


def as_array(values: Any, name: str) -> NDArray[Any]:
    """Take a sequence as an array of whatever dimensions and dtype."""
    refuse_masked(values, name)
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name}: not an array ({error}); give a flat sequence") from error


def check_side(size: int, name: str) -> None:
    """Refuse a number of users or items that 32-bit indices cannot count."""
    if size > LARGEST_SIDE:
        raise InputError(f"{name}: {size} is more than the {LARGEST_SIDE} that can be numbered; split the data")


def make_index(ids: Any, name: str, size: int | None = None) -> pd.Index | None:
    """Given ids as a flat Index without missing or repeated ids; for None the positions, if their number is known."""
    if ids is None:
        return None if size is None else pd.RangeIndex(size)
    index = flat_index(ids, name)
    if size is not None and len(index) != size:
        raise InputError(f"{name}: {len(index)} ids given for {size} {name}; give one id for each")
    _check_given(index, name)
    return index


def flat_index(ids: Any, name: str) -> pd.Index:
    """Any sequence of ids as a one-level Index whose dtype never merges two different ids."""
    if isinstance(ids, (str, bytes)) or not pd.api.types.is_list_like(ids, allow_sets=False):
        raise InputError(f"{name}: expected a sequence of ids, met {ids!r}; give a list, an array or an Index")
    if not isinstance(ids, (pd.Index, pd.Series, np.ndarray, pd.api.extensions.ExtensionArray)):
        ids = list(ids)
    if getattr(ids, "ndim", 1) != 1 and not isinstance(ids, pd.MultiIndex):
        raise InputError(f"{name}: the ids have {ids.ndim} dimensions; give a flat sequence")
    if isinstance(ids, pd.MultiIndex):
        return ids.to_flat_index()
    _check_kind(getattr(ids, "dtype", None), name)
    index = pd.Index(ids, tupleize_cols=False)
    if isinstance(index.dtype, pd.CategoricalDtype):
        index = index.astype(index.categories.dtype)
    if isinstance(ids, list) and index.dtype.kind in "fc" and not all(isinstance(one, float) for one in ids):
        # [2**53 + 1, 0.5] as float64 would change the first id.
        index = pd.Index(ids, dtype=object, tupleize_cols=False)
    return index.rename(None)


def _check_kind(dtype: Any, name: str) -> None:
    """Refuse what pandas has no Index for; to convert long doubles to float64 might make one id of two."""
    if isinstance(dtype, np.dtype) and dtype in (np.float16, np.longdouble, np.clongdouble) and dtype != np.float64:
        raise InputError(f"{name}: ids cannot be of dtype {dtype}; convert them to whole numbers, float64 or text")


@contextmanager
def _hashing(name: str) -> Iterator[None]:
    try:
        yield
    except TypeError as error:
        raise InputError(f"{name}: ids must be hashable ({error}); use numbers, text or tuples") from error


def _check_given(index: pd.Index, name: str) -> None:
    check_side(len(index), name)
    missing = np.flatnonzero(index.isna())
    if missing.size:
        raise InputError(f"{name}: the id at position {missing[0]} is missing; remove it or give it a name")
    with _hashing(name):
        if index.dtype == object:
            set(map(hash, index))  # pandas finds no duplicates among lists, and does not complain
        repeated = np.flatnonzero(index.duplicated())
    if repeated.size:
        place = repeated[0]
        raise InputError(f"{name}: the id {plain(index[place])!r} at position {place} was given before; give it once")


def number_ids(
    column: pd.Series, name: str, given: pd.Index | None, place: Place
) -> tuple[NDArray[np.int64], pd.Index]:
    """Each line's position in the Index of ids: the ``given`` one, or a new one, sorted when its ids can be."""
    codes, uniques = _factorize(column, name)
    missing = np.flatnonzero(codes < 0)
    if missing.size:
        raise InputError(f"{name}: the id at {place(int(missing[0]))} is missing; remove the line or name it")
    if given is None:
        positions, index = _sorted_ids(uniques)
        check_side(len(index), name)
    else:
        positions, index = locate(given, uniques, name), given
        _check_known(positions, uniques, codes, name, place)
    return positions[codes], index


def _factorize(column: pd.Series, name: str) -> tuple[NDArray[np.int64], pd.Index]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, seen = pd.factorize(column.cat.codes.to_numpy())
        if -1 in seen:
            codes = np.where(seen[codes] < 0, -1, codes)
            # Never read: number_ids refuses the missing line first; it only keeps take() in range.
            seen = np.maximum(seen, 0)
        return codes.astype(np.int64), column.cat.categories.take(seen)
    _check_kind(column.dtype, name)
    values = column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array
    with _hashing(name):
        codes, uniques = pd.factorize(values)
    return codes.astype(np.int64, copy=False), _unique_index(uniques)


def _unique_index(uniques: Any) -> pd.Index:
    """Distinct ids as an Index: nullable integers as plain ones, objects unchanged unless all text or all int64."""
    if isinstance(uniques, np.ndarray) and uniques.dtype == object:
        kind = pd.api.types.infer_dtype(uniques, skipna=False)
        if kind == "integer" and all(-(2**63) <= one < 2**63 for one in uniques):
            return pd.Index(uniques.astype(np.int64))
        return pd.Index(uniques) if kind == "string" else pd.Index(uniques, dtype=object, tupleize_cols=False)
    if pd.api.types.is_integer_dtype(uniques.dtype) and not isinstance(uniques.dtype, np.dtype):
        return pd.Index(uniques.to_numpy(dtype=np.uint64 if uniques.dtype.kind == "u" else np.int64))
    return pd.Index(uniques)


def _sorted_ids(uniques: pd.Index) -> tuple[NDArray[np.int64], pd.Index]:
    """Sorted ids and the place of each in them; unsortable ids (text among numbers) stay as they came."""
    try:
        order = np.asarray(uniques.argsort())
    except TypeError:
        return np.arange(len(uniques), dtype=np.int64), uniques
    positions = np.empty(len(uniques), dtype=np.int64)
    positions[order] = np.arange(len(uniques))
    return positions, uniques.take(order)


def _check_known(
    positions: NDArray[np.int64], uniques: pd.Index, codes: NDArray[np.int64], name: str, place: Place
) -> None:
    unknown = np.flatnonzero(positions < 0)
    if unknown.size:
        first = int(np.argmax(positions[codes] < 0))
        raise InputError(
            f"{name}: {unknown.size} ids are not among the given ones: {spell(uniques.take(unknown))} "
            f"(first at {place(first)}); add them or remove their lines"
        )


def locate(index: pd.Index, ids: pd.Index, name: str) -> NDArray[np.int64]:
    """Position in ``index`` of each id, -1 where there is none."""
    with _hashing(name):
        if index.dtype == ids.dtype or (index.dtype.kind == "i" and ids.dtype.kind == "i"):
            return np.asarray(index.get_indexer(ids), dtype=np.int64)
        if ids.dtype == bool:
            return np.full(len(ids), -1, dtype=np.int64)
        # pandas compares int64 with float64 as floats, so that 2.0**53 finds the id 2**53 + 1; a dict does not.
        table = dict(zip(index.tolist(), range(len(index)), strict=True))
        return np.fromiter((table.get(one, -1) for one in ids.tolist()), dtype=np.int64, count=len(ids))


def same_ids(one: pd.Index, other: pd.Index) -> bool:
    """Whether ids are the same in the same order, as far as both sides have any."""
    return isinstance(one, pd.RangeIndex) or isinstance(other, pd.RangeIndex) or bool(one.equals(other))


def wanted_ids(ids: Any, name: str) -> pd.Index:
    """One id or a sequence of ids as an index."""
    single = isinstance(ids, (tuple, frozenset)) or pd.api.types.is_scalar(ids) or not pd.api.types.is_list_like(ids)
    return flat_index([ids] if single else ids, name)


def as_ids(index: pd.Index, texts: Sequence[str], name: str) -> pd.Index:
    """Ids whose text was typed; InputError names the unknown ones."""
    places = {str(value): place for place, value in enumerate(index)}
    unknown = [text for text in texts if text not in places]
    if unknown:
        raise InputError(f"{name}: no {spell(unknown)}; the data hold {len(index)}, such as {spell(index[:2])}")
    return index.take([places[text] for text in texts])


def positions_of(index: pd.Index, ids: Any, name: str) -> NDArray[np.int64]:
    """Positions of one id or a sequence of ids; InputError names the unknown ones."""
    wanted = wanted_ids(ids, name)
    positions = locate(index, wanted, name)
    unknown = np.flatnonzero(positions < 0)
    if unknown.size:
        raise InputError(
            f"{name}: {unknown.size} of {len(wanted)} ids are unknown: {spell(wanted.take(unknown))}; "
            f"the data hold {len(index)} ids, such as {spell(index[:2])}"
        )
    return positions
