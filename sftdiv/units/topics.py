"""Macroscopic units: one topic per example, found by clustering the embeddings of one side.

The resulting matrix, examples x topics, has at most a single 1 per row. Topics are sorted from
largest to smallest and named by their most characteristic words. Only distinct texts are clustered,
sorted by their hash: equal texts share a topic, a text repeated 50 times is not a dense region of
its own, and the order of the corpus has no effect.

Density clustering leaves many texts outside all clusters; ``noise`` sets whether these have no unit
(and are never drawn), the nearest topic, or a topic of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import Clusterer, CorpusSide
from sftdiv.records import SftdivError, Units
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_one_of
from sftdiv.text.column_texts import ChosenTexts
from sftdiv.text.string_columns import distinct_by_digest
from sftdiv.text.words import split_words
from sftdiv.units.clustering.kmeans import mean_directions, nearest_centre
from sftdiv.units.clustering.stability import Stability
from sftdiv.units.packages import check_packages
from sftdiv.units.topic_words import central_rows, one_hot, telling_words
from sftdiv.vectors.threads import in_ranges

Noise = Literal["drop", "nearest", "own"]
NO_TOPIC = -1
EXAMPLES, LONGEST = 3, 200  # central texts per topic in a report, and characters of each
COPIED = 65_536  # rows of noise processed at once: 100 MB at 384 dimensions


@dataclass(frozen=True, kw_only=True)
class TopicUnits:
    """Extracts topics as clusters of embeddings.

    Attributes:
        clusterer: Groups the vectors.
        noise: ``drop`` gives texts outside all clusters no unit, ``nearest`` the topic whose centre
            is at the smallest angle, ``own`` a topic of their own each (equal texts share it).
        words: Number of characteristic words in a topic's name.
        stability: Repeated runs that measure how reproducible the topics are.
    """

    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scikit-learn", "scipy")

    clusterer: Clusterer
    noise: Noise
    words: int
    stability: Stability

    def __post_init__(self) -> None:
        check_one_of("strategy.units.noise", self.noise, get_args(Noise))

    def identity(self) -> dict[str, Any]:
        """All settings; those of the clusterer and of the stability runs by their own identity."""
        return {"kind": "topics", **settings_identity(self)}

    def extract(self, side: CorpusSide) -> Units:
        """The topic of every example; a text whose embedding is all zeros has none.

        Raises:
            SftdivError: If fewer than two clusters are found, or a package of the clusterer is not
                installed.
        """
        check_packages(self)
        first, row = distinct_by_digest(side.texts)
        embeddings = side.embeddings()
        nonzero = np.flatnonzero(np.any(embeddings, axis=1)[first])
        vectors, clustered_texts = embeddings[first[nonzero]], ChosenTexts(side.texts, first[nonzero])
        cluster = by_size(self.clusterer.cluster(vectors))
        topics = int(cluster.max(initial=NO_TOPIC)) + 1
        if topics < 2:
            raise SftdivError(f"{self.clusterer} finds {topics} topics in {len(first)} distinct texts; two are needed")
        centres = mean_directions(vectors, cluster, np.zeros((topics, vectors.shape[1]), dtype=np.float32))
        assigned = with_noise(vectors, cluster, centres, noise=self.noise)
        words = telling_words(clustered_texts, np.where(assigned < topics, assigned, NO_TOPIC), words=self.words)
        single = [
            split_words(clustered_texts[index])[: self.words] for index in np.flatnonzero(assigned >= topics).tolist()
        ]
        names = [" ".join([str(number), *name_words]) for number, name_words in enumerate([*words, *single])]
        topic, in_cluster = np.full((2, len(first)), NO_TOPIC, dtype=np.int64)
        topic[nonzero], in_cluster[nonzero] = assigned, cluster
        matrix = one_hot(topic[row], len(names))
        central = central_rows(vectors, cluster, centres, count=EXAMPLES)
        examples = [[clustered_texts[index][:LONGEST] for index in rows] for rows in central]
        sizes = {"size": matrix.sum(axis=0), "texts": one_hot(topic, len(names)).sum(axis=0)}
        record = {"topics": topic_table(names[:topics], words, examples, sizes, rows=len(row))}
        noise_share = float(np.mean(in_cluster[row] == NO_TOPIC))
        numbers = {"topics": topics, "alone": len(single), "noise_share": noise_share}
        return Units(matrix, names, {**self._settings(), **numbers, **self._stability(vectors)}, record)

    def _settings(self) -> dict[str, Any]:
        """Settings as columns of a result row."""
        clusterer = {f"clusterer.{name}": value for name, value in settings_identity(self.clusterer).items()}
        kind = {"finder": "topics", "with": type(self.clusterer).__name__}
        return {**kind, **clusterer, "noise": self.noise, "words": self.words}

    def _stability(self, vectors: NDArray[np.float32]) -> dict[str, float | None]:
        """Settings and results of the repeated runs as columns of a result row."""
        columns = {**asdict(self.stability), **self.stability.measure(self.clusterer, vectors)}
        return {f"stability.{name}": value for name, value in columns.items()}


def by_size(cluster: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same clusters numbered without gaps from largest to smallest (ties keep their order), shape (rows,)."""
    sizes = np.bincount(cluster[cluster != NO_TOPIC])
    rank = np.full(len(sizes) + 1, NO_TOPIC, dtype=np.int64)  # the last entry, at index -1, is for noise
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))  # empty clusters come last
    return rank[cluster]


def with_noise(
    vectors: NDArray[np.float32], cluster: NDArray[np.int64], centres: NDArray[np.float32], *, noise: Noise
) -> NDArray[np.int64]:
    """The topic of each row after noise is assigned.

    Args:
        vectors: Rows, shape (rows, dimensions).
        cluster: Cluster of each row, shape (rows,); -1 for noise.
        centres: Centre of each cluster, shape (clusters, dimensions).
        noise: Treatment of noise; see `TopicUnits`.

    Returns:
        Shape (rows,): the row's cluster, or for noise -1, the nearest centre by cosine, or a number
        of its own.
    """
    topic, rows = cluster.copy(), np.flatnonzero(cluster == NO_TOPIC)
    if noise == "own":
        topic[rows] = len(centres) + np.arange(len(rows))
    elif noise == "nearest":
        with in_ranges() as ranges:
            for start in range(0, len(rows), COPIED):
                block = rows[start : start + COPIED]
                topic[block] = nearest_centre(vectors[block], centres, ranges)
    return topic


def topic_table(
    names: Sequence[str],
    words: Sequence[Sequence[str]],
    examples: Sequence[Sequence[str]],
    sizes: Mapping[str, NDArray[np.int64]],
    *,
    rows: int,
) -> list[dict[str, Any]]:
    """Topics as a report lists them.

    Args:
        names: Name of each topic.
        words: Characteristic words of each topic.
        examples: Central texts of each topic.
        sizes: Counts of each topic by column: ``size`` in examples and ``texts`` in distinct texts.
        rows: Number of examples in all.

    Returns:
        Name, counts, share of all examples, words and central texts of each topic.
    """
    counts = {column: values.tolist() for column, values in sizes.items()}
    return [
        {
            "name": name,
            **{column: values[number] for column, values in counts.items()},
            "share": counts["size"][number] / rows,
            "words": list(words[number]),
            "examples": list(examples[number]),
        }
        for number, name in enumerate(names)
    ]
