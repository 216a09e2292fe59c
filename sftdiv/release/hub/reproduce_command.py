"""The command that reproduces a model, from the overrides of the run that made it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from sftdiv.storage.redaction import redacted_overrides

# Settings that change no result and may contain paths of one machine.
OMITTED = ("paths", "tracking", "study", "sweep", "export", "report", "hydra", "train.push_to_hub", "train.private")


def command_of(overrides: Sequence[str]) -> str:
    """The shell command with these overrides, without those that change no result.

    Args:
        overrides: Overrides of one run, as Hydra lists them, such as ``["strategy=micro_token",
            "+experiment=paper_grid"]``.
    """
    retained = [override for override in overrides if not _is_omitted(override.lstrip("+~").partition("=")[0])]
    if any(override.lstrip("+").startswith("experiment=") for override in retained):
        retained.append("hydra.mode=RUN")  # experiments are multiruns, and this is a single run
    return shlex.join(["python", "-m", "sftdiv.run", *redacted_overrides(retained)])


def _is_omitted(key: str) -> bool:
    return any(key == name or key.startswith((f"{name}.", f"{name}/", f"{name}@")) for name in OMITTED)
