"""Cluster inertia: mean squared distance of texts to the centre of their own cluster. High is diverse."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.metric import metric
from sftdiv.diversity.text_set import TextSet


@metric(
    "cluster_inertia",
    {"cluster_inertia": "Cluster inertia a text (k-means)"},
    direction="high",
    needs="embeddings",
    growth="rises",
    order=15,
)
def _measure(texts: TextSet) -> float:
    return cluster_inertia(texts.sampled_vectors)


def cluster_inertia(embeddings: NDArray[np.floating], *, clusters: int = 100, seed: int = 0) -> float:
    """Mean squared distance of the vectors to the nearest of ``clusters`` k-means centres.

    The inertia of Du and Black 2019 (ACL, "Boosting dialog response generation") divided by the
    number of texts. k-means++ and Lloyd's iterations of scikit-learn, one start, on the rows in the
    order of their hashes, so that it is a property of the set and of ``seed``: O(iterations x texts
    x clusters x d). Nearly independent of the size of the set once a cluster holds many texts;
    smaller sets are fitted more closely.

    Args:
        embeddings: Vectors, shape (texts, d).
        clusters: Number of centres. With at most as many distinct vectors the inertia is 0.
        seed: Seed of the initial centres.

    Returns:
        A number of at least 0; NaN for no text.
    """
    from sklearn.cluster import KMeans

    if not len(embeddings):
        return float("nan")
    digests = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in embeddings]
    if len(set(digests)) <= clusters:
        return 0.0
    ordered = embeddings[sorted(range(len(embeddings)), key=digests.__getitem__)]
    fitted = KMeans(clusters, n_init=1, random_state=seed).fit(ordered)
    squares = np.square(ordered - fitted.cluster_centers_[fitted.labels_], dtype=np.float64)
    return float(squares.sum() / len(embeddings))
