"""Diversity of the selected examples, and of a random draw of the same size from the same universe beside it.

Without the random draw a number says little: the level sets which unit types may be drawn on, and texts of a corpus
repeat, so that a subset at level 1 may hold fewer distinct instructions than a random draw.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.config.spec import RunSpec
from sftdiv.data.example_table import normalise
from sftdiv.diversity.entropy import entropy
from sftdiv.diversity.registry import describe, describe_at_tokens
from sftdiv.diversity.unit_coverage import unit_coverage
from sftdiv.pipeline.artifacts import versions
from sftdiv.pipeline.axes import axes
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.pipeline.subset_size import response_tokens, total_size, weights_of
from sftdiv.records import SIDES, Selection, Units, Universe
from sftdiv.storage.files import write_atomically
from sftdiv.storage.hashing import array_hash, identity_of
from sftdiv.text.string_columns import is_one_of
from sftdiv.text.words import count_words
from sftdiv.units.encoding import tokenizer_identity

log = logging.getLogger(__name__)
LAYOUT = 1  # of the cached numbers of a random draw: raise it when this module measures other ones
NUMBERS = "numbers.json"
MAX_GAP = 0.025  # of the mean length of the universe: any two levels within it agree within 5 %
RANDOM_DRAW = 1 << 31  # beside the seed: other random numbers than those of the draws of strata


def diversity(spec: RunSpec, artifacts: RunArtifacts, units: Units, selection: Selection) -> dict[str, Any]:
    """Metrics of the selected examples: texts of both sides, distinct texts, units, length, sources, common axes."""
    return _measured(spec, artifacts, units, selection.indices)


def random_diversity(
    spec: RunSpec, artifacts: RunArtifacts, units: Units, universe: Universe, selection: Selection
) -> dict[str, Any]:
    """The same metrics of a uniform draw of the same size from the universe, as ``random``, with its size ``random.n``.

    It is the same for all levels of a ladder and is measured once. Empty where the whole universe is selected.
    """
    if len(selection) == len(universe.indices):
        return {}
    weights = weights_of(spec, artifacts)
    size, seed = total_size(spec, artifacts, weights), spec.seeds.draw
    tokenizer = artifacts.tokenizer
    key = {
        "layout": LAYOUT,
        "universe": array_hash(universe.indices),
        "units": artifacts.data.units_key(spec.strategy),
        "permuted": spec.seeds.ladder if spec.strategy.permuted else None,
        "tokenizer": tokenizer_identity(tokenizer.path, tokenizer.revision),
        "embedder": identity_of(artifacts.data.embedder),
        "metrics": list(spec.metrics),
        "size": [size, array_hash(weights[universe.indices])],
        "seed": seed,
        "versions": versions(*filter(None, [artifacts.data.embedder])),
    }

    def build(folder: Path, _: Path) -> None:
        rows = random_rows(universe, weights, size, rng=np.random.default_rng([seed, RANDOM_DRAW]))
        numbers = {"n": len(rows), **_measured(spec, artifacts, units, rows)}
        write_atomically(folder / NUMBERS, json.dumps(numbers, ensure_ascii=False))

    folder = artifacts.data.keep("random_draw", key, build)
    return {"random": json.loads((folder / NUMBERS).read_text(encoding="utf-8"))}


def random_rows(
    universe: Universe, weights: NDArray[np.float64], size: float, *, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of the universe in random order until their weights reach the size, shape (drawn,)."""
    order = rng.permutation(universe.indices)
    reached = np.cumsum(weights[order])
    return order[: int(np.searchsorted(reached, size - 1e-9)) + 1]


def match_columns(artifacts: RunArtifacts, universe: Universe, selection: Selection) -> dict[str, Any]:
    """What is held fixed: with ``corpus.mix`` the examples of each source, with ``selection.match=length`` lengths.

    The latter are mean response tokens of the subset and the universe, which agree at every level. Where they differ
    by more than `MAX_GAP`, a warning says so: levels then differ in length as well.
    """
    columns: dict[str, Any] = {}
    if mix := artifacts.spec.corpus.mix:
        masks = {source: is_one_of(artifacts.data.strings("source"), [source]) for source in mix}
        rows_of = {"universe": universe.indices, "subset": selection.indices}
        columns["mix"] = {
            source: {name: int(mask[rows].sum()) for name, rows in rows_of.items()} for source, mask in masks.items()
        }
    if "length" not in artifacts.spec.selection.match:
        return columns
    tokens = response_tokens(artifacts)
    subset, whole = (float(tokens[rows].mean()) for rows in (selection.indices, universe.indices))
    if abs(subset - whole) > MAX_GAP * whole:
        log.warning(
            "selection.match=length leaves a difference: the subset's mean response has %.1f tokens, the universe's "
            "%.1f (%+.1f %%); a larger subset or universe lowers it",
            subset,
            whole,
            100 * (subset / whole - 1),
        )
    return {**columns, "match_tokens": {"subset": subset, "universe": whole}}


def counting_columns(artifacts: RunArtifacts, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Identity of the tokenizer of units and metrics, and embedding metadata, including the truncated fraction.

    Args:
        artifacts: Artifacts of the run.
        rows: Rows of the corpus that were measured.
    """
    tokenizer = artifacts.tokenizer
    columns: dict[str, Any] = {"tokenizer": tokenizer_identity(tokenizer.path, artifacts.spec.model.revision)}
    if artifacts.data.embeds:
        columns["embeddings"] = {side: dict(artifacts.data.embeddings_of(side, rows).made_by) for side in SIDES}
    return columns


def _measured(spec: RunSpec, artifacts: RunArtifacts, units: Units, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Metrics of some rows of the corpus."""
    data = artifacts.data
    sides, distinct = {}, {}
    for side in SIDES:
        column, tokens = data.texts(side), data.token_ids(side, artifacts.tokenizer).take(rows)
        texts = [column[row] for row in rows]
        distinct[side] = len({normalise(text) for text in texts})
        sides[side] = describe(
            tokens,
            texts,
            data.embeddings_of(side, rows).vectors if data.embeds else None,
            metrics=spec.metrics,
            rng=np.random.default_rng(spec.seeds.draw),
        )
        sides[side] |= describe_at_tokens(tokens, texts)
    of_rows = units.matrix[rows]
    counts = np.asarray(of_rows.sum(axis=0)).ravel()
    of_units = {
        "types": int(np.count_nonzero(counts)),
        "per_example": of_rows.nnz / len(rows),
        "entropy": entropy(counts),
        "coverage": unit_coverage(of_rows),
    }
    table = data.corpus.table.select(rows)
    words = count_words(table["response"])
    sources = Counter(table["source"])
    shares = {name or "unnamed": count / len(rows) for name, count in sorted(sources.items())}
    return {
        "diversity": {**sides, "units": of_units},
        "subset": {"response_words": float(np.mean(words)), "distinct": distinct, "share": shares},
        "axis": axes(data, rows),
    }
