"""What a search tries next: stages, the median rule, what is carried over and what is drawn."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from searches import SMALL, ended

from implicit_wmf.tuning import Range, default_space, search, tune
from implicit_wmf.tuning.trials import Outcome, is_behind

optuna = pytest.importorskip("optuna")


class TestPlan:
    @pytest.mark.parametrize(
        ("factors", "trials", "stages"),
        [
            (64, 40, {16: 21, 32: 9, 64: 10}),
            (64, 41, {16: 20, 32: 10, 64: 11}),
            (32, 13, {16: 6, 32: 7}),
            (31, 40, {31: 40}),
            (200, 9, {50: 4, 100: 2, 200: 3}),
            (64, 8, {64: 8}),
            (64, 1, {64: 1}),
        ],
    )
    def test_half_at_the_lowest_dimension_and_doubled_twice(self, factors, trials, stages):
        plan = search.plan_stages(factors, trials)
        assert pd.Series(plan).value_counts().to_dict() == stages
        assert plan[0] == factors
        assert plan[1:] == sorted(plan[1:])

    def test_median_rule(self):
        others = [Outcome("complete", (0.1, height, 0.0, 0.0, 0.0), 2) for height in (0.2, 0.4, 0.6, 0.8)]
        short = Outcome("complete", (0.9,), 1)
        rest = (0.1,) * 4
        assert is_behind((0.3, 0.49, *rest), others)  # 0.49 is below the median of .2 .4 .6 .8, 0.5
        assert not is_behind((0.3, 0.5, *rest), others)
        assert not is_behind((0.3, 0.49, *rest[1:]), others)  # too early
        assert not is_behind((0.0, 0.0, *rest), others[:3])  # too few
        assert is_behind((0.5, 0.5, 0.59, *rest), [*others, short])  # who has stopped counts with what it had
        late = [Outcome("complete", (0.0,) * 6 + (1.0,), 7)] * 4
        assert not is_behind((0.1,) * 6, late)  # what others reached later does not count

    def test_the_others_are_those_of_the_stage_that_were_fitted_to_the_end(self):
        states = ["complete", "pruned", "failed", "complete"]
        done = [ended(number, 4, number / 10, state=state) for number, state in enumerate(states)]
        assert search.others_of(done, ended(4, 4, 0.5)) == [done[3].outcome]  # trial 0 is the default
        assert search.others_of(done, ended(4, 8, 0.5)) == []

    def test_pruned_trials_are_not_carried_over(self):
        plan = search.plan_stages(32, 13)
        done = [ended(0, 32, 0.1)] + [
            ended(number, 16, value, state=state, point={"alpha": float(number)})
            for number, value, state in [
                (1, 0.2, "complete"), (2, 0.9, "pruned"), (3, 0.4, "complete"), (4, 0.8, "pruned"),
                (5, 0.3, "complete"), (6, 0.0, "failed"),
            ]
        ]  # fmt: skip
        carried = []
        while len(carried) < 3:
            carried.append(search.next_trial(done, plan, {"alpha": Range(0.5, 9)}, 0))
            done.append(replace(carried[-1], outcome=Outcome("complete", (0.5,), 1)))
        assert [(one.source, one.point) for one in carried] == [
            (f"trial {number}", {"alpha": float(number)}) for number in (3, 5, 1)
        ]

    def test_published_values_come_first_and_the_middle_where_there_are_none(self, parts):
        first = search.next_trial([ended(0, 32, 0.1)], [32, 16], default_space(parts[0]), 0)
        assert first.source == "published"
        assert first.point == {
            "relative_regularization": 0.006,  # the geometric mean of .002 and .02 is .0063
            "relative_unobserved_weight": 0.05,  # of .007 and .3: .046
            "regularization_exponent": 1.0,
            "weighting": "linear",
        }
        space = {
            "relative_regularization": Range(0.01, 0.04, log=True),
            "regularization_exponent": Range(0, 0.5),
        }
        middle = search.next_trial([ended(0, 32, 0.1)], [32, 16], space, 0).point
        assert middle == pytest.approx({"relative_regularization": 0.02, "regularization_exponent": 0.25})

    def test_stages_are_compared_by_their_best(self):
        space = {"alpha": Range(0, 10)}

        def drawn(*heights, tops=(0.5, 0.5)):
            points = np.linspace(0.2, 9.8, 24)
            low = [ended(n + 1, 16, tops[0] * heights[0](a), {"alpha": a}) for n, a in enumerate(points[::2])]
            high = [ended(n + 13, 32, tops[1] * heights[1](a), {"alpha": a}) for n, a in enumerate(points[1::2])]
            return [search._draw([ended(0, 32, 0.1), *low, *high], space, seed) for seed in range(4)]

        def hill(alpha):
            return 1 / (1 + (alpha - 3) ** 2)

        def other(alpha):
            return 1 / (1 + (alpha - 8) ** 2)

        same = drawn(hill, other)
        assert drawn(hill, other, tops=(0.5, 50)) == same  # more factors reach higher values
        assert drawn(hill, other, tops=(50, 0.5)) == same
        assert drawn(hill, hill) != same

    def test_pruned_values_are_not_taken_for_final_ones(self):
        space = {"alpha": Range(0, 10)}
        default, points = ended(0, 16, 0.1), np.linspace(0.2, 9.8, 14)

        def drawn(value, state):
            some = [ended(n + 1, 16, 0.5 + a / 100, {"alpha": a}) for n, a in enumerate(points)]
            some[3] = ended(4, 16, value, {"alpha": points[3]}, state=state)
            return search._draw([default, *some], space, 0)

        assert drawn(0.9, "pruned") == drawn(0.1, "pruned")  # behind all that were fitted to the end
        assert drawn(0.9, "complete") != drawn(0.9, "pruned")

    def test_the_best_of_a_stage_come_first_in_the_next(self, parts, formula):
        found = tune(*parts, config=replace(SMALL, factors=64), trials=40)
        table = found.trials.set_index("trial")
        assert table.source[:4].tolist() == ["config", "published", "published", "published"]
        points = {one.number: {k: v for k, v in one.params.items() if k != "factors"} for one in found.study.trials}
        for factors, before in ((32, 16), (64, 32)):
            ended = table[(table.factors == before) & (table.state == "complete") & (table.index > 0)]
            best = ended.sort_values("value", ascending=False, kind="stable").index
            carried = table[(table.factors == factors) & table.source.str.startswith("trial")]
            assert carried.source.tolist() == [f"trial {number}" for number in best[: len(carried)]]
            assert 3 <= len(carried) <= 5
            for number, source in carried.source.items():
                assert points[number] == points[int(source.split()[1])]
        assert (table.source == "search").sum() > 15

    def test_search_beats_chance(self, parts, formula):
        found = tune(*parts, config=replace(SMALL, factors=64), trials=40)
        assert found.value > 0.97 * 0.64  # the top of the formula
        assert found.default_value == 0.001
        drawn = found.trials[found.trials.source == "search"]
        late, early = drawn[drawn.factors == 64], drawn[drawn.factors == 16].head(5)
        assert (late.value / 0.64).median() > (early.value / 0.16).median()
