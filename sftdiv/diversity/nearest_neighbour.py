"""Nearest-neighbour distance: how far a text is from the one most like it. High is diverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.cosine import nearest_other_cosines


def nearest_neighbour_distance(embeddings: NDArray[np.floating]) -> float:
    """Mean over texts of the smallest cosine distance to another, ``mean_i min_{j != i} (1 - cos(x_i, x_j))``.

    Cox et al. 2021 ("Directed Diversity", Chamfer distance, arXiv 2101.06030), as ``chamfer_dist``
    of the package ``diversity``. O(texts^2 d), in tiles. It falls with the size of the set, since
    room is finite: see ``size_matched``.

    Args:
        embeddings: Vectors, shape (texts, d); of any length, cosines are taken.

    Returns:
        A number in [0, 2]; NaN for fewer than two texts.
    """
    if len(embeddings) < 2:
        return float("nan")
    return float(np.maximum(1 - nearest_other_cosines(embeddings), 0).mean())
