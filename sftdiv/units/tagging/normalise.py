"""From raw tags to final ones: InsTag's four steps (Lu et al. 2023, arXiv 2308.07074, section 3.2), or a given map.

Order and thresholds are the paper's: frequency, rules, semantics, association. Every step renames
tags and is fitted on distinct texts, so that a text repeated fifty times does not make its tags
common. The result is one map of names, which can be read, edited and applied again, and a record of
the effect of each step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import scipy.sparse

from sftdiv.records import SftdivError
from sftdiv.storage.hashing import identity_of
from sftdiv.units.result_columns import result_columns
from sftdiv.units.tagging.merging import renamed
from sftdiv.units.tagging.tag_map import TagMap

LARGEST_MERGES = 10  # named in the record of a step


class Step(Protocol):
    """One step of the normalisation."""

    def identity(self) -> Mapping[str, Any]:
        """Kind and settings that decide the step's result, JSON-serialisable, no versions."""
        ...

    def rename(self, names: Sequence[str], matrix: scipy.sparse.csr_array) -> Sequence[str | None]:
        """The new name of each tag (None: dropped); ``matrix`` is texts x tags."""
        ...


@dataclass(frozen=True)
class Normalised:
    """Result of a normalisation.

    Attributes:
        tag_map: Final tag of each raw one (None: dropped).
        steps: Record of each step.
    """

    tag_map: dict[str, str | None]
    steps: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """The steps, in the order in which they run; None omits a step."""

    frequency: Step | None
    rules: Step | None
    semantic: Step | None
    association: Step | None

    def identity(self) -> dict[str, Any]:
        """The identity of each step that runs."""
        return {name: identity_of(step) for name, step in self._steps()}

    def columns(self) -> dict[str, Any]:
        """Result-row columns of each step that runs."""
        return {name: result_columns(step) for name, step in self._steps()}

    def normalise(self, names: Sequence[str], matrix: scipy.sparse.csr_array) -> Normalised:
        """Fit the map of these tags.

        Args:
            names: Raw tags, alphabetical.
            matrix: Distinct texts x raw tags.
        """
        final: list[str | None] = list(names)
        steps = []
        for name, step in self._steps():
            tags, before = renamed(matrix, final)
            new = dict(zip(tags, step.rename(tags, before) if tags else [], strict=True))
            final = [None if tag is None else new[tag] for tag in final]
            effect = change(before, renamed(matrix, final)[1])
            steps.append({"step": name, **result_columns(step), **effect, "largest": largest_merges(new)})
        return Normalised(dict(zip(names, final, strict=True)), steps)

    def _steps(self) -> list[tuple[str, Step]]:
        steps = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(name, step) for name, step in steps if step is not None]


def apply_map(names: Sequence[str], matrix: scipy.sparse.csr_array, tag_map: TagMap) -> Normalised:
    """Rename raw tags by a given map; raw tags that it does not list are dropped, and counted.

    Args:
        names: Raw tags, alphabetical.
        matrix: Distinct texts x raw tags.
        tag_map: Final tag of each raw one (None: dropped).

    Raises:
        SftdivError: If the map lists none of the raw tags.
    """
    listed = [name for name in names if name in tag_map]
    if names and not listed:
        raise SftdivError(
            f"strategy.units.tag_map lists none of the {len(names)} raw tags, such as {list(names[:5])}; "
            "is it the map of other data?"
        )
    final = {name: tag_map.get(name) for name in names}
    effect = change(matrix, renamed(matrix, list(final.values()))[1])
    return Normalised(final, [{"step": "map", "unlisted": len(names) - len(listed), **effect}])


def change(before: scipy.sparse.csr_array, after: scipy.sparse.csr_array) -> dict[str, int]:
    """Number of tags, of tags summed over texts, and of texts without a tag, before and after a step."""
    counts = {}
    for when, matrix in (("before", before), ("after", after)):
        counts[f"tags_{when}"] = int(matrix.shape[1])
        counts[f"assignments_{when}"] = int(matrix.nnz)
        counts[f"untagged_{when}"] = int(np.count_nonzero(np.diff(matrix.indptr) == 0))
    return counts


def largest_merges(new: TagMap) -> dict[str, int]:
    """The names that the most tags were merged into, and the number of tags of each."""
    sizes = Counter(name for name in new.values() if name is not None)
    largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:LARGEST_MERGES]
    return {name: count for name, count in largest if count > 1}
