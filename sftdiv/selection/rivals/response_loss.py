"""Mean losses of the responses under the base model, computed once for a corpus and a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import SelectionProblem
from sftdiv.storage.hashing import library_versions

FILE = "losses.npy"
LIBRARIES = ("torch", "transformers", "tokenizers")


def cached_losses(problem: SelectionProblem, *, alone: bool, max_tokens: int) -> NDArray[np.float64]:
    """Mean loss of every example's response; see `sftdiv.modeling.response_losses.response_losses`.

    Args:
        problem: Texts, base model and cache.
        alone: Whether the response is scored without its instruction.
        max_tokens: Tokens at which instruction and response together are cut.
    """
    base = problem.base()

    def build(folder: Path, partial: Path) -> None:
        from sftdiv.modeling.response_losses import response_losses

        texts = problem.texts("instruction"), problem.texts("response")
        np.save(folder / FILE, response_losses(base, *texts, partial, alone=alone, max_tokens=max_tokens))

    key = {"base": base.identity(), "alone": alone, "max_tokens": max_tokens, **library_versions(LIBRARIES)}
    return np.load(problem.keep_corpus("response_losses", key, build) / FILE, allow_pickle=False)
