"""Selectors that choose by the unit types of the examples: picks by hand, and those of naive implementations."""

import numpy as np
import pytest
import scipy.sparse
from selection_problems import problem_of

from sftdiv.records import SftdivError
from sftdiv.selection.rivals.coverage import CoverageSelector, presence
from sftdiv.selection.rivals.greedy_coverage import greedy_order
from sftdiv.selection.rivals.instag import InstagSelector, complexity_first
from sftdiv.selection.rivals.mig import MigSelector, information, type_graph

SET_COVER = CoverageSelector(phi="set_cover", counts="presence")
SQRT = CoverageSelector(phi="sqrt", counts="presence")


def naive_greedy(weights, count, gain):
    """The plain greedy algorithm on a dense matrix: every example is evaluated at every step."""
    collected, picks = np.zeros(weights.shape[1]), []
    for _ in range(count):
        gains = [gain(collected, row).sum() if number not in picks else -1 for number, row in enumerate(weights)]
        picks.append(int(np.argmax(gains)))
        collected += weights[picks[-1]]
    return picks


def naive_set_cover(tags, count):
    """Most new types first; a new round once no example has a type that is not covered."""
    picks, covered = [], set()
    while len(picks) < count:
        best = min(
            (row for row in range(len(tags)) if row not in picks), key=lambda row: (-len(tags[row] - covered), row)
        )
        if tags[best] <= covered:
            covered = set()
            continue
        picks.append(best)
        covered |= tags[best]
    return picks


def naive_complexity_first(tags, count):
    """Algorithm 1 of InsTag: pass over the sorted examples until a pass is over, then start again."""
    remaining, picks = sorted(range(len(tags)), key=lambda row: -len(tags[row])), []
    while len(picks) < count:
        seen = set()
        for row in list(remaining):
            if not tags[row] <= seen:
                picks.append(row)
                remaining.remove(row)
                seen |= tags[row]
    return picks[:count]


def random_counts(seed, examples=120, types=40):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.1 + 0.4 * rng.random(types) ** 3, size=(examples, types)).astype(float)
    counts[np.arange(examples), rng.integers(types, size=examples)] += 1  # no example without a type
    return counts


def utility(selector, units, size):
    """Mean square root of the numbers of selected examples with each type: what `sqrt` maximises."""
    chosen = selector.select(problem_of(units, size=size)).indices
    return np.sqrt(np.minimum(units, 1)[chosen].sum(axis=0)).mean()


def test_set_cover_by_hand():
    # Example 1 adds three types, then example 3 adds type 3 (as example 4, which comes later). All four types are
    # covered: a second round takes examples 0 (as many types as 4, but earlier) and 2.
    tags = [{0, 1}, {0, 1, 2}, {2}, {3}, {3, 0}]
    assert SET_COVER.select(problem_of(tags, size=2)).indices.tolist() == [1, 3]
    assert SET_COVER.select(problem_of(tags, size=4)).indices.tolist() == [1, 3, 0, 2]


def test_the_square_root_by_hand():
    # Types 0 and 1 first. Then example 1 adds 2 (sqrt 2 - 1) = 0.83 and example 2 adds 1.
    tags = [{0, 1}, {0, 1}, {2}]
    assert SQRT.select(problem_of(tags, size=2)).indices.tolist() == [0, 2]
    # As counts, example 1 weighs 9 times: sqrt(9) = 3 is more than 1 + 1.
    counts = np.array([[1.0, 1, 0], [0, 0, 9]])
    occurrences = CoverageSelector(phi="sqrt", counts="occurrences")
    assert occurrences.select(problem_of(counts, size=1)).indices.tolist() == [1]
    assert SQRT.select(problem_of(counts, size=1)).indices.tolist() == [0]


def test_complexity_first_by_hand():
    # By number of tags: 1, 0, 4, 2, 3. The first round takes 1 and, for type 3, example 4; the second 0, 2 and 3.
    tags = [{0, 1}, {0, 1, 2}, {2}, {3}, {3, 0}]
    assert InstagSelector().select(problem_of(tags, size=4)).indices.tolist() == [1, 4, 0, 2]


@pytest.mark.parametrize("seed", range(3))
def test_lazy_picks_are_those_of_the_plain_greedy_algorithm(seed):
    counts = random_counts(seed)
    sparse, ones = scipy.sparse.csr_array(counts), np.ones(len(counts))

    def root_gain(collected, row):
        return np.sqrt(collected + row) - np.sqrt(collected)

    def first_order_gain(collected, row):
        return row * 0.8 * (collected + 1e-6) ** -0.2

    order = greedy_order(sparse, ones, 60, objective="sqrt")
    assert order.tolist() == naive_greedy(counts, 60, root_gain)
    assert greedy_order(sparse, ones, 60, objective="mig").tolist() == naive_greedy(counts, 60, first_order_gain)
    covered = greedy_order(presence(sparse), ones, 60, objective="set_cover")
    assert covered.tolist() == naive_set_cover([set(np.flatnonzero(row)) for row in counts], 60)


