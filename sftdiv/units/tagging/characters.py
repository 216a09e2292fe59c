"""Vectors of tags from their letters: an embedder of tags that needs no model.

A vector holds the normalised counts of a tag's hashed character n-grams. "data analysis" and
"analysis of data", or "colour" and "color", are similar, but "maths" and "arithmetic" are not, as
they are to a sentence encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sftdiv.records import Embeddings
from sftdiv.storage.hashing import settings_identity


@dataclass(frozen=True, kw_only=True)
class CharacterEmbedder:
    """Hashed character n-grams within words.

    Attributes:
        shortest: Minimum characters of an n-gram.
        longest: Maximum characters of an n-gram.
        dimensions: Number of hash buckets.
    """

    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)  # its hash function
    kind_column: ClassVar[str] = "model"

    shortest: int
    longest: int
    dimensions: int

    def identity(self) -> dict[str, Any]:
        """All settings."""
        return {"kind": "characters", **settings_identity(self)}

    def embed(self, texts: Sequence[str], partial: Path) -> Embeddings:
        """Vectors of unit length, or of zeros for an empty text.

        Args:
            texts: Any number of texts.
            partial: Not used; a killed call starts again.

        Returns:
            Shape (texts, dimensions), float32.
        """
        from sklearn.feature_extraction.text import HashingVectorizer

        lengths = (self.shortest, self.longest)
        hashing = HashingVectorizer(
            analyzer="char_wb", ngram_range=lengths, n_features=self.dimensions, dtype=np.float32
        )
        return Embeddings(hashing.transform(texts).toarray(), {"model": "characters"})
