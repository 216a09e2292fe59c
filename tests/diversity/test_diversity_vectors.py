"""Each metric of embeddings against the n x n definition that it avoids, and what must hold for any set of vectors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from sftdiv.diversity import cosine
from sftdiv.diversity import novel_sum as novel_sum_module
from sftdiv.diversity.cluster_inertia import cluster_inertia
from sftdiv.diversity.embedding_distance import embedding_distance
from sftdiv.diversity.facility_location import facility_location
from sftdiv.diversity.log_determinant import log_determinant
from sftdiv.diversity.nearest_neighbour import nearest_neighbour_distance
from sftdiv.diversity.novel_sum import novel_sum
from sftdiv.diversity.radius import radius
from sftdiv.diversity.vendi import vendi_score, vendi_scores
from sftdiv.records import SftdivError

Vectors = NDArray[np.float32]
vectors = arrays(np.float32, st.tuples(st.integers(2, 8), st.just(3)), elements=st.integers(-3, 3)).filter(
    lambda rows: rows.any(axis=1).all()
)


def unit(rows: Vectors) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def random_rows(texts: int, dimensions: int = 5, *, seed: int = 0) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(texts, dimensions)))


def cosines(one: Vectors, other: Vectors) -> NDArray[np.float64]:
    a, b = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (one.astype(np.float64), other.astype(np.float64))
    )
    return a @ b.T


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every loop over blocks runs more than once, and its last block is a short one."""
    for module, name in ((cosine, "ROWS"), (cosine, "GRAM_ROWS")):
        monkeypatch.setattr(module, name, 16)
    monkeypatch.setattr(novel_sum_module, "CELLS", 7 * 40)


def test_embedding_distance_of_three_rows() -> None:
    # pairs: equal rows 0, and twice a right angle 1
    assert embedding_distance(np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)) == pytest.approx(2 / 3)
    assert embedding_distance(np.array([[1, 0], [-1, 0]], dtype=np.float32)) == pytest.approx(2.0)
    assert math.isnan(embedding_distance(np.ones((1, 1), dtype=np.float32)))


def test_embedding_distance_equals_the_mean_over_all_pairs() -> None:
    rows = random_rows(40)
    assert embedding_distance(rows) == pytest.approx(1 - cosines(rows, rows)[np.triu_indices(40, k=1)].mean(), abs=1e-6)


@pytest.mark.parametrize("q", [0.1, 0.5, 1, 2, 7, math.inf])
def test_vendi_by_the_dual_equals_the_definition_by_the_similarity_matrix(q: float) -> None:
    rows = random_rows(40).astype(np.float64)
    values = np.linalg.eigvalsh(cosines(rows, rows) / 40)
    shares = values[values > 1e-10]
    renyi = {1: -np.sum(shares * np.log(shares)), math.inf: -np.log(shares.max())}
    expected = math.exp(renyi[q] if q in renyi else np.log(np.sum(shares**q)) / (1 - q))
    assert vendi_score(rows, q=q) == pytest.approx(expected, rel=1e-10)
    assert vendi_score(rows.astype(np.float32), q=q) == pytest.approx(expected, rel=1e-6)


def test_vendi_counts_texts_that_share_nothing_and_ignores_copies_and_zeros() -> None:
    rows = np.eye(3, 4, dtype=np.float32)
    orders = (0, 0.1, 1, 2, math.inf)
    assert vendi_scores(rows, orders=orders) == pytest.approx([3] * 5)
    assert vendi_scores(np.concatenate([rows, rows, np.zeros((2, 4), np.float32)]), orders=orders) == pytest.approx(
        [3] * 5
    )
    assert vendi_score(np.repeat(random_rows(1), 9, axis=0)) == pytest.approx(1)
    assert math.isnan(vendi_score(np.zeros((2, 4), np.float32)))
    with pytest.raises(SftdivError, match=r"from 0 to infinity, got \[-1"):
        vendi_score(rows, q=-1)


def test_log_determinant_equals_that_of_all_pairs() -> None:
    rows = random_rows(40)
    for alpha in (0.3, 1.0, 50.0):
        expected = np.linalg.slogdet(np.eye(40) + alpha * cosines(rows, rows)).logabsdet
        assert log_determinant(rows.astype(np.float64), alpha=alpha) == pytest.approx(expected, rel=1e-10)
        assert log_determinant(rows, alpha=alpha) == pytest.approx(expected, rel=1e-6)
    assert log_determinant(np.eye(3, dtype=np.float32)) == pytest.approx(3 * math.log(2))


def test_nearest_neighbour_distance_equals_the_mean_smallest_distance() -> None:
    rows = random_rows(40)
    distances = 1 - cosines(rows, rows)
    np.fill_diagonal(distances, math.inf)
    assert nearest_neighbour_distance(rows) == pytest.approx(distances.min(axis=1).mean(), rel=1e-12)
    assert nearest_neighbour_distance(np.concatenate([rows, rows])) == pytest.approx(0, abs=1e-12)
    assert math.isnan(nearest_neighbour_distance(rows[:1]))


def test_facility_location_equals_the_mean_largest_cosine() -> None:
    rows, corpus = random_rows(25), random_rows(40, seed=1)
    assert facility_location(rows, corpus) == pytest.approx(cosines(corpus, rows).max(axis=1).mean(), rel=1e-12)
    assert facility_location(corpus[::-1], corpus) == pytest.approx(1)
    assert math.isnan(facility_location(rows[:0], corpus))


