"""Instruction-following difficulty (IFD): how little the instruction helps to predict the response.

Formula: IFD = ppl(y|x) / ppl(y), where ppl(y|x) is the perplexity of the response's tokens after instruction and
newline, and ppl(y) that of the response alone; plain text without a chat template, cut at 1,024 tokens. Examples of
1 and more, whose instruction does not help at all, are never selected; the highest of the others come first.
Source: Li et al. 2023, "From Quantity to Quality" (arXiv 2308.12032); texts, cut and threshold of Superfiltering
(Li et al. 2024, arXiv 2402.00530), which scores with a small model.
Complexity: two forward passes of the base model over the corpus, once and cached; then a sort.
Needs: the base model, texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sftdiv.protocols import SelectionProblem
from sftdiv.records import Selection
from sftdiv.selection.by_value import Values, select_by_value
from sftdiv.selection.rivals.response_loss import cached_losses
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_range


@dataclass(frozen=True, kw_only=True)
class IfdSelector:
    """Selects by instruction-following difficulty.

    Attributes:
        below: Examples of this IFD and more are not selected.
        max_tokens: Tokens at which instruction and response together are cut.
    """

    uses_level: ClassVar[bool] = False
    needs: ClassVar[str] = "base"

    below: float
    max_tokens: int

    def __post_init__(self) -> None:
        check_range("selection.selector.below", self.below, above=0)
        check_range("selection.selector.max_tokens", self.max_tokens, least=2, whole=True)

    def identity(self) -> dict[str, Any]:
        """Kind and all settings."""
        return {"kind": "ifd", **settings_identity(self)}

    def select(self, problem: SelectionProblem) -> Selection:
        """The subset, with medians of IFD; see `select_by_value`.

        Raises:
            SftdivError: The base model cannot be loaded, or too few examples are below the threshold.
        """
        after, alone = (cached_losses(problem, alone=alone, max_tokens=self.max_tokens) for alone in (False, True))
        scores = difficulty(after, alone)
        return select_by_value(
            problem,
            np.where(scores < self.below, scores, np.nan),
            name="ifd",
            missing=f"it is {self.below:g} or more, or not defined",
        )


def difficulty(after_instruction: Values, alone: Values) -> Values:
    """IFD of mean losses in nats, NaN where one of them is, shape (examples,)."""
    return np.exp(after_instruction - alone)
