"""The clusterers on clouds whose clusters are known, each step against the package it stands for, and the
same bits on any machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score, homogeneity_score

from sftdiv.records import SftdivError
from sftdiv.units.clustering.evoc import EvocClusterer
from sftdiv.units.clustering.fuzzy_graph import fuzzy_graph
from sftdiv.units.clustering.kmeans import KmeansClusterer, first_centres, mean_directions
from sftdiv.units.clustering.layout import curve, layout
from sftdiv.units.clustering.pca_hdbscan import HdbscanClusterer
from sftdiv.units.clustering.umap_hdbscan import UmapHdbscanClusterer
from sftdiv.vectors.neighbours import nearest_neighbours


def unit_rows(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clouds(
    sizes: list[int], *, dimensions: int = 16, width: float = 0.15
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Unit vectors around as many directions as there are sizes, and the cloud of each."""
    rng = np.random.default_rng(0)
    cloud = np.repeat(np.arange(len(sizes)), sizes)
    centres = np.eye(dimensions)[: len(sizes)]
    return unit_rows(centres[cloud] + rng.normal(scale=width, size=(len(cloud), dimensions))), cloud


def umap_hdbscan(**settings: int) -> UmapHdbscanClusterer:
    given = {
        "neighbours": 15,
        "dimensions": 3,
        "epochs": 100,
        "min_cluster_size": 20,
        "min_samples": 5,
        "seed": 0,
        **settings,
    }
    return UmapHdbscanClusterer(min_dist=0.0, selection="eom", **given)


def pca_hdbscan(*, max_cluster_share: float = 1.0) -> HdbscanClusterer:
    return HdbscanClusterer(dimensions=2, min_cluster_size=10, min_samples=3, max_cluster_share=max_cluster_share)


def test_neighbours_equal_those_of_all_pairs_on_any_number_of_threads() -> None:
    vectors = unit_rows(np.random.default_rng(0).normal(size=(1_500, 8)))
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    nearest, distance = nearest_neighbours(vectors, 10, threads=1)
    expected = np.argsort(-similarity, axis=1, kind="stable")[:, :10]
    assert np.mean(nearest == expected) > 0.999, "a product in blocks may round two equally near rows the other way"
    assert np.allclose(distance, 1 - np.take_along_axis(similarity, expected, axis=1), atol=1e-6)
    again = nearest_neighbours(vectors, 10, threads=2)
    assert np.array_equal(nearest, again[0]) and np.array_equal(distance, again[1])


def test_a_row_is_no_neighbour_of_itself_and_its_copies_are() -> None:
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.float32)
    nearest, distance = nearest_neighbours(vectors, 2)
    assert nearest[:3].tolist() == [[1, 2], [0, 2], [0, 1]]
    assert distance[:3].max() == 0


def test_the_fuzzy_graph_of_three_points_by_hand() -> None:
    # two neighbours each: a row's weights sum to log2(3), its nearest weighs 1, so the other 0.585; a union
    # of p and q is p + q - pq
    nearest = np.array([[1, 2], [0, 2], [1, 0]], dtype=np.int32)
    distances = np.array([[0.1, 0.3], [0.1, 0.2], [0.2, 0.3]], dtype=np.float32)
    far = np.log2(3) - 1
    graph = fuzzy_graph(nearest, distances).toarray()
    expected = [[0, 1, far + far - far**2], [1, 0, 1], [far + far - far**2, 1, 0]]
    assert np.allclose(graph, expected, atol=1e-6)


@pytest.mark.nightly  # umap-learn compiles for a minute; the graph by hand is the test above
@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")
def test_the_fuzzy_graph_equals_umap_learns() -> None:
    from umap.umap_ import fuzzy_simplicial_set

    vectors, _ = clouds([60, 60], width=0.5)
    vectors[7] = vectors[3]  # equal rows
    nearest, distances = nearest_neighbours(vectors, 14)
    with_self = (
        np.column_stack([np.arange(len(vectors)), nearest]),
        np.column_stack([np.zeros(len(vectors)), distances]),
    )
    expected, _, _ = fuzzy_simplicial_set(
        vectors,
        15,
        np.random.RandomState(0),
        "cosine",
        knn_indices=with_self[0],
        knn_dists=with_self[1].astype(np.float32),
    )
    assert np.allclose(fuzzy_graph(nearest, distances).toarray(), expected.toarray(), atol=1e-3)


def test_the_curve_is_the_one_umap_learn_prints_for_min_dist() -> None:
    assert np.allclose(curve(0.1), (1.577, 0.895), atol=1e-3)  # "a = 1.577, b = 0.895" in UMAP's documentation


