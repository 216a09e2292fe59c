"""Latent semantic analysis: texts as vectors without a model to download, in seconds on a laptop.

In: texts. Out: row-normalised vectors, from TF-IDF of words by truncated SVD (Deerwester et al.
1990). It is fitted on the distinct texts in alphabetical order, so that neither repetition nor
order of the corpus matters, and on one thread, so that a rerun gives the same bits. The trade:
synonyms stay apart unless they keep the same company; a sentence encoder knows better and costs a
download.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sftdiv.records import Embeddings, SftdivError


@dataclass(frozen=True, kw_only=True)
class LsaEmbedder:
    """TF-IDF and truncated SVD.

    Attributes:
        dimensions: Length of a vector; fewer when the texts or their words are fewer.
        min_documents: Distinct texts that a word must stand in to count.
        max_share: Share of the distinct texts above which a word is phrasing, not subject, and does
            not count.
        max_words: The most frequent words that are kept.
        iterations: Power iterations of the randomised SVD (Halko et al. 2011); 4 suffice for text.
        seed: Seed of the randomised SVD.
    """

    learns: ClassVar[bool] = True  # from the texts it is given: vectors of two calls do not compare

    dimensions: int
    min_documents: int
    max_share: float
    max_words: int
    iterations: int
    seed: int

    def identity(self) -> dict[str, Any]:
        """The settings and scikit-learn's version."""
        return {**asdict(self), "scikit-learn": version("scikit-learn")}

    def embed(self, texts: Sequence[str], partial: Path) -> Embeddings:
        """Vectors of unit length, or of zeros for a text without a word that counts.

        Args:
            texts: Any number of texts.
            partial: Not used: a killed call starts again.

        Returns:
            Shape (texts, dimensions), float32; equal texts have equal rows.

        Raises:
            SftdivError: If no word counts.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import normalize
        from threadpoolctl import threadpool_limits

        distinct, row = np.unique(np.array(texts, dtype=object), return_inverse=True)
        words = TfidfVectorizer(
            sublinear_tf=True,
            min_df=self.min_documents,
            max_df=max(self.min_documents, int(self.max_share * len(distinct))),
            max_features=self.max_words,
            dtype=np.float32,
        )
        try:
            weights = words.fit_transform(distinct)
        except ValueError as error:
            raise SftdivError(
                f"no word of {len(distinct)} distinct texts stands in at least {self.min_documents} of them and in at most "
                f"{self.max_share:.0%}; lower embedder.min_documents or raise embedder.max_share"
            ) from error
        svd = TruncatedSVD(min(self.dimensions, *weights.shape), n_iter=self.iterations, random_state=self.seed)
        with threadpool_limits(1):
            vectors = svd.fit_transform(weights)
        kept = np.ascontiguousarray(normalize(vectors)[row], dtype=np.float32)
        return Embeddings(
            kept, {"model": "lsa", "distinct": len(distinct), "wordless": float(1 - kept.any(axis=1).mean())}
        )
