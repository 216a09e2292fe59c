"""``python -m sftdiv.run``: select a subset at a diversity level, fine-tune a model on it, evaluate it, record one flat row.

In: a Hydra config (``conf/``; ``--help`` shows it). Out: ``outputs/STUDY/CELL/`` with
``config.yaml``, ``subset.parquet``, ``model/``, ``samples.jsonl`` and, last, ``result.json``; of a
multirun, ``multirun/STUDY/`` with every cell and a report. The same command again finds what is
done; an interrupted cell goes on from the artifacts that are whole. The trade: heavy libraries are
imported once a cell has work to do, so that ``--help`` and a finished cell answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from sftdiv.config.app import conf_dir, register_resolvers, run_app
from sftdiv.config.compose import identified, prepare
from sftdiv.pipeline.export import export_cell
from sftdiv.pipeline.publish import publish_cell
from sftdiv.pipeline.result_table import show_result
from sftdiv.records import SftdivError
from sftdiv.storage.cell import plan_cell

register_resolvers()


def main() -> None:
    """The console script ``sftdiv``."""
    run_app(_app, config_name="config")


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
def _app(config: DictConfig) -> None:
    context = HydraConfig.get()
    prepare(config, context.overrides.task, conf_dir() / "strategy")
    if context.mode == RunMode.MULTIRUN:
        from sftdiv.sweep.job import run_in_sweep

        run_in_sweep(config, Path(config.paths.multirun).expanduser().absolute())
    else:
        run(config, Path(config.paths.outputs).expanduser().absolute())


def run(config: DictConfig, root: Path) -> dict[str, Any]:
    """Run one cell, unless it is done, and show its row.

    Args:
        config: The composed and checked config.
        root: The folder that studies are put in.

    Returns:
        The row of ``result.json``.
    """
    if config.selection.universe != "own" and "universe_strategy" not in config:
        raise SftdivError(
            "selection.universe names a strategy whose settings were not composed; call settings.prepare first"
        )
    cell = plan_cell(identified(config), root)
    row = cell.result()
    if row is not None:
        show_result(row, cell.folder, done_before=True)
        export_cell(config, cell, row)
        publish_cell(config, cell)
        return row
    cell.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(cell.folder / ".lock"):
        row = cell.result()
        if row is None:
            from sftdiv.pipeline.run_cell import run_steps

            row = run_steps(config, cell)
    show_result(row, cell.folder, done_before=False)
    export_cell(config, cell, row)
    publish_cell(config, cell)
    return row


if __name__ == "__main__":
    from sftdiv.run import (
        main as importable_main,
    )  # of the module, not of __main__: launchers send the app to other processes by its name

    importable_main()
