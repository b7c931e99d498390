"""What is searched: ranges, choices, and what the relative ones mean."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array
from searches import SMALL

from implicit_wmf import WMF, InputError, Interactions, WMFConfig
from implicit_wmf.tuning import Choice, Range, default_space, tune
from implicit_wmf.tuning.space import settings

optuna = pytest.importorskip("optuna")


class TestSpace:
    def test_default_follows_the_data(self, parts):
        binary = Interactions.from_matrix(csr_array(np.eye(3)))
        relative = ["relative_regularization", "relative_unobserved_weight", "regularization_exponent"]
        assert list(default_space(parts[0])) == [*relative, "weighting"]
        assert default_space(parts[0])["weighting"].values == ("linear", "log", "ials")
        assert list(default_space(binary)) == relative
        assert list(default_space(parts[0], WMFConfig(weighting="raw"))) == relative
        both = WMFConfig(user_regularization=1.0, item_regularization=2.0)
        assert list(default_space(binary, both)) == relative[1:]

    @pytest.mark.parametrize("weighting", ["linear", "log", "ials", "raw"])
    @pytest.mark.parametrize("exponent", [0.0, 0.3, 1.0])
    def test_relative_values_mean_what_the_literal_matrix_says(self, weighting, exponent):
        counts = np.array([[3.0, 0, 1, 0], [0, 2, 0, 0], [0, 0, 0, 7]])
        alpha, epsilon = 2.5, 1.7
        added = {
            "linear": alpha * counts,
            "log": alpha * np.log(1 + counts / epsilon),
            "ials": alpha * (counts > 0),
            "raw": counts,
        }[weighting]
        a0 = 0.2 * added[counts > 0].mean()
        confidence = np.where(counts > 0, counts, a0) if weighting == "raw" else a0 + added
        s = np.concatenate([confidence.sum(axis=1), confidence.sum(axis=0)])
        config = WMFConfig(weighting=weighting, alpha=alpha, log_epsilon=epsilon, dtype="float64")
        point = {
            "relative_unobserved_weight": 0.2,
            "relative_regularization": 0.03,
            "regularization_exponent": exponent,
        }
        found = settings(config, point, Interactions.from_matrix(csr_array(counts)))
        assert found.unobserved_weight == pytest.approx(a0)
        assert found.regularization == pytest.approx(0.03 * s.sum() / (s**exponent).sum())
        assert found == replace(
            config,
            unobserved_weight=found.unobserved_weight,
            regularization=found.regularization,
            regularization_exponent=exponent,
        )

    @pytest.mark.parametrize("weighting", ["linear", "log", "ials"])
    def test_alpha_is_redundant(self, parts, weighting):
        nu, c = 0.4, 8.0
        base = WMFConfig(
            3, weighting=weighting, regularization_exponent=nu, solver="exact", dtype="float64", random_state=0
        )
        scaled = replace(base, alpha=c, unobserved_weight=c, regularization=base.regularization * c ** (1 - nu))
        one, other = (WMF.from_config(config).fit(parts[0]) for config in (base, scaled))
        expected = one.user_factors @ one.item_factors.T
        np.testing.assert_allclose(other.user_factors @ other.item_factors.T, expected, atol=1e-9)
        assert other.loss() == pytest.approx(c * one.loss())

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Range(1, 1), "low must be less than high"),
            (lambda: Range(2, 1), "low must be less than high"),
            (lambda: Range(0, 1, log=True), "must start above 0, got 0"),
            (lambda: Range(0, math.inf), "finite numbers, got inf"),
            (lambda: Range(math.nan, 1), "finite numbers, got nan"),
            (lambda: Range(False, 1), "finite numbers, got False"),
            (lambda: Range("0", 1), "finite numbers, got '0'"),
            (lambda: Range(0, 10**400), "finite numbers, got 1000"),
            (lambda: Range(0, np.complex64(1)), "finite numbers, got "),
            (lambda: Choice("log"), "at least two different values"),
            (lambda: Choice("log", "log", "ials"), "at least two different values"),
            (lambda: Choice("log", ["ials"]), r"got \['ials'\]"),
        ],
    )
    def test_ranges_that_are_none(self, make, message):
        with pytest.raises(InputError, match=message):
            make()

    @pytest.mark.parametrize(
        ("space", "message"),
        [
            ({}, "space is empty; give at least one range"),
            ({"factors": Choice(8, 16)}, "factors is not searched: they are doubled"),
            ({"iterations": Choice(8, 16)}, "iterations is not searched: early stopping"),
            ({"regularisation": Range(1, 2)}, "no hyper-parameter 'regularisation'; did you mean 'regularization'"),
            ({"alpha": (1, 2)}, r"alpha must be a Range or a Choice, got \(1, 2\)"),
            ({"alpha": Range(0, 2)}, "alpha must be a finite number greater than 0, got 0"),
            ({"weighting": Choice("log", "lin")}, "weighting must be one of 'linear'.* got 'lin'"),
            ({"weighting": Range(1, 2)}, "weighting must be one of"),
            ({"relative_regularization": Range(-1, 2)}, "regularization must be a finite number at least 0, got -1"),
            ({"cg_steps": Range(1, 4)}, "cg_steps is a whole number; list them in a Choice"),
            (
                {"regularization": Range(1, 2), "relative_regularization": Range(1, 2)},
                "relative_regularization and regularization set the same thing",
            ),
        ],
    )
    def test_spaces_that_are_refused(self, parts, space, message):
        with pytest.raises(InputError, match=message):
            tune(*parts, space=space)

    def test_regularization_without_effect(self, parts):
        config = replace(SMALL, user_regularization=1.0, item_regularization=1.0)
        with pytest.raises(InputError, match="relative_regularization has no effect, because config sets"):
            tune(*parts, config=config, space={"relative_regularization": Range(1, 2)})
