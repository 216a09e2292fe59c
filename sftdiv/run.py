"""``python -m sftdiv.run``: select a subset at a diversity level, fine-tune a model on it, evaluate it, record one row.

A Hydra config (``conf/``; ``--help`` shows it) becomes ``outputs/STUDY/CELL/`` with ``config.yaml``,
``subset.parquet``, ``model/``, ``samples.jsonl`` and, last, ``result.json``; a multirun becomes
``multirun/STUDY/`` with every cell and a report. The same command again finds what is finished; an
interrupted cell resumes from the complete artifacts. Heavy libraries are imported once a cell has work to
do, so that ``--help`` and a finished cell answer at once.
"""

from __future__ import annotations

from typing import Any

import hydra
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from sftdiv.config.app import conf_dir, register_resolvers, run_app
from sftdiv.config.compose import request_of
from sftdiv.config.run_request import RunRequest
from sftdiv.pipeline.export import export_cell
from sftdiv.pipeline.publish import publish_cell
from sftdiv.pipeline.result_table import show_result

register_resolvers()


def main() -> None:
    """The console script ``sftdiv``."""
    run_app(_app, config_name="config")


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
def _app(config: DictConfig) -> None:
    context = HydraConfig.get()
    request = request_of(config, context.overrides.task)
    if context.mode == RunMode.MULTIRUN:
        from sftdiv.sweep.job import run_in_sweep

        run_in_sweep(request)
    else:
        run(request)


def run(request: RunRequest) -> dict[str, Any]:
    """Run one cell, unless it is finished, and show its row.

    Args:
        request: The run.

    Returns:
        The row of ``result.json``.
    """
    cell = request.single_cell()
    row = cell.result()
    was_done = row is not None
    if row is None:
        cell.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(cell.folder / ".lock"):
            row = cell.result()
            if row is None:
                from sftdiv.pipeline.run_cell import run_cell

                row = run_cell(request, cell)
    show_result(row, cell.folder, done_before=was_done)
    export_cell(request.export, cell, row)
    publish_cell(request, cell)
    return row


if __name__ == "__main__":
    # The main of the module, not of __main__: launchers send the app to other processes by its name.
    from sftdiv.run import main as importable_main

    importable_main()
