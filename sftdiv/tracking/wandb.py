"""Weights & Biases, online where an API key is known and offline otherwise: it never asks, and its failure never fails a run.

In: the run's names and its resolved config; metrics a step; the final numbers. Out: a W&B run in group STUDY, named by the cell, whose id
derives from both, so that a resumed cell continues its run. Offline runs lie under ``wandb/`` in the study's folder: ``wandb sync`` sends
them.
"""

from __future__ import annotations

import logging
import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from sftdiv.records import SftdivError
from sftdiv.store import content_hash

log = logging.getLogger(__name__)
MODES = ("auto", "online", "offline")
FAILURES = Exception  # W&B raises errors of many families, private ones among them, and none of them may end a training


class WandbTracker:
    """One W&B run; see the module's text."""

    def __init__(
        self, *, group: str, name: str, folder: Path, config: Mapping[str, Any], project: str, entity: str | None, mode: str
    ) -> None:
        if mode not in MODES:
            raise SftdivError(f"tracking.mode={mode!r} is unknown. Known: {', '.join(MODES)}")
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        mode = _mode(mode)
        self._run: wandb.Run | None = None
        try:
            self._run = wandb.init(
                project=project,
                entity=entity,
                group=group,
                name=name,
                id=content_hash([group, name]),
                resume="allow",
                job_type="cell",
                dir=folder,
                config=dict(config),
                mode=mode,  # type: ignore[arg-type]  # W&B checks the name
                settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True),
            )
        except FAILURES as error:
            log.warning("W&B could not be started (%s): this run is not tracked", error)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Send the metrics of one training step."""
        if self._run is None:
            return
        try:
            self._run.log(dict(metrics), step=step)
        except FAILURES as error:
            log.warning("W&B takes no more metrics (%s): this run is no longer tracked", error)
            self._run = None

    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """Send the final numbers and close the run; a second call does nothing."""
        run, self._run = self._run, None
        if run is None:
            return
        try:
            run.summary.update(dict(summary))
            run.finish(exit_code=exit_code)
        except FAILURES as error:
            log.warning("W&B could not be finished (%s): the row in result.json is complete all the same", error)


def _mode(mode: str) -> str:
    """``auto`` as online or offline; the variable WANDB_MODE, W&B's own switch, goes before.

    Raises:
        SftdivError: If online is asked for and no key is known, for W&B would then ask.
    """
    wanted = (os.environ.get("WANDB_MODE") if mode == "auto" else mode) or ("online" if _has_key() else "offline")
    if wanted == "online" and not _has_key():
        raise SftdivError("W&B is to be online and no API key is known: set WANDB_API_KEY, or `wandb login`, or tracking.mode=offline")
    return wanted


def _has_key() -> bool:
    """Whether the environment or the netrc file knows an API key for the W&B host; the key itself is not read into anything."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return path.exists() and netrc.netrc(path).authenticators(host) is not None
    except netrc.NetrcParseError:
        return False
