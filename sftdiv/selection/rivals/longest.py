"""Longest responses first.

Source: Zhao et al. 2024, "Long Is More for Alignment" (arXiv 2402.04833): the 1,000 examples with the longest
responses are a strong baseline.
Formula: descending number of response tokens, under the model's tokenizer; ties in the order of the corpus.
Complexity: a sort. Needs: token ids of the responses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sftdiv.protocols import SelectionProblem
from sftdiv.records import Selection
from sftdiv.selection.by_value import select_by_value


@dataclass(frozen=True, kw_only=True)
class LongestSelector:
    """Selects the examples with the longest responses."""

    uses_level: ClassVar[bool] = False

    def identity(self) -> dict[str, Any]:
        """The kind."""
        return {"kind": "longest"}

    def select(self, problem: SelectionProblem) -> Selection:
        """The subset, with median numbers of response tokens; see `select_by_value`."""
        lengths = problem.token_ids("response").lengths().astype(np.float64)
        return select_by_value(problem, lengths, name="response_tokens", missing="every response has a length")
