"""CSV files as a tracking service (``tracking=csv``): Lightning's ``CSVLogger``, with one folder per cell and try.

``csv/CELL/version_N/`` in the study's folder holds ``metrics.csv`` (a row per step), ``hparams.yaml`` and
``result.csv``. A resumed cell begins a new version, since ``CSVLogger`` cannot continue a file.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sftdiv.protocols import StudySummary, TrackedRun
from sftdiv.tracking.study_run import study_as_run

if TYPE_CHECKING:
    from sftdiv.tracking.lightning_loggers import CsvRunLogger


@dataclass(frozen=True, kw_only=True)
class CsvTracking:
    """Where the files go.

    Attributes:
        folder: Folder that holds a folder per cell; None: ``csv/`` in the study's folder.
    """

    folder: str | None = None

    def start(self, run: TrackedRun) -> CsvRunLogger:
        """Begin the files of a run with its settings."""
        from sftdiv.tracking.lightning_loggers import CsvRunLogger

        logger = CsvRunLogger(self._root(run.folder), name=run.name)
        logger.log_hyperparams(dict(run.config))
        return logger

    def log_study(self, summary: StudySummary) -> None:
        """Write the summary as the run ``study``, in place of an earlier one."""
        from sftdiv.tracking.lightning_loggers import log_study_to

        run = study_as_run(summary)
        shutil.rmtree(self._root(run.folder) / run.name, ignore_errors=True)
        log_study_to(self.start(run), summary)

    def _root(self, study: Path) -> Path:
        return study / "csv" if self.folder is None else Path(self.folder).expanduser()
