"""Measures a dataset, alone or compared with a baseline.

A ``Survey`` and the artifacts of each dataset become the numbers of ``measure.json``. Units are extracted
from each dataset separately, so that those of a baseline are extracted once for all datasets. The share of
types that both datasets have is reported beside them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import eq
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

import sftdiv
from sftdiv.config.measurement import MeasureRequest
from sftdiv.config.names import in_terms_of_measure
from sftdiv.config.spec import StrategySpec
from sftdiv.data.build_corpus import rejected_file
from sftdiv.data.corpus_preview import first_examples, preview_lines
from sftdiv.diversity.profile.comparison import compare
from sftdiv.diversity.profile.settings import LAYOUT
from sftdiv.diversity.registry import METRICS
from sftdiv.pipeline.artifacts import CorpusArtifacts
from sftdiv.pipeline.measure_dataset import Progress, Survey
from sftdiv.protocols import Embedder
from sftdiv.records import SIDES, Corpus, Embeddings, ModelRef, SftdivError, Side
from sftdiv.reporting.dataset.report_files import finished, write_report
from sftdiv.reporting.terminal import print_lines
from sftdiv.storage.cache import Store
from sftdiv.storage.files import write_atomically
from sftdiv.storage.folders import check_folder
from sftdiv.storage.hashing import identity_of, library_versions
from sftdiv.text.column_texts import ColumnTexts
from sftdiv.units.tokens import frequencies

REJECTED = ("rejected.jsonl", "rejected-baseline.jsonl")  # rejected rows of the dataset and of its baseline


@dataclass(frozen=True)
class FittedTogether:
    """A trainable embedder, fitted on the texts of all datasets.

    Fitted on one dataset alone, it would spread any dataset over the whole space, and vectors of two datasets
    would not be comparable.

    Attributes:
        embedder: The embedder.
        corpora: All datasets.
        position: Position of the embedded dataset in ``corpora``.
    """

    embedder: Embedder
    corpora: Sequence[Corpus]
    position: int

    def identity(self) -> Mapping[str, Any]:
        """The embedder's identity and the fingerprints of the corpora it is fitted on."""
        return {**identity_of(self.embedder), "fitted_on": sorted(corpus.fingerprint for corpus in self.corpora)}

    def embed(self, texts: Sequence[str], partial: Path) -> Embeddings:
        """Embeddings of one side of the dataset, fitted together with the same side of the other datasets."""
        import pyarrow as pa

        own = self.corpora[self.position].table.data
        side = next(side for side in SIDES if all(map(eq, ColumnTexts(own.column(side)), texts)))
        others = [corpus.table.data for position, corpus in enumerate(self.corpora) if position != self.position]
        chunks = [chunk for data in (own, *others) for chunk in data.column(side).chunks]
        embeddings = self.embedder.embed(ColumnTexts(pa.chunked_array(chunks)), partial)
        return Embeddings(embeddings.vectors[: len(texts)], embeddings.made_by)


def _fit_together(artifacts: Sequence[CorpusArtifacts]) -> None:
    """Replace a trainable embedder by one that is fitted on the texts of all datasets."""
    embedder = artifacts[0].embedder
    if len(artifacts) == 1 or embedder is None or not getattr(embedder, "learns", False):
        return
    corpora = [dataset.corpus for dataset in artifacts]
    for position, dataset in enumerate(artifacts):
        dataset.embedder = FittedTogether(embedder, corpora, position)


def measure_all(
    survey: Survey, artifacts: Sequence[CorpusArtifacts], names: Sequence[str], progress: Progress
) -> dict[str, Any]:
    """Measure one dataset, or a dataset and its baseline, on equally sized samples.

    Args:
        survey: Measurement settings.
        artifacts: Artifacts of each dataset.
        names: Name of each dataset.
        progress: Callback receiving a status message.
    """
    _fit_together(artifacts)
    size = survey.matched.resolved(min(len(dataset.corpus) for dataset in artifacts))
    has_baseline = len(names) > 1
    datasets = []
    for dataset, name in zip(artifacts, names, strict=True):
        report = partial(_report_dataset, progress, name) if has_baseline else progress
        datasets.append({"name": name, **survey.measure(dataset, size=size, progress=report)})
    shared_types = []
    if has_baseline:
        dataset, baseline = artifacts
        shared_types = [coverage(dataset, baseline, strategy, survey.tokenizer) for strategy in survey.strategies]
    return {
        "layout": LAYOUT,
        "size": size,
        "draws": survey.matched.draws,
        "tokenizer": survey.tokenizer.path,
        "datasets": datasets,
        "coverage": [shares for shares in shared_types if shares is not None],
        "comparison": _comparison(datasets, size) if has_baseline else {},
        "catalogue": {name: metric.record() for name, metric in METRICS.items()},
    }


def copy_rejected(corpus: Corpus, path: Path) -> None:
    """Write the rejected rows of a corpus, if any, to the folder of the report."""
    source = rejected_file(corpus)
    if source is not None and corpus.counts["rejected"]:
        write_atomically(path, source.read_text(encoding="utf-8"))


