"""Fixtures of the real implicit, which is loaded where a test asks for them."""

import warnings

import pytest


@pytest.fixture
def peer():
    """The real one, without its warning of BLAS threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        als = pytest.importorskip("implicit.als", reason="pip install 'implicit_wmf[bench]' adds implicit")

    def make(**settings):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return als.AlternatingLeastSquares(use_gpu=False, num_threads=1, **settings)

    return make


@pytest.fixture
def evaluation(peer):
    return pytest.importorskip("implicit.evaluation")
