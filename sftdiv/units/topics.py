"""Macroscopic units: one topic an example, found by clustering the embeddings of one side.

In: a side's texts and embeddings, and a clusterer. Out: examples x topics, at most a single 1 a row; topics run from the largest to the
smallest and are named by their telling words. Only distinct texts are clustered, so that equal texts share a topic and a text repeated
50 times is not a dense region of its own. The trade: density clustering leaves many texts between the clusters; ``noise`` says whether
they hold no unit (and are never drawn) or that of the nearest topic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.records import SftdivError, SideText, Units

Noise = Literal["drop", "nearest"]
NO_TOPIC = -1


class Clusterer(Protocol):
    """Groups vectors."""

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Cluster of each row, shape (rows,): 0, 1, ... or -1 for a row that is in none."""
        ...


@dataclass(frozen=True, kw_only=True)
class TopicUnits:
    """Finds topics as clusters of embeddings.

    Attributes:
        clusterer: What groups the vectors (any dataclass with ``cluster``).
        noise: ``drop`` leaves texts outside all clusters without a unit, ``nearest`` gives them the topic whose centre is closest in angle.
        words: Telling words in a topic's name.
    """

    clusterer: Clusterer
    noise: Noise
    words: int

    def __post_init__(self) -> None:
        if self.noise not in get_args(Noise):
            raise SftdivError(f"strategy.units.noise={self.noise!r} is not known. Known: {', '.join(get_args(Noise))}")

    def find(self, side: SideText) -> Units:
        """The topic of every example; a text whose embedding is all zeros has none.

        Raises:
            SftdivError: If fewer than two clusters are found.
        """
        distinct, first, row = np.unique(np.array(side.texts, dtype=object), return_index=True, return_inverse=True)
        vectors = side.embeddings()[first]
        topic = np.full(len(distinct), NO_TOPIC, dtype=np.int64)
        placed = np.flatnonzero(vectors.any(axis=1))
        topic[placed] = by_size(self.clusterer.cluster(vectors[placed]))
        if topic.max(initial=NO_TOPIC) < 1:
            raise SftdivError(
                f"{self.clusterer} finds {topic.max(initial=NO_TOPIC) + 1} topics in {len(distinct)} distinct texts; two are needed"
            )
        if self.noise == "nearest":
            topic[placed] = with_nearest(vectors[placed], topic[placed])
        names = topic_names(distinct.tolist(), topic, words=self.words)
        made_by = {"finder": "topics", "with": type(self.clusterer).__name__, **asdict(self)}
        return Units(one_hot(topic[row], len(names)), names, made_by)


def by_size(cluster: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same clusters numbered from the largest to the smallest (ties keep their order), shape (rows,)."""
    sizes = np.bincount(cluster[cluster != NO_TOPIC])
    rank = np.full(len(sizes) + 1, NO_TOPIC, dtype=np.int64)  # its last place, which -1 points to, is for rows in no cluster
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[cluster]


def with_nearest(vectors: NDArray[np.float32], topic: NDArray[np.int64]) -> NDArray[np.int64]:
    """The topics, where a row without one has that of the nearest centre by cosine, shape (rows,)."""
    centres = one_hot(topic, int(topic.max()) + 1).T @ vectors
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    return np.where(topic == NO_TOPIC, np.argmax(vectors @ centres.T, axis=1), topic)


def one_hot(topic: NDArray[np.int64], topics: int) -> scipy.sparse.csr_array:
    """Rows x topics, a single 1 in each row that has a topic."""
    rows = np.flatnonzero(topic != NO_TOPIC)
    return scipy.sparse.csr_array((np.ones(len(rows), dtype=np.int32), (rows, topic[rows])), shape=(len(topic), topics))


def topic_names(texts: Sequence[str], topic: NDArray[np.int64], *, words: int) -> list[str]:
    """Names like ``3 recipe cook oven``: the topic's rank and its words of highest c-TF-IDF (Grootendorst 2022, arXiv 2203.05794)."""
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(stop_words="english", dtype=np.int64)
    counts = vectorizer.fit_transform(texts)
    by_topic = one_hot(topic, int(topic.max()) + 1).T @ counts
    words_a_topic = by_topic.sum() / by_topic.shape[0]
    telling = by_topic.multiply(np.log1p(words_a_topic / np.maximum(by_topic.sum(axis=0), 1))).tocsr()
    vocabulary = vectorizer.get_feature_names_out()
    spans = zip(telling.indptr[:-1], telling.indptr[1:], strict=True)
    best = (telling.indices[start:stop][np.argsort(-telling.data[start:stop], kind="stable")[:words]] for start, stop in spans)
    return [" ".join([str(number), *vocabulary[columns]]) for number, columns in enumerate(best)]
