"""Normalisation, step 4: tags that occur together almost always are one tag.

In: which text holds which tags. Out: the commoner name of each such pair. InsTag (arXiv 2308.07074,
section 3.2) mines rules by FP-growth (Han et al. 2000; at least 40 texts, confidence 99 %) and
merges what they tie together, recursively; so do we, with mlxtend. Only pairs are mined: a rule
between single tags needs no larger set, and merging follows chains of pairs. The trade is
``mutual``: a rule that holds one way only ("fractions" implies "mathematics") merges the special
into the general, which shrinks the vocabulary and loses the special.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.records import SftdivError
from sftdiv.units.tagging.merging import commonest, counts_of


@dataclass(frozen=True, kw_only=True)
class Association:
    """Merges tags by association rules.

    Attributes:
        min_texts: Distinct texts that must hold both tags.
        confidence: Share of the texts with one tag that must hold the other.
        mutual: Whether that must be so both ways, or one way suffices (as in InsTag).
    """

    min_texts: int
    confidence: float
    mutual: bool

    def __post_init__(self) -> None:
        if not 0 < self.confidence <= 1:
            raise SftdivError(
                f"the confidence of the association step must lie in (0, 1], got confidence={self.confidence}"
            )

    def identity(self) -> dict[str, Any]:
        """The thresholds and mlxtend's version."""
        return {**asdict(self), "mlxtend": version("mlxtend")}

    def rename(self, names: Sequence[str], held: scipy.sparse.csr_array) -> list[str | None]:
        """The commonest name among each tag's companions."""
        first, second, together = frequent_pairs(held, least=self.min_texts)
        counts = counts_of(held)
        tied = tied_pairs(counts[first], counts[second], together, confidence=self.confidence, mutual=self.mutual)
        return list(commonest(names, counts, companions(first[tied], second[tied], tags=len(names))))


def frequent_pairs(
    held: scipy.sparse.csr_array, *, least: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of tags that at least ``least`` texts hold together: the one, the other, and how many texts; by FP-growth."""
    import pandas as pd
    from mlxtend.frequent_patterns import fpgrowth

    texts = held.shape[0]
    common = np.flatnonzero(
        counts_of(held) >= least
    )  # a pair is no commoner than its tags: FP-growth is spared the rest
    if len(common) < 2:
        return (np.empty(0, dtype=np.int64),) * 3
    table = pd.DataFrame.sparse.from_spmatrix(scipy.sparse.csr_matrix(held[:, common].astype(bool)))  # type: ignore[attr-defined]
    found = fpgrowth(table, min_support=(least - 0.5) / texts, max_len=2)
    pairs = found[found["itemsets"].map(len) == 2]
    both = np.array([sorted(items) for items in pairs["itemsets"]], dtype=np.int64).reshape(-1, 2)
    together = np.rint(pairs["support"].to_numpy() * texts).astype(np.int64)
    order = np.lexsort((both[:, 1], both[:, 0]))
    return common[both[order, 0]], common[both[order, 1]], together[order]


def tied_pairs(
    first: NDArray[np.int64], second: NDArray[np.int64], together: NDArray[np.int64], *, confidence: float, mutual: bool
) -> NDArray[np.bool_]:
    """Which pairs make a rule, from the texts that hold the one, the other and both; shape (pairs,)."""
    least = np.minimum(together / first, together / second)
    most = np.maximum(together / first, together / second)
    return (least if mutual else most) >= confidence


def companions(first: NDArray[np.int64], second: NDArray[np.int64], *, tags: int) -> NDArray[np.int64]:
    """The group of each tag when tied tags, and those tied to these, are together; shape (tags,)."""
    ties = scipy.sparse.coo_array((np.ones(len(first), dtype=np.int8), (first, second)), shape=(tags, tags))
    return scipy.sparse.csgraph.connected_components(ties, directed=False)[1].astype(np.int64)
