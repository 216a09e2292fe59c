"""Sends finished cells to W&B from disk, as often as one likes, without doubling a run.

It reads a study's folder and reports what was done with each run. Offline runs are sent as they are, with their steps
(``wandb sync``). Any other finished cell whose row W&B lacks is sent as config, row and generations only, since its
steps were never written to disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftdiv.protocols import TrackedRun
from sftdiv.records import SftdivError
from sftdiv.storage.cell import RESULT, cell_file, read_row
from sftdiv.storage.files import finite
from sftdiv.tracking.contents import cell_tags, config_of, read_samples, results_of, wandb_table
from sftdiv.tracking.offline import read_run
from sftdiv.tracking.sent import mark_sent, sent_as
from sftdiv.tracking.session import (
    FAILURES,
    PROCESS_VARIABLES,
    Destination,
    end_run,
    offline_logs,
    open_run,
    resolve_mode,
    run_id,
    unsent,
)

BEFORE, SENT, WRITTEN, FAILED = "sent before", "sent", "written offline", "failed"
WAITING, UNTRACKED = "not sent yet", "not tracked"
WANDB_SETTINGS = "config.tracking.wandb."  # columns of a cell that chose W&B


@dataclass(frozen=True)
class Replayed:
    """Outcome of one run.

    Attributes:
        name: Name of the cell, or ``study``.
        id: Id of the W&B run.
        action: ``sent before``, ``sent``, ``written offline``, ``not sent yet`` (an offline run), ``not tracked`` or
            ``failed``.
        detail: Contents sent, the date if they were sent before, or the error.
    """

    name: str
    id: str
    action: str
    detail: str = ""


def replay(folder: Path, destination: Destination, *, again: bool, untracked: bool = False) -> list[Replayed]:
    """Send the finished cells of a study.

    Args:
        folder: The study's folder.
        destination: Project, entity and mode.
        again: Also send what was sent before.
        untracked: Also send cells whose settings chose other trackers than W&B, or none.

    Returns:
        One outcome per finished cell, and one per other offline run that was sent (the study's summary).

    Raises:
        SftdivError: Online is asked for and no key is known, or W&B does not answer.
    """
    mode = resolve_mode(destination.mode)
    synced = _send_offline_runs(folder, destination) if mode == "online" else {}
    outcomes = []
    for path in sorted(folder.glob(f"*/{RESULT}")):
        row = read_row(path)
        run = run_id(row["study"], row["cell"])
        offline = synced.pop(run, None)
        before = sent_as(folder, run, row, destination)
        if not (untracked or chose_wandb(row) or before or offline):
            outcomes.append(Replayed(row["cell"], run, UNTRACKED, "--untracked sends it"))
        elif offline is not None and (offline.action == FAILED or before is not None):
            if offline.action == SENT:
                mark_sent(folder, run, row, mode="online", destination=destination)
            outcomes.append(offline)
        elif not again and before == "online":
            outcomes.append(Replayed(row["cell"], run, BEFORE, before))
        elif not again and before == mode == "offline" and (logs := offline_logs(folder, run)):
            action = WAITING if unsent(folder, run) else BEFORE
            outcomes.append(Replayed(row["cell"], run, action, f"offline run {logs[-1].parent.name}"))
        else:
            outcomes.append(_replay_cell(path.parent, row, destination, mode=mode))
    return outcomes + list(synced.values())


def chose_wandb(row: Mapping[str, Any]) -> bool:
    """Whether the settings of a cell chose W&B; a row that says nothing of trackers may be sent."""
    trackers = [name for name in row if name.startswith("config.tracking")]
    return not trackers or any(name.startswith(WANDB_SETTINGS) for name in trackers)


def _replay_cell(cell: Path, row: Mapping[str, Any], destination: Destination, *, mode: str) -> Replayed:
    """Write one row, its config and its generations as a run.

    Raises:
        SftdivError: No run can be opened, so that none of the other cells could be sent either.
    """
    study, name, folder = row["study"], row["cell"], cell.parent
    run_identifier = run_id(study, name)
    tracked = TrackedRun(
        study=study,
        name=name,
        folder=folder,
        config=config_of(row),
        kind=row.get("kind", "cell"),
        tags=cell_tags(row),
    )
    try:
        run = open_run(destination, tracked, mode=mode)
    except FAILURES as error:
        raise SftdivError(f"W&B does not take {name}, nor what comes after it: {error}") from error
    try:
        if (cell / "samples.jsonl").exists():
            run.summary["samples"] = wandb_table(read_samples(cell_file(cell, "samples.jsonl")))
        run.summary.update(finite(results_of(row)))
        end_run(run, exit_code=0)
    except FAILURES as error:
        return Replayed(name, run_identifier, FAILED, f"{type(error).__name__}: {error}")
    mark_sent(folder, run_identifier, row, mode=mode, destination=destination)
    return Replayed(name, run_identifier, SENT if mode == "online" else WRITTEN, "config, row, generations")


def _send_offline_runs(folder: Path, destination: Destination) -> dict[str, Replayed]:
    """Send every complete offline run with ``wandb sync``; the outcomes by run id.

    The run of a killed cell is incomplete and is left to the cell's next try.
    """
    runs = {path: read_run(path) for path in unsent(folder)}
    complete = {path: run for path, run in runs.items() if run.exit_code is not None}
    if not complete:
        return {}
    command = [sys.executable, "-m", "wandb", "sync", "--project", destination.project]
    if destination.entity:
        command += ["--entity", destination.entity]
    command += [str(path.absolute()) for path in complete]
    environment = {key: value for key, value in os.environ.items() if key not in PROCESS_VARIABLES}
    process = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    last_line = " ".join((process.stdout + process.stderr).strip().split("\n")[-1:])
    return {
        run.id: Replayed(run.name, run.id, SENT, f"offline run, {len(run.history):,} steps")
        if run.synced
        else Replayed(run.name, run.id, FAILED, last_line)
        for run in complete.values()
    }
