"""Means over users, and their bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest

from implicit_wmf.errors import InputError
from implicit_wmf.evaluation import summary
from implicit_wmf.evaluation.summary import resampled_means, summarise


def test_values_and_users_by_hand():
    values = {"a": np.array([1.0, 2.0, 6.0, np.nan]), "b": np.array([0.0, 0.0, 0.0, 4.0]), "all": 0.25}
    table = summarise(values, {"without_targets": 7}, bootstrap=0)
    assert list(table.columns) == ["metric", "value", "standard_error", "low", "high", "users"]
    assert table["metric"].tolist() == ["a", "b", "all"]
    assert table["value"].tolist() == [3, 1, 0.25]
    # sample variances 7 and 4
    np.testing.assert_allclose(table["standard_error"], [np.sqrt(7 / 3), np.sqrt(4 / 4), np.nan])
    assert table["users"].tolist() == [3, 4, 4]
    assert table[["low", "high"]].isna().all(axis=None)
    assert table.attrs == {"without_targets": 7}


def test_values_that_nobody_has():
    table = summarise({"a": np.array([np.nan, np.nan]), "b": np.array([np.nan, 3.0]), "all": 1.0}, users=2)
    assert table["users"].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(table["value"], [np.nan, 3, 1])
    assert table[["standard_error", "low", "high"]].isna().all(axis=None)


def test_every_resample_is_of_as_many_users_with_replacement():
    # in base 7 each digit of the sum says how often one of the 6 users was drawn
    values = 7.0 ** np.arange(6)
    sums = np.rint(6 * resampled_means(values[None], np.ones(6), 4000, seed=1)[:, 0]).astype(int)
    times = sums[:, None] // 7 ** np.arange(6) % 7
    assert (times.sum(axis=1) == 6).all()
    np.testing.assert_allclose(times.mean(axis=0), 1, atol=0.07)  # five standard deviations
    # a user is not drawn with probability (5 / 6)**6
    assert (times == 0).mean() == pytest.approx((5 / 6) ** 6, abs=0.01)
    assert times.max() >= 4


def test_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = []
    for seed in range(300):
        table = summarise({"a": rng.exponential(size=200)}, confidence=0.8, bootstrap=200, random_state=seed)
        covered.append(table["low"].item() <= 1 <= table["high"].item())
    # 300 trials of probability .8 have a standard deviation of .023
    assert np.mean(covered) == pytest.approx(0.8, abs=0.07)


def test_interval_of_known_distribution():
    # the mean of 400 draws of 0 and 1, half each: standard deviation .025, so that 95 % lie within .049
    table = summarise({"a": np.repeat([0.0, 1.0], 200)}, bootstrap=4000)
    np.testing.assert_allclose([table["low"].item(), table["high"].item()], [0.451, 0.549], atol=0.004)
    wider = summarise({"a": np.repeat([0.0, 1.0], 200)}, bootstrap=4000, confidence=0.99)
    assert wider["low"].item() < table["low"].item() - 0.01


def test_metrics_of_the_same_users_share_their_draws():
    values = np.random.default_rng(0).random(50)
    table = summarise({"a": values, "b": 1 - values, "short": values[:30]})
    assert table["low"][0] == pytest.approx(1 - table["high"][1], rel=1e-12)
    alone = summarise({"short": values[:30]})
    assert table["low"][2] == pytest.approx(alone["low"].item(), rel=1e-12)


def test_users_with_several_values_are_drawn_whole():
    rng = np.random.default_rng(1)
    own = rng.random(60)
    whose = rng.permutation(np.repeat(np.arange(60), rng.integers(1, 9, 60)))
    values = {"a": own[whose] + 0.01 * rng.random(whose.size), "b": rng.random(whose.size)}
    table = summarise(values, clusters=whose, bootstrap=4000)
    assert table["users"].tolist() == [60, 60]
    for place, (name, each) in enumerate(values.items()):
        assert table["value"][place] == pytest.approx(each.mean(), rel=1e-12)
        users = [each[whose == user] for user in range(60)]
        drawn = (np.concatenate([users[user] for user in rng.integers(0, 60, 60)]).mean() for _ in range(4000))
        expected = np.quantile(list(drawn), [0.025, 0.975])
        width = expected[1] - expected[0]
        np.testing.assert_allclose(table.loc[place, ["low", "high"]].astype(float), expected, atol=width / 20)
        assert table["standard_error"][place] == pytest.approx(width / 3.92, rel=0.1), name
    naive = summarise(values, bootstrap=0)["standard_error"]
    assert table["standard_error"][0] > 1.8 * naive[0]  # what was said before: values of one user told twice


def test_users_of_one_value_each_are_not_changed_by_their_numbers():
    rng = np.random.default_rng(1)
    values = {"a": rng.random(50), "b": np.where(rng.random(50) < 0.2, np.nan, rng.random(50))}
    table = summarise(values, clusters=rng.permutation(50) * 3)
    assert table.equals(summarise(values))
    # as many resamples are the same whether users' sums or the values themselves are given
    twice = {name: np.repeat(each, 2) for name, each in values.items()}
    doubled = summarise(twice, clusters=np.repeat(np.arange(50), 2))
    for column in ("value", "standard_error", "low", "high", "users"):
        np.testing.assert_allclose(doubled[column], table[column], rtol=1e-12)


def test_many_users_are_resampled_in_groups(monkeypatch):
    values = 10 + np.random.default_rng(0).exponential(size=5000)
    exact = summarise({"a": values}, bootstrap=4000)
    monkeypatch.setattr(summary, "MOST_GROUPS", 3000)  # of one user and of two
    grouped = summarise({"a": values}, bootstrap=4000)
    assert grouped["value"].item() == exact["value"].item()
    error = exact["standard_error"].item()
    for bound in ("low", "high"):
        assert grouped[bound].item() == pytest.approx(exact[bound].item(), abs=0.15 * error)
    ordered = summarise({"a": np.sort(values)}, bootstrap=4000)  # as where rows are in order of activity
    assert ordered["high"].item() - ordered["low"].item() == pytest.approx(3.92 * error, rel=0.08)


def test_chunks_hold_all_resamples(monkeypatch):
    values = np.random.default_rng(0).random((2, 40))
    monkeypatch.setattr(summary, "_CHUNK", 100)  # two resamples at a time, the last one alone
    means = resampled_means(values, np.ones(40), 7, seed=0)
    assert means.shape == (7, 2)
    assert np.unique(means[:, 0]).size == 7
    assert np.abs(means - values.mean(axis=1)).max() < 0.3


def test_refuses():
    with pytest.raises(InputError, match="confidence is 95; give a number between 0 and 1, such as 0.95"):
        summarise({"a": np.ones(3)}, confidence=95)
    with pytest.raises(InputError, match="bootstrap is -5; give a whole number of resamples, or 0"):
        summarise({"a": np.ones(3)}, bootstrap=-5)
    with pytest.raises(InputError, match="random_state is 'x'; give a whole number from 0 on, a NumPy Generator or"):
        summarise({"a": np.ones(3)}, random_state="x")
