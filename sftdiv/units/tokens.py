"""Microscopic units: the mid-frequency tokens of a side.

The types are the tokens with a frequency between ``low`` and ``high``. Above this band are function
words and affixes, below it names, foreign words and typos; in it are the tokens that carry meaning
(the paper, section on microscopic diversity). The frequency counts documents or occurrences. The
paper's is inferred from its figure 2 to count documents: its most common type has 0.40 % of all
counts, which fits a token in nearly every response, but 3 to 5 % of all occurrences.

The token ids, mapped from the cache, are read twice: to count the non-zeros of the matrix and to fill it. Its eight
bytes per non-zero are then all the memory it takes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.protocols import CorpusSide
from sftdiv.records import SftdivError, TokenIds, Units
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_one_of

Counted = Literal["occurrences", "documents"]
Scale = Literal["absolute", "per_million"]
FEWEST_TYPES = 100


@dataclass(frozen=True, kw_only=True)
class TokenUnits:
    """Extracts the tokens whose frequency lies in a band.

    Attributes:
        low: Minimum frequency of a unit.
        high: Maximum frequency of a unit.
        unit: Unit of the frequency: ``occurrences`` of the token, or ``documents`` (examples) that
            contain it.
        scale: ``absolute`` counts, or counts ``per_million`` tokens (for occurrences) or examples
            (for documents): a band that applies to corpora of any size.
    """

    low: float
    high: float
    unit: Counted
    scale: Scale

    def __post_init__(self) -> None:
        check_one_of("corpus.band.unit", self.unit, get_args(Counted))
        check_one_of("corpus.band.scale", self.scale, get_args(Scale))
        if not 0 < self.low <= self.high:
            raise SftdivError(f"corpus.band must satisfy 0 < low <= high, got low={self.low}, high={self.high}")

    def identity(self) -> dict[str, Any]:
        """The band."""
        return {"kind": "tokens", **settings_identity(self)}

    def extract(self, side: CorpusSide) -> Units:
        """Mid-frequency tokens of every example.

        Raises:
            SftdivError: If fewer than 100 types lie in the band.
        """
        tokens = side.token_ids()
        counts = frequencies(tokens, self.unit)
        low, high = self.bounds(len(tokens.flat) if self.unit == "occurrences" else len(side))
        band = (counts >= low) & (counts <= high)
        if band.sum() < FEWEST_TYPES:
            rarer, commoner = np.count_nonzero((counts > 0) & (counts < low)), np.count_nonzero(counts > high)
            occurring = np.count_nonzero(counts)
            way_out = "Widen corpus.band.low or corpus.band.high, or use a tokenizer with a larger vocabulary"
            if occurring < FEWEST_TYPES:  # no band helps
                way_out = "The texts repeat too few words for token units: use a tokenizer with a larger vocabulary"
            raise SftdivError(
                f"the band of {low:g} to {high:g} {self.unit} contains {band.sum()} token types "
                f"(at least {FEWEST_TYPES} are needed): of {occurring:,} types that occur, "
                f"{rarer:,} are rarer and {commoner:,} more common. {way_out} (strategy.tokenizer) or more data"
            )
        names = [tokens.names[token] for token in np.flatnonzero(band).tolist()]
        return Units(token_matrix(tokens, band), names, {"finder": "tokens", **asdict(self), "types": len(names)})

    def bounds(self, total: int) -> tuple[float, float]:
        """The band in absolute counts, for a corpus of ``total`` tokens (or examples)."""
        factor = total / 1_000_000 if self.scale == "per_million" else 1.0
        return self.low * factor, self.high * factor


def frequencies(tokens: TokenIds, unit: Counted) -> NDArray[np.int64]:
    """Occurrences of each type, or the number of texts that contain it, shape (types,)."""
    from sftdiv.units.token_kernels import documents, occurrences

    if unit == "occurrences":
        return occurrences(tokens.flat, len(tokens.names))
    return documents(tokens.flat, tokens.offsets, len(tokens.names))


def token_matrix(tokens: TokenIds, band: NDArray[np.bool_]) -> scipy.sparse.csr_array:
    """Occurrences of each type of the band in each text, shape (texts, types), in the order of the vocabulary."""
    from sftdiv.units.token_kernels import fill_rows, row_starts

    column = np.where(band, np.cumsum(band) - 1, -1).astype(np.int32)
    starts = row_starts(tokens.flat, tokens.offsets, column)
    columns, counts = np.empty(starts[-1], dtype=np.int32), np.empty(starts[-1], dtype=np.int32)
    fill_rows(tokens.flat, tokens.offsets, column, starts, columns, counts)
    starts = starts.astype(scipy.sparse.get_index_dtype(maxval=int(starts[-1])))  # else scipy widens the columns
    return scipy.sparse.csr_array((counts, columns, starts), shape=(len(starts) - 1, int(band.sum())))
