"""Mixtures of sources: shares by hand, by hash, and in the row of a run."""

import numpy as np
import pytest

from sftdiv.records import SftdivError
from sftdiv.selection.mixture import in_mixture

SOURCES = ["web"] * 6 + ["book"] * 3 + ["code"] * 4
IDS = [f"id-{number}" for number in range(13)]
EVERYONE = np.ones(13, dtype=bool)


def counts(kept):
    return {source: int((kept & (np.array(SOURCES) == source)).sum()) for source in ("web", "book", "code")}


def test_the_largest_mixture_of_the_shares_by_hand():
    # Three to one: 6 web pages allow 2 books; with 3 books, 9 web pages would be needed.
    assert counts(in_mixture(SOURCES, IDS, EVERYONE, {"web": 3, "book": 1}, seed=0)) == {"web": 6, "book": 2, "code": 0}
    shares = {"web": 0.4, "book": 0.3, "code": 0.3}
    assert counts(in_mixture(SOURCES, IDS, EVERYONE, shares, seed=0)) == {"web": 4, "book": 3, "code": 3}
    assert in_mixture(SOURCES, IDS, EVERYONE, {"code": 2}, seed=0).tolist() == [False] * 9 + [True] * 4


def test_shares_hold_among_the_selectable_and_the_choice_depends_on_the_seed_and_not_on_the_order():
    selectable = EVERYONE.copy()
    selectable[:3] = False
    assert counts(in_mixture(SOURCES, IDS, selectable, {"web": 1, "code": 1}, seed=0)) == {
        "web": 3,
        "book": 0,
        "code": 3,
    }

    def chosen(order, seed):
        kept = in_mixture(
            [SOURCES[i] for i in order], [IDS[i] for i in order], EVERYONE, {"web": 1, "book": 1}, seed=seed
        )
        return {IDS[i] for i, is_kept in zip(order, kept, strict=True) if is_kept}

    first = chosen(range(13), 0)
    assert first == chosen(np.random.default_rng(0).permutation(13), 0)
    assert any(chosen(range(13), seed) != first for seed in range(1, 6))


def test_an_unknown_source_is_refused_with_the_alternatives():
    with pytest.raises(SftdivError, match=r"names books, .* Did you mean 'book'\? Sources: book, code, web"):
        in_mixture(SOURCES, IDS, EVERYONE, {"web": 1, "books": 1}, seed=0)
