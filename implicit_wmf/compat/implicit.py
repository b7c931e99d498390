"""The interface of ``implicit`` 0.7: ``from implicit_wmf.compat.implicit import AlternatingLeastSquares``.

Where the original answers wrongly, this does not: lists never hold what was filtered out, but end in id -1 with the
lowest float as score (there: liked items, or item 0); equal scores go to the smaller id; negative ids are refused; an
id that `items` or `users` names twice is listed once.

======================================  ====================================================================
here and in ``implicit``                ``implicit_wmf`` itself
======================================  ====================================================================
AlternatingLeastSquares(alpha=a)        WMF(alpha=a): C = 1 + a r, where here C = a r, as with weighting="raw"
fit(user_items)                         fit(user_items), always afresh
recommend(user, user_items[user])       recommend(user); recommend_frame(ids) by raw ids
recommend(..., recalculate_user=True)   recommend(user_items=rows)
similar_items(item)                     similar_items(item)
explain(user, user_items, item)         explain(user, item)
recalculate_user, recalculate_item      fold_in_users, fold_in_items (both of users x items)
partial_fit_users, partial_fit_items    partial_fit
save(file), load(file)                  save(folder), load(folder, mmap=True)
======================================  ====================================================================
"""

from __future__ import annotations

import logging
import os
import secrets
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from .. import kernels
from .._asked import list_length
from .._bars import Bar
from ..config import WMFConfig
from ..errors import InputError
from ..threads import single_threaded_blas
from ..training import EpochRecord, Reached, epochs, gram_matrix
from . import _implicit_data as data
from ._implicit_data import ModelFitError, ParameterWarning, calculate_loss
from ._implicit_evaluation import (
    AUC_at_k,
    generator,
    leave_k_out_split,
    mean_average_precision_at_k,
    ndcg_at_k,
    precision_at_k,
    ranking_metrics_at_k,
    train_test_split,
)
from ._implicit_factors import Factors

__all__ = [
    "AUC_at_k", "AlternatingLeastSquares", "ModelFitError", "ParameterWarning", "calculate_loss", "leave_k_out_split",
    "mean_average_precision_at_k", "ndcg_at_k", "precision_at_k", "ranking_metrics_at_k", "train_test_split",
]  # fmt: skip

Array = NDArray[Any]

_SETTINGS = "regularization factors num_threads iterations use_native use_cg cg_steps calculate_training_loss alpha"
_log = logging.getLogger("implicit")


