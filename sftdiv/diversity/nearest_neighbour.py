"""Nearest-neighbour distance: mean distance of a text to the most similar other text. High is diverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.cosine import nearest_other_cosines
from sftdiv.diversity.metric import metric
from sftdiv.diversity.text_set import TextSet


@metric(
    "nearest_neighbour_distance",
    {"nearest_neighbour_distance": "Nearest-neighbour distance"},
    direction="high",
    needs="embeddings",
    growth="falls",
    order=14,
)
def _measure(texts: TextSet) -> float:
    return nearest_neighbour_distance(texts.sampled_vectors)


def nearest_neighbour_distance(embeddings: NDArray[np.floating]) -> float:
    """Mean over texts of the smallest cosine distance to another, ``mean_i min_{j != i} (1 - cos(x_i, x_j))``.

    Cox et al. 2021 ("Directed Diversity", Chamfer distance, arXiv 2101.06030), as ``chamfer_dist``
    of the package ``diversity``. O(texts^2 d), in tiles. It falls with the size of the set, since
    the space fills up: see ``size_matched``.

    Args:
        embeddings: Vectors, shape (texts, d), of any length.

    Returns:
        A number in [0, 2]; NaN for fewer than two texts.
    """
    if len(embeddings) < 2:
        return float("nan")
    return float(np.maximum(1 - nearest_other_cosines(embeddings), 0).mean())
