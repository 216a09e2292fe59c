"""A sweep from its overrides to its last cell: plan, launch what is not done, say what failed.

In: the multirun's config and the swept overrides. Out: a folder a cell; ``sweep.json``, the plan.
Cells that are done are never launched: resuming a finished sweep starts no process and imports no
torch. What the cells say together is told by `ending`.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from sftdiv.storage.cell import FAILURE
from sftdiv.sweep.grid import Axes, axes_of, baseline_axes, grid
from sftdiv.sweep.job import STOP
from sftdiv.sweep.plan import plan_sweep, save_plan
from sftdiv.sweep.subprocess_cell import announce_sweep
from sftdiv.sweep.sweep_progress import SweepProgress

log = logging.getLogger(__name__)


def run_sweep(config: DictConfig, loader: ConfigLoader, launcher: Launcher, overrides: Sequence[str]) -> None:
    """Run every cell of a sweep that is not done.

    Args:
        config: Of the multirun, as Hydra composed it.
        loader: Hydra's.
        launcher: Hydra's; told to run the cells that are not done.
        overrides: Swept and plain ones, the experiment's first.

    Raises:
        SftdivError: A sweep has no values.
    """
    console = Console(stderr=True)
    root = Path(config.paths.multirun).expanduser().absolute()
    study = root / config.study
    with console.status("planning the cells"):
        cells = plan_sweep(config, loader, combinations(config, loader, overrides), root)
    study.mkdir(parents=True, exist_ok=True)
    save_plan(cells, study, " ".join(["python -m sftdiv.run", *map(shlex.quote, sys.argv[1:])]))
    (study / STOP).unlink(missing_ok=True)
    refused = {cell for cell in cells if cell.folder.name.startswith("refused-")}
    for cell in cells:
        if cell not in refused:
            (cell.folder / FAILURE).unlink(missing_ok=True)
    todo = [list(cell.overrides) for cell in cells if not cell.done and cell not in refused]
    logging.getLogger("hydra").setLevel(logging.WARNING)  # its launchers list every job before the first one starts
    announce_sweep()
    with SweepProgress(config.study, cells, console):
        if todo:
            _launch(launcher, todo, console)


def _launch(launcher: Launcher, todo: list[list[str]], console: Console) -> None:
    """Launch the cells; a launcher that breaks (a worker that the system killed, a job that Slurm ended) leaves the others' rows whole."""
    try:
        launcher.launch(todo, initial_job_idx=0)
    except Exception as error:  # launchers raise errors of many libraries; the cells on disk say what is done
        console.print(f"the launcher failed: {type(error).__name__}: {error}", markup=False, highlight=False)


def combinations(config: DictConfig, loader: ConfigLoader, overrides: Sequence[str]) -> list[list[str]]:
    """One list of overrides a cell: baselines first, since they are few and everything is compared with them, then the grid."""
    parser = OverridesParser.create(config_loader=loader)
    axes = axes_of(overrides, parser) | {"study": [f"study={config.study}"]}
    choices = config.hydra.runtime.choices

    def current(key: str) -> str:
        return str(choices[key] if key in choices else OmegaConf.select(config, key))

    baselines: dict[str, Any] = OmegaConf.to_container(config.sweep.baselines)  # type: ignore[assignment]
    beside: list[Axes] = [baseline_axes(axes, settings, parser, current) for settings in baselines.values()]
    return [cell for each in [*filter(None, beside), axes] for cell in grid(each)]
