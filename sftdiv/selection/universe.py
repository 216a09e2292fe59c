"""Who may be chosen, and the strata that keep a confounder fixed.

In: boolean masks over the corpus, each a named reason to leave an example out. Out: a ``Universe``.
The trade: decisions about groups are made by hash and not by a shuffled draw, so that they do not
depend on what else is in the corpus.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError, Universe

MATCHES = ("none", "length", "source", "length+source")
LENGTH_STRATA = 5


def group_share(groups: Sequence[str], share: float, *, salt: str) -> NDArray[np.bool_]:
    """Which examples belong to the share of groups that a salted hash picks; a group is taken whole.

    Args:
        groups: The group of each example.
        share: Expected share of the groups, in [0, 1].
        salt: Names the decision (what for, and its seed): other salts pick independently.

    Raises:
        SftdivError: If the share is outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise SftdivError(f"the share of groups for {salt.split(':')[0]} must be in [0, 1], got {share}")
    threshold = int(share * 2**64)
    names, which = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
    digests = (hashlib.blake2b(f"{salt}:{name}".encode(), digest_size=8).digest() for name in names)
    picked = np.fromiter((int.from_bytes(digest) < threshold for digest in digests), dtype=bool, count=len(names))
    return picked[which]


def build_universe(
    left_out: Mapping[str, NDArray[np.bool_]],
    *,
    lengths: NDArray[np.int64],
    sources: Sequence[str],
    match: str,
) -> Universe:
    """Everyone whom no mask leaves out, with strata.

    Args:
        left_out: For each reason, who is left out for it, shape (examples,); an example counts
            under its first reason.
        lengths: Response length of each example in words, for ``match=length``.
        sources: Source of each example, for ``match=source``.
        match: One of ``MATCHES``.

    Raises:
        SftdivError: If ``match`` is unknown or nobody is left.
    """
    if match not in MATCHES:
        raise SftdivError(f"selection.match={match!r} is unknown. Known: {', '.join(MATCHES)}")
    free = np.ones(len(lengths), dtype=bool)
    counts = {}
    for reason, mask in left_out.items():
        counts[reason] = int(np.count_nonzero(free & mask))
        free &= ~mask
    indices = np.flatnonzero(free)
    if not len(indices):
        raise SftdivError(
            f"no example is left to choose from; left out: {', '.join(f'{name} {count:,}' for name, count in counts.items())}"
        )
    strata = _strata(lengths[indices], np.asarray(sources, dtype=object)[indices], match)
    return Universe(indices, strata, counts)


def _strata(lengths: NDArray[np.int64], sources: NDArray[np.object_], match: str) -> NDArray[np.int64]:
    """The stratum of each example: its response-length quintile and/or its source, numbered without gaps."""
    key = np.zeros(len(lengths), dtype=np.int64)
    if "length" in match:
        edges = np.quantile(lengths, np.arange(1, LENGTH_STRATA) / LENGTH_STRATA, method="higher")
        key = np.searchsorted(edges, lengths, side="right")
    if "source" in match:
        names, source = np.unique(sources, return_inverse=True)
        key = key * len(names) + source
    return np.unique(key, return_inverse=True)[1]
