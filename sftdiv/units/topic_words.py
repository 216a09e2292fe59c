"""Descriptions of topics: their most characteristic words, and the texts nearest to their centre.

Characteristic words have the highest c-TF-IDF (Grootendorst 2022, arXiv 2203.05794, equation 2):
frequent in the topic's concatenated texts and rare in those of other topics. Only the first
thousand texts of a topic are counted, so that a million texts are described in bounded memory.
Texts are sorted by hash, so these are a random sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.text.words import terms

TEXTS = 1_000  # counted per topic
BLOCK = 8_192


def one_hot(topic: NDArray[np.int64], topics: int) -> scipy.sparse.csr_array:
    """Rows x topics, a single 1 in each row that has a topic (-1: none)."""
    rows = np.flatnonzero(topic >= 0)
    return scipy.sparse.csr_array((np.ones(len(rows), dtype=np.int32), (rows, topic[rows])), shape=(len(topic), topics))


def telling_words(texts: Sequence[str], topic: NDArray[np.int64], *, words: int) -> list[list[str]]:
    """The words of highest c-TF-IDF of each topic, highest first; empty for a topic without words.

    Args:
        texts: Any number of texts.
        topic: Topic of each text, shape (texts,); -1 for none.
        words: Maximum number of words per topic.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    topics = int(topic.max(initial=-1)) + 1
    rows = _first_of_each(topic)
    vectorizer = CountVectorizer(tokenizer=terms, token_pattern=None, stop_words="english", dtype=np.int32)
    try:
        counts = vectorizer.fit_transform([texts[row] for row in rows])
    except ValueError:  # no text has a word that is not a stop word
        return [[] for _ in range(topics)]
    by_topic = (one_hot(topic[rows], topics).T @ counts).astype(np.float64)
    mean_words = by_topic.sum() / topics
    weights = by_topic.multiply(np.log1p(mean_words / np.maximum(by_topic.sum(axis=0), 1))).tocsr()
    vocabulary = vectorizer.get_feature_names_out()
    top_words = []
    for start, stop in pairwise(weights.indptr):
        columns, values = weights.indices[start:stop], weights.data[start:stop]
        top_words.append(vocabulary[columns[np.lexsort((columns, -values))[:words]]].tolist())
    return top_words


def central_rows(
    vectors: NDArray[np.float32], topic: NDArray[np.int64], centres: NDArray[np.float32], *, count: int
) -> list[list[int]]:
    """The ``count`` rows of each topic with the highest cosine to its centre (ties: the first row), highest first."""
    cosine = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), BLOCK):
        rows = slice(start, start + BLOCK)
        cosine[rows] = np.einsum("ij,ij->i", vectors[rows], centres[topic[rows]])
    order = np.lexsort((-cosine, topic))
    starts = np.searchsorted(topic[order], np.arange(len(centres) + 1))
    return [order[start : min(stop, start + count)].tolist() for start, stop in pairwise(starts)]


def _first_of_each(topic: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first ``TEXTS`` rows of each topic, ascending."""
    order = np.argsort(topic, kind="stable")
    ordered = topic[order]
    rank = np.arange(len(topic)) - np.searchsorted(ordered, ordered)
    return np.sort(order[(rank < TEXTS) & (ordered >= 0)])
