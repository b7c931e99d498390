"""Sparse matrices whose arrays were changed after they were built are refused before compiled code reads them.

Each group of calls runs in a process of its own, which one that is not refused could end, or keep for ever.
"""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bad_input_calls import ITEMS, USERS, counts, fit, make
from bad_inputs import corrupt_matrices
from estimators import ESTIMATORS
from scipy import sparse

from implicit_wmf import WMF, InputError, Interactions, ItemKNN, MostPopular, evaluation
from implicit_wmf.compat import implicit as theirs
from implicit_wmf.factorizers import KLMF, ObservedMF, SymmetricMF
from implicit_wmf.objectives import KLDivergence, ObservedSquares, WeightedSquares

PATIENCE = 300  # seconds


def of_data(estimator):
    """Calls that take a matrix of the whole data."""
    dense = counts(estimator is SymmetricMF)
    yield "fit", lambda model, bad: make(estimator).fit(bad)
    if hasattr(estimator, "loss"):
        yield "loss", lambda model, bad: model.loss(bad)
    if estimator in (WMF, KLMF):
        yield "validation", lambda model, bad: model.fit(dense, validation=bad)
        yield "fold in and targets", lambda model, bad: model.fit(dense, validation=(dense, bad))
    if estimator is WMF:
        yield "confidence", lambda model, bad: model.fit(dense, confidence=bad)
        yield "loss's confidence", lambda model, bad: model.loss(dense, confidence=bad)
        yield "partial_fit", lambda model, bad: model.partial_fit(bad)
        yield "fold_in_items", lambda model, bad: model.fold_in_items(bad)
        yield "fold_in_users' confidence", lambda model, bad: model.fold_in_users(dense, confidence=bad)
    if estimator is ObservedMF:
        yield "observed", lambda model, bad: model.fit(dense, observed=bad)
    if estimator is SymmetricMF:
        yield "P", lambda model, bad: model.fit(dense, bad)


def of_users(estimator):
    """Calls that take a matrix with a row for each user."""
    everyone, none = np.arange(USERS), sparse.csr_array((USERS, USERS if estimator is SymmetricMF else ITEMS))
    for name in ("user_items", "filter_items", "items"):
        yield f"recommend's {name}", lambda model, bad, name=name: model.recommend(everyone, **{name: bad})
    if estimator in (WMF, ItemKNN, MostPopular):
        yield "recommend to new users", lambda model, bad: model.recommend(user_items=bad)
    if estimator is not ItemKNN:
        yield "targets", lambda model, bad: model.rank_counts(everyone, bad)
        yield "seen", lambda model, bad: model.rank_counts(everyone, none, bad)
        yield "recommend_all", lambda model, bad: model.recommend_all("never made", items=bad)
    if estimator is WMF:
        yield "fold_in_users", lambda model, bad: model.fold_in_users(bad)


def of_functions(_):
    """Calls of functions, and of what needs no model of the library's."""
    dense = counts()
    yield "from_matrix", lambda model, bad: Interactions.from_matrix(bad)
    yield "Interactions", lambda model, bad: Interactions(bad, *map(pd.RangeIndex, (USERS, ITEMS)))
    yield "evaluate's train", lambda model, bad: evaluation.evaluate(model, bad, dense)
    yield "evaluate's test", lambda model, bad: evaluation.evaluate(model, dense, bad)
    yield "new_pairs", lambda model, bad: evaluation.new_pairs(bad, dense)
    yield "split_random", lambda model, bad: evaluation.split_random(bad)
    yield "leave_one_out", lambda model, bad: evaluation.leave_one_out(bad)
    yield "split_users", lambda model, bad: evaluation.split_users(bad)
    yield "KLDivergence", lambda model, bad: KLDivergence(bad)
    yield "ObservedSquares", lambda model, bad: ObservedSquares(dense, bad)
    yield "WeightedSquares", lambda model, bad: WeightedSquares(bad, dense)
    yield "the other library's fit", lambda model, bad: theirs.AlternatingLeastSquares(2).fit(bad, show_progress=False)
    other = theirs.AlternatingLeastSquares(2, iterations=1)
    other.fit(sparse.csr_array(dense), show_progress=False)
    yield "its recommend", lambda model, bad: other.recommend(np.arange(USERS), bad)
    yield "its explain", lambda model, bad: [other.explain(user, bad, 0) for user in range(USERS)]
    yield "its metrics' train", lambda model, bad: theirs.ndcg_at_k(other, bad, sparse.csr_array(dense))
    yield "its metrics' test", lambda model, bad: theirs.ndcg_at_k(other, sparse.csr_array(dense), bad)
    yield "its split", lambda model, bad: theirs.train_test_split(bad)
    yield "its other split", lambda model, bad: theirs.leave_k_out_split(bad)
    yield "its loss", lambda model, bad: theirs.calculate_loss(bad, other.user_factors, other.item_factors, 0.1)
    yield "its recalculate_user", lambda model, bad: other.recalculate_user(np.arange(USERS), bad)


GROUPS = {
    "functions": (of_functions, WMF),
    **{f"{one.__name__}'s data": (of_data, one) for one in ESTIMATORS},
    **{f"{one.__name__}'s users": (of_users, one) for one in ESTIMATORS},
}


def mistakes(group):
    """What is not refused as it should be in a group of calls, and how many were made."""
    calls, estimator = GROUPS[group]
    model, found, made = fit(estimator), [], 0
    warnings.simplefilter("ignore")  # scipy's, of matrices that it was told are compressed in another way
    for name, call in calls(estimator):
        for kind, bad in corrupt_matrices(counts(estimator is SymmetricMF)).items():
            made += 1
            try:
                call(model, bad)
                found.append(f"{name}: {kind} is taken")
            except InputError:
                pass
            except Exception as error:  # what else there is, is what this looks for
                found.append(f"{name}: {kind}: {type(error).__name__}: {error}")
    return {"found": found, "made": made}


@pytest.mark.parametrize("group", GROUPS)
def test_corrupt_matrices_are_refused(group, tmp_path):
    program = f"import json, test_bad_input_corrupt as here; print(json.dumps(here.mistakes({group!r})))"
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program], cwd=Path(__file__).parent, timeout=PATIENCE,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["made"] > 50
    assert result["found"] == []
