"""``python -m sftdiv.sync multirun/STUDY``: send finished cells to Weights & Biases from disk, without doubling a run.

It sends one W&B run per finished cell and prints a table of the outcomes; the exit code is 1 where something could not
be sent. With ``workspace`` before the folder it makes a W&B workspace of the study. Training steps are not stored in a
cell's folder, so a cell that was never tracked comes without its loss curve. Cells whose settings chose other trackers
than W&B, or none, are sent with ``--untracked`` only.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from sftdiv.config.app import conf_dir
from sftdiv.records import SftdivError
from sftdiv.reporting.terminal import aligned_lines, print_lines
from sftdiv.storage.cell import RESULT, read_row
from sftdiv.storage.closed_output import outlive_readers
from sftdiv.tracking.replay import FAILED, Replayed, replay
from sftdiv.tracking.session import MODES, Destination, sync_line
from sftdiv.tracking.study_run import study_numbers, tracked_as

EPILOG = """examples:
  python -m sftdiv.sync multirun/embedded_grid                  send what W&B does not have yet; offline without a key
  python -m sftdiv.sync multirun/embedded_grid --again          send every finished cell once more, into the same runs
  python -m sftdiv.sync workspace multirun/embedded_grid --entity me    make the study's workspace"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit code."""
    outlive_readers()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _workspace(words[1:]) if words[:1] == ["workspace"] else _sync(words)
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
    parser.add_argument("--project", help="W&B's project; as the cells were tracked, else as in conf/config.yaml")
    parser.add_argument("--entity", help="W&B's user or team; as the cells were tracked, else the key's own")
    parser.add_argument("--mode", choices=MODES, help="auto: online where an API key is known, else offline")
    parser.add_argument("--again", action="store_true", help="also send what was sent before")
    parser.add_argument("--untracked", action="store_true", help="also send cells that did not choose tracking=wandb")
    options = parser.parse_args(arguments)
    _first_row(options.folder)  # refuses a folder without finished cells
    chosen = {key: value for key in ("project", "entity", "mode") if (value := getattr(options, key)) is not None}
    destination = dataclasses.replace(tracked_as(options.folder) or _default_destination(), **chosen)
    outcomes = replay(options.folder, destination, again=options.again, untracked=options.untracked)
    _show(options.folder, outcomes)
    return 1 if any(outcome.action == FAILED for outcome in outcomes) else 0


def _default_destination() -> Destination:
    """The defaults of ``tracking`` in ``conf/config.yaml``."""
    settings = yaml.safe_load((conf_dir() / "config.yaml").read_text(encoding="utf-8"))["tracking"]
    return Destination(**{field.name: settings[field.name] for field in dataclasses.fields(Destination)})


def _show(folder: Path, outcomes: Sequence[Replayed]) -> None:
    console = Console()
    rows = [(outcome.name, outcome.id, outcome.action, outcome.detail) for outcome in outcomes]
    title = f"{folder}: {len(outcomes)} runs"
    print_lines(console, [title, *aligned_lines([("run", "id", "action", "detail"), *rows])])
    if line := sync_line(folder):
        console.print(f"To send the offline runs once an API key is known: {line}", soft_wrap=True, markup=False)


def _workspace(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sftdiv.sync workspace",
        description="Make a W&B workspace with sftdiv's panels for one study. "
        "Needs an account and the extra `workspaces`.",
    )
    parser.add_argument("folder", type=Path, help="the study's folder, which holds its name, score and slopes")
    parser.add_argument("--entity", help="W&B's user or team; as the cells were tracked")
    parser.add_argument("--project", help="W&B's project; as the cells were tracked, else as in conf/config.yaml")
    options = parser.parse_args(arguments)
    row = _first_row(options.folder)
    destination = tracked_as(options.folder) or _default_destination()
    entity = options.entity or destination.entity
    if entity is None:
        raise SftdivError("a workspace belongs to a user or a team: give --entity NAME")
    if row["primary"] is None:
        raise SftdivError(
            f"the cells of {options.folder} have no score (eval=none), so there is nothing to draw against the level"
        )
    from sftdiv.tracking.workspace import build_workspace, save_workspace

    slopes = [name for name in study_numbers(options.folder) if name.startswith("slope.")]
    workspace = build_workspace(
        entity=entity,
        project=options.project or destination.project,
        study=row["study"],
        score=f"score.{row['primary']}",
        slopes=slopes,
    )
    print(save_workspace(workspace))
    return 0


def _first_row(folder: Path) -> dict[str, Any]:
    """The row of a study's first finished cell.

    Raises:
        SftdivError: No cell is finished.
    """
    for path in sorted(folder.glob(f"*/{RESULT}")):
        return read_row(path)
    raise SftdivError(f"{folder} holds no finished cell (no */{RESULT}); give a study's folder, such as multirun/STUDY")


if __name__ == "__main__":
    sys.exit(main())
