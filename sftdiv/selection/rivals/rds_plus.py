"""RDS+: the examples that a base model represents most like target examples. It is aware of its targets.

Formula: cosine between position-weighted means of the last hidden states (`sftdiv.modeling.hidden_means`). The targets
take turns; each takes the most similar example that is not taken yet, of equal ones the earlier.
Source: Ivison et al. 2025 (arXiv 2503.01807), where it did better than the other methods at
every size of the pool.
Complexity: one forward pass over the corpus, once and cached; then one product of the vectors with each target, and
with those that need more candidates another. No matrix of examples x targets is held.
Needs: the base model, texts, and a file of targets, which say what the model is going to be tested on: rows of such
a subset are not comparable with those of selectors that know no targets, and have ``target_aware=true``. With
``selector=rds_plus`` examples that share text with the targets are dropped from the corpus
(``corpus.decontaminate=drop``, ``corpus.contamination.files``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import Reader, SelectionProblem
from sftdiv.records import Selection, SftdivError
from sftdiv.selection.ordered import take_in_order
from sftdiv.selection.rivals.response_loss import LIBRARIES
from sftdiv.storage.hashing import identity_of, library_versions, settings_identity
from sftdiv.storage.validate import check_range

FILE = "vectors.npy"
CANDIDATES = 4  # ranked examples of a target at first, as a multiple of its turns


@dataclass(frozen=True, kw_only=True)
class RdsPlusSelector:
    """Selects by similarity to targets.

    Attributes:
        targets: Reader of the target examples.
        max_tokens: Tokens at which a text is cut.
    """

    uses_level: ClassVar[bool] = False
    needs: ClassVar[str] = "base"

    targets: Reader
    max_tokens: int

    def __post_init__(self) -> None:
        check_range("selection.selector.max_tokens", self.max_tokens, least=1, whole=True)

    def identity(self) -> dict[str, Any]:
        """Kind, the content of the targets and the cut."""
        return {"kind": "rds_plus", **settings_identity(self)}

    def select(self, problem: SelectionProblem) -> Selection:
        """The subset in the order taken within each stratum, with the number of targets.

        Raises:
            SftdivError: The targets cannot be read, or the base model cannot be loaded.
        """
        instructions, responses = self._target_texts()
        of_targets = self._vectors(problem, instructions, responses, {"targets": identity_of(self.targets)})
        of_corpus = self._vectors(problem, problem.texts("instruction"), problem.texts("response"), {})
        rows = take_in_order(
            problem,
            lambda stratum: round_robin(of_corpus[stratum.rows], of_targets, stratum.weights, stratum.budget),
        )
        return Selection(np.concatenate(rows), {"target_aware": True, "targets": len(of_targets)})

    def _target_texts(self) -> tuple[list[str], list[str]]:
        """Instruction and response of each target."""
        talks = [example.messages for example in self.targets.examples(_refuse)]
        if not talks:
            raise SftdivError("selection.targets.path has no example, and RDS+ selects by its targets")
        sides = [
            ["\n\n".join(turn["content"] for turn in talk if turn["role"] == role) for talk in talks]
            for role in ("user", "assistant")
        ]
        return sides[0], sides[1]

    def _vectors(
        self, problem: SelectionProblem, instructions: Sequence[str], responses: Sequence[str], key: dict[str, Any]
    ) -> NDArray[np.float32]:
        """Vectors of some texts by the base model, cached; ``key`` says which texts."""
        base = problem.base()

        def build(folder: Path, partial: Path) -> None:
            from sftdiv.modeling.hidden_means import hidden_means

            vectors = hidden_means(base, instructions, responses, partial, max_tokens=self.max_tokens)
            np.save(folder / FILE, vectors)

        full_key = {"base": base.identity(), "max_tokens": self.max_tokens, **library_versions(LIBRARIES), **key}
        return np.load(problem.keep_corpus("hidden_means", full_key, build) / FILE, mmap_mode="r", allow_pickle=False)


def _refuse(file: str, line: int, reason: str, text: str) -> None:
    raise SftdivError(f"selection.targets.path: {file}, line {line}: {reason} ({text:.80})")


def round_robin(
    vectors: NDArray[np.float32], targets: NDArray[np.float32], weights: NDArray[np.float64], budget: float
) -> NDArray[np.int64]:
    """Positions in the order taken: each target in turn takes the most similar one that is left.

    Args:
        vectors: Vectors of unit length, shape (examples, dimensions).
        targets: Vectors of unit length, shape (targets, dimensions).
        weights: Contribution of each example to the budget, shape (examples,).
        budget: Sum of weights at which selection stops.
    """
    turns = int(np.ceil(budget / weights.mean() / len(targets)))
    ranked = [_ranked(vectors, target, CANDIDATES * turns) for target in targets]
    next_rank = np.zeros(len(targets), dtype=np.int64)
    order: list[int] = []
    taken, weight = np.zeros(len(vectors), dtype=bool), 0.0
    while weight < budget and len(order) < len(vectors):
        turn = len(order) % len(targets)
        while next_rank[turn] < len(ranked[turn]) and taken[ranked[turn][next_rank[turn]]]:
            next_rank[turn] += 1
        if next_rank[turn] == len(ranked[turn]):  # other targets have taken all of its candidates
            ranked[turn] = _ranked(vectors, targets[turn], 4 * len(ranked[turn]))
            continue
        row = int(ranked[turn][next_rank[turn]])
        taken[row] = True
        order.append(row)
        weight += weights[row]
    return np.array(order, dtype=np.int64)


def _ranked(vectors: NDArray[np.float32], target: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The ``count`` most similar positions, most similar first, of equal ones the earlier first."""
    similarity = vectors @ target
    count = min(count, len(similarity))
    least = np.partition(similarity, len(similarity) - count)[len(similarity) - count]
    candidates = np.flatnonzero(similarity >= least)
    return candidates[np.argsort(-similarity[candidates], kind="stable")][:count]
