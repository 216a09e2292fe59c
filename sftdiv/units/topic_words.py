"""What a topic is about: its telling words, and the texts nearest to its centre.

In: texts, vectors and the topic of each. Out: words and examples a topic. Telling words have the
highest c-TF-IDF (Grootendorst 2022, arXiv 2203.05794, equation 2): often in the topic's texts,
taken as one, and seldom in the others'. The trade: of a large topic the first thousand texts name
it, so that a million texts are named in bounded memory; texts come in the order of their hash, so
these are a random sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

TEXTS = 1_000  # of a topic that name it
BLOCK = 8_192


def one_hot(topic: NDArray[np.int64], topics: int) -> scipy.sparse.csr_array:
    """Rows x topics, a single 1 in each row that has a topic (-1: none)."""
    rows = np.flatnonzero(topic >= 0)
    return scipy.sparse.csr_array((np.ones(len(rows), dtype=np.int32), (rows, topic[rows])), shape=(len(topic), topics))


def telling_words(texts: Sequence[str], topic: NDArray[np.int64], *, words: int) -> list[list[str]]:
    """The words of highest c-TF-IDF of each topic, the best first; a topic without words has none.

    Args:
        texts: Any number of texts.
        topic: Of each text, shape (texts,); -1 for none.
        words: Of a topic, at most.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    topics = int(topic.max(initial=-1)) + 1
    rows = _first_of_each(topic)
    vectorizer = CountVectorizer(stop_words="english", dtype=np.int32)
    try:
        counts = vectorizer.fit_transform([texts[row] for row in rows])
    except ValueError:  # no text has a word that is not a stop word
        return [[] for _ in range(topics)]
    by_topic = (one_hot(topic[rows], topics).T @ counts).astype(np.float64)
    words_a_topic = by_topic.sum() / topics
    telling = by_topic.multiply(np.log1p(words_a_topic / np.maximum(by_topic.sum(axis=0), 1))).tocsr()
    vocabulary = vectorizer.get_feature_names_out()
    spans = zip(telling.indptr[:-1], telling.indptr[1:], strict=True)
    best = (
        telling.indices[start:stop][np.lexsort((telling.indices[start:stop], -telling.data[start:stop]))[:words]]
        for start, stop in spans
    )
    return [vocabulary[columns].tolist() for columns in best]


def central_rows(
    vectors: NDArray[np.float32], topic: NDArray[np.int64], centres: NDArray[np.float32], *, count: int
) -> list[list[int]]:
    """The ``count`` rows of each topic that are nearest to its centre by cosine (of equal ones the first), the nearest first."""
    closeness = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), BLOCK):
        rows = slice(start, start + BLOCK)
        closeness[rows] = np.einsum("ij,ij->i", vectors[rows], centres[topic[rows]])
    order = np.lexsort((-closeness, topic))
    starts = np.searchsorted(topic[order], np.arange(len(centres) + 1))
    return [order[start : min(stop, start + count)].tolist() for start, stop in pairwise(starts)]


def _first_of_each(topic: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first ``TEXTS`` rows of each topic, ascending."""
    order = np.argsort(topic, kind="stable")
    ranked = topic[order]
    rank = np.arange(len(topic)) - np.searchsorted(ranked, ranked)
    return np.sort(order[(rank < TEXTS) & (ranked >= 0)])
