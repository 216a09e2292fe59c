"""What a sweep costs, said before its first cell starts: cells, examples, steps, tokens, and what each cell is given.

Steps and tokens are those of fine-tuning, from the settings alone; tokens are an upper bound, since no conversation is
longer than the model's maximum. Cells that stop before training cost neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sftdiv.config.run_request import RunRequest
from sftdiv.reporting.format import format_count, format_large_count

GPU_SETTINGS = ("gpus_per_node", "gpus_per_task", "gres")  # of Hydra's launcher for SLURM
SHOWN_OF_SLURM = ("partition", "nodes", "tasks_per_node", "cpus_per_task", "mem_gb", "gpus_per_node", "timeout_min")


def cost_lines(requests: Sequence[RunRequest], launcher: Mapping[str, Any]) -> list[str]:
    """The cost of the cells that are still to run; no line without one.

    Args:
        requests: Their requests.
        launcher: Settings of Hydra's launcher.
    """
    if not requests:
        return []
    return [*_work(requests), *_resources(requests, launcher)]


def _work(requests: Sequence[RunRequest]) -> list[str]:
    """Number of cells, and the fine-tuning in all of them."""
    trained = [request.spec for request in requests if request.spec.stop_after != "select"]
    cells = f"to run: {format_count(len(requests))} cells, of which {format_count(len(trained))} train"
    counted = [spec for spec in trained if isinstance(spec.selection.size.n, int) and not spec.selection.size.nothing]
    if not counted:
        return [cells]
    steps = tokens = examples = 0
    for spec in counted:
        schedule, size = spec.training.schedule, int(spec.selection.size.n)
        of_cell = schedule.steps or -(-size * schedule.epochs // schedule.batch_size)
        conversations = of_cell * schedule.batch_size
        steps, examples = steps + of_cell, examples + conversations
        tokens += conversations * spec.model.max_length
    whole = sum(spec.selection.size.everything for spec in trained)
    rest = f"; {format_count(whole)} more train on the whole universe" if whole else ""
    return [
        cells,
        f"fine-tuning: {format_count(steps)} optimizer steps on {format_large_count(examples)} conversations, at most "
        f"{format_large_count(tokens)} tokens{rest}",
    ]


def _resources(requests: Sequence[RunRequest], launcher: Mapping[str, Any]) -> list[str]:
    """What each cell is given: its devices, and the launcher's settings, with what SLURM is not asked for."""
    trainer = requests[0].spec.training.trainer
    nodes = f" on each of {trainer.nodes} machines" if trainer.nodes > 1 else ""
    each = f"each cell: {trainer.accelerator}, devices={trainer.devices}{nodes}"
    name = str(launcher.get("_target_", "")).rpartition(".")[2]
    if name == "SlurmLauncher":
        given = ", ".join(f"{key}={launcher[key]}" for key in SHOWN_OF_SLURM if launcher.get(key) is not None)
        lines = [f"{each}; SLURM: {given} (hydra.launcher.*)"]
        has_gpu = any(launcher.get(key) for key in GPU_SETTINGS)
        if trainer.accelerator != "cpu" and not has_gpu:
            lines.append("SLURM is asked for no GPU, and cells need one: hydra.launcher.gpus_per_node=1")
        lines.append(
            f"SLURM ends a cell after {launcher.get('timeout_min')} minutes; the same command resumes it: "
            "hydra.launcher.timeout_min=MINUTES"
        )
        return lines
    if name == "JoblibLauncher":
        return [f"{each}; cells at a time: {launcher.get('n_jobs', -1)} (hydra.launcher.n_jobs; -1: all cores)"]
    return [f"{each}; one cell after another" if name == "BasicLauncher" else f"{each}; launcher: {name}"]
