"""The stages of one run: universe, selection, diversity of the selected examples, fine-tuning.

Each stage is a function from the results of earlier stages to its own. Here the specification is unpacked
into flat, typed arguments.
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
from sftdiv.pipeline.axes import axes
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.protocols import SelectionProblem
from sftdiv.records import SIDES, ModelRef, Selection, SftdivError, Units, Universe
from sftdiv.selection.choose import distinct_types
from sftdiv.selection.group_cap import within_cap
from sftdiv.selection.placebo import placebo_units
from sftdiv.selection.universe import build_universe, group_share
from sftdiv.text.words import count_words
from sftdiv.tracking.run_tracker import RunTracker
from sftdiv.training.summary import FILE, row
from sftdiv.units.encoding import tokenizer_identity

log = logging.getLogger(__name__)


def find_units(spec: RunSpec, artifacts: RunArtifacts) -> Units:
    """Units of every example; those of a placebo are permuted among similar examples."""
    data = artifacts.data
    units = data.units(spec.strategy)
    if not spec.strategy.permuted:
        return units
    lengths = np.array(count_words(data.texts("response")))
    return placebo_units(units, lengths=lengths, sources=data.corpus.column("source"), seed=spec.seeds.ladder)


def find_universe(spec: RunSpec, artifacts: RunArtifacts, units: Units) -> Universe:
    """Selectable examples and their strata."""
    corpus = artifacts.data.corpus
    words = np.array(count_words(artifacts.data.texts("response")))
    excluded = _excluded(spec, artifacts, units)
    return build_universe(excluded, lengths=words, sources=corpus.column("source"), match=spec.selection.match)


def select(spec: RunSpec, artifacts: RunArtifacts, units: Units, universe: Universe) -> Selection:
    """Examples selected at the run's level; with ``size=full`` the whole universe."""
    data, size = artifacts.data, spec.selection.size
    in_examples = size.everything or size.label_tokens is None
    weights = np.ones(len(data.corpus)) if in_examples else _label_tokens(spec, artifacts)
    problem = SelectionProblem(
        units=units,
        universe=universe,
        level=spec.selection.level,
        size=float(len(universe.indices)) if size.everything else _size(spec, artifacts, weights),
        examples=None if size.everything else int(size.n),
        weights=weights,
        side=spec.strategy.side,
        seed=spec.seeds.draw,
        ladder_seed=spec.seeds.ladder,
        embeddings=data.embeddings,
        token_ids=lambda side: data.token_ids(side, artifacts.tokenizer),
        column=data.corpus.column,
        keep=artifacts.keep_selection(universe),
    )
    selection = spec.selection.selector.select(problem)
    columns = selection.columns
    levels_coincide = columns.get("k_min", 0) == columns.get("k_max", 1)
    if levels_coincide and units.matrix.shape[1] < len(data.corpus):
        log.warning(
            "k_min = k_max = %d: all levels select from the same pool; reduce the size or selection.slack",
            columns["k_max"],
        )
    return selection


def diversity(spec: RunSpec, artifacts: RunArtifacts, units: Units, selection: Selection) -> dict[str, Any]:
    """Metrics of the selected examples: texts of both sides, units, length, sources, and the common axes."""
    data, rows = artifacts.data, selection.indices
    sides = {}
    for side in SIDES:
        texts, tokens = data.texts(side), data.token_ids(side, artifacts.tokenizer).take(rows)
        chosen = [texts[row] for row in rows]
        vectors = data.embeddings(side)[rows] if data.embeds else None
        rng = np.random.default_rng(spec.seeds.draw)
        sides[side] = describe(tokens, chosen, vectors, metrics=spec.metrics, rng=rng)
        sides[side] |= describe_at_tokens(tokens, chosen)
    selected_units = units.matrix[rows]
    counts = np.asarray(selected_units.sum(axis=0)).ravel()
    of_units = {
        "types": int(np.count_nonzero(counts)),
        "per_example": selected_units.nnz / len(rows),
        "entropy": entropy(counts),
        "coverage": unit_coverage(selected_units),
    }
    table = data.corpus.table.select(rows)
    words = count_words(table["response"])
    sources = Counter(table["source"])
    shares = {name or "unnamed": count / len(rows) for name, count in sorted(sources.items())}
    distinct = {side: len({normalise(text) for text in table[side]}) for side in SIDES}
    return {
        "diversity": {**sides, "units": of_units},
        "subset": {"response_words": float(np.mean(words)), "distinct": distinct, "share": shares},
        "axis": axes(data, rows),
    }


def selection_columns(universe: Universe, units: Units, selection: Selection) -> dict[str, Any]:
    """The subset's size, the selector's own columns, the universe and the units as columns of the row.

    ``types.universe`` and ``types.subset`` count distinct unit types, and ``types.share`` is the share of the
    universe's types that the subset holds. They mean the same for every selector and every ``selection.match``, unlike
    the ladder's ``k``, which is summed over strata.
    """
    in_universe, in_subset = (distinct_types(units, rows) for rows in (universe.indices, selection.indices))
    return {
        "n": len(selection),
        **selection.columns,
        "types": {"universe": in_universe, "subset": in_subset, "share": in_subset / in_universe},
        "universe": len(universe.indices),
        "left_out": dict(universe.counts),
        "units": dict(units.made_by),
    }


