"""The stages of one run: universe, selection, fine-tuning; the diversity of a selection is `subset_diversity`'s.

Each stage is a function from the results of earlier stages to its own. Here the specification is unpacked
into flat, typed arguments.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.config.spec import RunSpec
from sftdiv.data.example_table import normalise
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.pipeline.subset_size import response_tokens, total_size, weights_of
from sftdiv.protocols import SelectionProblem
from sftdiv.records import SIDES, ModelRef, Selection, SftdivError, Units, Universe
from sftdiv.selection.by_value import column_as_numbers
from sftdiv.selection.choose import distinct_types
from sftdiv.selection.group_cap import within_cap
from sftdiv.selection.mixture import in_mixture
from sftdiv.selection.placebo import placebo_units
from sftdiv.selection.universe import build_universe, group_share
from sftdiv.storage.file_digests import DamagedFileError
from sftdiv.text.column_texts import ColumnTexts
from sftdiv.text.string_columns import codes_of, digest_column, each, is_one_of, text_digests
from sftdiv.text.words import count_words
from sftdiv.tracking.run_tracker import RunTracker
from sftdiv.training.summary import FILE, read_record, row

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


def find_units(spec: RunSpec, artifacts: RunArtifacts) -> Units:
    """Units of every example; those of a placebo are permuted among similar examples."""
    data = artifacts.data
    _check_values(spec, artifacts)
    units = data.units(spec.strategy)
    if not spec.strategy.permuted:
        return units
    lengths = np.array(count_words(data.texts("response")))
    return placebo_units(units, lengths=lengths, sources=data.strings("source"), seed=spec.seeds.ladder)


def find_universe(spec: RunSpec, artifacts: RunArtifacts, units: Units) -> Universe:
    """Selectable examples and their strata."""
    data, match = artifacts.data, spec.selection.match
    lengths = response_tokens(artifacts) if "length" in match else np.zeros(len(data.corpus), dtype=np.int64)
    excluded = _excluded(spec, artifacts, units)
    scores = _quality_scores(spec, artifacts) if "quality" in match else None
    return build_universe(excluded, lengths=lengths, sources=data.strings("source"), match=match, scores=scores)


def _check_values(spec: RunSpec, artifacts: RunArtifacts) -> None:
    """Reject settings that the values of a column contradict, before units, which may be paid for."""
    rules = spec.selection
    if "quality" in rules.match:
        _quality_scores(spec, artifacts)
    names = codes_of(artifacts.data.strings("source")).names if rules.sources is not None else ()
    sources = set(each(names))
    if unknown := set(map(str, rules.sources or ())) - sources:
        known = ", ".join(sorted(sources - {""})) or "none; their column is named by corpus.source_column=NAME"
        raise SftdivError(f"selection.sources names {', '.join(sorted(unknown))}; the corpus has: {known}")


def _quality_scores(spec: RunSpec, artifacts: RunArtifacts) -> NDArray[np.float64]:
    """The column ``selection.quality`` as numbers, NaN where it is empty, shape (examples,)."""
    name = spec.selection.quality
    assert name is not None  # SelectionSpec requires it for this match
    return column_as_numbers(artifacts.data.corpus.column(name), setting=f"selection.quality={name}")


def select(spec: RunSpec, artifacts: RunArtifacts, units: Units, universe: Universe) -> Selection:
    """Examples selected at the run's level; with ``size=full`` the whole universe."""
    data, size = artifacts.data, spec.selection.size
    weights = weights_of(spec, artifacts)
    problem = SelectionProblem(
        units=units,
        universe=universe,
        level=spec.selection.level,
        size=float(len(universe.indices)) if size.everything else total_size(spec, artifacts, weights),
        examples=None if size.everything else int(size.n),
        weights=weights,
        side=spec.strategy.side,
        seed=spec.seeds.draw,
        ladder_seed=spec.seeds.ladder,
        embeddings=data.embeddings,
        token_ids=lambda side: data.token_ids(side, artifacts.tokenizer),
        column=data.corpus.column,
        keep=artifacts.keep_selection(universe),
        texts=data.texts,
        base=artifacts.base,
        embed=data.embed,
        keep_corpus=data.keep_texts,
    )
    selection = spec.selection.selector.select(problem)
    columns = selection.columns
    levels_coincide = columns.get("k_min", 0) == columns.get("k_max", 1)
    if levels_coincide and spec.selection.level < 1 and units.matrix.shape[1] < len(data.corpus):
        log.warning(
            "k_min = k_max = %d: all levels select from the same pool; reduce the size or selection.slack",
            columns["k_max"],
        )
    return selection


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
    if (record := _finished_training(folder)) is not None:
        return row(record)
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

    if _finished_training(folder) is None:
        data = spec.training.data
        save_untrained(base, folder, template=data.template, prefer_own=data.prefer_own)
    return row(read_record(folder))


def _finished_training(folder: Path) -> dict[str, Any] | None:
    """The record of a finished training whose files are undamaged; a damaged model is named and trained again."""
    if not (folder / FILE).exists():
        return None
    try:
        return read_record(folder)
    except DamagedFileError as error:
        log.warning("%s: the model is trained again", error)
        return None


def _excluded(spec: RunSpec, artifacts: RunArtifacts, units: Units) -> dict[str, NDArray[np.bool_]]:
    """Masks of excluded examples by reason, in the order in which the reasons are counted."""
    rules, data = spec.selection, artifacts.data
    excluded = {**data.untrained, "read_by_base": artifacts.read_by_base}
    if rules.sources is not None:
        excluded["source"] = ~is_one_of(data.strings("source"), set(map(str, rules.sources)))
    if rules.response_tokens is not None:
        shortest, longest = rules.response_tokens
        tokens = response_tokens(artifacts)
        excluded["response_tokens"] = (tokens < shortest) | (tokens > longest)
    if rules.universe_share < 1:
        salt = f"replicate:{spec.seeds.ladder}"
        excluded["universe_share"] = ~group_share(data.strings("group"), rules.universe_share, salt=salt)
    if rules.universe is not None:
        matrix = data.units(rules.universe).matrix
        excluded[f"no_{rules.universe.name}_unit"] = np.diff(matrix.indptr) == 0
    excluded["no_unit"] = np.diff(units.matrix.indptr) == 0
    if rules.max_per_group is not None:
        selectable = ~np.logical_or.reduce(list(excluded.values()))
        sides = {"side": (spec.strategy.side,), "both": SIDES}.get(rules.group_by, (rules.group_by,))
        texts = [normalised_digests(artifacts, side) for side in sides]
        kept = within_cap(texts, data.strings("id"), selectable, rules.max_per_group, seed=spec.seeds.ladder)
        excluded["max_per_group"] = ~kept
    if mix := spec.corpus.mix:
        selectable = ~np.logical_or.reduce(list(excluded.values()))
        sources, ids = data.strings("source"), data.strings("id")
        excluded["mix"] = ~in_mixture(sources, ids, selectable, mix, seed=spec.seeds.ladder)
    return excluded


def normalised_digests(artifacts: RunArtifacts, side: str) -> pa.ChunkedArray:
    """Digest of one side of every example, equal for texts that differ only in case, spacing and Unicode form."""
    texts = ColumnTexts(artifacts.data.strings(side))
    return digest_column(text_digests(map(normalise, texts), len(texts)))
