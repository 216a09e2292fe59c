"""Finished cells sent to W&B from disk, at any time and as often as one likes, without doubling a run.

In: a study's folder. Out: what was done with each run. Runs that lie offline are sent as they are,
steps and all (``wandb sync``). The trade: a finished cell whose row W&B has not got otherwise is
written with config, row and generations alone, for its steps are on no disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sftdiv.records import SftdivError
from sftdiv.storage.cell import RESULT
from sftdiv.tracking.contents import cell_tags, finite, samples_table
from sftdiv.tracking.offline import read_run
from sftdiv.tracking.sent import mark_sent, sent_as
from sftdiv.tracking.session import (
    FAILURES,
    PROCESS_VARIABLES,
    Destination,
    end_run,
    open_run,
    resolve_mode,
    run_id,
    unsent,
)

BEFORE, SENT, WRITTEN, FAILED = "sent before", "sent", "written offline", "failed"


@dataclass(frozen=True)
class Replayed:
    """What was done with one run: ``action`` is one of ``sent before``, ``sent``, ``written offline``, ``failed``; ``detail`` says how."""

    name: str
    id: str
    action: str
    detail: str = ""


def replay(folder: Path, where: Destination, *, again: bool) -> list[Replayed]:
    """Send what is finished.

    Args:
        folder: The study's folder.
        where: The project, entity and mode.
        again: Send also what was sent before.

    Returns:
        One entry a finished cell, and one for every other offline run that was sent (the study's own).

    Raises:
        SftdivError: If online is asked for and no key is known, or W&B does not answer.
    """
    mode = resolve_mode(where.mode)
    sent = _send_offline_runs(folder, where) if mode == "online" else {}
    done = []
    for path in sorted(folder.glob(f"*/{RESULT}")):
        row = json.loads(path.read_text(encoding="utf-8"))
        run = run_id(row["study"], row["cell"])
        offline = sent.pop(run, None)
        before = sent_as(folder, run, row)
        if offline is not None and (offline.action == FAILED or before is not None):
            if offline.action == SENT:
                mark_sent(folder, run, row, mode="online")
            done.append(offline)
        elif before in ("online", mode) and not again:
            done.append(Replayed(row["cell"], run, BEFORE, str(before)))
        else:
            done.append(_replay_cell(path.parent, row, where, mode=mode))
    return done + list(sent.values())


def _replay_cell(cell: Path, row: Mapping[str, Any], where: Destination, *, mode: str) -> Replayed:
    """Write one row, its config and its generations as a run.

    Raises:
        SftdivError: If no run can be opened: then none of the others can either.
    """
    study, name, folder = row["study"], row["cell"], cell.parent
    run = run_id(study, name)
    described = {"kind": row.get("kind", "cell"), "tags": cell_tags(row)}
    config = yaml.safe_load((cell / "config.yaml").read_text(encoding="utf-8"))
    try:
        opened = open_run(where, folder=folder, group=study, name=name, config=config, mode=mode, **described)
    except FAILURES as error:
        raise SftdivError(f"W&B does not take {name}, nor what comes after it: {error}") from error
    try:
        if (cell / "samples.jsonl").exists():
            opened.summary["samples"] = samples_table(cell / "samples.jsonl")
        opened.summary.update(finite(row))
        end_run(opened, exit_code=0)
    except FAILURES as error:
        return Replayed(name, run, FAILED, f"{type(error).__name__}: {error}")
    mark_sent(folder, run, row, mode=mode)
    return Replayed(name, run, SENT if mode == "online" else WRITTEN, "config, row, generations")


def _send_offline_runs(folder: Path, where: Destination) -> dict[str, Replayed]:
    """Let ``wandb sync`` send every whole offline run, and say by id what became of it; one that was killed is left to its next try."""
    runs = {path: read_run(path) for path in unsent(folder)}
    whole = {path: run for path, run in runs.items() if run.exit_code is not None}
    if not whole:
        return {}
    command = [sys.executable, "-m", "wandb", "sync", "--project", where.project]
    command += [*(["--entity", where.entity] if where.entity else []), *(str(path.absolute()) for path in whole)]
    environment = {key: value for key, value in os.environ.items() if key not in PROCESS_VARIABLES}
    ended = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    told = (ended.stdout + ended.stderr).strip().splitlines()[-1:]
    return {
        run.id: Replayed(run.name, run.id, SENT, f"offline run, {len(run.history):,} steps")
        if run.synced
        else Replayed(run.name, run.id, FAILED, " ".join(told))
        for run in whole.values()
    }
