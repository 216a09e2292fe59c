"""The held-out split: whole groups, even over sources, the same whatever the order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftdiv.data.heldout_split import MAX_SHARE, held_out
from sftdiv.records import SftdivError

GROUPS = [f"web{number}" for number in range(900)] + [f"books{number // 10}" for number in range(100)]
SOURCES = ["web"] * 900 + ["books"] * 100


def test_sources_take_turns_until_one_has_no_room() -> None:
    mask = held_out(GROUPS, SOURCES, count=30, seed=0)
    assert Counter(np.array(SOURCES)[mask]) == {"web": 30}  # no group of ten books fits into 5 % of a hundred
    single = held_out([str(number) for number in range(1000)], SOURCES, count=30, seed=0)
    assert Counter(np.array(SOURCES)[single]) == {"web": 25, "books": 5}


def test_no_more_than_the_share_of_the_corpus() -> None:
    assert held_out([str(number) for number in range(1000)], ["x"] * 1000, count=10_000, seed=0).sum() == 50


def test_a_shared_group_belongs_to_the_source_with_most_of_it() -> None:
    groups = ["shared"] * 3 + [f"single{number}" for number in range(97)]
    sources = ["a", "b", "b"] + ["b"] * 97
    masks = np.array([held_out(groups, sources, count=5, seed=seed) for seed in range(40)])
    assert set(map(tuple, masks[:, :3])) == {(True, True, True), (False, False, False)}


def test_the_seed_chooses_and_the_order_does_not() -> None:
    order = np.random.default_rng(0).permutation(len(GROUPS))
    mask = held_out(GROUPS, SOURCES, count=30, seed=0)
    shuffled = held_out([GROUPS[index] for index in order], [SOURCES[index] for index in order], count=30, seed=0)
    assert (shuffled == mask[order]).all()
    assert (held_out(GROUPS, SOURCES, count=30, seed=1) != mask).any()


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(SftdivError, match=r"corpus.heldout=-1 must be a whole number of at least 0"):
        held_out(GROUPS, SOURCES, count=-1, seed=0)


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc")), max_size=200), st.integers(0, 30))
def test_groups_are_whole_and_never_too_many(rows: list[tuple[int, str]], count: int) -> None:
    groups, sources = [str(group) for group, _ in rows], [source for _, source in rows]
    mask = held_out(groups, sources, count=count, seed=0)
    inside, outside = (
        {group for group, held in zip(groups, mask, strict=True) if held == side} for side in (True, False)
    )
    assert not inside & outside
    assert mask.sum() <= min(count, MAX_SHARE * len(rows))
