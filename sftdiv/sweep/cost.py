"""What a sweep costs, said before its first cell starts.

All are those of fine-tuning, from the settings alone. Tokens are an upper bound, since no conversation is longer than
the model's maximum, and an estimate where the mean length is stated (``sweep.cost``). GPU-hours need the model's number
of parameters. Cells that stop before training cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sftdiv.config.run_request import RunRequest
from sftdiv.reporting.format import format_count, format_large_count, format_number

GPU_SETTINGS = ("gpus_per_node", "gpus_per_task", "gres")  # of Hydra's launcher for SLURM
SHOWN_OF_SLURM = ("partition", "nodes", "tasks_per_node", "cpus_per_task", "mem_gb", "gpus_per_node", "timeout_min")
SHOWN_OF_RAY = ("address", "num_cpus", "num_gpus", "memory_gb", "resources", "max_retries")


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
    trained = [request for request in requests if request.spec.stop_after != "select"]
    cells = f"to run: {format_count(len(requests))} cells, of which {format_count(len(trained))} train"
    sizes = [request.spec.selection.size for request in trained]
    counted = [
        request for request, size in zip(trained, sizes, strict=True) if isinstance(size.n, int) and not size.nothing
    ]
    if not counted:
        return [cells]
    steps = sum(_steps(request) for request in counted)
    conversations = sum(_conversations(request) for request in counted)
    most = sum(_conversations(request) * request.spec.model.max_length for request in counted)
    tokens, mean = f"at most {format_large_count(most)} tokens", counted[0].sweep.cost.conversation_tokens
    if mean is not None:
        about = format_large_count(conversations * mean)
        tokens = f"about {about} tokens (sweep.cost.conversation_tokens={mean:g}; {tokens})"
    whole = sum(size.everything for size in sizes)
    rest = f"; {format_count(whole)} more train on the whole universe" if whole else ""
    return [
        cells,
        f"fine-tuning: {format_count(steps)} optimizer steps on {format_large_count(conversations)} conversations, "
        f"{tokens}{rest}",
        *_gpu_hours(counted),
    ]


def _steps(request: RunRequest) -> int:
    """Optimizer steps of a cell of known size."""
    schedule, size = request.spec.training.schedule, int(request.spec.selection.size.n)
    return int(schedule.steps or -(-size * schedule.epochs // schedule.batch_size))


def _conversations(request: RunRequest) -> int:
    """Conversations that a cell of known size is trained on, repetitions included."""
    return _steps(request) * request.spec.training.schedule.batch_size


def _gpu_hours(requests: Sequence[RunRequest]) -> list[str]:
    """GPU-hours of the cells of known size; no line unless the number of parameters of every model is known.

    A parameter costs 6 FLOPs per token, of which 2 are for its gradient, which frozen parameters of an adapter's base
    do not have (Kaplan et al. 2020, arXiv 2001.08361, table 1). Attention, about 1 % at 600 tokens, is left out.
    """
    cost, flops = requests[0].sweep.cost, 0.0
    for request in requests:
        if request.sweep.cost.parameters is None:
            return []
        tokens = _conversations(request) * (cost.conversation_tokens or request.spec.model.max_length)
        per_parameter = 6 if request.spec.training.fine_tuning.adapter is None else 4
        flops += tokens * per_parameter * request.sweep.cost.parameters
    hours = flops / (cost.mfu * cost.peak_tflops * 1e12) / 3600
    names = sorted({request.spec.model.name for request in requests})
    bound = "at most" if cost.conversation_tokens is None else "about"
    return [
        f"GPU time: {bound} {format_number(hours, 3)} GPU-hours for {', '.join(names)} at {100 * cost.mfu:g}\u00a0% of "
        f"{cost.peak_tflops:g} TFLOP/s (sweep.cost), without evaluation"
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
        trains = any(request.spec.stop_after != "select" for request in requests)
        if trains and trainer.accelerator != "cpu" and not has_gpu:
            lines.append("SLURM is asked for no GPU, and cells need one: hydra.launcher.gpus_per_node=1")
        lines.append(
            f"SLURM ends a cell after {launcher.get('timeout_min')} minutes; the same command resumes it: "
            "hydra.launcher.timeout_min=MINUTES"
        )
        return lines
    if name == "RayLauncher":
        values = {key: launcher.get(key) for key in SHOWN_OF_RAY if launcher.get(key) not in (None, {})}
        given = ", ".join(f"{key}={f'{v:g}' if isinstance(v, float) else v}" for key, v in values.items())
        return [f"{each}; Ray: {given} (hydra.launcher.*)"]
    if name == "JoblibLauncher":
        return [f"{each}; cells at a time: {launcher.get('n_jobs', -1)} (hydra.launcher.n_jobs; -1: all cores)"]
    return [f"{each}; one cell after another" if name == "BasicLauncher" else f"{each}; launcher: {name}"]
