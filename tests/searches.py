"""Small searches for hyper-parameters, and a formula that stands for their fits."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_array

from implicit_wmf import Interactions, WMFConfig
from implicit_wmf.tuning import search, tuner
from implicit_wmf.tuning.trials import Outcome, is_behind


def tastes(users=24, items=18, groups=3, seed=0):
    """Train and validation parts of users who take items of their group only, with counts."""
    generator = np.random.default_rng(seed)
    parts = np.zeros((2, users, items))
    for user in range(users):
        own = generator.permutation(np.arange(user % groups, items, groups))
        parts[0, user, own[:3]] = generator.integers(1, 6, 3)
        parts[1, user, own[3:5]] = 1
    return [Interactions.from_matrix(csr_array(part)) for part in parts]


@pytest.fixture
def parts():
    return tastes()


@pytest.fixture
def low_stages(monkeypatch):
    """Stages of few factors, which interpreted loops can fit too."""
    monkeypatch.setattr(search, "_FEWEST_FACTORS", 1)


@pytest.fixture
def formula(monkeypatch):
    """Replace fits by a formula that is highest at a0 = 0.3 and nu = 1/2, and proportional to the factors."""
    calls = []

    def outcome(config, judge, others):
        point = (math.log10(config.unobserved_weight / 0.3), config.regularization_exponent - 0.5)
        height = config.factors * math.exp(-sum(part**2 for part in point)) / 100
        curve = tuple(height * share for share in (0.5, 0.8, 1.0, 0.9))
        calls.append(config)
        behind = is_behind(curve, others)
        return Outcome("pruned" if behind else "complete", curve, 3)

    monkeypatch.setattr(tuner, "run_trial", outcome)
    monkeypatch.setattr(tuner, "run_default", lambda config, judge: Outcome("complete", (0.0, 0.001), 2))
    return calls


def repeatable(found):
    return found.trials.drop(columns="seconds")


def ended(number, factors, value, point=None, state="complete"):
    curve = () if state == "failed" else (value,)
    return search.Trial(number, factors, "search", point or {}, Outcome(state, curve, len(curve)))


SMALL = WMFConfig(factors=4, iterations=4)
