"""The held-out split: a mask of the examples that are never selected.

Whole groups are held out: the examples of one instruction, or of near-duplicate instructions, so that no copy of a
held-out instruction is trained on. Sources take turns, so that each gets about the same number of held-out
examples. Where one instruction has many responses (AlpacaEval: about 50), the held-out examples of a source are few
instructions; the standard error of a mean over them should be clustered by group.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError
from sftdiv.storage.hashing import content_hash
from sftdiv.storage.validate import check_range
from sftdiv.text.string_columns import Codes, codes_of, each, sorted_codes

if TYPE_CHECKING:
    from sftdiv.text.string_columns import Strings

MAX_SHARE = 0.05  # of the corpus and of each source (there rounded up): held-out examples are lost for training


def held_out(
    groups: Strings, sources: Strings, *, count: int, seed: int, never: Sequence[str] = ()
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
    group, source = codes_of(groups), sorted_codes(sources)
    names, is_never = source.names.to_pylist(), np.isin(source.names.to_pylist(), list(never))
    sizes = np.bincount(group.of_row, minlength=len(group.names))
    examples = np.where(is_never, 0, np.bincount(source.of_row, minlength=len(names)))
    room = min(count, math.floor(MAX_SHARE * int(examples.sum())))
    is_chosen = np.zeros(len(group.names), dtype=bool)
    queues = _group_queues(group, source, is_never, seed) if room else {}
    turns = [(0, number) for number in sorted(queues)]
    while turns and room:
        size, number = heapq.heappop(turns)
        largest = min(room, math.ceil(MAX_SHARE * int(examples[number])) - size)
        chosen = next((code for code in queues[number] if sizes[code] <= largest), None)
        if chosen is not None:
            is_chosen[chosen] = True
            room -= int(sizes[chosen])
            heapq.heappush(turns, (size + int(sizes[chosen]), number))
    return is_chosen[group.of_row]


def check_sources(ood: Sequence[str], sources: Strings) -> None:
    """Refuse sources that the corpus does not have, or all that it has.

    Raises:
        SftdivError: ``ood`` names an unknown source, or leaves none.
    """
    known = set(codes_of(sources).names.to_pylist())
    if unknown := sorted(set(ood) - known):
        raise SftdivError(
            f"corpus.ood names {', '.join(unknown)}; the corpus has the sources: "
            f"{', '.join(sorted(name or 'unnamed' for name in known))}"
        )
    if known and not known - set(ood):
        raise SftdivError(f"corpus.ood={sorted(ood)} names all sources, so that nothing is left to train on")


def _group_queues(group: Codes, source: Codes, is_never: NDArray[np.bool_], seed: int) -> dict[int, Iterator[np.int64]]:
    """The groups of each source in the order of their hashes, without those that touch a source of ``is_never``.

    Args:
        group: Group of each example.
        source: Source of each example, numbered in the order of their names.
        is_never: Mask of the sources of which nothing is held out, shape (sources,).
        seed: Seed of the hashes.

    Returns:
        Codes of groups by the number of the source that owns them; each iterator is consumed once.
    """
    pair, rows = np.unique(group.of_row * np.int64(len(source.names)) + source.of_row, return_counts=True)
    group_of_pair, source_of_pair = np.divmod(pair, len(source.names))
    order = np.lexsort((source_of_pair, -rows, group_of_pair))  # the owner of a group comes first
    is_owner = np.diff(group_of_pair[order], prepend=-1) != 0
    owner = source_of_pair[order][is_owner]  # by group, since every group has a row
    divided = np.zeros(len(owner), dtype=bool)
    divided[group_of_pair[is_never[source_of_pair]]] = True
    hashes = np.fromiter((content_hash([seed, name]) for name in each(group.names)), dtype="S16", count=len(owner))
    by_hash = np.argsort(hashes, kind="stable")
    by_hash = by_hash[~divided[by_hash]]
    return {int(number): iter(by_hash[owner[by_hash] == number]) for number in np.unique(owner[by_hash])}


def out_of_distribution(
    groups: Strings, sources: Strings, ood: Sequence[str], *, size: int, seed: int
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
    group, source = codes_of(groups), codes_of(sources)
    names = source.names.to_pylist()
    is_ood = np.isin(names, list(ood))[source.of_row]
    shared = np.zeros(len(group.names), dtype=bool)
    shared[group.of_row[~is_ood]] = True
    chosen: list[int] = []
    for number in (names.index(name) for name in sorted(set(ood)) if name in names):
        rows = np.flatnonzero((source.of_row == number) & ~shared[group.of_row])
        codes, first = np.unique(group.of_row[rows], return_index=True)
        hashed = zip((content_hash([seed, name]) for name in each(group.names, codes)), rows[first], strict=True)
        chosen += [int(row) for _, row in sorted(hashed)[:size]]
    return np.array(sorted(chosen), dtype=np.int64)
