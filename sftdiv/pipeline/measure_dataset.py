"""One dataset, measured: every number that ``python -m sftdiv.measure`` shows of it, as plain values.

The artifacts of one corpus and flat settings become a nested mapping that JSON holds. Each part (a side, a
kind of near duplicates) is an artifact of its own, so that an interrupted measurement resumes from the
complete parts, and a baseline is measured once for all datasets that are compared with it.
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

from sftdiv.config.spec import StrategySpec
from sftdiv.data.dedup import NearDuplicates, intersect, near_duplicates
from sftdiv.diversity.profile.joined import beginnings, joined_tokens
from sftdiv.diversity.profile.lengths import lengths_of
from sftdiv.diversity.profile.repeated import repeated_runs
from sftdiv.diversity.profile.settings import Matched, Runs
from sftdiv.diversity.profile.texts import ColumnTexts, cut, distinct_rows
from sftdiv.diversity.profile.token_bands import token_bands
from sftdiv.diversity.registry import describe, describe_units
from sftdiv.diversity.size_matched import subset_values
from sftdiv.pipeline.artifacts import CorpusArtifacts
from sftdiv.pipeline.measurement_parts import BOTH, Vectors, cached_part, side_by_name, texts_of, vectors_of
from sftdiv.records import SIDES, ModelRef, SftdivError, TokenIds, Units
from sftdiv.storage.hashing import identity_of
from sftdiv.units.encoding import tokenizer_identity
from sftdiv.units.tokens import TokenUnits, frequencies

GROUPS, TEXTS_A_GROUP, CHARACTERS = 8, 3, 240  # of near duplicates that are shown, and of each text
COMMONEST = 40  # types of each kind of unit that are listed
PAIRS, PAIRED = (
    "homogenisation",
    20_000,
)  # the family that compares pairs, and the texts that they are drawn from at most

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Measurement settings.

    Attributes:
        tokenizer: Tokenizer, or a rule such as ``lexical``; see ``units.encoding``.
        metrics: Families of ``diversity.registry``.
        pair_tokens: Tokens of each text, from its beginning, that homogenisation compares.
        matched: Samples of one size.
        runs: Repeated runs of tokens.
        near: Settings of ``near_duplicates``, or None to leave them out.
        band: Settings of ``TokenUnits``.
        strategies: Units of diversity to extract, each on its side.
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
            size: Examples of a matched sample, at most as many as there are.
            progress: Callback receiving a status message.
        """
        corpus = artifacts.corpus
        sources = Counter(corpus.column("source")).most_common()
        return {
            "fingerprint": corpus.fingerprint,
            "counts": dict(corpus.counts),
            "sources": {name or "unnamed": count for name, count in sources},
            "sides": {side: self._side(artifacts, side, size, progress) for side in (*SIDES, BOTH)},
            "near_duplicates": {} if self.near is None else self._near(artifacts, progress),
            "units": [self._units(artifacts, strategy, size, progress) for strategy in self.strategies],
        }

    def _side(self, artifacts: CorpusArtifacts, side: str, size: int, progress: Progress) -> dict[str, Any]:
        """One side, or both as one text."""
        key = {
            "side": side,
            "tokenizer": tokenizer_identity(self.tokenizer.path, self.tokenizer.revision),
            "embedder": artifacts.embedder and identity_of(artifacts.embedder),
            "metrics": list(self.metrics),
            "pair_tokens": self.pair_tokens,
            "matched": {**asdict(self.matched), "size": size},
            "runs": asdict(self.runs),
            "band": dict(self.band),
            "seed": self.seed,
        }
        return cached_part(artifacts, "side", key, lambda: self._measured(artifacts, side, size, progress))

    def _measured(self, artifacts: CorpusArtifacts, side: str, size: int, progress: Progress) -> dict[str, Any]:
        progress(f"{side}: tokens")
        texts, tokens, vectors = texts_of(artifacts, side), self._tokens(artifacts, side), vectors_of(artifacts, side)
        progress(f"{side}: {len(tokens.flat):,} tokens; metrics of all {len(texts):,} texts")

        def measure(rows: NDArray[np.int64]) -> Mapping[str, float]:
            chosen = None if vectors is None else np.asarray(vectors[rows])
            return self._metrics(tokens.take(rows), [texts[row] for row in rows], chosen)

        metrics = self._metrics(tokens, texts, vectors)
        progress(f"{side}: the same of {self.matched.draws} samples of {size:,}")
        drawn = subset_values(
            measure, len(texts), size=size, repeats=self.matched.draws, rng=np.random.default_rng(self.matched.seed)
        )
        found = {
            "texts": len(texts),
            "tokens": len(tokens.flat),
            "length": lengths_of(tokens.lengths()),
            "metrics": metrics,
            "drawn": {name: values.tolist() for name, values in drawn.items()},
        }
        return found if side == BOTH else found | self._repetition(texts, tokens, side, progress)

    def _metrics(self, tokens: TokenIds, texts: Sequence[str], vectors: Vectors | None) -> dict[str, float]:
        """All metrics; of pairs of texts the beginnings are compared, for whole ones would cost the product of their lengths."""
        found = describe(
            tokens, texts, vectors, metrics=[name for name in self.metrics if name != PAIRS], rng=self._rng()
        )
        if PAIRS not in self.metrics:
            return found
        rng = self._rng()
        few = np.arange(len(texts)) if len(texts) <= PAIRED else np.sort(rng.choice(len(texts), PAIRED, replace=False))
        return found | describe(beginnings(tokens.take(few), self.pair_tokens), (), None, metrics=[PAIRS], rng=rng)

    def _repetition(self, texts: ColumnTexts, tokens: TokenIds, side: str, progress: Progress) -> dict[str, Any]:
        """What is told of one side alone: its token bands, its distinct texts and the runs that they share."""
        progress(f"{side}: token bands and repeated runs")
        finder = TokenUnits(**self.band)
        low, high = finder.bounds(len(tokens.flat) if finder.unit == "occurrences" else len(texts))
        bands = token_bands(frequencies(tokens, finder.unit), tokens.names, low=low, high=high)
        rows = distinct_rows(texts)
        looked_at = self._few(tokens, rows)
        few = max(2, math.ceil(self.runs.min_share * len(looked_at)))
        settings = {"shortest": self.runs.shortest, "longest": self.runs.longest, "top": self.runs.top}
        runs = repeated_runs(tokens.take(looked_at), min_texts=few, **settings)
        listed = [{"tokens": run.tokens, "texts": run.texts, "occurrences": run.occurrences} for run in runs]
        return {
            "bands": bands,
            "distinct": len(rows),
            "repeated": {"texts": len(looked_at), "min_texts": few, "runs": listed},
        }

    def _few(self, tokens: TokenIds, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The distinct texts, or as many drawn at random as hold ``runs.tokens`` tokens."""
        drawn = np.random.default_rng(self.runs.seed).permutation(rows)
        within = np.cumsum(tokens.lengths()[drawn]) <= self.runs.tokens
        return rows if within.all() else np.sort(drawn[: max(int(within.sum()), 1)])

    def _tokens(self, artifacts: CorpusArtifacts, side: str) -> TokenIds:
        if side == BOTH:
            return joined_tokens(*(artifacts.token_ids(one, self.tokenizer) for one in SIDES))
        return artifacts.token_ids(side_by_name(side), self.tokenizer)

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def _near(self, artifacts: CorpusArtifacts, progress: Progress) -> dict[str, Any]:
        """Near duplicates by each side alone, and by both."""
        key = {"near": dict(self.near or {}), "library": version("datasketch")}
        found = cached_part(artifacts, "near_duplicates", key, lambda: self._near_groups(artifacts, progress))
        return {on: found[on] for on in ("pair", *SIDES)}

    def _near_groups(self, artifacts: CorpusArtifacts, progress: Progress) -> dict[str, Any]:
        alike: dict[str, NearDuplicates] = {}
        for side in SIDES:
            progress(f"near duplicates: {side}")
            alike[side] = near_duplicates(texts_of(artifacts, side), **(self.near or {}))
        pair = intersect(alike["instruction"], alike["response"])
        found = {"pair": (pair, BOTH), **{side: (groups, side) for side, groups in alike.items()}}
        return {on: _groups(groups, texts_of(artifacts, side)) for on, (groups, side) in found.items()}

    def _units(
        self, artifacts: CorpusArtifacts, strategy: StrategySpec, size: int, progress: Progress
    ) -> dict[str, Any]:
        """Units of one granularity and side; a corpus that has none is a line of the report, not the end of it."""
        progress(f"units: {strategy.name} of the {strategy.side}")
        named = {"strategy": strategy.name, "side": strategy.side}
        try:
            units = artifacts.units(strategy)
        except SftdivError as error:
            return {**named, "problem": str(error)}
        return {**named, **self._described(units, size)}

    def _described(self, units: Units, size: int) -> dict[str, Any]:
        matrix = units.matrix
        holders = np.bincount(matrix.indices, minlength=matrix.shape[1])
        order = np.lexsort((np.arange(len(holders)), -holders))[:COMMONEST]
        rng = np.random.default_rng(self.matched.seed)
        drawn = subset_values(
            lambda rows: describe_units(matrix[rows]), matrix.shape[0], size=size, repeats=self.matched.draws, rng=rng
        )
        return {
            "types": matrix.shape[1],
            "units": int(matrix.sum()),
            "per_example": matrix.nnz / matrix.shape[0],
            "without": int(np.count_nonzero(np.diff(matrix.indptr) == 0)),
            "entropy": describe_units(matrix)["unit_entropy"],
            "drawn": {
                "unit_types": (drawn["unit_coverage"] * matrix.shape[1]).tolist(),
                "unit_entropy": drawn["unit_entropy"].tolist(),
            },
            "commonest": [{"name": units.names[column], "examples": int(holders[column])} for column in order.tolist()],
            "made_by": dict(units.made_by),
            "record": {name: units.record[name] for name in ("topics", "steps") if name in units.record},
        }


def _groups(found: NearDuplicates, texts: ColumnTexts) -> dict[str, Any]:
    """Counts, and some texts of the largest groups."""
    examples = []
    for members in found.largest(GROUPS):
        shown = dict.fromkeys(cut(texts[row], CHARACTERS) for row in members[:: max(len(members) // 50, 1)].tolist())
        examples.append({"size": len(members), "texts": list(shown)[:TEXTS_A_GROUP]})
    return {**found.counts(), "made_by": dict(found.made_by), "examples": examples}
