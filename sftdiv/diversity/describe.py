"""Diversity metrics of one side of a set, as one flat dict: the paper's six unless more are asked for.

In: token ids, texts and embeddings. Out: column name to value; ``catalogue`` says what each column
is and which way it points. No metric depends on the order of the texts; most depend on their number
(see ``size_matched``). The trade: n-grams are counted once for all that is made of them, and what
compares all pairs of vectors, or clusters them, sees at most ``most`` texts, drawn without
replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from sftdiv.diversity.catalogue import EVERY, PAPER, VENDI_ORDERS
from sftdiv.diversity.cluster_inertia import cluster_inertia
from sftdiv.diversity.compression_ratio import compression_ratio
from sftdiv.diversity.distinct_n import distinct_n
from sftdiv.diversity.embedding_distance import embedding_distance
from sftdiv.diversity.entropy import token_entropy
from sftdiv.diversity.facility_location import facility_location
from sftdiv.diversity.homogenisation import homogenisation
from sftdiv.diversity.length import PERCENTILES, length_percentiles, mean_length
from sftdiv.diversity.log_determinant import log_determinant
from sftdiv.diversity.mtld import mtld
from sftdiv.diversity.nearest_neighbour import nearest_neighbour_distance
from sftdiv.diversity.ngram_counts import NgramCounts, count_ngrams
from sftdiv.diversity.ngram_ratio import ngram_ratios
from sftdiv.diversity.novel_sum import novel_sum
from sftdiv.diversity.radius import radius
from sftdiv.diversity.self_bleu import self_bleu
from sftdiv.diversity.self_repetition import self_repetition
from sftdiv.diversity.unit_coverage import unit_coverage, unit_entropy
from sftdiv.diversity.vendi import vendi_scores
from sftdiv.records import SftdivError, TokenIds


def describe(
    token_ids: TokenIds,
    texts: Sequence[str],
    embeddings: NDArray[np.float32] | None,
    *,
    metrics: Sequence[str] = PAPER,
    reference: NDArray[np.float32] | None = None,
    rng: np.random.Generator | None = None,
    most: int = 10_000,
) -> dict[str, float]:
    """Measure the diversity of a set of texts.

    Args:
        token_ids: Their token ids.
        texts: The texts themselves, as many as there are in ``token_ids``.
        embeddings: Their row-normalised embeddings, shape (texts, dimensions), or None to leave out
            what is made of them.
        metrics: Families of ``catalogue.EVERY``.
        reference: Embeddings of the corpus that the set is taken from, for facility location (left
            out without) and NovelSum's density.
        rng: Draws the pairs of texts for homogenisation, and the texts where they are more than ``most``.
        most: Texts that NovelSum, nearest-neighbour distance, facility location and cluster inertia see.

    Returns:
        Column name to value, in the order asked for; NaN where a set is too small for a metric (see each).

    Raises:
        SftdivError: If a metric is unknown, or one needs ``rng`` and there is none.
    """
    unknown = [name for name in metrics if name not in _FAMILIES]
    if unknown:
        raise SftdivError(f"unknown diversity metrics {', '.join(unknown)}. Known: {', '.join(EVERY)}")
    held = _Held(token_ids, texts, embeddings, reference, rng, most)
    columns: dict[str, float] = {}
    for name in metrics:
        columns |= _FAMILIES[name](held)
    return columns


def describe_units(matrix: scipy.sparse.csr_array, *, types: int | None = None) -> dict[str, float]:
    """Coverage and entropy of the units that a set's examples hold; see ``unit_coverage``."""
    return {"unit_coverage": unit_coverage(matrix, types=types), "unit_entropy": unit_entropy(matrix)}


@dataclass(frozen=True)
class _Held:
    """What the metrics of one set are made from, and what several of them share."""

    token_ids: TokenIds
    texts: Sequence[str]
    embeddings: NDArray[np.float32] | None
    reference: NDArray[np.float32] | None
    rng: np.random.Generator | None
    most: int

    @cached_property
    def counts(self) -> NgramCounts:
        return count_ngrams(self.token_ids)

    @cached_property
    def few(self) -> NDArray[np.float32]:
        """The embeddings, or those of ``most`` texts where there are more."""
        assert self.embeddings is not None
        if len(self.embeddings) <= self.most:
            return self.embeddings
        return self.embeddings[np.sort(self.generator.choice(len(self.embeddings), self.most, replace=False))]

    @property
    def generator(self) -> np.random.Generator:
        if self.rng is None:
            raise SftdivError(
                f"homogenisation, and metrics over all pairs of more than {self.most:,} texts, draw at random and need rng"
            )
        return self.rng


def _ngram_ratio(held: _Held) -> dict[str, float]:
    ratios = ngram_ratios(held.token_ids, counts=held.counts)
    return {
        "ngram_ratio": float(np.mean(ratios)),
        **{f"ngram_ratio_{n}": ratio for n, ratio in enumerate(ratios, start=1)},
    }


def _distinct(held: _Held) -> dict[str, float]:
    return {f"distinct_{n}": value for n, value in enumerate(distinct_n(held.token_ids, counts=held.counts), start=1)}


def _length_percentiles(held: _Held) -> dict[str, float]:
    return {f"length_p{p:02d}": value for p, value in zip(PERCENTILES, length_percentiles(held.token_ids), strict=True)}


def _of_vectors(
    name: str, metric: Callable[[_Held, NDArray[np.float32]], float]
) -> Callable[[_Held], dict[str, float]]:
    """A metric of the embeddings, which is left out where there are none."""
    return lambda held: {} if held.embeddings is None else {name: metric(held, held.embeddings)}


def _vendi(held: _Held) -> dict[str, float]:
    if held.embeddings is None:
        return {}
    return dict(zip(VENDI_ORDERS, vendi_scores(held.embeddings, orders=tuple(VENDI_ORDERS.values())), strict=True))


def _facility_location(held: _Held) -> dict[str, float]:
    if held.embeddings is None or held.reference is None:
        return {}
    return {"facility_location": facility_location(held.few, held.reference)}


_FAMILIES: Mapping[str, Callable[[_Held], dict[str, float]]] = {
    "ngram_ratio": _ngram_ratio,
    "embedding_distance": _of_vectors("embedding_distance", lambda held, vectors: embedding_distance(vectors)),
    "length": lambda held: {"length": mean_length(held.token_ids)},
    "compression_ratio": lambda held: {"compression_ratio": compression_ratio(held.texts)},
    "self_bleu": lambda held: {"self_bleu": self_bleu(held.token_ids, counts=held.counts)},
    "entropy": lambda held: {"entropy": token_entropy(held.token_ids)},
    "distinct": _distinct,
    "length_percentiles": _length_percentiles,
    "mtld": lambda held: {"mtld": mtld(held.token_ids)},
    "self_repetition": lambda held: {"self_repetition": self_repetition(held.token_ids, counts=held.counts)},
    "homogenisation": lambda held: {"homogenisation": homogenisation(held.token_ids, held.generator)},
    "vendi": _vendi,
    "novel_sum": _of_vectors("novel_sum", lambda held, vectors: novel_sum(held.few, held.reference)),
    "nearest_neighbour_distance": _of_vectors(
        "nearest_neighbour_distance", lambda held, vectors: nearest_neighbour_distance(held.few)
    ),
    "cluster_inertia": _of_vectors("cluster_inertia", lambda held, vectors: cluster_inertia(held.few)),
    "radius": _of_vectors("radius", lambda held, vectors: radius(vectors)),
    "log_determinant": _of_vectors("log_determinant", lambda held, vectors: log_determinant(vectors)),
    "facility_location": _facility_location,
}
