"""Normalisation, step 1: rare tags are dropped.

As in InsTag (Lu et al. 2023, arXiv 2308.07074, section 3.2, alpha = 20), rare spellings are dropped
before they could be merged. This keeps the later steps small and leaves texts that have only rare
tags without any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.storage.hashing import settings_identity
from sftdiv.units.tagging.merging import counts_of


@dataclass(frozen=True, kw_only=True)
class Frequency:
    """Drops rare tags.

    Attributes:
        min_texts: Minimum number of distinct texts with a tag.
    """

    min_texts: int

    def identity(self) -> dict[str, Any]:
        """The threshold."""
        return {"kind": "frequency", **settings_identity(self)}

    def rename(self, names: Sequence[str], matrix: scipy.sparse.csr_array) -> list[str | None]:
        """Each tag's own name, or None if it is rare."""
        return frequent(names, counts_of(matrix), min_texts=self.min_texts)


def frequent(names: Sequence[str], counts: NDArray[np.int64], *, min_texts: int) -> list[str | None]:
    """The name of each tag that at least ``min_texts`` texts have, None for the other tags."""
    return [name if count >= min_texts else None for name, count in zip(names, counts, strict=True)]
