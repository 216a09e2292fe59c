"""Values at a common size: the mean over all subsets of it, and comparable between datasets of different sizes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from sftdiv.diversity.ngram_ratio import ngram_ratios
from sftdiv.diversity.size_matched import subset_values
from sftdiv.records import SftdivError, TokenIds


def source(texts: int, rng: np.random.Generator) -> TokenIds:
    """Texts of 1 to 12 tokens of one source with a vocabulary of 200."""
    lengths = rng.integers(1, 13, size=texts)
    shares = 1 / np.arange(1, 201)
    flat = rng.choice(200, size=int(lengths.sum()), p=shares / shares.sum()).astype(np.int32)
    return TokenIds(flat, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), [str(i) for i in range(200)])


def test_size_matched_is_the_mean_over_all_subsets_of_that_size() -> None:
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0])

    def largest(rows: NDArray[np.int64]) -> Mapping[str, float]:
        assert len(set(rows.tolist())) == len(rows) == 2  # no text is drawn twice
        return {"largest": float(values[rows].max())}

    every = np.mean([max(pair) for pair in itertools.combinations(values, 2)])
    matched = subset_values(largest, 5, size=2, repeats=4000, rng=np.random.default_rng(0))
    assert matched["largest"].mean() == pytest.approx(every, abs=4 * 1.5 / 4000**0.5)


def test_datasets_of_two_sizes_compare_once_they_are_matched() -> None:
    rng = np.random.default_rng(0)
    small, large = source(200, rng), source(2000, rng)

    def ratio(tokens: TokenIds, size: int) -> float:
        values = subset_values(
            lambda rows: {"ratio": ngram_ratios(tokens.take(rows), order=2)[1]},
            len(tokens.lengths()),
            size=size,
            repeats=20,
            rng=rng,
        )
        return float(values["ratio"].mean())

    assert ratio(large, 2000) < 0.8 * ratio(small, 200)
    assert ratio(large, 100) == pytest.approx(ratio(small, 100), rel=0.05)


def test_all_texts_are_one_subset_and_more_than_all_are_refused() -> None:
    seen = []

    def count(rows: NDArray[np.int64]) -> Mapping[str, float]:
        seen.append(rows.tolist())
        return {"texts": len(rows)}

    assert subset_values(count, 3, size=3, repeats=50, rng=np.random.default_rng(0)) == {"texts": 3}
    assert seen == [[0, 1, 2]]
    with pytest.raises(SftdivError, match="cannot draw 50 subsets of 4 texts from 3"):
        subset_values(count, 3, size=4, repeats=50, rng=np.random.default_rng(0))
    with pytest.raises(SftdivError, match="cannot draw 0 subsets"):
        subset_values(count, 10, size=5, repeats=0, rng=np.random.default_rng(0))
