"""From Hydra's launcher for Ray to Ray tasks: each cell's overrides become a task that composes and runs the cell."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from sftdiv.config.compose import request_of
from sftdiv.config.instantiate import plain
from sftdiv.config.spec import SELECT
from sftdiv.sweep.job import record_lost_cell
from sftdiv.sweep.ray_tasks import RaySettings, run_tasks


def launch_on_ray(launcher: Any, cells: Sequence[Sequence[str]]) -> None:
    """Run cells as Ray tasks. A cell whose worker died for good is recorded as failed.

    Args:
        launcher: `RayLauncher`, set up by Hydra.
        cells: Overrides of each cell.

    Raises:
        SftdivError: No Ray can be reached or started, or it can never run a cell.
    """
    config = launcher.config
    trains = config.stop_after != SELECT and config.trainer.accelerator != "cpu"
    run_tasks(
        functools.partial(_run_cell, launcher.hydra_context, config, launcher.task_function, Singleton.get_state()),
        [list(overrides) for overrides in cells],
        settings=RaySettings(**{name: plain(value) for name, value in launcher.settings.items()}),
        devices=config.trainer.devices if trains else 0,
        on_lost=functools.partial(_record_lost, launcher.hydra_context.config_loader, config),
    )


def _run_cell(
    context: HydraContext,
    config: DictConfig,
    task_function: TaskFunction,
    singletons: Any,
    overrides: Sequence[str],
) -> None:
    """Run one cell in a Ray worker, as Hydra's other launchers do in theirs.

    Raises:
        Exception: Of the cell's composition; failures of the cell itself are in its folder.
    """
    setup_globals()
    Singleton.set_state(singletons)
    cell_config = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(cell_config):
        cell_config.hydra.job.id, cell_config.hydra.job.num = "ray", 0
    HydraConfig.instance().set_config(cell_config)
    job = run_job(
        hydra_context=context,
        config=cell_config,
        task_function=task_function,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    _ = job.return_value  # raises the exception of a job that failed


def _record_lost(loader: ConfigLoader, config: DictConfig, overrides: Sequence[str], message: str) -> None:
    """Record that a cell ended without a word."""
    cell_config = loader.load_sweep_config(config, list(overrides))
    with open_dict(cell_config):
        del cell_config["hydra"]
    record_lost_cell(request_of(cell_config, overrides), message)
