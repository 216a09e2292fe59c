"""Units of the ``random`` baseline: every example is its own type, so that a balanced draw is a uniform one."""

from __future__ import annotations

from dataclasses import dataclass

from sftdiv.protocols import CorpusSide
from sftdiv.records import Units


@dataclass(frozen=True)
class EachExample:
    """Gives each example a type of its own; at level 1 the draw is uniform over the universe."""

    def identity(self) -> dict[str, str]:
        """The kind; there are no settings."""
        return {"kind": "each_example"}

    def extract(self, side: CorpusSide) -> Units:
        """An identity matrix; types are named by the example's position in canonical order."""
        import numpy as np
        import scipy.sparse  # not at the top: the module is part of every config, and --help must be fast

        matrix = scipy.sparse.csr_array(scipy.sparse.eye_array(len(side), dtype=np.int32, format="csr"))
        return Units(matrix, [str(i) for i in range(len(side))], {"finder": "each"})
