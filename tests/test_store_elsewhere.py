"""A store given where only interactions or a table will do: one line says what takes it, and what to give instead."""

import re

import numpy as np
import pytest
from conftest import FIT

from implicit_wmf import WMF, Interactions, ItemKNN, MostPopular, WMFConfig
from implicit_wmf.errors import InputError
from implicit_wmf.evaluation import evaluate, split_random
from implicit_wmf.factorizers import KLMF, ObservedMF, SymmetricMF
from implicit_wmf.store import write_store

SMALL = {"factors": 2, "iterations": 2, "random_state": 0}


def counts():
    generator = np.random.default_rng(0)
    return Interactions.from_matrix(generator.poisson(0.6, (20, 20)).astype(np.float32))


TRAIN, TEST = split_random(counts())


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("data") / "store", TRAIN, shards=2)


def tuned(train, validation):
    pytest.importorskip("optuna")
    from implicit_wmf.tuning import Range, tune

    space = {"regularization": Range(0.01, 1, log=True)}
    return tune(train, validation, config=WMFConfig(**SMALL), space=space, trials=2).trials.value


# By the argument that is refused: calls that give numbers to compare where they are given interactions.
CALLS = {
    "ratings": [lambda data: ObservedMF(**SMALL).fit(data).item_factors],
    "R": [lambda data: SymmetricMF(**SMALL).fit(data).item_factors],
    "data": [
        lambda data: KLMF(**SMALL).fit(data).item_factors,
        lambda data: ItemKNN().fit(data).recommend([0, 1], N=3)[1],
        lambda data: MostPopular().fit(data).recommend([0, 1], N=3)[1],
        lambda data: WMF(**SMALL).fit(TRAIN).loss(data),
        lambda data: WMF(**SMALL).fit(TRAIN).partial_fit(data).item_factors,
        lambda data: split_random(data)[0].matrix.toarray(),
    ],
    "train": [
        lambda data: evaluate(WMF(**SMALL).fit(TRAIN), data, TEST)["value"],
        lambda data: tuned(data, TEST),
    ],
    "user_items": [
        lambda data: WMF(**SMALL).fit(TRAIN).fold_in_users(data),
        lambda data: WMF(**SMALL).fit(TRAIN).recommend(user_items=data, N=3)[1],
    ],
    "confidence": [lambda data: WMF(**SMALL).fit(TRAIN, confidence=data).item_factors],
    "validation[0]": [lambda data: tuned(TRAIN, (data, TEST))],
}


@pytest.mark.parametrize(
    ("name", "call"), [pytest.param(name, call, id=name) for name, calls in CALLS.items() for call in calls]
)
def test_its_interactions_are_taken_where_it_is_not(store, name, call):
    message = (
        f"{name}: met a Store, which only WMF.fit and `implicit-wmf fit` work through on the disk; "
        f"give {name}.mapped_interactions(), which has to fit in memory here"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        call(store)
    np.testing.assert_array_equal(call(store.mapped_interactions()), call(TRAIN))


@pytest.mark.parametrize("name", ["validation", "test"])
def test_held_out_interactions_may_be_in_a_store_too(tmp_path, name):
    def call(held_out):
        if name == "validation":
            model = WMF(**SMALL).fit(TRAIN, validation=held_out)
            return [value for record in model.history for value in record.validation.values()]
        return evaluate(WMF(**SMALL).fit(TRAIN), TRAIN, held_out)["value"]

    store = write_store(tmp_path / "later", TEST)
    with pytest.raises(InputError, match=f"^{name}: met a Store, .*give {name}.mapped_interactions"):
        call(store)
    np.testing.assert_array_equal(call(store.mapped_interactions()), call(TEST))


@pytest.fixture
def folders(run, purchases, tmp_path):
    """A table, and a store of its earlier days."""
    early = purchases[purchases.day < 8]
    write_store(tmp_path / "s", Interactions.from_frame(early, user="who", item="what", value="n"))
    purchases[purchases.day >= 8].to_csv("later.csv", index=False)
    return run


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ("evaluate", "s"),
            "s is a store, which has no lines to hold out: "
            "give a table, or fit a model to the store and measure that on a table, with --test",
        ),
        (
            ("tune", "s", "-o", "t"),
            "s is a store, which has no lines to hold out: "
            "give a table, or try settings on the store by `implicit-wmf fit` with --validation TABLE",
        ),
        (("evaluate", "purchases.csv", *FIT, "--test", "s"), "s is a store; name a table of held-out interactions"),
        (("fit", "s", *FIT, "-o", "m", "--validation", "s"), "s is a store; name a table of held-out interactions"),
    ],
)
def test_commands_that_hold_out_say_what_they_need(folders, tmp_path, command, message):
    if command[0] == "tune":
        pytest.importorskip("optuna")
    code, out, err = folders(*command)
    assert (code, out, err) == (1, "", f"error: {message}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["later.csv", "purchases.csv", "s"]


def test_what_the_messages_say_to_do_works(folders):
    options = (*FIT, "--factors", 2, "--random-state", 0, "-q")
    assert folders("fit", "s", "-o", "m", *options, "--validation", "later.csv")[0] == 0
    code, out, _ = folders("evaluate", "m", "--test", "later.csv", *FIT)
    assert (code, "most popular" in out) == (0, True)
