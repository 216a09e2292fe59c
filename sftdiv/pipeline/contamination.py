"""Contamination in a run: what of the corpus and of the subset shares text with scored items, and clean scores."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.config.spec import RunSpec
from sftdiv.data.decontamination import Contamination
from sftdiv.pipeline.artifacts import CorpusArtifacts
from sftdiv.records import Score
from sftdiv.storage.files import write_json

log = logging.getLogger(__name__)
FILE = "contamination.json"
_SHOWN_CHARACTERS = 100


def corpus_columns(artifacts: CorpusArtifacts) -> dict[str, Any]:
    """Columns ``corpus.contaminated.NAME`` (examples), ``contaminated_items.NAME`` and ``benchmark_items.NAME``."""
    contamination = artifacts.contamination
    if contamination is None:
        return {}
    record = contamination.record
    columns = {"contaminated": "examples", "contaminated_items": "touched", "benchmark_items": "items"}
    return {"corpus": {column: {name: record[name][key] for name in record} for column, key in columns.items()}}


def leak_columns(artifacts: CorpusArtifacts, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Columns ``leak.NAME``: number of items of each benchmark that share text with the selected examples.

    Args:
        artifacts: Artifacts of the corpus.
        rows: The selected examples.
    """
    contamination = artifacts.contamination
    if contamination is None:
        return {}
    dropped = artifacts.spec.decontamination.drops  # then the pairs are of examples that are not in the corpus
    touched = contamination.touched(np.empty(0, dtype=np.int64) if dropped else rows)
    return {"leak": {name: len(items) for name, items in touched.items()}}


def clean_score_columns(
    spec: RunSpec, artifacts: CorpusArtifacts, folder: Path, row: Mapping[str, Any]
) -> dict[str, float]:
    """Columns ``score.NAME.clean``: scores on the items that share no text with any example of the corpus.

    With the items of the whole corpus and not of the subset, all levels are scored on the same items.

    Args:
        spec: The run.
        artifacts: Artifacts of its corpus.
        folder: The cell's ``evaluation/`` folder.
        row: The result row with all scores.
    """
    contamination = artifacts.contamination
    if contamination is None or spec.corpus.decontamination.drops:
        return {}
    touched = _touched_by_part(artifacts, contamination)
    scores = {
        name.removeprefix("score."): Score(float(value), float(row.get(f"{name}.stderr", np.nan)))
        for name, value in row.items()
        if name.startswith("score.") and not name.endswith(".stderr")
    }
    clean: dict[str, Score] = {}
    for part in spec.corpus.decontamination.evaluators.values():
        clean |= part.clean_scores(folder, touched, scores)
    return {f"score.{name}": score.value for name, score in clean.items()} | {
        f"score.{name}.stderr": score.stderr for name, score in clean.items()
    }


def _touched_by_part(artifacts: CorpusArtifacts, contamination: Contamination) -> dict[str, frozenset[int]]:
    """Positions of the touched items of every task or source that has any."""
    touched = contamination.touched()
    by_part: dict[str, frozenset[int]] = {}
    for benchmark in artifacts.benchmarks:
        start = 0
        for part, count in benchmark.parts or [(benchmark.name, len(benchmark.texts))]:
            items = touched[benchmark.name]
            within = items[(items >= start) & (items < start + count)] - start
            if len(within):
                by_part[part] = frozenset(within.tolist())
            start += count
    return by_part


def report(artifacts: CorpusArtifacts, folder: Path) -> None:
    """Write ``contamination.json`` (counts by benchmark and source, with some pairs) and log a line per benchmark."""
    contamination = artifacts.contamination
    if contamination is None:
        return
    dropped = artifacts.spec.decontamination.drops
    finder = artifacts.spec.decontamination.finder.identity()
    write_json(folder / FILE, {"action": "drop" if dropped else "report", "finder": finder, **contamination.record})
    for line in sentences(contamination, dropped=dropped):
        log.warning("%s", line)


def sentences(contamination: Contamination, *, dropped: bool) -> list[str]:
    """What was found for each benchmark that has a touched item, with the sources and a few of the pairs."""
    lines = []
    for name, found in contamination.record.items():
        if not found["examples"]:
            continue
        sources = ", ".join(f"{source} {count:,}" for source, count in found["by_source"].items())
        lines.append(
            f"{found['examples']:,} examples share text with {found['touched']:,} of {found['items']:,} items of {name}"
            f" ({sources}); {'dropped' if dropped else 'kept: corpus.decontaminate=drop leaves them out'}"
        )
        lines += [
            f"  {name}, item {pair['item']}: {_cut(pair['item_text'])} | {_cut_pair(pair)}" for pair in found["shown"]
        ]
    return lines


def _cut_pair(pair: Mapping[str, Any]) -> str:
    return f"{pair['source'] or 'unnamed'} {pair['id']}: {_cut(pair['instruction'])}"


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN_CHARACTERS else flat[: _SHOWN_CHARACTERS - 1] + "…"
