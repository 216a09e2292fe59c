"""The command that makes a model again, from the overrides of the one that made it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

ELSEWHERE = (
    "paths",
    "tracking",
    "study",
    "sweep",
    "export",
    "hydra",
    "train.push_to_hub",
    "train.private",
)  # where, and how it is told


def command_of(overrides: Sequence[str]) -> str:
    """The shell command of these overrides, without what changes no result and may name places of one machine.

    Args:
        overrides: Of one run, as Hydra lists them, such as ``["strategy=micro_token",
            "+experiment=paper_grid"]``.
    """
    kept = [each for each in overrides if not _elsewhere(each.lstrip("+~").partition("=")[0])]
    if any(each.lstrip("+").startswith("experiment=") for each in kept):
        kept.append("hydra.mode=RUN")  # experiments are multiruns, and this is one of their runs
    return shlex.join(["python", "-m", "sftdiv.run", *kept])


def _elsewhere(name: str) -> bool:
    return any(name == each or name.startswith((f"{each}.", f"{each}/", f"{each}@")) for each in ELSEWHERE)
