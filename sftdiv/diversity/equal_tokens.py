"""Token metrics at an equal number of tokens, beside those of the whole set: ``NAME_at_tokens``.

Entropy, n-gram ratios, compression and self-repetition change with the number of tokens, whatever the diversity: of two
sets of equally many texts, that with the longer texts has more tokens. Here each metric is measured on random texts of
the set that together hold ``TOKENS`` tokens, and averaged over ``DRAWS`` such samples. This is rarefaction by whole
texts (sample-based: Gotelli and Colwell 2001, doi 10.1046/j.1461-0248.2001.00230.x; Hurlbert 1971, doi
10.2307/1934145). Drawing single tokens would have a closed form and destroy the n-grams, and it would not compare sets
of long and short texts: the tokens of one text are about one subject, so that a thousand tokens of one text hold fewer
types than a thousand tokens of fifty. Long texts therefore pay here for what they repeat, in place of gaining from
their number of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.compression_ratio import compression_ratio
from sftdiv.diversity.distinct_n import distinct_n
from sftdiv.diversity.entropy import token_entropy
from sftdiv.diversity.metric import Direction, metric
from sftdiv.diversity.mtld import pooled_mtld
from sftdiv.diversity.ngram_counts import count_ngrams
from sftdiv.diversity.ngram_ratio import ngram_ratios
from sftdiv.diversity.self_repetition import self_repetition
from sftdiv.diversity.text_set import TextSet
from sftdiv.records import TokenIds
from sftdiv.text.string_columns import digest_order, text_digests

TOKENS = 10_000  # per sample: held by 500 responses of 20 tokens as well as by 10,000 responses of 250
DRAWS = 16  # samples; with them the mean entropy varies by about 0.01 bit over seeds
SEED = 0
COLUMNS: dict[str, tuple[str, Direction]] = {
    "entropy": ("Token entropy (bits)", "high"),
    "ngram_ratio": ("N-gram ratio, mean of n = 1 to 4", "high"),
    "distinct_1": ("Distinct-1", "high"),
    "distinct_2": ("Distinct-2", "high"),
    "compression_ratio": ("Compression ratio (DEFLATE)", "low"),
    "self_repetition": ("Self-repetition of 4-grams", "low"),
    "mtld_pooled": ("Pooled MTLD (tokens per factor)", "high"),
}


@metric(
    "equal_tokens",
    {f"{name}_at_tokens": f"{title}, at {TOKENS:,} tokens" for name, (title, _) in COLUMNS.items()},
    details=[f"{name}_at_tokens" for name in COLUMNS],
    direction={f"{name}_at_tokens": direction for name, (_, direction) in COLUMNS.items()},
    needs="samples",
    growth="stays",
    order=20,
)
def _measure(texts: TextSet) -> list[float]:
    return list(metrics_at_tokens(texts.token_ids, texts.texts).values())


def metrics_at_tokens(
    token_ids: TokenIds, texts: Sequence[str], *, tokens: int = TOKENS, draws: int = DRAWS
) -> dict[str, float]:
    """Each metric of ``COLUMNS``, averaged over samples of ``tokens`` tokens.

    Texts are drawn without replacement until a sample is full; the last one is cut. The draw depends on the texts and
    not on their order. O(draws x tokens), and a hash of every text.

    Args:
        token_ids: Token ids of the texts.
        texts: The texts.
        tokens: Tokens per sample.
        draws: Number of samples.

    Returns:
        Metric to its mean; NaN for all where the set holds fewer than ``tokens`` tokens.
    """
    if len(token_ids.flat) < tokens:
        return dict.fromkeys(COLUMNS, float("nan"))
    values = [_metrics(sample, cut) for sample, cut in _samples(token_ids, texts, tokens, draws)]
    return dict(zip(COLUMNS, np.mean(values, axis=0).tolist(), strict=True))


def _metrics(token_ids: TokenIds, texts: Sequence[str]) -> list[float]:
    """The metrics of one sample, in the order of ``COLUMNS``."""
    counts = count_ngrams(token_ids)
    distinct = distinct_n(token_ids, counts=counts)
    return [
        token_entropy(token_ids),
        float(np.mean(ngram_ratios(token_ids, counts=counts))),
        distinct[0],
        distinct[1],
        compression_ratio(texts),
        self_repetition(token_ids, counts=counts),
        pooled_mtld(token_ids),
    ]


def _samples(
    token_ids: TokenIds, texts: Sequence[str], tokens: int, draws: int
) -> Iterator[tuple[TokenIds, list[str]]]:
    """Samples of exactly ``tokens`` tokens as token ids and texts; the last text is cut by its share of tokens kept."""
    lengths = token_ids.lengths()
    canonical = digest_order(text_digests(texts, len(texts)))  # equal texts are interchangeable
    canonical = canonical[lengths[canonical] > 0]
    rng = np.random.default_rng(SEED)
    for _ in range(draws):
        rows = _first_of_permutation(canonical, lengths, tokens, rng)
        sample = token_ids.take(rows)
        excess = len(sample.flat) - tokens
        offsets = sample.offsets.copy()
        offsets[-1] -= excess
        kept = 1 - excess / int(lengths[rows[-1]])
        chosen = [texts[row] for row in rows.tolist()]
        chosen[-1] = chosen[-1][: round(kept * len(chosen[-1]))]
        yield TokenIds(sample.flat[:tokens], offsets, sample.names), chosen


def _first_of_permutation(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], tokens: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The first rows of a random permutation that together hold at least ``tokens`` tokens."""
    permuted = rng.permutation(rows)
    return permuted[: int(np.searchsorted(np.cumsum(lengths[permuted]), tokens)) + 1]
