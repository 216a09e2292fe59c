"""Microscopic units: the mid-frequency tokens of a side.

In: the side's token ids. Out: ``Units`` whose types are the tokens that are in the band ``low`` to
``high``. Above it stand function words and affixes, below it names, foreign words and typos; in it
the tokens that carry meaning (the paper, section on microscopic diversity). The paper does not say
whether occurrences or documents are counted; its thresholds read as occurrences, so these are the
default. The trade: the matrix is built over blocks of rows, so that memory goes with what is kept
and not with all tokens.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.protocols import CorpusSide
from sftdiv.records import SftdivError, TokenIds, Units

Counted = Literal["occurrences", "documents"]
Scale = Literal["absolute", "per_million"]
FEWEST_TYPES = 100
BLOCK = 50_000  # rows


@dataclass(frozen=True, kw_only=True)
class TokenUnits:
    """Finds the tokens whose frequency lies in a band.

    Attributes:
        low: Least frequency of a unit.
        high: Largest frequency of a unit.
        unit: What is counted: ``occurrences`` of the token, or ``documents`` (examples) that hold it.
        scale: ``absolute`` counts, or counts ``per_million`` tokens (of occurrences) or examples
            (of documents): a band that can be carried to a corpus of another size.
    """

    low: float
    high: float
    unit: Counted
    scale: Scale

    def __post_init__(self) -> None:
        for name, known in (("unit", get_args(Counted)), ("scale", get_args(Scale))):
            if getattr(self, name) not in known:
                raise SftdivError(f"corpus.band.{name}={getattr(self, name)!r} is not known. Known: {', '.join(known)}")
        if not 0 < self.low <= self.high:
            raise SftdivError(f"corpus.band must satisfy 0 < low <= high, got low={self.low}, high={self.high}")

    def identity(self) -> dict[str, Any]:
        """The band."""
        return {"finder": "tokens", **asdict(self)}

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
            raise SftdivError(
                f"the band of {low:g} to {high:g} {self.unit} leaves {band.sum()} token types (at least {FEWEST_TYPES} are needed): "
                f"of {np.count_nonzero(counts):,} types seen, {rarer:,} are rarer and {commoner:,} commoner. Widen corpus.band.low or "
                "corpus.band.high, or use a tokenizer with a larger vocabulary (strategy.tokenizer)"
            )
        names = [tokens.names[token] for token in np.flatnonzero(band).tolist()]
        return Units(token_matrix(tokens, band), names, {**self.identity(), "types": len(names)})

    def bounds(self, total: int) -> tuple[float, float]:
        """The band in counts, for a corpus of so many tokens (or examples)."""
        million = total / 1_000_000 if self.scale == "per_million" else 1.0
        return self.low * million, self.high * million


def frequencies(tokens: TokenIds, unit: Counted) -> NDArray[np.int64]:
    """How often each type occurs, or in how many texts it stands, shape (types,)."""
    if unit == "occurrences":
        return np.bincount(tokens.flat, minlength=len(tokens.names))
    everything = np.ones(len(tokens.names), dtype=bool)
    return sum(
        (np.bincount(block.indices, minlength=len(everything)) for block in _blocks(tokens, everything)),
        start=np.zeros(len(everything), dtype=np.int64),
    )


def token_matrix(tokens: TokenIds, band: NDArray[np.bool_]) -> scipy.sparse.csr_array:
    """Texts x types of the band, each entry a number of occurrences; columns keep the order of the vocabulary."""
    return scipy.sparse.csr_array(scipy.sparse.vstack([*_blocks(tokens, band)], format="csr"))


def _blocks(tokens: TokenIds, band: NDArray[np.bool_]) -> list[scipy.sparse.csr_array]:
    column = np.cumsum(band, dtype=np.int32) - 1
    lengths, blocks = tokens.lengths(), []
    for start in range(0, max(len(lengths), 1), BLOCK):
        rows = lengths[start : start + BLOCK]
        flat = tokens.flat[tokens.offsets[start] : tokens.offsets[start + len(rows)]]
        kept = band[flat]
        row = np.repeat(np.arange(len(rows), dtype=np.int32), rows)[kept]
        entries = (np.ones(len(row), dtype=np.int32), (row, column[flat[kept]]))
        block = scipy.sparse.coo_array(entries, shape=(len(rows), int(band.sum()))).tocsr()
        block.sort_indices()
        blocks.append(block)
    return blocks
