"""Weights & Biases, online where an API key is known and offline otherwise: it never asks, and its failure never fails a run.

In: the cell's names, kind, tags and resolved config; metrics a step; generations; the final row.
Out: a W&B run in group STUDY, whose id derives from both names, so that a resumed cell continues
its run, online and offline.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftdiv.tracking.contents import finite, samples_table
from sftdiv.tracking.sent import mark_sent
from sftdiv.tracking.session import FAILURES, Destination, end_run, run_id, start_run

log = logging.getLogger(__name__)


class WandbTracker:
    """One W&B run; see the module's text. ``kind`` becomes its job type."""

    def __init__(
        self,
        *,
        group: str,
        name: str,
        folder: Path,
        config: Mapping[str, Any],
        kind: str,
        tags: Sequence[str],
        project: str,
        entity: str | None,
        mode: str,
        timeout: float,
    ) -> None:
        where = Destination(project=project, entity=entity, mode=mode, timeout=timeout)
        self._folder, self._id = folder, run_id(group, name)
        self._run = start_run(where, folder=folder, group=group, name=name, kind=kind, tags=tags, config=config)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Send the metrics of one training step."""
        if self._run is None:
            return
        try:
            self._run.log(
                dict(metrics), step=step, commit=True
            )  # an open step would overwrite the summary when the run ends
        except FAILURES as error:
            log.warning("W&B takes no more metrics (%s): this run is no longer tracked", error)
            self._run = None

    def samples(self, path: Path) -> None:
        """Send the generations of a JSON-lines file as a table."""
        if self._run is None:
            return
        try:
            self._run.summary["samples"] = samples_table(path)
        except FAILURES as error:
            log.warning("W&B takes no table (%s): the generations are in %s", error, path)

    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """Send the final numbers and close the run; a second call does nothing."""
        run, self._run = self._run, None
        if run is None:
            return
        try:
            run.summary.update(finite(summary))
            end_run(run, exit_code=exit_code)
            if exit_code == 0:
                mark_sent(self._folder, self._id, summary, mode=run.settings.mode)
        except FAILURES as error:
            log.warning(
                "W&B could not be finished (%s): result.json is complete, and `python -m sftdiv.sync %s` sends it",
                error,
                self._folder,
            )
