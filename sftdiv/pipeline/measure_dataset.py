"""Measures one dataset: all numbers of ``python -m sftdiv.measure`` as plain values.

The artifacts of one corpus and flat settings become a nested mapping for JSON. Each part (a side, the near
duplicates) is cached separately, so that an interrupted measurement resumes from its complete parts, and a
baseline is measured once for all datasets that are compared with it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.config.names import in_terms_of_measure
from sftdiv.config.spec import StrategySpec
from sftdiv.data.corpus_preview import first_examples
from sftdiv.data.dedup import NearDuplicates, intersect, near_duplicates
from sftdiv.diversity.profile.joined import beginnings, joined_tokens
from sftdiv.diversity.profile.lengths import lengths_of
from sftdiv.diversity.profile.repeated import repeated_runs
from sftdiv.diversity.profile.settings import Matched, Runs
from sftdiv.diversity.profile.texts import cut, distinct_rows
from sftdiv.diversity.profile.token_bands import token_bands
from sftdiv.diversity.registry import describe, describe_at_tokens, describe_units, metrics_identity
from sftdiv.diversity.size_matched import subset_values
from sftdiv.pipeline.artifacts import CorpusArtifacts
from sftdiv.pipeline.measurement_parts import BOTH, Vectors, cached_part, side_by_name, texts_of, vectors_of
from sftdiv.records import SIDES, ModelRef, SftdivError, TokenIds, Units
from sftdiv.storage.hashing import identity_of
from sftdiv.storage.progress_bar import progress_bar
from sftdiv.text.column_texts import ColumnTexts
from sftdiv.units.encoding import tokenizer_identity
from sftdiv.units.tokens import TokenUnits, frequencies

SHOWN_GROUPS, TEXTS_PER_GROUP, SHOWN_CHARACTERS = 8, 3, 240  # listed near duplicates, and the length of their texts
SHOWN_TYPES = 40  # listed types of each kind of unit
PAIRWISE = "homogenisation"  # the family that compares pairs of texts
PAIRWISE_TEXTS = 20_000  # maximum number of texts that pairs are drawn from

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Measurement settings.

    Attributes:
        tokenizer: Tokenizer, or a rule such as ``lexical``; see ``units.encoding``.
        metrics: Families of ``diversity.registry``.
        pair_tokens: Number of leading tokens of each text that homogenisation compares.
        matched: Settings of equally sized samples.
        runs: Settings of repeated token runs.
        near: Settings of ``near_duplicates``; None skips them.
        band: Settings of ``TokenUnits``.
        strategies: Units of diversity to extract, each with its side.
        seed: Seed of metrics that draw at random.
    """

    tokenizer: ModelRef
    metrics: Sequence[str]
    pair_tokens: int
    matched: Matched
    runs: Runs
    near: Mapping[str, Any] | None
    band: Mapping[str, Any]
    strategies: Sequence[StrategySpec]
    seed: int

    def measure(self, artifacts: CorpusArtifacts, *, size: int, progress: Progress) -> dict[str, Any]:
        """Measure one dataset.

        Args:
            artifacts: Artifacts of its corpus.
            size: Number of examples of a matched sample; at most that of the corpus.
            progress: Callback receiving a status message.
        """
        corpus = artifacts.corpus
        sources = Counter(corpus.column("source")).most_common()
        contamination = artifacts.contamination
        return {
            "fingerprint": corpus.fingerprint,
            "counts": dict(corpus.counts),
            "first_examples": first_examples(corpus),
            "sources": {name or "unnamed": count for name, count in sources},
            "sides": {side: self._side(artifacts, side, size, progress) for side in (*SIDES, BOTH)},
            "contamination": {} if contamination is None else dict(contamination.record),
            "near_duplicates": {} if self.near is None else self._near(artifacts, progress),
            "units": [self._units(artifacts, strategy, size, progress) for strategy in self.strategies],
        }

    def _side(self, artifacts: CorpusArtifacts, side: str, size: int, progress: Progress) -> dict[str, Any]:
        """Numbers of one side, or of both sides joined, cached."""
        key = {
            "side": side,
            "tokenizer": tokenizer_identity(self.tokenizer.path, self.tokenizer.revision),
            "embedder": artifacts.embedder and identity_of(artifacts.embedder),
            "metrics": metrics_identity(self.metrics),
            "pair_tokens": self.pair_tokens,
            "matched": {**asdict(self.matched), "size": size},
            "runs": asdict(self.runs),
            "band": dict(self.band),
            "seed": self.seed,
        }
        return cached_part(artifacts, "side", key, lambda: self._measure_side(artifacts, side, size, progress))

    def _measure_side(self, artifacts: CorpusArtifacts, side: str, size: int, progress: Progress) -> dict[str, Any]:
        progress(f"{side}: tokens")
        texts, tokens, vectors = texts_of(artifacts, side), self._tokens(artifacts, side), vectors_of(artifacts, side)
        progress(f"{side}: {len(tokens.flat):,} tokens; metrics of all {len(texts):,} texts")

        def measure_sample(rows: NDArray[np.int64]) -> Mapping[str, float]:
            sample_vectors = None if vectors is None else np.asarray(vectors[rows])
            values = self._metrics(tokens.take(rows), [texts[row] for row in rows], sample_vectors)
            advance()
            return values

        metrics = self._metrics(tokens, texts, vectors)
        progress(f"{side}: metrics of {self.matched.draws} samples of {size:,}")
        rng = np.random.default_rng(self.matched.seed)
        with progress_bar(f"{side}: metrics", self.matched.draws, unit="samples") as advance:
            sampled = subset_values(measure_sample, len(texts), size=size, repeats=self.matched.draws, rng=rng)
        numbers = {
            "texts": len(texts),
            "tokens": len(tokens.flat),
            "length": lengths_of(tokens.lengths()),
            "metrics": metrics,
            "drawn": {name: values.tolist() for name, values in sampled.items()},
        }
        return numbers if side == BOTH else numbers | self._repetition(texts, tokens, side, progress)

    def _metrics(self, tokens: TokenIds, texts: Sequence[str], vectors: Vectors | None) -> dict[str, float]:
        """All metrics of some texts.

        Pairwise metrics compare only the beginnings of texts, since the cost is the product of the lengths.
        """
        others = [name for name in self.metrics if name != PAIRWISE]
        values = describe(tokens, texts, vectors, metrics=others, rng=self._rng()) | describe_at_tokens(tokens, texts)
        if PAIRWISE not in self.metrics:
            return values
        rng = self._rng()
        rows = np.arange(len(texts))
        if len(texts) > PAIRWISE_TEXTS:
            rows = np.sort(rng.choice(len(texts), PAIRWISE_TEXTS, replace=False))
        compared = beginnings(tokens.take(rows), self.pair_tokens)
        return values | describe(compared, (), None, metrics=[PAIRWISE], rng=rng)

    def _repetition(self, texts: ColumnTexts, tokens: TokenIds, side: str, progress: Progress) -> dict[str, Any]:
        """Token bands, number of distinct texts, and repeated token runs of one side."""
        progress(f"{side}: token bands and repeated runs")
        extractor = TokenUnits(**self.band)
        low, high = extractor.bounds(len(tokens.flat) if extractor.unit == "occurrences" else len(texts))
        counts, occurrences = frequencies(tokens, extractor.unit), frequencies(tokens, "occurrences")
        bands = token_bands(counts, tokens.names, low=low, high=high, occurrences=occurrences)
        bands["unit"] = extractor.unit
        rows, counts = distinct_rows(texts)
        searched = self._sample_rows(tokens, rows)
        min_texts = max(2, math.ceil(self.runs.min_share * len(searched)))
        settings = {"shortest": self.runs.shortest, "longest": self.runs.longest, "top": self.runs.top}
        runs = repeated_runs(tokens.take(searched), min_texts=min_texts, **settings)
        run_rows = [{"tokens": run.tokens, "texts": run.texts, "occurrences": run.occurrences} for run in runs]
        return {
            "bands": bands,
            "distinct": len(rows),
            "sharing": int(counts[counts > 1].sum()),  # texts that occur more than once, the first one included
            "repeated": {"texts": len(searched), "min_texts": min_texts, "runs": run_rows},
        }

    def _sample_rows(self, tokens: TokenIds, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """All rows, or a random sample of them with at most ``runs.tokens`` tokens in all."""
        shuffled = np.random.default_rng(self.runs.seed).permutation(rows)
        within_budget = np.cumsum(tokens.lengths()[shuffled]) <= self.runs.tokens
        return rows if within_budget.all() else np.sort(shuffled[: max(int(within_budget.sum()), 1)])

    def _tokens(self, artifacts: CorpusArtifacts, side: str) -> TokenIds:
        if side == BOTH:
            return joined_tokens(*(artifacts.token_ids(name, self.tokenizer) for name in SIDES))
        return artifacts.token_ids(side_by_name(side), self.tokenizer)

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def _near(self, artifacts: CorpusArtifacts, progress: Progress) -> dict[str, Any]:
        """Near duplicates of each side, and of both sides at once (``pair``), cached."""
        key = {"near": dict(self.near or {}), "library": version("datasketch")}
        groups = cached_part(artifacts, "near_duplicates", key, lambda: self._near_groups(artifacts, progress))
        return {name: groups[name] for name in ("pair", *SIDES)}

    def _near_groups(self, artifacts: CorpusArtifacts, progress: Progress) -> dict[str, Any]:
        duplicates: dict[str, NearDuplicates] = {}
        for side in SIDES:
            progress(f"near duplicates: {side}")
            duplicates[side] = near_duplicates(texts_of(artifacts, side), **(self.near or {}))
        pair = intersect(duplicates["instruction"], duplicates["response"])
        summaries = {"pair": _summarize(pair, texts_of(artifacts, BOTH))}
        for side in SIDES:
            summaries[side] = _summarize(duplicates[side], texts_of(artifacts, side))
        return summaries

    def _units(
        self, artifacts: CorpusArtifacts, strategy: StrategySpec, size: int, progress: Progress
    ) -> dict[str, Any]:
        """Numbers of one strategy on its side. An extraction error is reported in ``problem`` and stops nothing."""
        progress(f"units: {strategy.name} of the {strategy.side}")
        identifying = {"strategy": strategy.name, "side": strategy.side}
        try:
            units = artifacts.units(strategy)
        except SftdivError as error:
            return {**identifying, "problem": in_terms_of_measure(str(error), strategy.name)}
        return {**identifying, **self._describe_units(units, size)}

    def _describe_units(self, units: Units, size: int) -> dict[str, Any]:
        matrix = units.matrix
        holders = np.bincount(matrix.indices, minlength=matrix.shape[1])
        order = np.lexsort((np.arange(len(holders)), -holders))[:SHOWN_TYPES]
        rng = np.random.default_rng(self.matched.seed)
        sampled = subset_values(
            lambda rows: describe_units(matrix[rows]), matrix.shape[0], size=size, repeats=self.matched.draws, rng=rng
        )
        return {
            "types": matrix.shape[1],
            "units": int(matrix.sum()),
            "per_example": matrix.nnz / matrix.shape[0],
            "without": int(np.count_nonzero(np.diff(matrix.indptr) == 0)),
            "entropy": describe_units(matrix)["unit_entropy"],
            "drawn": {
                "unit_types": (sampled["unit_coverage"] * matrix.shape[1]).tolist(),
                "unit_entropy": sampled["unit_entropy"].tolist(),
            },
            "commonest": [{"name": units.names[column], "examples": int(holders[column])} for column in order.tolist()],
            "made_by": dict(units.made_by),
            "record": {name: units.record[name] for name in ("topics", "steps") if name in units.record},
        }


def _summarize(duplicates: NearDuplicates, texts: ColumnTexts) -> dict[str, Any]:
    """Counts, and some texts of the largest groups."""
    examples = []
    for members in duplicates.largest(SHOWN_GROUPS):
        rows = members[:: max(len(members) // 50, 1)].tolist()
        distinct = dict.fromkeys(cut(texts[row], SHOWN_CHARACTERS) for row in rows)
        examples.append({"size": len(members), "texts": list(distinct)[:TEXTS_PER_GROUP]})
    return {**duplicates.counts(), "made_by": dict(duplicates.made_by), "examples": examples}
