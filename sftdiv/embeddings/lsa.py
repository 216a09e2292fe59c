"""Latent semantic analysis: vectors of texts without a model to download, in seconds on a laptop.

Vectors are the TF-IDF of words, reduced by truncated SVD (Deerwester et al. 1990) and normalised.
The SVD is fitted on the distinct texts in alphabetical order, so that neither repetition nor order
of the corpus matters, and on one thread, so that a rerun gives the same bits. Synonyms are similar
only if they occur with the same words; a sentence encoder is better at this and needs a download.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sftdiv.records import Embeddings, SftdivError
from sftdiv.storage.hashing import settings_identity
from sftdiv.text.column_texts import ChosenTexts
from sftdiv.text.string_columns import distinct_in_order
from sftdiv.text.words import terms


@dataclass(frozen=True, kw_only=True)
class LsaEmbedder:
    """TF-IDF and truncated SVD.

    Attributes:
        dimensions: Length of a vector; shorter where there are fewer texts or words.
        min_documents: Minimum number of distinct texts with a word for it to be counted.
        max_share: Share of the distinct texts above which a word is phrasing and not subject, and
            is not counted.
        max_words: Maximum size of the vocabulary; the most frequent words are kept.
        iterations: Power iterations of the randomised SVD (Halko et al. 2011); 4 suffice for text.
        seed: Seed of the randomised SVD.
    """

    learns: ClassVar[bool] = True  # fitted on its texts: vectors of two calls are not comparable
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)

    dimensions: int
    min_documents: int
    max_share: float
    max_words: int
    iterations: int
    seed: int

    def identity(self) -> dict[str, Any]:
        """All settings."""
        return {"kind": "lsa", **settings_identity(self)}

    def embed(self, texts: Sequence[str], partial: Path) -> Embeddings:
        """Vectors of unit length, or of zeros for a text without a counted word.

        Args:
            texts: Any number of texts.
            partial: Not used; a killed call starts again.

        Returns:
            Shape (texts, dimensions), float32; equal texts have equal rows.

        Raises:
            SftdivError: If no word is counted.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import normalize
        from threadpoolctl import threadpool_limits

        first, row = distinct_in_order(texts)
        distinct = ChosenTexts(texts, first)
        tfidf = TfidfVectorizer(
            tokenizer=terms,
            token_pattern=None,
            sublinear_tf=True,
            min_df=self.min_documents,
            max_df=max(self.min_documents, int(self.max_share * len(distinct))),
            max_features=self.max_words,
            dtype=np.float32,
        )
        try:
            weights = tfidf.fit_transform(distinct)
        except ValueError as error:
            raise SftdivError(
                f"no word of {len(distinct)} distinct texts occurs in at least {self.min_documents} of them and in at "
                f"most {self.max_share:.0%}; lower embedder.min_documents or raise embedder.max_share"
            ) from error
        svd = TruncatedSVD(min(self.dimensions, *weights.shape), n_iter=self.iterations, random_state=self.seed)
        with threadpool_limits(1):
            distinct_vectors = normalize(svd.fit_transform(weights))
        vectors = np.ascontiguousarray(distinct_vectors[row], dtype=np.float32)
        wordless = float(1 - vectors.any(axis=1).mean())
        return Embeddings(vectors, {"model": "lsa", "distinct": len(distinct), "wordless": wordless})
