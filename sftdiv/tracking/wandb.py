"""Weights & Biases as a tracking service (``tracking=wandb``).

Runs are online where an API key is known and offline otherwise. W&B never prompts, and its failure never fails a run.
A run belongs to the group of its study, and its id derives from the names of study and cell, so that a resumed cell
continues its run, online and offline.

The logger has the interface of Lightning's ``Logger`` but is no subclass: Lightning imports torch, which a run that
only selects does not need. Lightning's own ``WandbLogger`` also counts steps by itself, which would double the steps of
a resumed run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.protocols import StudySummary, TrackedRun
from sftdiv.storage.files import finite
from sftdiv.tracking.contents import read_samples, results_of, wandb_table
from sftdiv.tracking.sent import mark_sent
from sftdiv.tracking.session import FAILURES, Destination, end_run, run_id, start_run
from sftdiv.tracking.study_run import log_study

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WandbTracking:
    """Where runs go; see `Destination` for the settings."""

    project: str
    entity: str | None
    mode: str
    timeout: float

    def __post_init__(self) -> None:
        _ = self.destination

    @property
    def destination(self) -> Destination:
        """The settings, validated.

        Raises:
            SftdivError: A setting cannot be right.
        """
        return Destination(project=self.project, entity=self.entity, mode=self.mode, timeout=self.timeout)

    def start(self, run: TrackedRun) -> WandbRunLogger:
        """Open a W&B run; where W&B cannot begin one, the logger does nothing.

        Raises:
            SftdivError: Online is asked for and no key is known.
        """
        return WandbRunLogger(start_run(self.destination, run), run, self.destination)

    def log_study(self, summary: StudySummary) -> None:
        """Send a study's summary.

        Raises:
            SftdivError: Online is asked for and no key is known.
        """
        log_study(self.destination, summary)


class WandbRunLogger:
    """One open W&B run behind the interface of Lightning's ``Logger``."""

    def __init__(self, run: wandb.Run | None, tracked: TrackedRun, destination: Destination | None = None) -> None:
        self._run, self._tracked, self._destination = run, tracked, destination
        self._row: Mapping[str, Any] = {}

    @property
    def name(self) -> str:
        """Name of the cell."""
        return self._tracked.name

    @property
    def version(self) -> str:
        """Id of the run."""
        return run_id(self._tracked.study, self._tracked.name)

    @property
    def save_dir(self) -> str:
        """Folder that holds ``wandb/``: that of the study."""
        return str(self._tracked.folder)

    root_dir = log_dir = save_dir
    group_separator = "/"

    @property
    def experiment(self) -> wandb.Run | None:
        """The open run; None where W&B could not begin one, or the run is closed."""
        return self._run

    def log_hyperparams(self, params: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Add settings to the run's config."""
        if self._run is not None:
            self._run.config.update(dict(params), allow_val_change=True)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send the metrics of one step; whatever W&B raises passes through."""
        if self._run is not None:
            # Committed at once, since an open step would overwrite the summary when the run ends.
            self._run.log(dict(metrics), step=step, commit=True)

    def log_samples(self, path: Path) -> None:
        """Send the generations of a JSON-lines file as a table."""
        if self._run is None:
            return
        try:
            self._run.summary["samples"] = wandb_table(read_samples(path))
        except FAILURES as error:
            log.warning("W&B takes no table (%s): the generations are in %s", error, path)

    def log_summary(self, row: Mapping[str, Any]) -> None:
        """Keep the final numbers until the run is closed."""
        self._row = row

    def log_graph(self, *_: Any) -> None:
        """Part of Lightning's interface; graphs are not sent."""

    def after_save_checkpoint(self, _: Any) -> None:
        """Part of Lightning's interface; checkpoints are not sent."""

    def save(self) -> None:
        """Part of Lightning's interface; every step is written when it is logged."""

    def finalize(self, status: str) -> None:
        """Send the final numbers and close the run as ``success`` or anything else, which is a failure."""
        run, self._run = self._run, None
        if run is None:
            return
        folder, succeeded = self._tracked.folder, status == "success"
        try:
            run.summary.update(finite(results_of(self._row)))
            end_run(run, exit_code=0 if succeeded else 1)
            if succeeded:
                mode = run.settings.mode
                mark_sent(folder, self.version, self._row, mode=mode, destination=self._destination)
        except FAILURES as error:
            log.warning(
                "W&B could not be finished (%s): result.json is complete, and `python -m sftdiv.sync %s` sends it",
                error,
                folder,
            )
