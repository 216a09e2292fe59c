"""The limit on copies of one text, and the placebo that keeps lengths and sources."""

import numpy as np
import pytest
import scipy.sparse

from sftdiv.records import Units
from sftdiv.selection.group_cap import within_cap
from sftdiv.selection.placebo import placebo_units

IDS = [f"id-{i}" for i in range(8)]
INSTRUCTIONS = ["a", "a", "a", "b", "b", "c", "d", "a"]
RESPONSES = ["1", "2", "3", "1", "4", "5", "5", "6"]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_each_group_holds_at_most_so_many_and_as_many_as_it_can(most):
    kept = within_cap([INSTRUCTIONS], IDS, np.ones(8, dtype=bool), most, seed=0)
    counts = {name: sum(np.array(INSTRUCTIONS)[kept] == name) for name in "abcd"}
    assert counts == {name: min(most, INSTRUCTIONS.count(name)) for name in "abcd"}


def test_with_both_sides_no_text_of_either_occurs_twice_and_nothing_more_would_fit():
    kept = np.flatnonzero(within_cap([INSTRUCTIONS, RESPONSES], IDS, np.ones(8, dtype=bool), 1, seed=0))
    taken = {INSTRUCTIONS[i] for i in kept}, {RESPONSES[i] for i in kept}
    assert [len(texts) for texts in taken] == [len(kept)] * 2
    assert all(INSTRUCTIONS[i] in taken[0] or RESPONSES[i] in taken[1] for i in range(8))


def test_the_choice_depends_on_the_seed_and_not_on_the_order_or_on_excluded_examples():
    def chosen(order, seed, selectable=None):
        mask = np.ones(len(order), dtype=bool) if selectable is None else selectable
        kept = within_cap([[INSTRUCTIONS[i] for i in order]], [IDS[i] for i in order], mask, 1, seed=seed)
        return {IDS[i] for i, is_kept in zip(order, kept, strict=True) if is_kept}

    first = chosen(range(8), 0)
    assert first == chosen([5, 2, 7, 0, 1, 6, 3, 4], 0)
    assert any(chosen(range(8), seed) != first for seed in range(1, 6))
    without = np.array([identifier not in first for identifier in IDS])  # what is excluded takes no room
    assert {identifier[-1] for identifier in chosen(range(8), 0, without)} & set("01237")


def test_a_placebo_keeps_source_length_and_all_rows_but_not_whose_they_are():
    rng = np.random.default_rng(0)
    held = (rng.random((400, 30)) < 0.1).astype(np.int64)
    held[:20] = 0
    matrix = scipy.sparse.csr_array(held)
    lengths, sources = rng.integers(1, 200, 400), ["web" if i % 2 else "book" for i in range(400)]
    units = Units(matrix, [f"t{i}" for i in range(30)], {"low": 5})
    permuted = placebo_units(units, lengths=lengths, sources=sources, seed=1)
    before, after = matrix.toarray(), permuted.matrix.toarray()
    assert (before.sum(axis=0) == after.sum(axis=0)).all()  # the same supports
    assert ((before.sum(axis=1) > 0) == (after.sum(axis=1) > 0)).all()  # the same universe
    assert (before != after).any(axis=1).mean() > 0.8
    for source in ("web", "book"):
        rows = np.array([each == source for each in sources])
        assert sorted(map(tuple, before[rows])) == sorted(map(tuple, after[rows]))
    again = placebo_units(units, lengths=lengths, sources=sources, seed=1)
    assert (again.matrix != permuted.matrix).nnz == 0
    assert permuted.made_by == {"low": 5, "placebo_seed": 1}
