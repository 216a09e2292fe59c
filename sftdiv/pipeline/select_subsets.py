"""Selects subsets at several levels without a cell, for ``sftdiv.select`` and ``sftdiv.ladder``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.compute.local_shards import LOCAL
from sftdiv.config.spec import RunSpec
from sftdiv.pipeline import contamination, stages
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.pipeline.subset_diversity import counting_columns, diversity, match_columns, random_diversity
from sftdiv.protocols import ShardExecutor
from sftdiv.storage.cache import Store
from sftdiv.storage.cell import flatten

if TYPE_CHECKING:
    import datasets


def select_levels(
    specs: Sequence[RunSpec], cache: Path, *, compute: ShardExecutor = LOCAL
) -> Iterator[tuple[datasets.Dataset, dict[str, Any]]]:
    """Select at each level of one ladder; corpus, units, universe and ladder are computed once.

    Args:
        specs: Runs that differ only in the level.
        cache: Folder of cached artifacts.
        compute: Does the work on single rows.

    Yields:
        The selected examples in the order drawn, and their columns of a result row.
    """
    first = specs[0]
    artifacts = RunArtifacts(first, Store(cache), compute=compute)
    units = stages.find_units(first, artifacts)
    universe = stages.find_universe(first, artifacts, units)
    corpus = artifacts.data.corpus
    for spec in specs:
        selection = stages.select(spec, artifacts, units, universe)
        columns = {
            **spec.columns(),
            "corpus": {"count": dict(corpus.counts), **contamination.corpus_columns(artifacts.data).get("corpus", {})},
            **contamination.leak_columns(artifacts.data, selection.indices),
            **stages.selection_columns(universe, units, selection),
            **diversity(spec, artifacts, units, selection),
            **random_diversity(spec, artifacts, units, universe, selection),
            **match_columns(artifacts, universe, selection),
            **counting_columns(artifacts, selection.indices),
        }
        yield corpus.table.select(selection.indices), flatten(columns)
