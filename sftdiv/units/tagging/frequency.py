"""Normalisation, step 1: tags that few texts hold are dropped.

In: the texts of each tag. Out: its name, or None. The trade is InsTag's (Lu et al. 2023, arXiv
2308.07074, section 3.2, alpha = 20): rare spellings go before they could be merged, which keeps the
later steps small and costs the texts that hold nothing else their only tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.units.tagging.merging import counts_of


@dataclass(frozen=True, kw_only=True)
class Frequency:
    """Drops tags that fewer than ``min_texts`` distinct texts hold."""

    min_texts: int

    def identity(self) -> dict[str, Any]:
        """The threshold."""
        return asdict(self)

    def rename(self, names: Sequence[str], held: scipy.sparse.csr_array) -> list[str | None]:
        """Each tag's own name, or None."""
        return frequent(names, counts_of(held), least=self.min_texts)


def frequent(names: Sequence[str], counts: NDArray[np.int64], *, least: int) -> list[str | None]:
    """The name of each tag that at least ``least`` texts hold, None for the others."""
    return [name if count >= least else None for name, count in zip(names, counts, strict=True)]
