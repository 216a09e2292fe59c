"""Vectors of tags from their letters: the embedder of tags that needs no model.

In: short texts. Out: row-normalised counts of hashed character n-grams. The trade: it sees that
"data analysis" and "analysis of data" or "colour" and "color" are alike, and not that "maths" and
"arithmetic" are; a sentence encoder does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sftdiv.records import Embeddings


@dataclass(frozen=True, kw_only=True)
class CharacterEmbedder:
    """Hashed character n-grams within words.

    Attributes:
        shortest: Characters of an n-gram at least.
        longest: Characters of an n-gram at most.
        dimensions: Buckets that n-grams are hashed into.
    """

    shortest: int
    longest: int
    dimensions: int

    def identity(self) -> dict[str, Any]:
        """The settings and scikit-learn's version, whose hash it is."""
        return {"model": "characters", **asdict(self), "scikit-learn": version("scikit-learn")}

    def embed(self, texts: Sequence[str], partial: Path) -> Embeddings:
        """Vectors of unit length, or of zeros for an empty text, shape (texts, dimensions), float32; ``partial`` is not used."""
        from sklearn.feature_extraction.text import HashingVectorizer

        span = (self.shortest, self.longest)
        hashing = HashingVectorizer(analyzer="char_wb", ngram_range=span, n_features=self.dimensions, dtype=np.float32)
        return Embeddings(hashing.transform(texts).toarray(), {"model": "characters"})
