"""Coverage of unit types: a subset whose examples share as few types as possible.

Formula: the greedy maximum of f(S) = sum over types t of phi(number of examples in S that have t).

- ``set_cover``: phi(x) = min(x, 1). Each example adds the most types that the subset lacks; once every type is
  covered, the next example starts another round.
- ``sqrt``: phi(x) = sqrt(x). A type that few selected examples have adds more, without a sharp limit.

``counts=occurrences`` weighs a type by how often it occurs in the example (``sqrt`` alone), which favours long texts.
Source: Lin and Bilmes 2011, "A Class of Submodular Functions for Document Summarization"; apricot's feature-based
selection (Schreiber et al. 2020, arXiv 1906.03543). Greedy is within 1 - 1/e of the best subset.
Complexity: near-linear in the non-zeros of the unit matrix (`greedy_coverage`); a further round of ``set_cover``
evaluates the remaining examples once more. Needs: units of any strategy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse

from sftdiv.protocols import SelectionProblem
from sftdiv.records import Selection, SftdivError
from sftdiv.selection.ordered import take_in_order
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_one_of

PHIS, COUNTS = ("set_cover", "sqrt"), ("presence", "occurrences")


@dataclass(frozen=True, kw_only=True)
class CoverageSelector:
    """Selects greedily by the types that an example adds.

    Attributes:
        phi: Value of a type by the number of selected examples that have it: ``set_cover`` or ``sqrt``.
        counts: Weight of a type in an example: 1 (``presence``) or its ``occurrences``.
    """

    uses_level: ClassVar[bool] = False

    phi: str
    counts: str

    def __post_init__(self) -> None:
        check_one_of("selection.selector.phi", self.phi, PHIS)
        check_one_of("selection.selector.counts", self.counts, COUNTS)
        if self.phi == "set_cover" and self.counts != "presence":
            raise SftdivError(
                f"selection.selector.counts={self.counts} has no meaning with phi=set_cover, where a type counts once: "
                "use counts=presence or phi=sqrt"
            )

    def identity(self) -> dict[str, Any]:
        """Kind and all settings."""
        return {"kind": "coverage", **settings_identity(self)}

    def select(self, problem: SelectionProblem) -> Selection:
        """The subset, in the order added within each stratum."""
        from sftdiv.selection.rivals.greedy_coverage import greedy_order

        matrix = problem.units.matrix if self.counts == "occurrences" else presence(problem.units.matrix)
        rows = take_in_order(
            problem,
            lambda stratum: greedy_order(matrix[stratum.rows], stratum.weights, stratum.budget, objective=self.phi),
        )
        return Selection(np.concatenate(rows))


def presence(matrix: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """The same matrix with 1 in place of every count."""
    return scipy.sparse.csr_array((np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
