"""Submits cells through Hydra's submitit launchers.

The launchers submit and wait in one method, so that the part that submits is repeated here. Waiting, where it is
wanted, is done by `sftdiv.sweep.submitted`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

from sftdiv.records import SftdivError
from sftdiv.sweep.submitted import LOCAL, SubmittedJob

MODULE = "hydra_plugins.hydra_submitit_launcher.submitit_launcher"
OF_EXECUTOR = {"submitit_folder", "max_num_timeout"}  # settings that are not parameters of a job


def submits(launcher: Launcher) -> bool:
    """Whether a launcher submits jobs that outlive the command."""
    return type(launcher).__module__ == MODULE


def check_can_submit(launcher: Launcher) -> None:
    """Refuse a launcher whose cells end with the command.

    Raises:
        SftdivError: With the launchers that submit.
    """
    if submits(launcher):
        return
    if type(launcher).__module__ == "hydra_plugins.sftdiv_ray_launcher":
        raise SftdivError(
            "sweep.wait=false: Ray ends a command's cells with the command. Let the command run in the background "
            "instead: nohup python -m sftdiv.run ... hydra/launcher=ray &"
        )
    raise SftdivError(
        "sweep.wait=false needs a launcher that submits jobs: hydra/launcher=submitit_slurm, or submitit_local on "
        "this machine (pip install 'sftdiv[slurm]')"
    )


def submit(launcher: Any, cells: Sequence[Sequence[str]]) -> list[SubmittedJob]:
    """Submit one job per cell and return at once.

    Args:
        launcher: A launcher of hydra-submitit-launcher (1.2), set up by Hydra.
        cells: Overrides of each cell.
    """
    import submitit
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

    kind, settings = launcher._EXECUTOR, launcher.params
    of_executor = {f"{kind}_max_num_timeout": settings[key] for key in settings if key == "max_num_timeout"}
    executor = submitit.AutoExecutor(folder=settings["submitit_folder"], cluster=kind, **of_executor)
    shared = set(OmegaConf.structured(BaseQueueConf).keys())
    executor.update_parameters(
        **{key if key in shared else f"{kind}_{key}": settings[key] for key in settings if key not in OF_EXECUTOR}
    )
    numbers = range(len(cells))
    arguments = (
        [list(overrides) for overrides in cells],
        ["hydra.sweep.dir"] * len(cells),
        numbers,
        [f"job_id_for_{number}" for number in numbers],
        [Singleton.get_state()] * len(cells),
    )
    with _own_output() if kind == LOCAL else contextlib.nullcontext():
        jobs = executor.map_array(launcher, *arguments)
    return [SubmittedJob(kind, str(job.job_id), str(job.paths.folder)) for job in jobs]


@contextlib.contextmanager
def _own_output() -> Iterator[None]:
    """Start processes without the command's output, which a pipe would otherwise wait for until they end."""
    kept = [(number, os.dup(number)) for number in (1, 2)]
    try:
        with Path(os.devnull).open("wb") as nothing:
            for number, _ in kept:
                os.dup2(nothing.fileno(), number)
        yield
    finally:
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
