"""``python -m sftdiv.run``: select a subset at a diversity level, fine-tune a model on it, evaluate it, record one flat row.

In: a Hydra config (``conf/``; ``--help`` shows it). Out: ``outputs/STUDY/CELL/`` with ``config.yaml``, ``subset.parquet``, ``model/``,
``samples.jsonl`` and, last, ``result.json``. The same command again finds that row; an interrupted one goes on from the artifacts that
are whole. The trade: heavy libraries are imported once a cell has work to do, so that ``--help`` and a finished cell answer at once.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import hydra
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from sftdiv.cells import Cell, plan_cell
from sftdiv.command import conf_dir, register_resolvers, run_app
from sftdiv.recorder import Recorder
from sftdiv.records import SftdivError
from sftdiv.report import show_result
from sftdiv.settings import check, identified, resolve_universe
from sftdiv.store import Store, write_atomically

VERSIONS = ("torch", "pytorch-lightning", "transformers", "tokenizers", "datasets", "lm-eval", "numpy", "scikit-learn")
register_resolvers()


def main() -> None:
    """The console script ``sftdiv``."""
    run_app(_app)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
def _app(config: DictConfig) -> None:
    context = HydraConfig.get()
    check(config)
    resolve_universe(config, context.overrides.task, conf_dir() / "strategy")
    root = config.paths.multirun if context.mode == RunMode.MULTIRUN else config.paths.outputs
    run(config, Path(root).expanduser().absolute())


def run(config: DictConfig, root: Path) -> dict[str, Any]:
    """Run one cell, unless it is done, and show its row.

    Args:
        config: The composed and checked config.
        root: The folder that studies are put in.

    Returns:
        The row of ``result.json``.
    """
    if config.selection.universe != "own" and "universe_strategy" not in config:
        raise SftdivError("selection.universe names a strategy whose settings were not composed; call settings.resolve_universe first")
    cell = plan_cell(identified(config), root)
    row = cell.result()
    if row is not None:
        show_result(row, cell.folder, done_before=True)
        return row
    cell.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(cell.folder / ".lock"):
        row = cell.result() or _run_cell(config, cell)
    show_result(row, cell.folder, done_before=False)
    return row


def _run_cell(config: DictConfig, cell: Cell) -> dict[str, Any]:
    """Every step of one cell, into its folder and its row."""
    from sftdiv import pipeline
    from sftdiv.artifacts import Artifacts, plain

    settings = OmegaConf.to_yaml(config, resolve=True)
    write_atomically(cell.folder / "config.yaml", settings)
    tracker = instantiate(config.tracking)(group=cell.study, name=cell.name, folder=cell.folder.parent, config=plain(config))
    with Recorder(cell, tracker) as recorder:
        artifacts = Artifacts(config, Store(Path(config.paths.cache).expanduser()))
        recorder.add(_head(config, cell))
        with recorder.stage("corpus"):
            recorder.add({"corpus_hash": artifacts.corpus.fingerprint, "corpus.count": dict(artifacts.corpus.counts)})
            pipeline.copy_rejected(artifacts.corpus, cell.folder)
            pipeline.check_evaluation(config, artifacts)
        with recorder.stage("units"):
            units = artifacts.units(plain(config.strategy))
        with recorder.stage("ladder"):
            universe, ladders = pipeline.universe_and_ladders(config, artifacts, units)
        with recorder.stage("draw"):
            selection = pipeline.draw(config, artifacts, units, universe, ladders)
            pipeline.write_subset(selection.subset, artifacts, cell.folder / "subset.parquet")
            recorder.add(pipeline.ladder_numbers(selection))
        with recorder.stage("diversity"):
            recorder.add(pipeline.diversity(selection, artifacts))
        if config.stop_after != "select":
            with recorder.stage("base"):
                base = artifacts.base()
            with recorder.stage("train"):
                recorder.add(pipeline.train(config, artifacts, selection, base, cell.folder / "model", tracker), "train.")
        if config.stop_after is None:
            with recorder.stage("evaluate"):
                recorder.add(pipeline.evaluate(config, artifacts, cell.folder / "model"))
            with recorder.stage("generate"):
                pipeline.write_samples(config, artifacts, cell.folder)
    return recorder.row


def _head(config: DictConfig, cell: Cell) -> dict[str, Any]:
    """Who the row is: the settings that tables are grouped by."""
    return {
        "study": cell.study,
        "cell": cell.name,
        "strategy": config.strategy.name,
        "side": config.strategy.side,
        "size": config.size.label_tokens or config.size.n,
        "level": config.diversity_level,
        "match": config.selection.match,
        "seed": config.seed,
        "model": config.model.name,
        "corpus": config.corpus.name,
        "config_hash": cell.hash,
        "primary": config.eval.primary,
        "versions": {name: version(name) for name in VERSIONS},
    }


if __name__ == "__main__":
    main()