class AlternatingLeastSquares(Factors):
    """Factors of users and items, with the arguments and answers of ``implicit.als.AlternatingLeastSquares``.

    A stored value r has confidence C = alpha abs(r) and preference 1 if r > 0, else 0; every other cell C = 1, P = 0.
    Cells that a matrix stores twice are added up. `use_cg` lets rows be solved inexactly where that is faster, else
    they are exact; `use_native` and `cg_steps` change nothing. `user_factors` and `item_factors` (None before `fit`)
    may be set; the arrays are copied, and read-only.
    """

    def __init__(
        self, factors: int = 100, regularization: float = 0.01, alpha: float = 1.0, dtype: Any = np.float32,
        use_native: bool = True, use_cg: bool = True, use_gpu: bool = False, iterations: int = 15,
        calculate_training_loss: bool = False, num_threads: int = 0, random_state: Any = None,
    ) -> None:  # fmt: skip
        if use_gpu:
            raise InputError("use_gpu=True: this implementation runs on the CPU; give use_gpu=False")
        self.factors, self.regularization, self.alpha = factors, regularization, alpha
        self.use_native, self.use_cg, self.cg_steps = use_native, use_cg, 3
        self.iterations, self.calculate_training_loss = iterations, calculate_training_loss
        self.num_threads, self.random_state, self.dtype = num_threads, random_state, dtype
        self.dtype = self._config().factor_dtype
        self.fit_callback: Callable[[int, float, float | None], Any] | None = None
        super().__init__()

    def fit(self, user_items: Any, show_progress: bool = True, callback: Any = None) -> None:
        """Fit confidences (CSR, users x items), starting from the factors if there are any.

        ``callback(iteration, seconds, loss)`` is called after each iteration; the loss is None unless asked for. After
        an error the factors are what they were, after Ctrl-C those of the last whole iteration.
        """
        cells = data.check_confidences("user_items", user_items, self.alpha)
        callback, before, start = callback or self.fit_callback, self._factors, self._start(cells.shape)
        try:
            with single_threaded_blas(), Bar(total=self.iterations, disable=not show_progress) as bar:
                for record, reached in self._epochs(cells, start):
                    self._keep(user=reached[0], item=reached[1])
                    loss = data.mean_loss(record.loss, cells) if self.calculate_training_loss else None
                    if loss is not None:
                        bar.set_postfix(loss=loss, refresh=False)
                        _log.info("loss %.4f", loss)
                    bar.update()
                    if callback:
                        callback(record.epoch - 1, record.seconds, loss)
        except ModelFitError:
            self._keep(**before)
            raise

    def _epochs(self, cells: csr_array, start: tuple[Array, Array]) -> Iterator[tuple[EpochRecord, Reached]]:
        """Iterate the training, whose errors here have another name."""
        config = self._config()
        try:
            problem = data.weigh_confidences(cells, config)
            yield from epochs(problem, start, track_loss=self.calculate_training_loss)
        except InputError as error:
            raise ModelFitError(str(error)) from error
        if not config.iterations:
            self._keep(user=start[0], item=start[1])

    def recommend(
        self, userid: Any, user_items: Any, N: int = 10, filter_already_liked_items: bool = True,
        filter_items: ArrayLike | None = None, recalculate_user: bool = False, items: ArrayLike | None = None,
    ) -> tuple[Array, Array]:  # fmt: skip
        """Return ids and scores, (N,) for one user, else (users, N); `user_items` (CSR) has a row for each of them.

        `filter_items` are left out; of `items` alone it is chosen, and the lists are no longer than these.
        """
        count = len(self._fitted("item").factors)
        rows = data.positions("userid", userid, 2**31 if recalculate_user else len(self._fitted("user").factors))
        cells = None
        if filter_already_liked_items or recalculate_user:
            if getattr(user_items, "format", "") != "csr":
                raise InputError(f"user_items must be a CSR matrix, got {type(user_items).__name__}: give .tocsr()")
            cells = data.check_confidences("user_items", user_items, self.alpha, rows.size, count)
        vectors = self._solve("user", cells) if recalculate_user else self._fitted("user").factors[rows]
        if items is not None:
            N = min(N, np.unique(data.positions("items", items, count)).size)
        seen = cells if filter_already_liked_items else None
        return self._top("item", "factors", vectors, np.ndim(userid), N, items, filter_items, seen)

    def rank_items(
        self, userid: Any, user_items: Any, selected_items: ArrayLike, recalculate_user: bool = False
    ) -> tuple[Array, Array]:
        """Rank the first 10 of selected items, liked ones included; ``recommend(items=...)`` is the newer way."""
        warnings.warn("rank_items is deprecated: call recommend with items=", DeprecationWarning, stacklevel=2)
        return self.recommend(userid, user_items, 10, False, None, recalculate_user, selected_items)

    def similar_items(
        self, itemid: Any, N: int = 10, recalculate_item: bool = False, item_users: Any = None,
        filter_items: ArrayLike | None = None, items: ArrayLike | None = None,
    ) -> tuple[Array, Array]:  # fmt: skip
        """Return ids and cosines of the N items nearest to each, itself included."""
        vectors = np.atleast_2d(self.recalculate_item(itemid, item_users)) if recalculate_item else None
        return self._similar("item", itemid, vectors, N, items, filter_items)

    def similar_users(
        self, userid: Any, N: int = 10, filter_users: ArrayLike | None = None, users: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Return ids and cosines of the N users nearest to each, itself included."""
        return self._similar("user", userid, None, N, users, filter_users)

    def recalculate_user(self, userid: Any, user_items: Any) -> Array:
        """Solve rows of `user_items` exactly, (d,) for one id, else (users, d); the model stays as it is."""
        return self._recalculate("user", userid, "user_items", user_items)

    def recalculate_item(self, itemid: Any, item_users: Any) -> Array:
        """Solve rows of `item_users` (items x users) exactly, as `recalculate_user` does."""
        return self._recalculate("item", itemid, "item_users", item_users)

    def partial_fit_users(self, userids: ArrayLike, user_items: Any) -> None:
        """Put these users' recalculated factors into the model, which grows where an id is beyond it."""
        self._put("user", userids, self.recalculate_user(np.atleast_1d(userids), user_items))

    def partial_fit_items(self, itemids: ArrayLike, item_users: Any) -> None:
        """Put these items' recalculated factors into the model, which grows where an id is beyond it."""
        self._put("item", itemids, self.recalculate_item(np.atleast_1d(itemids), item_users))

    def explain(
        self, userid: int, user_items: Any, itemid: int, user_weights: Any = None, N: int = 10
    ) -> tuple[float, list[tuple[int, float]], Any]:
        """Return the score, the N liked items that contribute most to it, and a Cholesky factor for further calls.

        Hu, Koren and Volinsky 2008, section 5. Of `user_items`, the matrix of all users, the row `userid` counts.
        """
        fitted = self._fitted("item")
        items = fitted.factors
        item, cells = data.positions("itemid", itemid, len(items)), data.check_sparse("user_items", user_items)
        mine = data.row_of("user_items", cells, data.positions("userid", userid, cells.shape[0]))
        liked = data.check_confidences("user_items", mine, self.alpha, 1, len(items))
        vectors = items[liked.indices].astype(np.float64)
        if user_weights is None:
            ones, threads = np.ones(len(items)), self._config().num_threads
            gram = fitted.make("gram", lambda: gram_matrix(items, ones, threads))
            stored = vectors.T @ (vectors * (np.abs(liked.data) - 1)[:, None])
            user_weights = scipy.linalg.cho_factor(gram + stored + self.regularization * np.eye(len(gram)))
        scores = np.maximum(liked.data, 0) * (vectors @ scipy.linalg.cho_solve(user_weights, items[item[0]]))
        order = [place for place in np.argsort(-scores, kind="stable") if liked.data[place] >= 0]
        best = order[: list_length(N)]
        return float(scores.sum()), [(int(liked.indices[k]), float(scores[k])) for k in best], user_weights

    def save(self, fileobj_or_path: Any) -> None:
        """Write settings and factors as ``.npz``, which `implicit` reads too; a file appears whole or not at all."""
        values = {name: getattr(self, name) for name in _SETTINGS.split()} | {"dtype": self.dtype.name}
        values |= {f"{side}_factors": factors for side, factors in self._factors.items() if factors is not None}
        if isinstance(self.random_state, int | np.integer):
            values["random_state"] = self.random_state
        if not isinstance(fileobj_or_path, str | os.PathLike):
            np.savez(fileobj_or_path, **values)
            return
        target = _npz(fileobj_or_path)
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        try:
            with part.open("xb") as file:
                np.savez(file, **values)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, fileobj_or_path: Any) -> Self:
        """Read what `save`, or that of `implicit`, wrote; a path may lack its ``.npz``."""
        if isinstance(fileobj_or_path, str | os.PathLike):
            with _npz(fileobj_or_path).open("rb") as file:
                return cls.load(file)
        model = cls()
        try:
            with np.load(fileobj_or_path, allow_pickle=False) as arrays:
                values = {name: arrays[name] for name in arrays}
            model.dtype = np.dtype(str(values.pop("dtype")))
            for name in [*_SETTINGS.split(), *({"random_state", "user_factors", "item_factors"} & set(values))]:
                setattr(model, name, values[name] if values[name].ndim else values[name].item())
            model._config()
        except (KeyError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
            name = getattr(fileobj_or_path, "name", "the file")
            raise InputError(f"{name} is not a saved AlternatingLeastSquares, or damaged: {error}") from error
        return model

    def _config(self) -> WMFConfig:
        if not np.isfinite(self.alpha):
            raise InputError(f"alpha must be a finite number, got {self.alpha}")
        return WMFConfig(
            factors=self.factors, regularization=self.regularization, iterations=self.iterations,
            solver="auto" if self.use_cg else "exact", dtype=self.dtype, num_threads=self.num_threads or None,
        )  # fmt: skip

    def _start(self, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Copy the factors that there are, and draw the others as `implicit` does, users first."""
        random, start = generator(self.random_state), []
        for (side, factors), count in zip(self._factors.items(), shape, strict=True):
            expected = count, self.factors
            if factors is None:
                factors = random.random(expected, dtype=self.dtype) * self.dtype.type(0.01)
            if factors.shape != expected:
                raise InputError(
                    f"{side}_factors have shape {factors.shape}, but user_items and factors need {expected}; set "
                    f"user_factors and item_factors to None to start afresh"
                )
            start.append(kernels.jit.aligned(factors.shape, factors.dtype))
            start[-1][:] = factors
        return start[0], start[1]

    def _recalculate(self, side: str, ids: Any, name: str, matrix: Any) -> Array:
        columns = len(self._fitted("item" if side == "user" else "user").factors)
        solved = self._solve(side, data.check_confidences(name, matrix, self.alpha, np.size(ids), columns))
        return solved if np.ndim(ids) else np.asarray(solved[0])


def _npz(path: str | os.PathLike[str]) -> Path:
    return Path(path) if str(path).endswith(".npz") else Path(f"{path}.npz")
