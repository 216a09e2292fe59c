"""Facility-location coverage: similarity of a corpus to its nearest texts in the set. High is diverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.cosine import nearest_cosines
from sftdiv.diversity.metric import metric
from sftdiv.diversity.text_set import TextSet


@metric(
    "facility_location",
    {"facility_location": "Facility-location coverage of the corpus"},
    direction="high",
    needs="reference",
    growth="rises",
    order=18,
)
def _measure(texts: TextSet) -> float:
    assert texts.reference is not None
    return facility_location(texts.sampled_vectors, texts.reference)


def facility_location(embeddings: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Mean over the reference V of the largest cosine with a text of the set S, ``mean_v max_s cos(v, s)``.

    The facility-location function of Wei et al. 2015 (ICML, "Submodularity in data subset selection
    and active learning"), divided by the reference's size. O(set x reference x d), in tiles. It
    rises with the size of the set, with diminishing returns: only sets of one size and one
    reference compare.

    Args:
        embeddings: Vectors of the set, shape (texts, d), of any length.
        reference: Vectors of the corpus to cover, shape (reference, d).

    Returns:
        A number in [-1, 1], 1 where every reference text is in the set; NaN where one of the two is empty.
    """
    if not len(embeddings) or not len(reference):
        return float("nan")
    return float(nearest_cosines(reference, embeddings).mean())
