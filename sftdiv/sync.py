"""``python -m sftdiv.sync multirun/STUDY``: send finished cells to Weights & Biases from disk, at any time, without doubling a run.

In: a study's folder. Out: one W&B run a finished cell, and a table of what was done; exit code 1
where something could not be sent. With ``workspace`` before the folder: a W&B workspace of this
study. The trade: steps of a training are in no cell's folder, so a cell that was never tracked
comes without its loss curve.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from sftdiv.config.app import conf_dir
from sftdiv.records import SftdivError
from sftdiv.storage.cell import RESULT
from sftdiv.tracking.replay import FAILED, Replayed, replay
from sftdiv.tracking.session import MODES, Destination, sync_line
from sftdiv.tracking.study_run import study_numbers, tracked_as

EPILOG = """examples:
  python -m sftdiv.sync multirun/embedded_grid                  send what W&B does not have yet; offline without a key
  python -m sftdiv.sync multirun/embedded_grid --again          send every finished cell once more, into the same runs
  python -m sftdiv.sync workspace multirun/embedded_grid --entity me    make the study's workspace"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _workspace(given[1:]) if given[:1] == ["workspace"] else _sync(given)
    except SftdivError as error:
        print(f"sftdiv: {error}", file=sys.stderr)
        return 1


def _sync(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sftdiv.sync",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="a study's folder, such as multirun/STUDY or outputs/single")
    parser.add_argument(
        "--project", help="W&B's project; as the cells were tracked, else as in conf/tracking/wandb.yaml"
    )
    parser.add_argument("--entity", help="W&B's user or team; as the cells were tracked, else the key's own")
    parser.add_argument("--mode", choices=MODES, help="auto: online where an API key is known, else offline")
    parser.add_argument("--again", action="store_true", help="send also what was sent before")
    given = parser.parse_args(arguments)
    _first_row(given.folder)
    chosen = {key: value for key in ("project", "entity", "mode") if (value := getattr(given, key)) is not None}
    done = replay(
        given.folder, dataclasses.replace(tracked_as(given.folder) or _defaults(), **chosen), again=given.again
    )
    _show(given.folder, done)
    return 1 if any(each.action == FAILED for each in done) else 0


def _defaults() -> Destination:
    """What ``conf/tracking/wandb.yaml`` says."""
    settings = yaml.safe_load((conf_dir() / "tracking" / "wandb.yaml").read_text(encoding="utf-8"))
    return Destination(**{field.name: settings[field.name] for field in dataclasses.fields(Destination)})


def _show(folder: Path, done: Sequence[Replayed]) -> None:
    console = Console()
    table = Table(title=f"{folder}: {len(done)} runs", title_justify="left")
    for heading in ("run", "id", "what was done", "how"):
        table.add_column(heading, overflow="fold")
    for each in done:
        table.add_row(each.name, each.id, each.action, each.detail)
    console.print(table)
    if line := sync_line(folder):
        console.print(f"What lies offline is sent, once an API key is known, with: {line}", soft_wrap=True)


def _workspace(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sftdiv.sync workspace",
        description="Make a W&B workspace with sftdiv's panels for one study. Needs an account and the extra `workspaces`.",
    )
    parser.add_argument("folder", type=Path, help="the study's folder: its name, score and slopes are read there")
    parser.add_argument("--entity", help="W&B's user or team; as the cells were tracked")
    parser.add_argument(
        "--project", help="W&B's project; as the cells were tracked, else as in conf/tracking/wandb.yaml"
    )
    given = parser.parse_args(arguments)
    row = _first_row(given.folder)
    where = tracked_as(given.folder) or _defaults()
    entity = given.entity or where.entity
    if entity is None:
        raise SftdivError("a workspace belongs to a user or a team: give --entity NAME")
    if row["primary"] is None:
        raise SftdivError(
            f"the cells of {given.folder} have no score (eval=none), so there is nothing to draw against the level"
        )
    from sftdiv.tracking.workspace import build_workspace, save_workspace

    slopes = [name for name in study_numbers(given.folder) if name.startswith("slope.")]
    workspace = build_workspace(
        entity=entity,
        project=given.project or where.project,
        study=row["study"],
        score=f"score.{row['primary']}",
        slopes=slopes,
    )
    print(save_workspace(workspace))
    return 0


def _first_row(folder: Path) -> dict[str, Any]:
    for path in sorted(folder.glob(f"*/{RESULT}")):
        return json.loads(path.read_text(encoding="utf-8"))
    raise SftdivError(f"{folder} holds no finished cell (no */{RESULT}); give a study's folder, such as multirun/STUDY")


if __name__ == "__main__":
    sys.exit(main())
