"""Inputs of the metrics: the texts of one side of a set, or the units of its examples.

A ``TextSet`` also caches what several metrics compute from the same texts: n-gram counts, and the
sample of embeddings for metrics over all pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.ngram_counts import NgramCounts, count_ngrams
from sftdiv.records import SftdivError, TokenIds

if TYPE_CHECKING:
    import scipy.sparse


@dataclass(frozen=True)
class TextSet:
    """Texts of one side of a set, and what several metrics compute from them.

    Attributes:
        token_ids: Token ids of the texts.
        texts: The texts.
        embeddings: Row-normalised embeddings, shape (texts, dimensions), or None.
        reference: Embeddings of the corpus that the set is taken from, or None.
        rng: Generator of metrics that draw at random, or None.
        most: Number of texts that metrics over all pairs of embeddings use at most.
    """

    token_ids: TokenIds
    texts: Sequence[str]
    embeddings: NDArray[np.float32] | None
    reference: NDArray[np.float32] | None
    rng: np.random.Generator | None
    most: int

    @cached_property
    def ngram_counts(self) -> NgramCounts:
        """N-grams of orders 1 to 4, counted once for all metrics made from them."""
        return count_ngrams(self.token_ids)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The embeddings; ``describe`` calls a metric that needs them only where there are some."""
        assert self.embeddings is not None
        return self.embeddings

    @cached_property
    def sampled_vectors(self) -> NDArray[np.float32]:
        """The embeddings of at most ``most`` texts, drawn once without replacement where there are more."""
        if len(self.vectors) <= self.most:
            return self.vectors
        return self.vectors[np.sort(self.generator.choice(len(self.vectors), self.most, replace=False))]

    @property
    def generator(self) -> np.random.Generator:
        """The random generator.

        Raises:
            SftdivError: If there is none.
        """
        if self.rng is None:
            raise SftdivError(
                f"homogenisation, and metrics over all pairs of more than {self.most:,} texts, draw at random "
                "and need rng"
            )
        return self.rng


@dataclass(frozen=True)
class UnitSet:
    """Units of the examples of a set.

    Attributes:
        matrix: Counts, shape (examples, types).
        types: Number of types that exist; None for the columns of the matrix.
    """

    matrix: scipy.sparse.csr_array
    types: int | None = None
