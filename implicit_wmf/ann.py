"""Factors handed over: to an approximate index of nearest neighbours, and as plain files."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ._asked import list_length
from ._folders import writing_folder
from .errors import InputError, MissingExtraError
from .interactions import Interactions
from .parameters import as_path, one_of, whole
from .recommending import Recommending

Array = NDArray[Any]

_ITEMS = 1 << 16  # added to an index at a time


class IndexQuality(NamedTuple):
    """How good an approximate index is.

    Attributes
    ----------
    recall : float
        Share of the N items of the index's lists that are as good as the exact lists' last, the mean over users.
    users : int
        Users it was measured on.
    """

    recall: float
    users: int


class Exporting(Recommending):
    """What other programs recommend from: an approximate index over items, or the factors themselves."""

    def to_usearch(
        self,
        path: str | os.PathLike[str],
        *,
        connectivity: int = 16,
        expansion_add: int = 256,
        expansion_search: int = 64,
        dtype: str = "f32",
        N: int = 10,
        sample: int = 1000,
    ) -> IndexQuality:
        """Write a USearch index of the items, to be searched for the highest inner products, and measure its recall.

        An item's vector is its factors and one coordinate more, sqrt(max_k |h_k|^2 - |h_j|^2), which makes all of them
        equally long: then the nearest by distance or angle are those of the highest inner product with a user's
        vector that has 0 there (Bachrach et al. 2014, "Speeding Up the Xbox Recommender System Using a Euclidean
        Transformation for Inner-Product Spaces", section 3). Keys are the items' positions: ``interactions.items``
        has their raw ids. The distance of the index is 1 less the score.

        Parameters
        ----------
        path : str or path
            File to write; one that is there is replaced once the new one is complete.
        connectivity, expansion_add : int
            USearch's parameters of the graph: links of an item, and candidates that are kept while it is built. More
            takes longer and finds more.
        expansion_search : int
            Candidates that are kept while recall is measured. The file does not hold it: give it to ``Index.restore``
            as well, whose own is 64.
        dtype : {"f32", "f16", "bf16"}
            Precision of the stored vectors.
        N : int
            Length of the lists that recall is measured on.
        sample : int
            How many users, evenly spaced, to measure it on.

        Returns
        -------
        IndexQuality
            Recall of the N best items, searched in the file, against `recommend` without filters; and the number of
            users it is the mean of. It depends on the data: where it is low, exact lists are the better choice.

        Raises
        ------
        MissingExtraError
            If USearch is not installed.
        InputError
            For parameters out of range, vectors that `dtype` cannot hold, and files that cannot be written.

        Notes
        -----
        One thread builds the graph: several that add at the same time leave out links, so that some items are never
        found (with two threads, one in some 200 of 3,000 items), and the graph differs from run to run. Filters cannot
        be given to an index: ask for longer lists and drop what the user has.

        Examples
        --------
        >>> model.to_usearch("items.usearch")  # doctest: +SKIP
        IndexQuality(recall=0.9424, users=1000)
        >>> from usearch.index import Index  # doctest: +SKIP
        >>> found = Index.restore("items.usearch").search(np.append(model.user_factors[7], 0), 10)  # doctest: +SKIP
        >>> found.keys, 1 - found.distances  # ids and scores  # doctest: +SKIP
        """
        for name, value in (("connectivity", connectivity), ("expansion_add", expansion_add),
                            ("expansion_search", expansion_search), ("sample", sample)):  # fmt: skip
            whole(1)(name, value)
        one_of("f32", "f16", "bf16")("dtype", dtype)
        length, target = list_length(N), as_path("path", path)
        if not target.name:
            raise InputError(f"path is {str(path)!r}, which has no name; name a file that is to be made")
        try:
            from usearch.index import Index
        except ImportError as error:
            raise MissingExtraError("usearch", "ann", "to_usearch") from error
        users = _spread(len(self._state().user_factors), sample)
        vectors, items = self._scoring_factors(users)
        index = Index(
            ndim=items.shape[1] + 1,
            metric="ip",
            dtype=dtype,
            connectivity=connectivity,
            expansion_add=expansion_add,
        )
        self._add_items(index, items, dtype)
        _save(index, target)
        written = Index.restore(str(target), view=True, expansion_search=expansion_search)
        return IndexQuality(self._recall(written, users, (vectors, items), min(length, len(items))), users.size)

    def _add_items(self, index: Any, items: Array, dtype: str) -> None:
        squares = np.einsum("jk,jk->j", items, items, dtype=np.float64)
        limit = {"f16": np.finfo(np.float16).max}.get(dtype, np.finfo(np.float32).max)
        if not squares.max() < float(limit) ** 2:
            raise InputError(f"dtype: {dtype} cannot hold the longest item's norm, {np.sqrt(squares.max()):g}")
        last = np.sqrt(squares.max() - squares)
        for begin in range(0, len(items), _ITEMS):
            span = slice(begin, begin + _ITEMS)
            vectors = np.column_stack([items[span], last[span]]).astype(np.float32)
            keys = np.arange(begin, begin + len(vectors), dtype=np.uint64)
            index.add(keys, vectors, threads=1)  # several lose links between the items that they add at once

    def _recall(self, index: Any, users: NDArray[np.int64], factors: tuple[Array, Array], N: int) -> float:
        vectors, items = factors
        queries = np.column_stack([vectors, np.zeros(len(vectors))]).astype(np.float32)
        found = index.search(queries, N, threads=self._threads() or 0)
        exact, _ = self.recommend(users, N, filter_already_liked_items=False)
        hits = 0
        for vector, best, keys, count in zip(vectors.astype(np.float64), exact, found.keys, found.counts, strict=True):
            # any of equally good items will do: those of a user without data are all equal
            scores = items[keys[:count].astype(np.int64)].astype(np.float64) @ vector
            hits += int(np.count_nonzero(scores >= (items[best].astype(np.float64) @ vector).min()))
        return hits / exact.size

    def export_factors(self, path: str | os.PathLike[str]) -> None:
        """Write the vectors whose inner products are the scores as plain files, for other programs.

        Parameters
        ----------
        path : str or path
            Folder to make; it appears whole or not at all. In it are ``user_factors.npy`` and ``item_factors.npy``,
            C-ordered arrays of the factors' dtype (an estimator's biases are columns of their own), and ``users.csv``
            and ``items.csv``: the raw ids of their rows, under the headings position and id.

        Raises
        ------
        InputError
            If the place cannot be written, or something is there.
        """
        target = as_path("path", path)
        if target.exists():
            raise InputError(f"path: {target} is there already; move it away, or choose another path")
        data: Interactions = self._state().interactions
        users, items = self._scoring_factors(np.arange(data.shape[0]))
        with writing_folder(target) as folder:
            for name, factors, ids in (("user", users, data.users), ("item", items, data.items)):
                np.save(folder / f"{name}_factors.npy", np.ascontiguousarray(factors), allow_pickle=False)
                table = pd.DataFrame({"position": np.arange(len(ids)), "id": ids})
                table.to_csv(folder / f"{name}s.csv", index=False)


def _spread(count: int, sample: int) -> NDArray[np.int64]:
    """Evenly spaced positions, all of them if they are no more than the sample."""
    return np.arange(min(count, sample)) * count // min(count, sample)


def _save(index: Any, path: Path) -> None:
    """Write an index beside its place, then rename."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            index.save(str(beside))
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # USearch raises RuntimeError where a file cannot be written
        raise InputError(f"path: cannot write {path} ({error}); choose another place") from error