@pytest.mark.parametrize("seed", range(3))
def test_complexity_first_picks_are_those_of_the_papers_loop(seed):
    counts = random_counts(seed)
    tags = [set(np.flatnonzero(row)) for row in counts]
    assert complexity_first(scipy.sparse.csr_array(counts)).tolist() == naive_complexity_first(tags, len(tags))


@pytest.mark.parametrize("objective", ["set_cover", "sqrt", "mig"])
def test_every_size_is_a_prefix_and_all_examples_are_ordered(objective):
    matrix = presence(scipy.sparse.csr_array(random_counts(0)))
    whole = greedy_order(matrix, np.ones(120), 120, objective=objective)
    assert sorted(whole) == list(range(120))
    assert greedy_order(matrix, np.ones(120), 30, objective=objective).tolist() == whole[:30].tolist()


def test_coverage_covers_more_than_a_random_draw_and_its_own_objective_most():
    units, rng = random_counts(1), np.random.default_rng(0)
    covered = {name: utility(each, units, 20) for name, each in {"sqrt": SQRT, "cover": SET_COVER}.items()}
    drawn = [np.sqrt(np.minimum(units, 1)[rng.permutation(120)[:20]].sum(axis=0)).mean() for _ in range(50)]
    assert covered["sqrt"] >= covered["cover"] > max(drawn)


def test_quotas_of_strata_and_token_budgets_hold():
    tags = [{0}, {0, 1}, {1}, {2}, {2, 3}, {3}, {0}, {1}]
    strata = [0, 0, 0, 0, 1, 1, 1, 1]
    for selector in (SET_COVER, SQRT, InstagSelector()):
        chosen = selector.select(problem_of(tags, size=4, strata=strata)).indices
        assert (chosen < 4).sum() == 2 == (chosen >= 4).sum()
        tokens = np.array([5, 1, 5, 5, 1, 5, 5, 5])
        weighed = selector.select(problem_of(tags, size=8, weights=tokens)).indices
        assert tokens[weighed].sum() >= 8 > tokens[weighed[:-1]].sum()


def test_information_spreads_to_similar_tags_by_hand():
    # cos(a, b) = 0.96, c stands alone. An example of quality 6 with the tags a and c carries 3 for each; b receives
    # 0.96 / 1.96 of the 3 of a, which keeps 1 / 1.96.
    vectors = np.array([[1, 0, 0], [0.96, 0.28, 0], [0, 0, 1]], dtype=np.float32)
    graph = type_graph(vectors, similarity=0.9)
    assert graph.toarray() == pytest.approx(np.array([[1, 0.96, 0], [0.96, 1, 0], [0, 0, 1]]))
    tags = scipy.sparse.csr_array(np.array([[1.0, 0, 1]]))
    assert information(tags, np.array([6.0]), graph).toarray()[0] == pytest.approx([3 / 1.96, 3 * 0.96 / 1.96, 3])


def test_mig_prefers_quality_then_tags_far_from_those_selected():
    # Quality 3 is first. Of two examples of quality 2 the one without a similar tag adds more, although it is later.
    vectors = np.array([[1, 0, 0], [0.96, 0.28, 0], [0, 0, 1]], dtype=np.float32)
    selector = MigSelector(column="quality", similarity=0.9)
    columns = {"quality": [3.0, 2.0, 2.0, None]}
    problem = problem_of([{0}, {1}, {2}, {2}], size=3, columns=columns, embed=lambda names: vectors)
    assert selector.select(problem).indices.tolist() == [0, 2, 1]
    with pytest.raises(SftdivError, match=r"at least 0; it holds -1"):
        selector.select(problem_of([{0}, {1}, {2}], size=1, columns={"quality": [1, -1, 1]}, embed=lambda _: vectors))


def test_mig_picks_are_those_of_a_dense_implementation():
    rng = np.random.default_rng(2)
    counts, quality = np.minimum(random_counts(2), 1), rng.random(120)
    vectors = rng.normal(size=(40, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors.astype(float) @ vectors.T
    edges = np.where(cosines >= 0.9, cosines, 0)
    np.fill_diagonal(edges, 1)
    dense = (quality / counts.sum(axis=1))[:, None] * counts @ (edges / edges.sum(axis=0))
    expected = naive_greedy(dense, 40, lambda collected, row: row * 0.8 * (collected + 1e-6) ** -0.2)
    problem = problem_of(counts, size=40, columns={"q": quality.tolist()}, embed=lambda names: vectors)
    assert MigSelector(column="q", similarity=0.9).select(problem).indices.tolist() == expected


def test_settings_without_meaning_are_refused():
    with pytest.raises(SftdivError, match="no meaning with phi=set_cover"):
        CoverageSelector(phi="set_cover", counts="occurrences")
    with pytest.raises(SftdivError, match="Known: set_cover, sqrt"):
        CoverageSelector(phi="log", counts="presence")
