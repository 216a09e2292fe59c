"""Runs cells as tasks of a Ray cluster: attach or start, submit all, wait, report those whose worker died.

Nothing is returned by a task, since results are on disk. A task runs where the command would: in its folder, with its
environment variables and its import path, so that the machines of a cluster need a shared file system and nothing
else. Ray starts a task again whose worker or machine died; finished cells are skipped there, as in any sweep.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftdiv.records import SftdivError
from sftdiv.storage.redaction import redacted_overrides
from sftdiv.storage.validate import check_range

log = logging.getLogger(__name__)
OF_THE_WORKER = ("RAY_", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")  # set by Ray there


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """Settings of ``hydra/launcher=ray``; their meanings and defaults are in `hydra_plugins.sftdiv_ray_launcher`."""

    address: str | None
    num_cpus: float
    num_gpus: int | None
    memory_gb: float | None
    resources: Mapping[str, float]
    max_retries: int
    runtime_env: Mapping[str, Any]
    init: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_range("hydra.launcher.num_cpus", self.num_cpus, least=0)
        check_range("hydra.launcher.num_gpus", self.num_gpus, least=0, whole=True, optional=True)
        check_range("hydra.launcher.memory_gb", self.memory_gb, above=0, optional=True)
        check_range("hydra.launcher.max_retries", self.max_retries, least=0, whole=True)

    @property
    def starts_ray(self) -> bool:
        """Whether the command starts a Ray of its own."""
        return self.address is None and not os.environ.get("RAY_ADDRESS")


def run_tasks(
    function: Callable[[Sequence[str]], None],
    cells: Sequence[Sequence[str]],
    *,
    settings: RaySettings,
    devices: int | str,
    on_lost: Callable[[Sequence[str], str], None],
) -> None:
    """Run a function for every cell, as many at a time as the cluster has resources for.

    Args:
        function: Called with a cell's overrides in a Ray worker.
        cells: Overrides of each cell.
        settings: Cluster and resources.
        devices: GPUs that a cell uses where there are GPUs; 0 for none.
        on_lost: Called with a cell's overrides and a message if its task ended with an error.

    Raises:
        SftdivError: No Ray can be reached or started, or it can never run a cell.
    """
    import ray

    with _connected(settings):
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        options = task_options(settings, gpus=gpus_of_cell(settings.num_gpus, devices, nodes))
        check_fit(needed_resources(options), nodes, final=settings.starts_ray)
        task = ray.remote(**options)(_task())
        payload = ray.put(ray.cloudpickle.dumps(function))
        surroundings = list(sys.path), str(Path.cwd()), _environment()
        pending = {
            task.options(name=" ".join(redacted_overrides(cell))).remote(payload, cell, *surroundings): cell
            for cell in cells
        }
        while pending:
            (done,), _ = ray.wait(list(pending), num_returns=1)
            cell = pending.pop(done)
            try:
                ray.get(done)
            except ray.exceptions.RayTaskError as error:
                on_lost(cell, f"{type(error.cause).__name__}: {error.cause}")
            except ray.exceptions.RayError as error:
                reason = str(error).strip().splitlines()[0]
                on_lost(cell, f"{reason} Ray gave up after hydra.launcher.max_retries={settings.max_retries} retries")


def gpus_of_cell(num_gpus: int | None, devices: int | str, nodes: Sequence[Mapping[str, float]]) -> int:
    """GPUs reserved for a cell.

    Args:
        num_gpus: The setting; None for as many as the cell uses, if the cluster has any.
        devices: GPUs that a cell uses where there are GPUs: a number, or ``auto`` for all of a machine.
        nodes: Resources of each machine.
    """
    if num_gpus is not None:
        return num_gpus
    most = max((int(node.get("GPU", 0)) for node in nodes), default=0)
    return int(devices) if most and devices != "auto" else most


def task_options(settings: RaySettings, *, gpus: int) -> dict[str, Any]:
    """Options of a cell's Ray task."""
    options: dict[str, Any] = {
        "num_cpus": settings.num_cpus,
        "num_gpus": gpus,
        "max_retries": settings.max_retries,
    }
    if settings.memory_gb is not None:
        options["memory"] = int(settings.memory_gb * 2**30)
    if settings.resources:
        options["resources"] = dict(settings.resources)
    if settings.runtime_env:
        options["runtime_env"] = dict(settings.runtime_env)
    return options


def needed_resources(options: Mapping[str, Any]) -> dict[str, float]:
    """What a task reserves, by the names of Ray's resources."""
    named = {"CPU": options["num_cpus"], "GPU": options["num_gpus"], "memory": options.get("memory", 0)}
    return {name: amount for name, amount in (named | options.get("resources", {})).items() if amount}


def check_fit(needed: Mapping[str, float], nodes: Sequence[Mapping[str, float]], *, final: bool) -> None:
    """Refuse, or announce, tasks that no machine can run: Ray would let them wait without an end.

    Raises:
        SftdivError: No machine has the resources, and none will come.
    """
    if any(all(node.get(name, 0) >= amount for name, amount in needed.items()) for node in nodes):
        return
    shown = ", ".join("{" + _shown({name: node.get(name, 0) for name in needed}) + "}" for node in nodes)
    message = (
        f"no machine of the Ray cluster has what a cell reserves, {{{_shown(needed)}}} (hydra.launcher.*): {shown}"
    )
    if final:
        raise SftdivError(message)
    log.warning("%s; the cells wait for one", message)


def _shown(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{name}: {amount:g}" for name, amount in resources.items())


@contextlib.contextmanager
def _connected(settings: RaySettings) -> Iterator[None]:
    """A connection to Ray; what it started is stopped at the end. One that the process already has is used.

    Raises:
        SftdivError: No Ray answers at the address.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    own = {"address": "local", "include_dashboard": False} if settings.starts_ray else {"address": settings.address}
    try:
        ray.init(**{**quiet, **own, **settings.init})
    except ConnectionError as error:
        asked = settings.address or os.environ.get("RAY_ADDRESS")
        raise SftdivError(
            f"no Ray answers at hydra.launcher.address={asked}: {error}. `ray start --head` starts one; one that was "
            "started with an authentication token (Ray 2.59 and later) needs RAY_AUTH_MODE=token in the environment"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _environment() -> dict[str, str]:
    """The environment variables that a cell inherits from the command, as a job of SLURM does."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_WORKER)}


def _task() -> Callable[..., None]:
    """The function of a task. It is local, so that Ray sends its code: a worker may not find this module yet."""

    def run_cell(
        payload: bytes, overrides: Sequence[str], search_path: list[str], folder: str, variables: dict[str, str]
    ) -> None:
        import os
        import pickle
        import socket
        import sys

        sys.path[:] = search_path + [entry for entry in sys.path if entry not in search_path]
        os.environ.update(variables)
        try:
            os.chdir(folder)
        except OSError:
            raise RuntimeError(
                f"{socket.gethostname()} does not have the command's folder {folder}: the machines of the cluster need "
                "a shared file system"
            ) from None
        pickle.loads(payload)(overrides)  # noqa: S301  # made by the command itself

    return run_cell
