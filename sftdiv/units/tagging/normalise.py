"""From raw tags to final ones: InsTag's four steps (Lu et al. 2023, arXiv 2308.07074, section 3.2), or a map that is given.

In: raw tags and which text holds which. Out: the final tag of each raw one, and for each step what
there was before and after. Order and thresholds are the paper's: frequency, rules, semantics,
association. The trade: everything is a renaming of tags, learnt over distinct texts, so that a text
repeated fifty times does not make its tags common, and the whole can be read, edited and applied
again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import scipy.sparse

from sftdiv.records import SftdivError
from sftdiv.units.tagging.merging import renamed
from sftdiv.units.tagging.tag_map import TagMap

SHOWN = 10  # largest merges that the record of a step names


class Step(Protocol):
    """One step of the normalisation."""

    def identity(self) -> Mapping[str, Any]:
        """What decides its result, JSON-serialisable."""
        ...

    def rename(self, names: Sequence[str], held: scipy.sparse.csr_array) -> Sequence[str | None]:
        """The new name of each tag (None: dropped); ``held`` is texts x tags."""
        ...


@dataclass(frozen=True)
class Normalised:
    """What became of the raw tags: ``tag_map`` (None: dropped) and a record of each step."""

    tag_map: dict[str, str | None]
    steps: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """The steps in their order; None leaves one out."""

    frequency: Step | None
    rules: Step | None
    semantic: Step | None
    association: Step | None

    def identity(self) -> dict[str, Any]:
        """The settings of each step that is done."""
        return {name: dict(step.identity()) for name, step in self._steps()}

    def normalise(self, names: Sequence[str], held: scipy.sparse.csr_array) -> Normalised:
        """Learn the map of these tags; ``held`` is distinct texts x raw tags."""
        final: list[str | None] = list(names)
        steps = []
        for name, step in self._steps():
            before_names, before = renamed(held, final)
            new = dict(zip(before_names, step.rename(before_names, before) if before_names else [], strict=True))
            final = [None if tag is None else new[tag] for tag in final]
            steps.append(
                {
                    "step": name,
                    **dict(step.identity()),
                    **change(before, renamed(held, final)[1]),
                    "largest": largest(new),
                }
            )
        return Normalised(dict(zip(names, final, strict=True)), steps)

    def _steps(self) -> list[tuple[str, Step]]:
        return [(field.name, step) for field in fields(self) if (step := getattr(self, field.name)) is not None]


def apply_map(names: Sequence[str], held: scipy.sparse.csr_array, tag_map: TagMap) -> Normalised:
    """The raw tags as a given map has them; a raw tag that it does not list is dropped, and counted.

    Raises:
        SftdivError: If it lists none of the raw tags.
    """
    listed = [name for name in names if name in tag_map]
    if names and not listed:
        raise SftdivError(
            f"strategy.units.tag_map lists none of the {len(names)} raw tags, such as {list(names[:5])}; it maps other tags"
        )
    final = {name: tag_map.get(name) for name in names}
    step = {"step": "map", "unlisted": len(names) - len(listed), **change(held, renamed(held, list(final.values()))[1])}
    return Normalised(final, [step])


def change(before: scipy.sparse.csr_array, after: scipy.sparse.csr_array) -> dict[str, int]:
    """Tags, tags summed over texts, and texts without a tag, before and after a step."""
    return {
        f"{what}_{when}": int(value)
        for when, held in (("before", before), ("after", after))
        for what, value in (
            ("tags", held.shape[1]),
            ("assignments", held.nnz),
            ("untagged", np.count_nonzero(np.diff(held.indptr) == 0)),
        )
    }


def largest(new: TagMap) -> dict[str, int]:
    """The tags that the most tags were merged into, and how many."""
    sizes = Counter(name for name in new.values() if name is not None)
    return {
        name: count for name, count in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:SHOWN] if count > 1
    }
