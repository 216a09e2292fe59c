"""Facility-location coverage: how well a subset stands for a whole corpus. High is diverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.cosine import nearest_cosines


def facility_location(embeddings: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Mean over the reference's texts of their largest cosine with a text of the set, ``1/|V| sum_{v in V} max_{s in S} cos(v, s)``.

    The facility-location function of Wei et al. 2015 (ICML, "Submodularity in data subset selection
    and active learning"), divided by the reference's size. O(set x reference x d), in tiles. It
    rises with the size of the set (and with diminishing returns): only sets of one size and one
    reference compare.

    Args:
        embeddings: Vectors of the set, shape (texts, d); of any length, cosines are taken.
        reference: Vectors of what it should cover, shape (reference, d).

    Returns:
        A number in [-1, 1], 1 where every reference text is in the set; NaN where one of the two is empty.
    """
    if not len(embeddings) or not len(reference):
        return float("nan")
    return float(nearest_cosines(reference, embeddings).mean())
