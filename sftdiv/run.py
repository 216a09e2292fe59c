"""``python -m sftdiv.run``: select a subset at a diversity level, fine-tune a model on it, evaluate it, write its row.

The input is a Hydra config (``conf/``, shown by ``--help``). The output of a run is the folder
``outputs/STUDY/CELL/`` with ``config.yaml``, ``subset.parquet``, ``model/``, ``samples.jsonl`` and, last,
``result.json``. A multirun writes ``multirun/STUDY/`` with every cell and a report. A repeated command
skips finished cells; an interrupted cell resumes from its complete artifacts. Heavy libraries are imported
only when a cell has work to do, so that ``--help`` and finished cells return at once.
"""

from __future__ import annotations

from typing import Any

import hydra
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from sftdiv.config.app import conf_dir, ends_in_one_line, register_resolvers, run_app
from sftdiv.config.compose import request_of
from sftdiv.config.run_request import RunRequest
from sftdiv.pipeline.export import export_cell
from sftdiv.pipeline.publish import publish_cell
from sftdiv.pipeline.result_table import show_result
from sftdiv.storage.cell import SUBSET, WHOLE_OF_ONE
from sftdiv.storage.folders import check_folder

register_resolvers()


def main() -> None:
    """Entry point of the command."""
    run_app(_app, config_name="config")


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
def _app(config: DictConfig) -> None:
    context = HydraConfig.get()
    if context.mode == RunMode.MULTIRUN:
        from sftdiv.sweep.job import run_in_sweep

        run_in_sweep(request_of(config, context.overrides.task))
    else:
        with ends_in_one_line("config"):
            run(request_of(config, context.overrides.task))


def run(request: RunRequest) -> dict[str, Any]:
    """Run one cell unless it is finished, and print its row.

    Args:
        request: The run.

    Returns:
        The row of ``result.json``.
    """
    cell = request.single_cell()
    needed = [] if request.export.format is None else [SUBSET]
    row = cell.result(whole_below=WHOLE_OF_ONE, needed=needed)
    was_done = row is not None
    request.check_export_folder(cell)
    if row is None:
        check_folder("paths.outputs", cell.folder)
        check_folder("paths.cache", request.paths.cache)
        with FileLock(cell.folder / ".lock"):
            row = cell.result(whole_below=WHOLE_OF_ONE, needed=needed)
            if row is None:
                from sftdiv.pipeline.run_cell import run_cell

                row = run_cell(request, cell)
    show_result(row, cell.folder, done_before=was_done)
    export_cell(request.export, cell, row)
    publish_cell(request, cell)
    return row


if __name__ == "__main__":
    # Launchers pickle the app by name, so it must belong to the importable module, not to __main__.
    from sftdiv.run import main as importable_main

    importable_main()
