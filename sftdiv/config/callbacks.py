"""Hydra callback at the end of a multirun.

Hydra turns an exception in a callback into a warning and exits with code 0, so the exit code is set here.
"""

from __future__ import annotations

import sys
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from sftdiv.config.build import build_tracking
from sftdiv.storage.folders import user_path
from sftdiv.sweep.on_multirun_end import finish_multirun


class StudyEnd(Callback):  # type: ignore[misc]  # Hydra is untyped here
    """Reports on the study after the last cell of a multirun."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Report failures, analyze the study, and set the exit code to 1 if a cell is unfinished and has no job."""
        console = Console(stderr=True)
        study = user_path(config.paths.multirun, name="paths.multirun").absolute() / config.study
        try:
            settings = {
                "reference": config.report.reference,
                "bundle": config.report.bundle,
                "wait": config.sweep.wait,
            }
            complete = finish_multirun(study, build_tracking(config), console, **settings)
        except Exception:  # Hydra would turn it into a warning, and the command would seem to have succeeded
            console.print_exception()
            complete = False
        if not complete:
            sys.exit(1)
