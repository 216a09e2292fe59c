"""MTLD: mean number of tokens before words repeat. High is diverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.metric import metric
from sftdiv.diversity.text_set import TextSet
from sftdiv.records import TokenIds

THRESHOLD = 0.72
SHORTEST = 100  # tokens of a text: the shortest range for which McCarthy and Jarvis validated the measure


@metric(
    "mtld",
    {
        "mtld_pooled": "Pooled MTLD (tokens per factor of all texts)",  # first: texts of any length have it
        "mtld": f"MTLD (tokens), mean over texts of {SHORTEST} tokens and more",
    },
    direction="high",
    needs="tokens",
    growth="stays",
    within_texts=True,
    order=9,
)
def _measure(texts: TextSet) -> list[float]:
    return [pooled_mtld(texts.token_ids), mtld(texts.token_ids)]


def mtld(token_ids: TokenIds, *, threshold: float = THRESHOLD, shortest: int = SHORTEST) -> float:
    """Mean over texts of McCarthy and Jarvis' MTLD (2010, doi 10.3758/BRM.42.2.381), each text forward and backward.

    A factor is a run of tokens whose type-token ratio has just fallen below the threshold; the remainder at the end of
    a text counts for ``(1 - ratio) / (1 - threshold)`` of one. MTLD of a text is the mean of its tokens over its
    factors in the two directions. It rises with the length of a text of less than about 100 tokens, for which it was
    not validated; such texts are left out, and so are texts that repeat no token. O(tokens).

    Args:
        token_ids: Token ids of the texts.
        threshold: Type-token ratio below which a factor ends.
        shortest: Tokens of the shortest text that counts.

    Returns:
        A number of at least 1; NaN where no text counts.
    """
    scores = mtld_scores(token_ids, threshold=threshold)
    counted = (token_ids.lengths() >= shortest) & np.isfinite(scores)
    return float(scores[counted].mean()) if counted.any() else float("nan")


def pooled_mtld(token_ids: TokenIds, *, threshold: float = THRESHOLD) -> float:
    """Mean tokens per factor over the set: ``(tokens / factors forward + tokens / factors backward) / 2``.

    Not MTLD as published (``mtld``), of which it takes the factors: tokens and factors are summed over texts before
    they are divided, so that texts of any length count by their tokens, those that repeat no token included. No factor
    runs across the end of a text. For one text the two are equal. O(tokens); it does not depend on the size of the set,
    nor on whether its texts repeat each other.

    Returns:
        A number of at least 1; infinity where no token repeats in any text, NaN where there is no token.
    """
    forward, backward = _factors(token_ids, threshold).sum(axis=1)
    return _mean_length(len(token_ids.flat), float(forward), float(backward))


def mtld_scores(token_ids: TokenIds, *, threshold: float = THRESHOLD) -> NDArray[np.float64]:
    """MTLD of each text, shape (texts,): infinity for a text that repeats no token, NaN for an empty one."""
    forward, backward = _factors(token_ids, threshold).tolist()
    rows = zip(token_ids.lengths().tolist(), forward, backward, strict=True)
    return np.array([_mean_length(*row) for row in rows])


def _factors(token_ids: TokenIds, threshold: float) -> NDArray[np.float64]:
    """Factors of each text, forward and backward, shape (2, texts)."""
    from sftdiv.diversity.kernels.mtld_factors import count_factors

    types = int(token_ids.flat.max(initial=-1)) + 1
    return count_factors(token_ids.flat, token_ids.offsets, threshold, types)


def _mean_length(tokens: int, forward: float, backward: float) -> float:
    if not tokens:
        return float("nan")
    return (tokens / forward + tokens / backward) / 2 if forward and backward else float("inf")
