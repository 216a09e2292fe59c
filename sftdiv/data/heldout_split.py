"""The held-out split: a mask of the examples that are never selected.

Whole groups are held out: the examples of one instruction, or of near-duplicate instructions, so that no copy of a
held-out instruction is trained on. Sources take turns, so that each gets about the same number of held-out
examples. Where one instruction has many responses (AlpacaEval: about 50), the held-out examples of a source are few
instructions; the standard error of a mean over them should be clustered by group.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError
from sftdiv.storage.hashing import content_hash
from sftdiv.storage.validate import check_range

MAX_SHARE = 0.05  # of the corpus and of each source (there rounded up): held-out examples are lost for training


def held_out(
    groups: Sequence[str], sources: Sequence[str], *, count: int, seed: int, never: Sequence[str] = ()
) -> NDArray[np.bool_]:
    """Mask of the held-out examples, shape (examples,): about ``count`` of them and never more.

    The source with the fewest held-out examples contributes its next group that fits, in the order of
    a hash of ``seed`` and group; a source without such a group retires. A group shared by several
    sources belongs to the one with most of its examples. The order of the examples has no influence.

    Args:
        groups: Group of each example.
        sources: Source of each example.
        count: Maximal number of held-out examples; bounded by `MAX_SHARE` too.
        seed: Seed of the order of groups.
        never: Sources of which nothing is held out; they do not count as part of the corpus.

    Raises:
        SftdivError: If ``count`` is negative, or ``never`` names an unknown source or all sources.
    """
    check_range("corpus.heldout", count, least=0, whole=True)
    check_sources(never, sources)
    sizes = Counter(groups)
    examples = {source: rows for source, rows in Counter(sources).items() if source not in never}
    room = min(count, math.floor(MAX_SHARE * sum(examples.values())))
    source_room = {source: math.ceil(MAX_SHARE * rows) for source, rows in examples.items()}
    divided = {group for group, source in zip(groups, sources, strict=True) if source in never}
    queues = _group_queues(groups, sources, divided, seed)
    chosen: set[str] = set()
    turns = [(0, source) for source in sorted(queues)]
    while turns and room:
        size, source = heapq.heappop(turns)
        largest = min(room, source_room[source] - size)
        group = next((group for group in queues[source] if sizes[group] <= largest), None)
        if group is not None:
            chosen.add(group)
            room -= sizes[group]
            heapq.heappush(turns, (size + sizes[group], source))
    return np.array([group in chosen for group in groups], dtype=bool)


def check_sources(ood: Sequence[str], sources: Sequence[str]) -> None:
    """Refuse sources that the corpus does not have, or all that it has.

    Raises:
        SftdivError: ``ood`` names an unknown source, or leaves none.
    """
    known = set(sources)
    if unknown := sorted(set(ood) - known):
        raise SftdivError(
            f"corpus.ood names {', '.join(unknown)}; the corpus has the sources: "
            f"{', '.join(sorted(name or 'unnamed' for name in known))}"
        )
    if known and not known - set(ood):
        raise SftdivError(f"corpus.ood={sorted(ood)} names all sources, so that nothing is left to train on")


def _group_queues(
    groups: Sequence[str], sources: Sequence[str], skipped: set[str], seed: int
) -> dict[str, Iterator[str]]:
    """The groups of each source, ordered by hash, without the skipped ones; each iterator is consumed once."""
    source_counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for group, source in zip(groups, sources, strict=True):
        if group not in skipped:
            source_counts[group][source] += 1
    queues: defaultdict[str, list[str]] = defaultdict(list)
    for group in sorted(source_counts, key=lambda group: content_hash([seed, group])):
        counts = source_counts[group]
        owner = min(counts, key=lambda source: (-counts[source], source))
        queues[owner].append(group)
    return {source: iter(queue) for source, queue in queues.items()}


def out_of_distribution(
    groups: Sequence[str], sources: Sequence[str], ood: Sequence[str], *, size: int, seed: int
) -> NDArray[np.int64]:
    """Ascending rows of the scored examples of sources that are never trained on: one per group, ``size`` per source.

    A group that other sources share is left out, since a copy of it may be trained on.

    Args:
        groups: Group of each example.
        sources: Source of each example.
        ood: Sources that are never trained on.
        size: Maximal number of examples per source.
        seed: Seed of the choice, by hash.
    """
    shared = {group for group, source in zip(groups, sources, strict=True) if source not in ood}
    first: dict[str, dict[str, int]] = {source: {} for source in sorted(set(ood))}
    for row, (group, source) in enumerate(zip(groups, sources, strict=True)):
        if source in first and group not in shared:
            first[source].setdefault(group, row)
    chosen = [
        row
        for rows in first.values()
        for _, row in sorted((content_hash([seed, group]), row) for group, row in rows.items())[:size]
    ]
    return np.array(sorted(chosen), dtype=np.int64)
