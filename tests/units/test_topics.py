"""Topics from vectors that fit in the head, with a clusterer that reads its answer off the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from numpy.typing import NDArray

from sftdiv.pipeline.serialize import load_units, save_units
from sftdiv.protocols import CorpusSide
from sftdiv.records import SftdivError
from sftdiv.storage.hashing import libraries_of
from sftdiv.text.string_columns import distinct_by_digest
from sftdiv.units.clustering.stability import Stability, agreement
from sftdiv.units.topic_words import central_rows, telling_words
from sftdiv.units.topics import Noise, TopicUnits, by_size, with_noise

CONF = Path(__file__).parents[2] / "conf"
TEXTS = ["bake bread", "bake cake", "bake pie", "bright stars", "dark stars", "bread under stars"]
VECTORS = np.array([[1, 0, 0], [1, 0.1, 0], [1, 0, 0.1], [0, 1, 0], [0, 1, 0.1], [0.9, 1, 0]], dtype=np.float32)
NO_RUNS = Stability(seeds=0, sample=10, share=1.0)


@dataclass(frozen=True)
class LargestComponent:
    """Clusters by the largest component; a row with two components near the largest is noise."""

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        near = (vectors > 0.6).sum(axis=1)
        return np.where(near > 1, -1, vectors.argmax(axis=1))


@dataclass(frozen=True)
class ByChance:
    """Half of the rows, drawn by the seed, against the others."""

    seed: int

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.random.default_rng(self.seed).permutation(len(vectors)) % 2


def side_of(texts: Sequence[str], vectors: NDArray[np.float32]) -> CorpusSide:
    """A side that has texts and embeddings and cannot be asked for anything else."""
    return CorpusSide(
        texts,
        token_ids=lambda: pytest.fail("no tokens"),
        embeddings=lambda: vectors,
        column=lambda _: pytest.fail("no column"),
    )


def topic_units(noise: Noise = "drop", *, clusterer: Any = None, stability: Stability = NO_RUNS) -> TopicUnits:
    return TopicUnits(clusterer=clusterer or LargestComponent(), noise=noise, words=1, stability=stability)


def test_one_topic_an_example_and_none_for_noise() -> None:
    units = topic_units().extract(side_of(TEXTS, VECTORS))
    assert units.names == ["0 bake", "1 stars"]
    assert units.matrix.toarray().tolist() == [[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 0]]
    assert units.made_by == {
        "finder": "topics",
        "with": "LargestComponent",
        "noise": "drop",
        "words": 1,
        "topics": 2,
        "alone": 0,
        "noise_share": pytest.approx(1 / 6),
        "stability.seeds": 0,
        "stability.sample": 10,
        "stability.share": 1.0,
    }


def test_nearest_gives_noise_the_topic_at_the_smallest_angle() -> None:
    units = topic_units("nearest").extract(side_of(TEXTS, VECTORS))
    assert units.matrix.toarray()[-1].tolist() == [0, 1]
    assert units.made_by["noise_share"] == pytest.approx(1 / 6), "of the clusterer, whatever becomes of its noise"


def test_own_gives_each_noise_text_a_topic_that_equal_texts_share() -> None:
    units = topic_units("own").extract(
        side_of([*TEXTS, "bread under stars", "stars over cake"], np.vstack([VECTORS, VECTORS[[5, 5]]]))
    )
    alone = units.matrix.toarray()[5:, 2:].tolist()
    assert alone in ([[1, 0], [1, 0], [0, 1]], [[0, 1], [0, 1], [1, 0]])
    assert sorted(name[2:] for name in units.names) == ["bake", "bread", "stars", "stars"]
    assert units.made_by["alone"] == 2
    assert len(units.record["topics"]) == 2, "a report lists the clusters"


def test_equal_texts_share_a_topic_and_count_once() -> None:
    # five copies of one text about stars are one text: baking stays the larger topic
    units = topic_units().extract(side_of([*TEXTS, *["bright stars"] * 5], VECTORS[[0, 1, 2, 3, 4, 5, 3, 3, 3, 3, 3]]))
    assert units.names == ["0 bake", "1 stars"]
    assert units.matrix.toarray()[6:].tolist() == [[0, 1]] * 5


def test_a_text_whose_embedding_is_zero_has_no_topic() -> None:
    vectors = np.vstack([VECTORS, np.zeros((1, 3), dtype=np.float32)])
    for noise in ("nearest", "own"):
        assert not topic_units(noise).extract(side_of([*TEXTS, "?"], vectors)).matrix.toarray()[-1].any()


def test_the_order_of_the_texts_changes_no_topic() -> None:
    units, turned = (
        topic_units("own").extract(side_of(TEXTS, VECTORS)),
        topic_units("own").extract(side_of(TEXTS[::-1], VECTORS[::-1])),
    )
    assert turned.names == units.names
    assert turned.record == units.record
    assert turned.matrix.toarray().tolist() == units.matrix.toarray()[::-1].tolist()


def test_the_report_lists_topics_by_size_with_words_and_central_texts(tmp_path: Path) -> None:
    vectors = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    units = topic_units().extract(side_of([*TEXTS, "dark stars"], vectors[[0, 1, 2, 3, 4, 5, 4]]))
    save_units(units, tmp_path)
    baking, stars = load_units(tmp_path).record["topics"]
    assert baking["name"] == "0 bake" and baking["words"] == ["bake"]
    assert (baking["size"], baking["texts"], baking["share"]) == (3, 3, pytest.approx(3 / 7))
    assert (stars["size"], stars["texts"]) == (3, 2), "three examples, of two distinct texts"
    assert baking["examples"][0] == "bake bread", "the other two lie on either side of it"


def test_distinct_texts_come_in_the_order_of_their_hashes() -> None:
    texts = ["b", "a", "b", "c"]
    first, row = distinct_by_digest(texts)
    distinct = [texts[at] for at in first]
    assert sorted(distinct) == ["a", "b", "c"]
    assert [distinct[at] for at in row] == texts
    reverse = ["c", "b", "a"]
    assert [reverse[at] for at in distinct_by_digest(reverse).first] == distinct


def test_topics_run_from_the_largest_to_the_smallest_without_gaps() -> None:
    assert by_size(np.array([0, 1, 1, -1, 3, 3, 3])).tolist() == [2, 1, 1, -1, 0, 0, 0]


def test_nearest_in_blocks_equals_nearest_at_once() -> None:
    rng = np.random.default_rng(0)
    vectors, centres = rng.normal(size=(90_000, 4)).astype(np.float32), rng.normal(size=(6, 4)).astype(np.float32)
    found = rng.integers(-15, 6, size=90_000).clip(-1)  # noise is more than half, and more than one block
    expected = np.where(found == -1, (vectors @ centres.T).argmax(axis=1), found)
    assert np.array_equal(with_noise(vectors, found, centres, noise="nearest"), expected)


def test_names_prefer_words_that_the_other_topics_lack() -> None:
    texts = ["write about ships", "write about ships", "write about bread", "write about bread", "neither"]
    assert telling_words(texts, np.array([0, 0, 1, 1, -1]), words=2) == [["ships", "write"], ["bread", "write"]]


def test_topics_without_words_have_numbers_for_names() -> None:
    assert telling_words(["the", "of", "1"], np.array([0, 1, 1]), words=2) == [[], []]


def test_central_rows_are_those_at_the_smallest_angle_to_the_centre() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], dtype=np.float32)
    centres = np.array([[0.8, 0.6], [0, 1]], dtype=np.float32)
    assert central_rows(vectors, np.array([0, 0, 0, -1]), centres, count=2) == [[1, 2], []]


def test_fewer_than_two_topics_is_an_error() -> None:
    with pytest.raises(SftdivError, match=r"LargestComponent.* finds 1 topics in 3 distinct texts; two are needed"):
        topic_units().extract(side_of(TEXTS[:3], VECTORS[:3]))


def test_unknown_noise_is_an_error_with_the_alternatives() -> None:
    with pytest.raises(SftdivError, match=r"strategy\.units\.noise='keep' is unknown\..*Known: drop, nearest, own"):
        topic_units("keep")  # type: ignore[arg-type]


def test_runs_that_agree_are_stable_and_runs_by_chance_are_not() -> None:
    vectors = np.random.default_rng(0).normal(size=(2_000, 3)).astype(np.float32)
    runs = Stability(seeds=3, sample=1_000, share=0.8)
    sure, chance = runs.measure(LargestComponent(), vectors), runs.measure(ByChance(seed=0), vectors)
    assert sure == {"ari": 1.0, "ami": 1.0, "ari_with_noise": 1.0, "ami_with_noise": 1.0, "topics": 3.0}
    assert abs(chance["ari"] or 1) < 0.02 and abs(chance["ami"] or 1) < 0.02
    assert Stability(seeds=3, sample=1_000, share=1.0).measure(ByChance(seed=0), vectors)["ari"] != 1.0, (
        "the seed varies"
    )


def test_agreement_counts_rows_that_both_were_given() -> None:
    # rows 0 to 3 are in clusters of both (and these agree), rows 4 and 5 are noise to one, row 6 was not given to one
    left, right = np.array([0, 0, 1, 1, -1, 0, -2]), np.array([5, 5, 2, 2, 5, -1, 5])
    scores = agreement(left, right)
    assert scores["ari"] == scores["ami"] == 1.0
    assert scores["ari_with_noise"] < 1
    assert np.isnan(agreement(np.array([-1, -1]), np.array([0, 1]))["ari"])


def test_too_few_rows_for_a_sample_leave_the_stability_open() -> None:
    @dataclass(frozen=True)
    class Particular:
        def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
            if len(vectors) < 6:
                raise SftdivError("too few")
            return LargestComponent().cluster(vectors)

    units = topic_units(clusterer=Particular(), stability=Stability(seeds=2, sample=10, share=0.5)).extract(
        side_of(TEXTS, VECTORS)
    )
    assert units.made_by["stability.ari"] is None
    assert units.names == ["0 bake", "1 stars"]


def test_stability_of_no_share_is_an_error() -> None:
    with pytest.raises(SftdivError, match=r"strategy\.units\.stability\.share=0 is not in \(0, 1\]"):
        Stability(seeds=3, sample=10, share=0)


def test_the_libraries_are_those_of_the_topics_and_of_the_clusterer() -> None:
    @dataclass(frozen=True)
    class Foreign(LargestComponent):
        libraries = ("hdbscan",)

    assert libraries_of(topic_units()) == {"numpy", "scikit-learn", "scipy"}
    assert libraries_of(topic_units(clusterer=Foreign())) == {"numpy", "scikit-learn", "scipy", "hdbscan"}


def test_a_missing_package_is_named_with_its_extra() -> None:
    @dataclass(frozen=True)
    class Absent(LargestComponent):
        libraries = ("no-such-package",)

    with pytest.raises(
        SftdivError, match=r"needs the package no-such-package: pip install 'sftdiv\[no-such-package\]'"
    ):
        topic_units(clusterer=Absent()).extract(side_of(TEXTS, VECTORS))
    assert topic_units(clusterer=Absent()).identity()["kind"] == "topics", "a plan needs no packages"


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "strategy/clusterer").glob("*.yaml")))
def test_config_makes_topics_of_every_clusterer(name: str) -> None:
    from sftdiv.config.app import register_resolvers

    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = compose(
            "config", overrides=["strategy=macro_topic", f"strategy/clusterer={name}", "strategy.units.noise=own"]
        )
    units = instantiate(config.strategy.units)
    assert units.noise == "own" and units.stability.seeds == 3
    assert "numpy" in libraries_of(units)
