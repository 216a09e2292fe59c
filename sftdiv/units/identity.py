"""Units of the ``random`` baseline: every example is its own type, so that an even draw is a uniform one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse

from sftdiv.protocols import CorpusSide
from sftdiv.records import Units


@dataclass(frozen=True)
class EachExample:
    """Gives each example one type of its own; at level 1 the draw is uniform over the universe."""

    def identity(self) -> dict[str, str]:
        """Nothing but its kind."""
        return {"finder": "each"}

    def extract(self, side: CorpusSide) -> Units:
        """An identity matrix, named by position in canonical order."""
        matrix = scipy.sparse.csr_array(scipy.sparse.eye_array(len(side), dtype=np.int32, format="csr"))
        return Units(matrix, [str(i) for i in range(len(side))], {"finder": "each"})
