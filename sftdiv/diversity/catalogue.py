"""What each diversity column is: its title, which way it points, what it is made from and how it moves with the size of the set.

In: nothing. Out: ``CATALOGUE``, by column name, for reports; ``PAPER`` and ``EVERY``, the families
that ``describe`` measures by default and that it knows. A family is measured at once and gives one
or more columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sftdiv.diversity.length import PERCENTILES
from sftdiv.diversity.ngram_counts import ORDER
from sftdiv.records import SftdivError

Diverse = Literal["high", "low", "neither"]
Needs = Literal["tokens", "texts", "embeddings", "reference", "units"]
Growth = Literal["falls", "rises", "stays"]


@dataclass(frozen=True)
class Metric:
    """One column.

    Attributes:
        name: The column.
        family: What ``describe`` is asked for to get it.
        title: For a table or an axis.
        diverse: Which values are diverse: high or low ones, or neither (length).
        needs: What it is made from.
        growth: How it moves with the number of texts drawn from one source; unless it stays, only
            sets of one size compare.
    """

    name: str
    family: str
    title: str
    diverse: Diverse
    needs: Needs
    growth: Growth


VENDI_ORDERS = {"vendi": 1.0, "vendi_tenth": 0.1, "vendi_2": 2.0, "vendi_infinity": float("inf")}
PAPER = ("ngram_ratio", "embedding_distance", "length", "compression_ratio", "self_bleu", "entropy")

_METRICS = (
    Metric("ngram_ratio", "ngram_ratio", f"N-gram ratio, mean of n = 1 to {ORDER}", "high", "tokens", "falls"),
    *(
        Metric(f"ngram_ratio_{n}", "ngram_ratio", f"N-gram ratio, n = {n}", "high", "tokens", "falls")
        for n in range(1, ORDER + 1)
    ),
    Metric("embedding_distance", "embedding_distance", "Mean pairwise cosine distance", "high", "embeddings", "stays"),
    Metric("length", "length", "Mean length (tokens)", "neither", "tokens", "stays"),
    Metric("compression_ratio", "compression_ratio", "Compression ratio (DEFLATE)", "low", "texts", "rises"),
    Metric("self_bleu", "self_bleu", "Self-BLEU", "low", "tokens", "rises"),
    Metric("entropy", "entropy", "Token entropy (bits)", "high", "tokens", "rises"),
    *(Metric(f"distinct_{n}", "distinct", f"Distinct-{n}", "high", "tokens", "falls") for n in range(1, ORDER + 1)),
    *(
        Metric(
            f"length_p{p:02d}", "length_percentiles", f"Length, {p}th percentile (tokens)", "neither", "tokens", "stays"
        )
        for p in PERCENTILES
    ),
    Metric("mtld", "mtld", "MTLD (tokens)", "high", "tokens", "stays"),
    Metric("self_repetition", "self_repetition", "Self-repetition of 4-grams", "low", "tokens", "rises"),
    Metric("homogenisation", "homogenisation", "Homogenisation (ROUGE-L of random pairs)", "low", "tokens", "stays"),
    *(
        Metric(name, "vendi", f"Vendi score, q = {q:g}", "high", "embeddings", "rises")
        for name, q in VENDI_ORDERS.items()
    ),
    Metric("novel_sum", "novel_sum", "NovelSum", "high", "embeddings", "falls"),
    Metric(
        "nearest_neighbour_distance",
        "nearest_neighbour_distance",
        "Nearest-neighbour distance",
        "high",
        "embeddings",
        "falls",
    ),
    Metric("cluster_inertia", "cluster_inertia", "Cluster inertia a text (k-means)", "high", "embeddings", "rises"),
    Metric("radius", "radius", "Radius", "high", "embeddings", "stays"),
    Metric("log_determinant", "log_determinant", "Log-determinant (nats)", "high", "embeddings", "rises"),
    Metric(
        "facility_location",
        "facility_location",
        "Facility-location coverage of the corpus",
        "high",
        "reference",
        "rises",
    ),
    Metric("unit_coverage", "units", "Unit coverage", "high", "units", "rises"),
    Metric("unit_entropy", "units", "Unit entropy (bits)", "high", "units", "rises"),
)
CATALOGUE = {metric.name: metric for metric in _METRICS}
EVERY = tuple(dict.fromkeys(metric.family for metric in _METRICS if metric.needs != "units"))


def metric_families(asked: str | Sequence[str]) -> tuple[str, ...]:
    """The families that a setting asks for: ``paper``, ``all``, or a list of families.

    Raises:
        SftdivError: If one is unknown.
    """
    if isinstance(asked, str):
        asked = {"paper": PAPER, "all": EVERY}.get(asked, (asked,))
    if unknown := [name for name in asked if name not in EVERY]:
        raise SftdivError(
            f"diversity.metrics holds {', '.join(unknown)}. Known: paper, all, or a list of {', '.join(EVERY)}"
        )
    return tuple(asked)
