"""Semantic duplicates: groups by hand, those of a naive comparison of all pairs, and in a corpus."""

import json

import numpy as np
import pytest

from sftdiv.config.from_python import compose_run
from sftdiv.data.semantic_dedup import SemanticDuplicateFinder, kmeans_clusters, semantic_groups
from sftdiv.embeddings.lsa import LsaEmbedder
from sftdiv.pipeline.corpus_of_spec import load_corpus_of
from sftdiv.records import SftdivError
from sftdiv.storage.cache import Store

WORDS = LsaEmbedder(dimensions=20, min_documents=1, max_share=1.0, max_words=1000, iterations=4, seed=0)


def unit(*rows):
    vectors = np.array(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_of_a_group_the_least_typical_row_is_kept_by_hand():
    # The centroid lies between rows 0 and 1; row 1 is farther from it than row 0 and its cosine to it is 0.98.
    # Row 2 is close to nothing, and row 3 equals row 1 but stands in another cluster.
    vectors = unit([1, 0.1], [1, 0.3], [0, 1], [1, 0.3])
    groups = semantic_groups(vectors, np.array([0, 0, 0, 1]), threshold=0.97)
    kept = [row for row, group in enumerate(groups) if row == group]
    assert kept == [0, 2, 3] and groups[1] == 0
    assert semantic_groups(vectors, np.zeros(4, dtype=int), threshold=0.97).tolist() == [0, 0, 2, 0]
    assert semantic_groups(vectors, np.zeros(4, dtype=int), threshold=0.999).tolist() == [0, 1, 2, 1]


def test_within_clusters_every_pair_is_compared_as_naively():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(15, 6))
    vectors = unit(*(centres[rng.integers(15, size=300)] + 0.15 * rng.normal(size=(300, 6))))
    clusters = kmeans_clusters(vectors, cluster_size=50, seed=0)
    kept = semantic_groups(vectors, clusters, threshold=0.97) == np.arange(300)
    for cluster in range(clusters.max() + 1):
        rows = np.flatnonzero(clusters == cluster)
        members = vectors[rows].astype(float)
        order = np.argsort(members @ members.mean(axis=0), kind="stable")
        for position, number in enumerate(order):
            duplicates = any(members[number] @ members[before] >= 0.97 for before in order[:position])
            assert kept[rows[number]] != duplicates
    assert 15 < kept.sum() < 250
    assert len(np.unique(clusters)) > 3


def test_a_corpus_without_its_semantic_duplicates_whatever_the_order_of_the_file(tmp_path):
    topics = ["the river flows to the sea", "a violin has four strings", "bread is made of flour and water"]
    rows = [
        {"instruction": f"Tell me about {topic}!", "output": f"{topic} {'indeed ' * copy}"}
        for topic in topics
        for copy in range(4)
    ]
    ids = []
    for name, order in (("first", rows), ("second", rows[::-1])):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in order))
        settings = [
            "corpus=files",
            f"corpus.path={path}",
            "eval=heldout",
            "corpus.heldout=0",
            "corpus.heldout_by=instruction",
        ]
        settings += ["embedder=lsa", "embedder.min_documents=1", "embedder.max_share=0.5", "corpus.dedup=semantic"]
        spec = compose_run([*settings, "corpus.semantic.threshold=0.9"]).spec.corpus
        corpus = load_corpus_of(spec, Store(tmp_path / name))
        assert corpus.counts["semantic_duplicates"] == 9 and len(corpus) == 3
        ids.append(corpus.column("id"))
    assert ids[0] == ids[1]


def test_without_an_embedder_it_is_refused():
    with pytest.raises(SftdivError, match="embedder=none does not compute: use embedder=minilm"):
        compose_run(["corpus.dedup=semantic", "embedder=none"])
    with pytest.raises(SftdivError, match=r"corpus.semantic.on='both' is unknown"):
        SemanticDuplicateFinder(embedder=WORDS, on="both", threshold=0.9, cluster_size=10, seed=0)
