"""Microscopic units: the mid-frequency tokens of a side.

In: the side's token ids. Out: ``Units`` whose types are the tokens that occur at least ``low`` and at most ``high`` times in the whole
side. Above the band stand function words and affixes, below it names, foreign words and typos; in it the tokens that carry meaning (the
paper, section on microscopic diversity). Occurrences are counted, not documents: the paper does not say, and its thresholds read as
occurrences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse

from sftdiv.records import SftdivError, SideText, Units

FEWEST_TYPES = 100


@dataclass(frozen=True, kw_only=True)
class TokenUnits:
    """Finds the tokens whose occurrences lie in the band ``low`` to ``high``, both included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.high:
            raise SftdivError(f"the band of occurrences must satisfy 1 <= low <= high, got low={self.low}, high={self.high}")

    def find(self, side: SideText) -> Units:
        """Mid-frequency tokens of every example.

        Raises:
            SftdivError: If fewer than 100 types lie in the band.
        """
        tokens = side.token_ids()
        occurrences = np.bincount(tokens.flat, minlength=len(tokens.names))
        band = (occurrences >= self.low) & (occurrences <= self.high)
        if band.sum() < FEWEST_TYPES:
            rarer, commoner = np.count_nonzero((occurrences > 0) & (occurrences < self.low)), np.count_nonzero(occurrences > self.high)
            raise SftdivError(
                f"the band of {self.low} to {self.high} occurrences leaves {band.sum()} token types (at least {FEWEST_TYPES} are needed): "
                f"of {np.count_nonzero(occurrences):,} types seen, {rarer:,} are rarer and {commoner:,} commoner. Widen corpus.band.low or "
                "corpus.band.high, or use a tokenizer with a larger vocabulary (strategy.tokenizer)"
            )
        column = np.cumsum(band) - 1
        kept = band[tokens.flat]
        rows = np.repeat(np.arange(len(side)), tokens.lengths())[kept]
        entries = (np.ones(kept.sum(), dtype=np.int32), (rows, column[tokens.flat[kept]]))
        matrix = scipy.sparse.csr_array(scipy.sparse.coo_array(entries, shape=(len(side), int(band.sum()))))
        names = [tokens.names[token] for token in np.flatnonzero(band).tolist()]
        return Units(matrix, names, {"finder": "tokens", "low": self.low, "high": self.high, "types": len(names)})
