"""Selectors that choose by one number per example: length, a column, perplexity, instruction-following difficulty."""

import numpy as np
import pytest
from selection_problems import problem_of

from sftdiv.records import SftdivError
from sftdiv.selection.rivals import ifd, perplexity
from sftdiv.selection.rivals.ifd import IfdSelector, difficulty
from sftdiv.selection.rivals.longest import LongestSelector
from sftdiv.selection.rivals.perplexity import PerplexitySelector, middle_first
from sftdiv.selection.rivals.score_column import ColumnSelector

BEST = ColumnSelector(column="score", first="highest")


@pytest.fixture
def known_losses(monkeypatch):
    """Sets the mean losses that the selectors read instead of those of a model."""

    def given(after, alone=None):
        for module in (perplexity, ifd):
            monkeypatch.setattr(module, "cached_losses", lambda _, alone, **__: np.log(values[alone]))
        values = {False: np.array(after), True: np.array(alone if alone else after)}

    return given


def test_the_longest_responses_come_first_and_ties_in_the_order_of_the_corpus():
    selection = LongestSelector().select(problem_of(lengths=[3, 9, 5, 9, 1], size=3))
    assert selection.indices.tolist() == [1, 3, 2]
    assert selection.columns == {"response_tokens": {"universe": 5.0, "subset": 9.0, "without": 0}}


def test_a_column_orders_both_ways_and_empty_values_are_never_selected():
    columns = {"score": [2, None, 5.5, 2, 7]}
    assert BEST.select(problem_of(columns=columns, size=3)).indices.tolist() == [4, 2, 0]
    lowest = ColumnSelector(column="score", first="lowest")
    assert lowest.select(problem_of(columns=columns, size=4)).indices.tolist() == [0, 3, 2, 4]
    with pytest.raises(SftdivError, match=r"1 of 5 examples .* the other 4 cannot fill the size 5"):
        BEST.select(problem_of(columns=columns, size=5))
    with pytest.raises(SftdivError, match=r"column of numbers; it holds 'high'"):
        BEST.select(problem_of(columns={"score": [1, "high"]}, size=1))


def test_quotas_are_those_of_the_whole_universe():
    """Half of the universe is in stratum 1, and so is half of the subset, although half of it has no score."""
    columns = {"score": [9, 8, 7, 6, 1, 2, None, None]}
    strata = [0] * 4 + [1] * 4
    assert BEST.select(problem_of(columns=columns, size=4, strata=strata)).indices.tolist() == [0, 1, 5, 4]
    with pytest.raises(SftdivError, match=r"in every stratum of selection\.match"):
        BEST.select(problem_of(columns=columns, size=6, strata=strata))


def test_a_token_budget_is_filled_and_not_exceeded_by_more_than_one_example():
    problem = problem_of(columns={"score": [4, 3, 2, 1]}, size=6, weights=[2, 3, 4, 1])
    assert BEST.select(problem).indices.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("part", "expected"), [("low", [3, 0, 5]), ("middle", [5, 2, 0]), ("high", [1, 4, 2])])
def test_parts_of_the_perplexity_distribution(known_losses, part, expected):
    known_losses([2, 40, 9, 1, 30, 7, np.nan])  # ranks 1, 5, 3, 0, 4, 2
    selection = PerplexitySelector(part=part, max_tokens=1024).select(problem_of(lengths=[1] * 7, size=3))
    assert selection.indices.tolist() == expected
    assert selection.columns["perplexity"] == {
        "universe": pytest.approx(8),
        "subset": pytest.approx({"low": 2, "middle": 7, "high": 30}[part]),
        "without": 1,
    }


def test_a_third_from_the_middle_is_the_middle_third():
    values = np.random.default_rng(0).permutation(9).astype(float)
    assert sorted(values[middle_first(values)[:3]]) == [3, 4, 5]
    assert sorted(middle_first(values)) == list(range(9))


def test_difficulty_is_the_ratio_of_perplexities_and_one_or_more_is_dropped(known_losses):
    assert difficulty(np.log([6.0]), np.log([8.0])) == pytest.approx([0.75])
    known_losses(after=[6, 8, 9, 2, np.nan], alone=[8, 8, 8, 8, 8])  # 0.75, 1, 1.125, 0.25, undefined
    selector = IfdSelector(below=1.0, max_tokens=1024)
    selection = selector.select(problem_of(lengths=[1] * 5, size=2))
    assert selection.indices.tolist() == [0, 3]
    assert selection.columns["ifd"]["without"] == 3
    with pytest.raises(SftdivError, match=r"3 of 5 .* have no ifd \(it is 1 or more, or not defined\)"):
        selector.select(problem_of(lengths=[1] * 5, size=3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ColumnSelector(column="a", first="best"), "Known: highest, lowest"),
        (lambda: PerplexitySelector(part="mid", max_tokens=9), r"Did you mean 'middle'\? Known: low, middle, high"),
        (lambda: IfdSelector(below=0, max_tokens=9), "above 0"),
        (lambda: IfdSelector(below=1, max_tokens=1), "at least 2"),
    ],
)
def test_settings_out_of_range_are_refused_with_the_alternatives(make, message):
    with pytest.raises(SftdivError, match=message):
        make()
