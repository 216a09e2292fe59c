"""Normalisation, step 4: tags that almost always occur together are merged.

InsTag (arXiv 2308.07074, section 3.2) mines rules by FP-growth (Han et al. 2000; at least 40 texts,
confidence 99 %) and merges the associated tags recursively; so does this module, with mlxtend. Only
pairs are mined: a rule between single tags needs no larger set, and merging follows chains of
pairs. Without ``mutual``, a rule in one direction ("fractions" implies "mathematics") merges the
specific tag into the general one, which shrinks the vocabulary and loses the specific tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.records import SftdivError
from sftdiv.storage.hashing import settings_identity
from sftdiv.units.tagging.merging import commonest, counts_of


@dataclass(frozen=True, kw_only=True)
class Association:
    """Merges tags by association rules.

    Attributes:
        min_texts: Minimum number of distinct texts with both tags.
        confidence: Share of the texts with one tag that must have the other.
        mutual: Whether the confidence must be reached in both directions, or in one (as in InsTag).
    """

    libraries: ClassVar[tuple[str, ...]] = ("mlxtend",)

    min_texts: int
    confidence: float
    mutual: bool

    def __post_init__(self) -> None:
        if not 0 < self.confidence <= 1:
            raise SftdivError(
                f"the confidence of the association step must lie in (0, 1], got confidence={self.confidence}"
            )

    def identity(self) -> dict[str, Any]:
        """All settings."""
        return {"kind": "association", **settings_identity(self)}

    def rename(self, names: Sequence[str], matrix: scipy.sparse.csr_array) -> list[str | None]:
        """The most common name in each tag's group of associated tags."""
        first, second, together = frequent_pairs(matrix, min_texts=self.min_texts)
        counts = counts_of(matrix)
        rule = associated(counts[first], counts[second], together, confidence=self.confidence, mutual=self.mutual)
        return list(commonest(names, counts, groups(first[rule], second[rule], tags=len(names))))


def frequent_pairs(
    matrix: scipy.sparse.csr_array, *, min_texts: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of tags that occur together in at least ``min_texts`` texts, by FP-growth.

    Returns:
        First tag, second tag, and number of texts with both, each of shape (pairs,).
    """
    import pandas as pd
    from mlxtend.frequent_patterns import fpgrowth

    texts = matrix.shape[0]
    common = np.flatnonzero(counts_of(matrix) >= min_texts)  # a pair is at most as common as its tags
    if len(common) < 2:
        return (np.empty(0, dtype=np.int64),) * 3
    sparse: Any = pd.DataFrame.sparse  # pandas-stubs declare the accessor on instances only
    table = sparse.from_spmatrix(scipy.sparse.csr_matrix(matrix[:, common].astype(bool)))
    itemsets = fpgrowth(table, min_support=(min_texts - 0.5) / texts, max_len=2)
    pairs = itemsets[itemsets["itemsets"].map(len) == 2]
    columns = np.array([sorted(items) for items in pairs["itemsets"]], dtype=np.int64).reshape(-1, 2)
    together = np.rint(pairs["support"].to_numpy() * texts).astype(np.int64)
    order = np.lexsort((columns[:, 1], columns[:, 0]))
    return common[columns[order, 0]], common[columns[order, 1]], together[order]


def associated(
    first: NDArray[np.int64], second: NDArray[np.int64], together: NDArray[np.int64], *, confidence: float, mutual: bool
) -> NDArray[np.bool_]:
    """Whether each pair is a rule, shape (pairs,).

    Args:
        first: Texts with the first tag of each pair.
        second: Texts with the second tag of each pair.
        together: Texts with both.
        confidence: Minimum share of the texts with one tag that have the other.
        mutual: Whether both directions must reach it.
    """
    lower = np.minimum(together / first, together / second)
    higher = np.maximum(together / first, together / second)
    return (lower if mutual else higher) >= confidence


def groups(first: NDArray[np.int64], second: NDArray[np.int64], *, tags: int) -> NDArray[np.int64]:
    """The group of each tag, shape (tags,): the connected components of the graph of associated pairs."""
    edges = scipy.sparse.coo_array((np.ones(len(first), dtype=np.int8), (first, second)), shape=(tags, tags))
    return scipy.sparse.csgraph.connected_components(edges, directed=False)[1].astype(np.int64)
