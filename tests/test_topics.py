"""Topics from vectors that fit in the head, with HDBSCAN and with a clusterer that reads its answer off the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from numpy.typing import NDArray

from sftdiv.records import SftdivError, SideText
from sftdiv.units.hdbscan import HdbscanClusterer
from sftdiv.units.topics import Noise, TopicUnits, by_size, topic_names

CONF = Path(__file__).parents[1] / "conf"
TEXTS = ["bake bread", "bake cake", "bake pie", "bright stars", "dark stars", "bread under stars"]
VECTORS = np.array([[1, 0, 0], [1, 0.1, 0], [1, 0, 0.1], [0, 1, 0], [0, 1, 0.1], [0.9, 1, 0]], dtype=np.float32)


@dataclass(frozen=True)
class LargestComponent:
    """Clusters by the largest component; a row with two components near the largest is noise."""

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        near = (vectors > 0.8).sum(axis=1)
        return np.where(near > 1, -1, vectors.argmax(axis=1))


def side_of(texts: Sequence[str], vectors: NDArray[np.float32]) -> SideText:
    """A side that has texts and embeddings and cannot be asked for anything else."""
    return SideText(
        texts, token_ids=lambda: pytest.fail("no tokens"), embeddings=lambda: vectors, column=lambda _: pytest.fail("no column")
    )


def finder(noise: Noise = "drop") -> TopicUnits:
    return TopicUnits(clusterer=LargestComponent(), noise=noise, words=1)


def test_one_topic_an_example_and_none_for_noise() -> None:
    units = finder().find(side_of(TEXTS, VECTORS))
    assert units.names == ["0 bake", "1 stars"]
    assert units.matrix.toarray().tolist() == [[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 0]]
    assert units.made_by == {"finder": "topics", "with": "LargestComponent", "clusterer": {}, "noise": "drop", "words": 1}


def test_nearest_gives_noise_the_topic_at_the_smallest_angle() -> None:
    assert finder("nearest").find(side_of(TEXTS, VECTORS)).matrix.toarray()[-1].tolist() == [0, 1]


def test_equal_texts_share_a_topic_and_count_once() -> None:
    # five copies of one text about stars are one text: baking stays the larger topic
    units = finder().find(side_of([*TEXTS, *["bright stars"] * 5], VECTORS[[0, 1, 2, 3, 4, 5, 3, 3, 3, 3, 3]]))
    assert units.names == ["0 bake", "1 stars"]
    assert units.matrix.toarray()[6:].tolist() == [[0, 1]] * 5


def test_a_text_whose_embedding_is_zero_has_no_topic() -> None:
    vectors = np.vstack([VECTORS, np.zeros((1, 3), dtype=np.float32)])
    assert not finder("nearest").find(side_of([*TEXTS, "?"], vectors)).matrix.toarray()[-1].any()


def test_the_order_of_the_texts_changes_no_topic() -> None:
    units, turned = finder().find(side_of(TEXTS, VECTORS)), finder().find(side_of(TEXTS[::-1], VECTORS[::-1]))
    assert turned.names == units.names
    assert turned.matrix.toarray().tolist() == units.matrix.toarray()[::-1].tolist()


def test_topics_run_from_the_largest_to_the_smallest() -> None:
    assert by_size(np.array([0, 1, 1, -1, 2, 2, 2])).tolist() == [2, 1, 1, -1, 0, 0, 0]


def test_names_prefer_words_that_the_other_topics_lack() -> None:
    texts = ["write about ships", "write about ships", "write about bread", "write about bread"]
    assert topic_names(texts, np.array([0, 0, 1, 1]), words=2) == ["0 ships write", "1 bread write"]


def test_fewer_than_two_topics_is_an_error() -> None:
    with pytest.raises(SftdivError, match=r"LargestComponent.* finds 1 topics in 3 distinct texts; two are needed"):
        finder().find(side_of(TEXTS[:3], VECTORS[:3]))


def test_unknown_noise_is_an_error_with_the_alternatives() -> None:
    with pytest.raises(SftdivError, match=r"strategy\.units\.noise='keep' is not known. Known: drop, nearest"):
        TopicUnits(clusterer=LargestComponent(), noise="keep", words=1)  # type: ignore[arg-type]


def clusterer(*, max_cluster_share: float = 1.0) -> HdbscanClusterer:
    return HdbscanClusterer(dimensions=2, min_cluster_size=10, min_samples=3, max_cluster_share=max_cluster_share)


def test_hdbscan_finds_two_clouds_and_an_outlier() -> None:
    rng = np.random.default_rng(0)
    clouds = np.concatenate([rng.normal(size=(30, 4), scale=0.1), rng.normal(size=(20, 4), scale=0.1) + 5, [[50.0] * 4]]).astype(np.float32)
    cluster = clusterer().cluster(clouds)
    assert len(set(cluster[:30])) == len(set(cluster[30:50])) == 1
    assert cluster[0] != cluster[30]
    assert cluster[50] == -1
    assert np.array_equal(cluster, clusterer().cluster(clouds))


def test_hdbscan_splits_a_cluster_that_is_too_large() -> None:
    # two clouds that nearly touch and a third far off: the near pair is one cluster until it may not hold two thirds of the rows
    rng = np.random.default_rng(0)
    centres = np.repeat([[0.0, 0.0], [1.2, 0.0], [90.0, 0.0]], 30, axis=0)
    clouds = (centres + rng.uniform(-0.5, 0.5, size=(90, 2))).astype(np.float32)
    assert clusterer(max_cluster_share=0.5).cluster(clouds).max() + 1 == 3
    assert clusterer().cluster(clouds).max() + 1 == 2


def test_hdbscan_of_too_few_texts_is_an_error_with_the_numbers() -> None:
    with pytest.raises(SftdivError, match=r"9 distinct texts cannot make a topic of min_cluster_size=10"):
        clusterer().cluster(np.zeros((9, 2), dtype=np.float32))


def test_config_makes_topics_of_hdbscan() -> None:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = compose(overrides=["+strategy=macro_topic", "strategy/clusterer=hdbscan", "strategy.units.clusterer.min_cluster_size=20"])
    expected = HdbscanClusterer(dimensions=20, min_cluster_size=20, min_samples=1, max_cluster_share=0.2)
    assert instantiate(config.strategy.units) == TopicUnits(clusterer=expected, noise="drop", words=4)
