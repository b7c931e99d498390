"""Arguments that cannot be used where data, hyper-parameters, files and commands come in."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from bad_input_calls import ITEMS, USERS, counts, fit
from estimators import ESTIMATORS, FACTORIZERS

from implicit_wmf import WMF, InputError, Interactions, ItemKNN, WMFConfig, evaluation
from implicit_wmf.compat import implicit
from implicit_wmf.store import Store, write_store
from implicit_wmf.tables import read_interactions, write_table

FRAME = pd.DataFrame({"u": ["a", "b"], "i": ["x", "y"], "v": [1.0, 2.0], "t": [1, 2]})
MASKED = np.ma.masked_array([1, 0], [False, True])


def triples(**changes):
    return Interactions.from_triples(**{"rows": [0, 1], "columns": [0, 1]} | changes)


def framed(**changes):
    return Interactions.from_frame(changes.pop("frame", FRAME), **{"user": "u", "item": "i"} | changes)


REFUSED = {
    "rows that are ragged": (lambda: triples(rows=[[0], [0, 1]]), "rows: not an array"),
    "rows that are masked": (lambda: triples(rows=MASKED), "rows: met a masked array, whose mask would be lost"),
    "columns beyond 64 bits": (lambda: triples(columns=[2**70, 0]), "columns: expected integers, met dtype object"),
    "values that are ragged": (lambda: triples(values=[[1], [1, 2]]), "values: not an array"),
    "values that are masked": (lambda: triples(values=MASKED * 1.0), "values: met a masked array"),
    "values of raw bytes": (lambda: framed(frame=FRAME.assign(v=pd.Series(np.zeros(2, "V3"))), value="v"), "value"),
    "values of long doubles that overflow": (
        lambda: triples(values=np.array(["1e4000", "1"], np.longdouble)), "values|overflows",
    ),
    "timestamps that are masked": (lambda: triples(timestamps=MASKED), "timestamps: met a masked array"),
    "an infinite shape": (lambda: triples(shape=(np.inf, 2)), "shape: expected two positive integers"),
    "a way to aggregate that is an array": (lambda: triples(aggregate=np.array(["sum"])), "aggregate: array"),
    "ids of float16": (lambda: triples(users=np.arange(2, dtype=np.float16)), "users: ids cannot be of dtype float16"),
    "ids of long doubles": (lambda: triples(items=np.arange(2, dtype=np.longdouble)), "items: ids cannot be of dtype"),
    "a column of ids of float16": (lambda: framed(frame=FRAME.assign(u=np.arange(2, dtype=np.float16))), "user column"),
    "columns named by an array": (lambda: framed(user=np.ones(2)), "user: array.* names no column"),
    "columns named by a list": (lambda: framed(value=["v"]), "value: .* names no column"),
    "a column in place of a frame": (lambda: framed(frame=FRAME["u"]), "frame: expected a"),
    "polars' column in place of a frame": (lambda: framed(frame=pl.Series([1])), "frame: expected a"),
    "a split without times": (
        lambda: evaluation.split_by_time(FRAME, user="u", item="i", timestamp=None), "timestamp",
    ),
    "a split without users": (lambda: evaluation.split_last(FRAME, user=None, item="i"), "user: None given"),
    "more factors than can be numbered": (lambda: WMF(2**31), "factors must be a whole number below 2147483648"),
    "very many factors": (lambda: WMF(10**400), "factors must be a whole number below"),
    "steps beyond their counter": (lambda: WMF(cg_steps=2**16 - 1), "cg_steps must be a whole number below 65535"),
    "a background that is masked": (lambda: WMF(user_background=MASKED), "user_background must be one of"),
    "a background beyond floats": (lambda: WMF(item_background=[10**400]), "item_background must be one of"),
    "two users to explain": (
        lambda: fitted_implicit().explain([0, 1], implicit_counts(), 0), "userid must be one index, got 2",
    ),
    "a dense matrix to split": (lambda: implicit.train_test_split(counts()), "ratings must be a sparse matrix"),
}  # fmt: skip


def implicit_counts():
    return Interactions.from_matrix(counts()).matrix


def fitted_implicit():
    model = implicit.AlternatingLeastSquares(2, iterations=1)
    model.fit(implicit_counts(), show_progress=False)
    return model


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_come_in_is_refused_by_name(case):
    call, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    "value", ["abc", np.nan, -1, 1j, [1, 2], np.array([np.nan]), object(), {}, b"x", np.ones((2, 2))]
)
@pytest.mark.parametrize("estimator", [*FACTORIZERS, ItemKNN])
def test_no_hyper_parameter_takes_what_it_cannot_use(estimator, value):
    for name in estimator().get_params():
        if name.endswith("_background") and isinstance(value, list):  # numbers for two users
            continue
        with pytest.raises(InputError, match=name):
            estimator(**{name: value})


NO_PATHS = {"a number": 3, "nothing": None, "a list": ["m"], "bytes": b"m", "a zero character": "a\0b"}
USES = {
    "recommend_all": lambda model, path: model.recommend_all(path),
    "export_factors": lambda model, path: model.export_factors(path),
    "to_usearch": lambda model, path: model.to_usearch(path),
    "read": lambda model, path: read_interactions(path, user="u", item="i"),
    "write": lambda model, path: write_table(FRAME, path),
    "save": lambda model, path: model.save(path),
    "load": lambda model, path: WMF.load(path),
    "open": lambda model, path: Store.open(path),
    "write_store": lambda model, path: write_store(path, model.interactions),
}


@pytest.mark.parametrize("use", USES)
def test_what_is_no_path_is_refused(use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in NO_PATHS.values():
        with pytest.raises(InputError, match="^path (must be a path|is .*zero character)"):
            USES[use](fit(WMF), value)
    assert list(tmp_path.iterdir()) == []


def test_an_index_needs_the_name_of_a_file(tmp_path):
    with pytest.raises(InputError, match="path is '/', which has no name"):
        fit(WMF).to_usearch("/")


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_masked_positions_are_refused_and_not_taken_for_others(estimator):
    model, asked = fit(estimator), np.ma.masked_array([0, 1], [False, True])
    for call in (
        lambda: model.recommend(asked),
        lambda: model.recommend([0], items=asked),
        lambda: model.score(asked, 0),
        lambda: model.score(0, asked),
    ):
        with pytest.raises(InputError, match="met a masked array, whose mask would be lost"):
            call()


NUMBERS = [
    name for name in WMFConfig.names() if isinstance(getattr(WMFConfig, name), int | float) and name != "iterations"
]


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "abc", "1e400", ""])
def test_commands_refuse_numbers_that_cannot_be_used(run, purchases, value):
    for name in NUMBERS:
        option = f"--{name.replace('_', '-')}"
        code, out, err = run(
            "fit", "purchases.csv", "--user", "who", "--item", "what", "-o", "m", "-q", f"{option}={value}"
        )
        assert code in (1, 2), name
        assert name in err.replace("-", "_"), name
        assert "Traceback" not in out + err


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", str(2**31), str(10**30)])
@pytest.mark.parametrize("command", ["recommend", "similar", "explain"])
def test_commands_refuse_lengths_that_cannot_be(run, command, value, tmp_path):
    fit(WMF, counts()).save(tmp_path / "m")
    others = {"recommend": ("-o", "out.csv"), "similar": ("--item", "1"), "explain": ("--user", "1", "--item", "1")}
    code, out, err = run(command, "m", *others[command], "--n", value)
    assert code in (1, 2)
    assert "--n" in err or "N must be" in err
    assert "Traceback" not in out + err
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("command", ["recommend", "similar", "explain", "info"])
def test_commands_refuse_what_is_no_model(run, command, tmp_path):
    others = {"recommend": ("-o", "out.csv"), "similar": ("--item", "1"), "explain": ("--user", "1", "--item", "1")}
    (tmp_path / "file").write_bytes(b"\x93NUMPY")
    (tmp_path / "folder").mkdir()
    for model in ("nowhere", "file", "folder", "\x7f", "a" * 300):
        code, out, err = run(command, model, *others.get(command, ()))
        assert code in (1, 2)
        assert err
        assert "Traceback" not in out + err


def test_sizes_of_the_tables_are_what_they_say():
    assert counts().shape == (USERS, ITEMS)
    assert not counts().any(axis=0).all()
    assert not counts().any(axis=1).all()