def counting_columns(artifacts: RunArtifacts) -> dict[str, Any]:
    """Identity of the tokenizer of units and metrics, and embedding metadata, including the truncated fraction."""
    tokenizer = artifacts.tokenizer
    columns: dict[str, Any] = {"tokenizer": tokenizer_identity(tokenizer.path, artifacts.spec.model.revision)}
    if artifacts.data.embeds:
        columns["embeddings"] = {side: dict(artifacts.data.embedding_record(side).made_by) for side in SIDES}
    return columns


def train(
    spec: RunSpec,
    artifacts: RunArtifacts,
    selection: Selection,
    base: ModelRef,
    folder: Path,
    tracker: RunTracker,
) -> dict[str, Any]:
    """Fine-tune the base model on the selected examples, unless an interrupted run has finished the training.

    Returns:
        Columns of the training.
    """
    record_path = folder / FILE
    if record_path.exists():
        return row(json.loads(record_path.read_text(encoding="utf-8")))
    from sftdiv.training.distributed.launch import launch

    table = artifacts.data.corpus.table.select(selection.indices)
    record = launch(
        base,
        table["messages"][:],
        table["id"][:],
        folder,
        groups=table["group"][:],
        config=artifacts.training,
        seed=spec.seeds.train,
        tracker=tracker,
    )
    return row(record)


def export_base_model(spec: RunSpec, base: ModelRef, folder: Path) -> dict[str, Any]:
    """Write the base model in the same format as a fine-tuned one, so that both are evaluated alike.

    Returns:
        Columns of a training with no steps.
    """
    from sftdiv.training.fine_tune import save_untrained

    if not (folder / FILE).exists():
        data = spec.training.data
        save_untrained(base, folder, template=data.template, prefer_own=data.prefer_own)
    return row(json.loads((folder / FILE).read_text(encoding="utf-8")))


def _excluded(spec: RunSpec, artifacts: RunArtifacts, units: Units) -> dict[str, NDArray[np.bool_]]:
    """Masks of excluded examples by reason, in the order in which the reasons are counted."""
    rules, corpus = spec.selection, artifacts.data.corpus
    excluded = {"heldout": np.array(corpus.column("heldout")), "read_by_base": artifacts.read_by_base}
    if rules.sources is not None:
        sources = corpus.column("source")
        if unknown := set(rules.sources) - set(sources):
            known = ", ".join(sorted(set(sources)))
            raise SftdivError(f"selection.sources names {', '.join(sorted(unknown))}; the corpus has: {known}")
        excluded["source"] = np.array([source not in rules.sources for source in sources])
    if rules.response_tokens is not None:
        shortest, longest = rules.response_tokens
        tokens = _response_tokens(artifacts)
        excluded["response_tokens"] = (tokens < shortest) | (tokens > longest)
    if rules.universe_share < 1:
        salt = f"replicate:{spec.seeds.ladder}"
        excluded["universe_share"] = ~group_share(corpus.column("group"), rules.universe_share, salt=salt)
    if rules.universe is not None:
        matrix = artifacts.data.units(rules.universe).matrix
        excluded[f"no_{rules.universe.name}_unit"] = np.diff(matrix.indptr) == 0
    excluded["no_unit"] = np.diff(units.matrix.indptr) == 0
    if rules.max_per_group is not None:
        selectable = ~np.logical_or.reduce(list(excluded.values()))
        sides = {"side": (spec.strategy.side,), "both": SIDES}.get(rules.group_by, (rules.group_by,))
        texts = [distinct_texts(artifacts, side) for side in sides]
        kept = within_cap(texts, corpus.column("id"), selectable, rules.max_per_group, seed=spec.seeds.ladder)
        excluded["max_per_group"] = ~kept
    return excluded


def distinct_texts(artifacts: RunArtifacts, side: str) -> list[str]:
    """One side of every example, equal for texts that differ only in case, spacing and Unicode form."""
    if side == "instruction":
        return artifacts.data.corpus.column("group")
    return [normalise(text) for text in artifacts.data.texts("response")]


def _response_tokens(artifacts: RunArtifacts) -> NDArray[np.int64]:
    """Number of tokens of each response under the model's tokenizer, shape (examples,)."""
    return artifacts.data.token_ids("response", artifacts.tokenizer).lengths()


def _size(spec: RunSpec, artifacts: RunArtifacts, weights: NDArray[np.float64]) -> float:
    """Size at which drawing stops, in examples or label tokens; with ``auto``, the label tokens of n average examples.

    The average is over all examples that may be trained on, so that it is the same for all strategies, sides and
    levels.
    """
    size = spec.selection.size
    if size.label_tokens != "auto":
        return float(size.n if size.label_tokens is None else size.label_tokens)
    selectable = ~(np.array(artifacts.data.corpus.column("heldout")) | artifacts.read_by_base)
    return float(round(int(size.n) * weights[selectable].mean()))


def _label_tokens(spec: RunSpec, artifacts: RunArtifacts) -> NDArray[np.float64]:
    """Number of label tokens of each response, end token included, up to the maximum length; shape (examples,)."""
    return np.minimum(_response_tokens(artifacts) + 1, spec.model.max_length).astype(np.float64)
