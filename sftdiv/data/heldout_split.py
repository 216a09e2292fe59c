"""The held-out split: a mask of the examples that are never selected.

Whole groups of one instruction are held out, so that no instruction stands on both sides. Sources
take turns, so that each gets about the same number of held-out examples. Where one instruction has
many responses (AlpacaEval: about 50), the held-out examples of a source are few instructions; the
standard error of a mean over them should be clustered by group.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sftdiv.storage.hashing import content_hash
from sftdiv.storage.validate import check_range

MAX_SHARE = 0.05  # of the corpus and of each source (there rounded up): held-out examples are lost for training


def held_out(groups: Sequence[str], sources: Sequence[str], *, count: int, seed: int) -> NDArray[np.bool_]:
    """Mask of the held-out examples, shape (examples,): about ``count`` of them and never more.

    The source with the fewest held-out examples contributes its next group that fits, in the order of
    a hash of ``seed`` and group; a source without such a group retires. A group shared by several
    sources belongs to the one with most of its examples. The order of the examples has no influence.

    Args:
        groups: Hash of the normalised instruction of each example.
        sources: Source of each example.
        count: Maximal number of held-out examples; bounded by `MAX_SHARE` too.
        seed: Seed of the order of groups.

    Raises:
        SftdivError: If ``count`` is negative.
    """
    check_range("corpus.heldout", count, least=0, whole=True)
    sizes = Counter(groups)
    room = min(count, math.floor(MAX_SHARE * len(groups)))
    source_room = {source: math.ceil(MAX_SHARE * rows) for source, rows in Counter(sources).items()}
    queues = _group_queues(groups, sources, seed=seed)
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


def _group_queues(groups: Sequence[str], sources: Sequence[str], *, seed: int) -> dict[str, Iterator[str]]:
    """The groups of each source, ordered by hash; each iterator is consumed once."""
    source_counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for group, source in zip(groups, sources, strict=True):
        source_counts[group][source] += 1
    queues: defaultdict[str, list[str]] = defaultdict(list)
    for group in sorted(source_counts, key=lambda group: content_hash([seed, group])):
        counts = source_counts[group]
        owner = min(counts, key=lambda source: (-counts[source], source))
        queues[owner].append(group)
    return {source: iter(queue) for source, queue in queues.items()}
