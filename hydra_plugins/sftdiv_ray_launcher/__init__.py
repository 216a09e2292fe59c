"""The launcher of sftdiv for Ray, ``hydra/launcher=ray``: each cell of a sweep is a task of a Ray cluster.

The public ``hydra-ray-launcher`` 1.2 needs cloudpickle below 3 and fails on an existing cluster
(facebookresearch/hydra#2893). Hydra imports this file at every start, so it imports nothing heavy. It does so before
the module is in `sys.modules`, so annotations must not be strings.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class RayLauncherConf:
    """Settings of the launcher: ``hydra.launcher.*``."""

    _target_: str = "hydra_plugins.sftdiv_ray_launcher.RayLauncher"

    # running Ray to attach to: auto (that of this machine) or HOST:6379. null: RAY_ADDRESS if it is set, else a Ray of
    # the command's own on this machine, which ends with the command
    address: str | None = None
    # CPUs reserved for each cell, which also limit its OpenMP threads
    num_cpus: float = 1
    # GPUs reserved for each cell. null: trainer.devices if the cluster has GPUs and the cells may use them, else 0
    num_gpus: int | None = None
    # memory reserved for each cell, in GiB; Ray does not enforce it. null: memory is not considered
    memory_gb: float | None = None
    # further resources reserved for each cell, such as {big_node: 1}; names are those of ray start --resources
    resources: dict[str, float] = field(default_factory=dict)
    # how often a cell is started again after its worker or its machine died; then the cell counts as failed
    max_retries: int = 1
    # runtime environment of the cells, such as {pip: [somepackage]}; the command's folder, environment variables and
    # import path are passed on without it
    runtime_env: dict[str, Any] = field(default_factory=dict)
    # further arguments of ray.init, such as {num_cpus: 8} to use only 8 CPUs of this machine
    init: dict[str, Any] = field(default_factory=dict)


class RayLauncher(Launcher):  # type: ignore[misc]  # Hydra is untyped here
    """Runs the cells of a sweep as Ray tasks; their results are on disk."""

    def __init__(self, **settings: Any) -> None:
        from sftdiv.records import SftdivError

        if importlib.util.find_spec("ray") is None:
            raise SftdivError("hydra/launcher=ray needs the package ray: pip install 'sftdiv[ray]'")
        self.settings = settings
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands to a launcher."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[Any]:
        """Run the cells; returns nothing, since results are on disk."""
        from sftdiv.config.launch_on_ray import launch_on_ray

        launch_on_ray(self, job_overrides)
        return []


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConf, provider="sftdiv")