def versions() -> dict[str, str]:
    """Versions of this package and of the libraries that the numbers depend on."""
    libraries = ("numpy", "scipy", "pyarrow", "datasketch", "tokenizers")
    return {"sftdiv": sftdiv.__version__} | library_versions(libraries)


def _comparison(datasets: Sequence[Mapping[str, Any]], size: int) -> dict[str, Any]:
    """Comparison of every metric and kind of unit on equally sized samples."""
    dataset, baseline = datasets
    examples = (dataset["counts"]["examples"], baseline["counts"]["examples"])
    directions = {name: metric.direction for name, metric in METRICS.items() if not metric.within_texts}
    sides = {}
    for side, numbers in dataset["sides"].items():
        drawn = numbers["drawn"], baseline["sides"][side]["drawn"]
        sides[side] = compare(*drawn, directions, size=size, examples=examples)
    baseline_units = {(units["strategy"], units["side"]): units for units in baseline["units"] if "drawn" in units}
    rows = []
    for units in dataset["units"]:
        matching = baseline_units.get((units["strategy"], units["side"]))
        if "drawn" in units and matching is not None:  # without directions, since each dataset has its own types
            identifying = {"strategy": units["strategy"], "side": units["side"]}
            compared = compare(units["drawn"], matching["drawn"], {}, size=size, examples=examples)
            rows += [{**identifying, **row} for row in compared]
    return {"sides": sides, "units": rows}


def _report_dataset(progress: Progress, name: str, message: str) -> None:
    progress(f"{name}, {message}")


def coverage(
    dataset: CorpusArtifacts, baseline: CorpusArtifacts, strategy: StrategySpec, tokenizer: ModelRef
) -> dict[str, Any] | None:
    """Share of each dataset's unit types that the other one has too; None if type names differ between datasets.

    A mid-frequency token of the baseline is covered if it occurs anywhere in the dataset, at any frequency. A tag is
    covered if the dataset has it.
    """
    if strategy.needs == "embeddings":
        return None  # topics are clusters of one dataset
    try:
        dataset_types, baseline_types = dataset.units(strategy).names, baseline.units(strategy).names
    except SftdivError:
        return None
    in_dataset, in_baseline = set(dataset_types), set(baseline_types)
    if strategy.needs == "token_ids":
        in_dataset = _occurring_tokens(dataset, strategy.side, tokenizer)
        in_baseline = _occurring_tokens(baseline, strategy.side, tokenizer)
    return {
        "strategy": strategy.name,
        "side": strategy.side,
        "of_baseline": float(np.mean([name in in_dataset for name in baseline_types])),
        "of_dataset": float(np.mean([name in in_baseline for name in dataset_types])),
    }


def _occurring_tokens(artifacts: CorpusArtifacts, side: Side, tokenizer: ModelRef) -> set[str]:
    """The tokens that occur anywhere on a side."""
    tokens = artifacts.token_ids(side, tokenizer)
    return {tokens.names[token] for token in np.flatnonzero(frequencies(tokens, "occurrences")).tolist()}


class _Clock:
    """Prints status messages with the time since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.perf_counter()

    def __call__(self, message: str) -> None:
        seconds = time.perf_counter() - self._started
        self._console.print(f"[dim]{seconds:7.1f} s[/]  {escape(message)}", highlight=False, soft_wrap=True)


def measure_request(request: MeasureRequest, console: Console) -> dict[str, Any]:
    """Measure the datasets of a request, unless its folder holds the finished report.

    Args:
        request: The datasets and the settings.
        console: Console for progress messages.

    Returns:
        The content of ``measure.json``.
    """
    measured = finished(request.folder)
    if measured is not None:
        return measured
    check_folder("paths.outputs", request.folder)
    check_folder("paths.cache", request.cache)
    progress = _Clock(console)
    store = Store(request.cache)
    parts: dict[str, Any] = {"embedder": request.embedder, "model_tokenizer": lambda: request.tokenizer}
    parts["compute"] = request.compute
    artifacts = [CorpusArtifacts(corpus, store, **parts) for corpus in request.corpora]
    for dataset, name in zip(artifacts, request.names, strict=True):
        progress(f"{name}: reading")
        progress(f"{name}: {len(dataset.corpus):,} examples; the first as they were understood:")
        print_lines(console, preview_lines(first_examples(dataset.corpus)))
    survey = Survey(
        tokenizer=request.tokenizer,
        metrics=request.metrics,
        pair_tokens=request.pair_tokens,
        matched=request.matched,
        runs=request.runs,
        near=request.near,
        band=request.band,
        strategies=request.strategies,
        seed=request.seed,
    )
    try:
        numbers = measure_all(survey, artifacts, request.names, progress)
    except SftdivError as error:
        raise SftdivError(in_terms_of_measure(str(error))) from error
    for dataset, file_name in zip(artifacts, REJECTED, strict=False):
        copy_rejected(dataset.corpus, request.folder / file_name)
    record = {**numbers, "settings": request.settings, "versions": versions(), "command": list(request.command)}
    measured = write_report(record, request.folder)
    progress("done")
    return measured
