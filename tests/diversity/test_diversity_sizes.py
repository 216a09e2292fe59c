"""Values at a common size, and intervals: that they hold the truth as often as they say, in a simulation of known truth."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from sftdiv.diversity.interval import bootstrap_interval, subsampling_interval
from sftdiv.diversity.ngram_ratio import ngram_ratios
from sftdiv.diversity.size_matched import size_matched, subset_values
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
    matched = size_matched(largest, 5, size=2, repeats=4000, rng=np.random.default_rng(0))
    assert matched["largest"] == pytest.approx(every, abs=4 * 1.5 / 4000**0.5)


def test_datasets_of_two_sizes_compare_once_they_are_matched() -> None:
    rng = np.random.default_rng(0)
    small, large = source(200, rng), source(2000, rng)

    def ratio(tokens: TokenIds, size: int) -> float:
        return size_matched(
            lambda rows: {"ratio": ngram_ratios(tokens.take(rows), order=2)[1]},
            len(tokens.lengths()),
            size=size,
            repeats=20,
            rng=rng,
        )["ratio"]

    assert ratio(large, 2000) < 0.8 * ratio(small, 200)
    assert ratio(large, 100) == pytest.approx(ratio(small, 100), rel=0.05)


def test_all_texts_are_one_subset_and_more_than_all_are_refused() -> None:
    seen = []

    def count(rows: NDArray[np.int64]) -> Mapping[str, float]:
        seen.append(rows.tolist())
        return {"texts": len(rows)}

    assert size_matched(count, 3, size=3, repeats=50, rng=np.random.default_rng(0)) == {"texts": 3}
    assert seen == [[0, 1, 2]]
    with pytest.raises(SftdivError, match="cannot draw 50 subsets of 4 texts from 3"):
        size_matched(count, 3, size=4, repeats=50, rng=np.random.default_rng(0))


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_subsampling_spread_of_a_mean_is_its_standard_error(share: float) -> None:
    values = np.random.default_rng(0).normal(size=400)
    interval = subsampling_interval(
        lambda rows: {"mean": float(values[rows].mean())},
        400,
        size=int(share * 400),
        repeats=4000,
        rng=np.random.default_rng(1),
    )
    low, high = interval["mean"]
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.01)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.06)


def test_subsampling_intervals_of_a_set_metric_hold_its_expectation_as_often_as_they_say() -> None:
    """200 datasets of 60 texts: of their 90 % intervals of the bigram ratio, 90 % hold what such datasets have on average.

    A bootstrap with replacement would hold it never: a third of its texts are copies, and the ratio
    falls by as much.
    """
    rng = np.random.default_rng(0)
    datasets = [source(60, rng) for _ in range(200)]

    def measure(tokens: TokenIds, rows: NDArray[np.int64]) -> Mapping[str, float]:
        return {"ratio": ngram_ratios(tokens.take(rows), order=2)[1]}

    truth = np.mean([measure(tokens, np.arange(60))["ratio"] for tokens in datasets])
    held = 0
    for tokens in datasets:
        interval = subsampling_interval(
            lambda rows, tokens=tokens: measure(tokens, rows), 60, repeats=60, rng=rng, confidence=0.9
        )
        held += interval["ratio"][0] <= truth <= interval["ratio"][1]
    assert 0.84 <= held / 200 <= 0.97  # three standard errors of 200 yes-or-no answers are 0.064

    whole, again = datasets[0], rng.integers(60, size=(200, 60))
    bootstrapped = [measure(whole, np.sort(rows))["ratio"] for rows in again]
    assert max(bootstrapped) < truth


def test_bootstrap_intervals_of_a_mean_hold_it_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        low, high = bootstrap_interval(rng.exponential(size=80), rng=rng, repeats=200, confidence=0.9)
        held += low <= 1 <= high
    assert 0.83 <= held / 300 <= 0.95


def test_what_cannot_be_an_interval_is_refused() -> None:
    def one(rows: NDArray[np.int64]) -> Mapping[str, float]:
        return {"one": 1.0}

    rng = np.random.default_rng(0)
    with pytest.raises(SftdivError, match="from 1 to 9 of 10 texts, not 10"):
        subsampling_interval(one, 10, size=10, repeats=5, rng=rng)
    with pytest.raises(SftdivError, match="confidence=95 is not between 0 and 1"):
        subsampling_interval(one, 10, repeats=5, rng=rng, confidence=95)
    with pytest.raises(SftdivError, match="no value to bootstrap"):
        bootstrap_interval(np.empty(0), rng=rng)
    with pytest.raises(SftdivError, match="cannot draw 0 subsets"):
        subset_values(one, 10, size=5, repeats=0, rng=rng)
