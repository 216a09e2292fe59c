"""Runs all stages of one cell.

The input is a request and its cell. The outputs are ``config.yaml``, ``subset.parquet``, ``model/``,
``samples.jsonl`` and, last, ``result.json``. A single run calls this in its own process, a sweep in a child
process.
"""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Any

from sftdiv.config.run_request import RunRequest
from sftdiv.config.spec import RunSpec
from sftdiv.pipeline import cell_files, contamination, stages
from sftdiv.pipeline.left_out import left_out_text
from sftdiv.pipeline.model_check import check_model
from sftdiv.pipeline.publish import write_card
from sftdiv.pipeline.recorder import Recorder
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.pipeline.scoring import check_evaluation, evaluate_once, performance_columns
from sftdiv.pipeline.subset_diversity import counting_columns, diversity, match_columns, random_diversity
from sftdiv.protocols import TrackedRun
from sftdiv.records import Selection
from sftdiv.storage.cache import Store
from sftdiv.storage.cell import Cell
from sftdiv.storage.files import write_atomically
from sftdiv.storage.hashing import content_hash
from sftdiv.tracking.contents import cell_tags
from sftdiv.tracking.run_tracker import RunTracker, start_tracking

log = logging.getLogger(__name__)
VERSIONS = (
    "sftdiv",
    "torch",
    "pytorch-lightning",
    "transformers",
    "tokenizers",
    "datasets",
    "lm-eval",
    "numpy",
    "scikit-learn",
)


def run_cell(request: RunRequest, cell: Cell) -> dict[str, Any]:
    """Run a cell, resuming from the complete artifacts and model of an interrupted run.

    Args:
        request: The run.
        cell: Its folder.

    Returns:
        The row of ``result.json``.
    """
    spec = request.spec
    write_atomically(cell.folder / "config.yaml", request.text)
    identifying = identifying_columns(spec, cell)
    tracked = TrackedRun(
        study=cell.study,
        name=cell.name,
        folder=cell.folder.parent,
        config=request.settings,
        kind=identifying["kind"],
        tags=cell_tags(identifying),
    )
    tracker = start_tracking(request.tracking, tracked)
    with Recorder(cell, tracker) as recorder:
        artifacts = RunArtifacts(spec, Store(request.paths.cache), compute=request.compute)
        recorder.add(identifying)
        if spec.stop_after != "select":
            spec.training.trainer.resolved()  # a GPU that this machine lacks is an error before the corpus is read
        with recorder.stage("corpus"):
            corpus = cell_files.read_corpus(artifacts, cell.folder)
            recorder.add({"corpus_hash": corpus.fingerprint, "corpus.count": dict(corpus.counts)})
            cell_files.copy_rejected(corpus, cell.folder)
            recorder.add(contamination.corpus_columns(artifacts.data))
            contamination.report(artifacts.data, cell.folder)
            if spec.stop_after != "select":
                context = artifacts.eval_context(cell)
                check_model(spec, artifacts, context)
            if spec.stop_after is None:
                recorder.add(check_evaluation(spec, context))
        selection = None if spec.selection.size.nothing else select_examples(spec, artifacts, recorder)
        if spec.stop_after != "select":
            _train(spec, artifacts, selection, recorder, tracker)
        if spec.stop_after is None:
            with recorder.stage("evaluate"):
                recorder.add(evaluate_once(spec, context, cell.folder / "model", is_repair=recorder.is_repair))
                recorder.add(contamination.clean_score_columns(spec, artifacts.data, context.folder, recorder.row))
            with recorder.stage("generate"):
                cell_files.write_samples(spec, artifacts, cell.folder)
                tracker.samples(cell.folder / "samples.jsonl")
        recorder.add(request.settings, "config.")
        if spec.stop_after != "select":
            write_card(request, cell, recorder.row)
    return recorder.row


def select_examples(spec: RunSpec, artifacts: RunArtifacts, recorder: Recorder) -> Selection:
    """Units, selection, and the diversity of the selected examples."""
    with recorder.stage("units"):
        units = stages.find_units(spec, artifacts)
    with recorder.stage("select"):
        universe = stages.find_universe(spec, artifacts, units)
        selection = stages.select(spec, artifacts, units, universe)
        cell_files.write_tag_map(units, recorder.cell.folder)
        cell_files.write_subset(selection, artifacts, recorder.cell.folder / "subset.parquet")
        recorder.add(stages.selection_columns(universe, units, selection))
        recorder.add(contamination.leak_columns(artifacts.data, selection.indices))
        if spec.selection.size.everything:
            recorder.add({"size": len(selection)})
        if left_out := left_out_text(recorder.row):
            log.info("left out: %s", left_out)
    with recorder.stage("diversity"):
        recorder.add(diversity(spec, artifacts, units, selection))
        recorder.add(random_diversity(spec, artifacts, units, universe, selection))
        recorder.add(match_columns(artifacts, universe, selection))
        recorder.add(counting_columns(artifacts, selection.indices))
    return selection


def _train(
    spec: RunSpec, artifacts: RunArtifacts, selection: Selection | None, recorder: Recorder, tracker: RunTracker
) -> None:
    """Fine-tune the base model into ``model/``; without a selection, write the base model itself."""
    folder = recorder.cell.folder / "model"
    with recorder.stage("base"):
        base = artifacts.base()
    with recorder.stage("train"):
        if selection is None:
            recorder.add(stages.export_base_model(spec, base, folder))
        else:
            recorder.add(stages.train(spec, artifacts, selection, base, folder, tracker))


def identifying_columns(spec: RunSpec, cell: Cell) -> dict[str, Any]:
    """Identifying columns of the result row."""
    return {
        "study": cell.study,
        "cell": cell.name,
        **spec.columns(),
        "n": 0,
        "config_hash": cell.hash,
        "eval_hash": content_hash(spec.evaluation_identity()),
        **performance_columns(spec),
        "versions": {name: version(name) for name in VERSIONS},
    }
