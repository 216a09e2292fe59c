"""The held-out split: which examples are never selected.

In: each example's group (hash of the normalised instruction) and source. Out: a mask. Whole groups
are held out, so that no instruction stands on both sides, and the sources take turns, so that each
has about as many held-out examples as another. The trade: where one instruction has many answers
(AlpacaEval: about 50), a source's held-out examples are few instructions, and an error of the mean
over them should be clustered by group.
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

MAX_SHARE = 0.05  # of the corpus and of each source (there rounded up): what is held out cannot be trained on


def held_out(groups: Sequence[str], sources: Sequence[str], *, count: int, seed: int) -> NDArray[np.bool_]:
    """Mask of the held-out examples, shape (examples,), about ``count`` of them and never more.

    The source with the fewest held-out examples gives its next group that fits, in an order by hash
    of group and ``seed``; a source without such a group retires. A group that several sources share
    belongs to the one with most of its examples. The order of the examples has no influence.

    Raises:
        SftdivError: when ``count`` is negative.
    """
    if count < 0:
        raise SftdivError(f"corpus.heldout={count} must be 0 or more.")
    sizes = Counter(groups)
    room = min(count, math.floor(MAX_SHARE * len(groups)))
    room_of = {source: math.ceil(MAX_SHARE * rows) for source, rows in Counter(sources).items()}
    queues = _queues(groups, sources, seed=seed)
    taken: set[str] = set()
    turns = [(0, source) for source in sorted(queues)]
    while turns and room:
        held, source = heapq.heappop(turns)
        group = next((group for group in queues[source] if sizes[group] <= min(room, room_of[source] - held)), None)
        if group is not None:
            taken.add(group)
            room -= sizes[group]
            heapq.heappush(turns, (held + sizes[group], source))
    return np.array([group in taken for group in groups], dtype=bool)


def _queues(groups: Sequence[str], sources: Sequence[str], *, seed: int) -> dict[str, Iterator[str]]:
    """The groups of each source, in their order by hash; each iterator is used up once."""
    homes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for group, source in zip(groups, sources, strict=True):
        homes[group][source] += 1
    queues: defaultdict[str, list[str]] = defaultdict(list)
    for group in sorted(homes, key=lambda group: content_hash([seed, group])):
        owners = homes[group]
        queues[min(owners, key=lambda source: (-owners[source], source))].append(group)
    return {source: iter(queue) for source, queue in queues.items()}
