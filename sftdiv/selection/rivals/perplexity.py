"""Responses of low, middle or high perplexity under the base model.

Formula: ppl(y|x) = exp(mean negative log-likelihood of the response's tokens after instruction and newline), without
a chat template. ``low`` takes the lowest first, ``high`` the highest, and ``middle`` those whose rank is closest to
the median: with a third of the universe these are its lower, middle and upper third.
Source: perplexity pruning of Marion et al. 2023 (arXiv 2309.04564), for instructions as the baselines "mid-ppl" and
"top-ppl" of Ivison et al. 2025 (arXiv 2503.01807).
Complexity: one forward pass of the base model over the corpus, once and cached; then a sort.
Needs: the base model, texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import SelectionProblem
from sftdiv.records import Selection
from sftdiv.selection.by_value import Values, select_by_value
from sftdiv.selection.ordered import by_score
from sftdiv.selection.rivals.response_loss import cached_losses
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_one_of, check_range


def middle_first(values: Values) -> NDArray[np.int64]:
    """Positions by the distance of their rank from the median rank, NaN last; of equal distances the lower rank."""
    known = int((~np.isnan(values)).sum())
    ascending = np.argsort(values, kind="stable")  # NaN last
    nearest = np.argsort(np.abs(2 * np.arange(known) - (known - 1)), kind="stable")
    return np.concatenate([ascending[nearest], ascending[known:]])


ORDERS: Mapping[str, Callable[[Values], NDArray[np.int64]]] = {
    "low": lambda values: by_score(-values),
    "middle": middle_first,
    "high": by_score,
}


@dataclass(frozen=True, kw_only=True)
class PerplexitySelector:
    """Selects by the perplexity of the response.

    Attributes:
        part: Part of the distribution that is taken first: ``low``, ``middle`` or ``high``.
        max_tokens: Tokens at which instruction and response together are cut.
    """

    uses_level: ClassVar[bool] = False
    needs: ClassVar[str] = "base"

    part: str
    max_tokens: int

    def __post_init__(self) -> None:
        check_one_of("selection.selector.part", self.part, tuple(ORDERS))
        check_range("selection.selector.max_tokens", self.max_tokens, least=2, whole=True)

    def identity(self) -> dict[str, Any]:
        """Kind and all settings."""
        return {"kind": "perplexity", **settings_identity(self)}

    def select(self, problem: SelectionProblem) -> Selection:
        """The subset, with median perplexities; see `select_by_value`.

        Raises:
            SftdivError: The base model cannot be loaded, or too few responses have a perplexity.
        """
        perplexities = np.exp(cached_losses(problem, alone=False, max_tokens=self.max_tokens))
        return select_by_value(
            problem,
            perplexities,
            name="perplexity",
            missing=f"the response is empty, or its instruction fills max_tokens={self.max_tokens}",
            order=ORDERS[self.part],
        )