def test_the_layout_pulls_linked_points_together_and_others_apart() -> None:
    # ten fully linked groups of twenty that start mixed
    group = np.repeat(np.arange(10), 20)
    graph = scipy.sparse.csr_array(((group[:, None] == group) & ~np.eye(200, dtype=bool)).astype(np.float32))
    start = np.random.default_rng(0).uniform(0, 10, size=(200, 2)).astype(np.float32)
    places = layout(graph, start, epochs=200, min_dist=0.0, seed=0)
    distance = np.linalg.norm(places[:, None] - places, axis=2)
    within = distance[group[:, None] == group]
    between = distance[group[:, None] != group]
    assert within.max() < between.min()
    assert not np.array_equal(places, layout(graph, start, epochs=200, min_dist=0.0, seed=1))
    assert np.array_equal(places, layout(graph, start, epochs=200, min_dist=0.0, seed=0, threads=2))


def test_a_layout_of_many_ranges_is_the_same_on_any_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.normal(size=(9_000, 8)))
    graph = fuzzy_graph(*nearest_neighbours(vectors, 5))
    start = (10 * vectors[:, :3]).copy()
    one, two = (layout(graph, start, epochs=10, min_dist=0.0, seed=0, threads=threads) for threads in (1, 2))
    assert np.array_equal(one, two) and np.isfinite(one).all()


def test_umap_hdbscan_finds_the_clouds() -> None:
    vectors, cloud = clouds([80, 60, 40, 40])
    found = umap_hdbscan().cluster(vectors)
    assert adjusted_rand_score(cloud[found >= 0], found[found >= 0]) == 1.0
    assert np.mean(found == -1) < 0.1


def test_umap_hdbscan_of_too_few_texts_is_an_error_with_the_numbers() -> None:
    with pytest.raises(
        SftdivError, match=r"12 distinct texts cannot make a topic of min_cluster_size=20 with neighbours=15"
    ):
        umap_hdbscan().cluster(clouds([6, 6])[0])


def test_kmeans_finds_the_clouds_and_leaves_no_noise() -> None:
    vectors, cloud = clouds([80, 60, 40, 40])
    found = KmeansClusterer(clusters=4, iterations=50, seed=0).cluster(vectors)
    assert adjusted_rand_score(cloud, found) == 1.0
    assert np.array_equal(found, KmeansClusterer(clusters=4, iterations=50, seed=0).cluster(vectors))


def test_kmeans_never_raises_the_mean_cosine_distance_to_the_centres() -> None:
    vectors = unit_rows(np.random.default_rng(0).normal(size=(400, 8)))
    distances = []
    for iterations in range(6):
        found = KmeansClusterer(clusters=7, iterations=iterations, seed=0).cluster(vectors)
        centres = mean_directions(vectors, found, np.zeros((7, 8), dtype=np.float32))
        distances.append(1 - np.mean(np.sum(vectors * centres[found], axis=1)))
    assert all(later <= earlier + 1e-6 for earlier, later in pairwise(distances))


def test_kmeans_of_equal_rows_and_of_too_few() -> None:
    assert set(KmeansClusterer(clusters=2, iterations=5, seed=0).cluster(np.ones((5, 1), dtype=np.float32))) == {0}
    with pytest.raises(
        SftdivError, match=r"3 distinct texts cannot make 4 clusters; lower strategy\.units\.clusterer\.clusters"
    ):
        KmeansClusterer(clusters=4, iterations=5, seed=0).cluster(np.eye(3, dtype=np.float32))


def test_first_centres_are_far_from_each_other() -> None:
    # a thousand rows in one direction and one in another: the second centre is the lone row, since no other
    # has a distance
    vectors = np.vstack([np.tile([1.0, 0.0], (1_000, 1)), [[0.0, 1.0]]]).astype(np.float32)
    for seed in range(5):
        assert sorted(first_centres(vectors, 2, np.random.default_rng(seed)).tolist()) == [[0, 1], [1, 0]]


def test_mean_directions_by_hand() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32)
    before = np.array([[0, 0], [0, 0], [0.6, 0.8]], dtype=np.float32)
    means = mean_directions(vectors, np.array([0, 0, -1]), before)
    assert np.allclose(means, [[0.5**0.5, 0.5**0.5], [0, 0], [0.6, 0.8]]), (
        "noise counts nowhere, an empty cluster stays"
    )


def test_hdbscan_finds_two_clouds_and_an_outlier() -> None:
    rng = np.random.default_rng(0)
    near, far = rng.normal(size=(30, 4), scale=0.1), rng.normal(size=(20, 4), scale=0.1) + 5
    vectors = np.concatenate([near, far, [[50.0] * 4]]).astype(np.float32)
    cluster = pca_hdbscan().cluster(vectors)
    assert len(set(cluster[:30])) == len(set(cluster[30:50])) == 1
    assert cluster[0] != cluster[30]
    assert cluster[50] == -1
    assert np.array_equal(cluster, pca_hdbscan().cluster(vectors))


def test_hdbscan_splits_a_cluster_that_is_too_large() -> None:
    # two clouds that nearly touch and a third far off: the near pair is one cluster until it may not hold
    # two thirds of the rows
    rng = np.random.default_rng(0)
    centres = np.repeat([[0.0, 0.0], [1.2, 0.0], [90.0, 0.0]], 30, axis=0)
    vectors = (centres + rng.uniform(-0.5, 0.5, size=(90, 2))).astype(np.float32)
    assert pca_hdbscan(max_cluster_share=0.5).cluster(vectors).max() + 1 == 3
    assert pca_hdbscan().cluster(vectors).max() + 1 == 2


