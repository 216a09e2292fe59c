"""All diversity metrics of one side of a set, as one flat dict: the paper's six, and the n-gram ratio of each order.

In: token ids, texts and embeddings. Out: metric name to value. High is diverse for ``ngram_ratio``, ``embedding_distance`` and
``entropy``, low is for ``compression_ratio`` and ``self_bleu``. No metric depends on the order of the texts; most depend on their number,
so that only sets of one size compare. The trade: exact counts over sorted arrays, nothing sampled; about 1 s a million tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.compression_ratio import compression_ratio
from sftdiv.diversity.embedding_distance import embedding_distance
from sftdiv.diversity.entropy import token_entropy
from sftdiv.diversity.length import mean_length
from sftdiv.diversity.ngram_ratio import ngram_ratios
from sftdiv.diversity.self_bleu import self_bleu
from sftdiv.records import TokenIds


def describe(token_ids: TokenIds, texts: Sequence[str], embeddings: NDArray[np.float32] | None) -> dict[str, float]:
    """Measure the diversity of a set of texts.

    Args:
        token_ids: Their token ids.
        texts: The texts themselves, as many as there are in ``token_ids``.
        embeddings: Their row-normalised embeddings, shape (texts, dimensions), or None to leave that metric out.

    Returns:
        Metric name to value; NaN where a set is too small for a metric (see each).
    """
    ratios = ngram_ratios(token_ids)
    return {
        "ngram_ratio": float(np.mean(ratios)),
        **{f"ngram_ratio_{n}": ratio for n, ratio in enumerate(ratios, start=1)},
        **({} if embeddings is None else {"embedding_distance": embedding_distance(embeddings)}),
        "length": mean_length(token_ids),
        "compression_ratio": compression_ratio(texts),
        "self_bleu": self_bleu(token_ids),
        "entropy": token_entropy(token_ids),
    }
