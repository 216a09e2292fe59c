"""TensorBoard as a tracking service (``tracking=tensorboard``): Lightning's ``TensorBoardLogger``, one run per cell.

``tensorboard --logdir multirun/STUDY/tensorboard`` shows the cells of a study by name. A resumed cell adds an event
file to its run.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sftdiv.protocols import StudySummary, TrackedRun
from sftdiv.storage.cell import flatten
from sftdiv.tracking.run_tracker import require_packages
from sftdiv.tracking.study_run import study_as_run

if TYPE_CHECKING:
    from sftdiv.tracking.lightning_loggers import TensorBoardRunLogger


@dataclass(frozen=True, kw_only=True)
class TensorBoardTracking:
    """Where the event files go.

    Attributes:
        folder: Folder that holds a folder per cell; None: ``tensorboard/`` in the study's folder.
    """

    folder: str | None = None

    def __post_init__(self) -> None:
        require_packages("tensorboard", ["tensorboard"])

    def start(self, run: TrackedRun) -> TensorBoardRunLogger:
        """Begin, or continue, a run with its settings."""
        from sftdiv.tracking.lightning_loggers import TensorBoardRunLogger

        logger = TensorBoardRunLogger(self._root(run.folder), name=run.name, version="", default_hp_metric=False)
        logger.log_hyperparams(flatten(run.config))
        return logger

    def log_study(self, summary: StudySummary) -> None:
        """Write the summary as the run ``study``, in place of an earlier one."""
        from sftdiv.tracking.lightning_loggers import log_study_to

        run = study_as_run(summary)
        shutil.rmtree(self._root(run.folder) / run.name, ignore_errors=True)
        log_study_to(self.start(run), summary)

    def _root(self, study: Path) -> Path:
        return study / "tensorboard" if self.folder is None else Path(self.folder).expanduser()
