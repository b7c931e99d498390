"""Whether what was saved and then harmed is refused, or answers as before; never anything else.

Where checksums were made to fit the harm, other answers are no fault: then whatever is asked has to end in an answer or
in a refusal.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from implicit_wmf import WMF, Interactions
from implicit_wmf.checkpoints import MANIFEST as CHECKPOINT
from implicit_wmf.errors import InputError
from implicit_wmf.factorizers import KLMF, ObservedMF
from implicit_wmf.persistence import MANIFEST as MODEL
from implicit_wmf.store import Store, write_store
from implicit_wmf.store.format import MANIFEST as STORE

from .children import Case, Check
from .damages import fresh_copy, harm

Answers = dict[str, Any]
USERS, ITEMS = 12, 9


def models(folder: Path) -> Check:
    """Return the check of saved models, of several estimators and kinds of ids, mapped or not."""
    data = _interactions()
    confidence = data.matrix.copy()
    fits: list[Callable[[], Any]] = [
        lambda: WMF(3, iterations=2, random_state=0).fit(data),
        lambda: WMF(2, iterations=1, random_state=0, dtype="float64").fit(data.matrix),
        lambda: WMF(3, iterations=1, random_state=0, weighting="raw").fit(data.matrix, confidence=confidence),
        lambda: ObservedMF(2, iterations=1, random_state=0).fit(data),
        lambda: KLMF(2, iterations=1, random_state=0).fit(data.matrix),
    ]
    saved = []
    for number, fit in enumerate(fits):
        model = fit()
        model.save(folder / f"model{number}")
        saved.append((type(model), folder / f"model{number}"))

    def answers(number: int, path: Path) -> Answers:
        kind = saved[number % len(saved)][0]
        return _answers_of_model(kind.load(path, mmap=number % 2 == 1))

    # Of a mapped model's factors the header alone is looked at.
    return _check(folder, [path for _, path in saved], MODEL, answers, lambda case: case["folder"] % 2 == 1)


def checkpoints(folder: Path) -> Check:
    """Return the check of checkpoints, which are resumed; of fits in memory, one of which keeps an earlier epoch."""
    data = _interactions()
    held_out = csr_array(data.matrix.toarray()[:, ::-1])
    settings: list[dict[str, Any]] = [{}, {"validation": held_out, "metric": "ndcg@2"}]
    for number, options in enumerate(settings):
        WMF(3, iterations=2, random_state=0).fit(
            data, checkpoint=folder / f"checkpoint{number}", progress=False, **options
        )

    def answers(number: int, path: Path) -> Answers:
        model = WMF(3, iterations=3, random_state=0)
        model.fit(data, checkpoint=path, resume=True, progress=False, **settings[number % len(settings)])
        losses = [record.loss for record in model.history]
        return {"users": model.user_factors, "items": model.item_factors, "losses": np.array(losses)}

    return _check(folder, [folder / f"checkpoint{number}" for number in range(len(settings))], CHECKPOINT, answers)


def stores(folder: Path) -> Check:
    """Return the check of stores, which are verified, read and fitted."""
    data = _interactions()
    write_store(folder / "store0", data, shards=3)
    write_store(folder / "store1", Interactions.from_matrix(data.matrix), shards=1)
    return _check(
        folder, [folder / "store0", folder / "store1"], STORE, lambda _, path: _answers_of_store(Store.open(path))
    )


def _interactions() -> Interactions:
    generator = np.random.default_rng(0)
    lines = pd.DataFrame(
        {
            "user": [f"ü{number:02}" for number in generator.integers(USERS, size=60)],
            "item": generator.integers(ITEMS, size=60) * 1000,
            "value": generator.integers(1, 5, size=60) / 2,
            "day": np.datetime64("2024-01-01") + generator.integers(400, size=60).astype("timedelta64[D]"),
        }
    )
    return Interactions.from_frame(lines, user="user", item="item", value="value", timestamp="day")


def _check(
    folder: Path,
    sources: list[Path],
    manifest: str,
    answers: Callable[[int, Path], Answers],
    may_differ: Callable[[Case], bool] = lambda _: False,
) -> Check:
    """Return the check of the folders `sources`, which a case names by number.

    Parameters
    ----------
    folder : pathlib.Path
        To work in.
    sources : list of pathlib.Path
        As they were saved.
    manifest : str
        The name of their JSON.
    answers : callable
        Asks the folder at a path, which is a copy of the source of that number, all that there is to ask.
    may_differ : callable
        Whether other answers are no fault although the checksums were left as they were.
    """
    expected = {}

    def check(case: Case) -> str:
        number = case["folder"]
        source = sources[number % len(sources)]
        # Whether it is mapped goes by the number as well.
        kind = (number % len(sources), number % 2)
        if kind not in expected:
            expected[kind] = answers(number, fresh_copy(folder, "whole", source))
        path = fresh_copy(folder, "harmed", source)
        changed = harm(path, manifest, case)
        try:
            # Numbers that are no longer what they were may overflow.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                given = answers(number, path)
        except InputError as error:
            assert str(error).strip(), "a refusal without a word"
            if not changed:
                raise AssertionError(f"refused although nothing has changed: {error}") from error
            return "refused"
        finally:
            shutil.rmtree(path, ignore_errors=True)
        if _same(expected[kind], given):
            return "same"
        assert case["mend"] or may_differ(case), (
            f"other answers although the checksums do not fit: {_differing(expected[kind], given)}"
        )
        return "answered"

    return check


def _same(one: Answers, other: Answers) -> bool:
    return not _differing(one, other)


def _differing(one: Answers, other: Answers) -> list[str]:
    return [name for name in one if not _equal(one[name], other.get(name))]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return bool(one == other)


def _answers_of_model(model: Any) -> Answers:
    """Ask a model all that reads its arrays by kernels, which look at no bounds."""
    data = model.interactions
    users, items = np.arange(len(model.user_factors)), np.arange(len(model.item_factors))
    answers: Answers = {"users": data.users.tolist(), "items": data.items.tolist(), "config": repr(model.config)}
    asked: dict[str, Callable[[], Any]] = {
        "factors": lambda: (np.array(model.user_factors), np.array(model.item_factors)),
        "matrix": lambda: (data.matrix.toarray(),),
        "lists": lambda: model.recommend(users, N=4),
        "similar": lambda: model.similar_items(items, N=3),
        "history": lambda: (np.array([record.loss for record in model.history], dtype=float),),
    }
    if isinstance(model, WMF):
        known = csr_array(np.eye(1, len(items), dtype=np.float32))
        weights = known if model.config.weighting == "raw" else None
        asked["explained"] = lambda: (repr(model.explain(0, 0, N=3)),)
        asked["folded"] = lambda: (model.fold_in_users(known, confidence=weights),)
    refused = None
    for name, ask in asked.items():
        try:
            answers |= {f"{name} {number}": part for number, part in enumerate(ask())}
        except InputError as error:
            refused = error
    if refused is not None:
        raise refused
    return answers


def _answers_of_store(store: Store) -> Answers:
    data = store.interactions()
    answers: Answers = {"users": data.users.tolist(), "items": data.items.tolist(), "matrix": data.matrix.toarray()}
    answers["times"] = None if data.timestamps is None else np.array(data.timestamps)
    for shard in store.shards:
        answers[f"shard {shard.number}"] = shard.by_user().toarray()
        answers[f"turned shard {shard.number}"] = shard.by_item().toarray()
    model = WMF(2, iterations=1, random_state=0).fit(store, progress=False)
    return answers | {"user factors": np.array(model.user_factors), "item factors": np.array(model.item_factors)}
