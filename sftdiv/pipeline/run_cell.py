"""Every step of one cell, into its folder and its row.

In: a resolved config and the cell it describes. Out: ``config.yaml``, ``subset.parquet``,
``model/``, ``samples.jsonl`` and, last, ``result.json``. A single run calls this in its own
process, a sweep in a child of its own.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from sftdiv.config.compose import identified_options
from sftdiv.pipeline import stages
from sftdiv.pipeline.artifacts import Artifacts, plain
from sftdiv.pipeline.publish import write_card
from sftdiv.pipeline.recorder import Recorder
from sftdiv.pipeline.scoring import check_evaluation, evaluate, performance
from sftdiv.storage.cache import Store
from sftdiv.storage.cell import Cell
from sftdiv.storage.files import write_atomically
from sftdiv.storage.hashing import content_hash
from sftdiv.tracking.contents import cell_tags

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


def run_steps(config: DictConfig, cell: Cell) -> dict[str, Any]:
    """Run a cell from its start, or from the artifacts and the model that an interrupted run has left whole.

    Args:
        config: The composed and checked config.
        cell: Where its files are kept.

    Returns:
        The row of ``result.json``.
    """
    write_atomically(cell.folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    head = _head(config, cell)
    start = instantiate(config.tracking)
    tracker = start(
        group=cell.study,
        name=cell.name,
        folder=cell.folder.parent,
        config=plain(config),
        kind=head["kind"],
        tags=cell_tags(head),
    )
    with Recorder(cell, tracker) as recorder:
        artifacts = Artifacts(config, Store(Path(config.paths.cache).expanduser()))
        recorder.add(head)
        with recorder.stage("corpus"):
            recorder.add({"corpus_hash": artifacts.corpus.fingerprint, "corpus.count": dict(artifacts.corpus.counts)})
            stages.copy_rejected(artifacts.corpus, cell.folder)
            context = artifacts.eval_context(cell, head)
            if config.stop_after is None:
                recorder.add(check_evaluation(config, context))
        selection = _select(config, artifacts, recorder) if config.size.n else None
        if config.stop_after != "select":
            with recorder.stage("base"):
                base = artifacts.base()
            with recorder.stage("train"):
                model = cell.folder / "model"
                if selection is None:
                    recorder.add(stages.export_base_model(config, base, model))
                else:
                    recorder.add(stages.train(config, artifacts, selection, base, model, tracker))
        if config.stop_after is None:
            with recorder.stage("evaluate"):
                recorder.add(evaluate(config, context, cell.folder / "model"))
            with recorder.stage("generate"):
                stages.write_samples(config, artifacts, cell.folder)
                tracker.samples(cell.folder / "samples.jsonl")
        if config.stop_after != "select":
            write_card(config, cell, recorder.row)
    return recorder.row


def _select(config: DictConfig, artifacts: Artifacts, recorder: Recorder) -> stages.Selection:
    """Units, ladder, draw and the diversity of what was drawn."""
    with recorder.stage("units"):
        units = artifacts.units(plain(config.strategy))
    with recorder.stage("ladder"):
        universe, ladders = stages.universe_and_ladders(config, artifacts, units)
    with recorder.stage("draw"):
        selection = stages.draw(config, artifacts, units, universe, ladders)
        stages.write_tag_map(units, recorder.cell.folder)
        stages.write_subset(selection.subset, artifacts, recorder.cell.folder / "subset.parquet")
        recorder.add(stages.ladder_numbers(selection))
        if config.size.n == "all":
            recorder.add({"size": len(selection.subset)})
    with recorder.stage("diversity"):
        recorder.add(stages.diversity(config, selection, artifacts))
        recorder.add(stages.how_counted(config, artifacts))
    return selection


def _head(config: DictConfig, cell: Cell) -> dict[str, Any]:
    """Who the row is: the settings that tables are grouped by."""
    size = config.size
    named = {"all": "full", 0: "base"}.get(size.n) or ("random" if config.strategy.name == "random" else "level")
    return {
        "study": cell.study,
        "cell": cell.name,
        "kind": named,
        "strategy": config.strategy.name,
        "side": config.strategy.side,
        "size": size.n
        if size.label_tokens in (None, "auto")
        else size.label_tokens,  # of the full corpus what it turns out to hold
        "budget": "examples" if size.label_tokens is None else "tokens",
        "level": config.diversity_level,
        "match": config.selection.match,
        "universe_of": config.selection.universe,
        "seed": config.seed,
        "model": config.model.name,
        "corpus": config.corpus.name,
        "n": 0,
        "config_hash": cell.hash,
        "eval_hash": content_hash(identified_options(config)),
        **performance(config),
        "versions": {name: version(name) for name in VERSIONS},
    }
