"""What a user writes, all of whose types are known."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implicit_wmf import WMF, EpochRecord, InputError, Interactions, ItemKNN, MostPopular, WMFConfig
from implicit_wmf.evaluation import Recommender, compare, evaluate, split_random
from implicit_wmf.factorizers import KLMF, ObservedMF, SymmetricMF
from implicit_wmf.tuning import Range, tune


def purchases() -> Interactions:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "who": generator.integers(0, 30, 400),
            "what": generator.integers(0, 20, 400),
            "n": generator.integers(1, 5, 400),
        }
    )
    return Interactions.from_frame(frame, user="who", item="what", value="n")


def losses(record: EpochRecord, model: WMF) -> bool:
    return record.loss < 0 or not model.history


def fit(data: Interactions, validation: Interactions) -> WMF:
    config = WMFConfig(factors=4, iterations=3, random_state=0)
    model: WMF = WMF.from_config(config).fit(data, validation=validation, metric=["ndcg@5", "hit@5"], callback=losses)
    best: int = model.best_epoch
    assert 1 <= best <= len(model.history)
    return model.set_params(alpha=2.0).fit(data, progress=False)


def ask(model: WMF) -> NDArray[np.int32]:
    ids, scores = model.recommend([0, 1], N=3, filter_items=np.array([2]))
    one, _ = model.recommend(0)
    assert one.shape == (10,)
    assert ids.shape == scores.shape == (2, 3)
    similar, _ = model.similar_items(range(3), metric="dot", include_self=False)
    assert similar.ndim == 2
    explanation = model.explain(0, 1, N=2)
    reasons: NDArray[np.float64] = explanation.contributions
    assert reasons.shape == (2,)
    table: pd.DataFrame = model.recommend_frame([3, 4], N=3, unknown="popular")
    assert set(table["user"]) <= {3, 4}
    listed: NDArray[np.int32] = explanation.ids
    return listed


def fold_in(model: WMF) -> float:
    vectors = model.fold_in_users(np.eye(2, 20))
    assert_type(vectors, NDArray[Any])
    more: WMF = model.partial_fit(purchases(), iterations=2)
    return float((vectors @ more.item_factors.T).max()) + more.loss()


def store(model: WMF, folder: Path) -> WMF:
    model.save(folder / "model")
    model.save(str(folder / "model"))
    try:
        return assert_type(WMF.load(folder / "model", mmap=True), WMF)
    except InputError as error:
        raise SystemExit(str(error)) from error


def judge(train: Interactions, test: Interactions) -> None:
    models: dict[str, Recommender] = {"knn": ItemKNN(5).fit(train), "popular": MostPopular().fit(train)}
    compare(models, train, test, metrics="ndcg@5", bootstrap=10)
    ratings: ObservedMF = ObservedMF(2, iterations=2).fit(train)
    counts: KLMF = KLMF(2, iterations=2).fit(train)
    square: SymmetricMF = SymmetricMF(2, starts=1).fit(np.eye(3))
    assert np.isfinite([ratings.rating_mean, counts.loss(), square.loss()]).all()


def main(folder: Path) -> None:
    train, test = split_random(purchases(), test_fraction=0.25, random_state=1)
    model = store(fit(train, test), folder)
    ask(model)
    evaluate(model, train, test, metrics=["recall@5"], bootstrap=10)
    judge(train, test)
    found = tune(train, test, trials=2, config=WMFConfig(factors=4, iterations=2), progress=False)
    best = assert_type(found.config, WMFConfig)
    assert best.factors == 4
    assert Range(0.1, 2.0).high == 2
    fold_in(model)