def naive_novel_sum(rows: Vectors, reference: Vectors | None, neighbours: int, beta: float, alpha: float) -> float:
    """The authors' ``novelsum.py``, row by row: self-distance left out, density from squared Euclidean distances."""
    distinct = None if reference is None else np.unique(reference, axis=0).astype(np.float64)
    novelty = []
    for i, row in enumerate(rows.astype(np.float64)):
        distances = sorted(1 - cosines(rows[i : i + 1], np.delete(rows, i, axis=0))[0])
        average = np.average(distances, weights=1 / np.arange(1, len(rows)) ** alpha)
        density = 1.0
        if distinct is not None:
            density = 1 / (np.mean(sorted(np.sum((distinct - row) ** 2, axis=1))[1 : neighbours + 1]) + 1e-9) ** beta
        novelty.append(density * average)
    return float(np.mean(novelty))


@pytest.mark.parametrize(("beta", "alpha"), [(0.5, 1.0), (0.25, 2.0), (1.0, 0.0)])
def test_novel_sum_equals_the_authors_definition(beta: float, alpha: float) -> None:
    corpus = np.concatenate([random_rows(50, seed=2), random_rows(20, seed=2)])  # twenty of them twice
    rows = corpus[5:45]
    settings = {"density_power": beta, "distance_power": alpha}
    assert novel_sum(rows, corpus, **settings) == pytest.approx(
        naive_novel_sum(rows, corpus, 10, beta, alpha), rel=1e-5
    )
    assert novel_sum(rows, **settings) == pytest.approx(naive_novel_sum(rows, None, 10, beta, alpha), rel=1e-10)


def test_novel_sum_without_weights_is_the_mean_distance_and_near_ones_count_more() -> None:
    rows = random_rows(40)
    assert novel_sum(rows, distance_power=0) == pytest.approx(embedding_distance(rows), abs=1e-6)
    assert novel_sum(rows, distance_power=60) == pytest.approx(nearest_neighbour_distance(rows), rel=1e-9)
    assert math.isnan(novel_sum(rows[:1]))
    with pytest.raises(SftdivError, match="more distinct reference vectors than that, got 4"):
        novel_sum(rows, np.repeat(rows[:4], 9, axis=0))


def test_cluster_inertia_of_two_pairs_by_hand_and_in_any_order() -> None:
    # centres are the pairs' means, each vector 1 from its own
    pairs = np.array([[0, 0], [0, 2], [10, 0], [10, 2]], dtype=np.float32)
    assert cluster_inertia(pairs, clusters=2) == pytest.approx(1.0)
    assert cluster_inertia(pairs, clusters=4) == 0.0
    rows = random_rows(60)
    assert cluster_inertia(rows, clusters=7) == pytest.approx(cluster_inertia(rows[::-1], clusters=7), rel=1e-12)
    assert cluster_inertia(rows, clusters=7) > cluster_inertia(rows, clusters=20) > 0


def test_radius_is_the_geometric_mean_of_standard_deviations() -> None:
    rows = random_rows(40) * np.array([1, 2, 3, 4, 5], dtype=np.float32) + 1
    assert radius(rows) == pytest.approx(np.prod(rows.astype(np.float64).std(axis=0)) ** (1 / 5), rel=1e-12)
    assert radius(np.array([[1, 1], [2, 1]], dtype=np.float32)) == 0.0


@given(vectors)
def test_no_metric_of_vectors_depends_on_their_order(rows: Vectors) -> None:
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    for metric in (vendi_score, log_determinant, nearest_neighbour_distance, novel_sum, radius):
        assert metric(rows[order]) == pytest.approx(metric(rows), rel=1e-6, abs=1e-9)
    assert cluster_inertia(rows[order], clusters=2) == pytest.approx(
        cluster_inertia(rows, clusters=2), rel=1e-6, abs=1e-9
    )


@given(vectors)
def test_copies_in_the_place_of_other_texts_lower_diversity(rows: Vectors) -> None:
    """Half the texts replaced by copies of the other half: every text has its copy."""
    half = np.concatenate([rows, rows])
    assert nearest_neighbour_distance(half) == pytest.approx(0, abs=1e-12)
    assert embedding_distance(unit(half)) <= embedding_distance(unit(rows)) + 1e-6
    assert novel_sum(half) <= novel_sum(rows) + 1e-9
    assert vendi_score(half) == pytest.approx(
        vendi_score(rows)
    )  # the effective number of texts is still that of the half
    assert log_determinant(half) < 2 * log_determinant(rows)


@given(vectors)
def test_more_texts_never_lower_volume_and_coverage(rows: Vectors) -> None:
    corpus = random_rows(6, 3)
    volumes = [log_determinant(rows[:n]) for n in range(1, len(rows) + 1)]
    coverage = [facility_location(rows[:n], corpus) for n in range(1, len(rows) + 1)]
    assert np.diff(volumes).min() >= -1e-6 and np.diff(coverage).min() >= -1e-12


@given(vectors)
def test_vendi_lies_between_one_and_the_texts_and_falls_as_its_order_rises(rows: Vectors) -> None:
    scores = vendi_scores(rows, orders=(0.1, 0.5, 1, 2, math.inf))
    assert scores[-1] >= 1 - 1e-9 and scores[0] <= min(rows.shape) + 1e-9
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(scores))