def test_hdbscan_of_too_few_texts_is_an_error_with_the_numbers() -> None:
    with pytest.raises(SftdivError, match=r"9 distinct texts cannot make a topic of min_cluster_size=10"):
        pca_hdbscan().cluster(np.zeros((9, 2), dtype=np.float32))


def evoc() -> EvocClusterer:
    return EvocClusterer(neighbours=15, noise_level=0.5, min_cluster_size=20, min_samples=5, epochs=50, seed=0)


def test_evoc_is_given_every_setting_and_runs_on_one_numba_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    class Package:
        """Stands for the package: each row is a cluster of its own."""

        def __init__(self, **settings: Any) -> None:
            self.settings = settings

        def fit_predict(self, vectors: NDArray[np.float32]) -> list[int]:
            assert numba.get_num_threads() == 1 and vectors.flags.c_contiguous
            assert self.settings == {
                "n_neighbors": 15,
                "noise_level": 0.5,
                "base_min_cluster_size": 20,
                "min_samples": 5,
                "n_epochs": 50,
                "random_state": 0,
            }
            return list(range(len(vectors)))

    monkeypatch.setitem(sys.modules, "evoc", SimpleNamespace(EVoC=Package))
    before = numba.get_num_threads()
    found = evoc().cluster(np.asfortranarray(clouds([40, 40])[0]))
    assert found.dtype == np.int64 and found.tolist() == list(range(80))
    assert numba.get_num_threads() == before


@pytest.mark.nightly  # the package compiles for minutes when first used; how it is called is the test above
@pytest.mark.timeout(1_200)
def test_evoc_finds_the_clouds_and_restores_numbas_threads() -> None:
    pytest.importorskip("evoc")
    import numba

    vectors, cloud = clouds([300, 200, 200])
    before = numba.get_num_threads()
    found = evoc().cluster(vectors)
    assert homogeneity_score(cloud[found >= 0], found[found >= 0]) == pytest.approx(1.0), (
        "it may split a cloud, and never joins two"
    )
    assert numba.get_num_threads() == before
    try:
        numba.set_num_threads(1)
        assert np.array_equal(found, evoc().cluster(vectors))
    finally:
        numba.set_num_threads(before)


def test_evoc_where_it_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "evoc", None)
    with pytest.raises(SftdivError, match=r"pip install 'sftdiv\[evoc\]'"):
        evoc().cluster(clouds([40, 40])[0])


def test_evoc_of_too_few_texts_is_an_error_with_the_numbers() -> None:
    with pytest.raises(
        SftdivError, match=r"12 distinct texts are too few for EVoC with neighbours=15 and min_cluster_size=20"
    ):
        evoc().cluster(clouds([6, 6])[0])


FIND = """
import json, sys
import numpy as np
from sftdiv.protocols import CorpusSide
from sftdiv.units.clustering.kmeans import KmeansClusterer
from sftdiv.units.clustering.stability import Stability
from sftdiv.units.clustering.umap_hdbscan import UmapHdbscanClusterer
from sftdiv.units.topics import TopicUnits
rng = np.random.default_rng(0)
cloud = np.repeat(np.arange(6), 150)
vectors = np.eye(16)[cloud] + rng.normal(scale=0.3, size=(900, 16))
vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
order = np.random.default_rng(int(sys.argv[1])).permutation(900)
clusterers = [
    UmapHdbscanClusterer(
        neighbours=15, dimensions=3, min_dist=0.0, epochs=50,
        min_cluster_size=20, min_samples=5, selection="eom", seed=0,
    ),
    KmeansClusterer(clusters=9, iterations=50, seed=0),
]
for clusterer in clusterers:
    side = CorpusSide([f"text {row} of {cloud[row]}" for row in order], None, lambda: vectors[order], None)
    stability = Stability(seeds=2, sample=500, share=0.8)
    units = TopicUnits(clusterer=clusterer, noise="own", words=3, stability=stability).extract(side)
    back = np.argsort(order)
    rows = [units.matrix.indices[units.matrix.indptr[at]] for at in back]
    print(json.dumps([np.array(rows).tolist(), units.names, units.made_by, units.record]))
"""


def test_the_same_corpus_gives_the_same_topics_in_any_order_process_and_number_of_threads() -> None:
    found = []
    for order, threads, hash_seed in ((0, 1, 0), (1, 2, 1)):
        environment = os.environ | {
            "NUMBA_NUM_THREADS": str(threads),
            "PYTHONHASHSEED": str(hash_seed),
            "OPENBLAS_NUM_THREADS": str(threads),
        }
        run = subprocess.run(
            [sys.executable, "-c", FIND, str(order)], env=environment, capture_output=True, text=True, check=True
        )
        found.append([json.loads(line) for line in run.stdout.splitlines()])
    assert found[0] == found[1]
    assert len(found[0]) == 2 and len(found[0][0][1]) > 2
