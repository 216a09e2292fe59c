"""Selectable examples, and the strata that hold a confounder fixed.

Boolean masks over the corpus, each a reason to exclude examples, become a `Universe`. Instruction groups
are sampled by hash and not by a shuffled draw, so that the sample does not depend on the rest of the corpus.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError, Universe
from sftdiv.storage.validate import check_one_of, check_range
from sftdiv.text.string_columns import codes_of, salted_hashes, sorted_codes

if TYPE_CHECKING:
    from sftdiv.text.string_columns import Strings

MATCHES = (
    *("none", "length", "source", "quality"),
    *("length+source", "length+quality", "source+quality", "length+source+quality"),
)
LENGTH_RATIO = 1.25  # lengths of one stratum differ by less than this factor, and so do the means of any two subsets
QUALITY_STRATA = 5
LEAST_SHARE = 1 / 200  # of the universe in a stratum of lengths; sparser ones are merged with the next longer ones


def group_share(groups: Strings, share: float, *, salt: str) -> NDArray[np.bool_]:
    """Mask of the examples in a share of the groups, sampled by a salted hash. Groups are never split.

    Args:
        groups: Group of each example.
        share: Expected share of the groups, in [0, 1].
        salt: Purpose and seed of the sample; samples with different salts are independent.

    Raises:
        SftdivError: The share is outside [0, 1].
    """
    check_range(f"the share of groups for {salt.split(':')[0]}", share, least=0, most=1)
    threshold = int(share * 2**64)
    names, group_of_example = codes_of(groups)
    picked = np.ones(len(names), dtype=bool) if threshold == 2**64 else salted_hashes(names, salt) < threshold
    return picked[group_of_example]


def build_universe(
    excluded: Mapping[str, NDArray[np.bool_]],
    *,
    lengths: NDArray[np.int64],
    sources: Strings,
    match: str,
    scores: NDArray[np.float64] | None = None,
) -> Universe:
    """Selectable examples (excluded by no mask) and their strata.

    Args:
        excluded: Mask of the excluded examples by reason, shape (examples,); an example counts under its first
            reason.
        lengths: Response length of each example in tokens, for ``match=length``.
        sources: Source of each example, for ``match=source``.
        match: One of ``MATCHES``.
        scores: Score of each example, for ``match=quality``; NaN where there is none.

    Raises:
        SftdivError: ``match`` is unknown, or all examples are excluded.
    """
    check_one_of("selection.match", match, MATCHES)
    selectable = np.ones(len(lengths), dtype=bool)
    counts = {}
    for reason, mask in excluded.items():
        counts[reason] = int(np.count_nonzero(selectable & mask))
        selectable &= ~mask
    indices = np.flatnonzero(selectable)
    if not len(indices):
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.items())
        raise SftdivError(f"no selectable example is left; excluded: {reasons}")
    source = sorted_codes(sources).of_row if "source" in match else np.zeros(len(lengths), dtype=np.int32)
    strata = _strata(lengths[indices], source[indices], match)
    if scores is not None and "quality" in match:
        strata = np.unique(np.stack([strata, _quality_strata(scores[indices])]), axis=1, return_inverse=True)[1]
    return Universe(indices, strata, counts)


def match_identity(match: str) -> str:
    """What decides the strata of a match, as part of a selection's identity."""
    return f"{match}, tokens in steps of {LENGTH_RATIO}" if "length" in match else match


def _strata(lengths: NDArray[np.int64], source: NDArray[np.int32], match: str) -> NDArray[np.int64]:
    """Stratum of each example: range of response lengths and/or source, numbered without gaps."""
    key = source.astype(np.int64)
    if "length" in match:
        fewest = LEAST_SHARE * len(lengths)
        for number in np.unique(source):
            rows = np.flatnonzero(source == number)
            key[rows] = number * len(lengths) + _length_strata(lengths[rows], fewest)
    return np.unique(key, return_inverse=True)[1]


def _quality_strata(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Quintile of each score; examples without a score are a stratum of their own."""
    known = ~np.isnan(scores)
    strata = np.zeros(len(scores), dtype=np.int64)
    if known.any():
        edges = np.quantile(scores[known], np.arange(1, QUALITY_STRATA) / QUALITY_STRATA, method="higher")
        strata[known] = 1 + np.searchsorted(edges, scores[known], side="right")
    return strata


def _length_strata(lengths: NDArray[np.int64], fewest: float) -> NDArray[np.int64]:
    """Stratum of each length: geometric ranges, merged upwards until they hold ``fewest`` examples.

    Ranges of equal ratio bound the difference of mean lengths at every level alike. Quantiles do not: the longest
    fifth of a corpus spans an order of magnitude, in which a level is free to choose.
    """
    steps = np.floor(np.log(np.maximum(lengths, 1)) / np.log(LENGTH_RATIO) + 1e-9).astype(np.int64)
    _, range_of, sizes = np.unique(steps, return_inverse=True, return_counts=True)
    stratum_of_range, stratum, held = np.zeros(len(sizes), dtype=np.int64), 0, 0
    for number, size in enumerate(sizes.tolist()):
        stratum_of_range[number] = stratum
        held += size
        if held >= fewest:
            stratum, held = stratum + 1, 0
    if held and stratum:  # too few of the longest
        stratum_of_range[stratum_of_range == stratum] = stratum - 1
    return stratum_of_range[range_of]
