"""Cases drawn by hypothesis, until one goes wrong; that one is made small."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from .children import Case, Child, Finding
from .damages import damages
from .texts import tables

CASES = {"tables": tables, "damages": damages}


def fuzz(
    cases: st.SearchStrategy[Case], maker: str, count: int, start: int
) -> tuple[Counter[str], tuple[Case, str] | None]:
    """Check cases until one goes wrong.

    Parameters
    ----------
    cases : hypothesis.strategies.SearchStrategy
    maker : str
        As for `Child`.
    count : int
        How many.
    start : int
        Seed of what is drawn.

    Returns
    -------
    verdicts : Counter
        How many cases came to what.
    finding : (case, str) or None
        The smallest case that went wrong, and how.
    """
    verdicts = Counter[str]()
    last: list[tuple[Case, str]] = []
    child = Child(maker)

    @seed(start)
    @settings(
        max_examples=count, database=None, deadline=None, derandomize=False, report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink), print_blob=False,
    )  # fmt: skip
    @given(cases)
    def check(case: Case) -> None:
        try:
            verdicts[child.check(case)] += 1
        except Finding as error:
            last[:] = [(case, str(error))]
            raise

    try:
        check()
    except Exception:  # hypothesis has words of its own for a case that goes wrong only sometimes
        if not last:
            raise
        # The last one that went wrong is the smallest that was found.
        return verdicts, last[0]
    finally:
        child.close()
    return verdicts, None
